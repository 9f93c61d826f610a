//! `holdfast inspect`.

use std::fmt::Write as _;
use std::path::Path;

use crate::config::KeyPlace;
use crate::engine::keys;
use crate::error::{Error, Result};
use crate::inspect::{Checksum, Content, FileReport, FolderReport, inspect_path};
use crate::model::UnixMillis;

/// Prints what backup files hold and what is wrong with them; fails if something is.
pub async fn run(path: &Path, key: Option<&KeyPlace>, json: bool) -> Result<()> {
    let key = match key {
        Some(place) => Some(keys::load(place).await?),
        None => None,
    };
    let folders = inspect_path(path, key.as_ref())?;
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
