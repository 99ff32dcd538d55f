//! How much each place of a cluster was sent, report by report: what LRS asks.
//!
//! The endpoints count their requests anyway ([`EndpointStats`]); a report is the difference to the counts at the last
//! one. The request path has nothing to do with it.

use std::collections::HashMap;
use std::sync::Arc;

use config::cluster::Discovery;
use config::endpoint::Locality;
use telemetry::stats::cluster as stat;

use crate::cluster::ClusterHandle;
use crate::clusters::ClustersView;
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
    /// Requests dropped by configuration, before an endpoint was chosen.
    pub dropped: u64,
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
        let table = handle.table();
        let hosts = table.hosts();
        for host in hosts.iter() {
            let place = hosts.locality_of(host);
            let endpoint = self
                .endpoints
                .entry(Arc::as_ptr(&host.state).addr())
                .or_insert_with(|| MeteredEndpoint {
                    state: Arc::clone(&host.state),
                    locality: place.locality.clone(),
                    priority: place.priority,
                    taken: EndpointStats::default(),
                });
            if endpoint.locality != place.locality {
                endpoint.locality = place.locality.clone();
            }
            endpoint.priority = place.priority;
        }
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
                    address: endpoint.state.address().clone(),
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

/// What Envoy counts as dropped: requests in maintenance mode.
fn dropped(handle: &ClusterHandle) -> u64 {
    handle.stats().counter(stat::UPSTREAM_RQ_MAINTENANCE_MODE)
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
