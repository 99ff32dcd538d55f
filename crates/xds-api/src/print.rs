//! Messages to JSON as Envoy prints them: fields in the order of their numbers under the names of the `.proto` files,
//! `Any` expanded, maps sorted by key, so that the same message always gives the same text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use prost::{Message, Name};

use crate::google::protobuf::Any;
use crate::schema::{Field, Kind, MessageType};
use crate::wire::{WireError, WireFields, WireValue, fixed32, fixed64, varint};
use crate::{any, encode, scalar};

/// How to print.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonStyle {
    /// On several lines, indented by one space a level, as Envoy does.
    pub pretty: bool,
    /// Also fields that have their default value, where "not set" means the same.
    pub defaults: bool,
    /// `[redacted]` for what the API marks sensitive: private keys, passwords.
    pub redact: bool,
}

/// The message on one line.
pub fn to_json<M: Message + Name>(message: &M) -> String {
    to_json_styled(message, JsonStyle::default())
}

/// The message in a style.
pub fn to_json_styled<M: Message + Name>(message: &M, style: JsonStyle) -> String {
    match MessageType::named(&M::full_name()) {
        Some(kind) => message_to_json(kind, &message.encode_to_vec(), style),
        None => "{}".to_owned(),
    }
}

/// The message in an `Any`, with `@type`. What cannot be decoded is given as base64 under `value`.
pub fn any_to_json(any: &Any, style: JsonStyle) -> String {
    to_json_styled(any, style)
}

/// A message of which only type and bytes are known. What cannot be decoded is left out.
pub fn message_to_json(message: MessageType, bytes: &[u8], style: JsonStyle) -> String {
    let mut printer = Printer {
        out: String::new(),
        style,
        indent: 0,
        redacting: false,
    };
    if printer.message(message, bytes).is_err() {
        return "{}".to_owned();
    }
    printer.out
}

struct Printer {
    out: String,
    style: JsonStyle,
    indent: usize,
    /// Inside a sensitive message.
    redacting: bool,
}

/// Which fields a message has on the wire, in the order of their numbers. Unknown ones are left out.
fn grouped(message: MessageType, bytes: &[u8]) -> Result<BTreeMap<u32, (Field, Vec<WireValue<'_>>)>, WireError> {
    let mut fields = BTreeMap::new();
    for field in WireFields::new(bytes) {
        let (number, value) = field?;
        if let Some(field) = message.field(number) {
            fields
                .entry(number)
                .or_insert_with(|| (field, Vec::new()))
                .1
                .push(value);
        }
    }
    Ok(fields)
}

/// A message given in several parts is their concatenation (<https://protobuf.dev/programming-guides/encoding/#last-one-wins>).
fn joined(values: &[WireValue<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in values {
        if let WireValue::Bytes(part) = value {
            bytes.extend_from_slice(part);
        }
    }
    bytes
}

/// The elements of a list, of which numbers may be packed.
fn unpacked<'a>(kind: Kind, values: &[WireValue<'a>]) -> Result<Vec<WireValue<'a>>, WireError> {
    let packable = !matches!(kind, Kind::String | Kind::Bytes | Kind::Message(_));
    let mut elements = Vec::with_capacity(values.len());
    for value in values {
        match value {
            WireValue::Bytes(bytes) if packable => {
                let mut rest: &[u8] = bytes;
                while !rest.is_empty() {
                    elements.push(match kind {
                        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => WireValue::Fixed64(fixed64(&mut rest)?),
                        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => WireValue::Fixed32(fixed32(&mut rest)?),
                        _ => WireValue::Varint(varint(&mut rest)?),
                    });
                }
            }
            other => elements.push(*other),
        }
    }
    Ok(elements)
}

impl Printer {
    fn open(&mut self, bracket: char) {
        self.out.push(bracket);
        self.indent += 1;
    }

    /// Before each item: the comma after the one before, and the line.
    fn item(&mut self, first: &mut bool) {
        if !std::mem::take(first) {
            self.out.push(',');
        }
        self.line();
    }

    fn close(&mut self, bracket: char, empty: bool) {
        self.indent -= 1;
        if !empty {
            self.line();
        }
        self.out.push(bracket);
    }

    fn line(&mut self) {
        if self.style.pretty {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', self.indent));
        }
    }

    fn key(&mut self, first: &mut bool, name: &str) {
        self.item(first);
        self.text(name);
        self.out.push(':');
        if self.style.pretty {
            self.out.push(' ');
        }
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        for character in text.chars() {
            match character {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                // Writing to a String cannot fail. HTML-safe as protobuf's printer.
                '\0'..='\u{1f}' | '\u{7f}' | '<' | '>' => {
                    let _ = write!(self.out, "\\u{:04x}", u32::from(character));
                }
                other => self.out.push(other),
            }
        }
        self.out.push('"');
    }

    fn message(&mut self, message: MessageType, bytes: &[u8]) -> Result<(), WireError> {
        let name = message.full_name();
        if encode::has_own_form(name) {
            return self.own_form(message, bytes);
        }
        self.open('{');
        let mut first = true;
        self.fields(message, bytes, &mut first)?;
        self.close('}', first);
        Ok(())
    }

    fn fields(&mut self, message: MessageType, bytes: &[u8], first: &mut bool) -> Result<(), WireError> {
        let set = grouped(message, bytes)?;
        if self.style.defaults {
            for field in message.fields() {
                match set.get(&field.number()) {
                    Some((_, values)) => self.field(field, values, first)?,
                    None if !field.has_presence() => self.default(field, first),
                    None => {}
                }
            }
            return Ok(());
        }
        for (field, values) in set.values() {
            self.field(*field, values, first)?;
        }
        Ok(())
    }

    /// A field without presence that is not set.
    fn default(&mut self, field: Field, first: &mut bool) {
        self.key(first, field.name());
        if field.is_map() {
            self.out.push_str("{}");
        } else if field.is_list() {
            self.out.push_str("[]");
        } else {
            match field.kind() {
                Kind::String | Kind::Bytes => self.out.push_str("\"\""),
                Kind::Bool => self.out.push_str("false"),
                Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64 => {
                    self.out.push_str("\"0\"")
                }
                Kind::Enum(values) => self.text(values.value_name(0).unwrap_or("0")),
                _ => self.out.push('0'),
            }
        }
    }

    fn field(&mut self, field: Field, values: &[WireValue<'_>], first: &mut bool) -> Result<(), WireError> {
        let outer = self.redacting;
        self.redacting |= self.style.redact && field.is_sensitive();
        self.key(first, field.name());
        let printed = self.field_value(field, values);
        self.redacting = outer;
        printed
    }

    fn field_value(&mut self, field: Field, values: &[WireValue<'_>]) -> Result<(), WireError> {
        let kind = field.kind();
        if field.is_map() {
            return self.map(kind, values);
        }
        if field.is_list() {
            self.open('[');
            let mut first = true;
            for value in unpacked(kind, values)? {
                self.item(&mut first);
                self.value(kind, value)?;
            }
            self.close(']', first);
            return Ok(());
        }
        match kind {
            Kind::Message(message) => self.message(message, &joined(values)),
            _ => self.value(kind, *values.last().ok_or(WireError)?),
        }
    }

    fn map(&mut self, kind: Kind, values: &[WireValue<'_>]) -> Result<(), WireError> {
        let Kind::Message(entry) = kind else {
            return Err(WireError);
        };
        let (Some(key_field), Some(value_field)) = (entry.field(1), entry.field(2)) else {
            return Err(WireError);
        };
        let mut entries = BTreeMap::new();
        for value in values {
            let WireValue::Bytes(bytes) = value else {
                return Err(WireError);
            };
            let mut key = String::new();
            let mut value = Vec::new();
            for field in WireFields::new(bytes) {
                match field? {
                    (1, found) => key = key_text(key_field.kind(), found)?,
                    (2, found) => value.push(found),
                    _ => {}
                }
            }
            entries.insert(key, value);
        }
        self.open('{');
        let mut first = true;
        for (key, values) in entries {
            self.key(&mut first, &key);
            match values.last() {
                Some(_) => self.field_value(value_field, &values)?,
                None => match value_field.kind() {
                    Kind::Message(message) => self.message(message, &[])?,
                    Kind::String | Kind::Bytes => self.out.push_str("\"\""),
                    kind => self
                        .value(kind, WireValue::Varint(0))
                        .or_else(|_| self.value(kind, WireValue::Fixed64(0)))?,
                },
            }
        }
        self.close('}', first);
        Ok(())
    }

    fn value(&mut self, kind: Kind, value: WireValue<'_>) -> Result<(), WireError> {
        let written = match (kind, value) {
            (Kind::Message(message), WireValue::Bytes(bytes)) => return self.message(message, bytes),
            (Kind::String, WireValue::Bytes(_)) if self.redacting => {
                self.text("[redacted]");
                Ok(())
            }
            (Kind::String, WireValue::Bytes(bytes)) => {
                self.text(std::str::from_utf8(bytes).map_err(|_| WireError)?);
                Ok(())
            }
            (Kind::Bytes, WireValue::Bytes(bytes)) => {
                let shown = if self.redacting { b"[redacted]" } else { bytes };
                self.text(&scalar::base64_encode(shown));
                Ok(())
            }
            (Kind::Bool, WireValue::Varint(value)) => write!(self.out, "{}", value != 0),
            (Kind::Enum(values), WireValue::Varint(value)) => {
                // Enums are 32 bits wide, sign-extended on the wire.
                let number = value as i32;
                match values.value_name(number) {
                    Some("NULL_VALUE") => {
                        self.out.push_str("null");
                        Ok(())
                    }
                    Some(name) => {
                        self.text(name);
                        Ok(())
                    }
                    None => write!(self.out, "{number}"),
                }
            }
            (Kind::Double, WireValue::Fixed64(bits)) => {
                self.float(f64::from_bits(bits));
                Ok(())
            }
            (Kind::Float, WireValue::Fixed32(bits)) => {
                let value = f32::from_bits(bits);
                // The shortest decimal of the float, not of the double it becomes.
                self.float(value.to_string().parse().unwrap_or_else(|_| f64::from(value)));
                Ok(())
            }
            (kind, value) => {
                let text = key_text(kind, value)?;
                let wide = matches!(
                    kind,
                    Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64
                );
                if wide {
                    write!(self.out, "\"{text}\"")
                } else {
                    write!(self.out, "{text}")
                }
            }
        };
        written.map_err(|_| WireError)
    }

    fn float(&mut self, value: f64) {
        // Writing to a String cannot fail.
        let _ = if value.is_nan() {
            write!(self.out, "\"NaN\"")
        } else if value.is_infinite() {
            write!(self.out, "\"{}Infinity\"", if value < 0.0 { "-" } else { "" })
        } else if value != 0.0 && !(1e-4..1e16).contains(&value.abs()) {
            let text = format!("{value:e}");
            match text.split_once('e') {
                Some((digits, exponent)) if exponent.starts_with('-') => {
                    write!(self.out, "{digits}e-{:0>2}", &exponent[1..])
                }
                Some((digits, exponent)) => write!(self.out, "{digits}e+{exponent:0>2}"),
                None => write!(self.out, "{text}"),
            }
        } else {
            write!(self.out, "{value}")
        };
    }

    /// The messages whose form is not a map of their fields.
    fn own_form(&mut self, message: MessageType, bytes: &[u8]) -> Result<(), WireError> {
        let fields = grouped(message, bytes)?;
        let values = |number: u32| fields.get(&number).map_or(&[][..], |(_, values)| values.as_slice());
        let varint = |number: u32| match values(number).last() {
            Some(WireValue::Varint(value)) => *value,
            _ => 0,
        };
        match message.full_name() {
            "google.protobuf.Any" => self.any(values(1), values(2))?,
            "google.protobuf.Duration" => self.text(&scalar::print_duration(varint(1) as i64, varint(2) as i32)),
            "google.protobuf.Timestamp" => self.text(&scalar::print_timestamp(varint(1) as i64, varint(2) as i32)),
            "google.protobuf.FieldMask" => {
                let mut paths = Vec::new();
                for value in values(1) {
                    if let WireValue::Bytes(path) = value {
                        paths.push(std::str::from_utf8(path).map_err(|_| WireError)?);
                    }
                }
                self.text(&paths.join(","));
            }
            "google.protobuf.Struct" => match fields.values().next() {
                Some((field, values)) => self.map(field.kind(), values)?,
                None => self.out.push_str("{}"),
            },
            "google.protobuf.ListValue" => match fields.values().next() {
                Some((field, values)) => self.field_value(*field, values)?,
                None => self.out.push_str("[]"),
            },
            "google.protobuf.Value" => match fields.values().next() {
                Some((field, values)) => self.field_value(*field, values)?,
                None => self.out.push_str("null"),
            },
            // The wrappers.
            _ => match (fields.values().next(), message.field(1)) {
                (Some((field, values)), _) => self.field_value(*field, values)?,
                (None, Some(field)) => match field.kind() {
                    Kind::String | Kind::Bytes => self.out.push_str("\"\""),
                    Kind::Bool => self.out.push_str("false"),
                    Kind::Int64 | Kind::Uint64 => self.out.push_str("\"0\""),
                    _ => self.out.push('0'),
                },
                (None, None) => return Err(WireError),
            },
        }
        Ok(())
    }

    fn any(&mut self, url: &[WireValue<'_>], value: &[WireValue<'_>]) -> Result<(), WireError> {
        let last = |values: &[WireValue<'_>]| match values.last() {
            Some(WireValue::Bytes(bytes)) => bytes.to_vec(),
            _ => Vec::new(),
        };
        let url = String::from_utf8(last(url)).map_err(|_| WireError)?;
        let bytes = last(value);
        self.open('{');
        let mut first = true;
        if !url.is_empty() {
            self.key(&mut first, "@type");
            self.text(&url);
        }
        let start = (self.out.len(), first, self.indent);
        let printed = match MessageType::named(any::type_name(&url)) {
            Some(message) if encode::has_own_form(message.full_name()) => {
                self.key(&mut first, "value");
                self.message(message, &bytes)
            }
            Some(message) => self.fields(message, &bytes, &mut first),
            None => Err(WireError),
        };
        if printed.is_err() && !bytes.is_empty() {
            self.out.truncate(start.0);
            (first, self.indent) = (start.1, start.2);
            self.key(&mut first, "value");
            let shown = if self.redacting {
                b"[redacted]".as_slice()
            } else {
                &bytes
            };
            self.text(&scalar::base64_encode(shown));
        }
        self.close('}', first);
        Ok(())
    }
}

/// An integer, boolean or string as the text of a map's key.
fn key_text(kind: Kind, value: WireValue<'_>) -> Result<String, WireError> {
    Ok(match (kind, value) {
        (Kind::String, WireValue::Bytes(bytes)) => String::from_utf8(bytes.to_vec()).map_err(|_| WireError)?,
        (Kind::Bool, WireValue::Varint(value)) => (value != 0).to_string(),
        (Kind::Int32, WireValue::Varint(value)) => (value as i32).to_string(),
        (Kind::Int64, WireValue::Varint(value)) => (value as i64).to_string(),
        (Kind::Uint32, WireValue::Varint(value)) => (value as u32).to_string(),
        (Kind::Uint64, WireValue::Varint(value)) => value.to_string(),
        (Kind::Sint32 | Kind::Sint64, WireValue::Varint(value)) => {
            ((value >> 1) as i64 ^ -((value & 1) as i64)).to_string()
        }
        (Kind::Fixed32, WireValue::Fixed32(value)) => value.to_string(),
        (Kind::Sfixed32, WireValue::Fixed32(value)) => (value as i32).to_string(),
        (Kind::Fixed64, WireValue::Fixed64(value)) => value.to_string(),
        (Kind::Sfixed64, WireValue::Fixed64(value)) => (value as i64).to_string(),
        _ => return Err(WireError),
    })
}
