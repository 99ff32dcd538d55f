//! The complete configuration.

use crate::cluster::Cluster;
use crate::endpoint::ClusterLoadAssignment;
use crate::listener::Listener;
use crate::resource_map::ResourceMap;
use crate::route::RouteConfiguration;
use crate::secret::Secret;

/// The complete, consistent set of resources: what the proxy is to do, as pure data. Cloning shares the resources;
/// one that did not change is the same `Arc` in the next configuration, so a consumer compares by `Arc::ptr_eq`,
/// and finds what changed with [`ResourceMap::changes_since`] at a cost that follows the change.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Listeners by name.
    pub listeners: ResourceMap<Listener>,
    /// Route tables by name. Tables written inline stay in their listener.
    pub routes: ResourceMap<RouteConfiguration>,
    /// Clusters by name.
    pub clusters: ResourceMap<Cluster>,
    /// Endpoints by EDS service name. Those written inline stay in their cluster.
    pub endpoints: ResourceMap<ClusterLoadAssignment>,
    /// Secrets by name.
    pub secrets: ResourceMap<Secret>,
}
