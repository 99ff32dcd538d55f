//! Envoy's counters of subscriptions: `cluster_manager.cds.*`, `listener_manager.lds.*`, `cluster.<name>.update_*`,
//! `http.<prefix>.rds.<name>.*`, `sds.<name>.*`, `control_plane.*`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use config::cluster::Discovery;
use config::http_connection_manager::RouteSpecifier;
use config::listener::NetworkFilterConfig;
use config::{Resource, ResourceType};
use telemetry::stats::{
    Block, Counter, Gauge, Registry, Scope, Shard, Text, cds, cluster_manager, cluster_membership, control_plane, lds,
    listener_manager, rds, sds,
};

use crate::assemble::{Assembler, Counts};
use crate::key::ResourceKey;
use crate::source::SourceId;

/// Where one table keeps what Envoy counts for every subscription.
#[derive(Debug)]
struct Names {
    attempt: Counter,
    success: Counter,
    failure: Counter,
    rejected: Counter,
    timeout: Counter,
    time: Gauge,
    version: Gauge,
    version_text: Text,
}

/// Names of a table whose constants have Envoy's names.
macro_rules! names {
    ($table:ident) => {
        Names {
            attempt: $table::UPDATE_ATTEMPT,
            success: $table::UPDATE_SUCCESS,
            failure: $table::UPDATE_FAILURE,
            rejected: $table::UPDATE_REJECTED,
            timeout: $table::INIT_FETCH_TIMEOUT,
            time: $table::UPDATE_TIME,
            version: $table::VERSION,
            version_text: $table::VERSION_TEXT,
        }
    };
}

static CDS: Names = names!(cds);
static LDS: Names = names!(lds);
static EDS: Names = names!(cluster_membership);
static RDS: Names = names!(rds);
static SDS: Names = names!(sds);

/// The statistics of one subscription.
#[derive(Debug)]
struct Subscription {
    block: Arc<Block>,
    names: &'static Names,
}

/// What the subscriptions to one resource are counted in. A big mesh has ten thousand, nearly all of them counted once.
#[derive(Debug)]
enum Blocks {
    One(Arc<Block>),
    More(Box<[Arc<Block>]>),
}

/// All statistics of the client.
#[derive(Debug)]
pub(crate) struct Statistics {
    registry: Arc<Registry>,
    clusters: Subscription,
    listeners: Subscription,
    control_plane: Arc<Block>,
    cluster_manager: Arc<Block>,
    listener_manager: Arc<Block>,
    /// Subscriptions by name to endpoints, routes and secrets, by what they are counted under.
    named: [HashMap<Arc<str>, Blocks>; ResourceType::ALL.len()],
    /// What was already counted of the assembler's own counts.
    counted: [Counts; 2],
}

impl Statistics {
    pub(crate) fn new(registry: &Arc<Registry>) -> Self {
        let process = |prefix, table| registry.block(Scope::Process(prefix), table);
        let clusters = Subscription {
            block: process("cluster_manager.cds.", &cds::TABLE),
            names: &CDS,
        };
        let listeners = Subscription {
            block: process("listener_manager.lds.", &lds::TABLE),
            names: &LDS,
        };
        Self {
            clusters,
            listeners,
            control_plane: process("control_plane.", &control_plane::TABLE),
            cluster_manager: process("cluster_manager.", &cluster_manager::TABLE),
            listener_manager: process("listener_manager.", &listener_manager::TABLE),
            named: Default::default(),
            counted: Default::default(),
            registry: Arc::clone(registry),
        }
    }

    /// A subscription to everything of a type begins.
    pub(crate) fn subscribed_to_all(&self, resource_type: ResourceType) {
        if let Some(subscription) = self.whole(resource_type) {
            subscription.attempted();
        }
    }

    /// A stream was opened or closed. Envoy's `control_plane.*` speaks of the aggregated stream.
    pub(crate) fn connected(&self, source: SourceId, connected: bool) {
        if source == SourceId::ADS {
            self.control_plane
                .set(Shard::CONTROL, control_plane::CONNECTED_STATE, u64::from(connected));
        }
    }

    /// The name of the server.
    pub(crate) fn control_plane(&self, source: SourceId, identifier: &str) {
        if source == SourceId::ADS {
            self.control_plane.set_text(control_plane::IDENTIFIER, identifier);
        }
    }

    /// A request was held back by `rate_limit_settings`, or is no longer.
    pub(crate) fn rate_limited(&self, source: SourceId, held_back: bool) {
        if source == SourceId::ADS {
            self.control_plane
                .add(Shard::CONTROL, control_plane::RATE_LIMIT_ENFORCED, u64::from(held_back));
            self.control_plane
                .set(Shard::CONTROL, control_plane::PENDING_REQUESTS, u64::from(held_back));
        }
    }

    /// The stream of a subscription to everything of a type failed.
    pub(crate) fn update_failed(&self, resource_type: ResourceType) {
        if let Some(subscription) = self.whole(resource_type) {
            subscription.block.increment(Shard::CONTROL, subscription.names.failure);
            subscription.attempted();
        }
    }

    /// Something was refused that is no response at all.
    pub(crate) fn update_refused(&self, resource_type: ResourceType) {
        if let Some(subscription) = self.whole(resource_type) {
            subscription.refused();
        }
    }

    /// The first answer did not come in time.
    pub(crate) fn initial_fetch_timed_out(&self, resource_type: ResourceType) {
        if let Some(subscription) = self.whole(resource_type) {
            subscription.block.increment(Shard::CONTROL, subscription.names.timeout);
            subscription.attempted();
        }
    }

    /// A resource asked for by name did not come in time.
    pub(crate) fn fetch_timed_out(&self, key: &ResourceKey) {
        for subscription in self.named(key) {
            subscription.block.increment(Shard::CONTROL, subscription.names.timeout);
        }
    }

    /// A response was accepted or refused.
    pub(crate) fn updated(&self, resource_type: ResourceType, version: &str, accepted: bool, at: SystemTime) {
        match self.whole(resource_type) {
            Some(subscription) if accepted => subscription.succeeded(version, at),
            Some(subscription) => subscription.refused(),
            None => {}
        }
    }

    /// A resource was accepted: what it refers to is counted under its name.
    pub(crate) fn accepted(&mut self, resource: &Resource, version: &str, at: SystemTime) {
        match resource {
            Resource::Cluster(cluster) => {
                if let Discovery::Eds { service_name, .. } = &cluster.discovery {
                    let block = self
                        .registry
                        .block(Scope::Cluster(cluster.stat_name()), &cluster_membership::TABLE);
                    self.count(ResourceType::ClusterLoadAssignment, service_name, block);
                }
            }
            Resource::Listener(listener) => {
                for filter in listener.all_filter_chains().flat_map(|chain| &chain.filters) {
                    if let NetworkFilterConfig::HttpConnectionManager(manager) = &filter.config
                        && let RouteSpecifier::Rds { route_config_name, .. } = &manager.route_specifier
                    {
                        let scope = Scope::Rds(&manager.stat_prefix, route_config_name);
                        let block = self.registry.block(scope, &rds::TABLE);
                        self.count(ResourceType::RouteConfiguration, route_config_name, block);
                    }
                }
            }
            _ => {}
        }
        let key = ResourceKey::new(resource.resource_type(), Arc::clone(resource.name()));
        for subscription in self.named(&key) {
            subscription.succeeded(version, at);
        }
    }

    /// A resource was refused.
    pub(crate) fn rejected(&self, key: &ResourceKey) {
        for subscription in self.named(key) {
            subscription.refused();
        }
    }

    /// A resource is asked for by name.
    pub(crate) fn subscribed(&mut self, key: &ResourceKey) {
        if key.resource_type == ResourceType::Secret {
            let block = self.registry.block(Scope::Sds(&key.name), &sds::TABLE);
            self.count(ResourceType::Secret, &key.name, block);
        }
        for subscription in self.named(key) {
            subscription.attempted();
        }
    }

    /// A resource is asked for no longer.
    pub(crate) fn unsubscribed(&mut self, key: &ResourceKey) {
        self.named[key.resource_type as usize].remove(&key.name);
    }

    /// What the assembler did since the last call.
    pub(crate) fn assembled(&mut self, assembler: &Assembler) {
        let clusters = assembler.counts(ResourceType::Cluster);
        let since = difference(clusters, std::mem::replace(&mut self.counted[0], clusters));
        let manager = self.cluster_manager.local(Shard::CONTROL);
        manager.add(cluster_manager::CLUSTER_ADDED, since.added);
        manager.add(cluster_manager::CLUSTER_MODIFIED, since.modified);
        manager.add(cluster_manager::CLUSTER_REMOVED, since.removed);
        manager.set(cluster_manager::ACTIVE_CLUSTERS, clusters.added - clusters.removed);
        manager.set(
            cluster_manager::WARMING_CLUSTERS,
            assembler.waiting_of(ResourceType::Cluster) as u64,
        );
        let listeners = assembler.counts(ResourceType::Listener);
        let since = difference(listeners, std::mem::replace(&mut self.counted[1], listeners));
        let manager = self.listener_manager.local(Shard::CONTROL);
        manager.add(listener_manager::LISTENER_ADDED, since.added);
        manager.add(listener_manager::LISTENER_MODIFIED, since.modified);
        manager.add(listener_manager::LISTENER_REMOVED, since.removed);
        manager.set(
            listener_manager::TOTAL_LISTENERS_WARMING,
            assembler.waiting_of(ResourceType::Listener) as u64,
        );
    }

    fn whole(&self, resource_type: ResourceType) -> Option<&Subscription> {
        match resource_type {
            ResourceType::Cluster => Some(&self.clusters),
            ResourceType::Listener => Some(&self.listeners),
            _ => None,
        }
    }

    /// The subscriptions to one resource.
    fn named(&self, key: &ResourceKey) -> impl Iterator<Item = Subscription> {
        let names = match key.resource_type {
            ResourceType::Cluster => &CDS,
            ResourceType::ClusterLoadAssignment => &EDS,
            ResourceType::Listener => &LDS,
            ResourceType::RouteConfiguration => &RDS,
            ResourceType::Secret => &SDS,
        };
        let blocks = self.named[key.resource_type as usize].get(&key.name);
        let blocks = blocks.map_or(&[][..], Blocks::as_slice).iter();
        blocks.map(|block| Subscription {
            block: Arc::clone(block),
            names,
        })
    }

    /// Counts a named subscription in one more block.
    fn count(&mut self, resource_type: ResourceType, name: &Arc<str>, block: Arc<Block>) {
        match self.named[resource_type as usize].entry(Arc::clone(name)) {
            Entry::Vacant(entry) => {
                entry.insert(Blocks::One(block));
            }
            Entry::Occupied(mut entry) => entry.get_mut().add(block),
        }
    }
}

impl Blocks {
    fn as_slice(&self) -> &[Arc<Block>] {
        match self {
            Self::One(block) => std::slice::from_ref(block),
            Self::More(blocks) => blocks,
        }
    }

    fn add(&mut self, block: Arc<Block>) {
        if self.as_slice().iter().any(|known| Arc::ptr_eq(known, &block)) {
            return;
        }
        let known = self.as_slice().iter().cloned();
        *self = Self::More(known.chain([block]).collect());
    }
}

impl Subscription {
    fn attempted(&self) {
        self.block.increment(Shard::CONTROL, self.names.attempt);
    }

    fn succeeded(&self, version: &str, at: SystemTime) {
        let local = self.block.local(Shard::CONTROL);
        local.add(self.names.success, 1);
        local.add(self.names.attempt, 1);
        let milliseconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        local.set(self.names.time, u64::try_from(milliseconds).unwrap_or(u64::MAX));
        local.set(self.names.version, version_hash(version));
        self.block.set_text(self.names.version_text, version);
    }

    fn refused(&self) {
        self.block.increment(Shard::CONTROL, self.names.rejected);
        self.attempted();
    }
}

fn difference(now: Counts, before: Counts) -> Counts {
    Counts {
        added: now.added - before.added,
        modified: now.modified - before.modified,
        removed: now.removed - before.removed,
    }
}

/// A number that differs when the version does. Envoy's is the same idea with another hash.
fn version_hash(version: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(version.as_bytes());
    hasher.finish()
}
