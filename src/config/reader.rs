//! A typed reader over the tree: it collects every problem instead of stopping at the first.
//!
//! A section knows its keys by what was asked of it, so no list of keys stands beside the code; what was never
//! asked for is unknown.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::deprecated::DEPRECATED;
use super::describe::{Asked, Described};
use super::kind::Kind;
use super::problem::{Path, Problem, ProblemKind, Problems, Step, clip};
use super::secret_fields::is_secret;
use super::suggest::did_you_mean;
use super::tree::{Entry, Node, Value, plain_flag, plain_int};
use crate::model::UnixMillis;
use crate::secrets::Secret;

/// Something that a section of a document says.
pub(crate) trait Read: Default {
    const KIND: Kind;
    fn read(section: &mut Section<'_>) -> Self;
}

/// What all sections of one document share.
pub(crate) struct Reading {
    /// Where the words differ: ABS says `field "x" not found` of YAML and `unknown field "x"` of JSON.
    pub(crate) json: bool,
    /// The present, for schedules that would never fire.
    pub(crate) now: UnixMillis,
    problems: RefCell<Problems>,
    /// What is asked of a document, where that is what is wanted of the reading.
    pub(super) described: Option<RefCell<Described>>,
}

impl Reading {
    pub(crate) fn new(json: bool, now: UnixMillis) -> Self {
        Self { json, now, problems: RefCell::default(), described: None }
    }

    /// A reading of nothing that notes what is asked.
    pub(super) fn describing(now: UnixMillis) -> Self {
        Self { described: Some(RefCell::default()), ..Self::new(false, now) }
    }

    /// Notes what a section of the type `T` asks for, and what the sections in it do.
    pub(super) fn describe<T: Read>(&self) {
        let Some(described) = &self.described else { return };
        if described.borrow_mut().begin(T::KIND) {
            self.read_at::<T>(&Node::empty(), Path::default());
        }
    }

    pub(crate) fn push(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(crate) fn into_problems(self) -> Problems {
        self.problems.into_inner()
    }

    /// Reads the whole document.
    pub(crate) fn read<T: Read>(&self, root: &Node) -> T {
        self.read_at(root, Path::default())
    }

    fn read_at<T: Read>(&self, node: &Node, path: Path) -> T {
        let Value::Map(entries) = &node.value else {
            self.push(Problem::new(ProblemKind::Shape, path, "must be a mapping; an empty one is {}"));
            return T::default();
        };
        let mut section = Section { reading: self, kind: T::KIND, path, entries, asked: Vec::new() };
        let value = T::read(&mut section);
        section.refuse_unknown();
        value
    }
}

/// One mapping of a document.
pub(crate) struct Section<'t> {
    reading: &'t Reading,
    kind: Kind,
    path: Path,
    entries: &'t [Entry],
    asked: Vec<&'static str>,
}

impl<'t> Section<'t> {
    /// The present.
    pub(crate) fn now(&self) -> UnixMillis {
        self.reading.now
    }

    /// Notes what is asked for.
    fn note(&self, key: &'static str, asked: Asked) {
        if let Some(described) = &self.reading.described {
            described.borrow_mut().note(self.kind, key, asked);
        }
    }

    /// Whether the key is given, and neither as null nor as an empty text, which is as good as none.
    pub(crate) fn has(&mut self, key: &'static str) -> bool {
        self.get(key).is_some_and(|node| text_of(node).is_none_or(|text| !text.is_empty()))
    }

    /// Whether the key is given as an empty text.
    pub(crate) fn is_empty(&mut self, key: &'static str) -> bool {
        self.get(key).and_then(text_of).is_some_and(|text| text.is_empty())
    }

    /// A text.
    pub(crate) fn text(&mut self, key: &'static str) -> Option<String> {
        self.note(key, Asked::Text);
        let node = self.get(key)?;
        let text = text_of(node);
        if text.is_none() {
            self.wrong_type(key, "a text", node);
        }
        text
    }

    /// A text that must be there and not be empty.
    pub(crate) fn filled(&mut self, key: &'static str) -> String {
        let given = self.has(key);
        let text = self.text(key);
        if !given || text.as_deref() == Some("") {
            self.missing(key);
        }
        text.unwrap_or_default()
    }

    /// A text that is used as one, where an empty one is as good as none (ABS).
    pub(crate) fn optional(&mut self, key: &'static str) -> Option<String> {
        self.text(key).filter(|text| !text.is_empty())
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.note(key, Asked::Flag);
        let node = self.get(key)?;
        let flag = match &node.value {
            Value::Bool(flag) => Some(*flag),
            Value::Plain(text) => plain_flag(text),
            _ => None,
        };
        if flag.is_none() {
            self.wrong_type(key, "true or false", node);
        }
        flag
    }

    /// An integer in `range`.
    pub(crate) fn int<T: TryFrom<i64>>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<i64>,
    ) -> Option<T> {
        self.note(key, Asked::Int(*range.start(), *range.end()));
        let node = self.get(key)?;
        let (Value::Plain(text) | Value::Number(text)) = &node.value else {
            self.wrong_type(key, "an integer", node);
            return None;
        };
        let Some(number) = plain_int(text) else {
            if is_long_integer(text) {
                self.reject(key, out_of_range(key, text, &range));
            } else {
                self.wrong_type(key, "an integer", node);
            }
            return None;
        };
        if !range.contains(&number) {
            self.reject(key, out_of_range(key, &number.to_string(), &range));
            return None;
        }
        T::try_from(number).ok()
    }

    /// An integer in `range` that must be there; otherwise `message`, whatever stands there.
    pub(crate) fn required_int<T: TryFrom<i64>>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<i64>,
        message: &str,
    ) -> Option<T> {
        self.note(key, Asked::Int(*range.start(), *range.end()));
        let number = self.int::<i64>(key, i64::MIN..=i64::MAX).filter(|number| range.contains(number));
        if number.is_none() {
            self.require(key, message);
        }
        number.and_then(|number| T::try_from(number).ok())
    }

    /// A number in `range`, with or without a fraction.
    pub(crate) fn number(&mut self, key: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        self.note(key, Asked::Number(*range.start(), *range.end()));
        let node = self.get(key)?;
        let number = match &node.value {
            Value::Plain(text) | Value::Number(text) => text.parse::<f64>().ok().filter(|n| n.is_finite()),
            _ => None,
        };
        let Some(number) = number else {
            self.wrong_type(key, "a number", node);
            return None;
        };
        if !range.contains(&number) {
            self.reject(
                key,
                format!(
                    "invalid value validation error: \"{key}\" {number} invalid, should be between {} and {}",
                    range.start(),
                    range.end()
                ),
            );
            return None;
        }
        Some(number)
    }

    /// One of a few words; case does not count.
    pub(crate) fn word<T: Copy>(&mut self, key: &'static str, words: &[(&'static str, T)]) -> Option<T> {
        self.note(key, Asked::Word(words.iter().map(|(word, _)| *word).collect()));
        let given = self.optional(key)?;
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&given));
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let message = format!(
                "invalid value validation error: \"{key}\" \"{}\" invalid, should be one of {}",
                clip(&given),
                known.join(", ")
            );
            let hint = did_you_mean(&given, known);
            self.push(Problem::new(ProblemKind::Value, self.path.then(key), message).hint(hint));
        }
        found.map(|(_, value)| *value)
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        self.note(key, Asked::Texts);
        let items = self.items(key)?;
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match text_of(item) {
                Some(text) => texts.push(text),
                None => self.push(Problem::new(
                    ProblemKind::Shape,
                    self.path.then(key).item(index),
                    "must be a text",
                )),
            }
        }
        Some(texts)
    }

    /// A list of integers in `range`.
    pub(crate) fn ints<T: TryFrom<i64>>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<i64>,
    ) -> Option<Vec<T>> {
        self.note(key, Asked::Ints(*range.start(), *range.end()));
        let items = self.items(key)?;
        let mut numbers = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let number = match &item.value {
                Value::Plain(text) | Value::Number(text) => plain_int(text),
                _ => None,
            };
            match number.filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok()) {
                Some(number) => numbers.push(number),
                None => self.reject_item(
                    key,
                    index,
                    format!("must be an integer between {} and {}", range.start(), range.end()),
                ),
            }
        }
        Some(numbers)
    }

    /// A list of sections.
    pub(crate) fn list<T: Read>(&mut self, key: &'static str) -> Option<Vec<T>> {
        self.note(key, Asked::List(T::KIND));
        self.reading.describe::<T>();
        let items = self.items(key)?;
        let path = self.path.then(key);
        Some(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| self.reading.read_at(item, path.item(index)))
                .collect(),
        )
    }

    /// A section below.
    pub(crate) fn child<T: Read>(&mut self, key: &'static str) -> Option<T> {
        self.note(key, Asked::Section(T::KIND));
        self.reading.describe::<T>();
        let node = self.get(key)?;
        Some(self.reading.read_at(node, self.path.then(key)))
    }

    /// Named sections below.
    pub(crate) fn children<T: Read>(&mut self, key: &'static str) -> BTreeMap<String, T> {
        self.note(key, Asked::Named(T::KIND));
        self.reading.describe::<T>();
        let Some(node) = self.get(key) else { return BTreeMap::new() };
        let path = self.path.then(key);
        let Value::Map(entries) = &node.value else {
            self.push(Problem::new(ProblemKind::Shape, path, "must be a mapping of names"));
            return BTreeMap::new();
        };
        entries
            .iter()
            .map(|entry| {
                let value = self.reading.read_at(&entry.node, path.then(entry.key.as_str()));
                (entry.key.clone(), value)
            })
            .collect()
    }

    /// Says that a value cannot be.
    pub(crate) fn reject(&self, key: &'static str, message: impl Into<String>) {
        self.push(Problem::new(ProblemKind::Value, self.path.then(key), message));
    }

    /// Says that an item of a list cannot be.
    pub(crate) fn reject_item(&self, key: &'static str, index: usize, message: impl Into<String>) {
        self.push(Problem::new(ProblemKind::Value, self.path.then(key).item(index), message));
    }

    /// Says that the section itself cannot be.
    pub(crate) fn reject_all(&self, message: impl Into<String>) {
        self.push(Problem::new(ProblemKind::Value, self.path.clone(), message));
    }

    /// Says that a field must be given, in other words than those of [`Section::missing`].
    pub(crate) fn require(&self, key: &'static str, message: &str) {
        self.note(key, Asked::Required);
        self.reject(key, message);
    }

    /// Says that a field must be given, in ABS's words.
    pub(crate) fn missing(&self, key: &'static str) {
        self.note(key, Asked::Required);
        self.reject(key, format!("empty field validation error: \"{key}\" required"));
    }

    /// Says that one of two fields must be given, in ABS's words.
    pub(crate) fn missing_either(&self, one: &'static str, other: &'static str) {
        self.note(one, Asked::Or(other));
        self.reject(
            one,
            format!("required fields validation error: must specify either \"{one}\" or \"{other}\""),
        );
    }

    /// Refuses two fields at once, in ABS's words.
    pub(crate) fn exclusive(&mut self, one: &'static str, other: &'static str) {
        self.note(one, Asked::NotWith(other));
        if self.has(one) && self.has(other) {
            self.reject(
                other,
                format!("mutually exclusive fields validation error: cannot specify both \"{one}\" and \"{other}\""),
            );
        }
    }

    /// Refuses one of two fields without the other, in ABS's words.
    pub(crate) fn both_or_none(&mut self, one: &'static str, other: &'static str) {
        self.note(one, Asked::With(other));
        match (self.has(one), self.has(other)) {
            (true, false) => self.missing(other),
            (false, true) => self.missing(one),
            _ => {}
        }
    }

    /// A secret or a reference to one; no problem shows what was given.
    pub(crate) fn secret(&mut self, key: &'static str) -> Option<Secret> {
        self.note(key, Asked::Secret);
        debug_assert!(is_secret(self.kind, key), "{:?}.{key} is not in the list of secret fields", self.kind);
        let node = self.get(key)?;
        let Some(text) = text_of(node) else {
            let message = format!("\"{key}\" must be a text");
            self.push(Problem::new(ProblemKind::Shape, self.path.then(key), message));
            return None;
        };
        if text.is_empty() {
            return None;
        }
        Secret::parse(&text).map_err(|error| self.reject(key, error.to_string())).ok()
    }

    fn get(&mut self, key: &'static str) -> Option<&'t Node> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        (entry.node.value != Value::Null).then_some(&entry.node)
    }

    fn items(&mut self, key: &'static str) -> Option<&'t [Node]> {
        let node = self.get(key)?;
        if let Value::List(items) = &node.value {
            return Some(items);
        }
        self.wrong_type(key, "a list", node);
        None
    }

    fn refuse_unknown(&mut self) {
        for entry in self.entries {
            if self.asked.iter().any(|key| *key == entry.key) {
                continue;
            }
            let name = clip(&entry.key);
            let path = self.path.then(entry.key.as_str());
            let deprecated = DEPRECATED.iter().find(|(kind, key, _)| *kind == self.kind && *key == entry.key);
            let problem = if let Some((_, _, instead)) = deprecated {
                Problem::new(ProblemKind::Shape, path, format!("field \"{name}\" {instead}"))
            } else {
                let message = if self.reading.json {
                    format!("unknown field \"{name}\"")
                } else {
                    format!("field \"{name}\" not found")
                };
                let hint = did_you_mean(&entry.key, self.asked.iter().copied());
                Problem::new(ProblemKind::Shape, path, message).hint(hint)
            };
            self.push(problem);
        }
    }

    /// Shows the value: not for fields that may hold a secret.
    fn wrong_type(&self, key: &'static str, wanted: &str, node: &Node) {
        let found = match &node.value {
            Value::Plain(text) | Value::Text(text) => format!("\"{}\"", clip(text)),
            Value::Number(text) => clip(text),
            Value::Bool(flag) => flag.to_string(),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a mapping".into(),
            Value::Null => "null".into(),
        };
        let message = format!("\"{key}\" must be {wanted}, not {found}");
        self.push(Problem::new(ProblemKind::Shape, self.path.then(key), message));
    }

    fn push(&self, problem: Problem) {
        self.reading.push(problem);
    }
}

impl From<String> for Step {
    fn from(key: String) -> Self {
        Self::Key(key)
    }
}

fn text_of(node: &Node) -> Option<String> {
    match &node.value {
        Value::Plain(text) | Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}

/// Digits that fit no 64 bits: out of every range, but an integer.
fn is_long_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.len() > 18 && digits.chars().all(|c| c.is_ascii_digit() || c == '_') && !digits.starts_with('0')
}

/// In ABS's words where the lower end is the usual one.
fn out_of_range(key: &str, number: &str, range: &RangeInclusive<i64>) -> String {
    let (min, max) = (*range.start(), *range.end());
    let shown = clip(number);
    let below = shown.starts_with('-') || shown == "0";
    match min {
        1 if below => {
            format!(
                "non-positive value validation error: \"{key}\" {shown} invalid, should be positive number"
            )
        }
        0 if below => {
            format!(
                "negative value validation error: \"{key}\" {shown} invalid, should not be negative number"
            )
        }
        _ => format!(
            "invalid value validation error: \"{key}\" {shown} invalid, should be between {min} and {max}"
        ),
    }
}
