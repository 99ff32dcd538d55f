//! Choosing an endpoint: policies, priorities, localities and panic.
//!
//! An [`LbTable`] is immutable and built off the path, on the control thread, whenever members or their health change.
//! What a pick must remember (whose turn it is) is the worker's own [`WorkerLb`], so that workers share nothing that is
//! written.
//!
//! ```text
//!   pick ── priority and availability (health, spill-over) ── panic? ── yes ── all endpoints of the priority ─┐
//!                                                               │                                             │
//!                                                               no ── locality, if localities are weighted ───┤
//!                                                                                                             │
//!                                                              ROUND_ROBIN, LEAST_REQUEST or RANDOM among them
//! ```

mod criteria;
mod edf;
mod priority;
mod random;
mod table;

use std::net::SocketAddr;
use std::sync::Arc;

use config::cluster::LbPolicy;
pub use criteria::SubsetCriteria;
use edf::Edf;
pub use random::Random;
use table::Source;
pub use table::{LbTable, Membership, Panic, TableSettings};
use telemetry::stats::Shard;

use crate::endpoint::EndpointState;
use crate::hosts::Host;

/// How one endpoint is chosen among several: those of [`LbPolicy`] that need no more than a table of endpoints.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Policy {
    /// Each in turn; in proportion to weights where these differ.
    RoundRobin,
    /// The one with the fewest requests in flight of some chosen at random; where weights differ, in turn with each
    /// one's weight lowered by its load.
    LeastRequest(LeastRequest),
    /// Any, whatever the weights.
    Random,
}

/// The settings of [`Policy::LeastRequest`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeastRequest {
    /// How many are chosen at random to compare.
    pub choice_count: u32,
    /// How much load lowers a weight: `weight / (active + 1) ^ bias`.
    pub active_request_bias: f64,
    /// Whether to compare all endpoints instead of some.
    pub full_scan: bool,
}

impl Policy {
    /// The policy of a cluster. The hashing policies stand for RANDOM where a request has no hash, as Envoy has it, and
    /// until their tables are there also where it has one; a policy that the discovery provides never picks from a
    /// table.
    pub fn new(policy: &LbPolicy) -> Self {
        match *policy {
            LbPolicy::RoundRobin { .. } => Self::RoundRobin,
            LbPolicy::LeastRequest {
                choice_count,
                active_request_bias,
                full_scan,
                ..
            } => Self::LeastRequest(LeastRequest {
                choice_count,
                active_request_bias,
                full_scan,
            }),
            LbPolicy::Random | LbPolicy::RingHash { .. } | LbPolicy::Maglev { .. } | LbPolicy::ClusterProvided => {
                Self::Random
            }
        }
    }
}

/// What a pick is for.
#[derive(Clone, Copy, Debug, Default)]
pub struct PickContext<'a> {
    /// The hash of what the route's hash policy names, for policies that send the same hash to the same endpoint.
    pub hash: Option<u64>,
    /// What the route asks of an endpoint's metadata, for clusters with subsets.
    pub metadata: Option<&'a SubsetCriteria>,
    /// Where the client meant to go, for clusters of type ORIGINAL_DST.
    pub original_destination: Option<SocketAddr>,
    /// Endpoints that earlier attempts of the request went to, to be avoided (retry host predicate `previous_hosts`).
    pub avoid: &'a [Arc<EndpointState>],
    /// How often to pick again when the pick is to be avoided (`host_selection_retry_max_attempts`); the last pick
    /// counts whatever it is.
    pub reselections: u32,
}

/// Why there is nothing to pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEndpoint {
    /// The cluster has no endpoints.
    Empty,
    /// None is healthy and panic mode is off, or set to fail traffic.
    NoneHealthy,
}

/// One worker's balancing state for one cluster. Keep it as long as the worker uses the cluster; it adapts to new
/// tables.
#[derive(Debug)]
pub struct WorkerLb {
    random: Random,
    shard: Shard,
    /// The table that `sources` belongs to.
    table: u64,
    priorities: Vec<PriorityTurns>,
}

#[derive(Debug, Default)]
struct PriorityTurns {
    /// By source of the priority's table.
    sources: Vec<Turns>,
    /// Whose turn it is among localities, for healthy and for degraded endpoints.
    localities: [Option<Edf>; 2],
}

/// Whose turn it is in one source.
#[derive(Debug, Default)]
struct Turns {
    /// For equal weights: how often it was picked from.
    next: u32,
    /// For different weights.
    weighted: Option<Edf>,
}

impl WorkerLb {
    /// State for a worker that counts in `shard`. Workers and clusters want different seeds, or they all begin with
    /// the same endpoint.
    pub fn new(shard: Shard, seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            shard,
            table: 0,
            priorities: Vec::new(),
        }
    }

    /// The shard that picks are counted in.
    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// The worker's random numbers for this cluster.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Forgets schedules of another table. Positions in equally weighted sources are kept, so that an update doesn't
    /// send every worker back to the first endpoint.
    fn adapt(&mut self, table: &LbTable) {
        if self.table == table.id() {
            return;
        }
        self.table = table.id();
        let Self { priorities, random, .. } = self;
        priorities.resize_with(table.priorities().len(), PriorityTurns::default);
        for (turns, priority) in priorities.iter_mut().zip(table.priorities()) {
            turns.localities = [None, None];
            turns.sources.iter_mut().for_each(|source| source.weighted = None);
            turns.sources.resize_with(priority.sources().len(), || Turns {
                next: random.next_u64() as u32,
                weighted: None,
            });
        }
    }
}

impl Policy {
    /// One of `source`; `None` if it is empty.
    fn pick<'a>(self, source: &Source, hosts: &'a [Host], turns: &mut Turns, random: &mut Random) -> Option<&'a Host> {
        let len = source.len(hosts);
        if len <= 1 {
            return (len == 1).then(|| source.host(hosts, 0));
        }
        let index = match self {
            Self::Random => random.below(len),
            Self::RoundRobin if source.equal_weights() => {
                turns.next = turns.next.wrapping_add(1);
                turns.next % len
            }
            Self::RoundRobin => {
                let weight = |index| f64::from(source.host(hosts, index).weight);
                turns
                    .weighted
                    .get_or_insert_with(|| Edf::new(len, weight, random))
                    .pick(weight)?
            }
            Self::LeastRequest(settings) if source.equal_weights() => {
                settings.pick_equal(len, |index| source.host(hosts, index).state.active_requests(), random)
            }
            Self::LeastRequest(settings) => {
                let weight = |index| {
                    let host = source.host(hosts, index);
                    let load = f64::from(host.state.active_requests()) + 1.0;
                    let bias = settings.active_request_bias;
                    f64::from(host.weight) / if bias == 1.0 { load } else { load.powf(bias) }
                };
                turns
                    .weighted
                    .get_or_insert_with(|| Edf::new(len, weight, random))
                    .pick(weight)?
            }
        };
        Some(source.host(hosts, index))
    }
}

impl LeastRequest {
    /// The least loaded of `choice_count` drawn with replacement, as Envoy draws them; the first drawn of equals.
    fn pick_equal(self, len: u32, load: impl Fn(u32) -> u32, random: &mut Random) -> u32 {
        if self.full_scan {
            // Begins anywhere, so that equals share the load.
            let start = random.below(len);
            return (0..len)
                .map(|i| (start + i) % len)
                .min_by_key(|&i| load(i))
                .unwrap_or(start);
        }
        let mut best = random.below(len);
        let mut best_load = load(best);
        for _ in 1..self.choice_count.max(1) {
            let candidate = random.below(len);
            let candidate_load = load(candidate);
            if candidate_load < best_load {
                (best, best_load) = (candidate, candidate_load);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests;
