//! The endpoints of ORIGINAL_DST clusters: made at first use, dropped when they were not used for a while.
//!
//! A worker keeps those that it has used to itself, so that the lock of the shared table is taken once for each new
//! address. The control thread sweeps the table every `cleanup_interval` and makes members of what is in it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::endpoint::EndpointState;

/// Endpoints of one cluster at most: clients choose the addresses.
const MOST: usize = 65_536;

/// A worker looks for removed endpoints when it has this many, or twice what it kept the last time.
const FIRST_SWEEP: usize = 64;

/// The endpoints of a cluster, by the address that clients meant.
#[derive(Debug, Default)]
pub(crate) struct Originals {
    endpoints: Mutex<HashMap<SocketAddr, Arc<EndpointState>>>,
}

impl Originals {
    /// The endpoint at `address`, made if there is none, and whether it was. `None` if there are too many.
    pub(crate) fn endpoint(
        &self,
        address: SocketAddr,
        make: impl FnOnce() -> Arc<EndpointState>,
    ) -> Option<(Arc<EndpointState>, bool)> {
        let mut endpoints = self.endpoints();
        if let Some(endpoint) = endpoints.get(&address) {
            return Some((endpoint.clone(), false));
        }
        if endpoints.len() >= MOST {
            return None;
        }
        let endpoint = make();
        endpoints.insert(address, endpoint.clone());
        Some((endpoint, true))
    }

    /// Drops what was not used since the last call. Whether there was any.
    pub(crate) fn sweep(&self) -> bool {
        let mut endpoints = self.endpoints();
        let before = endpoints.len();
        endpoints.retain(|_, endpoint| endpoint.take_used() || endpoint.is_busy());
        endpoints.len() < before
    }

    /// The addresses, sorted.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses: Vec<SocketAddr> = self.endpoints().keys().copied().collect();
        addresses.sort_unstable();
        addresses
    }

    fn endpoints(&self) -> MutexGuard<'_, HashMap<SocketAddr, Arc<EndpointState>>> {
        // Poisoned or not, the map is whole: nothing can panic between two of its changes.
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one worker has used of them.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Made when the first is used: most clusters are of another type.
    table: Option<Box<SeenTable>>,
}

#[derive(Debug, Default)]
struct SeenTable {
    endpoints: HashMap<SocketAddr, Arc<EndpointState>>,
    /// Removed ones are looked for when there are this many.
    sweep_at: usize,
}

impl Seen {
    /// The endpoint at `address`, from the shared table the first time.
    pub(crate) fn endpoint(
        &mut self,
        address: SocketAddr,
        find: impl FnOnce() -> Option<Arc<EndpointState>>,
    ) -> Option<&Arc<EndpointState>> {
        let SeenTable { endpoints, sweep_at } = &mut **self.table.get_or_insert_default();
        if endpoints.get(&address).is_none_or(|endpoint| endpoint.is_removed()) {
            if endpoints.len() >= (*sweep_at).max(FIRST_SWEEP) {
                endpoints.retain(|_, endpoint| !endpoint.is_removed());
                *sweep_at = endpoints.len() * 2;
            }
            endpoints.insert(address, find()?);
        }
        let endpoint = endpoints.get(&address)?;
        endpoint.set_used();
        Some(endpoint)
    }
}
