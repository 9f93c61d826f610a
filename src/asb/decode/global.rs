//! The header and the global lines: indexes and functions (asb.md 1.3 to 1.5).

use std::io::Read;

use super::Item;
use super::error::DecodeError;
use super::text::{Text, Until};
use crate::asb::types::{DataType, FileHeader, IndexDef, IndexType, SetIndexDef, UdfDef, Version};

/// Longest CDT context or expression in base64, in bytes. The format names no bound; servers stay far below.
const BASE64_LINE_BYTES_MAX: usize = 1 << 20;

const VERSION_LINE: &str = "the line `Version <3.0 to 3.3>`";
const META_LINE: &str = "`# namespace <name>` or `# first-file`";
const LINE_END: &str = "a line feed";
const INDEX_TYPE: &str = "an index type (N, L, K, V or S)";
const PATHS: &str = "a path count of at least 1";
const EXPRESSION: &str = "an index expression in base64";

impl<R: Read> Text<R> {
    /// Reads the version and the metadata lines.
    pub(super) fn file_header(&mut self) -> Result<FileHeader, DecodeError> {
        if self.peek()?.is_none() {
            return Err(DecodeError::Empty);
        }
        self.expect(b"Version ", VERSION_LINE)?;
        let at = self.position();
        let mut found = [0; 3];
        for byte in &mut found {
            *byte = self.byte(VERSION_LINE)?;
        }
        self.expect_byte(b'\n', VERSION_LINE)?;
        let version = Version::parse(&found).ok_or(DecodeError::Version { at, found })?;
        self.escapes = version != Version::V3_0;
        let mut header = FileHeader { version, namespace: Vec::new(), first_file: false };
        loop {
            self.begin_item();
            if !self.accept(b'#')? {
                return Ok(header);
            }
            self.expect_byte(b' ', META_LINE)?;
            if self.peek()? == Some(b'f') {
                self.expect(b"first-file\n", META_LINE)?;
                header.first_file = true;
            } else {
                self.expect(b"namespace ", META_LINE)?;
                let name = self.name(Until::Line, "namespace")?;
                header.namespace = self.bytes(name).to_vec();
                self.expect_byte(b'\n', LINE_END)?;
            }
        }
    }

    /// Reads a line that starts with `*`.
    pub(super) fn global<'a>(&mut self) -> Result<Item<'a>, DecodeError> {
        const EXPECTED: &str = "`* i`, `* e` or `* u`";
        self.expect(b"* ", EXPECTED)?;
        match self.byte(EXPECTED)? {
            b'i' => self.index(false),
            b'e' => self.index(true),
            b'u' => self.udf(),
            found => {
                self.back_to(2);
                Err(self.unexpected(EXPECTED, Some(found)))
            }
        }
    }

    fn index<'a>(&mut self, with_expression: bool) -> Result<Item<'a>, DecodeError> {
        let namespace = self.word("namespace of the index")?;
        let set = self.word("set of the index")?;
        let name = self.word("name of the index")?;
        let type_letter = self.letter(INDEX_TYPE)?;
        let index_type = IndexType::from_letter(type_letter);
        if index_type.is_none() && (type_letter != b'S' || with_expression) {
            self.back_to(self.read() - 1);
            return Err(self.unexpected(INDEX_TYPE, Some(type_letter)));
        }
        self.expect_byte(b' ', "a space and a path count")?;
        // Go reads and ignores a count above 1, and so do we: there is one path
        let at = self.read();
        if self.unsigned(u32::MAX, PATHS)? == 0 {
            self.back_to(at);
            return Err(self.unexpected(PATHS, Some(b'0')));
        }
        let Some(index_type) = index_type else {
            self.expect(b"  E\n", "no bin and the data type of a set index (two spaces, E, a line feed)")?;
            return Ok(Item::SetIndex(SetIndexDef { namespace, set, name }));
        };
        let bin = self.word("bin of the index")?;
        let data_letter = self.letter("a data type (N, S, G or B)")?;
        let Some(data_type) = DataType::from_letter(data_letter) else {
            self.back_to(self.read() - 1);
            return Err(self.unexpected("a data type (N, S, G or B)", Some(data_letter)));
        };
        let (mut context, mut expression) = (None, None);
        if with_expression {
            self.expect_byte(b' ', EXPRESSION)?;
            expression = Some(self.base64_line(EXPRESSION)?);
        } else if self.accept(b' ')? {
            context = Some(self.base64_line("an index context in base64")?);
        }
        self.expect_byte(b'\n', LINE_END)?;
        Ok(Item::Index(IndexDef { namespace, set, name, index_type, bin, data_type, context, expression }))
    }

    /// A space and a name.
    fn word(&mut self, what: &'static str) -> Result<Vec<u8>, DecodeError> {
        self.expect_byte(b' ', what)?;
        let span = self.name(Until::Word, what)?;
        Ok(self.bytes(span).to_vec())
    }

    /// A space and one byte.
    fn letter(&mut self, expected: &'static str) -> Result<u8, DecodeError> {
        self.expect_byte(b' ', expected)?;
        self.byte(expected)
    }

    /// What stands up to the line feed, verbatim: it is the server's own base64, which it alone understands.
    fn base64_line(&mut self, expected: &'static str) -> Result<String, DecodeError> {
        let at = self.read();
        let (span, _) = self.raw_token(Until::Line, BASE64_LINE_BYTES_MAX, expected)?;
        let text = std::str::from_utf8(self.bytes(span))
            .ok()
            .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()));
        if let Some(text) = text {
            return Ok(text.to_owned());
        }
        self.back_to(at);
        Err(self.unexpected(expected, None))
    }

    fn udf<'a>(&mut self) -> Result<Item<'a>, DecodeError> {
        self.expect(b" L ", "` L `, the only language of functions")?;
        let name = self.name(Until::Word, "name of the function")?;
        let name = self.bytes(name).to_vec();
        self.expect_byte(b' ', "a space and the length of the function")?;
        let length = self.unsigned(u32::MAX, "the length of the function")?;
        self.expect_byte(b' ', "a space and the function")?;
        let content = self.take(length as usize, "the function")?;
        let content = self.bytes(content).to_vec();
        self.expect_byte(b'\n', "a line feed behind the function")?;
        Ok(Item::Udf(UdfDef { name, content }))
    }
}
