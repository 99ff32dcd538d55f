//! What may be published when.
//!
//! The assembler is told which values were accepted and which resources are gone, and keeps a [`Config`] that is always
//! complete and consistent. It decides nothing by itself: inputs are values, events and a clock.
//!
//! For every resource it holds the *target* (the value last accepted) and the *published* value, and moves the second
//! towards the first as far as dependencies allow:
//!
//! ```text
//!                 accept                      dependencies available,
//!   (nothing) ─────────────▶ waiting ─────── or the wait is over ─────▶ published ◀─┐
//!       ▲                       │  ▲                                      │    │    │
//!       │                remove │  └───────────── accept (new value) ─────┘    │    │ still used by
//!       └───────────────────────┴──────────────◀── remove, and unused ─────────┘    │ something published
//!                                                    remove, but used ──────────────┘ (make-before-break)
//! ```
//!
//! - Secrets and endpoints depend on nothing and are published as soon as they are accepted.
//! - A cluster waits for its endpoints and secrets: *warming*. Where that is asked for, a new one also waits for the data
//!   plane: its first health checks or its first resolution.
//! - A route table waits for the clusters it names, at most [`AssemblerOptions::cluster_wait`]. A cluster that the
//!   published table names and that is missing was given up on before and is not waited for again; one that the server
//!   has sent and that was refused is not waited for at all.
//! - A listener waits for its route tables and secrets, and, bounded in the same way, for clusters it names itself.
//! - A cluster that something published names is kept when it is removed, with its endpoints and secrets. Its endpoints
//!   are asked for no longer, as in Envoy: the server has removed them with it, and some servers answer nobody about any
//!   endpoints while a name is asked for that they do not have.
//! - Endpoints, route tables and secrets that the server removes while they are referenced are kept as they were; the
//!   reference decides (`xds_protocol.rst`, "Deleting Resources"; gRFC A88).
//!
//! The work done for an update follows what the update changed, not the size of the mesh.

mod node;
mod settle;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::config_source::ConfigSource;
use config::{Config, Fingerprint, Reference, ResourceType};

use crate::key::ResourceKey;
use crate::store::Value;
use node::{Answer, Nodes};

/// How the assembler waits.
#[derive(Debug, Clone)]
pub struct AssemblerOptions {
    /// How long a route table or listener waits for clusters it names. Zero does not wait.
    pub cluster_wait: Duration,
    /// Whether new clusters with health checks or DNS names wait for [`Assembler::cluster_warm`], at most as long as
    /// `cluster_wait`.
    pub await_data_plane: bool,
}

/// A change of what must be asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Interest {
    /// Something refers to the resource.
    Gained(ResourceKey, Arc<ConfigSource>),
    /// Nothing refers to it any more.
    Lost(ResourceKey, Arc<ConfigSource>),
}

/// Counts of what happened to published resources of one type, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Published where nothing was.
    pub added: u64,
    /// Replaced by another value.
    pub modified: u64,
    /// Taken away.
    pub removed: u64,
}

/// Keeps the published configuration. See the [module](self).
#[derive(Debug)]
pub struct Assembler {
    options: AssemblerOptions,
    nodes: Nodes,
    config: Config,
    /// Whether `config` changed since it was last taken.
    changed: bool,
    /// Resources to be looked at again, lowest layer first.
    dirty: [Vec<Arc<str>>; ResourceType::ALL.len()],
    /// Named resources whose references changed since the last settling.
    touched: BTreeSet<ResourceKey>,
    /// Resources that were not sent within their `initial_fetch_timeout`.
    timed_out: Vec<ResourceKey>,
    /// When a wait ends. An entry whose node has another deadline by now is stale.
    deadlines: BTreeSet<(Instant, ResourceKey)>,
    /// Resources whose target is not published.
    waiting: BTreeSet<ResourceKey>,
    /// How many of each type are in `waiting`.
    waiting_of: [usize; ResourceType::ALL.len()],
    /// New clusters that wait for the data plane and nothing else.
    awaiting_data_plane: BTreeSet<Arc<str>>,
    data_plane_changed: bool,
    /// Clusters without a value of which the last that was sent was refused.
    refused: HashSet<Arc<str>>,
    /// Clusters and listeners of the first answers that are not published yet; none before those came.
    initial: Option<HashSet<ResourceKey>>,
    /// Whether clusters may come from outside the bootstrap: if not, a missing one is missing for good.
    dynamic_clusters: bool,
    counts: [Counts; ResourceType::ALL.len()],
}

impl Assembler {
    /// An assembler that has published nothing. With `dynamic_clusters` a cluster that is missing may yet come.
    pub fn new(options: AssemblerOptions, dynamic_clusters: bool) -> Self {
        Self {
            options,
            nodes: Nodes::default(),
            config: Config::default(),
            changed: false,
            dirty: Default::default(),
            touched: BTreeSet::new(),
            timed_out: Vec::new(),
            deadlines: BTreeSet::new(),
            waiting: BTreeSet::new(),
            waiting_of: [0; ResourceType::ALL.len()],
            awaiting_data_plane: BTreeSet::new(),
            data_plane_changed: false,
            refused: HashSet::new(),
            initial: None,
            dynamic_clusters,
            counts: Default::default(),
        }
    }

    /// A value from the bootstrap. It stays, whatever a server says of its name.
    pub fn accept_static(&mut self, key: &ResourceKey, value: Arc<Value>) {
        self.nodes.entry(key).fixed = true;
        self.set_target(key, value);
    }

    /// Whether the bootstrap has a resource of this type and name, which no server can replace (as in Envoy).
    pub fn is_static(&self, key: &ResourceKey) -> bool {
        self.nodes.get(key).is_some_and(|node| node.fixed)
    }

    /// Whether there is a cluster of this name: one that was accepted and not removed since.
    pub fn has_cluster(&self, name: &str) -> bool {
        let node = self.nodes.find(ResourceType::Cluster, name);
        node.is_some_and(|node| node.target.is_some())
    }

    /// A value was accepted.
    pub fn accept(&mut self, key: &ResourceKey, value: Arc<Value>) {
        if !self.is_static(key) {
            self.set_target(key, value);
        }
    }

    /// A value was refused. A resource that was waited for is waited for no longer by what is new, as in Envoy; what is
    /// published already goes on with what it has.
    pub fn reject(&mut self, key: &ResourceKey) {
        if key.resource_type == ResourceType::Cluster && !self.has_cluster(&key.name) {
            self.refused.insert(Arc::clone(&key.name));
        }
        self.answer(key, Answer::Rejected);
        // A cluster without a value is known only while something waits for it.
        self.nodes.drop_if_empty(key);
    }

    /// A new stream sends again what was refused, if it is still there: it is waited for as if it was never sent.
    pub fn forget_refused_clusters(&mut self) {
        self.refused = HashSet::new();
    }

    /// The server says that the resource does not exist.
    pub fn remove(&mut self, key: &ResourceKey) {
        if self.is_static(key) {
            return;
        }
        self.forget_refusal(key);
        if let Some(old) = self.nodes.get_mut(key).and_then(|node| node.target.take()) {
            self.change_uses_by_removed(key, |uses| uses.saturating_add(1));
            for reference in old.references.iter() {
                self.release_want(reference);
            }
        }
        self.answer(key, Answer::Absent);
        self.mark(key);
    }

    /// The resource was valid for a time that is over: unlike a removed one, it is not kept for what refers to it.
    pub fn expire(&mut self, key: &ResourceKey) {
        self.remove(key);
        if let Some(node) = self.nodes.get_mut(key) {
            node.expired = true;
        }
    }

    /// The server did not send the resource although it was asked (gRFC A57). It is taken not to exist, unless the
    /// configuration says to wait for it for ever (`initial_fetch_timeout: 0s`). Returns whether it is.
    pub fn not_sent(&mut self, key: &ResourceKey) -> bool {
        let source = self.nodes.get(key).and_then(|node| node.source.as_ref());
        let absent = source.is_none_or(|source| !source.initial_fetch_timeout.is_zero());
        if absent {
            self.answer(key, Answer::Absent);
        }
        absent
    }

    /// Resources whose `initial_fetch_timeout` ran out since the last call.
    pub fn take_timed_out(&mut self) -> Vec<ResourceKey> {
        std::mem::take(&mut self.timed_out)
    }

    /// There is nowhere to get the resource from: nothing waits for it.
    pub fn unavailable(&mut self, key: &ResourceKey) {
        self.answer(key, Answer::Absent);
    }

    /// The data plane finished the first round of checks or the first resolution of a warming cluster. Word of a value
    /// that was replaced meanwhile is ignored.
    pub fn cluster_warm(&mut self, name: &str, fingerprint: Fingerprint) {
        let key = ResourceKey::new(ResourceType::Cluster, name);
        if self.awaiting_data_plane.contains(name)
            && let Some(node) = self.nodes.get_mut(&key)
            && node
                .target
                .as_ref()
                .is_some_and(|target| target.resource.fingerprint() == fingerprint)
        {
            node.data_plane_warm = true;
            self.mark(&key);
        }
    }

    /// The first answers about clusters and listeners are there, or were given up on: what is in them and not published
    /// now is what readiness waits for.
    pub fn initial_answers_complete(&mut self) {
        if self.initial.is_none() {
            let gates =
                |key: &&ResourceKey| matches!(key.resource_type, ResourceType::Cluster | ResourceType::Listener);
            self.initial = Some(self.waiting.iter().filter(gates).cloned().collect());
        }
    }

    /// Whether everything of the first answers was published or given up on.
    pub fn is_initialized(&self) -> bool {
        self.initial.as_ref().is_some_and(HashSet::is_empty)
    }

    /// When a wait ends. Stale entries may make this too early, never too late.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Does all that can be done by now and returns what must be asked for, or no longer, in the order of need.
    pub fn settle(&mut self, now: Instant) -> Vec<Interest> {
        self.end_waits(now);
        self.settle_until_stable(now);
        self.settle_interest(now)
    }

    /// The configuration, if it changed since the last call.
    pub fn take_config(&mut self) -> Option<Arc<Config>> {
        std::mem::take(&mut self.changed).then(|| Arc::new(self.config.clone()))
    }

    /// The clusters that wait for the data plane, with their endpoints and secrets, if they changed since the last call.
    pub fn take_warming(&mut self) -> Option<Arc<Config>> {
        if !std::mem::take(&mut self.data_plane_changed) {
            return None;
        }
        let mut warming = Config::default();
        for name in &self.awaiting_data_plane {
            let cluster = self
                .nodes
                .find(ResourceType::Cluster, name)
                .and_then(|node| node.target.as_ref());
            let Some(cluster) = cluster else { continue };
            settle::insert(&mut warming, &cluster.resource);
            for reference in cluster.references.iter() {
                let needed = self.nodes.find(reference.resource_type, &reference.name);
                if let Some(needed) = needed.and_then(|node| node.published.as_ref()) {
                    settle::insert(&mut warming, &needed.resource);
                }
            }
        }
        Some(Arc::new(warming))
    }

    /// Whether the value last accepted is the one published.
    pub fn is_active(&self, key: &ResourceKey) -> bool {
        self.nodes
            .get(key)
            .is_some_and(|node| node.target.is_some() && node.is_settled())
    }

    /// Resources accepted and not published.
    pub fn waiting(&self) -> impl Iterator<Item = &ResourceKey> {
        self.waiting.iter()
    }

    /// How many resources of a type are accepted and not published.
    pub fn waiting_of(&self, resource_type: ResourceType) -> usize {
        self.waiting_of[resource_type as usize]
    }

    /// Everything that is published.
    #[cfg(test)]
    pub(crate) fn published_values(&self) -> impl Iterator<Item = (ResourceKey, &Arc<Value>)> {
        self.nodes
            .iter()
            .filter_map(|(key, node)| Some((key, node.published.as_ref()?)))
    }

    /// Resources of the bootstrap.
    pub fn static_values(&self) -> impl Iterator<Item = (ResourceKey, &Arc<Value>)> {
        self.nodes
            .iter()
            .filter(|(_, node)| node.fixed)
            .filter_map(|(key, node)| Some((key, node.target.as_ref()?)))
    }

    /// What a resource waits for.
    pub fn waits_for(&self, key: &ResourceKey) -> Vec<ResourceKey> {
        self.nodes
            .get(key)
            .map(|node| node.waits().waits_for.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// What happened to published resources of a type.
    pub fn counts(&self, resource_type: ResourceType) -> Counts {
        self.counts[resource_type as usize]
    }

    /// Number of resources the assembler keeps anything about.
    pub fn tracked(&self) -> usize {
        self.nodes.len() + self.refused.len()
    }

    /// It was sent again, or is gone.
    fn forget_refusal(&mut self, key: &ResourceKey) {
        if key.resource_type == ResourceType::Cluster {
            self.refused.remove(&key.name);
        }
    }

    fn set_target(&mut self, key: &ResourceKey, value: Arc<Value>) {
        self.forget_refusal(key);
        let node = self.nodes.entry(key);
        // Back to what is published: the very same value, so that nothing downstream sees a change.
        let value = match &node.published {
            Some(published) if published.is_same(&value) && !value.resource.is_good_for_a_time() => {
                Arc::clone(published)
            }
            _ => value,
        };
        node.expired = false;
        if node.target.as_ref().is_some_and(|target| Arc::ptr_eq(target, &value)) {
            return;
        }
        if node.target.is_none() {
            self.change_uses_by_removed(key, |uses| uses.saturating_sub(1));
        }
        let node = self.nodes.entry(key);
        let old = node.target.replace(Arc::clone(&value));
        // New wants first: what both need never looks unwanted.
        for reference in value.references.iter() {
            self.want(reference);
        }
        for reference in old.iter().flat_map(|old| old.references.iter()) {
            self.release_want(reference);
        }
        self.mark(key);
    }

    /// Ends the wait for a resource that has no value.
    fn answer(&mut self, key: &ResourceKey, answer: Answer) {
        if let Some(node) = self.nodes.get_mut(key)
            && node.target.is_none()
        {
            node.answer = answer;
            self.wake(key);
        }
    }

    /// Counts what a cluster that was removed and is still published has of endpoints, or counts it no more.
    fn change_uses_by_removed(&mut self, key: &ResourceKey, change: impl Fn(u32) -> u32) {
        if key.resource_type != ResourceType::Cluster {
            return;
        }
        let Some(published) = self.nodes.get(key).and_then(|node| node.published.clone()) else {
            return;
        };
        let endpoints = ResourceType::ClusterLoadAssignment;
        for reference in published.references.iter().filter(|r| r.resource_type == endpoints) {
            let needed = ResourceKey::new(endpoints, Arc::clone(&reference.name));
            if let Some(node) = self.nodes.get_mut(&needed) {
                node.change_waits(|waits| waits.used_by_removed = change(waits.used_by_removed));
                self.touched.insert(needed);
            }
        }
    }

    /// The target of something refers to a resource.
    fn want(&mut self, reference: &Reference) {
        if reference.resource_type == ResourceType::Cluster {
            return;
        }
        let key = ResourceKey {
            resource_type: reference.resource_type,
            name: Arc::clone(&reference.name),
        };
        let node = self.nodes.entry(&key);
        node.wanted += 1;
        if node.source.is_none() {
            node.source.clone_from(&reference.source);
            // Without a source only the bootstrap could have it, and what it has is known already.
            node.answer = if node.source.is_some() {
                Answer::Awaited
            } else {
                Answer::Absent
            };
        }
        self.touched.insert(key);
    }

    fn release_want(&mut self, reference: &Reference) {
        if reference.resource_type == ResourceType::Cluster {
            return;
        }
        let key = ResourceKey {
            resource_type: reference.resource_type,
            name: Arc::clone(&reference.name),
        };
        if let Some(node) = self.nodes.get_mut(&key) {
            node.wanted = node.wanted.saturating_sub(1);
            self.mark(&key);
            self.touched.insert(key);
        }
    }

    /// Looks at a resource in the next settling.
    fn mark(&mut self, key: &ResourceKey) {
        self.dirty[key.resource_type as usize].push(Arc::clone(&key.name));
    }
}
