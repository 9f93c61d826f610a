//! What the reader asks of each section, noted while it reads a document in which nothing stands: the JSON Schema is made of
//! that, so it cannot know other keys, types and bounds than the reader.

use std::collections::BTreeMap;

use super::kind::Kind;

/// One thing that is asked of a key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Asked {
    Text,
    Secret,
    Flag,
    Int(i64, i64),
    Number(f64, f64),
    Word(Vec<&'static str>),
    Texts,
    Ints(i64, i64),
    /// Sections of that kind in a list.
    List(Kind),
    /// A section of that kind.
    Section(Kind),
    /// Sections of that kind, by name.
    Named(Kind),
    /// It must be there.
    Required,
    /// Either this or the other must be there.
    Or(&'static str),
    /// The other may not be there beside it.
    NotWith(&'static str),
    /// The other must be there beside it, and the other way round.
    With(&'static str),
}

/// What is asked of each kind of section, in the order in which it is.
#[derive(Debug, Default)]
pub(super) struct Described(pub BTreeMap<Kind, Vec<(&'static str, Asked)>>);

impl Described {
    /// Whether the kind is a new one.
    pub(super) fn begin(&mut self, kind: Kind) -> bool {
        let new = !self.0.contains_key(&kind);
        self.0.entry(kind).or_default();
        new
    }

    pub(super) fn note(&mut self, kind: Kind, key: &'static str, asked: Asked) {
        let notes = self.0.entry(kind).or_default();
        let noted = (key, asked);
        if !notes.contains(&noted) {
            notes.push(noted);
        }
    }
}
