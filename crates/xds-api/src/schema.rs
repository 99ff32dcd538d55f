//! What the Envoy v3 API's messages, fields and enums are called and how they are encoded: the descriptors that reading
//! and writing YAML or JSON needs, and that walking a message's set fields needs.
//!
//! `build.rs` compiles them from the `.proto` files inside the `envoy-types` crate into constant tables. The tables hold
//! offsets, not references, so they stay in the binary's shared read-only pages: a process that has read its
//! configuration holds nothing of them. Every file is included; a type without an implementation can still be printed and
//! its errors named.

include!(concat!(env!("OUT_DIR"), "/tables.rs"));

const FLAG_LIST: u8 = 1;
const FLAG_MAP: u8 = 1 << 1;
const FLAG_PRESENCE: u8 = 1 << 2;
const FLAG_DEPRECATED: u8 = 1 << 3;
const FLAG_SENSITIVE: u8 = 1 << 4;
const FLAG_DISALLOWED: u8 = 1 << 5;

/// A slice of `NAMES`.
#[derive(Clone, Copy)]
struct Name {
    start: u32,
    length: u8,
}

impl Name {
    fn text(self) -> &'static str {
        let start = self.start as usize;
        &NAMES[start..start + usize::from(self.length)]
    }
}

/// Sorted by name.
struct MessageRow {
    name: Name,
    first_field: u16,
    fields: u8,
    is_map_entry: bool,
}

/// A message's fields lie together, sorted by number.
struct FieldRow {
    name: Name,
    number: u32,
    target: u16,
    kind: RowKind,
    oneof: u8,
    flags: u8,
}

/// Sorted by name.
struct EnumRow {
    name: Name,
    first_value: u16,
    values: u8,
}

struct ValueRow {
    name: Name,
    number: i32,
}

#[derive(Clone, Copy)]
enum RowKind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
    Message,
    Enum,
}

/// A message type of the Envoy v3 API, or one it uses.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageType(u16);

impl MessageType {
    /// The type of that full name, such as `envoy.config.cluster.v3.Cluster`.
    pub fn named(full_name: &str) -> Option<Self> {
        let index = MESSAGES.binary_search_by(|row| row.name.text().cmp(full_name)).ok()?;
        u16::try_from(index).ok().map(Self)
    }

    /// Every type.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..MESSAGES.len()).filter_map(|index| u16::try_from(index).ok().map(Self))
    }

    fn row(self) -> &'static MessageRow {
        &MESSAGES[usize::from(self.0)]
    }

    /// The full name, without a leading dot.
    pub fn full_name(self) -> &'static str {
        self.row().name.text()
    }

    /// Whether this is the entry of a `map<,>` field: fields `key` (1) and `value` (2).
    pub fn is_map_entry(self) -> bool {
        self.row().is_map_entry
    }

    /// The fields in the order of their numbers.
    pub fn fields(self) -> impl ExactSizeIterator<Item = Field> {
        let first = self.row().first_field;
        (first..first + u16::from(self.row().fields)).map(Field)
    }

    /// The field of that number.
    pub fn field(self, number: u32) -> Option<Field> {
        let first = usize::from(self.row().first_field);
        let rows = &FIELDS[first..first + usize::from(self.row().fields)];
        let index = rows.binary_search_by_key(&number, |row| row.number).ok()?;
        u16::try_from(first + index).ok().map(Field)
    }

    /// The field of that name: as the `.proto` file writes it (`connect_timeout`) or as protobuf's JSON form does
    /// (`connectTimeout`).
    pub fn field_named(self, name: &str) -> Option<Field> {
        self.fields()
            .find(|field| field.name() == name)
            .or_else(|| self.fields().find(|field| field.has_json_name(name)))
    }
}

impl std::fmt::Debug for MessageType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.full_name())
    }
}

/// A field of a message.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Field(u16);

/// What a field holds: of a list or a map entry, what one element holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are protobuf's")]
pub enum Kind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
    Message(MessageType),
    Enum(EnumType),
}

impl Field {
    fn row(self) -> &'static FieldRow {
        &FIELDS[usize::from(self.0)]
    }

    fn flag(self, flag: u8) -> bool {
        self.row().flags & flag != 0
    }

    /// The name as the `.proto` file writes it.
    pub fn name(self) -> &'static str {
        self.row().name.text()
    }

    /// The number on the wire.
    pub fn number(self) -> u32 {
        self.row().number
    }

    /// What it holds.
    pub fn kind(self) -> Kind {
        let row = self.row();
        match row.kind {
            RowKind::Double => Kind::Double,
            RowKind::Float => Kind::Float,
            RowKind::Int32 => Kind::Int32,
            RowKind::Int64 => Kind::Int64,
            RowKind::Uint32 => Kind::Uint32,
            RowKind::Uint64 => Kind::Uint64,
            RowKind::Sint32 => Kind::Sint32,
            RowKind::Sint64 => Kind::Sint64,
            RowKind::Fixed32 => Kind::Fixed32,
            RowKind::Fixed64 => Kind::Fixed64,
            RowKind::Sfixed32 => Kind::Sfixed32,
            RowKind::Sfixed64 => Kind::Sfixed64,
            RowKind::Bool => Kind::Bool,
            RowKind::String => Kind::String,
            RowKind::Bytes => Kind::Bytes,
            RowKind::Message => Kind::Message(MessageType(row.target)),
            RowKind::Enum => Kind::Enum(EnumType(row.target)),
        }
    }

    /// Whether it is `repeated` and not a map.
    pub fn is_list(self) -> bool {
        self.flag(FLAG_LIST)
    }

    /// Whether it is a `map<,>`; its kind is then the entry's message.
    pub fn is_map(self) -> bool {
        self.flag(FLAG_MAP)
    }

    /// Whether "not set" differs from "set to zero or empty": messages, `optional` scalars and members of a oneof.
    pub fn has_presence(self) -> bool {
        self.flag(FLAG_PRESENCE)
    }

    /// Whether the API marks it deprecated.
    pub fn is_deprecated(self) -> bool {
        self.flag(FLAG_DEPRECATED)
    }

    /// Whether it must not be shown (`udpa.annotations.sensitive`): private keys, passwords.
    pub fn is_sensitive(self) -> bool {
        self.flag(FLAG_SENSITIVE)
    }

    /// Whether Envoy refuses it unless a runtime key allows it (`envoy.annotations.disallowed_by_default`).
    pub fn is_disallowed_by_default(self) -> bool {
        self.flag(FLAG_DISALLOWED)
    }

    /// Which oneof of its message it belongs to: an arbitrary number that all members share. `None` outside a oneof.
    pub fn oneof(self) -> Option<u8> {
        self.row().oneof.checked_sub(1)
    }

    /// Whether `name` is this field's name in protobuf's JSON form, lowerCamelCase.
    fn has_json_name(self, name: &str) -> bool {
        let mut expected = self.name().bytes();
        let mut found = name.bytes();
        loop {
            let expected = match expected.next() {
                Some(b'_') => expected.next().map(|byte| byte.to_ascii_uppercase()),
                other => other,
            };
            match (expected, found.next()) {
                (None, None) => return true,
                (expected, found) if expected == found => {}
                _ => return false,
            }
        }
    }
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// An enum type.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EnumType(u16);

impl EnumType {
    fn rows(self) -> &'static [ValueRow] {
        let row = &ENUMS[usize::from(self.0)];
        let first = usize::from(row.first_value);
        &ENUM_VALUES[first..first + usize::from(row.values)]
    }

    /// The full name.
    pub fn full_name(self) -> &'static str {
        ENUMS[usize::from(self.0)].name.text()
    }

    /// The values in the order of declaration: name and number.
    pub fn values(self) -> impl ExactSizeIterator<Item = (&'static str, i32)> {
        self.rows().iter().map(|row| (row.name.text(), row.number))
    }

    /// The first declared name of that number.
    pub fn value_name(self, number: i32) -> Option<&'static str> {
        self.values().find(|(_, other)| *other == number).map(|(name, _)| name)
    }
}

impl std::fmt::Debug for EnumType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.full_name())
    }
}

/// The version of the `envoy-types` crate from whose `.proto` files the tables were made.
pub const ENVOY_TYPES_VERSION: &str = env!("ENVOY_TYPES_VERSION");
