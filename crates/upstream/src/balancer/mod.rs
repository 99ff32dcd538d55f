//! Choosing an endpoint: policies, priorities, localities, zones, subsets and panic.
//!
//! An [`LbTable`] is immutable and built off the path, on the control thread, whenever members or their health change.
//! What a pick must remember (whose turn it is) is the worker's own [`WorkerLb`], so that workers share nothing that is
//! written.
//!
//! ```text
//!   pick ── subset, if the cluster has any ── priority and availability (health, spill-over) ── panic? ── yes ── all ─┐
//!                                                               │                                                    │
//!                                                               no ── locality by weight, or the own zone ───────────┤
//!                                                                                                                    │
//!                          ROUND_ROBIN, LEAST_REQUEST or RANDOM among them ──────────────────────────────────────────┘
//!                          RING_HASH, MAGLEV: a table of the priority's endpoints, localities and panic worked in
//! ```

mod criteria;
mod edf;
mod group;
mod hashing;
mod murmur_hash;
mod notes;
mod omitted;
mod policy;
mod previous_priorities;
mod priority;
mod random;
mod slow_start;
mod source;
mod subsets;
mod table;
mod zones;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

pub use criteria::SubsetCriteria;
use edf::Edf;
use group::Group;
pub use notes::{Note, Notes};
pub use omitted::Omitted;
pub use policy::{Hashing, LeastRequest, Policy};
pub use previous_priorities::PreviousPriorities;
pub use random::Random;
pub use table::{LbTable, Membership, Surroundings, TableSettings};
use telemetry::stats::Shard;
pub use zones::LocalZones;

use crate::endpoint::EndpointState;

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
    /// Endpoints to be avoided for what is configured of them.
    pub omit: Omitted<'a>,
    /// How often to pick again when the pick is to be avoided (`host_selection_retry_max_attempts`); the last pick
    /// counts whatever it is.
    pub reselections: u32,
    /// Whether it is made ahead of time: there is none where it would depend on how loaded endpoints are at that moment.
    pub ahead: bool,
    /// Priorities to be left alone, for a retry. Policies that go by a hash take no notice, as in Envoy.
    pub previous_priorities: Option<&'a PreviousPriorities>,
}

/// Why there is nothing to pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEndpoint {
    /// The cluster has no endpoints, or the subset asked for has none.
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
    /// The table that the turns belong to.
    table: u64,
    /// Turns among all endpoints, by priority.
    all: Vec<PriorityTurns>,
    /// The same among those of each subset, made when first used.
    subsets: Vec<Vec<PriorityTurns>>,
    /// Endpoints of an ORIGINAL_DST cluster that this worker has used.
    pub(crate) originals: crate::original_destination::Seen,
    /// What the next picks will be, where they were peeked at; few clusters are.
    #[allow(
        clippy::box_collection,
        reason = "a worker has one of these for each cluster, and few peek"
    )]
    peeked: Option<Box<VecDeque<Arc<EndpointState>>>>,
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
            all: Vec::new(),
            subsets: Vec::new(),
            originals: Default::default(),
            peeked: None,
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
        self.peeked = None;
        adapt_turns(&mut self.all, table.all(), &mut self.random);
        self.subsets.clear();
    }

    /// Picks once more, ahead of time: the endpoint is what a later pick will be. As in Envoy only policies that go by turn
    /// or by chance can, without subsets, and no more often than there are healthy endpoints. LEAST_REQUEST goes by turn
    /// where weights differ.
    pub(crate) fn peek(&mut self, table: &LbTable) -> Option<Arc<EndpointState>> {
        self.adapt(table);
        let known = self.peeked.as_ref().map_or(0, |peeked| peeked.len()) as u64;
        if !table.can_peek() || known >= table.membership().healthy {
            return None;
        }
        let ahead = PickContext {
            ahead: true,
            ..PickContext::default()
        };
        let next = table.pick(&ahead, self).0.ok()?.clone();
        self.peeked.get_or_insert_default().push_back(next.clone());
        Some(next)
    }

    /// The endpoint that was peeked at first, if any was, and it may still be picked.
    pub(crate) fn take_peeked(&mut self, table: &LbTable, context: &PickContext<'_>) -> Option<Arc<EndpointState>> {
        self.peeked.as_ref()?;
        self.adapt(table);
        if !context.avoid.is_empty() || !context.omit.is_empty() || context.previous_priorities.is_some() {
            return None;
        }
        let peeked = self.peeked.as_mut()?;
        std::iter::from_fn(|| peeked.pop_front()).find(|endpoint| endpoint.is_usable())
    }

    /// The turns of a group, and the random numbers.
    fn turns(&mut self, group: &Group, subset: Option<usize>) -> (&mut [PriorityTurns], &mut Random) {
        let Self {
            all, subsets, random, ..
        } = self;
        let turns = match subset {
            None => all,
            Some(subset) => {
                if subsets.len() <= subset {
                    subsets.resize_with(subset + 1, Vec::new);
                }
                let turns = &mut subsets[subset];
                if turns.is_empty() {
                    adapt_turns(turns, group, random);
                }
                turns
            }
        };
        (turns, random)
    }
}

fn adapt_turns(turns: &mut Vec<PriorityTurns>, group: &Group, random: &mut Random) {
    turns.resize_with(group.priorities().len(), PriorityTurns::default);
    for (turns, priority) in turns.iter_mut().zip(group.priorities()) {
        turns.localities = [None, None];
        turns.sources.iter_mut().for_each(|source| source.weighted = None);
        turns.sources.resize_with(priority.sources().len(), || Turns {
            next: random.next_u64() as u32,
            weighted: None,
        });
    }
}

#[cfg(test)]
mod tests;
