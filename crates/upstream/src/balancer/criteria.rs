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
    /// What else is asked for, in order, where the route lists variants.
    variants: Option<Box<[Option<SubsetCriteria>]>>,
}

impl SubsetCriteria {
    /// The name under which routes and endpoints say what subsets are made by.
    pub const METADATA: &'static str = "envoy.lb";
    /// The key of a list of variants (`LbSubsetConfig.metadata_fallback_policy`).
    const FALLBACK_LIST: &'static str = "fallback_list";

    /// The criteria in `metadata`, where later ones take the place of earlier ones key by key: a route's, then that of
    /// its weighted cluster. `None` if there are none.
    pub fn new<'a>(metadata: impl IntoIterator<Item = &'a Metadata>) -> Option<Self> {
        let mut merged: BTreeMap<Arc<str>, Value> = BTreeMap::new();
        for metadata in metadata {
            if let Some(fields) = metadata.filter(Self::METADATA) {
                merged.extend(fields.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
        }
        if merged.is_empty() {
            return None;
        }
        let variants = variants(&merged);
        let criteria = Self::of(merged.into_iter().collect());
        Some(Self { variants, ..criteria })
    }

    /// Criteria of entries that are sorted by key.
    pub(super) fn of(entries: Box<[(Arc<str>, Value)]>) -> Self {
        let mut hasher = DefaultHasher::new();
        for (key, value) in &entries {
            key.hash(&mut hasher);
            hash_value(value, &mut hasher);
        }
        let hash = hasher.finish();
        Self {
            entries,
            hash,
            variants: None,
        }
    }

    /// What is asked for in place of this, in order, by clusters that try a route's `fallback_list`: this with the
    /// entries of each variant in place of its own. `None` where nothing at all is asked for.
    pub(super) fn variants(&self) -> Option<&[Option<SubsetCriteria>]> {
        self.variants.as_deref()
    }

    /// What is asked for, sorted by key.
    pub fn entries(&self) -> &[(Arc<str>, Value)] {
        &self.entries
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }
}

fn variants(merged: &BTreeMap<Arc<str>, Value>) -> Option<Box<[Option<SubsetCriteria>]>> {
    let Value::List(list) = merged.get(SubsetCriteria::FALLBACK_LIST)? else {
        return None;
    };
    let variant = |value: &Value| {
        let mut entries = merged.clone();
        entries.remove(SubsetCriteria::FALLBACK_LIST);
        if let Value::Struct(fields) = value {
            entries.extend(fields.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        (!entries.is_empty()).then(|| SubsetCriteria::of(entries.into_iter().collect()))
    };
    // Without a variant there is what the route asks for by itself, as in Envoy.
    let none = [Value::Null];
    let list = if list.is_empty() { &none } else { list.as_slice() };
    Some(list.iter().map(variant).collect())
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
