//! Endpoints (`envoy.config.endpoint.v3.ClusterLoadAssignment`).

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

/// The endpoints of one locality at one priority.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalityEndpoints {
    /// Where they are.
    pub locality: Locality,
    /// Their priority; 0 is the highest.
    pub priority: u32,
    /// The locality's weight, for locality-weighted balancing. None: it gets no such load.
    pub load_balancing_weight: Option<u32>,
    /// Metadata of the locality.
    pub metadata: Metadata,
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

/// An endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Where it is.
    pub address: Address,
    /// More addresses of the same endpoint, for dual-stack connecting.
    pub additional_addresses: Vec<Address>,
    /// Its name, for `auto_host_rewrite` and health checks.
    pub hostname: Option<Arc<str>>,
    /// Its share of the load, at least 1.
    pub load_balancing_weight: u32,
    /// What the control plane knows of its health.
    pub health_status: HealthStatus,
    /// Its metadata. `None` costs less than empty metadata in a mesh of a hundred thousand endpoints.
    pub metadata: Option<Arc<Metadata>>,
    /// How it is checked, where that differs from its address. `None` when it does not.
    pub health_check_config: Option<Arc<EndpointHealthCheckConfig>>,
}

impl Endpoint {
    /// Its metadata, empty when there is none.
    pub fn metadata(&self) -> &Metadata {
        self.metadata.as_deref().unwrap_or(Metadata::EMPTY)
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
