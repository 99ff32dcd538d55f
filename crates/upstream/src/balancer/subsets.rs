//! Subsets: endpoints by the metadata that routes ask for.
//!
//! Envoy, "Load balancer subsets" (arch_overview/upstream/load_balancing/subsets). All subsets are made when a table is
//! built; a pick looks one up by the hash of the route's criteria.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use config::cluster::{Subset, SubsetFallback};
use config::metadata::{Struct, Value};

use super::criteria::SubsetCriteria;
use super::group::{Group, Shape};
use super::{NoEndpoint, Note, Notes};

/// Subsets that one endpoint can be in by lists in its metadata, at most.
const MOST_COMBINATIONS: usize = 1024;

/// The subsets of a cluster.
#[derive(Debug)]
pub(super) struct Subsets {
    settings: Arc<Subset>,
    groups: Box<[Group]>,
    /// Criteria and their group, by hash. Two with the same hash are one in 2^64; the second is not found.
    by_criteria: HashMap<u64, (SubsetCriteria, usize)>,
    /// The group of the default subset, if something falls back to it.
    default: Option<usize>,
    /// Groups that are subsets, not the default one.
    len: usize,
}

/// Picks from one group, or from all endpoints.
type PickFrom<'a, T> = dyn FnMut(Option<usize>, &mut Notes) -> Result<T, NoEndpoint> + 'a;

/// Members by priority, while subsets are collected.
type Members = Vec<Vec<u32>>;

impl Subsets {
    pub(super) fn new(shape: &Shape<'_>, settings: &Arc<Subset>) -> Self {
        let count = shape.hosts.priorities().len();
        let mut members: BTreeMap<u64, (SubsetCriteria, Members)> = BTreeMap::new();
        let mut of_default: Members = vec![Vec::new(); count];
        for (priority, hosts) in shape.hosts.priorities().iter().enumerate() {
            for (position, host) in hosts.hosts().iter().enumerate() {
                let metadata = shape.hosts.endpoint(host).metadata().filter(SubsetCriteria::METADATA);
                let none = Struct::new();
                let metadata = metadata.unwrap_or(&none);
                if is_in(metadata, &settings.default_subset, settings.list_as_any) {
                    of_default[priority].push(position as u32);
                }
                for selector in &settings.selectors {
                    for criteria in criteria_of(metadata, &selector.keys, settings.list_as_any) {
                        let hash = criteria.hash();
                        let entry = members
                            .entry(hash)
                            .or_insert_with(|| (criteria.clone(), vec![Vec::new(); count]));
                        let taken = selector.single_host_per_subset && entry.1.iter().any(|hosts| !hosts.is_empty());
                        let hosts = &mut entry.1[priority];
                        // Two selectors may have the same keys.
                        if entry.0 == criteria && !taken && hosts.last() != Some(&(position as u32)) {
                            hosts.push(position as u32);
                        }
                    }
                }
            }
        }
        let mut groups = Vec::with_capacity(members.len() + 1);
        let mut by_criteria = HashMap::with_capacity(members.len());
        for (hash, (criteria, members)) in members {
            by_criteria.insert(hash, (criteria, groups.len()));
            groups.push(Group::new(shape, Some(&members)));
        }
        let len = groups.len();
        let uses_default = |fallback: &SubsetFallback| *fallback == SubsetFallback::DefaultSubset;
        let default = (uses_default(&settings.fallback_policy)
            || settings
                .selectors
                .iter()
                .any(|selector| selector.fallback_policy.as_ref().is_some_and(uses_default)))
        .then(|| {
            groups.push(Group::new(shape, Some(&of_default)));
            groups.len() - 1
        });
        Self {
            settings: settings.clone(),
            groups: groups.into(),
            by_criteria,
            default,
            len,
        }
    }

    /// Picks by what a route asks for, or by the variants of that, in order, where the route lists any. `from` picks from
    /// a group, or from all endpoints.
    pub(super) fn pick<T>(
        &self,
        criteria: Option<&SubsetCriteria>,
        notes: &mut Notes,
        from: &mut PickFrom<'_, T>,
    ) -> Result<T, NoEndpoint> {
        let variants = match criteria {
            Some(criteria) if self.settings.tries_fallback_list => criteria.variants(),
            _ => None,
        };
        let Some(variants) = variants else {
            return self.pick_by(criteria, notes, from);
        };
        let mut last = Err(NoEndpoint::Empty);
        for variant in variants {
            last = self.pick_by(variant.as_ref(), notes, from);
            if last.is_ok() {
                break;
            }
        }
        last
    }

    /// Picks by one set of criteria.
    fn pick_by<T>(
        &self,
        criteria: Option<&SubsetCriteria>,
        notes: &mut Notes,
        from: &mut PickFrom<'_, T>,
    ) -> Result<T, NoEndpoint> {
        if let Some(criteria) = criteria {
            if let Some(group) = self.find(criteria) {
                notes.add(Note::SubsetSelected);
                return from(Some(group), notes);
            }
            match self.selector_fallback(criteria) {
                None => {}
                Some(SubsetFallback::NoFallback) => return Err(NoEndpoint::Empty),
                Some(SubsetFallback::AnyEndpoint) => return from(None, notes),
                Some(SubsetFallback::DefaultSubset) => return from(self.default, notes),
                // Fewer keys each time: this ends.
                Some(SubsetFallback::KeysSubset(keys)) => {
                    return self.pick_by(reduce(criteria, keys).as_ref(), notes, from);
                }
            }
        }
        let found = match self.settings.fallback_policy {
            SubsetFallback::NoFallback | SubsetFallback::KeysSubset(_) => return Err(NoEndpoint::Empty),
            SubsetFallback::AnyEndpoint => from(None, notes),
            SubsetFallback::DefaultSubset => from(self.default, notes),
        };
        match found {
            Ok(found) => {
                notes.add(Note::SubsetFallback);
                Ok(found)
            }
            Err(_) if self.settings.panic_mode_any => {
                let found = from(None, notes)?;
                notes.add(Note::SubsetPanic);
                Ok(found)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn group(&self, index: usize) -> &Group {
        &self.groups[index]
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn find(&self, criteria: &SubsetCriteria) -> Option<usize> {
        self.by_criteria
            .get(&criteria.hash())
            .filter(|(found, _)| found == criteria)
            .map(|(_, group)| *group)
    }

    /// What the selector with just these keys falls back to, if it says so.
    fn selector_fallback(&self, criteria: &SubsetCriteria) -> Option<&SubsetFallback> {
        let keys = criteria.entries().iter().map(|(key, _)| key);
        self.settings
            .selectors
            .iter()
            .filter(|selector| selector.keys.iter().eq(keys.clone()))
            .find_map(|selector| selector.fallback_policy.as_ref())
    }
}

/// Whether an endpoint's metadata has all of `wanted`.
fn is_in(metadata: &Struct, wanted: &Struct, list_as_any: bool) -> bool {
    wanted.iter().all(|(key, value)| match metadata.get(key) {
        Some(Value::List(values)) if list_as_any => values.contains(value),
        found => found == Some(value),
    })
}

/// The criteria by `keys` that an endpoint meets: one, none if it lacks a key, or several where lists stand for each of
/// their elements.
fn criteria_of(metadata: &Struct, keys: &[Arc<str>], list_as_any: bool) -> Vec<SubsetCriteria> {
    let mut combinations: Vec<Vec<(Arc<str>, Value)>> = vec![Vec::new()];
    for key in keys {
        let Some(value) = metadata.get(key) else {
            return Vec::new();
        };
        let values = match value {
            Value::List(values) if list_as_any => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        combinations = combinations
            .iter()
            .flat_map(|entries| {
                values.iter().map(|value| {
                    let mut entries = entries.clone();
                    entries.push((key.clone(), value.clone()));
                    entries
                })
            })
            .take(MOST_COMBINATIONS)
            .collect();
    }
    combinations
        .into_iter()
        .map(|entries| SubsetCriteria::of(entries.into()))
        .collect()
}

/// The criteria by `keys` alone.
fn reduce(criteria: &SubsetCriteria, keys: &[Arc<str>]) -> Option<SubsetCriteria> {
    let entries: Vec<_> = criteria
        .entries()
        .iter()
        .filter(|(key, _)| keys.contains(key))
        .cloned()
        .collect();
    (!entries.is_empty()).then(|| SubsetCriteria::of(entries.into()))
}
