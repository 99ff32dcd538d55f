//! A route table compiled for execution: the matcher of `config`, and for each route what the
//! request path needs without a look-up by name.

use std::sync::Arc;

use codec::headers::HeaderBlock;
use codec::names::KnownName;
use config::data_source::DataSource;
use config::route::{
    Action, ClusterSpecifier, ClusterWeight, HashPolicy, HostRewrite, MirrorCluster, PeerCertificate,
    RequestMirrorPolicy, RequestView, Route, RouteConfiguration, TlsRequirement, VirtualHost,
};
use telemetry::access_log::Format;
use telemetry::stats::{Block, Registry};
use upstream::balancer::SubsetCriteria;
use upstream::cluster::ClusterHandle;

use crate::filters::chain::Chain;
use crate::filters::per_route::{FilterEntry, FilterId, Level};
use crate::local_reply::BodyTemplate;
use crate::route_stats::{self, RouteStats, VirtualClusters};
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
    hosts: Vec<CompiledHost>,
    filters: Level,
    /// Whether any level says anything of filters.
    has_filters: bool,
    /// Whether any virtual host has `require_tls`.
    has_tls_requirements: bool,
}

/// What is compiled of one virtual host.
#[derive(Debug)]
struct CompiledHost {
    routes: Vec<CompiledRoute>,
    filters: Level,
    virtual_clusters: Option<VirtualClusters>,
}

/// What is compiled of one route.
#[derive(Debug)]
struct CompiledRoute {
    /// The cluster, or those of the weighted ones in their order; none where a header names it.
    clusters: Vec<Option<Slot>>,
    /// Body of a direct response.
    body: Arc<[u8]>,
    /// What that is made into.
    body_format: Option<Box<BodyTemplate>>,
    /// What the host becomes, where that has command operators: what is not there is written as a dash.
    host_format: Option<Box<Format>>,
    /// What is asked of an endpoint's metadata: that of the route, or those of the weighted clusters.
    criteria: Box<[Option<SubsetCriteria>]>,
    /// Its statistics, where it has a name for them.
    stats: Option<Arc<Block>>,
    /// Clusters of the copies, in the order of the policies; none where a header names one.
    mirrors: Box<[Option<Slot>]>,
    filters: Level,
    /// Of each weighted cluster, where one of them says anything.
    weighted_filters: Box<[Level]>,
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
    pub(crate) fn compile(config: &Arc<RouteConfiguration>, clusters: &Slots, stats: &Arc<Registry>) -> RouteTable {
        let compile_route = |host: &VirtualHost, route: &Arc<Route>| {
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
            let (body, body_format) = match &route.action {
                Action::DirectResponse(response) => (
                    response.body.as_ref().map(direct_body),
                    response.body_format.as_ref().and_then(BodyTemplate::compile),
                ),
                _ => (None, None),
            };
            CompiledRoute {
                clusters: slots,
                body: body.unwrap_or_default().into(),
                body_format: body_format.map(Box::new),
                host_format: host_format(route).map(Box::new),
                stats: route_stats::of_route(host, route, stats),
                criteria: criteria(route),
                mirrors: mirror_policies(config, host, route)
                    .iter()
                    .map(|policy| match &policy.cluster {
                        MirrorCluster::Name(name) => Some(clusters.slot(name)),
                        MirrorCluster::Header(_) => None,
                    })
                    .collect(),
                filters: Level::compile(&route.typed_per_filter_config),
                weighted_filters: weighted_filters(route),
            }
        };
        let hosts: Vec<CompiledHost> = config
            .virtual_hosts
            .iter()
            .map(|host| CompiledHost {
                routes: host.routes.iter().map(|route| compile_route(host, route)).collect(),
                filters: Level::compile(&host.typed_per_filter_config),
                virtual_clusters: VirtualClusters::compile(host, stats),
            })
            .collect();
        let filters = Level::compile(&config.typed_per_filter_config);
        let has_filters = !filters.is_empty() || hosts.iter().any(CompiledHost::has_filters);
        RouteTable {
            has_tls_requirements: config
                .virtual_hosts
                .iter()
                .any(|host| host.require_tls != TlsRequirement::None),
            config: Arc::clone(config),
            hosts,
            filters,
            has_filters,
        }
    }

    /// What the levels of a route say of a filter: weighted cluster, route, virtual host, table.
    pub(crate) fn filter_levels(
        &self,
        at: RouteRef,
        weighted: Option<u32>,
        filter: &FilterId,
    ) -> [Option<&FilterEntry>; 4] {
        if !self.has_filters {
            return [None; 4];
        }
        let host = &self.hosts[at.host as usize];
        let route = &host.routes[at.route as usize];
        let cluster = weighted.and_then(|index| route.weighted_filters.get(index as usize));
        [
            cluster.and_then(|level| level.get(filter)),
            route.filters.get(filter),
            host.filters.get(filter),
            self.filters.get(filter),
        ]
    }

    /// The filters of a chain that are off for a route, one bit each.
    pub(crate) fn skipped_filters(&self, at: RouteRef, weighted: Option<u32>, chain: &Chain) -> u64 {
        let mut skipped = chain.disabled();
        if self.has_filters {
            for (position, id) in chain.ids().enumerate() {
                let said = self.filter_levels(at, weighted, id).into_iter().flatten().next();
                match said.map(|entry| entry.disabled) {
                    Some(true) => skipped |= 1 << position,
                    Some(false) => skipped &= !(1 << position),
                    None => {}
                }
            }
        }
        skipped
    }

    /// The route of a request.
    pub(crate) fn find(&self, request: &HeaderBlock, certificate: PeerCertificate, random: u64) -> Option<RouteRef> {
        let matched = self.config.matcher.find(&View(request, certificate), random)?;
        Some(RouteRef {
            host: matched.virtual_host_index,
            route: matched.route_index,
        })
    }

    /// Whether the virtual host of a request wants it to come over TLS, and it did not (`require_tls`).
    pub(crate) fn requires_tls(&self, request: &HeaderBlock, is_internal: bool) -> bool {
        if !self.has_tls_requirements || request.get(KnownName::XForwardedProto) == Some(b"https") {
            return false;
        }
        let host = self
            .config
            .matcher
            .virtual_host(request.authority().unwrap_or_default());
        match host.map(|host| host.require_tls) {
            Some(TlsRequirement::All) => true,
            Some(TlsRequirement::ExternalOnly) => !is_internal,
            Some(TlsRequirement::None) | None => false,
        }
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

    /// Where copies of a route's requests go.
    pub(crate) fn mirrors(&self, at: RouteRef) -> impl Iterator<Item = (&RequestMirrorPolicy, Option<&Slot>)> {
        let slots = &self.hosts[at.host as usize].routes[at.route as usize].mirrors;
        let policies = match slots.is_empty() {
            true => &[],
            false => mirror_policies(&self.config, self.virtual_host(at), self.route(at)),
        };
        policies.iter().zip(slots.iter().map(Option::as_ref))
    }

    /// What a route, or the weighted cluster that was chosen, asks of an endpoint's metadata.
    pub(crate) fn criteria(&self, at: RouteRef, weighted: Option<u32>) -> Option<&SubsetCriteria> {
        let criteria = &self.hosts[at.host as usize].routes[at.route as usize].criteria;
        criteria.get(weighted.unwrap_or(0) as usize)?.as_ref()
    }

    /// Body of a direct response.
    pub(crate) fn direct_body(&self, at: RouteRef) -> Arc<[u8]> {
        Arc::clone(&self.hosts[at.host as usize].routes[at.route as usize].body)
    }

    /// What the body of a direct response is made into.
    pub(crate) fn body_format(&self, at: RouteRef) -> Option<&BodyTemplate> {
        self.hosts[at.host as usize].routes[at.route as usize]
            .body_format
            .as_deref()
    }

    /// Where a request is counted besides its cluster; `None` if nowhere.
    pub(crate) fn stats(&self, at: RouteRef, request: &HeaderBlock) -> Option<RouteStats> {
        let host = &self.hosts[at.host as usize];
        let route = &host.routes[at.route as usize];
        if host.virtual_clusters.is_none() && route.stats.is_none() {
            return None;
        }
        RouteStats::of(
            request,
            self.virtual_host(at),
            host.virtual_clusters.as_ref(),
            route.stats.as_ref(),
        )
    }

    /// What the host of a request becomes, where that has command operators.
    pub(crate) fn host_format(&self, at: RouteRef) -> Option<&Format> {
        self.hosts[at.host as usize].routes[at.route as usize]
            .host_format
            .as_deref()
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
        let slots = &self.hosts[at.host as usize].routes[at.route as usize].clusters;
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

impl CompiledHost {
    fn has_filters(&self) -> bool {
        !self.filters.is_empty()
            || self
                .routes
                .iter()
                .any(|route| !route.filters.is_empty() || !route.weighted_filters.is_empty())
    }
}

fn weighted_filters(route: &Route) -> Box<[Level]> {
    match &route.action {
        Action::Route(action) => match &action.cluster {
            ClusterSpecifier::WeightedClusters(weighted)
                if weighted
                    .clusters
                    .iter()
                    .any(|cluster| !cluster.typed_per_filter_config.is_empty()) =>
            {
                let level = |cluster: &ClusterWeight| Level::compile(&cluster.typed_per_filter_config);
                weighted.clusters.iter().map(level).collect()
            }
            _ => Box::default(),
        },
        Action::Redirect(_) | Action::DirectResponse(_) | Action::NonForwarding => Box::default(),
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

/// The copies that a route, or else its virtual host, or else the table asks for.
fn mirror_policies<'a>(
    table: &'a RouteConfiguration,
    host: &'a VirtualHost,
    route: &'a Route,
) -> &'a [RequestMirrorPolicy] {
    let Action::Route(action) = &route.action else {
        return &[];
    };
    let levels = [
        &action.request_mirror_policies,
        &host.request_mirror_policies,
        &table.request_mirror_policies,
    ];
    levels
        .into_iter()
        .find(|policies| !policies.is_empty())
        .map_or(&[], Vec::as_slice)
}

/// Compiles the text of `host_rewrite`; `config` has refused what is none.
fn host_format(route: &Route) -> Option<Format> {
    let Action::Route(action) = &route.action else {
        return None;
    };
    match &action.host_rewrite {
        Some(HostRewrite::Format(text)) if text.text.contains('%') => Format::text(&text.text, false).ok(),
        _ => None,
    }
}

fn criteria(route: &Route) -> Box<[Option<SubsetCriteria>]> {
    let Action::Route(action) = &route.action else {
        return Box::default();
    };
    match &action.cluster {
        ClusterSpecifier::WeightedClusters(weighted) => weighted
            .clusters
            .iter()
            .map(|cluster| SubsetCriteria::new([&action.metadata_match, &cluster.metadata_match]))
            .collect(),
        _ => {
            SubsetCriteria::new([&action.metadata_match]).map_or_else(Box::default, |criteria| [Some(criteria)].into())
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

/// A header block as the matcher sees it.
struct View<'a>(&'a HeaderBlock, PeerCertificate);

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

    fn peer_certificate(&self) -> PeerCertificate {
        self.1
    }
}

/// The body of an answer made here, which is inline: whoever executes a configuration reads what is elsewhere when it is
/// taken ([`config::Extensions::register_reader`]).
pub(crate) fn direct_body(source: &DataSource) -> Vec<u8> {
    source.inline().unwrap_or_default().to_vec()
}
