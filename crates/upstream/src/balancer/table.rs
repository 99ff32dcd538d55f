//! The immutable side of balancing: who is healthy, in which priority and locality, with which weight.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use config::cluster::{Cluster, LocalityConfig};
use config::endpoint::ClusterLoadAssignment;

use super::edf::Edf;
use super::priority::{Availability, Counts, Loads};
use super::{NoEndpoint, PickContext, Policy, PriorityTurns, WorkerLb};
use crate::endpoint::EndpointState;
use crate::health_flags::{Health, HealthFlags};
use crate::hosts::{Host, HostSet, PriorityHosts};

/// What of a cluster's configuration shapes its tables.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TableSettings {
    /// How one endpoint is chosen among several.
    pub policy: Policy,
    /// `healthy_panic_threshold` in percent; 50 unless configured, 0 turns panic mode off.
    pub panic_threshold: f64,
    /// Whether a priority in panic gets no requests at all, instead of all its endpoints.
    pub fail_traffic_on_panic: bool,
    /// Whether localities share load by their weights (`locality_weighted_lb_config`).
    pub locality_weighted: bool,
    /// Whether a priority's health is measured by weight instead of by number
    /// (`ClusterLoadAssignment.Policy.weighted_priority_health`).
    pub weighted_priority_health: bool,
    /// Whether endpoints count for nothing until their first health check
    /// (`ignore_new_hosts_until_first_hc`).
    pub ignore_new_hosts_until_first_health_check: bool,
}

impl TableSettings {
    /// What a cluster's configuration says, and its endpoints'.
    pub fn new(cluster: &Cluster, assignment: &ClusterLoadAssignment) -> Self {
        let common = &cluster.common_lb_config;
        Self {
            policy: Policy::new(&cluster.lb_policy),
            panic_threshold: common.healthy_panic_threshold,
            fail_traffic_on_panic: matches!(
                common.locality,
                LocalityConfig::ZoneAware {
                    fail_traffic_on_panic: true,
                    ..
                }
            ),
            locality_weighted: common.locality == LocalityConfig::LocalityWeighted,
            weighted_priority_health: assignment.weighted_priority_health,
            ignore_new_hosts_until_first_health_check: common.ignore_new_hosts_until_first_hc,
        }
    }
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
    settings: TableSettings,
    hosts: Arc<HostSet>,
    priorities: Box<[PriorityTable]>,
    loads: Loads,
    membership: Membership,
}

#[derive(Debug)]
pub(super) struct PriorityTable {
    /// All endpoints, the healthy, the degraded, then those of each weighted locality.
    sources: Box<[Source]>,
    /// Weighted localities for healthy and for degraded endpoints, where there are any.
    localities: [Option<LocalityTable>; 2],
}

/// The weighted localities of a priority that have endpoints of one availability.
#[derive(Debug)]
struct LocalityTable {
    first_source: usize,
    /// Effective weights: lowered where too many endpoints are missing.
    weights: Box<[f64]>,
}

/// Some of a priority's endpoints.
#[derive(Debug)]
pub(super) struct Source {
    /// Which ones; `None` for all, which is the common case and costs no memory.
    indices: Option<Box<[u32]>>,
    equal_weights: bool,
}

const ALL: usize = 0;
const HEALTHY: usize = 1;
const DEGRADED: usize = 2;

impl LbTable {
    /// The table of `hosts` as healthy as they are now.
    pub fn new(hosts: Arc<HostSet>, settings: TableSettings) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let mut counts = Vec::with_capacity(hosts.priorities().len());
        let mut membership = Membership::default();
        let priorities: Box<[PriorityTable]> = hosts
            .priorities()
            .iter()
            .map(|priority| {
                let conditions = Conditions::of(priority, &settings);
                counts.push(conditions.counts(priority, settings.weighted_priority_health));
                conditions.add_to(&mut membership);
                PriorityTable::new(&hosts, priority, &conditions, &settings)
            })
            .collect();
        let overprovisioning = u64::from(hosts.overprovisioning_percent());
        let loads = Loads::new(&counts, overprovisioning, settings.panic_threshold);
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            settings,
            hosts,
            priorities,
            loads,
            membership,
        }
    }

    /// The endpoint for one attempt, and whether health was disregarded to find it.
    pub fn pick(
        &self,
        context: &PickContext<'_>,
        worker: &mut WorkerLb,
    ) -> (Result<&Arc<EndpointState>, NoEndpoint>, Panic) {
        worker.adapt(self);
        let mut panic = Panic(false);
        for _ in 0..context.reselections {
            match self.pick_once(worker, &mut panic) {
                Ok(endpoint) if context.avoid.iter().any(|avoid| Arc::ptr_eq(avoid, endpoint)) => {}
                result => return (result, panic),
            }
        }
        (self.pick_once(worker, &mut panic), panic)
    }

    fn pick_once(&self, worker: &mut WorkerLb, panic: &mut Panic) -> Result<&Arc<EndpointState>, NoEndpoint> {
        if self.membership.total == 0 {
            return Err(NoEndpoint::Empty);
        }
        let WorkerLb {
            random,
            priorities: turns,
            ..
        } = worker;
        let (priority, availability) = self.loads.choose(random.next_u64());
        let (hosts, table) = (self.hosts.priorities()[priority].hosts(), &self.priorities[priority]);
        let turns = &mut turns[priority];
        let source = if self.loads.in_panic(priority) {
            *panic = Panic(true);
            if self.settings.fail_traffic_on_panic {
                return Err(NoEndpoint::NoneHealthy);
            }
            ALL
        } else {
            table.source(availability, turns, random)
        };
        self.settings
            .policy
            .pick(&table.sources[source], hosts, &mut turns.sources[source], random)
            .map(|host| &host.state)
            .ok_or(NoEndpoint::NoneHealthy)
    }

    /// The members.
    pub fn hosts(&self) -> &Arc<HostSet> {
        &self.hosts
    }

    /// How many are in which condition.
    pub fn membership(&self) -> Membership {
        self.membership
    }

    /// What shaped it.
    pub fn settings(&self) -> &TableSettings {
        &self.settings
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn priorities(&self) -> &[PriorityTable] {
        &self.priorities
    }
}

/// Whether a pick disregarded health (`lb_healthy_panic`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panic(pub bool);

/// The condition of each endpoint of a priority, read once: health may change while a table is built.
struct Conditions(Vec<Condition>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Healthy,
    Degraded,
    Unhealthy,
    Excluded,
}

impl Conditions {
    fn of(priority: &PriorityHosts, settings: &TableSettings) -> Self {
        let pending = HealthFlags::PENDING_ACTIVE_HEALTH_CHECK;
        let condition = |host: &Host| {
            let flags = host.state.health_flags();
            if (settings.ignore_new_hosts_until_first_health_check && flags.contains(pending))
                || flags.contains(HealthFlags::EXCLUDED_BY_IMMEDIATE_HEALTH_CHECK_FAIL)
                || flags.contains(HealthFlags::EDS_STATUS_DRAINING)
            {
                return Condition::Excluded;
            }
            match flags.health() {
                Health::Healthy => Condition::Healthy,
                Health::Degraded => Condition::Degraded,
                Health::Unhealthy => Condition::Unhealthy,
            }
        };
        Self(priority.hosts().iter().map(condition).collect())
    }

    fn counts(&self, priority: &PriorityHosts, weighted: bool) -> Counts {
        let mut counts = Counts::default();
        for (condition, host) in self.0.iter().zip(priority.hosts()) {
            let worth = if weighted { u64::from(host.weight) } else { 1 };
            counts.total += if *condition == Condition::Excluded { 0 } else { worth };
            counts.healthy += if *condition == Condition::Healthy { worth } else { 0 };
            counts.degraded += if *condition == Condition::Degraded { worth } else { 0 };
        }
        counts
    }

    fn add_to(&self, membership: &mut Membership) {
        membership.total += self.0.len() as u64;
        for condition in &self.0 {
            match condition {
                Condition::Healthy => membership.healthy += 1,
                Condition::Degraded => membership.degraded += 1,
                Condition::Excluded => membership.excluded += 1,
                Condition::Unhealthy => {}
            }
        }
    }
}

impl PriorityTable {
    fn new(hosts: &HostSet, priority: &PriorityHosts, conditions: &Conditions, settings: &TableSettings) -> Self {
        let all = 0..priority.hosts().len();
        let mut sources = vec![
            Source::new(priority, all.clone(), |_| true),
            Source::new(priority, all.clone(), |i| conditions.0[i] == Condition::Healthy),
            Source::new(priority, all, |i| conditions.0[i] == Condition::Degraded),
        ];
        let mut localities = [None, None];
        if settings.locality_weighted {
            let wanted = [Condition::Healthy, Condition::Degraded];
            localities = wanted.map(|wanted| LocalityTable::new(hosts, priority, conditions, wanted, &mut sources));
        }
        Self {
            sources: sources.into(),
            localities,
        }
    }

    pub(super) fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The endpoints of one availability: all of them, or those of the locality whose turn it is.
    fn source(&self, availability: Availability, turns: &mut PriorityTurns, random: &mut super::Random) -> usize {
        let (index, all) = match availability {
            Availability::Healthy => (0, HEALTHY),
            Availability::Degraded => (1, DEGRADED),
        };
        let Some(localities) = &self.localities[index] else {
            return all;
        };
        let weight = |locality: u32| localities.weights[locality as usize];
        turns.localities[index]
            .get_or_insert_with(|| Edf::new(localities.weights.len() as u32, weight, random))
            .pick(weight)
            .map_or(all, |locality| localities.first_source + locality as usize)
    }
}

impl LocalityTable {
    /// Envoy, "Locality weighted load balancing": `weight * min(100, overprovisioning * available / total)`. `None` if
    /// no locality has both a weight and an available endpoint: then all endpoints are one locality.
    fn new(
        hosts: &HostSet,
        priority: &PriorityHosts,
        conditions: &Conditions,
        wanted: Condition,
        sources: &mut Vec<Source>,
    ) -> Option<Self> {
        let first_source = sources.len();
        let mut weights = Vec::new();
        for locality in priority.localities() {
            let weight = hosts.locality(locality).load_balancing_weight.unwrap_or(0);
            let conditions = &conditions.0[locality.range.clone()];
            let available = conditions.iter().filter(|&&c| c == wanted).count();
            let total = conditions.iter().filter(|&&c| c != Condition::Excluded).count();
            if weight == 0 || available == 0 {
                continue;
            }
            let overprovisioning = f64::from(hosts.overprovisioning_percent()) / 100.0;
            let availability = (overprovisioning * available as f64 / total as f64).min(1.0);
            weights.push(f64::from(weight) * availability);
            let start = locality.range.start;
            sources.push(Source::new(priority, locality.range.clone(), |i| {
                conditions[i - start] == wanted
            }));
        }
        (!weights.is_empty()).then(|| Self {
            first_source,
            weights: weights.into(),
        })
    }
}

impl Source {
    fn new(priority: &PriorityHosts, range: std::ops::Range<usize>, include: impl Fn(usize) -> bool) -> Self {
        let hosts = priority.hosts();
        let mut weights = range.clone().filter(|&i| include(i)).map(|i| hosts[i].weight);
        let first = weights.next();
        let equal_weights = weights.all(|weight| Some(weight) == first);
        let everything = range == (0..hosts.len()) && range.clone().all(&include);
        let indices = (!everything).then(|| range.filter(|&i| include(i)).map(|i| i as u32).collect());
        Self { indices, equal_weights }
    }

    pub(super) fn len(&self, hosts: &[Host]) -> u32 {
        self.indices.as_ref().map_or(hosts.len(), |indices| indices.len()) as u32
    }

    pub(super) fn host<'a>(&self, hosts: &'a [Host], index: u32) -> &'a Host {
        let index = self.indices.as_ref().map_or(index, |indices| indices[index as usize]);
        &hosts[index as usize]
    }

    pub(super) fn equal_weights(&self) -> bool {
        self.equal_weights
    }
}
