//! `holdfast inspect`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::source::Source;
use crate::app::places::open_alone;
use crate::config::{GcpStorage, KeyPlace, S3Storage, Storage as StorageSection, StoragePlace};
use crate::engine::keys;
use crate::error::{Error, Result};
use crate::inspect::{Checksum, Content, FileReport, FolderReport, inspect_path, inspect_stored};
use crate::model::UnixMillis;
use crate::secrets::Keeper;
use crate::storage::Storage;

/// Prints what backup files hold and what is wrong with them; fails if something is. `path` may be a URL, whose storage is
/// then opened as the configuration says.
pub async fn run(path: &Path, config: Option<&Source>, key: Option<&KeyPlace>, json: bool) -> Result<()> {
    let key = match key {
        Some(place) => Some(keys::load(place).await?),
        None => None,
    };
    let folders = match path.to_str().and_then(|text| text.split_once("://")) {
        Some((scheme, rest)) => {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let storage = Box::pin(open(scheme, bucket, config)).await?;
            inspect_stored(storage, PathBuf::from(prefix), key).await?
        }
        None => inspect_path(path, key.as_ref())?,
    };
    if json {
        let text = serde_json::to_string_pretty(&folders)
            .map_err(|error| Error::permanent("inspect-io", "write the report").source(error))?;
        println!("{text}");
    } else {
        print!("{}", describe(&folders));
    }
    let damaged = folders.iter().filter(|folder| folder.is_damaged()).count();
    if damaged == 0 {
        return Ok(());
    }
    Err(Error::permanent(
        "backup-damaged",
        format!("something is wrong with {damaged} of {} folders", folders.len()),
    )
    .hint("The report says what and where. Restore from another backup, or from a copy of this one."))
}

/// The bucket of a URL: as the storage of the configuration that is in it, else with what the provider's own tools go by.
async fn open(scheme: &str, bucket: &str, config: Option<&Source>) -> Result<Arc<dyn Storage>> {
    let wrong = |text: String| {
        Error::permanent("inspect-url", text)
            .hint("Write s3://BUCKET/PATH, gs://BUCKET/PATH or az://CONTAINER/PATH; --config names a file with its storage.")
    };
    if !["s3", "gs", "az"].contains(&scheme) || bucket.is_empty() {
        return Err(wrong(format!("\"{scheme}://{bucket}\" is no URL of a bucket")));
    }
    let (place, keeper) = if let Some(source) = config {
        let options = source.options().await?;
        let storages = options.config.storage.keys().map(|name| options.config.storage(name));
        let storages = storages.collect::<Result<Vec<_>>>()?;
        let place = storages.into_iter().find_map(|one| at_root(one.place, scheme, bucket));
        let none = || wrong(format!("the configuration has no storage in {scheme}://{bucket}"));
        (place.ok_or_else(none)?, options.config.keeper())
    } else {
        let unknown = || wrong(format!("{scheme}://{bucket} cannot be reached without its account"));
        (by_default(scheme, bucket)?.ok_or_else(unknown)?, Keeper::default())
    };
    open_alone(&place, &keeper).await
}

/// The whole bucket of a place, if it is the one.
fn at_root(place: StoragePlace, scheme: &str, bucket: &str) -> Option<StoragePlace> {
    match (scheme, place) {
        ("s3", StoragePlace::S3(mut s3)) if s3.bucket == bucket => {
            s3.path.clear();
            Some(StoragePlace::S3(s3))
        }
        ("gs", StoragePlace::Gcp(mut gcp)) if gcp.bucket == bucket => {
            gcp.path.clear();
            Some(StoragePlace::Gcp(gcp))
        }
        ("az", StoragePlace::Azure(mut azure)) if azure.container == bucket => {
            azure.path.clear();
            Some(StoragePlace::Azure(azure))
        }
        _ => None,
    }
}

/// A bucket without a configuration: credentials and region are found as the provider's own tools find them.
fn by_default(scheme: &str, bucket: &str) -> Result<Option<StoragePlace>> {
    let named = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let mut storage = StorageSection::default();
    match scheme {
        "s3" => {
            let region = named("AWS_REGION").or_else(|| named("AWS_DEFAULT_REGION"));
            storage.s3_storage = Some(S3Storage {
                bucket: bucket.to_owned(),
                s3_region: region.unwrap_or_else(|| "us-east-1".to_owned()),
                ..S3Storage::default()
            });
        }
        "gs" => {
            storage.gcp_storage =
                Some(GcpStorage { bucket_name: bucket.to_owned(), ..GcpStorage::default() });
        }
        _ => return Ok(None),
    }
    Ok(storage.resolve(None, &BTreeMap::new())?.map(|config| config.place))
}

fn describe(folders: &[FolderReport]) -> String {
    let mut text = String::new();
    for (place, folder) in folders.iter().enumerate() {
        if place > 0 {
            text.push('\n');
        }
        describe_folder(&mut text, folder);
    }
    text
}

fn describe_folder(text: &mut String, folder: &FolderReport) {
    line(text, format_args!("{}", if folder.folder.is_empty() { "." } else { &folder.folder }));
    for (key, value) in folder.metadata.iter().flatten() {
        line(text, format_args!("  {key}: {value}"));
    }
    if !folder.has_manifest {
        line(text, format_args!("  no manifest.json: only counts can be compared, no checksums"));
    }
    for file in &folder.files {
        describe_file(text, file);
    }
    describe_content(text, &folder.content);
    for problem in &folder.problems {
        line(text, format_args!("  WRONG: {problem}"));
    }
}

fn describe_file(text: &mut String, file: &FileReport) {
    let version = file.version.map_or(String::new(), |version| format!(" version {version}"));
    let checksum = match &file.checksum {
        Checksum::None => "no checksum".to_owned(),
        Checksum::Matches => "checksum ok".to_owned(),
        Checksum::Size { expected_bytes } => format!("WRONG SIZE: the manifest says {expected_bytes} bytes"),
        Checksum::Differs { block: Some(block) } => {
            format!(
                "WRONG CHECKSUM from block {block} on (byte {})",
                block * crate::catalog::manifest::BLOCK_BYTES
            )
        }
        Checksum::Differs { block: None } => "WRONG CHECKSUM".to_owned(),
    };
    let (bytes, records) = (file.stored_bytes, file.content.records);
    let encrypted = match file.encryption {
        None | Some("NONE") => String::new(),
        Some(mode) => format!(" in {mode}"),
    };
    if file.locked {
        let hint = "name its key with --key-file or --key-env to read it";
        line(text, format_args!("  {}: encrypted{encrypted}, {bytes} bytes, {checksum}; {hint}", file.name));
        return;
    }
    line(
        text,
        format_args!(
            "  {}: {}{encrypted}{version}, {bytes} bytes, {records} records, {checksum}",
            file.name, file.form
        ),
    );
    if let Some(problem) = &file.problem {
        line(text, format_args!("    WRONG: {}", problem.what));
    }
}

fn describe_content(text: &mut String, content: &Content) {
    line(text, format_args!("  {} records, {} with their key", content.records, content.with_key));
    for (namespace, sets) in &content.sets {
        for (set, records) in sets {
            let set = if set.is_empty() { "(no set)" } else { set };
            line(text, format_args!("    {namespace} {set}: {records}"));
        }
    }
    if let Some((first, last)) = content.expiry_s {
        let (first, last) = (UnixMillis::from_secs(first), UnixMillis::from_secs(last));
        let (first, last) = (first.to_rfc3339(), last.to_rfc3339());
        line(text, format_args!("  {} expire, from {first} to {last}", content.expiring));
    }
    let bins: Vec<String> = content.bins.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    if !bins.is_empty() {
        line(text, format_args!("  bins: {}", bins.join(", ")));
    }
    for index in &content.indexes {
        line(text, format_args!("  index {index}"));
    }
    for udf in &content.udfs {
        line(text, format_args!("  udf {udf}"));
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{line}"); // writing to a String cannot fail
}
