//! Who is in a cluster: the endpoints of its configuration and of DNS, and those that only their health keeps.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use config::address::Address;
use config::cluster::{Cluster, Discovery};
use config::endpoint::{ClusterLoadAssignment, Endpoint, HealthStatus, LocalityEndpoints};
use config::{Config, Fingerprint};

use super::names::Names;
use crate::cluster_state::ClusterState;
use crate::endpoint::{EndpointAddress, EndpointState};
use crate::health::state::UNCHECKED;
use crate::health_flags::HealthFlags;
use crate::hosts::{Host, HostSet};
use crate::more_addresses::ByEndpoint;
use crate::outlier;
use crate::transport::transport_name;

/// What members are made of.
pub(super) struct Members<'a> {
    pub(super) config: &'a Cluster,
    pub(super) state: &'a Arc<ClusterState>,
    pub(super) names: Option<&'a Names>,
}

impl Members<'_> {
    /// The endpoints of `assignment` where they are now.
    pub(super) fn hosts(&self, assignment: Arc<ClusterLoadAssignment>) -> HostSet {
        HostSet::new(assignment, |locality, endpoint| self.states(locality, endpoint))
    }

    /// The states of one configured endpoint: one, or for a name as many as it has addresses.
    fn states(&self, locality: &LocalityEndpoints, endpoint: &Endpoint) -> Vec<Arc<EndpointState>> {
        let transport = transport_name(self.config, locality, endpoint);
        let configured = endpoint.address();
        let resolved_from = match &configured {
            Address::Name { host, .. } => host,
            Address::Socket(_) | Address::Pipe { .. } => "",
        };
        let hostname = endpoint.details().hostname.as_deref().unwrap_or(resolved_from);
        let addresses = match self.names {
            Some(names) => names.addresses(endpoint),
            None => EndpointAddress::from_config(&configured).into_iter().collect(),
        };
        addresses
            .into_iter()
            .map(|address| self.state.endpoint(address, transport, hostname))
            .collect()
    }

    /// The addresses that endpoints have beside their first.
    pub(super) fn more_addresses(&self, hosts: &HostSet) -> ByEndpoint {
        let mut addresses = ByEndpoint::new();
        for host in hosts.iter() {
            let endpoint = hosts.endpoint(host);
            let configured = endpoint
                .details()
                .additional_addresses
                .iter()
                .filter_map(Address::socket_addr);
            let mut more: Vec<SocketAddr> = configured.collect();
            if let Some(names) = self.names {
                more.extend(names.more_addresses(endpoint));
            }
            if !more.is_empty() {
                addresses.insert(host.state.key(), more.into());
            }
        }
        addresses
    }

    /// The members of `before` that discovery no longer has and that stay because their health checks pass: discovery
    /// may be wrong (Envoy, "On eventually consistent service discovery"), unless `ignore_health_on_host_removal`.
    pub(super) fn lingering(&self, before: &HostSet, discovered: &HostSet) -> Vec<Host> {
        let dynamic = !matches!(
            self.config.discovery,
            Discovery::Static { .. } | Discovery::OriginalDst(_)
        );
        if self.config.ignore_health_on_host_removal || !dynamic {
            return Vec::new();
        }
        let discovered: HashSet<_> = discovered.iter().map(|host| Arc::as_ptr(&host.state)).collect();
        let bad = HealthFlags::FAILED_ACTIVE_HEALTH_CHECK | HealthFlags::FAILED_EDS_HEALTH;
        let lingers = |host: &&Host| {
            let checked = !is_unchecked(before.endpoint(host));
            checked && !discovered.contains(&Arc::as_ptr(&host.state)) && !host.state.health_flags().intersects(bad)
        };
        before.iter().filter(lingers).cloned().collect()
    }
}

/// `assignment` with the endpoints of `lingering` where they were in `before`, at the addresses they had.
pub(super) fn with_lingering(
    assignment: &ClusterLoadAssignment,
    before: &HostSet,
    lingering: &[Host],
) -> Arc<ClusterLoadAssignment> {
    let mut assignment = assignment.clone();
    for host in lingering {
        let (locality, key) = (before.locality_of(host), host.state.key());
        let mut endpoint = before.endpoint(host).clone();
        endpoint.details_mut().hostname = Some(key.hostname);
        endpoint.set_address(match key.address {
            EndpointAddress::Socket(address) => Address::Socket(address),
            EndpointAddress::Pipe(path) => Address::Pipe { path, mode: 0 },
        });
        let same_place =
            |l: &&mut LocalityEndpoints| l.priority == locality.priority && l.locality == locality.locality;
        match assignment.endpoints.iter_mut().find(same_place) {
            Some(locality) => locality.endpoints.push(endpoint),
            None => assignment.endpoints.push(LocalityEndpoints {
                endpoints: vec![endpoint],
                ..locality.clone()
            }),
        }
    }
    Arc::new(assignment)
}

/// Sets what the configuration says about a member's health, and what a new member begins with.
pub(super) fn set_flags(host: &Host, endpoint: &Endpoint, checked: bool, now: Instant) {
    let eds = eds_flags(endpoint.health_status);
    host.state.update_health_quietly(eds, HealthFlags::FROM_EDS - eds);
    if host.state.join() {
        host.state.begin_slow_start(now);
        let unchecked = if checked && !is_unchecked(endpoint) {
            UNCHECKED
        } else {
            HealthFlags::NONE
        };
        let stale = HealthFlags::FROM_ACTIVE_HEALTH_CHECK - unchecked;
        host.state
            .update_health_quietly(unchecked, stale | HealthFlags::REMOVED);
    }
}

/// Whether an endpoint is exempt from health checks.
fn is_unchecked(endpoint: &Endpoint) -> bool {
    endpoint
        .details()
        .health_check_config
        .as_ref()
        .is_some_and(|config| config.disable_active_health_check)
}

/// Whether both have the same members, whatever else differs.
pub(super) fn are_the_same(one: &HostSet, other: &HostSet) -> bool {
    let members = |hosts: &HostSet| {
        hosts
            .iter()
            .map(|host| Arc::as_ptr(&host.state))
            .collect::<HashSet<_>>()
    };
    members(one) == members(other)
}

/// Its members are no longer those of a current table. Who is in none begins anew when it comes back.
pub(super) fn leave(hosts: &HostSet) {
    for host in hosts.iter() {
        host.state.leave();
        if host.state.is_removed() {
            outlier::uneject(&host.state);
        }
    }
}

/// The endpoints as configured: the cluster's own, or what EDS says.
pub(super) fn assignment(cluster: &Cluster, config: &Config, state: &ClusterState) -> Arc<ClusterLoadAssignment> {
    match &cluster.discovery {
        Discovery::Static { endpoints } | Discovery::StrictDns { endpoints } | Discovery::LogicalDns { endpoints } => {
            endpoints.clone()
        }
        Discovery::Eds { service_name, .. } => config
            .endpoints
            .get(service_name)
            .cloned()
            .unwrap_or_else(|| no_endpoints(service_name)),
        Discovery::OriginalDst(_) => originals(&cluster.name, state),
    }
}

/// The endpoints that clients have used of an ORIGINAL_DST cluster.
pub(super) fn originals(name: &Arc<str>, state: &ClusterState) -> Arc<ClusterLoadAssignment> {
    let addresses = state.originals().addresses();
    let fingerprint = Fingerprint::of(format!("{addresses:?}").as_bytes());
    let mut assignment = ClusterLoadAssignment::clone(&no_endpoints(name));
    assignment.fingerprint = fingerprint;
    assignment.endpoints.push(LocalityEndpoints {
        locality: Arc::default(),
        priority: 0,
        load_balancing_weight: None,
        metadata: Arc::default(),
        endpoints: addresses.into_iter().map(Address::Socket).map(Endpoint::new).collect(),
    });
    Arc::new(assignment)
}

pub(super) fn no_endpoints(name: &Arc<str>) -> Arc<ClusterLoadAssignment> {
    Arc::new(ClusterLoadAssignment {
        cluster_name: name.clone(),
        endpoints: Vec::new(),
        overprovisioning_factor: ClusterLoadAssignment::DEFAULT_OVERPROVISIONING_FACTOR,
        weighted_priority_health: false,
        drop_overloads: Vec::new(),
        endpoint_stale_after: None,
        fingerprint: Fingerprint::of(b""),
    })
}

/// The flags that EDS sets (`core.v3.HealthStatus`).
fn eds_flags(status: HealthStatus) -> HealthFlags {
    match status {
        HealthStatus::Unknown | HealthStatus::Healthy => HealthFlags::NONE,
        HealthStatus::Unhealthy | HealthStatus::Timeout => HealthFlags::FAILED_EDS_HEALTH,
        HealthStatus::Draining => HealthFlags::FAILED_EDS_HEALTH | HealthFlags::EDS_STATUS_DRAINING,
        HealthStatus::Degraded => HealthFlags::DEGRADED_EDS_HEALTH,
    }
}
