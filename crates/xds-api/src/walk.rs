//! Which fields a message sets: the base of "accepted without effect" and of "set but not supported".

use crate::any;
use crate::encode::has_own_form;
use crate::schema::{Field, Kind, MessageType};
use crate::wire::{WireError, WireFields, WireValue};
use crate::yaml::MAX_DEPTH;

/// A field that a message sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetField {
    /// From the outermost message down: `filter_chains[0].filters[1].typed_config.route_config`. The fields of the message
    /// in an `Any` follow the `Any`'s field; a map's key stands in brackets and quotes.
    pub path: String,
    /// The full name of the message that has the field.
    pub message: &'static str,
    /// The field's name in the `.proto` file.
    pub field: &'static str,
    /// The field's number.
    pub number: u32,
    /// Whether the API marks it deprecated.
    pub deprecated: bool,
}

/// Whether to go on into the message that a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// Visit the fields inside it.
    Into,
    /// Go on behind it.
    Over,
}

/// Calls `visit` for every field that is set in the message `bytes` of type `message`, outer before inner, in the order
/// of the wire. The well-known types (`Duration`, `Struct`, wrappers...) are leaves; an `Any` is entered if its type is
/// known, and every element of a list or a map is a visit of its own.
///
/// No state is kept and nothing is loaded: cheap enough for every resource of every update.
///
/// # Errors
/// The bytes are not such a message.
pub fn walk_set_fields(
    message: MessageType,
    bytes: &[u8],
    mut visit: impl FnMut(&SetField) -> Walk,
) -> Result<(), WireError> {
    let mut walker = Walker {
        path: String::new(),
        visit: &mut visit,
    };
    walker.message(message, bytes, 0)
}

/// All set fields as a list. Empty when the type is not known.
///
/// # Errors
/// As [`walk_set_fields`].
pub fn set_fields(full_name: &str, bytes: &[u8]) -> Result<Vec<SetField>, WireError> {
    let mut fields = Vec::new();
    if let Some(message) = MessageType::named(full_name) {
        walk_set_fields(message, bytes, |field| {
            fields.push(field.clone());
            Walk::Into
        })?;
    }
    Ok(fields)
}

struct Walker<'v> {
    path: String,
    visit: &'v mut dyn FnMut(&SetField) -> Walk,
}

impl Walker<'_> {
    fn message(&mut self, message: MessageType, bytes: &[u8], depth: usize) -> Result<(), WireError> {
        if depth > MAX_DEPTH {
            return Err(WireError);
        }
        // How often each list or map field has occurred.
        let mut indexes: Vec<(u32, usize)> = Vec::new();
        for field in WireFields::new(bytes) {
            let (number, value) = field?;
            let Some(field) = message.field(number) else { continue };
            if !field.has_presence() && is_default(value) && !field.is_list() && !field.is_map() {
                continue;
            }
            let length = self.path.len();
            if length > 0 {
                self.path.push('.');
            }
            self.path.push_str(field.name());
            if field.is_map() {
                self.map_entry(message, field, value, depth)?;
            } else {
                if field.is_list() {
                    let index = match indexes.iter_mut().find(|(other, _)| *other == number) {
                        Some((_, index)) => {
                            *index += 1;
                            *index
                        }
                        None => {
                            indexes.push((number, 0));
                            0
                        }
                    };
                    self.path.push_str(&format!("[{index}]"));
                }
                self.value(message, field, field.kind(), value, depth)?;
            }
            self.path.truncate(length);
        }
        Ok(())
    }

    fn map_entry(
        &mut self,
        message: MessageType,
        field: Field,
        value: WireValue<'_>,
        depth: usize,
    ) -> Result<(), WireError> {
        let (Kind::Message(entry), WireValue::Bytes(bytes)) = (field.kind(), value) else {
            return Err(WireError);
        };
        let mut key = String::new();
        let mut held = WireValue::Bytes(&[]);
        for part in WireFields::new(bytes) {
            match part? {
                (1, WireValue::Bytes(text)) => key = String::from_utf8_lossy(text).into_owned(),
                (1, WireValue::Varint(number)) => key = number.to_string(),
                (2, value) => held = value,
                _ => {}
            }
        }
        self.path.push_str(&format!("[{key:?}]"));
        let kind = entry.field(2).ok_or(WireError)?.kind();
        self.value(message, field, kind, held, depth)
    }

    /// Visits the field and, where it holds a message, what is inside.
    fn value(
        &mut self,
        message: MessageType,
        field: Field,
        kind: Kind,
        value: WireValue<'_>,
        depth: usize,
    ) -> Result<(), WireError> {
        let set = SetField {
            path: std::mem::take(&mut self.path),
            message: message.full_name(),
            field: field.name(),
            number: field.number(),
            deprecated: field.is_deprecated(),
        };
        let walk = (self.visit)(&set);
        self.path = set.path;
        let (Kind::Message(inner), WireValue::Bytes(bytes), Walk::Into) = (kind, value, walk) else {
            return Ok(());
        };
        match inner.full_name() {
            "google.protobuf.Any" => {
                let (mut url, mut bytes_inside) = (&[][..], &[][..]);
                for part in WireFields::new(bytes) {
                    match part? {
                        (1, WireValue::Bytes(text)) => url = text,
                        (2, WireValue::Bytes(value)) => bytes_inside = value,
                        _ => {}
                    }
                }
                let url = std::str::from_utf8(url).map_err(|_| WireError)?;
                match MessageType::named(any::type_name(url)) {
                    Some(message) if !has_own_form(message.full_name()) => {
                        self.message(message, bytes_inside, depth + 1)
                    }
                    _ => Ok(()),
                }
            }
            name if has_own_form(name) => Ok(()),
            _ => self.message(inner, bytes, depth + 1),
        }
    }
}

fn is_default(value: WireValue<'_>) -> bool {
    matches!(
        value,
        WireValue::Varint(0) | WireValue::Fixed32(0) | WireValue::Fixed64(0) | WireValue::Bytes([])
    )
}
