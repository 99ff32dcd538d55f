//! The control thread's side of all clusters: members, health, tables, and what is warm.
//!
//! [`Clusters`] is without I/O: it is told the configuration, the time, and how resolutions and health checks ended; it
//! says what to do ([`Action`]) and what happened ([`Event`]). [`Driver`] joins it to the network.
//!
//! ```text
//!   Config ── reconcile ──▶ members ── tables ──▶ ClusterHandle (one store, seen by the next pick of every worker)
//!                │             ▲          ▲
//!                ▼             │          │ merged over update_merge_window
//!         Action::Resolve ── on_resolved  │
//!         Action::Check ──── on_checked ──┴── flags (EDS, health check, outlier)
//! ```

mod checks;
mod dependents;
mod driver;
mod listing;
mod managed;
mod members;
mod names;
mod secrets;
mod timers;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use config::cluster::{Cluster, DnsLookupFamily, DnsResolver};
use config::{Config, Fingerprint, ResourceMap};
use dependents::Dependents;
pub use driver::Driver;
pub use listing::{ClusterListing, EndpointListing, Listing};
use managed::{Managed, Site};
use timers::Timers;
use tls::Loader;

use crate::balancer::{LocalZones, Random};
use crate::cluster::ClusterHandle;
use crate::dns::{Resolution, ResolveError};
use crate::health::state::CheckResult;
use crate::health::{CheckRequest, IdleConnection};
use crate::registry::StateRegistry;

/// Events for which there is always room.
const FEW_EVENTS: usize = 64;

/// The clusters of one configuration, by name.
pub type ClusterMap = ResourceMap<ClusterHandle>;

/// All clusters, those in use and those that warm up to be used. See the [module](self).
#[derive(Debug)]
pub struct Clusters {
    registry: Arc<StateRegistry>,
    loader: Arc<Loader>,
    /// Boxed, as a map is never full.
    managed: HashMap<ClusterId, Box<Managed>>,
    /// The last configuration.
    config: Config,
    /// What it contains.
    active: HashMap<Arc<str>, ClusterId>,
    /// What a coming configuration will contain, if it is not active with the same content already.
    warming: HashMap<Arc<str>, ClusterId>,
    dependents: Dependents,
    view: ClustersView,
    work: Work,
    next_id: u64,
}

/// What [`Clusters`] has to do and to tell.
#[derive(Debug)]
struct Work {
    timers: Timers<(ClusterId, Job)>,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
    random: Random,
    /// The zones of the local cluster, once they are known.
    local_zones: Option<LocalZones>,
    /// Whether the tables of other clusters were built with other ones.
    local_zones_changed: bool,
    /// Tells one name or endpoint that is worked on from any that came before it.
    next_serial: u64,
}

/// One cluster in [`Clusters::managed`]; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ClusterId(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    /// A name is to be resolved (again).
    Resolve { serial: u64 },
    /// An endpoint is to be checked (again).
    Check { serial: u64 },
    /// Changes of health were gathered long enough.
    Rebuild,
    /// Ejections may have to end.
    OutlierSweep,
    /// Endpoints of an ORIGINAL_DST cluster may be unused.
    CleanUp,
    /// The time that endpoints are good for may be over.
    Stale,
}

/// What a result belongs to. Give it back with the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    cluster: ClusterId,
    serial: u64,
}

/// Something to do on behalf of [`Clusters`].
#[derive(Debug)]
pub enum Action {
    /// Resolve a name, and report by [`Clusters::on_resolved`].
    Resolve {
        /// What to report for.
        token: Token,
        /// The name.
        host: Arc<str>,
        /// Which addresses.
        family: DnsLookupFamily,
        /// How to resolve it, where the cluster says so.
        resolver: Option<Arc<DnsResolver>>,
    },
    /// Check an endpoint, and report by [`Clusters::on_checked`].
    Check {
        /// What to report for.
        token: Token,
        /// What to check.
        request: Box<CheckRequest>,
    },
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A cluster is ready to be used: its names were resolved once, and every endpoint was checked once. Comes once for
    /// each content of a cluster, also for clusters that have nothing to wait for, and again if a cluster that is
    /// active and ready is to be warmed.
    Warm {
        /// The cluster.
        name: Arc<str>,
        /// Which content of it.
        fingerprint: Fingerprint,
    },
}

/// The active clusters as other threads see them.
#[derive(Clone, Debug, Default)]
pub struct ClustersView {
    active: Arc<ArcSwap<ClusterMap>>,
}

impl ClustersView {
    /// The clusters of the last configuration.
    pub fn active(&self) -> Arc<ClusterMap> {
        self.active.load_full()
    }
}

impl Clusters {
    /// No clusters yet. State is interned in `registry`, TLS contexts are made by `loader`; `random` spreads timers.
    pub fn new(registry: Arc<StateRegistry>, loader: Arc<Loader>, random: Random) -> Self {
        let work = Work {
            timers: Timers::default(),
            actions: VecDeque::new(),
            events: VecDeque::new(),
            random,
            local_zones: None,
            local_zones_changed: false,
            next_serial: 0,
        };
        Self {
            registry,
            loader,
            managed: HashMap::new(),
            config: Config::default(),
            active: HashMap::new(),
            warming: HashMap::new(),
            dependents: Dependents::default(),
            view: ClustersView::default(),
            work,
            next_id: 0,
        }
    }

    /// Where state is interned.
    pub fn registry(&self) -> &Arc<StateRegistry> {
        &self.registry
    }

    /// A view of the active clusters, for the admin endpoint.
    pub fn view(&self) -> ClustersView {
        self.view.clone()
    }

    /// Makes `config` the configuration in force and gives the handles for its snapshot, at the cost of what changed
    /// since the last one. A cluster whose content and secrets are as before keeps its handle; one that warmed up
    /// ([`warm`](Self::warm)) comes with what it has learned. Members that stay keep their state.
    pub fn reconcile(&mut self, config: &Config, now: Instant) -> Arc<ClusterMap> {
        let changed = self.dependents.changed(config, &self.config);
        let before = self.view.active();
        if changed.is_empty() {
            return before;
        }
        let mut map = ClusterMap::clone(&before);
        self.config = config.clone();
        let mut removed = false;
        for name in &changed {
            match config.clusters.get(name) {
                Some(cluster) => {
                    let handle = self.activate(name, cluster, config, now);
                    // New endpoints alone are in the handle's table: nothing to publish.
                    if before.get(name).is_none_or(|old| !Arc::ptr_eq(old, &handle)) {
                        map.insert(name.clone(), handle);
                    }
                }
                None => {
                    removed |= self.deactivate(name);
                    map.remove(name);
                }
            }
        }
        self.follow_local_zones(now);
        if removed {
            self.registry.prune();
        }
        if map.ptr_eq(&before) {
            return before;
        }
        let map = Arc::new(map);
        self.view.active.store(Arc::clone(&map));
        map
    }

    /// Makes `cluster` the active one of its name.
    fn activate(
        &mut self,
        name: &Arc<str>,
        cluster: &Arc<Cluster>,
        config: &Config,
        now: Instant,
    ) -> Arc<ClusterHandle> {
        let active = self.active.get(name).copied();
        let id = match (self.take_warming(name, cluster), active) {
            (Some(warmed), _) => warmed,
            (None, Some(active)) => active,
            (None, None) => self.create(cluster, config, now),
        };
        self.update(id, cluster, config, now);
        // The new one has joined its members before the old one leaves them: none is removed on the way.
        if let Some(superseded) = active.filter(|active| *active != id) {
            self.retire(superseded);
        }
        self.active.insert(name.clone(), id);
        self.dependents.set(cluster);
        self.managed[&id].handle().clone()
    }

    /// No cluster of this name is active any more. Whether one was.
    fn deactivate(&mut self, name: &str) -> bool {
        let Some(id) = self.active.remove(name) else {
            return false;
        };
        self.dependents.remove(name);
        self.retire(id);
        true
    }

    /// Resolves and checks what a coming configuration will contain, so that it is warm when it comes. `candidates`
    /// replaces those of the last call; what is active with the same content is left as it is. Each one that is ready
    /// gives an [`Event::Warm`].
    pub fn warm(&mut self, candidates: &Config, now: Instant) {
        for (name, cluster) in &candidates.clusters {
            let active = self.active.get(name).map(|id| &self.managed[id]);
            if let Some(managed) = active.filter(|managed| managed.is_for(cluster)) {
                // Whoever warms it waits for the event, and may have missed the first.
                if managed.is_warm() {
                    let (name, fingerprint) = (name.clone(), cluster.fingerprint);
                    self.work.events.push_back(Event::Warm { name, fingerprint });
                }
                continue;
            }
            match self.take_warming(name, cluster) {
                Some(id) => {
                    self.update(id, cluster, candidates, now);
                    self.warming.insert(name.clone(), id);
                }
                None => {
                    let id = self.create(cluster, candidates, now);
                    if let Some(superseded) = self.warming.insert(name.clone(), id) {
                        self.retire(superseded);
                    }
                }
            }
        }
        let is_wanted = |(name, id): &(Arc<str>, ClusterId)| {
            candidates
                .clusters
                .get(name)
                .is_some_and(|cluster| self.managed[id].is_for(cluster))
        };
        let all: Vec<(Arc<str>, ClusterId)> = self.warming.iter().map(|(name, id)| (name.clone(), *id)).collect();
        let unwanted: Vec<(Arc<str>, ClusterId)> = all.into_iter().filter(|entry| !is_wanted(entry)).collect();
        for (name, id) in unwanted {
            self.warming.remove(&name);
            self.retire(id);
        }
    }

    /// Whether a cluster with this content is ready, active or not.
    pub fn is_warm(&self, cluster: &Cluster) -> bool {
        let ids = [self.active.get(&cluster.name), self.warming.get(&cluster.name)];
        ids.into_iter()
            .flatten()
            .any(|id| self.managed[id].is_for(cluster) && self.managed[id].is_warm())
    }

    /// Takes what a name resolved to.
    pub fn on_resolved(&mut self, token: Token, result: Result<Resolution, ResolveError>, now: Instant) {
        if let Some(managed) = self.managed.get_mut(&token.cluster) {
            managed.on_resolved(token, result, &mut self.work, now);
        }
        self.follow_local_zones(now);
    }

    /// Takes the result of a health check, and the connection to keep for the next.
    pub fn on_checked(&mut self, token: Token, result: CheckResult, connection: Option<IdleConnection>, now: Instant) {
        if let Some(managed) = self.managed.get_mut(&token.cluster) {
            managed.on_checked(token, result, connection, &mut self.work, now);
        }
        self.follow_local_zones(now);
    }

    /// Builds the tables of clusters whose endpoints' flags were changed by other threads.
    pub fn on_marked(&mut self, now: Instant) {
        for name in self.registry.signals().take_dirty() {
            for id in [self.active.get(&name), self.warming.get(&name)].into_iter().flatten() {
                if let Some(managed) = self.managed.get_mut(id) {
                    managed.on_health_changed(&mut self.work, now);
                }
            }
        }
        self.follow_local_zones(now);
    }

    /// When [`on_deadline`](Self::on_deadline) is to be called next.
    pub fn deadline(&self) -> Option<Instant> {
        self.work.timers.next_at()
    }

    /// Does what is due.
    pub fn on_deadline(&mut self, now: Instant) {
        while let Some((id, job)) = self.work.timers.pop_due(now) {
            if let Some(managed) = self.managed.get_mut(&id) {
                managed.on_job(job, &mut self.work, now);
            }
        }
        self.follow_local_zones(now);
    }

    /// Something to do; ask until there is nothing.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.work.actions.pop_front()
    }

    /// Something that happened; ask until there is nothing.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.work.events.pop_front();
        if self.work.events.is_empty() {
            // A whole mesh that became warm at once leaves no room behind.
            self.work.events.shrink_to(FEW_EVENTS);
        }
        event
    }

    fn create(&mut self, cluster: &Arc<Cluster>, config: &Config, now: Instant) -> ClusterId {
        let id = ClusterId(self.next_id);
        self.next_id += 1;
        let site = Site {
            registry: &self.registry,
            loader: &self.loader,
        };
        let managed = Managed::new(id, cluster, config, site, &mut self.work, now);
        self.managed.insert(id, Box::new(managed));
        id
    }

    fn update(&mut self, id: ClusterId, cluster: &Arc<Cluster>, config: &Config, now: Instant) {
        if let Some(managed) = self.managed.get_mut(&id) {
            let site = Site {
                registry: &self.registry,
                loader: &self.loader,
            };
            managed.update(cluster, config, site, &mut self.work, now);
        }
    }

    /// Builds the tables of clusters with several zones anew, if the local cluster's zones have changed.
    fn follow_local_zones(&mut self, now: Instant) {
        if !std::mem::take(&mut self.work.local_zones_changed) {
            return;
        }
        for managed in self.managed.values_mut().filter(|managed| managed.compares_zones()) {
            managed.rebuild(&mut self.work, now);
        }
    }

    fn retire(&mut self, id: ClusterId) {
        if let Some(managed) = self.managed.remove(&id) {
            managed.retire();
        }
    }

    /// The warming cluster with this content, no longer among the warming.
    fn take_warming(&mut self, name: &Arc<str>, cluster: &Arc<Cluster>) -> Option<ClusterId> {
        let id = *self.warming.get(name)?;
        self.managed[&id]
            .is_for(cluster)
            .then(|| self.warming.remove(name))
            .flatten()
    }
}

impl Work {
    fn serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }
}

#[cfg(test)]
mod tests;
