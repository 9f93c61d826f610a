//! `holdfast adopt`.

#![allow(clippy::indexing_slicing)] // of JSON values only: what is not there is null

use std::fmt::Write as _;

use serde_json::Value;

use super::rest::Rest;
use super::source::Source;
use crate::error::{Error, Result};
use crate::service;

/// Makes the folder of a routine the instance's of a service at `url`, or of the one that `source` is of and that does
/// not run; says whose it was before.
pub async fn run(
    routine: &str,
    storage: Option<&str>,
    url: Option<&str>,
    source: Option<&Source>,
) -> Result<()> {
    let adopted = match (url, source) {
        (Some(url), _) => {
            let query = storage.map(|name| format!("?storage={}", segment(name))).unwrap_or_default();
            let path = format!("/v1/routines/{}/adopt{query}", segment(routine));
            Rest::new(url).post(&path, &Value::Null).await?
        }
        (None, Some(source)) => {
            let options = source.options().await?;
            let adopted = service::adopt(options, routine, storage).await?;
            serde_json::to_value(adopted)
                .map_err(|error| Error::permanent("api-answer", "render the answer").source(error))?
        }
        // The command line asks for one of them.
        (None, None) => {
            return Err(Error::permanent("config-invalid", "neither --url nor --config is given"));
        }
    };
    println!("{}", describe(&adopted));
    Ok(())
}

/// The answer in words.
fn describe(adopted: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (routine, this) = (text(&adopted["routine"]), text(&adopted["this-instance"]));
    let owner = &adopted["owner"];
    match adopted["state"].as_str() {
        Some("ours") => format!("{routine} belonged to instance {this} already"),
        Some("nobody") => format!("{routine} had no owner; it belongs to instance {this} now"),
        Some("other") => {
            let mut line = format!("{routine} belonged to instance {}", text(&owner["instance"]));
            // Writing to a String cannot fail.
            if let Some(host) = owner["host"].as_str() {
                let _ = write!(line, " on host {host}");
            }
            if let Some(at) = owner["renewed-at"].as_str() {
                let _ = write!(line, ", last seen {at}");
            }
            line + &format!("; it belongs to instance {this} now")
        }
        _ => format!("{routine} had an owner file that is not understood; it belongs to instance {this} now"),
    }
}

/// A name as one segment of a path.
pub(super) fn segment(name: &str) -> String {
    name.bytes().fold(String::new(), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}"); // writing to a String cannot fail
        }
        path
    })
}

#[cfg(test)]
mod tests {
    use super::{describe, segment};
    use serde_json::json;

    #[test]
    fn it_says_whose_the_folder_was() {
        let other = json!({"routine": "daily", "this-instance": "b", "state": "other",
            "owner": {"instance": "a", "host": "db-1", "renewed-at": "2026-01-01T00:00:00Z"}});
        assert_eq!(
            describe(&other),
            "daily belonged to instance a on host db-1, last seen 2026-01-01T00:00:00Z; it belongs to instance b now"
        );
        let nobody = json!({"routine": "daily", "this-instance": "b", "state": "nobody", "owner": null});
        assert_eq!(describe(&nobody), "daily had no owner; it belongs to instance b now");
    }

    #[test]
    fn a_routine_is_one_segment_of_the_path() {
        assert_eq!(segment("daily-1.x"), "daily-1.x");
        assert_eq!(segment("a b?ü"), "a%20b%3F%C3%BC");
    }
}
