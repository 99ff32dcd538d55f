//! A route table compiled for execution: the matcher of `config`, and for each route what the
//! request path needs without a look-up by name.

use std::sync::Arc;
use std::time::Duration;

use codec::headers::HeaderBlock;
use codec::names::KnownName;
use config::data_source::DataSource;
use config::route::{
    Action, ClusterSpecifier, ClusterWeight, HashPolicy, RequestView, Route, RouteConfiguration, VirtualHost,
};
use upstream::cluster::ClusterHandle;

use crate::grpc_timeout;
use crate::slots::{Slot, Slots};
use crate::snapshot::Snapshot;

/// Position of a route in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouteRef {
    host: u32,
    route: u32,
}

/// A compiled route table. Independent of any snapshot: clusters are slots.
#[derive(Debug)]
pub(crate) struct RouteTable {
    pub(crate) config: Arc<RouteConfiguration>,
    hosts: Vec<Vec<CompiledRoute>>,
}

/// What is compiled of one route.
#[derive(Debug)]
struct CompiledRoute {
    /// The cluster, or those of the weighted ones in their order; none where a header names it.
    clusters: Vec<Option<Slot>>,
    /// Body of a direct response.
    body: Arc<[u8]>,
}

/// The cluster chosen for one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice<'a> {
    /// Its slot; `None` if a header named a cluster that no route names.
    pub(crate) slot: Option<&'a Slot>,
    /// The cluster's name, where a header gave it.
    pub(crate) name: Option<&'a [u8]>,
    /// Position among the weighted clusters.
    pub(crate) weighted: Option<u32>,
}

impl RouteTable {
    /// Compiles a table.
    pub(crate) fn compile(config: &Arc<RouteConfiguration>, clusters: &Slots) -> RouteTable {
        let compile_route = |route: &Arc<Route>| {
            let slots = match &route.action {
                Action::Route(action) => match &action.cluster {
                    ClusterSpecifier::Cluster(name) => vec![Some(clusters.slot(name))],
                    ClusterSpecifier::ClusterHeader(_) => vec![None],
                    ClusterSpecifier::WeightedClusters(weighted) => weighted
                        .clusters
                        .iter()
                        .map(|cluster| cluster.name.as_ref().map(|n| clusters.slot(n)))
                        .collect(),
                },
                Action::Redirect(_) | Action::DirectResponse(_) | Action::NonForwarding => Vec::new(),
            };
            let body = match &route.action {
                Action::DirectResponse(response) => response.body.as_ref().map_or_else(Vec::new, direct_body),
                _ => Vec::new(),
            };
            CompiledRoute {
                clusters: slots,
                body: body.into(),
            }
        };
        let hosts = config
            .virtual_hosts
            .iter()
            .map(|host| host.routes.iter().map(compile_route).collect())
            .collect();
        RouteTable {
            config: Arc::clone(config),
            hosts,
        }
    }

    /// The route of a request.
    pub(crate) fn find(&self, request: &HeaderBlock, random: u64) -> Option<RouteRef> {
        let matched = self.config.matcher.find(&View(request), random)?;
        Some(RouteRef {
            host: matched.virtual_host_index,
            route: matched.route_index,
        })
    }

    /// The virtual host of a route that [`RouteTable::find`] gave.
    pub(crate) fn virtual_host(&self, at: RouteRef) -> &Arc<VirtualHost> {
        &self.config.virtual_hosts[at.host as usize]
    }

    /// A route that [`RouteTable::find`] gave.
    pub(crate) fn route(&self, at: RouteRef) -> &Arc<Route> {
        &self.virtual_host(at).routes[at.route as usize]
    }

    /// The weighted cluster of a route that was chosen.
    pub(crate) fn weighted(&self, at: RouteRef, index: u32) -> Option<&ClusterWeight> {
        match &self.route(at).action {
            Action::Route(action) => match &action.cluster {
                ClusterSpecifier::WeightedClusters(weighted) => weighted.clusters.get(index as usize),
                ClusterSpecifier::Cluster(_) | ClusterSpecifier::ClusterHeader(_) => None,
            },
            Action::Redirect(_) | Action::DirectResponse(_) | Action::NonForwarding => None,
        }
    }

    /// Body of a direct response.
    pub(crate) fn direct_body(&self, at: RouteRef) -> Arc<[u8]> {
        Arc::clone(&self.hosts[at.host as usize][at.route as usize].body)
    }

    /// Chooses the cluster for a request; `None` if the route names none for it. `hash` is the hash by the route's
    /// hash policy.
    pub(crate) fn cluster<'a>(
        &'a self,
        at: RouteRef,
        request: &'a HeaderBlock,
        random: u64,
        hash: impl FnOnce() -> Option<u64>,
    ) -> Option<Choice<'a>> {
        let Action::Route(action) = &self.route(at).action else {
            return None;
        };
        let slots = &self.hosts[at.host as usize][at.route as usize].clusters;
        match &action.cluster {
            ClusterSpecifier::Cluster(_) => Some(Choice {
                slot: slots.first()?.as_ref(),
                name: None,
                weighted: None,
            }),
            ClusterSpecifier::ClusterHeader(header) => Some(Choice {
                slot: None,
                name: Some(request.get(header.as_bytes())?),
                weighted: None,
            }),
            ClusterSpecifier::WeightedClusters(weighted) => {
                let number = match &weighted.random_value_header {
                    Some(name) => number_in(request, name),
                    None if weighted.use_hash_policy => hash(),
                    None => None,
                };
                let mut at = number.unwrap_or(random) % u64::from(weighted.total_weight.max(1));
                let index =
                    weighted
                        .clusters
                        .iter()
                        .position(|cluster| match at.checked_sub(u64::from(cluster.weight)) {
                            Some(rest) => {
                                at = rest;
                                false
                            }
                            None => true,
                        })?;
                let name = match (&weighted.clusters[index].name, &weighted.clusters[index].cluster_header) {
                    (None, Some(header)) => Some(request.get(header.as_bytes())?),
                    _ => None,
                };
                Some(Choice {
                    slot: slots[index].as_ref(),
                    name,
                    weighted: Some(index as u32),
                })
            }
        }
    }
}

impl<'a> Choice<'a> {
    /// The cluster in a snapshot.
    pub(crate) fn cluster<'s>(&self, snapshot: &'s Snapshot) -> Option<&'s Arc<ClusterHandle>> {
        match (self.slot, self.name) {
            (Some(slot), _) => snapshot.cluster(slot),
            (None, Some(name)) => snapshot.cluster_by_name(name),
            (None, None) => None,
        }
    }
}

/// What the endpoint is chosen by, for hashing balancers.
pub(crate) fn hash_policy(route: &Route) -> &[HashPolicy] {
    match &route.action {
        Action::Route(action) => &action.hash_policy,
        Action::Redirect(_) | Action::DirectResponse(_) | Action::NonForwarding => &[],
    }
}

/// The number in a header that has one line, as Envoy reads it for weighted clusters.
fn number_in(request: &HeaderBlock, name: &str) -> Option<u64> {
    let mut lines = request.get_all(name);
    let number = std::str::from_utf8(lines.next()?).ok()?.trim().parse().ok();
    lines.next().is_none().then_some(number)?
}

/// How long the upstream side of a stream may last, by the route's `max_stream_duration` or the
/// caller's `grpc-timeout` where the route honours it.
pub(crate) fn upstream_duration_limit(route: &Route, request: &HeaderBlock, is_grpc: bool) -> Option<Duration> {
    let Action::Route(action) = &route.action else {
        return None;
    };
    let limits = action.max_stream_duration?;
    if is_grpc
        && let Some(maximum) = limits.grpc_timeout_header_max
        && let Some(asked) = request.get(KnownName::GrpcTimeout).and_then(grpc_timeout::parse)
    {
        let allowed = maximum.map_or(asked, |maximum| asked.min(maximum));
        return Some(allowed.saturating_sub(limits.grpc_timeout_header_offset));
    }
    limits.max_stream_duration.flatten()
}

/// A header block as the matcher sees it.
struct View<'a>(&'a HeaderBlock);

impl RequestView for View<'_> {
    fn method(&self) -> &[u8] {
        self.0.method().unwrap_or_default()
    }

    fn path(&self) -> &[u8] {
        self.0.path().unwrap_or_default()
    }

    fn authority(&self) -> &[u8] {
        self.0.authority().unwrap_or_default()
    }

    fn scheme(&self) -> &[u8] {
        self.0.scheme().unwrap_or_default()
    }

    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0.get_all(name)
    }
}

/// Longest body of a direct response (Envoy's default for `max_direct_response_body_size_bytes`).
const MAX_DIRECT_BODY: usize = 4096;

/// The body of a direct response, read once when the table is compiled. A file that can't be read
/// is reported and leaves the body empty: the status still says what was meant.
fn direct_body(source: &DataSource) -> Vec<u8> {
    let mut body = match source {
        DataSource::Inline(bytes) => bytes.to_vec(),
        DataSource::Filename { path, .. } => std::fs::read(&**path).unwrap_or_else(|error| {
            tracing::warn!(target: "config", %path, %error, "cannot read the body of a direct response");
            Vec::new()
        }),
        DataSource::EnvironmentVariable(name) => std::env::var(&**name).unwrap_or_default().into_bytes(),
    };
    if body.len() > MAX_DIRECT_BODY {
        tracing::warn!(target: "config", length = body.len(), limit = MAX_DIRECT_BODY, "a direct response's body is cut");
        body.truncate(MAX_DIRECT_BODY);
    }
    body
}
