//! Consistent hashing: the same hash goes to the same endpoint, and few hashes move when endpoints come or go.
//!
//! Ring and table are made exactly as Envoy makes them (`RingHashLoadBalancer`, `MaglevLoadBalancer`), so that proxies
//! of both kinds agree on the endpoint of a key; tests/hashing.json beside this file, recorded from Envoy, shows it.

use std::fmt::Write as _;

use config::cluster::HashFunction;
use config::metadata::Value;

use super::criteria::SubsetCriteria;
use super::murmur_hash::murmur_hash_2;
use super::policy::Hashing;
use crate::breaker::{Resource, RoutingPriority};
use crate::hosts::{Host, HostSet};
use crate::xx_hash::xx_hash_64;

mod mersenne_twister;

use mersenne_twister::MersenneTwister;

/// The endpoint's own key, in its metadata under `envoy.lb`.
const HASH_KEY: &str = "hash_key";

/// A ring or table of one priority's endpoints.
#[derive(Debug)]
pub(super) struct HashTable {
    lookup: Lookup,
    /// Positions of the endpoints in their priority.
    positions: Box<[u32]>,
    bounded: Option<Bounded>,
}

#[derive(Debug)]
enum Lookup {
    /// Sorted by hash; the endpoints beside it are indices of `positions`.
    Ring { hashes: Box<[u64]>, entries: Box<[u32]> },
    /// Indices of `positions`.
    Maglev(Box<[u32]>),
}

/// At most so much more than the average load on one endpoint.
#[derive(Debug)]
struct Bounded {
    /// In percent.
    factor: u32,
    /// Shares of the endpoints, by index.
    shares: Box<[f64]>,
}

impl HashTable {
    /// A table of endpoints with their shares, which add up to 1. `None` without endpoints.
    pub(super) fn new(settings: &Hashing, set: &HostSet, hosts: &[Host], shares: Vec<(u32, f64)>) -> Option<Self> {
        if shares.is_empty() {
            return None;
        }
        let common = settings.common();
        let by_name = common.use_hostname_for_hashing;
        let keys: Vec<String> = shares
            .iter()
            .map(|(position, _)| key(set, &hosts[*position as usize], by_name))
            .collect();
        let (positions, shares): (Vec<u32>, Vec<f64>) = shares.into_iter().unzip();
        let lookup = match *settings {
            Hashing::Ring {
                minimum_size,
                maximum_size,
                function,
                ..
            } => ring(&keys, &shares, minimum_size, maximum_size, function),
            Hashing::Maglev { table_size, .. } => Lookup::Maglev(maglev(&keys, &shares, table_size)),
        };
        Some(Self {
            lookup,
            positions: positions.into(),
            bounded: common.hash_balance_factor.map(|factor| Bounded {
                factor,
                shares: shares.into(),
            }),
        })
    }

    /// The endpoint of a hash; other attempts find others, as far as there are any.
    pub(super) fn pick<'a>(&self, hash: u64, attempt: u32, hosts: &'a [Host]) -> Option<&'a Host> {
        let index = match &self.lookup {
            Lookup::Ring { hashes, entries } => {
                let first = hashes.partition_point(|entry| *entry < hash);
                entries[(first % hashes.len() + attempt as usize) % hashes.len()]
            }
            Lookup::Maglev(table) => {
                let hash = match attempt {
                    0 => hash,
                    attempt => hash ^ !u64::from(attempt - 1),
                };
                table[(hash % table.len() as u64) as usize]
            }
        };
        let host = |index: u32| &hosts[self.positions[index as usize] as usize];
        match &self.bounded {
            None => Some(host(index)),
            Some(bounded) => Some(host(bounded.pick(index, hash, host))),
        }
    }
}

impl Bounded {
    /// The endpoint at `first`, or if it has too much load another one: always the same for the same hash, whatever
    /// the other hashes do (Envoy, `BoundedLoadHashingLoadBalancer`).
    fn pick<'a>(&self, first: u32, hash: u64, host: impl Fn(u32) -> &'a Host) -> u32 {
        let load = |index: u32| self.load(host(index), self.shares[index as usize]);
        let mut least = (load(first), first);
        if least.0 <= 1.0 {
            return first;
        }
        let count = self.shares.len() as u32;
        let mut order: Vec<u32> = (0..count).collect();
        let mut random = MersenneTwister::new(hash as u32);
        for at in 0..count {
            let other = at + random.below(count - at);
            order.swap(at as usize, other as usize);
            let candidate = order[at as usize];
            if candidate == first {
                continue;
            }
            let overload = load(candidate);
            if overload <= 1.0 {
                return candidate;
            }
            if overload < least.0 {
                least = (overload, candidate);
            }
        }
        least.1
    }

    /// Requests in flight in proportion to what the endpoint may have; above 1 is too much.
    fn load(&self, host: &Host, share: f64) -> f64 {
        let breaker = host.state.cluster().breaker();
        let priorities = [RoutingPriority::Default, RoutingPriority::High];
        let active: u64 = priorities
            .iter()
            .map(|priority| u64::from(breaker.in_use(Resource::Requests, *priority)))
            .sum();
        let slots = (active + 1).saturating_mul(u64::from(self.factor)).div_ceil(100);
        let slots = (slots as f64 * share).ceil().max(1.0);
        f64::from(host.state.active_requests()) / slots
    }
}

/// What stands for an endpoint: its key, its name if names are to be hashed, or its address.
fn key(set: &HostSet, host: &Host, by_name: bool) -> String {
    let own = set
        .endpoint(host)
        .metadata()
        .filter(SubsetCriteria::METADATA)
        .and_then(|fields| fields.get(HASH_KEY));
    match own {
        Some(Value::String(key)) if !key.is_empty() => key.to_string(),
        _ if by_name => host.state.hostname().to_owned(),
        _ => host.state.address().to_string(),
    }
}

/// Every endpoint's key with running numbers, hashed; as many as its share asks for.
fn ring(keys: &[String], shares: &[f64], minimum: u64, maximum: u64, function: HashFunction) -> Lookup {
    let least = shares.iter().copied().fold(1.0, f64::min);
    // The endpoint with the smallest share gets a whole number of entries, unless that makes the ring too large.
    let scale = ((least * minimum as f64).ceil() / least).min(maximum as f64);
    let mut ring: Vec<(u64, u32)> = Vec::with_capacity(scale.ceil() as usize);
    let (mut made, mut target) = (0.0, 0.0);
    let mut text = String::new();
    for (index, (key, share)) in keys.iter().zip(shares).enumerate() {
        target += scale * share;
        let mut number = 0u64;
        while made < target {
            text.clear();
            // Writing to a string does not fail.
            let _ = write!(text, "{key}_{number}");
            let hash = match function {
                HashFunction::XxHash => xx_hash_64(text.as_bytes(), 0),
                HashFunction::MurmurHash2 => murmur_hash_2(text.as_bytes()),
            };
            ring.push((hash, index as u32));
            number += 1;
            made += 1.0;
        }
    }
    ring.sort_unstable();
    Lookup::Ring {
        hashes: ring.iter().map(|entry| entry.0).collect(),
        entries: ring.iter().map(|entry| entry.1).collect(),
    }
}

/// Each endpoint in turn takes the next free place of its own permutation, as often as its share asks for ("Maglev: A
/// Fast and Reliable Software Network Load Balancer", section 3.4; weights as Envoy adds them).
fn maglev(keys: &[String], shares: &[f64], size: u64) -> Box<[u32]> {
    struct Entry {
        place: u64,
        skip: u64,
        share: f64,
        target: f64,
    }
    const FREE: u32 = u32::MAX;
    let most = shares.iter().copied().fold(0.0, f64::max);
    let mut entries: Vec<Entry> = keys
        .iter()
        .zip(shares)
        .map(|(key, share)| Entry {
            place: xx_hash_64(key.as_bytes(), 0) % size,
            skip: if size > 1 {
                xx_hash_64(key.as_bytes(), 1) % (size - 1) + 1
            } else {
                0
            },
            share: *share,
            target: 0.0,
        })
        .collect();
    let mut table = vec![FREE; size as usize].into_boxed_slice();
    let (mut free, mut iteration) = (size, 0.0);
    while free > 0 {
        iteration += 1.0;
        for (index, entry) in entries.iter_mut().enumerate() {
            if free == 0 {
                break;
            }
            if iteration * entry.share < entry.target {
                continue;
            }
            entry.target += most;
            while table[entry.place as usize] != FREE {
                entry.place = (entry.place + entry.skip) % size;
            }
            table[entry.place as usize] = index as u32;
            free -= 1;
        }
    }
    table
}
