//! What the process knows about one cluster, whatever configuration comes and goes.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use config::endpoint::DropOverload;
use telemetry::stats::{
    self, Scope, cluster, cluster_circuit_breakers, cluster_membership, cluster_origin, http1, http2, ssl,
};
use tokio::sync::{Notify, watch};

use crate::breaker::Breaker;
use crate::drops::Drops;
use crate::endpoint::{EndpointAddress, EndpointState, Wanted};
use crate::known_endpoints::KnownEndpoints;
use crate::more_addresses::{ByEndpoint, MoreAddresses};
use crate::original_destination::Originals;
use crate::registry::Place;

/// The run-time state of one cluster: statistics, breaker counters, endpoints, and who wants to know when those
/// change. A mesh has thousands and uses few: what only few need is made when it is first used.
pub struct ClusterState {
    breaker: Breaker,
    name: Arc<str>,
    /// Made when something is first counted; shown from the beginning.
    stats: OnceLock<Arc<stats::Block>>,
    membership_stats: Arc<stats::Block>,
    stat_name: Arc<str>,
    /// The endpoints that something holds. Only the control thread interns.
    endpoints: Mutex<KnownEndpoints>,
    /// How many endpoints outlier detection has ejected.
    ejected: AtomicU32,
    /// How often the set of endpoints has changed of a cluster that then closes its connections.
    host_sets: AtomicU32,
    has_traffic: AtomicBool,
    /// Whether this cluster is already among the dirty ones of its signals.
    dirty: AtomicBool,
    surroundings: Arc<Surroundings>,
    used: OnceLock<Box<Used>>,
}

/// What all clusters of a registry share.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) stats: Arc<stats::Registry>,
    pub(crate) signals: Signals,
    pub(crate) place: Place,
}

/// What a cluster has once there was traffic to it, or something rare was configured. Statistics come one by one, once
/// there was something to count, as in Envoy.
#[derive(Default)]
struct Used {
    /// Made when the first worker subscribes.
    changes: OnceLock<watch::Sender<()>>,
    drops: Drops,
    more_addresses: MoreAddresses,
    /// Made when an ORIGINAL_DST cluster is first used.
    originals: OnceLock<Box<Originals>>,
    /// Shown from the beginning.
    breakers: OnceLock<Arc<stats::Block>>,
    /// Made when the cluster is first configured with outlier detection.
    outlier: OnceLock<Arc<stats::Block>>,
    external: OnceLock<Arc<stats::Block>>,
    retry: OnceLock<Arc<stats::Block>>,
    internal: OnceLock<Arc<stats::Block>>,
    ssl: OnceLock<Arc<stats::Block>>,
    http1: OnceLock<Arc<stats::Block>>,
    http2: OnceLock<Arc<stats::Block>>,
}

impl ClusterState {
    pub(crate) fn new(name: Arc<str>, stat_name: &str, surroundings: Arc<Surroundings>) -> Self {
        let (scope, stats) = (Scope::Cluster(stat_name), &surroundings.stats);
        Self {
            breaker: Breaker::default(),
            stats: OnceLock::new(),
            membership_stats: stats.block(scope, &cluster_membership::TABLE),
            stat_name: if *name == *stat_name {
                Arc::clone(&name)
            } else {
                stat_name.into()
            },
            endpoints: Mutex::default(),
            ejected: AtomicU32::new(0),
            host_sets: AtomicU32::new(0),
            name,
            has_traffic: AtomicBool::new(false),
            dirty: AtomicBool::new(false),
            surroundings,
            used: OnceLock::new(),
        }
    }

    fn used(&self) -> &Used {
        self.used.get_or_init(Box::default)
    }

    /// Where this proxy is.
    pub fn place(&self) -> &Place {
        &self.surroundings.place
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `cluster.<name>.upstream_*`, `lb_*` and the like ([`stats::cluster`]).
    pub fn stats(&self) -> &Arc<stats::Block> {
        self.made(&self.stats, Scope::Cluster(&self.stat_name), &cluster::TABLE)
    }

    /// `cluster.<name>.membership_*`, `update_*` ([`stats::cluster_membership`]).
    pub fn membership_stats(&self) -> &Arc<stats::Block> {
        &self.membership_stats
    }

    /// `cluster.<name>.circuit_breakers.*` ([`stats::cluster_circuit_breakers`]).
    pub fn breaker_stats(&self) -> &Arc<stats::Block> {
        let scope = Scope::Cluster(&self.stat_name);
        self.made(&self.used().breakers, scope, &cluster_circuit_breakers::TABLE)
    }

    /// The same, if there ever was something to say.
    pub(crate) fn breaker_stats_if_used(&self) -> Option<&Arc<stats::Block>> {
        self.used.get()?.breakers.get()
    }

    /// `cluster.<name>.outlier_detection.*`, if it is or was configured.
    pub fn outlier_stats(&self) -> Option<&Arc<stats::Block>> {
        self.used.get()?.outlier.get()
    }

    /// `cluster.<name>.internal.*` or `external.*` ([`stats::cluster_origin`]).
    pub fn origin_stats(&self, internal: bool) -> &Arc<stats::Block> {
        let used = self.used();
        let (block, part) = if internal {
            (&used.internal, "internal.")
        } else {
            (&used.external, "external.")
        };
        self.made(block, Scope::ClusterPart(&self.stat_name, part), &cluster_origin::TABLE)
    }

    /// `cluster.<name>.retry.*`: answers that were not passed on, but tried again ([`stats::cluster_origin`]).
    pub fn retry_stats(&self) -> &Arc<stats::Block> {
        let used = self.used();
        let scope = Scope::ClusterPart(&self.stat_name, "retry.");
        self.made(&used.retry, scope, &cluster_origin::TABLE)
    }

    /// `cluster.<name>.ssl.*` ([`stats::ssl`]).
    pub fn ssl_stats(&self) -> &Arc<stats::Block> {
        let used = self.used();
        self.made(&used.ssl, Scope::Cluster(&self.stat_name), &ssl::TABLE)
    }

    /// `cluster.<name>.http1.*` ([`stats::http1`]).
    pub fn http1_stats(&self) -> &Arc<stats::Block> {
        let used = self.used();
        let scope = Scope::ClusterPart(&self.stat_name, "http1.");
        self.made(&used.http1, scope, &http1::TABLE)
    }

    /// `cluster.<name>.http2.*` ([`stats::http2`]).
    pub fn http2_stats(&self) -> &Arc<stats::Block> {
        let used = self.used();
        let scope = Scope::ClusterPart(&self.stat_name, "http2.");
        self.made(&used.http2, scope, &http2::TABLE)
    }

    fn made<'a>(
        &'a self,
        block: &'a OnceLock<Arc<stats::Block>>,
        scope: Scope<'_>,
        table: &'static stats::Table,
    ) -> &'a Arc<stats::Block> {
        block.get_or_init(|| self.surroundings.stats.block(scope, table))
    }

    pub(crate) fn set_outlier_stats(&self, make: impl FnOnce() -> Arc<stats::Block>) {
        self.used().outlier.get_or_init(make);
    }

    /// The state of one of its endpoints; see [`EndpointKey`](crate::endpoint::EndpointKey) for what makes it the same one.
    pub fn endpoint(self: &Arc<Self>, address: EndpointAddress, transport: &str, hostname: &str) -> Arc<EndpointState> {
        let wanted = Wanted {
            address: &address,
            transport,
            hostname,
        };
        let make = |neighbour: Option<&EndpointState>| EndpointState::new(self.clone(), &wanted, neighbour);
        self.endpoints().endpoint(&wanted, make)
    }

    /// The endpoints of an ORIGINAL_DST cluster.
    pub(crate) fn originals(&self) -> &Originals {
        self.used().originals.get_or_init(Box::default)
    }

    /// Forgets the endpoints that nothing holds any more.
    pub(crate) fn prune(&self) {
        self.endpoints().prune();
    }

    #[cfg(test)]
    pub(crate) fn endpoints_known(&self) -> usize {
        self.endpoints().len()
    }

    fn endpoints(&self) -> MutexGuard<'_, KnownEndpoints> {
        // Poisoned or not, it is whole: nothing can panic between two of its changes.
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another number whenever connections made before are to be drained because the set of endpoints has changed
    /// (`close_connections_on_host_set_change`).
    pub fn host_set(&self) -> u32 {
        self.host_sets.load(Ordering::Relaxed)
    }

    /// The set of endpoints has changed: connections of before are to be drained.
    pub(crate) fn begin_host_set(&self) {
        self.host_sets.fetch_add(1, Ordering::Relaxed);
    }

    /// Addresses of its endpoints beside their first, if any ever had some.
    pub(crate) fn more_addresses(&self) -> Option<&MoreAddresses> {
        Some(&self.used.get()?.more_addresses)
    }

    /// Takes the addresses of all its endpoints beside their first.
    pub(crate) fn set_more_addresses(&self, addresses: ByEndpoint) {
        if !addresses.is_empty() || self.used.get().is_some() {
            self.used().more_addresses.set(addresses);
        }
    }

    /// What is dropped before an endpoint is chosen.
    pub(crate) fn drops(&self) -> &Drops {
        &self.used().drops
    }

    /// The same, if there ever was something to drop.
    pub(crate) fn drops_if_used(&self) -> Option<&Drops> {
        Some(&self.used.get()?.drops)
    }

    /// Takes what its endpoints come with.
    pub(crate) fn set_drops(&self, overloads: &[DropOverload]) {
        if !overloads.is_empty() || self.used.get().is_some() {
            self.drops().set(overloads);
        }
    }

    pub(crate) fn ejected(&self) -> &AtomicU32 {
        &self.ejected
    }

    /// The counters of its circuit breakers.
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Whether a connection was ever opened for traffic. Until then health checks are rare
    /// (`HealthCheck.no_traffic_interval`).
    pub fn has_traffic(&self) -> bool {
        self.has_traffic.load(Ordering::Relaxed)
    }

    pub(crate) fn set_has_traffic(&self) {
        // Read first: nearly always it is set already, and a write would take the line from the other workers.
        if !self.has_traffic() {
            self.has_traffic.store(true, Ordering::Relaxed);
        }
    }

    /// Tells when this cluster's endpoints or their health have changed: what a connection or a pool waits on to learn
    /// that its endpoint is [removed](crate::endpoint::EndpointState::is_removed) or
    /// [should be drained](crate::endpoint::EndpointState::should_drain).
    pub fn subscribe(&self) -> EndpointChanges {
        EndpointChanges {
            receiver: self.used().changes.get_or_init(|| watch::Sender::new(())).subscribe(),
        }
    }

    /// Wakes all subscribers.
    pub(crate) fn notify_changed(&self) {
        self.surroundings.signals.generation.fetch_add(1, Ordering::Release);
        if let Some(changes) = self.used.get().and_then(|used| used.changes.get()) {
            changes.send_replace(());
        }
    }

    /// Asks the control thread to build this cluster's tables anew.
    pub(crate) fn mark_dirty(&self) {
        if !self.dirty.swap(true, Ordering::AcqRel) {
            self.surroundings.signals.mark_dirty(&self.name);
        }
    }

    /// To be called before its endpoints' health is read, so that a change after that marks it again.
    pub(crate) fn clear_dirty(&self) {
        self.dirty.store(false, Ordering::Release);
    }
}

impl fmt::Debug for ClusterState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterState")
            .field("name", &self.name)
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}

/// Hears that a cluster's endpoints or their health have changed.
#[derive(Clone, Debug)]
pub struct EndpointChanges {
    receiver: watch::Receiver<()>,
}

impl EndpointChanges {
    /// Waits for the next change since the last call, or since the subscription. Changes in between are merged into
    /// one. Never ready again once the cluster's state is gone, which the subscriber's endpoint prevents.
    /// Cancel-safe.
    pub async fn changed(&mut self) {
        if self.receiver.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether there was a change since the last call of this or [`changed`](Self::changed).
    pub fn has_changed(&mut self) -> bool {
        let changed = self.receiver.has_changed().unwrap_or(false);
        if changed {
            self.receiver.mark_unchanged();
        }
        changed
    }
}

/// Which clusters need new tables: set by any thread, taken by the control thread. A set, so that it is bounded by the
/// number of clusters however often an endpoint changes.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    dirty: Mutex<HashSet<Arc<str>>>,
    wake: Notify,
    /// How often any cluster's endpoints or their health have changed.
    generation: AtomicU64,
}

impl Signals {
    fn mark_dirty(&self, cluster: &Arc<str>) {
        self.dirty
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(cluster.clone());
        self.wake.notify_one();
    }

    /// The names of the clusters that were marked since the last call.
    pub(crate) fn take_dirty(&self) -> HashSet<Arc<str>> {
        std::mem::take(&mut *self.dirty.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Ready when something was marked since it was last ready. Cancel-safe.
    pub(crate) async fn marked(&self) {
        self.wake.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use crate::cluster_state::ClusterState;
    use crate::testing;

    #[test]
    fn a_cluster_without_traffic_is_small() {
        assert!(size_of::<ClusterState>() <= 168, "{}", size_of::<ClusterState>());
    }

    #[test]
    fn a_cluster_is_marked_once_until_it_is_taken() {
        let registry = testing::registry();
        let cluster = testing::cluster_of(&registry, "c");
        cluster.mark_dirty();
        cluster.mark_dirty();
        assert_eq!(registry.signals().take_dirty().len(), 1);
        assert!(registry.signals().take_dirty().is_empty());
        cluster.clear_dirty();
        cluster.mark_dirty();
        assert_eq!(registry.signals().take_dirty().len(), 1);
    }

    #[test]
    fn subscribers_hear_changes_once() {
        let cluster = testing::cluster_of(&testing::registry(), "c");
        cluster.notify_changed();
        let mut changes = cluster.subscribe();
        assert!(!changes.has_changed(), "what was before doesn't count");
        cluster.notify_changed();
        cluster.notify_changed();
        assert!(changes.has_changed());
        assert!(!changes.has_changed());
    }
}
