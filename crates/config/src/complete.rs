//! The complete configuration.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cluster::Cluster;
use crate::endpoint::ClusterLoadAssignment;
use crate::listener::Listener;
use crate::route::RouteConfiguration;
use crate::secret::Secret;

/// The complete, consistent set of resources: what the proxy is to do, as pure data. Cloning shares the resources;
/// one that did not change is the same `Arc` in the next configuration, so a consumer compares by [`Arc::ptr_eq`].
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Listeners by name.
    pub listeners: HashMap<Arc<str>, Arc<Listener>>,
    /// Route tables by name. Tables written inline stay in their listener.
    pub routes: HashMap<Arc<str>, Arc<RouteConfiguration>>,
    /// Clusters by name.
    pub clusters: HashMap<Arc<str>, Arc<Cluster>>,
    /// Endpoints by EDS service name. Those written inline stay in their cluster.
    pub endpoints: HashMap<Arc<str>, Arc<ClusterLoadAssignment>>,
    /// Secrets by name.
    pub secrets: HashMap<Arc<str>, Arc<Secret>>,
}
