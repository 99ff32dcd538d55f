//! Metadata: structured data that other parts match on (`envoy.config.core.v3.Metadata`, `google.protobuf.Struct`).

use std::collections::BTreeMap;
use std::sync::Arc;

use xds_api::envoy::config::core::v3 as core;
use xds_api::google::protobuf;

use crate::context::Context;
use crate::shared_str::shared;

/// A JSON-like value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// A number; Envoy keeps all numbers as doubles.
    Number(f64),
    /// A string.
    String(Arc<str>),
    /// `true` or `false`.
    Bool(bool),
    /// A list.
    List(Vec<Value>),
    /// An object.
    Struct(Struct),
}

/// A JSON-like object, ordered by key.
pub type Struct = BTreeMap<Arc<str>, Value>;

/// Metadata by filter name, such as `envoy.lb` or `envoy.transport_socket_match`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metadata {
    /// The objects by filter name.
    pub filter_metadata: BTreeMap<Arc<str>, Struct>,
}

impl Metadata {
    /// No metadata.
    pub const EMPTY: &'static Self = &Self {
        filter_metadata: BTreeMap::new(),
    };

    /// The object of a filter.
    pub fn filter(&self, name: &str) -> Option<&Struct> {
        self.filter_metadata.get(name)
    }

    /// The value under a path of keys in a filter's object.
    pub fn value<'a>(&'a self, filter: &str, path: &[impl AsRef<str>]) -> Option<&'a Value> {
        let (last, keys) = path.split_last()?;
        let mut fields = self.filter(filter)?;
        for key in keys {
            match fields.get(key.as_ref())? {
                Value::Struct(inner) => fields = inner,
                _ => return None,
            }
        }
        fields.get(last.as_ref())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.filter_metadata.is_empty()
    }
}

impl Metadata {
    /// Parses metadata. Typed metadata has no effect.
    pub fn parse(context: &mut Context<'_>, message: &core::Metadata) -> Self {
        context.check(message);
        let filters = message
            .filter_metadata
            .iter()
            .map(|(name, fields)| (shared(name), parse_struct(fields)));
        Self {
            filter_metadata: filters.collect(),
        }
    }

    /// Parses metadata that may be absent.
    pub fn parse_optional(context: &mut Context<'_>, field: &'static str, message: Option<&core::Metadata>) -> Self {
        message
            .map(|message| context.at(field, |context| Self::parse(context, message)))
            .unwrap_or_default()
    }
}

/// Parses an object. Its depth was bounded when the message was decoded.
pub fn parse_struct(message: &protobuf::Struct) -> Struct {
    message
        .fields
        .iter()
        .map(|(name, value)| (shared(name), parse_value(value)))
        .collect()
}

fn parse_value(message: &protobuf::Value) -> Value {
    use protobuf::value::Kind;
    match &message.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::NumberValue(number)) => Value::Number(*number),
        Some(Kind::StringValue(text)) => Value::String(shared(text)),
        Some(Kind::BoolValue(value)) => Value::Bool(*value),
        Some(Kind::StructValue(fields)) => Value::Struct(parse_struct(fields)),
        Some(Kind::ListValue(list)) => Value::List(list.values.iter().map(parse_value).collect()),
    }
}
