//! The document that says where the real configuration is (`--remote`, abs.md 2.1): one storage, whose `path` is the object.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::problem::{Path, Problem, ProblemKind};
use super::reader::Reading;
use super::{Problems, Storage, StoragePlace, tree};
use crate::model::UnixMillis;
use crate::secrets::Keeper;

/// Under this name the storage's secrets are kept; no configured storage can have it.
const NAME: &str = "/remote-configuration";

/// Where the real configuration is.
#[derive(Debug, Clone)]
pub enum ConfigPointer {
    /// A file of this machine.
    File(PathBuf),
    /// An object.
    Object {
        /// The folder that it lies in.
        place: Box<StoragePlace>,
        /// Its name in there.
        key: String,
        /// What has the literal secrets of the place.
        keeper: Keeper,
    },
}

impl ConfigPointer {
    /// Reads the YAML of a pointer: the value of one `storage.<name>`, its `path` with the object's own name at the end.
    /// Secrets may be literals, variables, files, or of an agent that stands in the pointer itself.
    pub fn parse(text: &str, file_name: &str, now: UnixMillis) -> Result<Self, Problems> {
        let (root, duplicates) = tree::parse_yaml(text).map_err(|problems| problems.in_file(file_name))?;
        let reading = Reading::new(false, now);
        for duplicate in duplicates {
            reading.push(duplicate);
        }
        let storage: Storage = reading.read(&root);
        let mut problems = reading.into_problems();
        let pointed = if problems.is_empty() { storage.points_to() } else { Err(Problems::default()) };
        match pointed {
            Ok(pointer) => return Ok(pointer),
            Err(more) => more.iter().cloned().for_each(|problem| problems.push(problem)),
        }
        problems.locate(file_name, &root);
        Err(problems)
    }
}

impl Storage {
    fn points_to(mut self) -> Result<ConfigPointer, Problems> {
        let kind = self.kind();
        let wrong = |field: &str, message: String| {
            Problems::from(Problem::new(ProblemKind::Value, Path::from([kind, field]), message))
        };
        if let Some(local) = self.local_storage {
            return Ok(ConfigPointer::File(PathBuf::from(local.path)));
        }
        if let Some(agent) = self.secret_agent_name() {
            let message = format!(
                "secret agent \"{agent}\" not found: the configuration is not read yet; put \"secret-agent\" here"
            );
            return Err(wrong("secret-agent-name", message));
        }
        let given = [
            self.s3_storage.as_mut().map(|s3| &mut s3.path),
            self.azure_storage.as_mut().map(|azure| &mut azure.path),
            self.gcp_storage.as_mut().map(|gcp| &mut gcp.path),
        ];
        let path = given.into_iter().flatten().next().and_then(Option::take).unwrap_or_default();
        let path = path.trim_start_matches('/');
        if path.is_empty() || path.ends_with('/') {
            let message =
                "empty field validation error: \"path\" required: the object that is the configuration";
            return Err(wrong("path", message.to_owned()));
        }
        let (folder, key) = path.rsplit_once('/').unwrap_or(("", path));
        let given = [
            self.s3_storage.as_mut().map(|s3| &mut s3.path),
            self.azure_storage.as_mut().map(|azure| &mut azure.path),
            self.gcp_storage.as_mut().map(|gcp| &mut gcp.path),
        ];
        for place in given.into_iter().flatten() {
            *place = (!folder.is_empty()).then(|| folder.to_owned());
        }
        let keeper = Keeper::default();
        keeper.set_configured(self.literals(NAME).collect());
        let resolved = self.resolve(Some(NAME), &BTreeMap::new());
        let resolved = resolved.map_err(|error| wrong("", error.report()))?;
        let place = resolved.ok_or_else(|| wrong("", "no storage type specified".to_owned()))?.place;
        Ok(ConfigPointer::Object { place: Box::new(place), key: key.to_owned(), keeper })
    }
}

#[cfg(test)]
mod tests {
    use super::ConfigPointer;
    use crate::config::StoragePlace;
    use crate::model::UnixMillis;

    fn parse(text: &str) -> Result<ConfigPointer, String> {
        ConfigPointer::parse(text, "p.yaml", UnixMillis(1)).map_err(|problems| problems.to_string())
    }

    /// abs.md 2.1
    #[test]
    fn the_path_is_the_object() {
        let s3 = "s3-storage: {bucket: as-backup-bucket, path: PATH, s3-region: eu-central-1}";
        for (path, folder, name) in
            [("config.yml", "", "config.yml"), ("a/b/c.yml", "a/b", "c.yml"), ("/c.yml", "", "c.yml")]
        {
            let ConfigPointer::Object { place, key, .. } = parse(&s3.replace("PATH", path)).unwrap() else {
                panic!("no object");
            };
            let StoragePlace::S3(s3) = *place else { panic!("not S3") };
            assert_eq!((s3.path.as_str(), key.as_str()), (folder, name), "{path}");
        }
        let ConfigPointer::File(file) = parse("local-storage: {path: /etc/h/config.yml}").unwrap() else {
            panic!("no file");
        };
        assert_eq!(file.to_str(), Some("/etc/h/config.yml"));
    }

    #[test]
    fn what_points_nowhere_is_refused_with_its_line_and_shows_no_secret() {
        let s3 = "s3-storage:\n  bucket: b\n  s3-region: r\n  access-key-id: canary\n  secret-access-key: canary\n";
        for (text, says) in [
            (s3.to_owned(), "p.yaml:1: s3-storage.path: empty field validation error: \"path\" required"),
            (format!("{s3}  path: folder/\n"), "p.yaml:6: s3-storage.path"),
            (format!("{s3}  path: ../c.yml\n"), "must be clean"),
            (
                format!("{s3}  path: c.yml\n  secret-agent-name: a\n"),
                "p.yaml:7: s3-storage.secret-agent-name",
            ),
            ("service: {}\n".to_owned(), "no storage type specified"),
            (String::new(), "no storage type specified"),
            ("local-storage: {path: a}\ns3-storage: {}\n".to_owned(), "multiple storage types"),
        ] {
            let refused = parse(&text).unwrap_err();
            assert!(refused.contains(says), "{text}: {refused}");
            assert!(!refused.contains("canary"), "{refused}");
        }
        let shown = format!("{:?}", parse(&format!("{s3}  path: c.yml\n")).unwrap());
        assert!(!shown.contains("canary"), "{shown}");
    }
}
