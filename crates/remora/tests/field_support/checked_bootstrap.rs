//! The same of the whole program: `remora check` on a bootstrap with all fields that are refused, or that have no effect.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value as Json;

use super::*;

/// A document as JSON, with each member on a line of its own.
fn json(node: &Node) -> String {
    let quoted = |text: &str| Json::from(text).to_string();
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Bool(value, _) => value.to_string(),
        Value::Number(text) => text.to_string(),
        Value::String(text) => quoted(text),
        Value::List(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(",")),
        Value::Map(entries) => {
            let members = entries
                .iter()
                .map(|(key, value)| format!("\n{}: {}", quoted(&key.text), json(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
    }
}

/// What `remora check` says of a bootstrap, which has this name among the files of the tests.
fn checked(name: &str, document: &Document) -> Json {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("fields");
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join(format!("{name}.json"));
    std::fs::write(&path, json(&document.root)).expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_remora"))
        .args(["check", "--format", "json"])
        .arg(&path)
        .output()
        .expect("remora can be run");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}: {text}"))
}

/// All fields of the bootstrap's own messages that are treated like this, set together as far as a oneof lets them.
fn with_all(
    sample: &Document,
    treated: fn(Support) -> Option<&'static str>,
) -> (Document, Vec<(String, &'static str)>) {
    let tables = tables();
    let mut changed = sample.clone();
    let mut expected = Vec::new();
    // What is inside a message first: setting a field moves those that come after it.
    let mut places = places(&sample.root, Whole::Bootstrap.message());
    places.sort_by_key(|place| std::cmp::Reverse(place.steps.len()));
    for place in &places {
        let table = tables
            .get(place.message.full_name())
            .map_or(&[][..], |table| table.fields);
        for field in table {
            let Some(why) = treated(field.support) else { continue };
            let proto = place.message.field_named(field.name()).expect("a field of the table");
            if proto.oneof().is_none() {
                changed = with(&changed, place, proto, value_of(place.message, proto));
                expected.push((join(&place.path, field.name()), why));
            }
        }
    }
    (changed, expected)
}

/// The expected faults or notes that a report does not have, each with its line.
fn missing(report: &Json, list: &str, expected: &[(String, &'static str)]) -> Vec<String> {
    let said = report[list].as_array().expect("a list");
    let has = |path: &str, why: &str| {
        said.iter().any(|one| {
            one["path"] == path && one["line"].is_u64() && one["reason"].as_str().is_some_and(|text| text.contains(why))
        })
    };
    let missing = expected.iter().filter(|(path, why)| !has(path, why));
    missing.map(|(path, why)| format!("{path}: {why}")).collect()
}

#[test]
fn remora_check_names_each_refused_field_of_a_bootstrap_with_its_line() {
    for (number, sample) in documents("bootstrap").iter().enumerate() {
        let (document, expected) = with_all(sample, |support| match support {
            Support::Rejected { why } => Some(why),
            _ => None,
        });
        assert!(expected.len() > 20, "{expected:?}");
        let report = checked(&format!("refused-{number}"), &document);
        assert_eq!(report["result"], "rejected", "{report:#}");
        assert_eq!(missing(&report, "rejected", &expected), [""; 0], "{report:#}");
    }
}

#[test]
fn remora_check_lists_each_field_of_a_bootstrap_that_has_no_effect() {
    for (number, sample) in documents("bootstrap").iter().enumerate() {
        let (document, expected) = with_all(sample, |support| match support {
            Support::WithoutEffect { why } => Some(why),
            _ => None,
        });
        assert!(expected.len() > 10, "{expected:?}");
        let report = checked(&format!("without-effect-{number}"), &document);
        assert_eq!(report["result"], "accepted", "{report:#}");
        assert_eq!(missing(&report, "without_effect", &expected), [""; 0], "{report:#}");
    }
}
