//! `google.protobuf.Any`: packing, type names, and the wrappers that control planes put around a message.

use std::borrow::Cow;

use prost::{Message, Name};

use crate::document::{Document, Key, Mark, Node, Value};
use crate::encode::{UnknownFields, encode_document, has_own_form};
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
/// unwrapped as well; any other message is returned as it is.
///
/// # Errors
/// A wrapper whose bytes, type or fields are wrong, with the path inside it.
pub fn unwrap_any(any: &Any) -> Result<Cow<'_, Any>, Vec<FieldError>> {
    let mut any = Cow::Borrowed(any);
    // Bounded: a wrapper is only as deep as its structure.
    for _ in 0..8 {
        if !matches!(
            type_name(&any.type_url),
            "xds.type.v3.TypedStruct" | "udpa.type.v1.TypedStruct"
        ) {
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
    if !matches!(
        type_name(&any.type_url),
        "xds.type.v3.TypedStruct" | "udpa.type.v1.TypedStruct"
    ) {
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
    let mut root = structure(wrapper.value.unwrap_or_default());
    if has_own_form(message.full_name())
        && let Value::Map(entries) = &root.value
        && let Some((_, value)) = entries.iter().find(|(key, _)| &*key.text == "value")
    {
        root = value.clone();
    }
    let document = Document {
        source_name: String::new(),
        root,
    };
    let value = encode_document(&document, message, UnknownFields::Reject)?;
    Ok(Any {
        type_url: wrapper.type_url,
        value,
    })
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
