//! The tree of a YAML document.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::{DEPTH_MAX, DOCUMENT_BYTES_MAX, Entry, NODES_MAX, Node, Value};
use crate::config::problem::{Path, Problem, ProblemKind, Problems, Step, clip};

/// Parses one YAML document; an empty one is an empty mapping.
///
/// The second part is what is wrong but need not stop the reading: keys that are given twice. Aliases and merge
/// keys are copied, within the bound of the tree; other tags than `!!str` are refused.
pub(crate) fn parse_yaml(text: &str) -> Result<(Node, Vec<Problem>), Problems> {
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(syntax("the document is larger than 8 MiB", 1, 1));
    }
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    let parser = Parser::new_from_str_with_options(text, options);
    let mut builder =
        Builder { parser, nodes: 0, path: Path::default(), anchors: HashMap::new(), duplicates: Vec::new() };
    let root = builder.document()?;
    Ok((root, builder.duplicates))
}

struct Builder<'input> {
    parser: Parser<'input, StrInput<'input>>,
    nodes: usize,
    /// Where the reading stands.
    path: Path,
    anchors: HashMap<usize, Node>,
    duplicates: Vec<Problem>,
}

impl<'input> Builder<'input> {
    fn document(&mut self) -> Result<Node, Problems> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                _ if root.is_some() => {
                    return Err(at(&span, "a second document; one file holds one"));
                }
                event => root = Some(self.node(event, &span, 0)?),
            }
        }
        Ok(match root {
            Some(Node { value: Value::Null, .. }) | None => Node::empty(),
            Some(root) => root,
        })
    }

    fn next(&mut self) -> Result<(Event<'input>, Span), Problems> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(scan_error(&error)),
            None => Err(syntax("unexpected end of the document", 1, 1)),
        }
    }

    fn node(&mut self, event: Event<'input>, span: &Span, depth: usize) -> Result<Node, Problems> {
        self.charge(1, span)?;
        let (line, column) = place(span);
        let (value, anchor) = match event {
            Event::Alias(id) => return self.alias(id, span),
            Event::Scalar(text, style, anchor, tag) => {
                (scalar(text.into_owned(), style, tag.as_deref(), span)?, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                no_tag(tag.as_deref(), span)?;
                (Value::List(self.items(span, depth + 1)?), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                no_tag(tag.as_deref(), span)?;
                (Value::Map(self.entries(span, depth + 1)?), anchor)
            }
            _ => return Err(at(span, "unexpected content")),
        };
        let node = Node { value, line, column };
        if anchor != 0 {
            self.charge(node.size(), span)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn items(&mut self, span: &Span, depth: usize) -> Result<Vec<Node>, Problems> {
        within_depth(depth, span)?;
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => {
                    self.path.0.push(Step::Index(items.len()));
                    items.push(self.node(event, &span, depth)?);
                    self.path.0.pop();
                }
            }
        }
    }

    fn entries(&mut self, span: &Span, depth: usize) -> Result<Vec<Entry>, Problems> {
        within_depth(depth, span)?;
        let mut entries = Vec::new();
        let mut seen = HashMap::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let key = self.node(event, &span, depth)?;
            let merge = key.value == Value::Plain("<<".into());
            let (Value::Plain(name) | Value::Text(name)) = key.value else {
                return Err(at(&span, "a key must be a text"));
            };
            let (event, value_span) = self.next()?;
            self.path.0.push(Step::Key(name.clone()));
            let node = self.node(event, &value_span, depth)?;
            self.path.0.pop();
            if merge {
                merged.extend(sources(node, &span)?);
            } else if let Some(first) = seen.insert(name.clone(), key.line) {
                self.duplicates.push(
                    Problem::new(
                        ProblemKind::Shape,
                        self.path.then(name.as_str()),
                        format!("key \"{}\" is given twice, first in line {first}", clip(&name)),
                    )
                    .at(key.line, key.column),
                );
            } else {
                entries.push(Entry { key: name, line: key.line, column: key.column, node });
            }
        }
        // What a mapping says itself goes before what it merges, and an earlier source before a later one.
        for entry in merged {
            if seen.insert(entry.key.clone(), entry.line).is_none() {
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    /// A copy of an anchored node; unbounded copying is what a bomb of aliases lives on.
    fn alias(&mut self, id: usize, span: &Span) -> Result<Node, Problems> {
        let Some(node) = self.anchors.get(&id) else {
            return Err(at(span, "an alias inside the node that it names"));
        };
        let size = node.size();
        self.charge(size, span)?;
        self.anchors.get(&id).cloned().ok_or_else(|| at(span, "unknown alias"))
    }

    fn charge(&mut self, nodes: usize, span: &Span) -> Result<(), Problems> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX {
            return Err(at(span, format!("the document has more than {NODES_MAX} values")));
        }
        Ok(())
    }
}

/// The entries that a merge key brings.
fn sources(node: Node, span: &Span) -> Result<Vec<Entry>, Problems> {
    match node.value {
        Value::Map(entries) => Ok(entries),
        Value::List(items) => {
            let mut all = Vec::new();
            for item in items {
                let Value::Map(entries) = item.value else {
                    return Err(at(span, "a merge key needs mappings"));
                };
                all.extend(entries);
            }
            Ok(all)
        }
        _ => Err(at(span, "a merge key needs a mapping")),
    }
}

fn scalar(text: String, style: ScalarStyle, tag: Option<&Tag>, span: &Span) -> Result<Value, Problems> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema_tag("str") => return Ok(Value::Text(text)),
        tag => no_tag(tag, span)?,
    }
    Ok(match style {
        ScalarStyle::Plain if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") => Value::Null,
        ScalarStyle::Plain => Value::Plain(text),
        _ => Value::Text(text),
    })
}

fn no_tag(tag: Option<&Tag>, span: &Span) -> Result<(), Problems> {
    match tag {
        None => Ok(()),
        Some(tag) => Err(at(span, format!("the tag {} is not supported", clip(&tag.original())))),
    }
}

fn within_depth(depth: usize, span: &Span) -> Result<(), Problems> {
    if depth > DEPTH_MAX {
        return Err(at(span, format!("nested deeper than {DEPTH_MAX} levels")));
    }
    Ok(())
}

fn place(span: &Span) -> (u32, u32) {
    // The parser counts columns from 0.
    (span.start.line() as u32, span.start.col() as u32 + 1)
}

fn at(span: &Span, message: impl Into<String>) -> Problems {
    let (line, column) = place(span);
    syntax(message, line, column)
}

fn scan_error(error: &ScanError) -> Problems {
    let mark = error.marker();
    syntax(clip(&error.info()), mark.line() as u32, mark.col() as u32 + 1)
}

fn syntax(message: impl Into<String>, line: u32, column: u32) -> Problems {
    Problem::new(ProblemKind::Shape, Path::default(), message).at(line, column).into()
}
