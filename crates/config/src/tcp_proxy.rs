//! The TCP proxy (`envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`).

use std::sync::Arc;
use std::time::Duration;

use crate::access_log::AccessLog;
use crate::metadata::Metadata;
use crate::resource::References;

mod parse;

/// A network filter that carries a connection to a cluster.
#[derive(Debug, Clone)]
pub struct TcpProxy {
    /// Prefix of its statistics.
    pub stat_prefix: Arc<str>,
    /// The clusters, one or more, with their weights.
    pub clusters: WeightedTcpClusters,
    /// Which endpoints of the cluster are eligible (`envoy.lb`).
    pub metadata_match: Metadata,
    /// How long the connection may be idle. None for ever.
    pub idle_timeout: Option<Duration>,
    /// How often connecting is tried.
    pub max_connect_attempts: u32,
    /// How long a connection may last. None for ever.
    pub max_downstream_connection_duration: Option<Duration>,
    /// What the endpoint is chosen by, for hash balancers.
    pub hash_source_ip: bool,
    /// Logs.
    pub access_log: Vec<AccessLog>,
    /// How often an open connection is logged. None only at the end.
    pub access_log_flush_interval: Option<Duration>,
    /// Whether it is logged when it is connected.
    pub flush_access_log_on_connected: bool,
}

impl TcpProxy {
    /// Envoy's default for [`idle_timeout`](Self::idle_timeout).
    pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

    pub(crate) fn add_references(&self, references: &mut References) {
        for cluster in &self.clusters.clusters {
            references.add_cluster(&cluster.name);
        }
        for log in &self.access_log {
            log.add_references(references);
        }
    }
}

/// Clusters and their weights; at least one, and the weights add up to more than zero.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedTcpClusters {
    /// The clusters.
    pub clusters: Vec<TcpClusterWeight>,
    /// Sum of the weights.
    pub total_weight: u32,
}

impl WeightedTcpClusters {
    /// The position of the cluster for a random number.
    pub fn pick_index(&self, random: u64) -> usize {
        let mut at = random % u64::from(self.total_weight.max(1));
        for (index, cluster) in self.clusters.iter().enumerate() {
            match at.checked_sub(u64::from(cluster.weight)) {
                Some(rest) => at = rest,
                None => return index,
            }
        }
        // Not reached: `at` is less than the sum of the weights.
        0
    }
}

/// A cluster and its weight.
#[derive(Debug, Clone, PartialEq)]
pub struct TcpClusterWeight {
    /// The cluster.
    pub name: Arc<str>,
    /// Its share of the total.
    pub weight: u32,
    /// Which endpoints are eligible, on top of the proxy's own `metadata_match`.
    pub metadata_match: Metadata,
}
