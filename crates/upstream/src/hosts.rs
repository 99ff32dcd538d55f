//! The members of a cluster as discovery gave them: priorities, localities, endpoints and weights.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use config::endpoint::{ClusterLoadAssignment, Endpoint, LocalityEndpoints};

use crate::endpoint::EndpointState;

/// The endpoints of one cluster, immutable. Health is not here: it changes without the members changing.
#[derive(Clone, Debug)]
pub struct HostSet {
    assignment: Arc<ClusterLoadAssignment>,
    priorities: Box<[PriorityHosts]>,
}

/// The endpoints of one priority, in the order of their localities.
#[derive(Clone, Debug, Default)]
pub struct PriorityHosts {
    hosts: Box<[Host]>,
    localities: Box<[LocalityHosts]>,
}

/// One endpoint in one place of one cluster. Several may stem from one configured endpoint: a DNS name has many
/// addresses.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its run-time state.
    pub state: Arc<EndpointState>,
    /// Its share of the load, at least 1.
    pub weight: u32,
    /// Which endpoint of the assignment it is, those of its localities one after the other.
    endpoint: u32,
}

/// Which of a priority's endpoints are in one locality.
#[derive(Clone, Debug)]
pub struct LocalityHosts {
    /// Which locality of the assignment it is.
    locality: u32,
    /// Positions of its endpoints in the priority.
    pub range: Range<usize>,
}

impl HostSet {
    /// The endpoints of `assignment`. `states` gives the states that belong to one configured endpoint: one, or for
    /// a name all it resolved to. An endpoint that appears again counts once, the first time, as in Envoy. Priorities
    /// without endpoints between others are empty.
    pub fn new(
        assignment: Arc<ClusterLoadAssignment>,
        mut states: impl FnMut(&LocalityEndpoints, &Endpoint) -> Vec<Arc<EndpointState>>,
    ) -> Self {
        let count = assignment
            .endpoints
            .iter()
            .map(|l| l.priority as usize + 1)
            .max()
            .unwrap_or(0);
        let mut priorities: Vec<(Vec<Host>, Vec<LocalityHosts>)> = vec![Default::default(); count];
        let mut seen = HashSet::new();
        let mut endpoints = 0..;
        for (at, locality) in assignment.endpoints.iter().enumerate() {
            let (hosts, localities) = &mut priorities[locality.priority as usize];
            let start = hosts.len();
            for (endpoint, index) in locality.endpoints.iter().zip(&mut endpoints) {
                let new = states(locality, endpoint)
                    .into_iter()
                    .filter(|state| seen.insert(Arc::as_ptr(state)));
                hosts.extend(new.map(|state| Host {
                    state,
                    weight: endpoint.load_balancing_weight.max(1),
                    endpoint: index,
                }));
            }
            localities.push(LocalityHosts {
                locality: at as u32,
                range: start..hosts.len(),
            });
        }
        let priorities = priorities
            .into_iter()
            .map(|(hosts, localities)| PriorityHosts {
                hosts: hosts.into(),
                localities: localities.into(),
            })
            .collect();
        Self { assignment, priorities }
    }

    /// What it was made from.
    pub fn assignment(&self) -> &Arc<ClusterLoadAssignment> {
        &self.assignment
    }

    /// The priorities, the preferred first.
    pub fn priorities(&self) -> &[PriorityHosts] {
        &self.priorities
    }

    /// All endpoints, whatever their priority.
    pub fn iter(&self) -> impl Iterator<Item = &Host> {
        self.priorities.iter().flat_map(|priority| &priority.hosts)
    }

    /// How an endpoint is configured: host name, metadata, health check.
    pub fn endpoint(&self, host: &Host) -> &Endpoint {
        let (locality, endpoint) = self.place(host);
        &locality.endpoints[endpoint]
    }

    /// The locality of an endpoint as it is configured.
    pub fn locality_of(&self, host: &Host) -> &LocalityEndpoints {
        self.place(host).0
    }

    /// The locality of an endpoint, and which one it is there. There are few localities, and many endpoints that would
    /// have to name theirs.
    fn place(&self, host: &Host) -> (&LocalityEndpoints, usize) {
        let localities = &self.assignment.endpoints;
        let (mut at, mut endpoint) = (0, host.endpoint as usize);
        while endpoint >= localities[at].endpoints.len() {
            endpoint -= localities[at].endpoints.len();
            at += 1;
        }
        (&localities[at], endpoint)
    }

    /// A locality as it is configured.
    pub fn locality(&self, locality: &LocalityHosts) -> &LocalityEndpoints {
        &self.assignment.endpoints[locality.locality as usize]
    }

    /// `ClusterLoadAssignment.Policy.overprovisioning_factor`, in percent.
    pub fn overprovisioning_percent(&self) -> u32 {
        self.assignment.overprovisioning_factor
    }

    /// How many endpoints there are.
    pub fn len(&self) -> usize {
        self.priorities.iter().map(|priority| priority.hosts.len()).sum()
    }

    /// Whether there are no endpoints.
    pub fn is_empty(&self) -> bool {
        self.priorities.iter().all(|priority| priority.hosts.is_empty())
    }
}

impl PriorityHosts {
    /// The endpoints.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Their localities, without those of other priorities.
    pub fn localities(&self) -> &[LocalityHosts] {
        &self.localities
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, locality};

    #[test]
    fn a_host_is_small_and_knows_its_locality_and_configuration() {
        assert!(size_of::<Host>() <= 16, "{}", size_of::<Host>());
        let cluster = testing::cluster_of(&testing::registry(), "c");
        let localities = vec![
            locality(1, 0, 0, &[1, 2]),
            locality(0, 1, 0, &[]),
            locality(0, 2, 0, &[3]),
            locality(1, 3, 0, &[4]),
        ];
        let hosts = testing::host_set(&cluster, localities);
        let found: Vec<(String, u32)> = hosts
            .iter()
            .map(|host| {
                assert_eq!(hosts.endpoint(host).load_balancing_weight, host.weight);
                (hosts.locality_of(host).locality.zone.to_string(), host.weight)
            })
            .collect();
        let expected = [("2", 3), ("0", 1), ("0", 2), ("3", 4)];
        assert_eq!(found, expected.map(|(zone, weight)| (zone.to_owned(), weight)));
    }
}
