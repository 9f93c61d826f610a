//! Secrets that are looked for, and in which shapes: as they are, in base64 wherever they begin, in hexadecimal digits, and as
//! Rust prints a list of bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use memchr::memmem::Finder;

/// The secrets by the names that a finding shows.
#[derive(Default)]
pub struct Needles {
    patterns: Vec<(String, &'static str, Finder<'static>)>,
}

impl Needles {
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut needles = Self::default();
        for (name, secret) in secrets {
            assert!(secret.len() >= 10, "{name} is too short to be sure of");
            let mut add = |shape, text: &str| {
                needles.patterns.push((name.to_owned(), shape, Finder::new(text.as_bytes()).into_owned()));
            };
            add("as it is", secret);
            add("percent-encoded", &percent(secret));
            for offset in 0..3 {
                add("base64", &base64_inner(secret.as_bytes(), offset));
            }
            let hex = secret.bytes().fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").unwrap();
                text
            });
            add("hexadecimal", &hex);
            add("hexadecimal", &hex.to_uppercase());
            add(
                "a list of bytes",
                &secret.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", "),
            );
        }
        needles
    }

    /// What is in there, as `NAME SHAPE`.
    pub fn found_in(&self, bytes: &[u8]) -> BTreeSet<String> {
        let hits = self.patterns.iter().filter(|(_, _, finder)| finder.find(bytes).is_some());
        hits.map(|(name, shape, _)| format!("{name}, {shape}")).collect()
    }
}

/// What stands of `secret` in the base64 of a text that has it after `offset` bytes (modulo 3), whatever is around it.
fn base64_inner(secret: &[u8], offset: usize) -> String {
    let text = base64_simd::STANDARD.encode_to_string([&vec![0; offset], secret].concat());
    let first = [0, 2, 3][offset];
    text[first..(offset + secret.len()) * 8 / 6].to_owned()
}

fn percent(secret: &str) -> String {
    secret.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").unwrap();
        }
        text
    })
}

/// All that a service has written or said, by the names that a finding shows.
#[derive(Default)]
pub struct Said(BTreeMap<String, Vec<u8>>);

impl Said {
    pub fn add(&mut self, what: impl Into<String>, bytes: impl AsRef<[u8]>) {
        self.0.entry(what.into()).or_default().extend_from_slice(bytes.as_ref());
    }

    /// Every file below a folder; `name` stands in their names instead of it.
    pub fn add_folder(&mut self, name: &str, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let below = format!("{name}/{}", path.file_name().unwrap().to_string_lossy());
            if path.is_dir() {
                self.add_folder(&below, &path);
            } else {
                self.add(below, std::fs::read(path).unwrap());
            }
        }
    }

    /// Where any of them is, as `PLACE: NAME, SHAPE`; of a log with who wrote the line.
    pub fn finds(&self, needles: &Needles) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for (place, bytes) in &self.0 {
            if needles.found_in(bytes).is_empty() {
                continue;
            }
            for line in bytes.split(|byte| *byte == b'\n') {
                let event: Option<serde_json::Value> = serde_json::from_slice(line).ok();
                let by =
                    event.map(|event| format!("{} {}", event["level"], event["target"])).unwrap_or_default();
                all.extend(needles.found_in(line).into_iter().map(|what| format!("{place}: {what} {by}")));
            }
        }
        all
    }

    /// The names of the places, which begin so, where `text` is.
    pub fn places_of(&self, beginning: &str, text: &str) -> Vec<&str> {
        let finder = Finder::new(text.as_bytes());
        let each = self
            .0
            .iter()
            .filter(|(place, bytes)| place.starts_with(beginning) && finder.find(bytes).is_some());
        each.map(|(place, _)| place.as_str()).collect()
    }
}

#[test]
fn a_secret_is_found_in_each_shape_and_nothing_else_is() {
    let needles = Needles::new([("one", "Canary+Secret/9")]);
    for (shape, text) in [
        ("as it is", "x Canary+Secret/9 y".to_owned()),
        ("percent-encoded", "q=Canary%2BSecret%2F9&x".to_owned()),
        ("base64", base64_simd::STANDARD.encode_to_string("user:Canary+Secret/9")),
        ("base64", base64_simd::STANDARD.encode_to_string("users:Canary+Secret/9 and more")),
        ("base64", base64_simd::STANDARD.encode_to_string("Canary+Secret/9!")),
        ("hexadecimal", "43616e6172792b5365637265742f39".to_owned()),
        ("hexadecimal", "43616E6172792B5365637265742F39".to_owned()),
        ("a list of bytes", format!("{:?}", b"Canary+Secret/9")),
    ] {
        let found = needles.found_in(text.as_bytes());
        assert!(found.contains(&format!("one, {shape}")), "{text}: {found:?}");
    }
    assert_eq!(needles.found_in(b"canary+secret/9 Canary+Secret/8").len(), 0);
}
