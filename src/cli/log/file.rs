//! A log file of bounded size: a full one is set aside under the time, and what was set aside is bounded too.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::MakeWriter;

use crate::clock::SharedClock;
use crate::config::FileWriterConfig;
use crate::error::{Error, Result};
use crate::model::UnixMillis;
use crate::tasks::blocking;

const DAY_MS: i64 = 86_400_000;

/// How the time is written in a name, as ABS does.
const TIME: &str = "%Y-%m-%dT%H-%M-%S%.3f";

/// The file that is logged to; cheap to clone.
#[derive(Clone)]
pub(super) struct LogFile(Arc<Shared>);

struct Shared {
    config: FileWriterConfig,
    clock: SharedClock,
    open: Mutex<Open>,
    set_aside: Notify,
}

struct Open {
    file: File,
    bytes: u64,
}

impl LogFile {
    /// Opens the file, to write on at its end; blocks.
    ///
    /// Errors: `log-file`.
    pub(super) fn open(config: FileWriterConfig, clock: SharedClock) -> Result<Self> {
        let opened = open(&config.filename).map_err(|error| {
            Error::permanent("log-file", format!("open the log {}", config.filename.display()))
                .source(error)
                .hint("Name a file that this user can write with service.logger.file-writer.filename.")
        })?;
        let set_aside = Notify::new();
        // What an earlier process left is cleared up first.
        set_aside.notify_one();
        Ok(Self(Arc::new(Shared { config, clock, open: Mutex::new(opened), set_aside })))
    }

    /// Removes and compresses what was set aside, each time that something is, until `stop`.
    pub(super) async fn keep_tidy(&self, stop: &CancellationToken) -> Result<()> {
        while stop.run_until_cancelled(self.0.set_aside.notified()).await.is_some() {
            let this = self.clone();
            let tidied = blocking(move || {
                this.tidy().map_err(|error| Error::temporary("log-file", "clear up old logs").source(error))
            });
            if let Err(error) = tidied.await {
                tracing::warn!(reason = error.report(), "old logs stay");
            }
        }
        Ok(())
    }

    fn append(&self, line: &[u8]) -> io::Result<()> {
        let Ok(mut open) = self.0.open.lock() else { return Err(io::ErrorKind::Other.into()) };
        let full = open.bytes.saturating_add(line.len() as u64) > self.0.config.size_bytes_max;
        if full && open.bytes > 0 {
            *open = self.rotate()?;
        }
        open.file.write_all(line)?;
        open.bytes += line.len() as u64;
        Ok(())
    }

    fn rotate(&self) -> io::Result<Open> {
        let path = &self.0.config.filename;
        let mut at = self.0.clock.now();
        // Two in one millisecond: the later one is called after the next.
        while name_of(path, at).exists() || gzipped(&name_of(path, at)).exists() {
            at = at.plus_ms(1);
        }
        fs::rename(path, name_of(path, at))?;
        self.0.set_aside.notify_one();
        open(path)
    }

    fn tidy(&self) -> io::Result<()> {
        let config = &self.0.config;
        let mut old = set_aside(&config.filename)?;
        old.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        let oldest = self.0.clock.now().plus_ms(-i64::from(config.age_days_max) * DAY_MS);
        for (index, (at, path)) in old.into_iter().enumerate() {
            let many = config.backups_max > 0 && index >= config.backups_max as usize;
            if many || (config.age_days_max > 0 && at < oldest) {
                fs::remove_file(&path)?;
            } else if config.compress && path.extension().is_none_or(|extension| extension != "gz") {
                compress(&path)?;
            }
        }
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// One line: it comes in one piece.
pub(super) struct Line<'a>(&'a LogFile);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.append(line).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<Open> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let bytes = file.metadata()?.len();
    Ok(Open { file, bytes })
}

/// `holdfast.log` of an instant is `holdfast-2026-11-21T20-41-46.123.log`.
fn name_of(path: &Path, at: UnixMillis) -> PathBuf {
    let (stem, extension) = parts(path);
    path.with_file_name(format!("{stem}-{}{extension}", at.to_utc().format(TIME)))
}

fn parts(path: &Path) -> (String, String) {
    let of = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let extension = of(path.extension()).map(|extension| format!(".{extension}")).unwrap_or_default();
    (of(path.file_stem()).unwrap_or_default(), extension)
}

fn gzipped(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    name.into()
}

/// What lies beside the file and has a name of ours, with its instant; nothing else is ever touched.
fn set_aside(path: &Path) -> io::Result<Vec<(UnixMillis, PathBuf)>> {
    let (stem, extension) = parts(path);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        let time = plain.strip_prefix(&format!("{stem}-")).and_then(|rest| rest.strip_suffix(&extension));
        if let Some(Ok(at)) = time.map(|time| chrono::NaiveDateTime::parse_from_str(time, TIME)) {
            found.push((at.and_utc().into(), entry.path()));
        }
    }
    Ok(found)
}

/// Under another name until it is whole.
fn compress(path: &Path) -> io::Result<()> {
    let (whole, part) = (gzipped(path), path.with_extension("gz-part"));
    let target = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&part)?;
    let mut encoder = GzEncoder::new(target, Compression::default());
    io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder.finish()?.sync_all()?;
    fs::rename(part, whole)?;
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::path::Path;
    use std::sync::Arc;

    use tracing_subscriber::fmt::MakeWriter as _;

    use super::{DAY_MS, LogFile};
    use crate::clock::ManualClock;
    use crate::config::FileWriterConfig;
    use crate::model::UnixMillis;

    const NOW: i64 = 1_795_219_200_000;

    fn config(folder: &Path) -> FileWriterConfig {
        FileWriterConfig {
            filename: folder.join("logs/holdfast.log"),
            size_bytes_max: 10,
            age_days_max: 7,
            backups_max: 3,
            compress: false,
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder.join("logs")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn log(file: &LogFile, line: &str) {
        file.make_writer().write_all(line.as_bytes()).unwrap();
    }

    #[test]
    fn a_full_file_is_set_aside_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::default();
        clock.set(UnixMillis(NOW));
        let file = LogFile::open(config(folder.path()), Arc::new(clock.clone())).unwrap();
        for line in ["1234\n", "5678\n", "a\n", "longer than the limit\n", "b\n", "c\n"] {
            log(&file, line);
        }
        let aside = [
            "holdfast-2026-11-21T00-00-00.000.log",
            "holdfast-2026-11-21T00-00-00.001.log",
            "holdfast-2026-11-21T00-00-00.002.log",
        ];
        assert_eq!(names(folder.path()), [aside.as_slice(), &["holdfast.log"]].concat());
        let read = |name: &str| std::fs::read_to_string(folder.path().join("logs").join(name)).unwrap();
        assert_eq!(read(aside[0]), "1234\n5678\n");
        assert_eq!(
            (read(aside[2]).as_str(), read("holdfast.log").as_str()),
            ("longer than the limit\n", "b\nc\n")
        );

        std::fs::write(folder.path().join("logs/holdfast-notes.log"), "mine").unwrap();
        clock.set(UnixMillis(NOW + 1000));
        log(&file, "0123456789\n");
        file.tidy().unwrap();
        assert_eq!(names(folder.path()).len(), 5, "three set aside, the file, and what is not ours");
        assert!(!names(folder.path()).contains(&aside[0].to_owned()), "the oldest has gone");
        clock.set(UnixMillis(NOW + 8 * DAY_MS));
        file.tidy().unwrap();
        assert_eq!(names(folder.path()), ["holdfast-notes.log", "holdfast.log"]);
    }

    #[test]
    fn what_is_set_aside_is_compressed_and_a_new_process_writes_on() {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::default();
        clock.set(UnixMillis(NOW));
        let config = FileWriterConfig { compress: true, ..config(folder.path()) };
        log(&LogFile::open(config.clone(), Arc::new(clock.clone())).unwrap(), "12345\n");
        let file = LogFile::open(config, Arc::new(clock)).unwrap();
        log(&file, "6\n");
        log(&file, "789012\n");
        file.tidy().unwrap();
        assert_eq!(names(folder.path()), ["holdfast-2026-11-21T00-00-00.000.log.gz", "holdfast.log"]);
        let packed = std::fs::File::open(folder.path().join("logs/holdfast-2026-11-21T00-00-00.000.log.gz"));
        let mut text = String::new();
        flate2::read::GzDecoder::new(packed.unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "12345\n6\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_stops_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let config = FileWriterConfig { filename: folder.path().to_owned(), ..config(folder.path()) };
        let refused = LogFile::open(config, Arc::new(ManualClock::default())).err().unwrap();
        assert_eq!(refused.code(), "log-file");
    }
}
