//! A changed configuration as the text of its file: what has not changed keeps its comments and its order.
//!
//! Only the block of a changed thing is replaced, and only where it is plain block YAML. The edited text is read again
//! and compared with what was wanted; in any doubt the whole document is written anew.

use super::tree::{self, Entry, Node, Value};
use super::{Config, ConfigDiff, EntityKind};
use crate::error::{Error, Result};
use crate::model::UnixMillis;
use crate::secrets::revealed;

/// Each edit reads the text again, so a change that would read more than this is a new document.
const EDITED_BYTES_MAX: usize = 32 << 20;

/// The new text of a configuration's file.
#[derive(Clone, PartialEq, Eq)]
pub struct NewText {
    /// The text; it holds secrets.
    pub text: String,
    /// Whether comments and order are lost.
    pub rewritten: bool,
}

impl Config {
    /// The text of a file that holds `old` as `text`, once it holds `self`.
    ///
    /// Errors: `config-unwritable`.
    pub fn text_over(&self, text: &str, old: &Self, now: UnixMillis) -> Result<NewText> {
        let holds = |text: &str| Self::parse(text, "", now).is_ok_and(|read| &read == self);
        if let Some(edited) = self.edited(text, old).filter(|edited| holds(edited)) {
            return Ok(NewText { text: edited, rewritten: false });
        }
        let text = revealed(|| self.to_yaml())?;
        if !holds(&text) {
            return Err(Error::permanent(
                "config-unwritable",
                "the configuration cannot be written as yaml: read again, it is another one",
            ));
        }
        Ok(NewText { text, rewritten: true })
    }

    fn edited(&self, text: &str, old: &Self) -> Option<String> {
        let diff = ConfigDiff::between(old, self);
        let sections = [
            (EntityKind::Cluster, &diff.clusters),
            (EntityKind::SecretAgent, &diff.secret_agents),
            (EntityKind::Storage, &diff.storage),
            (EntityKind::Policy, &diff.policies),
            (EntityKind::Routine, &diff.routines),
        ];
        let count: usize =
            sections.iter().map(|(_, c)| c.added.len() + c.changed.len() + c.removed.len()).sum();
        if count.saturating_mul(text.len()) > EDITED_BYTES_MAX {
            return None;
        }
        let mut text = text.to_owned();
        for (kind, changes) in sections {
            for name in changes.removed.iter().chain(&changes.changed).chain(&changes.added) {
                let yaml = self.entity_yaml(kind, name);
                text = replace(&text, kind.section(), name, yaml.as_deref())?;
            }
        }
        Some(text)
    }
}

/// `text` with another block for one thing, with a new one, or (`yaml` none) without it; none where it is not plain block
/// YAML.
fn replace(text: &str, section: &str, name: &str, yaml: Option<&str>) -> Option<String> {
    let (root, _) = tree::parse_yaml(text).ok()?;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let Value::Map(sections) = &root.value else { return None };
    let Some(found) = sections.iter().find(|entry| entry.key == section) else {
        let Some(yaml) = yaml else { return Some(text.to_owned()) };
        let indent = sections.first().map_or(0, |first| first.column as usize - 1);
        let block = format!("{}{section}:\n{}", blanks(indent), block(indent + 2, name, yaml, ""));
        return Some(spliced(&lines, lines.len(), lines.len(), &block));
    };
    let section_line = starts_line(&lines, found)?;
    let things = match &found.node.value {
        Value::Map(things) => things.as_slice(),
        Value::Null => &[],
        _ => return None,
    };
    if let Some(thing) = things.iter().find(|entry| entry.key == name) {
        let (start, end) = extent(&lines, thing)?;
        let block = yaml.map(|yaml| {
            let remark = remark(lines.get(start).copied().unwrap_or_default(), thing);
            block(thing.column as usize - 1, name, yaml, remark)
        });
        return Some(spliced(&lines, start, end, &block.unwrap_or_default()));
    }
    let Some(yaml) = yaml else { return Some(text.to_owned()) };
    if let Some(last) = things.iter().max_by_key(|thing| thing.line) {
        let (_, end) = extent(&lines, last)?;
        return Some(spliced(&lines, end, end, &block(last.column as usize - 1, name, yaml, "")));
    }
    let opened = lines.get(section_line)?.replacen("{}", "", 1);
    let opened = format!("{}\n", opened.trim_end());
    let block = opened + &block(found.column as usize + 1, name, yaml, "");
    Some(spliced(&lines, section_line, section_line + 1, &block))
}

/// The line of a key that only blanks stand before, from 0.
fn starts_line(lines: &[&str], entry: &Entry) -> Option<usize> {
    let line = (entry.line as usize).checked_sub(1)?;
    let before = entry.column as usize - 1;
    lines.get(line)?.chars().take(before).all(|c| c == ' ').then_some(line)
}

/// The lines of a thing, from 0, the end excluded: its key, and what is indented deeper than that.
fn extent(lines: &[&str], entry: &Entry) -> Option<(usize, usize)> {
    let start = starts_line(lines, entry)?;
    let mut end = start + 1;
    for (at, line) in lines.iter().enumerate().skip(start + 1) {
        let content = line.trim();
        let deeper = line.chars().take_while(|c| *c == ' ').count() >= entry.column as usize;
        if content.is_empty() {
            continue;
        }
        if deeper {
            end = at + 1;
        } else if !content.starts_with('#') {
            break;
        }
    }
    Some((start, end))
}

/// The comment behind a key whose value begins further down.
fn remark<'t>(line: &'t str, thing: &Entry) -> &'t str {
    let Node { line: value_line, .. } = thing.node;
    if value_line == thing.line || thing.key.contains('#') {
        return "";
    }
    line.find(" #").and_then(|at| line.get(at..)).map_or("", str::trim_end)
}

/// A named thing as block YAML.
fn block(indent: usize, name: &str, yaml: &str, remark: &str) -> String {
    let yaml = yaml.trim_end_matches('\n');
    let key = key(name);
    if yaml == "{}" {
        return format!("{}{key}: {{}}{remark}\n", blanks(indent));
    }
    let mut text = format!("{}{key}:{remark}\n", blanks(indent));
    for line in yaml.lines() {
        if !line.is_empty() {
            text.push_str(&blanks(indent + 2));
            text.push_str(line);
        }
        text.push('\n');
    }
    text
}

/// A name as a key: quoted unless it is clear that it need not be.
fn key(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        && tree::plain_flag(name).is_none()
        && !["null", "Null", "NULL"].contains(&name);
    if plain { name.to_owned() } else { serde_json::Value::from(name).to_string() }
}

fn blanks(count: usize) -> String {
    " ".repeat(count)
}

fn spliced(lines: &[&str], start: usize, end: usize, block: &str) -> String {
    let mut text = String::new();
    for line in lines.iter().take(start) {
        text.push_str(line);
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(block);
    for line in lines.iter().skip(end) {
        text.push_str(line);
    }
    text
}
