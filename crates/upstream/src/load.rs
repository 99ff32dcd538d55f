//! How much each place of a cluster was sent, report by report: what LRS asks.
//!
//! The endpoints count their requests anyway ([`EndpointStats`]); a report is the difference to the counts at the last
//! one. The request path has nothing to do with it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use config::cluster::Discovery;
use config::endpoint::Locality;
use telemetry::stats::cluster as stat;

use crate::cluster::ClusterHandle;
use crate::clusters::ClustersView;
use crate::drops::Drops;
use crate::endpoint::{EndpointAddress, EndpointState, EndpointStats};

/// Counts of requests since the last report, but those in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Sent.
    pub issued: u64,
    /// Answered without an error.
    pub succeeded: u64,
    /// Failed, by reset, connection failure, error status or timeout.
    pub failed: u64,
    /// Not ended yet.
    pub in_progress: u64,
}

/// What a cluster was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterLoad {
    /// Its name.
    pub cluster: Arc<str>,
    /// Its EDS service name, where that differs from its own; else empty.
    pub service: Arc<str>,
    /// Requests that were dropped before an endpoint had them: by configuration, or by an open breaker.
    pub dropped: u64,
    /// Those of them that the categories of `drop_overloads` dropped, sorted by category.
    pub drops: Vec<(Arc<str>, u64)>,
    /// Each endpoint that had any load, in the order of places.
    pub endpoints: Vec<EndpointLoad>,
}

/// What one endpoint was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointLoad {
    /// Where it listens.
    pub address: EndpointAddress,
    /// Where it is.
    pub locality: Locality,
    /// Its priority.
    pub priority: u32,
    /// What it was sent.
    pub load: Load,
}

/// Takes the loads of clusters, each time since the time before.
#[derive(Debug)]
pub struct LoadMeter {
    clusters: ClustersView,
    metered: HashMap<Arc<str>, Metered>,
}

/// A cluster's counts at the last report.
#[derive(Debug, Default)]
struct Metered {
    dropped: u64,
    /// By category, what it counts and how much of that was taken.
    drops: BTreeMap<Arc<str>, (Arc<AtomicU64>, u64)>,
    /// By the address of the state, which lives as long as it is in here: its counts never start over.
    endpoints: HashMap<usize, MeteredEndpoint>,
}

#[derive(Debug)]
struct MeteredEndpoint {
    state: Arc<EndpointState>,
    locality: Locality,
    priority: u32,
    taken: EndpointStats,
}

impl LoadMeter {
    /// A meter of the active clusters.
    pub fn new(clusters: ClustersView) -> Self {
        Self {
            clusters,
            metered: HashMap::new(),
        }
    }

    /// Starts metering the clusters for which `is_selected` says so, those that are not metered already from nothing, and
    /// stops metering the others.
    pub fn select(&mut self, is_selected: impl Fn(&str) -> bool) {
        self.metered.retain(|name, _| is_selected(name));
        for (name, handle) in self.clusters.active().iter().filter(|(name, _)| is_selected(name)) {
            if !self.metered.contains_key(name) {
                let mut metered = Metered {
                    dropped: dropped(handle),
                    ..Metered::default()
                };
                metered.meet(handle);
                metered.take_drops();
                metered
                    .endpoints
                    .values_mut()
                    .for_each(|endpoint| endpoint.taken = endpoint.state.stats());
                self.metered.insert(Arc::clone(name), metered);
            }
        }
    }

    /// The loads since the last call, by name of the cluster. A cluster that is selected and came since then is metered
    /// from its beginning; what is gone is reported once more.
    pub fn take(&mut self, is_selected: impl Fn(&str) -> bool) -> Vec<ClusterLoad> {
        let active = self.clusters.active();
        let mut loads = Vec::new();
        for (name, handle) in active.iter().filter(|(name, _)| is_selected(name)) {
            let metered = self.metered.entry(Arc::clone(name)).or_default();
            metered.meet(handle);
            let dropped = dropped(handle);
            loads.push(ClusterLoad {
                cluster: Arc::clone(name),
                service: service(handle),
                dropped: dropped.saturating_sub(std::mem::replace(&mut metered.dropped, dropped)),
                drops: metered.take_drops(),
                endpoints: metered.take(),
            });
        }
        // What is gone has its last word.
        self.metered.retain(|name, metered| {
            if active.contains_key(name) {
                return true;
            }
            loads.push(ClusterLoad {
                cluster: Arc::clone(name),
                service: Arc::default(),
                dropped: 0,
                drops: metered.take_drops(),
                endpoints: metered.take(),
            });
            !metered.endpoints.is_empty()
        });
        loads.sort_by(|a, b| a.cluster.cmp(&b.cluster));
        loads
    }
}

impl Metered {
    /// Takes in the endpoints that the cluster has now, new ones with nothing taken yet.
    fn meet(&mut self, handle: &ClusterHandle) {
        let drops = handle.state().drops_if_used();
        for (category, count) in drops.map(Drops::by_category).unwrap_or_default() {
            let metered = self.drops.entry(category).or_insert_with(|| (Arc::clone(&count), 0));
            if !Arc::ptr_eq(&metered.0, &count) {
                // The category was gone for a while: it counts from nothing again.
                *metered = (count, 0);
            }
        }
        let table = handle.table();
        let hosts = table.hosts();
        for host in hosts.iter() {
            let place = hosts.locality_of(host);
            let endpoint = self
                .endpoints
                .entry(Arc::as_ptr(&host.state).addr())
                .or_insert_with(|| MeteredEndpoint {
                    state: Arc::clone(&host.state),
                    locality: Locality::clone(&place.locality),
                    priority: place.priority,
                    taken: EndpointStats::default(),
                });
            if endpoint.locality != *place.locality {
                endpoint.locality = Locality::clone(&place.locality);
            }
            endpoint.priority = place.priority;
        }
    }

    /// What each category has dropped since the last call; one that is gone has its last word.
    fn take_drops(&mut self) -> Vec<(Arc<str>, u64)> {
        let mut drops = Vec::new();
        self.drops.retain(|category, (count, taken)| {
            let is_alone = Arc::strong_count(count) == 1;
            let now = count.load(Ordering::Relaxed);
            let dropped = now.saturating_sub(std::mem::replace(taken, now));
            if dropped > 0 {
                drops.push((Arc::clone(category), dropped));
            }
            !is_alone
        });
        drops
    }

    fn take(&mut self) -> Vec<EndpointLoad> {
        let mut loads = Vec::new();
        self.endpoints.retain(|_, endpoint| {
            // Asked before the counts are read: who holds it no more cannot count any more.
            let is_alone = Arc::strong_count(&endpoint.state) == 1;
            let (now, before) = (endpoint.state.stats(), endpoint.taken);
            let failed = |stats: &EndpointStats| stats.rq_error + stats.rq_timeout;
            endpoint.taken = now;
            let load = Load {
                issued: now.rq_total - before.rq_total,
                succeeded: now.rq_success - before.rq_success,
                failed: failed(&now) - failed(&before),
                in_progress: now.rq_active,
            };
            if load != Load::default() {
                loads.push(EndpointLoad {
                    address: endpoint.state.address().to_owned(),
                    locality: endpoint.locality.clone(),
                    priority: endpoint.priority,
                    load,
                });
            }
            !is_alone
        });
        loads.sort_by(|a, b| (a.priority, &a.locality, &a.address).cmp(&(b.priority, &b.locality, &b.address)));
        loads
    }
}

/// What Envoy counts as dropped: requests of its `drop_overloads`, in maintenance mode, and refused by an open breaker.
fn dropped(handle: &ClusterHandle) -> u64 {
    let drops = handle.state().drops_if_used().map_or(0, Drops::total);
    handle.stats().counter(stat::UPSTREAM_RQ_MAINTENANCE_MODE) + drops
}

fn service(handle: &ClusterHandle) -> Arc<str> {
    let config = handle.config();
    match &config.discovery {
        Discovery::Eds { service_name, .. } if *service_name != config.name => Arc::clone(service_name),
        _ => Arc::default(),
    }
}

#[cfg(test)]
mod tests;
