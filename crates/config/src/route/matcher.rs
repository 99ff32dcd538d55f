//! Finds the route of a request: the virtual host by its domains, then the first of its routes that matches.

use std::sync::Arc;

use crate::route::{Route, VirtualHost};

mod domains;
mod paths;
mod route_match;

use domains::Domains;
use paths::Paths;
pub use route_match::query_parameter;

/// What the matcher asks of a request. Everything is borrowed; nothing is allocated to find a route.
pub trait RequestView {
    /// `:method`.
    fn method(&self) -> &[u8];

    /// `:path`, query included; empty when there is none (a plain CONNECT).
    fn path(&self) -> &[u8];

    /// `:authority`, in HTTP/1.1 `host`; empty when there is none.
    fn authority(&self) -> &[u8];

    /// `:scheme`; empty when there is none.
    fn scheme(&self) -> &[u8];

    /// The values of a regular header, one for each line of it. The name is lower case.
    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]>;

    /// What is known of the caller's certificate.
    fn peer_certificate(&self) -> PeerCertificate {
        PeerCertificate::default()
    }
}

/// What is known of a caller's certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerCertificate {
    /// There is one.
    pub presented: bool,
    /// It was verified.
    pub validated: bool,
}

/// Virtual hosts and routes, compiled.
///
/// The cost of a look-up does not grow with the number of virtual hosts, and hardly with that of exact and prefix
/// paths: domains are hashed, paths are in sorted tables.
#[derive(Debug, Clone)]
pub struct Matcher {
    domains: Domains,
    hosts: Arc<[Host]>,
    ignore_port: bool,
    ignore_path_parameters: bool,
}

/// A virtual host with its routes' paths.
#[derive(Debug)]
struct Host {
    virtual_host: Arc<VirtualHost>,
    paths: Paths,
}

/// The route of a request.
#[derive(Debug, Clone, Copy)]
pub struct Matched<'a> {
    /// Its virtual host.
    pub virtual_host: &'a Arc<VirtualHost>,
    /// Position of the virtual host in its table.
    pub virtual_host_index: u32,
    /// The route.
    pub route: &'a Arc<Route>,
    /// Position of the route in its virtual host.
    pub route_index: u32,
}

impl Matcher {
    /// Compiles virtual hosts, whose domains must be distinct.
    pub(crate) fn new(virtual_hosts: &[Arc<VirtualHost>], ignore_port: bool, ignore_path_parameters: bool) -> Self {
        let hosts = virtual_hosts
            .iter()
            .map(|host| Host {
                virtual_host: Arc::clone(host),
                paths: Paths::new(&host.routes),
            })
            .collect();
        Self {
            domains: Domains::new(virtual_hosts),
            hosts,
            ignore_port,
            ignore_path_parameters,
        }
    }

    /// The virtual host and route for a request. `random` decides runtime fractions; it is the request's own random
    /// number, so that one request is always in the same fraction.
    pub fn find(&self, request: &impl RequestView, random: u64) -> Option<Matched<'_>> {
        self.find_in(self.host(request.authority())?, request, random)
    }

    /// The virtual host for an authority.
    pub fn virtual_host(&self, authority: &[u8]) -> Option<&Arc<VirtualHost>> {
        self.host(authority).map(|(_, host)| &host.virtual_host)
    }

    fn host(&self, authority: &[u8]) -> Option<(usize, &Host)> {
        let host = if self.ignore_port {
            without_port(authority)
        } else {
            authority
        };
        let index = self.domains.find(host)?;
        Some((index, self.hosts.get(index)?))
    }

    fn find_in<'a>(
        &self,
        (host_index, host): (usize, &'a Host),
        request: &impl RequestView,
        random: u64,
    ) -> Option<Matched<'a>> {
        let path = route_match::without_query(request.path());
        let stripped;
        let path = if self.ignore_path_parameters && path.contains(&b';') {
            stripped = route_match::without_parameters(path);
            &stripped[..]
        } else {
            path
        };
        host.paths
            .candidates(path)
            .filter_map(|index| Some((index, host.virtual_host.routes.get(index)?)))
            .find(|(_, route)| route.route_match.matches(path, request, random))
            .map(|(index, route)| Matched {
                virtual_host: &host.virtual_host,
                virtual_host_index: host_index as u32,
                route,
                route_index: index as u32,
            })
    }
}

/// An authority without its port: as in Envoy, without what follows its last colon, unless that is within brackets.
fn without_port(authority: &[u8]) -> &[u8] {
    let colon = authority.iter().rposition(|byte| *byte == b':');
    let bracket = authority.iter().rposition(|byte| *byte == b']');
    match colon {
        Some(colon) if bracket.is_none_or(|bracket| bracket < colon) => &authority[..colon],
        _ => authority,
    }
}

#[cfg(test)]
mod tests;
