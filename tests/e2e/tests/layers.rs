//! Imports go strictly down: the layer table of ARCHITECTURE.md, enforced.
//!
//! Checked against what `cargo metadata` says, so that a dependency added anywhere is seen.

use std::collections::BTreeMap;
use std::process::Command;

/// Package, its layer, and what it may import beside the workspace's lower layers.
/// `None` for packages that may import any workspace package (binaries and development).
const TABLE: &[(&str, Option<u8>)] = &[
    ("xds-api", Some(0)),
    ("codec", Some(0)),
    ("config", Some(1)),
    ("telemetry", Some(1)),
    ("tls", Some(2)),
    ("xds", Some(2)),
    ("upstream", Some(3)),
    ("proxy", Some(4)),
    ("remora", Some(5)),
    ("remora-control-plane", None),
    ("greeter", None),
    ("bench", None),
    ("testkit", None),
    ("e2e", None),
];

/// What a package must never import, whatever the layers say.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("codec", &["tokio", "config", "xds-api", "hyper", "h2", "tonic"]),
    ("config", &["tokio", "tonic", "hyper"]),
    ("xds", &["upstream", "proxy", "codec", "tls"]),
    ("proxy", &["xds", "tonic", "hyper", "h2"]),
    ("upstream", &["xds", "xds-api", "tonic", "hyper", "h2"]),
    ("remora-control-plane", &["xds", "upstream", "codec"]),
];

/// Normal (not build, not dev) dependencies of every workspace package.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let mut found = BTreeMap::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("name").to_owned();
        let dependencies = package["dependencies"]
            .as_array()
            .expect("dependencies")
            .iter()
            .filter(|dependency| dependency["kind"].is_null())
            .map(|dependency| dependency["name"].as_str().expect("name").to_owned())
            .collect();
        found.insert(name, dependencies);
    }
    found
}

#[test]
fn imports_go_strictly_down_the_layer_table() {
    let layer: BTreeMap<&str, Option<u8>> = TABLE.iter().copied().collect();
    let mut faults = Vec::new();
    for (package, imports) in dependencies() {
        let Some(own) = layer.get(package.as_str()) else {
            faults.push(format!(
                "{package} is in no layer: add it to the table and to ARCHITECTURE.md"
            ));
            continue;
        };
        for import in imports {
            let Some(theirs) = layer.get(import.as_str()) else {
                continue; // not of this workspace
            };
            match (own, theirs) {
                (Some(own), Some(theirs)) if theirs >= own => {
                    faults.push(format!("{package} (layer {own}) imports {import} (layer {theirs})"));
                }
                (Some(_), None) => faults.push(format!("{package} imports {import}, which is beside the layers")),
                _ => {}
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn packages_do_not_import_what_their_purpose_excludes() {
    let all = dependencies();
    let mut faults = Vec::new();
    for (package, forbidden) in FORBIDDEN {
        for import in &all[*package] {
            if forbidden.contains(&import.as_str()) {
                faults.push(format!("{package} must not import {import}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
