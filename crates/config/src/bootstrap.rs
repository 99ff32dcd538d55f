//! The bootstrap (`envoy.config.bootstrap.v3.Bootstrap`): who the proxy is, what it serves from the start, and where the
//! rest comes from.
//!
//! [`BootstrapSource`] reads the texts and options given on the command line into the message, as Envoy does;
//! [`Bootstrap`] is that message parsed.

use std::sync::Arc;
use std::time::Duration;

use xds_api::envoy::config::core::v3 as core;

use crate::access_log::AccessLog;
use crate::address::Address;
use crate::cluster::{BindConfig, Cluster, DnsResolver};
use crate::config_source::{ApiConfigSource, ConfigSource};
use crate::listener::Listener;
use crate::metadata::Struct;
use crate::secret::Secret;
use crate::string_matcher::StringMatcher;

mod overload;
mod parse;
mod source;
mod stats;
mod support;

pub use source::{BootstrapSource, Format, NodeOptions, ReadError};
pub use stats::{HistogramBuckets, StatsMatcher, StatsSettings, TagSpecifier, TagValue};

/// What the proxy was started with.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// Who the proxy is to a management server, as it is sent.
    pub node: core::Node,
    /// The admin endpoint.
    pub admin: Option<Admin>,
    /// Listeners that are there from the start.
    pub listeners: Vec<Arc<Listener>>,
    /// Clusters that are there from the start.
    pub clusters: Vec<Arc<Cluster>>,
    /// Secrets that are there from the start.
    pub secrets: Vec<Arc<Secret>>,
    /// Where the rest comes from.
    pub dynamic_resources: DynamicResources,
    /// Settings for all clusters.
    pub cluster_manager: ClusterManager,
    /// Statistics.
    pub stats: StatsSettings,
    /// Layers of runtime values, the later before the earlier.
    pub layered_runtime: Vec<RuntimeLayer>,
    /// How the application log is written, unless the command line says so.
    pub application_log_format: Option<ApplicationLogFormat>,
    /// The most connections from callers at a time, over all listeners (the overload manager's monitor of them). None:
    /// the runtime's word counts.
    pub max_downstream_connections: Option<u64>,
    /// How names are resolved, where their cluster does not say it.
    pub dns_resolver: DnsResolver,
}

/// The admin endpoint (`envoy.config.bootstrap.v3.Admin`).
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where it listens. None: there is no endpoint, as in Envoy.
    pub address: Option<Address>,
    /// Logs of the requests to it.
    pub access_log: Vec<AccessLog>,
    /// The paths that are served; all when empty.
    pub allow_paths: Vec<StringMatcher>,
}

/// Where resources come from.
#[derive(Debug, Clone, Default)]
pub struct DynamicResources {
    /// Listeners.
    pub lds_config: Option<Arc<ConfigSource>>,
    /// Clusters.
    pub cds_config: Option<Arc<ConfigSource>>,
    /// The aggregated stream that sources of kind `ads` mean.
    pub ads_config: Option<Arc<ApiConfigSource>>,
}

/// Settings for all clusters.
#[derive(Debug, Clone, Default)]
pub struct ClusterManager {
    /// The cluster that this proxy itself belongs to: zone aware balancing counts its endpoints.
    pub local_cluster_name: Option<Arc<str>>,
    /// Where connections come from, unless their cluster says so.
    pub upstream_bind_config: Option<BindConfig>,
    /// Who is told how much was sent to the upstreams (LRS).
    pub load_stats_config: Option<Arc<ApiConfigSource>>,
}

/// A layer of runtime values.
#[derive(Debug, Clone)]
pub struct RuntimeLayer {
    /// Its name.
    pub name: Arc<str>,
    /// Its values. None: the layer that Envoy's admin endpoint would fill.
    pub values: Option<Struct>,
}

/// How the application log is written.
#[derive(Debug, Clone, PartialEq)]
pub enum ApplicationLogFormat {
    /// A line with spdlog's patterns, as `--log-format` takes it.
    Text(Arc<str>),
    /// A JSON object whose strings hold such patterns.
    Json(Struct),
}

impl StatsSettings {
    /// Envoy's default of `stats_flush_interval`.
    pub const DEFAULT_FLUSH_INTERVAL: Duration = Duration::from_secs(5);
}

/// What is supported of the bootstrap's own messages.
pub(crate) const TABLES: &[&crate::support::Table] = support::TABLES;

/// The checks of [`TABLES`] on encoded messages.
#[cfg(test)]
pub(crate) const CHECKS: &[crate::support::EncodedCheck] = support::CHECKS;

#[cfg(test)]
mod tests;
