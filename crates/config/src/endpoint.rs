//! Endpoints (`envoy.config.endpoint.v3.ClusterLoadAssignment`).

use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use crate::address::Address;
use crate::fingerprint::Fingerprint;
use crate::metadata::Metadata;
use crate::percent::FractionalPercent;

pub(crate) mod parse;

/// The endpoints of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterLoadAssignment {
    /// The EDS service name.
    pub cluster_name: Arc<str>,
    /// Endpoints by locality and priority, in the order given.
    pub endpoints: Vec<LocalityEndpoints>,
    /// Percent by which the healthy part of a priority is taken to be larger before traffic spills. Envoy's default
    /// is 140.
    pub overprovisioning_factor: u32,
    /// Whether priorities are compared by weight rather than by count.
    pub weighted_priority_health: bool,
    /// Fractions of requests to drop.
    pub drop_overloads: Vec<DropOverload>,
    /// How long the assignment is good for without an update. None for ever.
    pub endpoint_stale_after: Option<Duration>,
    /// Identity of its content.
    pub fingerprint: Fingerprint,
}

impl ClusterLoadAssignment {
    /// Envoy's default for [`overprovisioning_factor`](Self::overprovisioning_factor).
    pub const DEFAULT_OVERPROVISIONING_FACTOR: u32 = 140;

    /// How many endpoints there are in all.
    pub fn len(&self) -> usize {
        self.endpoints.iter().map(|locality| locality.endpoints.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A fraction of requests to drop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropOverload {
    /// Name in statistics.
    pub category: Arc<str>,
    /// The fraction.
    pub drop_percentage: FractionalPercent,
}

/// The endpoints of one locality at one priority. A mesh has thousands of these, and few localities.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalityEndpoints {
    /// Where they are.
    pub locality: Arc<Locality>,
    /// Their priority; 0 is the highest.
    pub priority: u32,
    /// The locality's weight, for locality-weighted balancing. None: it gets no such load.
    pub load_balancing_weight: Option<u32>,
    /// Metadata of the locality.
    pub metadata: Arc<Metadata>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// A place (`envoy.config.core.v3.Locality`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Locality {
    /// Region.
    pub region: Arc<str>,
    /// Zone within the region.
    pub zone: Arc<str>,
    /// Part of the zone.
    pub sub_zone: Arc<str>,
}

/// An endpoint. A mesh has a hundred thousand: what most of them lack, or share with their neighbours, is apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    address: Place,
    /// Its share of the load, at least 1.
    pub load_balancing_weight: u32,
    /// What the control plane knows of its health.
    pub health_status: HealthStatus,
    details: Option<Arc<EndpointDetails>>,
}

/// What most endpoints lack, or have in common with others.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EndpointDetails {
    /// More addresses of the same endpoint, for dual-stack connecting.
    pub additional_addresses: Vec<Address>,
    /// Its name, for `auto_host_rewrite` and health checks.
    pub hostname: Option<Arc<str>>,
    /// Its metadata.
    pub metadata: Metadata,
    /// How it is checked, where that differs from its address. `None` when it does not.
    pub health_check_config: Option<EndpointHealthCheckConfig>,
}

/// An address; the usual one in half the memory.
#[derive(Debug, Clone, PartialEq)]
enum Place {
    V4(SocketAddrV4),
    Other(Box<Address>),
}

impl Endpoint {
    /// An endpoint at `address`, with a weight of 1 and nothing said of it.
    pub fn new(address: Address) -> Self {
        Self {
            address: address.into(),
            load_balancing_weight: 1,
            health_status: HealthStatus::Unknown,
            details: None,
        }
    }

    /// Where it is.
    pub fn address(&self) -> Address {
        match &self.address {
            Place::V4(address) => Address::Socket((*address).into()),
            Place::Other(address) => Address::clone(address),
        }
    }

    /// Says where it is.
    pub fn set_address(&mut self, address: Address) {
        self.address = address.into();
    }

    /// What most endpoints lack.
    pub fn details(&self) -> &EndpointDetails {
        static NONE: EndpointDetails = EndpointDetails {
            additional_addresses: Vec::new(),
            hostname: None,
            metadata: Metadata {
                filter_metadata: BTreeMap::new(),
            },
            health_check_config: None,
        };
        self.details.as_deref().unwrap_or(&NONE)
    }

    /// The same for keeping, if it has any of that.
    pub fn shared_details(&self) -> Option<Arc<EndpointDetails>> {
        self.details.clone()
    }

    /// The same for changing.
    pub fn details_mut(&mut self) -> &mut EndpointDetails {
        Arc::make_mut(self.details.get_or_insert_default())
    }

    /// Its metadata, empty when there is none.
    pub fn metadata(&self) -> &Metadata {
        &self.details().metadata
    }
}

impl From<Address> for Place {
    fn from(address: Address) -> Self {
        match address {
            Address::Socket(SocketAddr::V4(address)) => Self::V4(address),
            other => Self::Other(Box::new(other)),
        }
    }
}

/// How an endpoint is health-checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointHealthCheckConfig {
    /// Another port.
    pub port_value: Option<u16>,
    /// Another host name.
    pub hostname: Option<Arc<str>>,
    /// Another address.
    pub address: Option<Address>,
    /// Whether it is not checked actively.
    pub disable_active_health_check: bool,
}

/// Health as the control plane says it (`envoy.config.core.v3.HealthStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum HealthStatus {
    /// Not said: taken as healthy.
    #[default]
    Unknown,
    /// Healthy.
    Healthy,
    /// Not to be used.
    Unhealthy,
    /// Not to be used for new requests.
    Draining,
    /// Failed a health check by timeout; not to be used.
    Timeout,
    /// To be used when there are not enough healthy ones.
    Degraded,
}

#[cfg(test)]
mod tests;
