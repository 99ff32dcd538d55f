//! Addresses of endpoints beside their first: what is tried with it when a connection is made (RFC 8305).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use crate::endpoint::{EndpointKey, EndpointState};

/// The further addresses of a cluster's endpoints. Apart from the endpoints' own records, since nearly no endpoint has
/// any and a mesh has a hundred thousand; read only when a connection is made. Which ones there are may change without
/// the endpoint becoming another.
#[derive(Debug, Default)]
pub(crate) struct MoreAddresses {
    made: OnceLock<Box<ArcSwap<ByEndpoint>>>,
}

/// Further addresses of those endpoints that have any.
pub(crate) type ByEndpoint = HashMap<EndpointKey, Arc<[SocketAddr]>>;

impl MoreAddresses {
    /// Takes the further addresses of all endpoints.
    pub(crate) fn set(&self, addresses: ByEndpoint) {
        match self.made.get() {
            None if addresses.is_empty() => {}
            Some(made) if **made.load() == addresses => {}
            _ => self.made.get_or_init(Box::default).store(Arc::new(addresses)),
        }
    }

    /// Those of one endpoint.
    pub(crate) fn of(&self, endpoint: &EndpointState) -> Option<Arc<[SocketAddr]>> {
        self.made.get()?.load().get(&endpoint.key()).cloned()
    }
}
