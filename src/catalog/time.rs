//! RFC 3339 as Go reads it: ABS's documents carry up to nine fractional digits.

use chrono::{DateTime, Utc};

use crate::model::UnixMillis;

/// What ABS writes where there is no instant: Go's zero time.
pub const GO_ZERO: &str = "0001-01-01T00:00:00Z";

/// Reads an instant, cut to the millisecond; the error says what is wrong with it.
pub fn parse(text: &str) -> Result<UnixMillis, String> {
    instant(text).map(UnixMillis::from)
}

/// Reads an instant, rounded up to the millisecond: an end must not lie before what it ends (rules.md 3.1).
pub fn parse_rounded_up(text: &str) -> Result<UnixMillis, String> {
    let at = instant(text)?;
    let cut = UnixMillis::from(at);
    Ok(if cut.to_utc() < at { cut.plus_ms(1) } else { cut })
}

fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text.trim())
        .map(|at| at.with_timezone(&Utc))
        .map_err(|error| format!("{text:?} is not an RFC 3339 time ({error})"))
}

#[cfg(test)]
mod tests {
    use super::{GO_ZERO, parse, parse_rounded_up};
    use crate::model::UnixMillis;

    #[test]
    fn reads_what_is_written() {
        for (at, text) in [
            (1_704_110_400_000, "2024-01-01T12:00:00Z"),
            (1_704_110_400_100, "2024-01-01T12:00:00.1Z"),
            (1_704_110_400_120, "2024-01-01T12:00:00.12Z"),
            (1_704_110_400_007, "2024-01-01T12:00:00.007Z"),
        ] {
            assert_eq!(UnixMillis(at).to_rfc3339(), text);
            assert_eq!(parse(text), Ok(UnixMillis(at)));
            assert_eq!(parse_rounded_up(text), Ok(UnixMillis(at)));
        }
    }

    #[test]
    fn reads_what_go_writes() {
        assert_eq!(parse("2024-01-01T12:00:00.123456789Z"), Ok(UnixMillis(1_704_110_400_123)));
        assert_eq!(parse_rounded_up("2024-01-01T12:00:00.123456789Z"), Ok(UnixMillis(1_704_110_400_124)));
        assert_eq!(parse("2024-01-01T14:00:00+02:00"), Ok(UnixMillis(1_704_110_400_000)));
        assert!(parse(GO_ZERO).unwrap().0 < 0);
        for bad in ["", "yesterday", "2024-01-01", "1704110400000"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
