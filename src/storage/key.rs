//! Keys: relative slash paths that cannot leave the storage root.

use crate::error::{Error, Result};

/// The longest key: S3's limit, the smallest of all providers.
pub const KEY_BYTES_MAX: usize = 1024;

/// Marks the temporary names of the local driver; no key may look like one.
pub(super) const PARTIAL_MARK: &str = ".partial-";

/// Refuses a key that is not a plain relative path of non-empty segments.
pub fn check_key(key: &str) -> Result<()> {
    let problem = if key.len() > KEY_BYTES_MAX {
        Some("is longer than 1024 bytes")
    } else {
        key.split('/').find_map(segment_problem)
    };
    match problem {
        None => Ok(()),
        Some(problem) => {
            Err(Error::permanent("storage-key-invalid", format!("storage key {key:?} {problem}")))
        }
    }
}

/// A prefix as a folder without its trailing slash; empty is the root.
pub(super) fn check_prefix(prefix: &str) -> Result<&str> {
    let folder = prefix.strip_suffix('/').unwrap_or(prefix);
    if !prefix.is_empty() {
        check_key(folder)?;
    }
    Ok(folder)
}

/// What is wrong with one segment of a key.
pub(super) fn segment_problem(segment: &str) -> Option<&'static str> {
    match segment {
        "" => Some("has an empty segment"),
        "." | ".." => Some("has a \".\" or \"..\" segment"),
        _ if segment.len() > 255 => Some("has a segment of more than 255 bytes"),
        _ if segment.contains(['\\', '\0']) => Some("has a backslash or a NUL"),
        _ if is_partial(segment) => Some("looks like a temporary file"),
        _ => None,
    }
}

/// Whether a file name is one of the local driver's temporary names.
pub(super) fn is_partial(name: &str) -> bool {
    name.starts_with('.') && name.contains(PARTIAL_MARK)
}

/// `folder/name`, or `name` below the root.
pub fn join(folder: &str, name: &str) -> String {
    let folder = folder.strip_suffix('/').unwrap_or(folder);
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// The folder of a key; empty for a key directly below the root.
pub fn folder_of(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::{check_key, check_prefix, folder_of, join};

    #[test]
    fn a_key_cannot_leave_the_root() {
        for bad in
            ["", "/", "/etc", "a//b", "a/", "../a", "a/../b", "./a", "a/.", "a\\b", "a\0", ".x.partial-1"]
        {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
        assert!(check_key(&"a/".repeat(600)).is_err());
        assert!(check_key(&"a".repeat(256)).is_err());
        for good in ["a", "a/b.asb", "ü %&#+ x/…", "a..b/...", ".hidden"] {
            assert!(check_key(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_prefix_may_be_the_root_or_end_in_a_slash() {
        assert_eq!(check_prefix("").unwrap(), "");
        assert_eq!(check_prefix("a/b/").unwrap(), "a/b");
        for bad in ["/", "a//", "..", "a/../"] {
            assert!(check_prefix(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn joins_and_splits() {
        assert_eq!(join("", "a"), "a");
        assert_eq!(join("a/", "b"), "a/b");
        assert_eq!(folder_of("a/b/c"), "a/b");
        assert_eq!(folder_of("c"), "");
    }
}
