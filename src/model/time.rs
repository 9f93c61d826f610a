//! Instants.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// An instant in whole milliseconds since 1970-01-01 UTC: the resolution of every `created`, folder name and
/// record stamp (rules.md 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

/// Seconds from the unix epoch to 2010-01-01 UTC, Aerospike's own epoch (asb.md 1.11).
pub const AEROSPIKE_EPOCH_S: i64 = 1_262_304_000;

impl UnixMillis {
    /// The same instant from whole seconds.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Whole seconds, rounded towards the past.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This instant moved by `ms` (negative: earlier).
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this instant.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// As a chrono instant; clamped at the ends of chrono's range.
    pub fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or(if self.0 < 0 {
            DateTime::<Utc>::MIN_UTC
        } else {
            DateTime::<Utc>::MAX_UTC
        })
    }

    /// RFC 3339 in UTC as Go prints it, for clients that compare texts: a fraction only when there is one, without
    /// trailing zeros.
    pub fn to_rfc3339(self) -> String {
        if self.0 % 1000 == 0 {
            return self.to_utc().to_rfc3339_opts(SecondsFormat::Secs, true);
        }
        let mut text = self.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true);
        text.truncate(text.trim_end_matches(['Z', '0']).len());
        text.push('Z');
        text
    }
}

impl From<DateTime<Utc>> for UnixMillis {
    fn from(at: DateTime<Utc>) -> Self {
        Self(at.timestamp_millis())
    }
}

impl std::fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::UnixMillis;

    #[test]
    fn renders_as_go_does() {
        assert_eq!(UnixMillis(1_700_000_000_000).to_rfc3339(), "2023-11-14T22:13:20Z");
        assert_eq!(UnixMillis(1_700_000_000_100).to_rfc3339(), "2023-11-14T22:13:20.1Z");
        assert_eq!(UnixMillis(1_700_000_000_120).to_rfc3339(), "2023-11-14T22:13:20.12Z");
        assert_eq!(UnixMillis(1_700_000_000_007).to_rfc3339(), "2023-11-14T22:13:20.007Z");
        assert_eq!(UnixMillis(-1).secs(), -1);
    }
}
