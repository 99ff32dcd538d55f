//! Field masks (`google.protobuf.FieldMask`) on messages of which only type and bytes are known.

use xds_api::google::protobuf::Any;
use xds_api::prost::Message as _;
use xds_api::schema::{Kind, MessageType};
use xds_api::type_name;
use xds_api::wire::{WireError, WireFields, WireValue, put_field};

/// Whether every path of the mask names a field, going through singular messages only; inside an `Any` any path goes.
pub(super) fn is_valid(message: MessageType, mask: &str) -> bool {
    paths(mask).all(|path| {
        let mut message = message;
        let mut steps = path.split('.').peekable();
        while let Some(step) = steps.next() {
            let Some(field) = message.field_named(step) else {
                return false;
            };
            if steps.peek().is_none() {
                return true;
            }
            match field.kind() {
                Kind::Message(inner) if inner.full_name() == ANY => return true,
                Kind::Message(inner) if !field.is_list() && !field.is_map() => message = inner,
                _ => return false,
            }
        }
        false
    })
}

const ANY: &str = "google.protobuf.Any";

/// The message with the masked fields only. The message in an `Any` is masked by what follows the `Any`'s field.
///
/// # Errors
/// The bytes are not such a message.
pub(super) fn trim(message: MessageType, bytes: &[u8], mask: &str) -> Result<Vec<u8>, WireError> {
    let paths: Vec<&str> = paths(mask).collect();
    trim_paths(message, bytes, &paths)
}

fn paths(mask: &str) -> impl Iterator<Item = &str> {
    mask.split(',').map(str::trim).filter(|path| !path.is_empty())
}

fn trim_paths(message: MessageType, bytes: &[u8], paths: &[&str]) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::new();
    for field in WireFields::new(bytes) {
        let (number, value) = field?;
        let Some(field) = message.field(number) else { continue };
        let mut inner_paths = Vec::new();
        let mut whole = false;
        for path in paths {
            let (step, rest) = path
                .split_once('.')
                .map_or((*path, None), |(step, rest)| (step, Some(rest)));
            if message.field_named(step) == Some(field) {
                match rest {
                    Some(rest) => inner_paths.push(rest),
                    None => whole = true,
                }
            }
        }
        match (whole, value, field.kind()) {
            (true, value, _) => put_field(&mut out, number, value),
            (false, WireValue::Bytes(bytes), Kind::Message(inner)) if !inner_paths.is_empty() => {
                let trimmed = match inner.full_name() {
                    ANY => trim_any(bytes, &inner_paths)?,
                    _ => trim_paths(inner, bytes, &inner_paths)?,
                };
                put_field(&mut out, number, WireValue::Bytes(&trimmed));
            }
            _ => {}
        }
    }
    Ok(out)
}

fn trim_any(bytes: &[u8], paths: &[&str]) -> Result<Vec<u8>, WireError> {
    let mut any = Any::decode(bytes).map_err(|_| WireError)?;
    if let Some(message) = MessageType::named(type_name(&any.type_url)) {
        any.value = trim_paths(message, &any.value, paths)?;
    }
    Ok(any.encode_to_vec())
}
