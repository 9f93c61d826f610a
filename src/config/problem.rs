//! What is wrong with a document: all of it at once, each with its place.

use std::fmt;

use super::tree::{Node, Value};

/// How many problems are kept; the rest are counted (8 MiB of unknown keys must not fill memory).
const PROBLEMS_MAX: usize = 500;

/// What sort of mistake it is; the REST API answers `invalid JSON payload` or `invalid request` by it (abs.md 1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemKind {
    /// The text is no document, or not the document that was expected: syntax, unknown key, wrong type.
    Shape,
    /// A value that cannot be: out of range, empty, dangling, contradictory.
    Value,
}

/// One step from a document's root to a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

/// The way from a document's root to a field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Path(pub(crate) Vec<Step>);

impl Path {
    pub(crate) fn then(&self, step: impl Into<Step>) -> Self {
        let mut steps = self.0.clone();
        steps.push(step.into());
        Self(steps)
    }

    pub(crate) fn item(&self, index: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Index(index));
        Self(steps)
    }
}

impl<const N: usize> From<[&str; N]> for Path {
    fn from(keys: [&str; N]) -> Self {
        Self(keys.into_iter().map(Step::from).collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if at == 0 => write!(f, "{}", clip(key))?,
                Step::Key(key) => write!(f, ".{}", clip(key))?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// One mistake and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What sort of mistake it is.
    pub kind: ProblemKind,
    /// The file's name as given; none for a request.
    pub file: Option<String>,
    /// The line, from 1; none for a request.
    pub line: Option<u32>,
    /// The column, from 1; none for a request.
    pub column: Option<u32>,
    /// The field, as `backup-routines.daily.interval-cron`; empty for the document itself.
    pub path: String,
    /// What is wrong, in ABS's words where it has some; never a secret.
    pub message: String,
    /// What may help, as `did you mean: "parallel"?`.
    pub hint: Option<String>,
    steps: Path,
}

impl Problem {
    pub(crate) fn new(kind: ProblemKind, path: Path, message: impl Into<String>) -> Self {
        Self {
            kind,
            file: None,
            line: None,
            column: None,
            path: path.to_string(),
            message: message.into(),
            hint: None,
            steps: path,
        }
    }

    pub(crate) fn at(mut self, line: u32, column: u32) -> Self {
        self.line = Some(line);
        self.column = Some(column);
        self
    }

    pub(crate) fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// The message and what may help, without the place: the text of an API error.
    pub fn text(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{} - {hint}", self.message),
            None => self.message.clone(),
        }
    }
}

/// `config.yaml:12: backup-routines.daily.interval-cron: day field set twice`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}: ")?,
            (Some(file), None) => write!(f, "{file}: ")?,
            (None, Some(line)) => write!(f, "line {line}: ")?,
            (None, None) => {}
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.text())
    }
}

/// Everything that is wrong with one document; never empty when it is an error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems {
    list: Vec<Problem>,
    omitted: usize,
}

impl Problems {
    /// The problems that were kept: by line in a file, by kind in a request.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// The one to answer where only one can be: in ABS's plain text.
    pub fn first(&self) -> Option<&Problem> {
        self.list.first()
    }

    /// How many there are, those not kept too.
    pub fn len(&self) -> usize {
        self.list.len() + self.omitted
    }

    /// Whether there is nothing wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn push(&mut self, problem: Problem) {
        if self.list.len() < PROBLEMS_MAX {
            self.list.push(problem);
        } else {
            self.omitted += 1;
        }
    }

    /// Says the file and finds the line of each problem in its document.
    pub(crate) fn locate(&mut self, file: &str, root: &Node) {
        for problem in &mut self.list {
            problem.file = Some(file.to_owned());
            if problem.line.is_none() {
                let (line, column) = position(root, &problem.steps);
                problem.line = Some(line);
                problem.column = Some(column);
            }
        }
        self.list.sort_by_key(|problem| problem.line);
    }

    /// Says the file alone.
    pub(crate) fn in_file(mut self, file: &str) -> Self {
        for problem in &mut self.list {
            problem.file = Some(file.to_owned());
        }
        self
    }

    /// `value` if nothing is wrong.
    pub(crate) fn unless_any<T>(mut self, value: T) -> Result<T, Self> {
        if self.is_empty() {
            return Ok(value);
        }
        if self.list.iter().all(|problem| problem.line.is_none()) {
            self.list.sort_by_key(|problem| problem.kind);
        }
        Err(self)
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self { list: vec![problem], omitted: 0 }
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One problem a line.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.list.iter().enumerate() {
            let end = if at == 0 { "" } else { "\n" };
            write!(f, "{end}{problem}")?;
        }
        if self.omitted > 0 {
            write!(f, "\nand {} more", self.omitted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl From<Problems> for crate::error::Error {
    fn from(problems: Problems) -> Self {
        Self::permanent("config-invalid", problems.to_string())
    }
}

/// Where `path` stands, or the nearest field above it that exists.
fn position(root: &Node, path: &Path) -> (u32, u32) {
    let (mut node, mut place) = (root, (root.line, root.column));
    for step in &path.0 {
        let next = match (step, &node.value) {
            (Step::Key(key), Value::Map(entries)) => entries
                .iter()
                .find(|entry| &entry.key == key)
                .map(|entry| (&entry.node, (entry.line, entry.column))),
            (Step::Index(index), Value::List(items)) => {
                items.get(*index).map(|item| (item, (item.line, item.column)))
            }
            _ => None,
        };
        let Some((found, at)) = next else { break };
        (node, place) = (found, at);
    }
    place
}

/// A given text cut to what an error message can carry.
pub(crate) fn clip(text: &str) -> String {
    const SHOWN_CHARS: usize = 200;
    let mut shown: String = text.chars().take(SHOWN_CHARS).flat_map(printable).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// Line ends and control characters would forge lines of a log.
fn printable(c: char) -> impl Iterator<Item = char> {
    let (plain, escaped) = if c.is_control() { (None, Some(c.escape_default())) } else { (Some(c), None) };
    plain.into_iter().chain(escaped.into_iter().flatten())
}
