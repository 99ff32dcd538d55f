//! From a marked YAML tree to a typed object, keeping the line of what is wrong.
//!
//! `serde_json` would do it without lines, and would pass over unknown fields: here a
//! field that no type asks for is a fault, as it is for `kubectl apply`.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use xds_api::{Key, Node, Value};

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldFault {
    /// The field, e.g. `spec.ports[0].port`.
    pub path: String,
    /// Counted from 1.
    pub line: u32,
    /// What was found and what was expected.
    pub reason: String,
}

/// Reads an object. Root fields named in `ignored` (`apiVersion` and `kind`, for types
/// that do not ask for them) are passed over; all other unknown fields are faults.
///
/// # Errors
/// What is wrong: the first field of a wrong type, or else every unknown field.
pub fn from_node<T: DeserializeOwned>(node: &Node, ignored: &[&str]) -> Result<T, Vec<FieldFault>> {
    let unknown = RefCell::new(Vec::new());
    let reader = Reader {
        node,
        path: Path::Root,
        unknown: &unknown,
    };
    let value = T::deserialize(reader).map_err(|error| {
        vec![FieldFault {
            path: error.path.unwrap_or_default(),
            line: if error.line == 0 { node.mark.line } else { error.line },
            reason: error.reason,
        }]
    })?;
    let mut unknown = unknown.into_inner();
    unknown.retain(|fault| !ignored.contains(&fault.path.as_str()));
    if unknown.is_empty() { Ok(value) } else { Err(unknown) }
}

/// The way from the root to a node, kept on the stack.
#[derive(Clone, Copy)]
enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            // Keys of labels and annotations contain dots.
            Self::Field(parent, name) if name.contains(['.', '[']) => write!(f, "{parent}[\"{name}\"]"),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// An error on its way up: the innermost reader gives it its place.
#[derive(Debug)]
struct ReadError {
    path: Option<String>,
    line: u32,
    reason: String,
}

impl ReadError {
    fn at(mut self, path: &Path<'_>, line: u32) -> Self {
        if self.path.is_none() {
            self.path = Some(path.to_string());
            self.line = line;
        }
        self
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            path: None,
            line: 0,
            reason: message.to_string(),
        }
    }
}

#[derive(Clone, Copy)]
struct Reader<'p, 'de> {
    node: &'de Node,
    path: Path<'p>,
    unknown: &'p RefCell<Vec<FieldFault>>,
}

impl<'de> Reader<'_, 'de> {
    fn number<V: Visitor<'de>>(text: &str, visitor: V) -> Result<V::Value, ReadError> {
        if let Ok(number) = text.parse::<u64>() {
            visitor.visit_u64(number)
        } else if let Ok(number) = text.parse::<i64>() {
            visitor.visit_i64(number)
        } else if let Ok(number) = text.parse::<f64>() {
            visitor.visit_f64(number)
        } else {
            Err(de::Error::custom(format!("{text} is not a number")))
        }
    }

    fn place<T>(self, result: Result<T, ReadError>) -> Result<T, ReadError> {
        result.map_err(|error| error.at(&self.path, self.node.mark.line))
    }
}

impl<'de> Deserializer<'de> for Reader<'_, 'de> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let result = match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value, _) => visitor.visit_bool(*value),
            Value::Number(text) => Self::number(text, visitor),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => visitor.visit_seq(List {
                reader: self,
                items: items.iter().enumerate(),
            }),
            Value::Map(entries) => visitor.visit_map(Entries {
                reader: self,
                entries: entries.iter(),
                value: None,
            }),
        };
        self.place(result)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.place(visitor.visit_newtype_struct(self))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let result = match &self.node.value {
            Value::String(text) => visitor.visit_enum(BorrowedStrDeserializer::new(text)),
            Value::Map(entries) if entries.len() == 1 => visitor.visit_enum(Variant {
                reader: self,
                key: &entries[0].0,
                node: &entries[0].1,
            }),
            _ => return self.deserialize_any(visitor),
        };
        self.place(result)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.unknown.borrow_mut().push(FieldFault {
            path: self.path.to_string(),
            line: self.node.mark.line,
            reason: "unknown field".to_owned(),
        });
        visitor.visit_unit()
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let reason = match &self.node.value {
            Value::Bool(_, text) => {
                format!("found the boolean {text}, expected a string: put it in quotes to mean the text")
            }
            Value::Number(text) => {
                format!("found the number {text}, expected a string: put it in quotes to mean the text")
            }
            _ => return self.deserialize_any(visitor),
        };
        self.place(Err(de::Error::custom(reason)))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char
        bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
    }
}

struct List<'p, 'de, I> {
    reader: Reader<'p, 'de>,
    items: I,
}

impl<'de, I: Iterator<Item = (usize, &'de Node)>> SeqAccess<'de> for List<'_, 'de, I> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some((index, node)) = self.items.next() else {
            return Ok(None);
        };
        let reader = Reader {
            node,
            path: Path::Index(&self.reader.path, index),
            unknown: self.reader.unknown,
        };
        reader_deserialize(seed, reader).map(Some)
    }
}

struct Entries<'p, 'de, I> {
    reader: Reader<'p, 'de>,
    entries: I,
    value: Option<&'de (Key, Node)>,
}

impl<'de, I: Iterator<Item = &'de (Key, Node)>> MapAccess<'de> for Entries<'_, 'de, I> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        self.value = self.entries.next();
        match self.value {
            None => Ok(None),
            Some((key, _)) => seed
                .deserialize(BorrowedStrDeserializer::new(&key.text))
                .map(Some)
                .map_err(|error: ReadError| error.at(&self.reader.path, key.mark.line)),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some((key, node)) = self.value.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        let reader = Reader {
            node,
            path: Path::Field(&self.reader.path, &key.text),
            unknown: self.reader.unknown,
        };
        reader_deserialize(seed, reader)
    }
}

struct Variant<'p, 'de> {
    reader: Reader<'p, 'de>,
    key: &'de Key,
    node: &'de Node,
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), ReadError> {
        let name: BorrowedStrDeserializer<'de, ReadError> = BorrowedStrDeserializer::new(&self.key.text);
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        Err(de::Error::custom("expected a name, found a map"))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        let reader = Reader {
            node: self.node,
            path: Path::Field(&self.reader.path, &self.key.text),
            unknown: self.reader.unknown,
        };
        reader_deserialize(seed, reader)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.struct_variant(&[], visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let reader = Reader {
            node: self.node,
            path: Path::Field(&self.reader.path, &self.key.text),
            unknown: self.reader.unknown,
        };
        reader.deserialize_any(visitor)
    }
}

/// Reads a part, giving its place to an error that has none: also to those a type
/// raises after its reader returned (a missing field, a value out of range).
fn reader_deserialize<'de, S: DeserializeSeed<'de>>(seed: S, reader: Reader<'_, 'de>) -> Result<S::Value, ReadError> {
    let (path, line) = (reader.path, reader.node.mark.line);
    seed.deserialize(reader).map_err(|error| error.at(&path, line))
}
