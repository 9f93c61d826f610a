//! File names as absctl writes them (asb.md 4.2): `0_test_2.asb`, `metadata_test_1.asb`.

/// Extension of every backup file.
pub const EXTENSION: &str = ".asb";

/// Reserved for metadata files: official restores may set these aside and apply them last.
const METADATA_PREFIX: &str = "metadata_";

/// Name of a data file: writer (from 0), namespace, and the run's file counter (from 1, shared by all its files).
pub fn data_file_name(writer: usize, namespace: &str, counter: u64) -> String {
    format!("{writer}_{namespace}_{counter}{EXTENSION}")
}

/// Name of the file with indexes and functions; the counter as in [`data_file_name`].
pub fn metadata_file_name(namespace: &str, counter: u64) -> String {
    format!("{METADATA_PREFIX}{namespace}_{counter}{EXTENSION}")
}

/// The name of a file of a backup that was resumed: `0_test_2(1).asb` in series 1, as the official tools write it. Series
/// 0 has plain names.
pub fn in_series(name: &str, series: u32) -> String {
    match name.strip_suffix(EXTENSION) {
        Some(stem) if series > 0 => format!("{stem}({series}){EXTENSION}"),
        _ => name.to_owned(),
    }
}

/// What a file holds, as far as its name tells. Only a hint: every file may hold anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Records, and perhaps indexes and functions: any name that ends in `.asb`.
    Data,
    /// Indexes and functions.
    Metadata,
}

/// What the file of this name holds, or none when it is no backup file. Takes the names of all official tools.
pub fn file_kind(name: &str) -> Option<FileKind> {
    let stem = name.strip_suffix(EXTENSION).filter(|stem| !stem.is_empty())?;
    let is_metadata = stem.strip_prefix(METADATA_PREFIX).is_some_and(|rest| {
        let counter = rest.rsplit_once('_').map_or("", |(_, counter)| counter);
        // `(k)` is put behind the counter when a backup was resumed
        let counter = counter.split_once('(').map_or(counter, |(counter, _)| counter);
        !counter.is_empty() && counter.bytes().all(|byte| byte.is_ascii_digit())
    });
    Some(if is_metadata { FileKind::Metadata } else { FileKind::Data })
}

#[cfg(test)]
mod tests {
    use super::{FileKind, data_file_name, file_kind, in_series, metadata_file_name};

    #[test]
    fn names_are_those_of_absctl() {
        assert_eq!(data_file_name(0, "test", 2), "0_test_2.asb");
        assert_eq!(data_file_name(3, "test", 7), "3_test_7.asb");
        assert_eq!(metadata_file_name("test", 1), "metadata_test_1.asb");
        assert_eq!(in_series("0_test_2.asb", 0), "0_test_2.asb");
        assert_eq!(in_series("metadata_test_2.asb", 3), "metadata_test_2(3).asb");
        assert_eq!(file_kind("metadata_test_2(3).asb"), Some(FileKind::Metadata));
    }

    #[test]
    fn names_of_all_tools_are_recognised() {
        for (name, kind) in [
            ("0_test_2.asb", Some(FileKind::Data)),
            ("0_my_ns_2(1).asb", Some(FileKind::Data)),
            ("test_00000.asb", Some(FileKind::Data)),
            ("prefix_test_3.asb", Some(FileKind::Data)),
            ("metadata_test_1.asb", Some(FileKind::Metadata)),
            ("metadata_my_ns_12(3).asb", Some(FileKind::Metadata)),
            // asbackup's first file of a namespace called `metadata`
            ("metadata_00000.asb", Some(FileKind::Data)),
            ("metadata_test.asb", Some(FileKind::Data)),
            (".asb", None),
            ("test.asb.state", None),
            ("metadata.yaml", None),
            ("", None),
        ] {
            assert_eq!(file_kind(name), kind, "{name}");
        }
    }
}
