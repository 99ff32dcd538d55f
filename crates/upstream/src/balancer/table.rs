//! The immutable side of balancing: who is healthy, in which priority and locality, with which weight.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use config::cluster::{Cluster, LbPolicy, LocalityBasis, LocalityConfig, SlowStart, Subset};
use config::endpoint::{ClusterLoadAssignment, Locality};
use telemetry::stats::Counter;

use super::group::{Condition, Conditions, Group, Shape};
use super::subsets::Subsets;
use super::zones::LocalZones;
use super::{NoEndpoint, Notes, PickContext, Policy, WorkerLb, slow_start};
use crate::endpoint::EndpointState;
use crate::hosts::{Host, HostSet};

/// What of a cluster's configuration shapes its tables.
#[derive(Clone, Debug, PartialEq)]
pub struct TableSettings {
    /// How one endpoint is chosen among several.
    pub policy: Policy,
    /// Less load for new endpoints.
    pub slow_start: Option<SlowStart>,
    /// `healthy_panic_threshold` in percent; 50 unless configured, 0 turns panic mode off.
    pub panic_threshold: f64,
    /// Whether a priority in panic gets no requests at all, instead of all its endpoints.
    pub fail_traffic_on_panic: bool,
    /// Whether localities share load by their weights (`locality_weighted_lb_config`).
    pub locality_weighted: bool,
    /// Whether and how the own zone is preferred, where the proxy knows its local cluster.
    pub zone_aware: Option<ZoneAware>,
    /// Whether a priority's health is measured by weight instead of by number
    /// (`ClusterLoadAssignment.Policy.weighted_priority_health`).
    pub weighted_priority_health: bool,
    /// Whether endpoints count for nothing until their first health check
    /// (`ignore_new_hosts_until_first_hc`).
    pub ignore_new_hosts_until_first_health_check: bool,
    /// Subsets by metadata.
    pub subsets: Option<Arc<Subset>>,
}

/// How the own zone is preferred.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ZoneAware {
    /// Percent of requests for which it is.
    pub routing_enabled: f64,
    /// Healthy endpoints at least for it to be.
    pub min_cluster_size: u64,
    /// All requests stay in the own zone if it has this many healthy endpoints.
    pub force_local_zone: Option<u32>,
    /// What zones are compared by.
    pub basis: LocalityBasis,
}

impl Default for TableSettings {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            slow_start: None,
            panic_threshold: 50.0,
            fail_traffic_on_panic: false,
            locality_weighted: false,
            zone_aware: None,
            weighted_priority_health: false,
            ignore_new_hosts_until_first_health_check: false,
            subsets: None,
        }
    }
}

impl TableSettings {
    /// What a cluster's configuration says, and its endpoints'.
    pub fn new(cluster: &Cluster, assignment: &ClusterLoadAssignment) -> Self {
        let common = &cluster.common_lb_config;
        let slow_start = match cluster.lb_policy {
            LbPolicy::RoundRobin { slow_start } | LbPolicy::LeastRequest { slow_start, .. } => slow_start,
            _ => None,
        };
        // Without a word on localities Envoy prefers the own zone, if it knows a local cluster.
        let (zone_aware, fail_traffic_on_panic) = match common.locality {
            LocalityConfig::LocalityWeighted => (None, false),
            LocalityConfig::None => (Some(ZoneAware::default()), false),
            LocalityConfig::ZoneAware {
                routing_enabled,
                min_cluster_size,
                fail_traffic_on_panic,
                force_local_zone,
                basis,
            } => {
                let zone_aware = ZoneAware {
                    routing_enabled,
                    min_cluster_size,
                    force_local_zone,
                    basis,
                };
                (Some(zone_aware), fail_traffic_on_panic)
            }
        };
        Self {
            policy: Policy::new(&cluster.lb_policy),
            slow_start,
            panic_threshold: common.healthy_panic_threshold,
            fail_traffic_on_panic,
            locality_weighted: common.locality == LocalityConfig::LocalityWeighted,
            zone_aware,
            weighted_priority_health: assignment.weighted_priority_health,
            ignore_new_hosts_until_first_health_check: common.ignore_new_hosts_until_first_hc,
            subsets: cluster.lb_subset_config.clone(),
        }
    }
}

impl Default for ZoneAware {
    fn default() -> Self {
        Self {
            routing_enabled: 100.0,
            min_cluster_size: 6,
            force_local_zone: None,
            basis: LocalityBasis::default(),
        }
    }
}

/// What a table depends on besides the cluster itself.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The time, for slow start.
    pub now: Instant,
    /// Where the proxy is.
    pub own: &'a Locality,
    /// The zones of the local cluster, if the proxy knows it.
    pub local: Option<&'a LocalZones>,
}

/// How many endpoints are in which condition: the `membership_*` gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// All of them.
    pub total: u64,
    /// Those that get requests.
    pub healthy: u64,
    /// Those that get requests when the healthy ones don't suffice.
    pub degraded: u64,
    /// Those that count for nothing yet.
    pub excluded: u64,
}

/// Everything a pick needs, as of one moment. Immutable; a change of members or health makes a new one.
#[derive(Debug)]
pub struct LbTable {
    /// Never 0, and never the same for two tables: tells a worker that its schedules are stale.
    id: u64,
    policy: Policy,
    fail_traffic_on_panic: bool,
    hosts: Arc<HostSet>,
    all: Group,
    subsets: Option<Box<Subsets>>,
    membership: Membership,
    /// Whether some endpoint is in slow start.
    warming_up: bool,
}

impl LbTable {
    /// The table of `hosts` as healthy as they are now.
    pub fn new(hosts: Arc<HostSet>, settings: &TableSettings, surroundings: &Surroundings<'_>) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let mut membership = Membership::default();
        let conditions: Vec<Conditions> = hosts
            .priorities()
            .iter()
            .map(|priority| Conditions::of(priority, settings))
            .collect();
        conditions
            .iter()
            .for_each(|conditions| conditions.add_to(&mut membership));
        let factors = settings.slow_start.map(|slow_start| {
            let of_priority = |priority: &crate::hosts::PriorityHosts| {
                slow_start::factors(priority.hosts(), &slow_start, surroundings.now)
            };
            hosts.priorities().iter().map(of_priority).collect::<Vec<_>>()
        });
        let warming_up = factors.iter().flatten().any(Option::is_some);
        // Locality weights count in subsets only if they are said to, and then in what stands for all of them too.
        let locality_weighted = settings.locality_weighted
            && settings
                .subsets
                .as_ref()
                .is_none_or(|subsets| subsets.locality_weight_aware);
        let shape = Shape {
            hosts: &hosts,
            settings,
            locality_weighted,
            conditions: &conditions,
            factors: factors.as_deref(),
            surroundings,
        };
        let all = Group::new(&shape, None);
        let subsets = settings
            .subsets
            .as_ref()
            .map(|subsets| Box::new(Subsets::new(&shape, subsets)));
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            policy: settings.policy,
            fail_traffic_on_panic: settings.fail_traffic_on_panic,
            all,
            subsets,
            membership,
            warming_up,
            hosts,
        }
    }

    /// The endpoint for one attempt, and what is to be told of how it was found.
    pub fn pick(
        &self,
        context: &PickContext<'_>,
        worker: &mut WorkerLb,
    ) -> (Result<&Arc<EndpointState>, NoEndpoint>, Notes) {
        worker.adapt(self);
        let mut notes = Notes::default();
        for attempt in 0..context.reselections {
            match self.pick_once(context, attempt, worker, &mut notes) {
                Ok(host) if self.is_avoided(host, context) => {}
                result => return (result.map(|host| &host.state), notes),
            }
        }
        let last = self.pick_once(context, context.reselections, worker, &mut notes);
        (last.map(|host| &host.state), notes)
    }

    fn is_avoided(&self, host: &Host, context: &PickContext<'_>) -> bool {
        context.avoid.iter().any(|avoid| Arc::ptr_eq(avoid, &host.state))
            || (!context.omit.is_empty() && context.omit.includes(self.hosts.endpoint(host).metadata()))
    }

    fn pick_once(
        &self,
        context: &PickContext<'_>,
        attempt: u32,
        worker: &mut WorkerLb,
        notes: &mut Notes,
    ) -> Result<&Host, NoEndpoint> {
        match &self.subsets {
            None => self.pick_from(&self.all, None, context, attempt, worker, notes),
            Some(subsets) => subsets.pick(context.metadata, notes, &mut |subset, notes| {
                let group = subset.map_or(&self.all, |subset| subsets.group(subset));
                self.pick_from(group, subset, context, attempt, worker, notes)
            }),
        }
    }

    fn pick_from(
        &self,
        group: &Group,
        subset: Option<usize>,
        context: &PickContext<'_>,
        attempt: u32,
        worker: &mut WorkerLb,
        notes: &mut Notes,
    ) -> Result<&Host, NoEndpoint> {
        let (turns, random) = worker.turns(group, subset);
        group.pick(
            &self.hosts,
            self.policy,
            self.fail_traffic_on_panic,
            context,
            attempt,
            turns,
            random,
            notes,
        )
    }

    /// The members.
    pub fn hosts(&self) -> &Arc<HostSet> {
        &self.hosts
    }

    /// How many are in which condition.
    pub fn membership(&self) -> Membership {
        self.membership
    }

    /// Whether a later pick can be made ahead of time.
    pub(super) fn can_peek(&self) -> bool {
        self.subsets.is_none() && !matches!(self.policy, Policy::Hashing(_))
    }

    /// How many subsets there are.
    pub fn subset_count(&self) -> u64 {
        self.subsets.as_ref().map_or(0, |subsets| subsets.len() as u64)
    }

    /// Whether some endpoint is in slow start: the table should be built anew soon.
    pub fn is_warming_up(&self) -> bool {
        self.warming_up
    }

    /// Whether zones were compared, and what is to be counted if they could not be.
    pub(crate) fn zone_note(&self) -> Option<Option<Counter>> {
        self.all.zone_note()
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn all(&self) -> &Group {
        &self.all
    }

    /// Healthy endpoints of the first priority by position, as others compare their zones with them.
    pub(crate) fn healthy_of_first_priority(&self) -> Vec<bool> {
        let Some(priority) = self.hosts.priorities().first() else {
            return Vec::new();
        };
        let condition =
            |host: &crate::hosts::Host| Condition::of(host.state.health_flags(), false) == Condition::Healthy;
        priority.hosts().iter().map(condition).collect()
    }
}
