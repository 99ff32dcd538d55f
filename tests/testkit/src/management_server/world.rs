//! What there is.

use std::collections::BTreeMap;

use xds_api::google::protobuf::Any;
use xds_api::schema::MessageType;
use xds_api::{Document, UnknownFields, encode_document, yaml};

/// Resources of one type.
#[derive(Debug, Clone, Default)]
pub(super) struct Resources {
    pub(super) version: String,
    /// By name, each with the version under which it came to be as it is.
    pub(super) by_name: BTreeMap<String, (String, Any)>,
}

/// All resources, by type URL.
#[derive(Debug, Clone, Default)]
pub(super) struct World(pub(super) BTreeMap<String, Resources>);

impl World {
    pub(super) fn set(&mut self, type_url: &str, version: &str, resources: Vec<(String, Any)>) {
        let of_type = self.0.entry(type_url.to_owned()).or_default();
        version.clone_into(&mut of_type.version);
        let before = std::mem::take(&mut of_type.by_name);
        of_type.by_name = resources
            .into_iter()
            .map(|(name, any)| {
                let version = match before.get(&name) {
                    Some((version, same)) if *same == any => version.clone(),
                    _ => version.to_owned(),
                };
                (name, (version, any))
            })
            .collect();
    }

    pub(super) fn of(&self, type_url: &str) -> Resources {
        self.0.get(type_url).cloned().unwrap_or_default()
    }
}

/// Reads resources with their names.
pub(super) fn parse(type_url: &str, documents: &[String]) -> Vec<(String, Any)> {
    let resource = |text: &String| {
        let document: Document = yaml::parse(text, "resource").unwrap_or_else(|error| panic!("{error}\n{text}"));
        let message = MessageType::named(xds_api::type_name(type_url)).expect("Envoy's API has the type");
        let value = encode_document(&document, message, UnknownFields::Reject)
            .unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
        let any = Any {
            type_url: type_url.to_owned(),
            value,
        };
        (name(text).to_owned(), any)
    };
    documents.iter().map(resource).collect()
}

/// The name as it is written: `name: x` or `cluster_name: x` at the beginning.
fn name(text: &str) -> &str {
    let line = text.trim_start().lines().next().unwrap_or_default();
    line.split_once(':')
        .map_or("", |(_, name)| name.trim().trim_matches('"'))
}
