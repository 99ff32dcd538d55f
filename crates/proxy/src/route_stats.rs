//! Statistics of routes and of virtual clusters (Envoy: Router > Statistics), for tables that ask for them.

use std::sync::Arc;

use codec::headers::HeaderBlock;
use config::route::{Route, VirtualHost};
use telemetry::stats::{Block, Counter, Registry, Scope, Shard, route as stat};

use crate::retry::matches;

/// Envoy's name for the requests that none of the virtual clusters of their host is for.
const OTHER: &str = "other";

/// The virtual clusters of a virtual host, compiled.
#[derive(Debug)]
pub(crate) struct VirtualClusters {
    /// In the order of the configuration.
    blocks: Box<[Arc<Block>]>,
    other: Arc<Block>,
}

/// Where a request is counted besides its cluster.
#[derive(Debug, Default)]
pub(crate) struct RouteStats {
    route: Option<Arc<Block>>,
    virtual_cluster: Option<Arc<Block>>,
    /// The virtual cluster's name, where it has one.
    pub(crate) virtual_cluster_name: Option<Arc<str>>,
}

impl VirtualClusters {
    /// Those of a virtual host; `None` if it has none.
    pub(crate) fn compile(host: &VirtualHost, stats: &Arc<Registry>) -> Option<VirtualClusters> {
        let block = |name: &str| stats.block(Scope::VirtualCluster(&host.name, name), &stat::TABLE);
        (!host.virtual_clusters.is_empty()).then(|| VirtualClusters {
            blocks: host
                .virtual_clusters
                .iter()
                .map(|cluster| block(&cluster.name))
                .collect(),
            other: block(OTHER),
        })
    }
}

/// The statistics of a route that has a name for them.
pub(crate) fn of_route(host: &VirtualHost, route: &Route, stats: &Arc<Registry>) -> Option<Arc<Block>> {
    let prefix = route.stat_prefix.as_ref()?;
    Some(stats.block(Scope::Route(&host.name, prefix), &stat::TABLE))
}

impl RouteStats {
    /// Where a request with this route is counted; `None` if nowhere.
    pub(crate) fn of(
        request: &HeaderBlock,
        host: &VirtualHost,
        clusters: Option<&VirtualClusters>,
        route: Option<&Arc<Block>>,
    ) -> Option<RouteStats> {
        let found = clusters.map(|clusters| {
            let is_in = |cluster: &config::route::VirtualCluster| {
                cluster.headers.iter().all(|matcher| matches(matcher, request))
            };
            match host.virtual_clusters.iter().position(is_in) {
                Some(at) => (
                    clusters.blocks.get(at).unwrap_or(&clusters.other),
                    Some(&host.virtual_clusters[at].name),
                ),
                None => (&clusters.other, None),
            }
        });
        (found.is_some() || route.is_some()).then(|| RouteStats {
            route: route.map(Arc::clone),
            virtual_cluster: found.map(|(block, _)| Arc::clone(block)),
            virtual_cluster_name: found.and_then(|(_, name)| name.cloned()),
        })
    }

    fn blocks(&self) -> impl Iterator<Item = &Arc<Block>> {
        self.route.iter().chain(&self.virtual_cluster)
    }

    /// Counts something that happened on the request's way.
    pub(crate) fn add(&self, shard: Shard, counter: Counter, n: u64) {
        self.blocks().for_each(|block| block.add(shard, counter, n));
    }

    /// Counts an answer, and how long an endpoint took for it if one did.
    pub(crate) fn count_answer(&self, shard: Shard, status: u16, times: u64, milliseconds: Option<u64>) {
        for block in self.blocks() {
            let stats = block.local(shard);
            stats.add(stat::UPSTREAM_RQ_COMPLETED, times);
            stats.add(class_of(status), times);
            for _ in 0..times {
                stats.count_code(stat::UPSTREAM_RQ_CODE, status);
            }
            if let Some(milliseconds) = milliseconds {
                stats.record(stat::UPSTREAM_RQ_TIME, milliseconds);
            }
        }
    }
}

fn class_of(status: u16) -> Counter {
    match status / 100 {
        1 => stat::UPSTREAM_RQ_1XX,
        2 => stat::UPSTREAM_RQ_2XX,
        3 => stat::UPSTREAM_RQ_3XX,
        4 => stat::UPSTREAM_RQ_4XX,
        _ => stat::UPSTREAM_RQ_5XX,
    }
}
