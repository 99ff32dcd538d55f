//! How one endpoint is chosen among several.

use config::cluster::{ConsistentHashing, HashFunction, LbPolicy};

use super::edf::Edf;
use super::source::Source;
use super::{Random, Turns};
use crate::hosts::Host;

/// How one endpoint is chosen among several.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Policy {
    /// Each in turn; in proportion to weights where these differ.
    #[default]
    RoundRobin,
    /// The one with the fewest requests in flight of some chosen at random; where weights differ, in turn with each
    /// one's weight lowered by its load.
    LeastRequest(LeastRequest),
    /// Any, whatever the weights.
    Random,
    /// The same one for the same hash.
    Hashing(Hashing),
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

/// The settings of [`Policy::Hashing`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Hashing {
    /// RING_HASH.
    Ring {
        /// Entries at least.
        minimum_size: u64,
        /// Entries at most.
        maximum_size: u64,
        /// The hash.
        function: HashFunction,
        /// What both have in common.
        common: ConsistentHashing,
    },
    /// MAGLEV.
    Maglev {
        /// Entries: a prime.
        table_size: u64,
        /// What both have in common.
        common: ConsistentHashing,
    },
}

impl Hashing {
    pub(super) fn common(&self) -> ConsistentHashing {
        match *self {
            Self::Ring { common, .. } | Self::Maglev { common, .. } => common,
        }
    }
}

impl Policy {
    /// The policy of a cluster. One that the discovery provides never picks from a table.
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
            LbPolicy::RingHash {
                minimum_ring_size,
                maximum_ring_size,
                hash_function,
                consistent_hashing,
            } => Self::Hashing(Hashing::Ring {
                minimum_size: minimum_ring_size,
                maximum_size: maximum_ring_size,
                function: hash_function,
                common: consistent_hashing,
            }),
            LbPolicy::Maglev {
                table_size,
                consistent_hashing,
            } => Self::Hashing(Hashing::Maglev {
                table_size,
                common: consistent_hashing,
            }),
            LbPolicy::Random | LbPolicy::ClusterProvided => Self::Random,
        }
    }

    /// Whether a pick compares how loaded the endpoints of `source` are.
    pub(super) fn goes_by_load(self, source: &Source) -> bool {
        matches!(self, Self::LeastRequest(_)) && source.equal_weights()
    }

    /// One of `source`; `None` if it is empty.
    pub(super) fn pick<'a>(
        self,
        source: &Source,
        hosts: &'a [Host],
        turns: &mut Turns,
        random: &mut Random,
    ) -> Option<&'a Host> {
        let len = source.len(hosts);
        if len <= 1 {
            return (len == 1).then(|| source.host(hosts, 0));
        }
        let index = match self {
            Self::Random | Self::Hashing(_) => random.below(len),
            Self::RoundRobin if source.equal_weights() => {
                turns.next = turns.next.wrapping_add(1);
                turns.next % len
            }
            Self::RoundRobin => {
                let weight = |index| source.weight(hosts, index);
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
                    let load = f64::from(source.host(hosts, index).state.active_requests()) + 1.0;
                    let bias = settings.active_request_bias;
                    source.weight(hosts, index) / if bias == 1.0 { load } else { load.powf(bias) }
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
