//! The endpoints of one cluster that something holds, to be found by what identifies them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};

use crate::endpoint::{EndpointState, Wanted};

/// Endpoints up to this number are looked through; a table of more is four times as large as the list.
const FEW: usize = 32;

/// The endpoints that something holds. The key of each is in its state alone: a mesh has a hundred thousand.
#[derive(Debug)]
pub(crate) enum KnownEndpoints {
    /// In any order.
    Few(Vec<Weak<EndpointState>>),
    /// In a table, boxed as few clusters have one.
    Many(Box<Table>),
}

/// Endpoints by the hash of their key.
#[derive(Debug, Default)]
pub(crate) struct Table {
    by_hash: HashMap<u64, Weak<EndpointState>>,
}

impl Default for KnownEndpoints {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl KnownEndpoints {
    /// The endpoint that is wanted: the one there is, or a new one. `make` is given some other endpoint, if there are any.
    pub(crate) fn endpoint(
        &mut self,
        wanted: &Wanted<'_>,
        make: impl FnOnce(Option<&EndpointState>) -> EndpointState,
    ) -> Arc<EndpointState> {
        let few = match self {
            Self::Many(table) => return table.endpoint(wanted, make),
            Self::Few(few) => few,
        };
        let mut neighbour = None;
        for known in few.iter().filter_map(Weak::upgrade) {
            if known.is(wanted) {
                return known;
            }
            neighbour = Some(known);
        }
        let state = Arc::new(make(neighbour.as_deref()));
        if few.len() == FEW {
            few.retain(is_held);
        }
        if few.len() < FEW {
            few.push(Arc::downgrade(&state));
            return state;
        }
        let mut table = Box::<Table>::default();
        for state in few.iter().filter_map(Weak::upgrade).chain([state.clone()]) {
            let hash = hash_of(table.by_hash.hasher(), &state);
            table.by_hash.insert(hash, Arc::downgrade(&state));
        }
        *self = Self::Many(table);
        state
    }

    /// Forgets the endpoints that nothing holds any more.
    pub(crate) fn prune(&mut self) {
        match self {
            Self::Few(few) => {
                few.retain(is_held);
                few.shrink_to_fit();
            }
            Self::Many(table) => {
                let by_hash = &mut table.by_hash;
                by_hash.retain(|_, weak| is_held(weak));
                // Half, so that one that comes and goes doesn't turn it over each time.
                if by_hash.len() <= FEW / 2 {
                    *self = Self::Few(by_hash.drain().map(|(_, weak)| weak).collect());
                } else {
                    by_hash.shrink_to_fit();
                }
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(table) => table.by_hash.len(),
        }
    }
}

impl Table {
    fn endpoint(
        &mut self,
        wanted: &Wanted<'_>,
        make: impl FnOnce(Option<&EndpointState>) -> EndpointState,
    ) -> Arc<EndpointState> {
        let hash = self.by_hash.hasher().hash_one(wanted);
        let known = self.by_hash.get(&hash).and_then(Weak::upgrade);
        if let Some(state) = known.as_ref().filter(|state| state.is(wanted)) {
            return state.clone();
        }
        // Any other will do; the first few tried are nearly always held.
        let neighbour = self.by_hash.values().take(FEW).find_map(Weak::upgrade);
        let state = Arc::new(make(neighbour.as_deref()));
        // Should two keys ever have the same 64 bits, the later has a state that is not found again: no more than what
        // Envoy loses with every update.
        if known.is_none() {
            self.by_hash.insert(hash, Arc::downgrade(&state));
        }
        state
    }
}

fn hash_of(hasher: &RandomState, state: &EndpointState) -> u64 {
    let key = state.key();
    hasher.hash_one(Wanted {
        address: &key.address,
        transport: &key.transport,
        hostname: &key.hostname,
    })
}

fn is_held(weak: &Weak<EndpointState>) -> bool {
    weak.strong_count() > 0
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use crate::testing;

    use super::*;

    #[test]
    fn endpoints_are_found_again_however_many_there_are() {
        let cluster = testing::cluster_of(&testing::registry(), "c");
        let endpoint = |at: usize| {
            let address = SocketAddr::from(([10, 0, (at >> 8) as u8, at as u8], 80)).into();
            cluster.endpoint(address, if at.is_multiple_of(2) { "" } else { "mesh" }, "")
        };
        let mut held = Vec::new();
        for at in 0..3 * FEW {
            held.push(endpoint(at));
            for (at, known) in held.iter().enumerate() {
                assert!(Arc::ptr_eq(known, &endpoint(at)), "{at} of {}", held.len());
            }
        }
        // Down to a list again, and up once more.
        held.truncate(FEW / 2);
        cluster.prune();
        assert_eq!(cluster.endpoints_known(), FEW / 2);
        held.extend((FEW / 2..2 * FEW).map(endpoint));
        assert!(
            held.iter()
                .enumerate()
                .all(|(at, known)| Arc::ptr_eq(known, &endpoint(at)))
        );
    }

    #[test]
    fn a_list_keeps_no_room_for_endpoints_that_are_gone() {
        let cluster = testing::cluster_of(&testing::registry(), "c");
        for port in 1..=1000 {
            drop(cluster.endpoint(SocketAddr::from(([127, 0, 0, 1], port)).into(), "", ""));
        }
        assert!(cluster.endpoints_known() <= FEW, "{}", cluster.endpoints_known());
    }
}
