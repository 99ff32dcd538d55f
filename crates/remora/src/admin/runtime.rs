//! `/runtime`: the values of the bootstrap's layers.

use std::collections::{BTreeMap, HashMap};

use config::bootstrap::RuntimeLayer;
use config::metadata::{Struct, Value};
use xds_api::google::protobuf::{self, ListValue, value::Kind};
use xds_api::{JsonStyle, to_json_styled};

use super::Answer;
use super::routes::Request;

pub(super) fn answer(request: &Request<'_>) -> Answer {
    let runtime = runtime(request.source.runtime_layers());
    Answer::json(to_json_styled(
        &runtime,
        JsonStyle {
            pretty: true,
            ..JsonStyle::default()
        },
    ))
}

fn runtime(layers: &[RuntimeLayer]) -> protobuf::Struct {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (index, layer) in layers.iter().enumerate() {
        let mut flat = Vec::new();
        flatten("", layer.values.as_ref().unwrap_or(&Struct::default()), &mut flat);
        for (key, value) in flat {
            values.entry(key).or_insert_with(|| vec![String::new(); layers.len()])[index] = value;
        }
    }
    let entries = values.into_iter().map(|(key, values)| {
        let last = values
            .iter()
            .rev()
            .find(|value| !value.is_empty())
            .cloned()
            .unwrap_or_default();
        let layers = list(values.into_iter());
        (key, object([("final_value", text(last)), ("layer_values", layers)]))
    });
    let names = list(layers.iter().map(|layer| layer.name.to_string()));
    let entries = protobuf::Struct {
        fields: entries.collect(),
    };
    let fields: HashMap<_, _> = [
        ("entries".to_owned(), of(Kind::StructValue(entries))),
        ("layers".to_owned(), names),
    ]
    .into();
    protobuf::Struct { fields }
}

/// Nested objects are one level with dots in the names.
fn flatten(prefix: &str, fields: &Struct, flat: &mut Vec<(String, String)>) {
    for (name, value) in fields {
        let name = if prefix.is_empty() {
            name.to_string()
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            Value::Struct(fields) => flatten(&name, fields, flat),
            Value::Null => {}
            Value::Bool(value) => flat.push((name, value.to_string())),
            Value::Number(number) => flat.push((name, number.to_string())),
            Value::String(text) => flat.push((name, text.to_string())),
            Value::List(_) => flat.push((name, String::new())),
        }
    }
}

fn of(kind: Kind) -> protobuf::Value {
    protobuf::Value { kind: Some(kind) }
}

fn text(text: String) -> protobuf::Value {
    of(Kind::StringValue(text))
}

fn list(values: impl Iterator<Item = String>) -> protobuf::Value {
    of(Kind::ListValue(ListValue {
        values: values.map(text).collect(),
    }))
}

fn object<const N: usize>(fields: [(&str, protobuf::Value); N]) -> protobuf::Value {
    let fields = fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    of(Kind::StructValue(protobuf::Struct { fields }))
}
