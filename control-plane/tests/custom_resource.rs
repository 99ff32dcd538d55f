//! The manifest of our policy kind says what the type takes: a policy made of all its fields is accepted.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::path::Path;

use control_plane::objects::parse::parse_file;
use xds_api::{Node, Value, yaml};

fn manifest() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/service-policy-crd.yaml");
    std::fs::read_to_string(path).unwrap()
}

fn field<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|(key, _)| &*key.text == name).map(|(_, node)| node)
}

fn text(node: &Node) -> Option<&str> {
    match &node.value {
        Value::String(text) | Value::Number(text) => Some(text),
        _ => None,
    }
}

/// A value that the schema allows, as JSON; `left_out` are names of fields.
fn sample(schema: &Node, left_out: &[&str]) -> String {
    let first_of = |name: &str| match field(schema, name).map(|node| &node.value) {
        Some(Value::List(values)) => values.last().and_then(text),
        _ => None,
    };
    match field(schema, "type").and_then(text).unwrap() {
        "object" => {
            let fields = match field(schema, "properties").map(|node| &node.value) {
                Some(Value::Map(entries)) => entries
                    .iter()
                    .filter(|(key, _)| !left_out.contains(&&*key.text))
                    .map(|(key, inner)| format!("{:?}: {}", key.text, sample(inner, left_out)))
                    .collect(),
                _ => Vec::new(),
            };
            format!("{{{}}}", fields.join(", "))
        }
        "array" => format!("[{}]", sample(field(schema, "items").unwrap(), left_out)),
        "integer" => field(schema, "minimum").and_then(text).unwrap_or("1").to_owned(),
        "string" => {
            let pattern = field(schema, "pattern").and_then(text).unwrap_or("");
            let value = match first_of("enum") {
                Some(value) => value,
                None if pattern.starts_with("^/") => "/healthz",
                None if pattern.contains("ms") => "250ms",
                None => "greeter",
            };
            format!("{value:?}")
        }
        other => panic!("a schema of type {other}"),
    }
}

#[test]
fn a_policy_of_all_fields_of_the_manifest_is_accepted() {
    let document = yaml::parse(&manifest(), "service-policy-crd.yaml").unwrap();
    let Some(Value::List(versions)) = field(field(&document.root, "spec").unwrap(), "versions").map(|node| &node.value)
    else {
        panic!("no versions");
    };
    let schema = field(field(&versions[0], "schema").unwrap(), "openAPIV3Schema").unwrap();
    let spec = field(field(schema, "properties").unwrap(), "spec").unwrap();
    // A health check is one of three kinds.
    for others in [["http", "tcp"], ["grpc", "tcp"], ["grpc", "http"]] {
        let policy = format!(
            r#"{{"apiVersion": "policy.remora.dev/v1alpha1", "kind": "ServicePolicy",
                "metadata": {{"name": "all", "namespace": "demo"}}, "spec": {}}}"#,
            sample(spec, &others)
        );
        let found = parse_file(&policy, "all.json");
        assert!(found.is_ok(), "{policy}\n{:?}", found.err());
    }
}
