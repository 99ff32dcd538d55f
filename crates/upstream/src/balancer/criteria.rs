//! What a request asks of an endpoint's metadata (`metadata_match`).

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use config::metadata::{Metadata, Value};

/// The `envoy.lb` part of a route's `metadata_match`: which subset of a cluster its requests go to. Made when a table of
/// routes is compiled; a pick compares hashes.
#[derive(Clone, Debug, PartialEq)]
pub struct SubsetCriteria {
    /// Sorted by key.
    entries: Box<[(Arc<str>, Value)]>,
    hash: u64,
}

impl SubsetCriteria {
    /// The name under which routes and endpoints say what subsets are made by.
    pub const METADATA: &'static str = "envoy.lb";

    /// The criteria in `metadata`, where later ones take the place of earlier ones key by key: a route's, then that of
    /// its weighted cluster. `None` if there are none.
    pub fn new<'a>(metadata: impl IntoIterator<Item = &'a Metadata>) -> Option<Self> {
        let mut merged: BTreeMap<Arc<str>, Value> = BTreeMap::new();
        for metadata in metadata {
            if let Some(fields) = metadata.filter(Self::METADATA) {
                merged.extend(fields.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
        }
        (!merged.is_empty()).then(|| Self::of(merged.into_iter().collect()))
    }

    /// Criteria of entries that are sorted by key.
    pub(super) fn of(entries: Box<[(Arc<str>, Value)]>) -> Self {
        let mut hasher = DefaultHasher::new();
        for (key, value) in &entries {
            key.hash(&mut hasher);
            hash_value(value, &mut hasher);
        }
        let hash = hasher.finish();
        Self { entries, hash }
    }

    /// What is asked for, sorted by key.
    pub fn entries(&self) -> &[(Arc<str>, Value)] {
        &self.entries
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }
}

fn hash_value(value: &Value, hasher: &mut DefaultHasher) {
    std::mem::discriminant(value).hash(hasher);
    match value {
        Value::Null => {}
        Value::Number(number) => number.to_bits().hash(hasher),
        Value::String(text) => text.hash(hasher),
        Value::Bool(flag) => flag.hash(hasher),
        Value::List(values) => values.iter().for_each(|value| hash_value(value, hasher)),
        Value::Struct(fields) => {
            for (key, value) in fields {
                key.hash(hasher);
                hash_value(value, hasher);
            }
        }
    }
}
