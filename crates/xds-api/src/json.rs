//! JSON text to a [`Document`], as lenient as protobuf's own reader, which Envoy uses: a trailing comma, single quotes and
//! bare field names pass; comments do not.

use std::collections::HashMap;

use crate::document::{Document, Key, Mark, Node, Value};
use crate::error::ParseError;
use crate::yaml::MAX_DEPTH;

/// Reads a text that holds one JSON value.
///
/// # Errors
/// The first place where the text is not JSON, a key that occurs twice, or more than 100 levels.
pub fn parse(text: &str, source_name: &str) -> Result<Document, ParseError> {
    let mut reader = Reader {
        text,
        position: 0,
        line: 1,
        line_start: 0,
        source_name,
    };
    let root = reader.value(0)?;
    reader.space();
    if reader.position < text.len() {
        return Err(reader.unexpected("the end of the text"));
    }
    Ok(Document {
        source_name: source_name.to_owned(),
        root,
    })
}

struct Reader<'text> {
    text: &'text str,
    position: usize,
    line: u32,
    line_start: usize,
    source_name: &'text str,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    fn mark(&self) -> Mark {
        let column = self
            .text
            .get(self.line_start..self.position)
            .map_or(0, |before| before.chars().count());
        Mark {
            line: self.line,
            column: u32::try_from(column).unwrap_or(u32::MAX).saturating_add(1),
        }
    }

    fn error(&self, message: String) -> ParseError {
        let mark = self.mark();
        ParseError {
            source_name: self.source_name.to_owned(),
            line: mark.line,
            column: mark.column,
            message,
        }
    }

    fn unexpected(&self, expected: &str) -> ParseError {
        let found = match self.text.get(self.position..).and_then(|rest| rest.chars().next()) {
            Some(character) => format!("{character:?}"),
            None => "the end of the text".to_owned(),
        };
        self.error(format!("found {found}, expected {expected}"))
    }

    fn space(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b'\n' => self.newline(),
                b' ' | b'\t' | b'\r' => self.position += 1,
                _ => return,
            }
        }
    }

    fn newline(&mut self) {
        self.position += 1;
        self.line += 1;
        self.line_start = self.position;
    }

    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let there = self.peek() == Some(byte);
        if there {
            self.position += 1;
        }
        there
    }

    fn value(&mut self, depth: usize) -> Result<Node, ParseError> {
        self.space();
        let mark = self.mark();
        if depth > MAX_DEPTH {
            return Err(self.error(format!("maps and lists nested more than {MAX_DEPTH} deep")));
        }
        let value = match self.peek() {
            Some(b'{') => self.map(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"' | b'\'') => Value::String(self.string()?.into()),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => match self.word() {
                "null" => Value::Null,
                "true" => Value::Bool(true, "true".into()),
                "false" => Value::Bool(false, "false".into()),
                _ => return Err(self.unexpected("a value")),
            },
        };
        if let Value::Null | Value::Bool(..) = value {
            self.position += self.word().len();
        }
        Ok(Node { value, mark })
    }

    /// The letters, digits and underscores here, not consumed.
    fn word(&self) -> &str {
        let rest = self.text.get(self.position..).unwrap_or_default();
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        &rest[..end]
    }

    fn list(&mut self, depth: usize) -> Result<Value, ParseError> {
        self.position += 1;
        let mut items = Vec::new();
        while !self.take(b']') {
            if !items.is_empty() && self.after_comma(b']')? {
                break;
            }
            items.push(self.value(depth + 1)?);
        }
        Ok(Value::List(items))
    }

    fn map(&mut self, depth: usize) -> Result<Value, ParseError> {
        self.position += 1;
        let mut entries = Vec::new();
        let mut lines = HashMap::new();
        while !self.take(b'}') {
            if !entries.is_empty() && self.after_comma(b'}')? {
                break;
            }
            self.space();
            let mark = self.mark();
            let text: Box<str> = match self.peek() {
                Some(b'"' | b'\'') => self.string()?.into(),
                Some(byte) if byte.is_ascii_alphabetic() || byte == b'_' => {
                    let name: Box<str> = self.word().into();
                    self.position += name.len();
                    name
                }
                _ => return Err(self.unexpected("a field name in quotes or `}`")),
            };
            if !self.take(b':') {
                return Err(self.unexpected("`:`"));
            }
            let value = self.value(depth + 1)?;
            if let Some(first) = lines.insert(text.clone(), mark.line) {
                return Err(ParseError {
                    source_name: self.source_name.to_owned(),
                    line: mark.line,
                    column: mark.column,
                    message: format!("found key `{text}` again, expected it once (first on line {first})"),
                });
            }
            entries.push((Key { text, mark }, value));
        }
        Ok(Value::Map(entries))
    }

    /// Takes the comma after an item. Whether the list or map then ends: `[1,]`.
    fn after_comma(&mut self, end: u8) -> Result<bool, ParseError> {
        if !self.take(b',') {
            return Err(self.unexpected(&format!("`,` or `{}`", char::from(end))));
        }
        Ok(self.take(end))
    }

    fn number(&mut self) -> Result<Value, ParseError> {
        let start = self.position;
        if self.peek() == Some(b'-') {
            self.position += 1;
        }
        let leading_zero = self.peek() == Some(b'0');
        let integer_digits = self.digits()?;
        if leading_zero && integer_digits > 1 {
            self.position = start;
            return Err(
                self.error("found a number with a leading zero, expected it without (JSON has no octal)".into())
            );
        }
        if self.peek() == Some(b'.') {
            self.position += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.position += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.position += 1;
            }
            self.digits()?;
        }
        if self
            .peek()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.')
        {
            return Err(self.unexpected("the end of the number"));
        }
        Ok(Value::Number(self.text[start..self.position].into()))
    }

    fn digits(&mut self) -> Result<usize, ParseError> {
        let start = self.position;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.position += 1;
        }
        if self.position == start {
            return Err(self.unexpected("a digit"));
        }
        Ok(self.position - start)
    }

    fn string(&mut self) -> Result<String, ParseError> {
        let quote = self.peek();
        self.position += 1;
        let mut text = String::new();
        loop {
            let rest = self.text.get(self.position..).unwrap_or_default();
            let Some(character) = rest.chars().next() else {
                return Err(self.unexpected("the closing quote"));
            };
            match character {
                '\n' => {
                    text.push('\n');
                    self.newline();
                }
                '\\' => {
                    let escaped = self.escape()?;
                    text.push(escaped);
                }
                other => {
                    self.position += other.len_utf8();
                    if Some(other) == quote.map(char::from) {
                        return Ok(text);
                    }
                    text.push(other);
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, ParseError> {
        let start = self.position;
        self.position += 2;
        let escaped = match self.text.as_bytes().get(start + 1) {
            Some(b'"') => '"',
            Some(b'\'') => '\'',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.hexadecimal();
                let code = match first {
                    Some(high @ 0xd800..0xdc00)
                        if self.text.as_bytes().get(self.position..self.position + 2) == Some(b"\\u") =>
                    {
                        self.position += 2;
                        self.hexadecimal()
                            .filter(|low| (0xdc00..0xe000).contains(low))
                            .map(|low| 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
                    }
                    other => other,
                };
                match code.and_then(char::from_u32) {
                    Some(character) => character,
                    None => {
                        self.position = start;
                        return Err(self
                            .error("found a bad \\u escape, expected four hexadecimal digits of a character".into()));
                    }
                }
            }
            _ => {
                self.position = start;
                return Err(
                    self.error("found an unknown escape after `\\`, expected one of \" \\ / b f n r t u".into())
                );
            }
        };
        Ok(escaped)
    }

    fn hexadecimal(&mut self) -> Option<u32> {
        let digits = self.text.get(self.position..self.position + 4)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.position += 4;
        u32::from_str_radix(digits, 16).ok()
    }
}
