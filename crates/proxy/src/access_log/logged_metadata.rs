//! Metadata in access logs.

use std::borrow::Cow;

use config::metadata::{Metadata, Struct, Value};
use telemetry::access_log::MetadataValue;
use telemetry::json::write_string;

/// The value at a path, or all that a filter has said.
pub(crate) enum Found<'a> {
    Value(&'a Value),
    All(&'a Struct),
}

pub(crate) fn found_value<'a>(metadata: &'a Metadata, namespace: &str, path: &[Box<str>]) -> Option<Found<'a>> {
    match path {
        [] => metadata.filter(namespace).map(Found::All),
        path => metadata.value(namespace, path).map(Found::Value),
    }
}

pub(crate) fn borrowed(found: Found<'_>) -> MetadataValue<'_> {
    match found {
        Found::Value(Value::String(text)) => MetadataValue::String(Cow::Borrowed(text)),
        other => owned(other),
    }
}

pub(crate) fn owned<'a>(found: Found<'_>) -> MetadataValue<'a> {
    match found {
        Found::Value(Value::String(text)) => MetadataValue::String(Cow::Owned(text.to_string())),
        Found::Value(Value::Number(number)) => MetadataValue::Number(*number),
        Found::Value(Value::Bool(truth)) => MetadataValue::Bool(*truth),
        Found::Value(value) => {
            let mut json = String::new();
            write_json(value, &mut json);
            MetadataValue::Json(Cow::Owned(json))
        }
        Found::All(fields) => {
            let mut json = String::new();
            write_json_object(fields, &mut json);
            MetadataValue::Json(Cow::Owned(json))
        }
    }
}

fn write_json(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => write_string(text, out),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::List(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write_json(value, out);
            }
            out.push(']');
        }
        Value::Struct(fields) => write_json_object(fields, out),
    }
}

fn write_json_object(fields: &Struct, out: &mut String) {
    out.push('{');
    for (index, (name, value)) in fields.iter().enumerate() {
        out.push_str(if index > 0 { "," } else { "" });
        write_string(name, out);
        out.push(':');
        write_json(value, out);
    }
    out.push('}');
}

/// As one text, whatever it is.
pub(crate) fn plain(found: Found<'_>) -> MetadataValue<'_> {
    match borrowed(found) {
        MetadataValue::Json(json) => MetadataValue::String(json),
        value => value,
    }
}
