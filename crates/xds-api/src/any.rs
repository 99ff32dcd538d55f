//! `google.protobuf.Any`: packing, type names, and the wrappers that control planes put around a message.

use std::borrow::Cow;

use prost::{Message, Name};

use crate::document::{Document, Key, Mark, Node, Value};
use crate::encode::{UnknownEntry, UnknownFields, encode_document, encode_leniently, has_own_form};
use crate::error::FieldError;
use crate::google::protobuf::{self, Any, Struct};
use crate::schema::MessageType;

/// The type URL of a full message name: `type.googleapis.com/envoy.config.cluster.v3.Cluster`.
pub fn type_url(full_name: &str) -> String {
    format!("type.googleapis.com/{full_name}")
}

/// The full message name in a type URL: what follows its last slash.
pub fn type_name(type_url: &str) -> &str {
    type_url.rsplit('/').next().unwrap_or(type_url)
}

/// The message as an `Any`.
pub fn pack<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: type_url(&M::full_name()),
        value: message.encode_to_vec(),
    }
}

/// `xds.type.v3.TypedStruct`, which envoy-types does not have.
#[derive(Clone, PartialEq, Message)]
struct TypedStruct {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Struct>,
}

/// The message inside the wrapper that a control plane may put around a filter's configuration: `TypedStruct`
/// (`xds.type.v3` and the older `udpa.type.v1`), which carries the message as a free-form structure and its type's URL
/// (<https://www.envoyproxy.io/docs/envoy/v1.39.0/configuration/overview/extension>). Wrappers inside wrappers are
/// unwrapped as well; any other message is returned as it is. Fields that the message does not have are left out:
/// [`unknown_fields`](crate::unknown_fields) finds them.
///
/// # Errors
/// A wrapper whose bytes, type or fields are wrong, with the path inside it.
pub fn unwrap_any(any: &Any) -> Result<Cow<'_, Any>, Vec<FieldError>> {
    let mut any = Cow::Borrowed(any);
    // Bounded: a wrapper is only as deep as its structure.
    for _ in 0..8 {
        if !is_typed_struct(type_name(&any.type_url)) {
            return Ok(any);
        }
        any = Cow::Owned(from_typed_struct(&any)?);
    }
    Err(vec![error(
        "type_url",
        format!("{:?}", any.type_url),
        "at most 8 wrappers inside each other",
    )])
}

/// The type URL of the message inside a `TypedStruct` wrapper, also of one that is not known here; that of the `Any`
/// itself without a wrapper.
pub fn inner_type_url(any: &Any) -> Cow<'_, str> {
    if !is_typed_struct(type_name(&any.type_url)) {
        return Cow::Borrowed(&any.type_url);
    }
    // What does not decode is refused by whoever unwraps it.
    match TypedStruct::decode(any.value.as_slice()) {
        Ok(wrapper) => Cow::Owned(wrapper.type_url),
        Err(_) => Cow::Borrowed(&any.type_url),
    }
}

fn from_typed_struct(any: &Any) -> Result<Any, Vec<FieldError>> {
    let wrapper = TypedStruct::decode(any.value.as_slice()).map_err(|decode| {
        vec![error(
            "",
            format!("bytes that do not decode ({decode})"),
            "a TypedStruct",
        )]
    })?;
    let Some(message) = MessageType::named(type_name(&wrapper.type_url)) else {
        return Err(vec![error(
            "type_url",
            format!("{:?}", wrapper.type_url),
            "the URL of a known type",
        )]);
    };
    let document = Document {
        source_name: String::new(),
        root: described(message, wrapper.value.unwrap_or_default()),
    };
    let value = encode_document(&document, message, UnknownFields::Allow(&mut Vec::new()))?;
    Ok(Any {
        type_url: wrapper.type_url,
        value,
    })
}

/// Whether a message of this full name is a wrapper around another one.
pub(crate) fn is_typed_struct(full_name: &str) -> bool {
    matches!(full_name, "xds.type.v3.TypedStruct" | "udpa.type.v1.TypedStruct")
}

/// The message in a wrapper, as far as its values fit, its type, and the keys that are none of its fields; `None` for
/// bytes that are no wrapper, and for a type that is not known.
pub(crate) fn look_into(typed_struct: &[u8]) -> Option<(MessageType, Vec<u8>, Vec<UnknownEntry>)> {
    let wrapper = TypedStruct::decode(typed_struct).ok()?;
    let message = MessageType::named(type_name(&wrapper.type_url))?;
    let root = described(message, wrapper.value.unwrap_or_default());
    let (bytes, unknown) = encode_leniently(&root, message);
    Some((message, bytes, unknown))
}

/// What describes the message: a message with a JSON form of its own stands in the field `value`.
fn described(message: MessageType, wrapped: Struct) -> Node {
    let root = structure(wrapped);
    if has_own_form(message.full_name())
        && let Value::Map(entries) = &root.value
        && let Some((_, value)) = entries.iter().find(|(key, _)| &*key.text == "value")
    {
        return value.clone();
    }
    root
}

fn error(path: &str, found: String, expected: &str) -> FieldError {
    FieldError {
        path: path.to_owned(),
        line: 0,
        column: 0,
        found,
        expected: expected.to_owned(),
    }
}

fn structure(structure: Struct) -> Node {
    let mut fields: Vec<_> = structure.fields.into_iter().collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    let entry = |(key, field): (String, protobuf::Value)| {
        (
            Key {
                text: key.into(),
                mark: Mark::default(),
            },
            value(field),
        )
    };
    Node {
        value: Value::Map(fields.into_iter().map(entry).collect()),
        mark: Mark::default(),
    }
}

fn value(value: protobuf::Value) -> Node {
    use protobuf::value::Kind;
    let value = match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::NumberValue(number)) => Value::Number(number.to_string().into()),
        Some(Kind::StringValue(text)) => Value::String(text.into()),
        Some(Kind::BoolValue(value)) => Value::Bool(value, value.to_string().into()),
        Some(Kind::StructValue(fields)) => return structure(fields),
        Some(Kind::ListValue(list)) => Value::List(list.values.into_iter().map(self::value).collect()),
    };
    Node {
        value,
        mark: Mark::default(),
    }
}
