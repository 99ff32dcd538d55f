use std::collections::{BTreeMap, BTreeSet};

use xds_api::schema::{Kind, MessageType};
use xds_api::wire::{WireValue, put_field};

use super::*;
use crate::Extensions;

fn checks() -> Vec<EncodedCheck> {
    [
        access_log::CHECKS,
        crate::bootstrap::CHECKS,
        cluster::CHECKS,
        core::CHECKS,
        endpoint::CHECKS,
        http_connection_manager::CHECKS,
        http_filters::CHECKS,
        listener::CHECKS,
        listener_filters::CHECKS,
        load_balancing::CHECKS,
        protocol::CHECKS,
        route::CHECKS,
        values::CHECKS,
    ]
    .concat()
}

fn schema(table: &Table) -> MessageType {
    MessageType::named(table.message).unwrap_or_else(|| panic!("no message is called {}", table.message))
}

#[test]
fn every_field_of_a_message_is_in_its_table_once() {
    for table in tables() {
        let mut names: Vec<_> = table.fields.iter().map(Field::name).collect();
        names.sort_unstable();
        let mut expected: Vec<_> = schema(table).fields().map(|field| field.name()).collect();
        expected.sort_unstable();
        assert_eq!(names, expected, "{}", table.message);
    }
}

#[test]
fn every_message_has_one_table() {
    let mut seen = BTreeSet::new();
    for table in tables() {
        assert!(seen.insert(table.message), "{} has two tables", table.message);
    }
}

/// A message below a supported field is read, so what becomes of its fields must be said too.
#[test]
fn every_message_below_a_supported_field_has_a_table() {
    let tables: BTreeMap<_, _> = tables().into_iter().map(|table| (table.message, table)).collect();
    let mut missing = BTreeSet::new();
    for table in tables.values() {
        for field in table
            .fields
            .iter()
            .filter(|field| matches!(field.support, Support::Supported { .. }))
        {
            let below = schema(table).field_named(field.name()).map(|field| field.kind());
            let Some(Kind::Message(mut below)) = below else {
                continue;
            };
            if below.is_map_entry() {
                match below.field(2).map(|value| value.kind()) {
                    Some(Kind::Message(value)) => below = value,
                    _ => continue,
                }
            }
            let name = below.full_name();
            // Google's types are values, and a message without fields has nothing to say. What TLS needs is parsed by
            // `tls`, which has tables of its own.
            let elsewhere = ["google.protobuf.", "envoy.extensions.transport_sockets.tls."];
            if !elsewhere.iter().any(|package| name.starts_with(package))
                && below.fields().len() > 0
                && !tables.contains_key(name)
            {
                missing.insert(format!("{name} (in {}.{})", table.message, field.name()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Sets one field after the other and looks at what the check says.
#[test]
fn each_field_is_treated_as_its_table_says() {
    let extensions = Extensions::new();
    for check in checks() {
        let table = check(&[], &mut Context::new(&extensions));
        for field in table.fields {
            let proto = schema(table)
                .field_named(field.name())
                .expect("the tables have the schema's fields");
            let mut bytes = Vec::new();
            let value = match proto.kind() {
                Kind::Bool | Kind::Enum(_) | Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 => {
                    WireValue::Varint(1)
                }
                Kind::Double => WireValue::Fixed64(1.0_f64.to_bits()),
                Kind::String | Kind::Bytes => WireValue::Bytes(b"x"),
                // `true`, since a boolean that says the default is as good as none.
                Kind::Message(message) if message.full_name() == "google.protobuf.BoolValue" => {
                    WireValue::Bytes(&[0x08, 0x01])
                }
                Kind::Message(_) => WireValue::Bytes(b""),
                other => panic!("{}.{} is {other:?}", table.message, field.name()),
            };
            put_field(&mut bytes, proto.number(), value);
            let result = Context::parse(&extensions, |context| {
                check(&bytes, context);
                Ok(())
            });
            let name = format!("{}.{}", table.message, field.name());
            match field.support {
                Support::Supported { .. } => {
                    let parsed = result.unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
                    assert_eq!(parsed.without_effect, [], "{name}");
                }
                Support::WithoutEffect { why } => {
                    let noted = result
                        .unwrap_or_else(|faults| panic!("{name}: {faults:?}"))
                        .without_effect;
                    assert_eq!(noted.len(), 1, "{name}");
                    assert_eq!((noted[0].path.as_str(), noted[0].reason), (field.name(), why), "{name}");
                }
                Support::Rejected { why } => {
                    let faults = result.expect_err(&name);
                    assert_eq!(faults.len(), 1, "{name}");
                    let text = format!("{}: is not supported: {why}", field.name());
                    assert_eq!(faults[0].to_string(), text, "{name}");
                }
            }
        }
    }
}

#[test]
fn reasons_are_phrases_that_end_without_a_full_stop() {
    for table in tables() {
        for field in table.fields {
            if let Support::WithoutEffect { why } | Support::Rejected { why } = field.support {
                assert!(
                    !why.is_empty() && !why.ends_with('.'),
                    "{}.{}: {why:?}",
                    table.message,
                    field.name()
                );
            }
        }
    }
}
