//! The zone of a schedule (abs.md 2.2 `schedule-timezone`).

use chrono_tz::Tz;

/// Fixed offsets that carry a zone's name: whoever writes them expects daylight saving (ABS refuses them too).
const FIXED: [&str; 7] = ["EST", "MST", "HST", "EST5EDT", "CST6CDT", "MST7MDT", "PST8PDT"];

/// `UTC` and `Local` in any case, or a name of the time zone database as it is written there.
///
/// `Local` is the machine's zone at the time of the call.
pub fn parse(name: &str) -> Result<Tz, String> {
    if name.eq_ignore_ascii_case("UTC") {
        return Ok(Tz::UTC);
    }
    if name.eq_ignore_ascii_case("Local") {
        let local = iana_time_zone::get_timezone()
            .map_err(|_| "\"Local\": this machine does not say its time zone, name it instead".to_owned())?;
        return local
            .parse()
            .map_err(|_| format!("\"Local\": unknown time zone \"{local}\" of this machine"));
    }
    let shown = super::problem::clip(name);
    if FIXED.contains(&name) {
        return Err(format!("time zone \"{shown}\" is a fixed offset, name a place as America/New_York"));
    }
    name.parse().map_err(|_| format!("unknown time zone \"{shown}\""))
}
