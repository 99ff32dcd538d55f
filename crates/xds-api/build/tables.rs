//! Renders a descriptor pool as the constant tables that `src/schema.rs` reads.

use std::collections::HashMap;
use std::fmt::Write as _;

use protox::prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

/// One string of which every name is a slice, so that a table row holds numbers only and needs no relocation at start.
#[derive(Default)]
struct Names {
    text: String,
    spans: HashMap<String, (usize, usize)>,
}

impl Names {
    fn span(&mut self, name: &str) -> String {
        let (start, length) = *self.spans.entry(name.to_owned()).or_insert_with(|| {
            let start = self.text.len();
            self.text.push_str(name);
            (start, name.len())
        });
        format!("Name{{start:{start},length:{length}}}")
    }
}

pub(crate) fn render(pool: &DescriptorPool) -> String {
    let mut messages: Vec<MessageDescriptor> = pool.all_messages().collect();
    messages.sort_by(|a, b| a.full_name().cmp(b.full_name()));
    let mut enums: Vec<EnumDescriptor> = pool.all_enums().collect();
    enums.sort_by(|a, b| a.full_name().cmp(b.full_name()));
    let message_index: HashMap<String, usize> = messages
        .iter()
        .enumerate()
        .map(|(index, message)| (message.full_name().to_owned(), index))
        .collect();
    let enum_index: HashMap<String, usize> = enums
        .iter()
        .enumerate()
        .map(|(index, value)| (value.full_name().to_owned(), index))
        .collect();

    let mut names = Names::default();
    let mut message_rows = String::new();
    let mut field_rows = String::new();
    let mut field_count = 0;
    for message in &messages {
        let mut fields: Vec<FieldDescriptor> = message.fields().collect();
        fields.sort_by_key(FieldDescriptor::number);
        let name = names.span(message.full_name());
        writeln!(
            message_rows,
            "MessageRow{{name:{name},first_field:{field_count},fields:{},is_map_entry:{}}},",
            fields.len(),
            message.is_map_entry()
        )
        .expect("a String takes everything");
        field_count += fields.len();
        for field in &fields {
            let (kind, target) = match field.kind() {
                Kind::Double => ("Double", 0),
                Kind::Float => ("Float", 0),
                Kind::Int32 => ("Int32", 0),
                Kind::Int64 => ("Int64", 0),
                Kind::Uint32 => ("Uint32", 0),
                Kind::Uint64 => ("Uint64", 0),
                Kind::Sint32 => ("Sint32", 0),
                Kind::Sint64 => ("Sint64", 0),
                Kind::Fixed32 => ("Fixed32", 0),
                Kind::Fixed64 => ("Fixed64", 0),
                Kind::Sfixed32 => ("Sfixed32", 0),
                Kind::Sfixed64 => ("Sfixed64", 0),
                Kind::Bool => ("Bool", 0),
                Kind::String => ("String", 0),
                Kind::Bytes => ("Bytes", 0),
                Kind::Message(target) => ("Message", message_index[target.full_name()]),
                Kind::Enum(target) => ("Enum", enum_index[target.full_name()]),
            };
            let oneof = field
                .containing_oneof()
                .filter(|oneof| !oneof.is_synthetic())
                .map_or(0, |oneof| {
                    1 + message
                        .oneofs()
                        .position(|other| other == oneof)
                        .expect("a oneof is its message's")
                });
            assert_eq!(
                field.json_name(),
                json_name(field.name()),
                "{}: schema.rs derives JSON names",
                field.full_name()
            );
            writeln!(
                field_rows,
                "FieldRow{{name:{},number:{},target:{target},kind:RowKind::{kind},oneof:{oneof},flags:{}}},",
                names.span(field.name()),
                field.number(),
                flags(field),
            )
            .expect("a String takes everything");
        }
    }

    let mut enum_rows = String::new();
    let mut value_rows = String::new();
    let mut value_count = 0;
    for value in &enums {
        let name = names.span(value.full_name());
        let values: Vec<_> = value.values().collect();
        writeln!(
            enum_rows,
            "EnumRow{{name:{name},first_value:{value_count},values:{}}},",
            values.len()
        )
        .expect("a String takes everything");
        value_count += values.len();
        for value in values {
            writeln!(
                value_rows,
                "ValueRow{{name:{},number:{}}},",
                names.span(value.name()),
                value.number()
            )
            .expect("a String takes everything");
        }
    }
    format!(
        "static NAMES: &str = {:?};\n\
         static MESSAGES: [MessageRow; {}] = [\n{message_rows}];\n\
         static FIELDS: [FieldRow; {field_count}] = [\n{field_rows}];\n\
         static ENUMS: [EnumRow; {}] = [\n{enum_rows}];\n\
         static ENUM_VALUES: [ValueRow; {value_count}] = [\n{value_rows}];\n",
        names.text,
        messages.len(),
        enums.len(),
    )
}

/// The `FLAG_*` constants of `src/schema.rs`.
fn flags(field: &FieldDescriptor) -> u8 {
    let option = |name: &str| {
        field
            .options()
            .extensions()
            .any(|(extension, value)| extension.full_name() == name && value.as_bool() == Some(true))
    };
    let deprecated = field
        .options()
        .get_field_by_name("deprecated")
        .is_some_and(|value| value.as_bool() == Some(true));
    u8::from(field.is_list())
        | u8::from(field.is_map()) << 1
        | u8::from(field.supports_presence()) << 2
        | u8::from(deprecated) << 3
        | u8::from(option("udpa.annotations.sensitive")) << 4
        | u8::from(option("envoy.annotations.disallowed_by_default")) << 5
}

/// protobuf's lowerCamelCase.
fn json_name(name: &str) -> String {
    let mut json = String::new();
    let mut upper = false;
    for c in name.chars() {
        if c == '_' {
            upper = true;
        } else if std::mem::take(&mut upper) {
            json.push(c.to_ascii_uppercase());
        } else {
            json.push(c);
        }
    }
    json
}
