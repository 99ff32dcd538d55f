//! YAML text to a [`Document`], scalars read as Envoy reads them.
//!
//! Envoy goes from YAML to JSON without looking at the message the text describes: a plain scalar is null, a boolean by
//! YAML 1.1's words, a number when it is a 32-bit integer (decimal, `0x` hexadecimal or `0` octal), and otherwise a string,
//! floats included; what is quoted or in a block is always a string. So a string field refuses the bare words `on` and
//! `123`, and takes `1.5` and `9999999999`. `tests/scalars` records what Envoy 1.39 does with each case.
//!
//! Deliberately different: a key that occurs twice in one map is an error (Envoy takes the last one and says nothing).
//! As in Envoy there are no merge keys (`<<`), tags are ignored except `!` (a string) and `!ignore` on a key (the entry is
//! dropped; it may hold anchors).

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};

use crate::document::{Document, Key, Mark, Node, Value};
use crate::error::ParseError;

/// Maps and lists may nest this deep: protobuf's own limit for JSON.
pub(crate) const MAX_DEPTH: usize = 100;

/// Nodes of one text, copies made by aliases included.
const MAX_NODES: usize = 1_000_000;

/// Reads the first document of the text, as Envoy does. An empty text is [`Value::Null`].
///
/// # Errors
/// The first place where the text is not YAML, an alias without anchor, a key that occurs twice or is not a scalar, or
/// more than 100 levels.
pub fn parse(text: &str, source_name: &str) -> Result<Document, ParseError> {
    let first = Reader::new(text, source_name).document()?;
    Ok(first.unwrap_or_else(|| Document {
        source_name: source_name.to_owned(),
        root: Node {
            value: Value::Null,
            mark: Mark { line: 1, column: 1 },
        },
    }))
}

/// Reads every document of the text, those that `---` divides. Lines count from the start of the text. Empty documents
/// are left out.
///
/// # Errors
/// As [`parse`].
pub fn parse_all(text: &str, source_name: &str) -> Result<Vec<Document>, ParseError> {
    let mut reader = Reader::new(text, source_name);
    let mut documents = Vec::new();
    while let Some(document) = reader.document()? {
        if document.root.value != Value::Null {
            documents.push(document);
        }
    }
    Ok(documents)
}

struct Reader<'text> {
    parser: Parser<'text, StrInput<'text>>,
    source_name: String,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

impl<'text> Reader<'text> {
    fn new(text: &'text str, source_name: &str) -> Self {
        Self {
            parser: Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)),
            source_name: source_name.to_owned(),
            anchors: HashMap::new(),
            nodes: 0,
        }
    }

    /// The next document, `None` at the end of the text.
    fn document(&mut self) -> Result<Option<Document>, ParseError> {
        loop {
            match self.event()? {
                None | Some((Event::StreamEnd, _)) => return Ok(None),
                Some((Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing, _)) => {}
                Some((event, span)) => {
                    let root = self.node(event, span, 0)?;
                    return Ok(Some(Document {
                        source_name: self.source_name.clone(),
                        root,
                    }));
                }
            }
        }
    }

    fn event(&mut self) -> Result<Option<(Event<'text>, Span)>, ParseError> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok(event)) => Ok(Some(event)),
            Some(Err(error)) => Err(self.error(mark(*error.marker()), error.info().to_owned())),
        }
    }

    fn event_inside(&mut self) -> Result<(Event<'text>, Span), ParseError> {
        let end = || self.source_name.clone();
        let source_name = end();
        self.event()?.ok_or(ParseError {
            source_name,
            line: 0,
            column: 0,
            message: "the text ends too early".into(),
        })
    }

    fn error(&self, mark: Mark, message: String) -> ParseError {
        ParseError {
            source_name: self.source_name.clone(),
            line: mark.line,
            column: mark.column,
            message,
        }
    }

    fn count(&mut self, nodes: usize, mark: Mark) -> Result<(), ParseError> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(self.error(
                mark,
                format!("more than {MAX_NODES} values, copies made by aliases included"),
            ));
        }
        Ok(())
    }

    /// The node that starts with `event`.
    fn node(&mut self, event: Event<'text>, span: Span, depth: usize) -> Result<Node, ParseError> {
        let mark = mark(span.start);
        if depth > MAX_DEPTH {
            return Err(self.error(mark, format!("maps and lists nested more than {MAX_DEPTH} deep")));
        }
        self.count(1, mark)?;
        let before = self.nodes;
        let (value, anchor) = match event {
            Event::Alias(anchor) => {
                let Some((node, nodes)) = self.anchors.get(&anchor).cloned() else {
                    return Err(self.error(
                        mark,
                        "found an alias inside its own anchor, expected an earlier anchor".into(),
                    ));
                };
                self.count(nodes, mark)?;
                return Ok(Node {
                    value: node.value,
                    mark,
                });
            }
            Event::Scalar(text, style, anchor, tag) => (scalar(&text, style, tag.as_deref()), anchor),
            Event::SequenceStart(anchor, _) => (self.list(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.map(depth)?, anchor),
            other => return Err(self.error(mark, format!("found {other:?}, expected a value"))),
        };
        let node = Node { value, mark };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before));
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Value, ParseError> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.event_inside()?;
            if event == Event::SequenceEnd {
                return Ok(Value::List(items));
            }
            items.push(self.node(event, span, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, ParseError> {
        let mut entries = Vec::new();
        let mut lines = HashMap::new();
        loop {
            let (event, span) = self.event_inside()?;
            if event == Event::MappingEnd {
                return Ok(Value::Map(entries));
            }
            let mark = mark(span.start);
            let ignored =
                matches!(&event, Event::Scalar(_, _, _, Some(tag)) if tag.handle == "!" && tag.suffix == "ignore");
            let text: Box<str> = match &event {
                Event::Scalar(text, style, _, _) if is_null(text, *style) => "null".into(),
                Event::Scalar(text, ..) => text.as_ref().into(),
                _ => match self.node(event.clone(), span, depth + 1)?.value {
                    Value::String(text) | Value::Number(text) | Value::Bool(_, text) => text,
                    Value::Null => "null".into(),
                    Value::List(_) => return Err(self.error(mark, "found a list as a key, expected a name".into())),
                    Value::Map(_) => return Err(self.error(mark, "found a map as a key, expected a name".into())),
                },
            };
            if let Event::Scalar(..) = event {
                // Counts the key and keeps its anchor.
                self.node(event, span, depth + 1)?;
            }
            let (event, span) = self.event_inside()?;
            let value = self.node(event, span, depth + 1)?;
            if ignored {
                continue;
            }
            if let Some(first) = lines.insert(text.clone(), mark.line) {
                return Err(self.error(
                    mark,
                    format!("found key `{text}` again, expected it once (first on line {first})"),
                ));
            }
            entries.push((Key { text, mark }, value));
        }
    }
}

fn mark(marker: Marker) -> Mark {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Mark {
        line: number(marker.line()),
        column: number(marker.col()).saturating_add(1),
    }
}

fn is_null(text: &str, style: ScalarStyle) -> bool {
    style == ScalarStyle::Plain && matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    // yaml-cpp gives every quoted or block scalar without a tag of its own the tag `!`; Envoy asks for that tag.
    let is_string = match tag {
        Some(tag) => tag.handle.is_empty() && tag.suffix == "!",
        None => style != ScalarStyle::Plain,
    };
    if is_string {
        return Value::String(text.into());
    }
    if is_null(text, style) {
        return Value::Null;
    }
    if let Some(value) = boolean(text) {
        return Value::Bool(value, text.into());
    }
    match integer(text) {
        Some(number) if i32::try_from(number).is_ok() => Value::Number(number.to_string().into()),
        // As a number in JSON it would lose digits; protobuf takes integers from strings.
        Some(number) => Value::String(number.to_string().into()),
        None => Value::String(text.into()),
    }
}

/// YAML 1.1's words in lower case, upper case, or with a capital.
fn boolean(text: &str) -> Option<bool> {
    let word = text.to_ascii_lowercase();
    let capital = text.get(..1).map(str::to_ascii_uppercase).unwrap_or_default() + word.get(1..).unwrap_or_default();
    if text != word && text != text.to_ascii_uppercase() && text != capital {
        return None;
    }
    match word.as_str() {
        "y" | "yes" | "true" | "on" => Some(true),
        "n" | "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// A 64-bit integer as C writes it: `12`, `-0x1F`, `017`.
fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&digits[2..], 16),
        [b'0', _, ..] => (&digits[1..], 8),
        _ => (digits, 10),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}
