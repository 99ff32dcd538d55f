//! The names of a DNS cluster, and the addresses they have at the moment.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use config::address::Address;
use config::cluster::{Cluster, Discovery, DnsOptions};
use config::endpoint::{ClusterLoadAssignment, Endpoint};

use super::{Action, ClusterId, Job, Token, Work};
use crate::dns::{Name, Resolution, ResolveError};
use crate::endpoint::EndpointAddress;

/// What a STRICT_DNS or LOGICAL_DNS cluster resolves. Each name once, however many endpoints use it.
#[derive(Debug)]
pub(super) struct Names {
    cluster: ClusterId,
    options: DnsOptions,
    /// Whether only the first address of a name is used (LOGICAL_DNS).
    logical: bool,
    names: HashMap<Arc<str>, Resolved>,
}

#[derive(Debug)]
struct Resolved {
    serial: u64,
    name: Name,
    /// LOGICAL_DNS: the address in use. Kept for as long as it is among the answers, so that an answer in another order
    /// moves nobody.
    logical: Option<std::net::IpAddr>,
}

impl Names {
    /// The names of `assignment`; what `previous` knows of them already is taken over. `None` if the cluster doesn't
    /// discover by DNS.
    pub(super) fn new(
        id: ClusterId,
        cluster: &Cluster,
        assignment: &ClusterLoadAssignment,
        previous: Option<Self>,
        work: &mut Work,
        now: Instant,
    ) -> Option<Self> {
        let logical = match cluster.discovery {
            Discovery::StrictDns { .. } => false,
            Discovery::LogicalDns { .. } => true,
            Discovery::Static { .. } | Discovery::Eds { .. } | Discovery::OriginalDst(_) => return None,
        };
        let mut known = previous
            .filter(|p| p.options == *cluster.dns && p.logical == logical)
            .map(|p| p.names);
        let mut names = HashMap::new();
        for endpoint in assignment.endpoints.iter().flat_map(|locality| &locality.endpoints) {
            let Address::Name { host, .. } = endpoint.address() else {
                continue;
            };
            if names.contains_key(&host) {
                continue;
            }
            let kept = known.as_mut().and_then(|known| known.remove(&host));
            let resolved = kept.unwrap_or_else(|| {
                let serial = work.serial();
                work.timers.insert(now, (id, Job::Resolve { serial }));
                Resolved {
                    serial,
                    name: Name::new(host.clone()),
                    logical: None,
                }
            });
            names.insert(host, resolved);
        }
        Some(Self {
            cluster: id,
            options: (*cluster.dns).clone(),
            logical,
            names,
        })
    }

    /// Where an endpoint is at the moment.
    pub(super) fn addresses(&self, endpoint: &Endpoint) -> Vec<EndpointAddress> {
        let address = endpoint.address();
        let Address::Name { host, port } = address else {
            return EndpointAddress::from_config(&address).into_iter().collect();
        };
        let Some(resolved) = self.names.get(&host) else {
            return Vec::new();
        };
        let with_port = |ip: &std::net::IpAddr| EndpointAddress::Socket((*ip, port).into());
        if self.logical {
            resolved.logical.iter().map(with_port).collect()
        } else {
            resolved.name.addresses().iter().map(with_port).collect()
        }
    }

    /// What else the logical name of an endpoint resolved to: the other addresses of the same endpoint. In the order of
    /// the addresses themselves, since that of an answer means nothing.
    pub(super) fn more_addresses(&self, endpoint: &Endpoint) -> Vec<SocketAddr> {
        let Address::Name { host, port } = endpoint.address() else {
            return Vec::new();
        };
        let Some(resolved) = self.names.get(&host).filter(|_| self.logical) else {
            return Vec::new();
        };
        let others = resolved
            .name
            .addresses()
            .iter()
            .filter(|ip| Some(**ip) != resolved.logical);
        let mut others: Vec<SocketAddr> = others.map(|ip| (*ip, port).into()).collect();
        others.sort_unstable();
        others
    }

    /// Whether every name was tried.
    pub(super) fn all_attempted(&self) -> bool {
        self.names.values().all(|resolved| resolved.name.attempted)
    }

    /// A name is due: asks for its resolution. False if it is none of these any more.
    pub(super) fn resolve(&self, serial: u64, work: &mut Work) -> bool {
        let Some(resolved) = self.names.values().find(|resolved| resolved.serial == serial) else {
            return false;
        };
        work.actions.push_back(Action::Resolve {
            token: Token {
                cluster: self.cluster,
                serial,
            },
            host: resolved.name.host.clone(),
            family: self.options.lookup_family,
            resolver: self.options.resolver.clone(),
        });
        true
    }

    /// Takes an answer. `None` if the name is none of these any more, else whether addresses changed.
    pub(super) fn on_result(
        &mut self,
        serial: u64,
        result: &Result<Resolution, ResolveError>,
        work: &mut Work,
        now: Instant,
    ) -> Option<bool> {
        let resolved = self.names.values_mut().find(|resolved| resolved.serial == serial)?;
        let answered = resolved.name.on_result(result, &self.options, &mut work.random);
        let before = resolved.logical;
        let addresses = resolved.name.addresses();
        resolved.logical = before
            .filter(|ip| addresses.contains(ip))
            .or_else(|| addresses.first().copied());
        work.timers
            .insert(now + answered.next_in, (self.cluster, Job::Resolve { serial }));
        Some(answered.changed && !(self.logical && resolved.logical == before && before.is_some()))
    }
}
