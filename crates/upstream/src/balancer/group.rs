//! The endpoints that a pick chooses among: all of a cluster, or those of one subset.

use config::endpoint::LocalityEndpoints;
use telemetry::stats::Counter;

use super::edf::Edf;
use super::hashing::HashTable;
use super::priority::{Availability, Counts, Loads};
use super::source::Source;
use super::table::{Membership, Surroundings, TableSettings};
use super::zones::{NoZones, ZoneRouting};
use super::{NoEndpoint, Note, Notes, PickContext, Policy, PriorityTurns, Random};
use crate::health_flags::{Health, HealthFlags};
use crate::hosts::{Host, HostSet, PriorityHosts};

/// What groups are made from.
pub(super) struct Shape<'a> {
    pub(super) hosts: &'a HostSet,
    pub(super) settings: &'a TableSettings,
    /// Whether localities share load by their weights in this group.
    pub(super) locality_weighted: bool,
    /// By priority.
    pub(super) conditions: &'a [Conditions],
    /// How much of their weight endpoints have, by priority; `None` where that is all of it.
    pub(super) factors: Option<&'a [Option<Vec<f64>>]>,
    pub(super) surroundings: &'a Surroundings<'a>,
}

/// The condition of each endpoint of a priority, read once: health may change while a table is built.
pub(super) struct Conditions(Vec<Condition>);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Healthy,
    Degraded,
    Unhealthy,
    Excluded,
}

/// Endpoints by priority, and how load is shared among the priorities.
#[derive(Debug)]
pub(super) struct Group {
    priorities: Box<[PriorityTable]>,
    loads: Loads,
    total: u64,
}

#[derive(Debug)]
pub(super) struct PriorityTable {
    /// All endpoints, the healthy, the degraded, then those of each weighted locality or each zone.
    sources: Box<[Source]>,
    /// What few clusters have.
    more: Option<Box<More>>,
}

/// What few clusters have.
#[derive(Debug, Default)]
struct More {
    /// Weighted localities for healthy and for degraded endpoints, where there are any.
    localities: [Option<LocalityTable>; 2],
    zones: Option<Result<ZoneRouting, NoZones>>,
    hashing: Option<HashTable>,
}

/// The weighted localities of a priority that have endpoints of one availability.
#[derive(Debug)]
struct LocalityTable {
    first_source: usize,
    /// Effective weights: lowered where too many endpoints are missing.
    weights: Box<[f64]>,
}

const ALL: usize = 0;
const HEALTHY: usize = 1;
const DEGRADED: usize = 2;

impl Condition {
    pub(super) fn of(flags: HealthFlags, ignore_new: bool) -> Self {
        if (ignore_new && flags.contains(HealthFlags::PENDING_ACTIVE_HEALTH_CHECK))
            || flags.contains(HealthFlags::EXCLUDED_BY_IMMEDIATE_HEALTH_CHECK_FAIL)
            || flags.contains(HealthFlags::EDS_STATUS_DRAINING)
        {
            return Self::Excluded;
        }
        match flags.health() {
            Health::Healthy => Self::Healthy,
            Health::Degraded => Self::Degraded,
            Health::Unhealthy => Self::Unhealthy,
        }
    }
}

impl Conditions {
    pub(super) fn of(priority: &PriorityHosts, settings: &TableSettings) -> Self {
        let ignore_new = settings.ignore_new_hosts_until_first_health_check;
        let condition = |host: &Host| Condition::of(host.state.health_flags(), ignore_new);
        Self(priority.hosts().iter().map(condition).collect())
    }

    pub(super) fn at(&self, position: u32) -> Condition {
        self.0[position as usize]
    }

    fn counts(&self, hosts: &[Host], positions: impl Iterator<Item = u32>, weighted: bool) -> Counts {
        let mut counts = Counts::default();
        for position in positions {
            let condition = self.at(position);
            let worth = if weighted {
                u64::from(hosts[position as usize].weight)
            } else {
                1
            };
            counts.total += if condition == Condition::Excluded { 0 } else { worth };
            counts.healthy += if condition == Condition::Healthy { worth } else { 0 };
            counts.degraded += if condition == Condition::Degraded { worth } else { 0 };
        }
        counts
    }

    pub(super) fn add_to(&self, membership: &mut Membership) {
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

impl Group {
    /// The endpoints at the positions of `members`, by priority; `None` for all.
    pub(super) fn new(shape: &Shape<'_>, members: Option<&[Vec<u32>]>) -> Self {
        let all: Vec<Vec<u32>>;
        let members = match members {
            Some(members) => members,
            None => {
                let positions = |priority: &PriorityHosts| (0..priority.hosts().len() as u32).collect();
                all = shape.hosts.priorities().iter().map(positions).collect();
                &all
            }
        };
        let priorities = shape.hosts.priorities();
        let weighted = shape.settings.weighted_priority_health;
        let counts: Vec<Counts> = members
            .iter()
            .enumerate()
            .map(|(at, members)| shape.conditions[at].counts(priorities[at].hosts(), members.iter().copied(), weighted))
            .collect();
        let overprovisioning = u64::from(shape.hosts.overprovisioning_percent());
        let loads = Loads::new(&counts, overprovisioning, shape.settings.panic_threshold);
        let tables = members
            .iter()
            .enumerate()
            .map(|(at, members)| PriorityTable::new(shape, at, members, loads.in_panic(at)))
            .collect();
        Self {
            priorities: tables,
            total: members.iter().map(|members| members.len() as u64).sum(),
            loads,
        }
    }

    /// One endpoint for one attempt.
    #[allow(clippy::too_many_arguments, reason = "a table, a worker and a request meet here")]
    pub(super) fn pick<'a>(
        &self,
        hosts: &'a HostSet,
        policy: Policy,
        fail_traffic_on_panic: bool,
        context: &PickContext<'_>,
        attempt: u32,
        turns: &mut [PriorityTurns],
        random: &mut Random,
        notes: &mut Notes,
    ) -> Result<&'a Host, NoEndpoint> {
        if self.total == 0 {
            return Err(NoEndpoint::Empty);
        }
        let draw = match (policy, context.hash) {
            (Policy::Hashing(_), Some(hash)) => hash,
            _ => random.next_u64(),
        };
        let (priority, availability) = match (policy, context.previous_priorities) {
            (Policy::Hashing(_), _) | (_, None) => self.loads.choose(draw),
            (_, Some(previous)) => previous.choose(&self.loads, draw),
        };
        let (hosts, table) = (hosts.priorities()[priority].hosts(), &self.priorities[priority]);
        let in_panic = self.loads.in_panic(priority);
        if in_panic {
            notes.add(Note::Panic);
        }
        if let Policy::Hashing(_) = policy {
            let picked = table.more.as_ref().and_then(|more| more.hashing.as_ref());
            return picked
                .and_then(|table| table.pick(draw, attempt, hosts))
                .ok_or(NoEndpoint::NoneHealthy);
        }
        let turns = &mut turns[priority];
        let source = match in_panic {
            true if fail_traffic_on_panic => return Err(NoEndpoint::NoneHealthy),
            true => ALL,
            false => table
                .source(availability, turns, random, fail_traffic_on_panic, notes)
                .ok_or(NoEndpoint::NoneHealthy)?,
        };
        if context.ahead && policy.goes_by_load(&table.sources[source]) {
            return Err(NoEndpoint::NoneHealthy);
        }
        policy
            .pick(&table.sources[source], hosts, &mut turns.sources[source], random)
            .ok_or(NoEndpoint::NoneHealthy)
    }

    pub(super) fn priorities(&self) -> &[PriorityTable] {
        &self.priorities
    }

    /// Whether zones were compared, and what is to be counted if they could not be.
    pub(super) fn zone_note(&self) -> Option<Option<Counter>> {
        let zones = self.priorities.first()?.more.as_ref()?.zones.as_ref()?;
        Some(zones.as_ref().err().and_then(|reason| reason.counter()))
    }
}

impl PriorityTable {
    fn new(shape: &Shape<'_>, at: usize, members: &[u32], in_panic: bool) -> Self {
        let priority = &shape.hosts.priorities()[at];
        let (hosts, conditions) = (priority.hosts(), &shape.conditions[at]);
        let factors = shape.factors.and_then(|factors| factors[at].as_deref());
        let with = |wanted: Condition| -> Vec<u32> {
            let of = |position: &u32| conditions.at(*position) == wanted;
            members.iter().copied().filter(of).collect()
        };
        let mut more = More::default();
        if let Policy::Hashing(hashing) = shape.settings.policy {
            let weights = HashWeights {
                shape,
                priority,
                conditions,
                members,
                in_panic,
            };
            more.hashing = HashTable::new(&hashing, shape.hosts, hosts, weights.normalized());
            return Self {
                sources: Box::default(),
                more: Some(Box::new(more)),
            };
        }
        let mut sources = vec![
            Source::new(hosts, members.to_vec(), factors),
            Source::new(hosts, with(Condition::Healthy), factors),
            Source::new(hosts, with(Condition::Degraded), factors),
        ];
        let mut has_more = false;
        if shape.locality_weighted {
            let wanted = [Condition::Healthy, Condition::Degraded];
            more.localities = wanted
                .map(|wanted| LocalityTable::new(shape, priority, conditions, members, wanted, factors, &mut sources));
            has_more = more.localities.iter().any(Option::is_some);
        } else if let Some(zone_aware) = &shape.settings.zone_aware
            && let Some(local) = shape.surroundings.local
            && at == 0
        {
            let healthy = |position: u32| conditions.at(position) == Condition::Healthy;
            let own = shape.surroundings.own;
            let routing = ZoneRouting::new(zone_aware, own, local, shape.hosts, members, healthy, |positions| {
                sources.push(Source::new(hosts, positions, factors));
                sources.len() - 1
            });
            more.zones = Some(routing);
            has_more = true;
        }
        Self {
            sources: sources.into(),
            more: has_more.then(|| Box::new(more)),
        }
    }

    pub(super) fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The endpoints of one availability: all of them, or those of the locality whose turn it is or of a zone. `None`
    /// if the request is to fail.
    fn source(
        &self,
        availability: Availability,
        turns: &mut PriorityTurns,
        random: &mut Random,
        fail_traffic_on_panic: bool,
        notes: &mut Notes,
    ) -> Option<usize> {
        let (index, all) = match availability {
            Availability::Healthy => (0, HEALTHY),
            Availability::Degraded => (1, DEGRADED),
        };
        let Some(more) = &self.more else {
            return Some(all);
        };
        if let (Some(Ok(zones)), Availability::Healthy) = (&more.zones, availability) {
            return zones.choose(random, fail_traffic_on_panic, all, notes);
        }
        let Some(localities) = &more.localities[index] else {
            return Some(all);
        };
        let weight = |locality: u32| localities.weights[locality as usize];
        let locality = turns.localities[index]
            .get_or_insert_with(|| Edf::new(localities.weights.len() as u32, weight, random))
            .pick(weight);
        Some(locality.map_or(all, |locality| localities.first_source + locality as usize))
    }
}

impl LocalityTable {
    /// Envoy, "Locality weighted load balancing": `weight * min(100, overprovisioning * available / total)`. `None` if
    /// no locality has both a weight and an available endpoint: then all endpoints are one locality.
    fn new(
        shape: &Shape<'_>,
        priority: &PriorityHosts,
        conditions: &Conditions,
        members: &[u32],
        wanted: Condition,
        factors: Option<&[f64]>,
        sources: &mut Vec<Source>,
    ) -> Option<Self> {
        let first_source = sources.len();
        let mut weights = Vec::new();
        for locality in priority.localities() {
            let of_locality: Vec<u32> = within(members, &locality.range).to_vec();
            let weight = locality_weight(
                shape,
                shape.hosts.locality(locality),
                &locality.range,
                of_locality.len(),
            );
            let available: Vec<u32> = of_locality
                .iter()
                .copied()
                .filter(|position| conditions.at(*position) == wanted)
                .collect();
            let counts = |position: &&u32| conditions.at(**position) != Condition::Excluded;
            let total = of_locality.iter().filter(counts).count();
            if weight == 0 || available.is_empty() {
                continue;
            }
            let overprovisioning = f64::from(shape.hosts.overprovisioning_percent()) / 100.0;
            let availability = (overprovisioning * available.len() as f64 / total as f64).min(1.0);
            weights.push(f64::from(weight) * availability);
            sources.push(Source::new(priority.hosts(), available, factors));
        }
        (!weights.is_empty()).then(|| Self {
            first_source,
            weights: weights.into(),
        })
    }
}

/// A locality's weight, scaled where a subset has only some of its endpoints and that is to count.
fn locality_weight(
    shape: &Shape<'_>,
    locality: &LocalityEndpoints,
    range: &std::ops::Range<usize>,
    members: usize,
) -> u32 {
    let weight = locality.load_balancing_weight.unwrap_or(0);
    let scale = shape
        .settings
        .subsets
        .as_ref()
        .is_some_and(|subsets| subsets.scale_locality_weight);
    if !scale || weight == 0 || members == range.len() || range.is_empty() {
        return weight;
    }
    // As Envoy rounds; a locality with endpoints never loses all its weight.
    let scaled = (f64::from(weight) * members as f64 / range.len() as f64).round() as u32;
    scaled.max(u32::from(members > 0))
}

/// Those of the sorted `members` that are in `range`.
fn within<'a>(members: &'a [u32], range: &std::ops::Range<usize>) -> &'a [u32] {
    let start = members.partition_point(|position| (*position as usize) < range.start);
    let end = members.partition_point(|position| (*position as usize) < range.end);
    &members[start..end]
}

/// What the weights of a hash table come from.
struct HashWeights<'a> {
    shape: &'a Shape<'a>,
    priority: &'a PriorityHosts,
    conditions: &'a Conditions,
    members: &'a [u32],
    in_panic: bool,
}

impl HashWeights<'_> {
    /// Positions with their shares, which add up to 1: of the healthy endpoints, or in panic of all; with locality
    /// weights each locality has its own share of them (Envoy, `normalizeWeights`).
    fn normalized(&self) -> Vec<(u32, f64)> {
        let weigh = |positions: &[u32], share: f64, into: &mut Vec<(u32, f64)>| {
            let weight = |position: u32| f64::from(self.priority.hosts()[position as usize].weight);
            let counts = |position: &&u32| self.in_panic || self.conditions.at(**position) == Condition::Healthy;
            let sum: f64 = positions.iter().filter(counts).map(|position| weight(*position)).sum();
            let weighed = |position: &u32| (*position, weight(*position) * share / sum);
            into.extend(positions.iter().filter(counts).map(weighed));
        };
        let mut normalized = Vec::new();
        let localities = self.priority.localities();
        let locality_weight = |locality: &crate::hosts::LocalityHosts| {
            let members = within(self.members, &locality.range).len();
            let configured = self.shape.hosts.locality(locality);
            f64::from(locality_weight(self.shape, configured, &locality.range, members))
        };
        let sum: f64 = localities.iter().map(locality_weight).sum();
        if self.shape.locality_weighted && sum > 0.0 {
            for locality in localities {
                let weight = locality_weight(locality);
                if weight > 0.0 {
                    weigh(within(self.members, &locality.range), weight / sum, &mut normalized);
                }
            }
        } else {
            weigh(self.members, 1.0, &mut normalized);
        }
        normalized
    }
}
