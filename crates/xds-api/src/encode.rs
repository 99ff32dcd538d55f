//! A [`Document`] to a message's bytes, all errors collected.

use prost::{Message, Name};

use crate::document::{Document, Key, Node, Value};
use crate::error::FieldError;
use crate::schema::{EnumType, Field, Kind, MessageType};
use crate::wire::{WireValue, put_field, put_varint};
use crate::yaml::MAX_DEPTH;
use crate::{any, scalar};

mod expected;
mod well_known;

pub(crate) use well_known::has_own_form;

use expected::{describe, field_names, value_names};

/// What to do with a key that is not a field of its message.
#[derive(Debug)]
pub enum UnknownFields<'a> {
    /// Report it as an error: Envoy's way with a static bootstrap.
    Reject,
    /// Go on without it and list it here.
    Allow(&'a mut Vec<FieldError>),
}

/// Reads the message that the document describes, by protobuf's JSON rules: fields in either case, lower-case enum
/// values, `Any` by its `@type`, a lone value where a list is expected.
///
/// # Errors
/// Every value that does not fit, in the order of the text.
pub fn from_document<M: Message + Name + Default>(
    document: &Document,
    unknown: UnknownFields<'_>,
) -> Result<M, Vec<FieldError>> {
    let whole = |expected: String| {
        let mark = document.root.mark;
        vec![FieldError {
            path: String::new(),
            line: mark.line,
            column: mark.column,
            found: describe(&document.root.value),
            expected,
        }]
    };
    let name = M::full_name();
    let message =
        MessageType::named(&name).ok_or_else(|| whole(format!("a message type that is known, not {name}")))?;
    let bytes = encode_document(document, message, unknown)?;
    M::decode(bytes.as_slice()).map_err(|error| whole(format!("a {name} ({error})")))
}

/// As [`from_document`], for a type known only by name: the message's bytes.
///
/// # Errors
/// As [`from_document`].
pub fn encode_document(
    document: &Document,
    message: MessageType,
    unknown: UnknownFields<'_>,
) -> Result<Vec<u8>, Vec<FieldError>> {
    let mut encoder = Encoder::default();
    let mut bytes = Vec::new();
    encoder.message(message, &document.root, &mut bytes);
    let Encoder {
        mut errors,
        unknown: found,
        ..
    } = encoder;
    let found = found.into_iter().map(|key| key.error);
    match unknown {
        UnknownFields::Reject => errors.extend(found),
        UnknownFields::Allow(list) => list.extend(found),
    }
    if errors.is_empty() {
        return Ok(bytes);
    }
    errors.sort_by_key(|error| (error.line, error.column));
    Err(errors)
}

/// The message's bytes as far as the values fit, and the keys that are no fields of their messages.
pub(crate) fn encode_leniently(root: &Node, message: MessageType) -> (Vec<u8>, Vec<UnknownEntry>) {
    let mut encoder = Encoder::default();
    let mut bytes = Vec::new();
    encoder.message(message, root, &mut bytes);
    (bytes, encoder.unknown)
}

/// A key that is no field of its message.
pub(crate) struct UnknownEntry {
    /// The key itself.
    pub(crate) name: Box<str>,
    /// The message it was found in.
    pub(crate) message: &'static str,
    /// Where, and what it might have been meant to be.
    pub(crate) error: FieldError,
}

#[derive(Default)]
struct Encoder {
    /// Of the value being read.
    path: String,
    errors: Vec<FieldError>,
    unknown: Vec<UnknownEntry>,
    depth: usize,
}

impl Encoder {
    fn fail(&mut self, node: &Node, expected: impl Into<String>) {
        self.errors.push(FieldError {
            path: self.path.clone(),
            line: node.mark.line,
            column: node.mark.column,
            found: describe(&node.value),
            expected: expected.into(),
        });
    }

    fn fail_key(&mut self, key: &Key, expected: impl Into<String>) {
        self.errors.push(self.key_error(key, expected.into()));
    }

    fn key_error(&self, key: &Key, expected: String) -> FieldError {
        let found = format!("field `{}`", key.text);
        FieldError {
            path: self.path.clone(),
            line: key.mark.line,
            column: key.mark.column,
            found,
            expected,
        }
    }

    /// Runs `read` for a field.
    fn below(&mut self, name: &str, read: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        read(self);
        self.path.truncate(length);
    }

    /// Runs `read` for an element of a list or a map.
    fn element(&mut self, index: impl std::fmt::Display, read: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(&format!("[{index}]"));
        read(self);
        self.path.truncate(length);
    }

    /// Appends the message's fields, without tag and length.
    fn message(&mut self, message: MessageType, node: &Node, out: &mut Vec<u8>) {
        if self.depth >= MAX_DEPTH {
            self.fail(node, format!("at most {MAX_DEPTH} messages inside each other"));
            return;
        }
        self.depth += 1;
        if !self.well_known(message, node, out) {
            match &node.value {
                Value::Map(entries) => self.fields(message, entries.iter(), out),
                _ => self.fail(node, format!("a map with the fields of {}", message.full_name())),
            }
        }
        self.depth -= 1;
    }

    fn fields<'n>(&mut self, message: MessageType, entries: impl Iterator<Item = &'n (Key, Node)>, out: &mut Vec<u8>) {
        let mut read: Vec<(Field, Vec<u8>)> = Vec::new();
        for (key, node) in entries {
            let Some(field) = message.field_named(&key.text) else {
                self.unknown.push(UnknownEntry {
                    name: key.text.clone(),
                    message: message.full_name(),
                    error: self.key_error(key, field_names(message, &key.text)),
                });
                continue;
            };
            if node.value == Value::Null && !takes_null(field) {
                continue;
            }
            if read.iter().any(|(other, _)| *other == field) {
                self.fail_key(key, format!("`{}` once, in one of its two forms", field.name()));
                continue;
            }
            if let Some(oneof) = field.oneof()
                && let Some((other, _)) = read.iter().find(|(other, _)| other.oneof() == Some(oneof))
            {
                self.fail_key(key, format!("only one of `{}` and `{}`", other.name(), field.name()));
                continue;
            }
            let mut bytes = Vec::new();
            self.below(field.name(), |this| this.field(field, node, &mut bytes));
            read.push((field, bytes));
        }
        // By number, so that what means the same has the same bytes.
        read.sort_by_key(|(field, _)| field.number());
        for (_, bytes) in read {
            out.extend_from_slice(&bytes);
        }
    }

    fn field(&mut self, field: Field, node: &Node, out: &mut Vec<u8>) {
        if field.is_map() {
            self.map(field, node, out);
        } else if field.is_list() {
            match &node.value {
                Value::List(items) => {
                    for (index, item) in items.iter().enumerate() {
                        self.element(index, |this| {
                            if item.value == Value::Null && !takes_null(field) {
                                this.fail(item, "a value: a list has no empty places");
                            } else {
                                this.value(field, item, true, out);
                            }
                        });
                    }
                }
                _ => self.element(0, |this| this.value(field, node, true, out)),
            }
        } else {
            self.value(field, node, field.has_presence(), out);
        }
    }

    fn map(&mut self, field: Field, node: &Node, out: &mut Vec<u8>) {
        let Kind::Message(entry) = field.kind() else { return };
        let (Some(key_field), Some(value_field)) = (entry.field(1), entry.field(2)) else {
            return;
        };
        let Value::Map(entries) = &node.value else {
            self.fail(node, "a map");
            return;
        };
        for (key, node) in entries {
            self.element(format_args!("{:?}", key.text), |this| {
                let mut bytes = Vec::new();
                // A key is always text in JSON, whatever its type.
                let key_node = Node {
                    value: Value::String(key.text.clone()),
                    mark: key.mark,
                };
                this.value(key_field, &key_node, false, &mut bytes);
                if node.value != Value::Null {
                    this.value(value_field, node, true, &mut bytes);
                }
                put_field(out, field.number(), WireValue::Bytes(&bytes));
            });
        }
    }

    /// Appends one value with its tag. `explicit`: also when it is the type's default.
    fn value(&mut self, field: Field, node: &Node, explicit: bool, out: &mut Vec<u8>) {
        let number = field.number();
        let value = match field.kind() {
            Kind::Message(message) => {
                let mut bytes = Vec::new();
                self.message(message, node, &mut bytes);
                put_field(out, number, WireValue::Bytes(&bytes));
                return;
            }
            Kind::String => match &node.value {
                Value::String(text) => {
                    if explicit || !text.is_empty() {
                        put_field(out, number, WireValue::Bytes(text.as_bytes()));
                    }
                    return;
                }
                Value::Number(_) | Value::Bool(..) => return self.fail(node, "a string (write it in quotes)"),
                _ => return self.fail(node, "a string"),
            },
            Kind::Bytes => {
                let bytes = match &node.value {
                    Value::String(text) => scalar::base64_decode(text),
                    _ => None,
                };
                match bytes {
                    Some(bytes) if explicit || !bytes.is_empty() => put_field(out, number, WireValue::Bytes(&bytes)),
                    Some(_) => {}
                    None => self.fail(node, "bytes as a string in base64"),
                }
                return;
            }
            kind => self.number(kind, node),
        };
        match value {
            Some(WireValue::Varint(0) | WireValue::Fixed32(0) | WireValue::Fixed64(0)) if !explicit => {}
            Some(value) => put_field(out, number, value),
            None => {}
        }
    }

    /// A scalar of fixed or variable width; `None` after an error.
    fn number(&mut self, kind: Kind, node: &Node) -> Option<WireValue<'static>> {
        let integer = |this: &mut Self, low: i128, high: i128| -> Option<i128> {
            let value = match &node.value {
                Value::Number(text) | Value::String(text) => scalar::integer(text),
                _ => None,
            };
            let value = value.filter(|value| (low..=high).contains(value));
            if value.is_none() {
                this.fail(node, format!("an integer from {low} to {high}"));
            }
            value
        };
        let signed32 = |value: i128| value as i32;
        Some(match kind {
            Kind::Bool => {
                let value = match &node.value {
                    Value::Bool(value, _) => Some(*value),
                    Value::String(text) => scalar::boolean(text),
                    _ => None,
                };
                let Some(value) = value else {
                    self.fail(node, "true or false");
                    return None;
                };
                WireValue::Varint(u64::from(value))
            }
            // Negative values take ten bytes: sign-extended to 64 bits.
            Kind::Int32 => {
                WireValue::Varint(i64::from(signed32(integer(self, i32::MIN.into(), i32::MAX.into())?)) as u64)
            }
            Kind::Int64 => WireValue::Varint(integer(self, i64::MIN.into(), i64::MAX.into())? as i64 as u64),
            Kind::Uint32 => WireValue::Varint(integer(self, 0, u32::MAX.into())? as u64),
            Kind::Uint64 => WireValue::Varint(integer(self, 0, u64::MAX.into())? as u64),
            Kind::Sint32 | Kind::Sint64 => {
                let (low, high) = match kind {
                    Kind::Sint32 => (i128::from(i32::MIN), i128::from(i32::MAX)),
                    _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
                };
                let value = integer(self, low, high)? as i64;
                WireValue::Varint((value << 1 ^ value >> 63) as u64)
            }
            Kind::Fixed32 => WireValue::Fixed32(integer(self, 0, u32::MAX.into())? as u32),
            Kind::Fixed64 => WireValue::Fixed64(integer(self, 0, u64::MAX.into())? as u64),
            Kind::Sfixed32 => WireValue::Fixed32(signed32(integer(self, i32::MIN.into(), i32::MAX.into())?) as u32),
            Kind::Sfixed64 => WireValue::Fixed64(integer(self, i64::MIN.into(), i64::MAX.into())? as i64 as u64),
            Kind::Float | Kind::Double => {
                let value = match &node.value {
                    Value::Number(text) | Value::String(text) => scalar::float(text),
                    _ => None,
                };
                match (value, kind) {
                    (Some(value), Kind::Double) => WireValue::Fixed64(value.to_bits()),
                    (Some(value), _) if !value.is_finite() || value.abs() <= f64::from(f32::MAX) => {
                        WireValue::Fixed32((value as f32).to_bits())
                    }
                    _ => {
                        self.fail(node, "a number");
                        return None;
                    }
                }
            }
            Kind::Enum(values) => WireValue::Varint(i64::from(self.enumeration(values, node)?) as u64),
            Kind::String | Kind::Bytes | Kind::Message(_) => return None,
        })
    }

    fn enumeration(&mut self, values: EnumType, node: &Node) -> Option<i32> {
        let value = match &node.value {
            Value::Null if values.full_name() == "google.protobuf.NullValue" => Some(0),
            Value::String(text) => values
                .values()
                .find(|(name, _)| **name == **text)
                .or_else(|| values.values().find(|(name, _)| name.eq_ignore_ascii_case(text)))
                .map(|(_, number)| number)
                .or_else(|| text.parse().ok().filter(|number| values.value_name(*number).is_some())),
            Value::Number(text) => scalar::integer(text)
                .and_then(|number| i32::try_from(number).ok())
                .filter(|number| values.value_name(*number).is_some()),
            _ => None,
        };
        if value.is_none() {
            self.fail(node, value_names(values, &node.value));
        }
        value
    }
}

/// Whether null is a value of the field and not its absence.
fn takes_null(field: Field) -> bool {
    match field.kind() {
        Kind::Message(message) => message.full_name() == "google.protobuf.Value",
        Kind::Enum(values) => values.full_name() == "google.protobuf.NullValue",
        _ => false,
    }
}
