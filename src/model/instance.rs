//! Which installation of Holdfast: the one that writes and prunes a routine's folder is named there (rules.md 5.5).

use std::fmt;

/// The folder at a storage root where instances show that they live: no routine may have this name.
pub const INSTANCES: &str = "holdfast-instances";

/// What the folders begin with where instances keep what restores were about to write over, the instance's id behind it:
/// no routine may have such a name.
pub const SAFETY: &str = "holdfast-safety-";

/// The name of an installation: 1 to 64 of `a-z A-Z 0-9 . _ -`, with a letter or digit first. It names a file in storage.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(String);

impl InstanceId {
    /// Reads one; the error is a phrase that completes "instance id "x" …".
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() || text.len() > 64 {
            return Err("must have 1 to 64 characters");
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
            return Err("must hold only letters, digits, \".\", \"_\" and \"-\"");
        }
        if !text.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return Err("must start with a letter or digit");
        }
        Ok(Self(text.to_owned()))
    }

    /// The one that `random` stands for.
    pub fn of_random(random: u128) -> Self {
        Self(format!("{random:032x}"))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::InstanceId;

    #[test]
    fn an_instance_id_can_name_a_file_and_nothing_else() {
        for good in ["a", "prod-1", "eu.west_2", "0", &"x".repeat(64)] {
            assert_eq!(InstanceId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", ".hidden", "-x", "a/b", "a\\b", "a b", "ü", "a\n", &"x".repeat(65)] {
            assert!(InstanceId::parse(bad).is_err(), "{bad:?}");
        }
        let random = InstanceId::of_random(0xab);
        assert_eq!(InstanceId::parse(random.as_str()), Ok(random));
    }
}
