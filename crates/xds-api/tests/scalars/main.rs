//! How Envoy 1.39.3 reads YAML and JSON scalars, recorded from the binary: `envoy --mode validate` says which are refused,
//! `/config_dump` what the others became. Each case is what follows `name` in a cluster.
//!
//! Where this crate differs on purpose the case says so.

mod json_text;
mod messages;
mod numbers;
mod strings;

use xds_api::envoy::config::cluster::v3::Cluster;
use xds_api::{UnknownFields, from_document, json, to_json, yaml};

/// What Envoy did.
enum Envoy {
    /// It printed this, `name` aside.
    Is(&'static str),
    /// It refused it.
    Refuses,
    /// It took it; we refuse it, for this reason.
    TakesButWeRefuse(&'static str),
    /// It refused it only when the value was used, or by a field's rule: a matter for the configuration's types.
    RefusesLater(&'static str),
}
use Envoy::{Is, Refuses, RefusesLater, TakesButWeRefuse};

fn read(text: &str, is_json: bool) -> Result<String, String> {
    let document = if is_json {
        json::parse(text, "case")
    } else {
        yaml::parse(text, "case")
    };
    let document = document.map_err(|error| error.to_string())?;
    let cluster: Cluster = from_document(&document, UnknownFields::Reject)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    let printed = to_json(&cluster);
    let rest = printed
        .strip_prefix(r#"{"name":"c""#)
        .and_then(|rest| rest.strip_suffix('}'))
        .expect("the name comes first");
    Ok(rest.trim_start_matches(',').to_owned())
}

fn check(cases: &[(&str, Envoy)], is_json: bool) {
    let mut wrong = Vec::new();
    for (case, envoy) in cases {
        let text = if is_json {
            format!("{{\"name\":\"c\",{case}}}")
        } else {
            format!("name: c\n{case}\n")
        };
        let ours = read(&text, is_json);
        let same = match envoy {
            Is(printed) => ours.as_deref() == Ok(printed),
            Refuses | TakesButWeRefuse(_) => ours.is_err(),
            RefusesLater(_) => ours.is_ok(),
        };
        if !same {
            let expected = match envoy {
                Is(printed) => printed,
                Refuses => "refused",
                TakesButWeRefuse(why) | RefusesLater(why) => why,
            };
            wrong.push(format!("{case}\n    ours: {ours:?}\n    expected: {expected}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} cases differ:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

#[test]
fn strings_are_what_envoy_makes_of_them() {
    check(strings::STRINGS, false);
}

#[test]
fn numbers_are_what_envoy_makes_of_them() {
    check(numbers::NUMBERS, false);
}

#[test]
fn booleans_are_what_envoy_makes_of_them() {
    check(numbers::BOOLEANS, false);
}

#[test]
fn enum_values_are_what_envoy_makes_of_them() {
    check(numbers::ENUMS, false);
}

#[test]
fn durations_are_what_envoy_makes_of_them() {
    check(numbers::DURATIONS, false);
}

#[test]
fn lists_and_maps_are_what_envoy_makes_of_them() {
    check(messages::LISTS_AND_MAPS, false);
}

#[test]
fn typed_configurations_are_what_envoy_makes_of_them() {
    check(messages::ANY, false);
}

#[test]
fn bytes_are_what_envoy_makes_of_them() {
    check(messages::BYTES, false);
}

#[test]
fn json_is_read_as_envoy_reads_it() {
    check(json_text::JSON, true);
}
