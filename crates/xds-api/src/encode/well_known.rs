//! The messages of google.protobuf that have a JSON form of their own.

use super::expected::nearest_type;
use super::*;

/// Types that are not known are told which they might have been meant to be up to this many errors.
const MAX_SUGGESTED_TYPES: usize = 16;

/// The wrapper messages, whose one field is `value`.
fn is_wrapper(full_name: &str) -> bool {
    matches!(
        full_name,
        "google.protobuf.DoubleValue"
            | "google.protobuf.FloatValue"
            | "google.protobuf.Int64Value"
            | "google.protobuf.UInt64Value"
            | "google.protobuf.Int32Value"
            | "google.protobuf.UInt32Value"
            | "google.protobuf.BoolValue"
            | "google.protobuf.StringValue"
            | "google.protobuf.BytesValue"
    )
}

/// Whether a message's JSON form is not a map of its fields.
pub(crate) fn has_own_form(full_name: &str) -> bool {
    is_wrapper(full_name)
        || matches!(
            full_name,
            "google.protobuf.Any"
                | "google.protobuf.Duration"
                | "google.protobuf.FieldMask"
                | "google.protobuf.ListValue"
                | "google.protobuf.Struct"
                | "google.protobuf.Timestamp"
                | "google.protobuf.Value"
        )
}

impl Encoder {
    /// Reads `node` if `message` has a form of its own and the node is not the map of its fields, which Envoy takes as
    /// well (`connect_timeout: {seconds: 1}`). Returns whether it did.
    pub(super) fn well_known(&mut self, message: MessageType, node: &Node, out: &mut Vec<u8>) -> bool {
        let name = message.full_name();
        if !name.starts_with("google.protobuf.") {
            return false;
        }
        let is_map = matches!(node.value, Value::Map(_));
        match name {
            "google.protobuf.Any" => self.any(node, out),
            "google.protobuf.Struct" => self.structure(node, out),
            "google.protobuf.Value" => self.any_value(message, node, out),
            "google.protobuf.ListValue" => match (&node.value, message.field(1)) {
                (Value::List(_), Some(values)) => self.field(values, node, out),
                _ => self.fail(node, "a list"),
            },
            "google.protobuf.Duration" if !is_map => {
                self.moment(node, scalar::duration, "a duration in seconds such as 0.25s", out)
            }
            "google.protobuf.Timestamp" if !is_map => {
                self.moment(node, scalar::timestamp, "a time such as 2001-02-03T04:05:06Z", out);
            }
            "google.protobuf.FieldMask" if !is_map => match &node.value {
                Value::String(text) => {
                    for path in text.split(',').filter(|path| !path.is_empty()) {
                        put_field(out, 1, WireValue::Bytes(scalar::snake_case(path).as_bytes()));
                    }
                }
                _ => self.fail(node, "field paths in one string, divided by commas"),
            },
            _ if is_wrapper(name) && !is_map => {
                if let Some(value) = message.field(1) {
                    self.value(value, node, false, out);
                }
            }
            _ => return false,
        }
        true
    }

    /// `Duration` and `Timestamp`: seconds and nanoseconds.
    fn moment(&mut self, node: &Node, parse: fn(&str) -> Option<(i64, i32)>, expected: &str, out: &mut Vec<u8>) {
        let parsed = match &node.value {
            Value::String(text) => parse(text),
            _ => None,
        };
        let Some((seconds, nanos)) = parsed else {
            self.fail(node, expected);
            return;
        };
        if seconds != 0 {
            put_field(out, 1, WireValue::Varint(seconds as u64));
        }
        if nanos != 0 {
            put_field(out, 2, WireValue::Varint(i64::from(nanos) as u64));
        }
    }

    /// A map whose `@type` says which message the rest of it describes.
    fn any(&mut self, node: &Node, out: &mut Vec<u8>) {
        let Value::Map(entries) = &node.value else {
            self.fail(node, "a map with `@type`");
            return;
        };
        if entries.is_empty() {
            return;
        }
        let Some((_, type_node)) = entries.iter().find(|(key, _)| &*key.text == "@type") else {
            self.fail(node, "a map with `@type`");
            return;
        };
        let message = match &type_node.value {
            Value::String(url) if url.find('/').is_some_and(|slash| slash > 0) => {
                MessageType::named(any::type_name(url)).map(|message| (url, message))
            }
            _ => None,
        };
        let Some((url, message)) = message else {
            return self.fail_type(type_node);
        };
        let mut bytes = Vec::new();
        if has_own_form(message.full_name()) {
            match entries.iter().find(|(key, _)| &*key.text == "value") {
                Some((_, value)) => self.message(message, value, &mut bytes),
                None => self.fail(node, format!("`value` with the {}", message.full_name())),
            }
        } else {
            self.fields(
                message,
                entries.iter().filter(|(key, _)| &*key.text != "@type"),
                &mut bytes,
            );
        }
        put_field(out, 1, WireValue::Bytes(url.as_bytes()));
        put_field(out, 2, WireValue::Bytes(&bytes));
    }

    /// The message's type is not known. Its URL is shown whole: the end is what differs.
    fn fail_type(&mut self, node: &Node) {
        let found = match &node.value {
            Value::String(url) => format!("type {url:?}"),
            other => describe(other),
        };
        let meant = match &node.value {
            // Looking for it takes a while.
            Value::String(url) if self.errors.len() < MAX_SUGGESTED_TYPES => nearest_type(any::type_name(url)),
            _ => None,
        };
        let expected = match meant {
            Some(name) => format!("the URL of a known type; did you mean {:?}?", any::type_url(name)),
            None => {
                "the URL of a known type, such as \"type.googleapis.com/envoy.config.cluster.v3.Cluster\"".to_owned()
            }
        };
        let (line, column) = (node.mark.line, node.mark.column);
        self.below("@type", |this| {
            let path = this.path.clone();
            this.errors.push(FieldError {
                path,
                line,
                column,
                found,
                expected,
            });
        });
    }

    fn structure(&mut self, node: &Node, out: &mut Vec<u8>) {
        match (
            &node.value,
            MessageType::named("google.protobuf.Struct").and_then(|message| message.field(1)),
        ) {
            (Value::Map(_), Some(fields)) => self.map_of_values(fields, node, out),
            _ => self.fail(node, "a map"),
        }
    }

    /// As a map, except that null is a value.
    fn map_of_values(&mut self, fields: Field, node: &Node, out: &mut Vec<u8>) {
        let Value::Map(entries) = &node.value else { return };
        let Some(value_type) = MessageType::named("google.protobuf.Value") else {
            return;
        };
        for (key, node) in entries {
            self.element(format_args!("{:?}", key.text), |this| {
                let mut value = Vec::new();
                this.message(value_type, node, &mut value);
                let mut entry = Vec::new();
                if !key.text.is_empty() {
                    put_field(&mut entry, 1, WireValue::Bytes(key.text.as_bytes()));
                }
                put_field(&mut entry, 2, WireValue::Bytes(&value));
                put_field(out, fields.number(), WireValue::Bytes(&entry));
            });
        }
    }

    /// `google.protobuf.Value`: whatever JSON can say.
    fn any_value(&mut self, message: MessageType, node: &Node, out: &mut Vec<u8>) {
        let mut nested = |this: &mut Self, number: u32| {
            if let Some(field) = message.field(number)
                && let Kind::Message(inner) = field.kind()
            {
                let mut bytes = Vec::new();
                this.message(inner, node, &mut bytes);
                put_field(out, number, WireValue::Bytes(&bytes));
            }
        };
        match &node.value {
            Value::Map(_) => nested(self, 5),
            Value::List(_) => nested(self, 6),
            Value::Null => put_field(out, 1, WireValue::Varint(0)),
            Value::Number(text) => match scalar::float(text) {
                Some(value) => put_field(out, 2, WireValue::Fixed64(value.to_bits())),
                None => self.fail(node, "a number"),
            },
            Value::String(text) => put_field(out, 3, WireValue::Bytes(text.as_bytes())),
            Value::Bool(value, _) => {
                put_varint(out, 4 << 3);
                put_varint(out, u64::from(*value));
            }
        }
    }
}
