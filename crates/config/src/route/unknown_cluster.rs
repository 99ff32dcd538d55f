//! Tables that name clusters that there are not (`validate_clusters`).

use std::fmt;
use std::sync::Arc;

use super::{Action, ClusterSpecifier, MirrorCluster, RequestMirrorPolicy, RouteConfiguration};

/// A cluster that a table names and nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownCluster {
    /// The virtual host.
    pub virtual_host: Arc<str>,
    /// Position of the route in it.
    pub route: usize,
    /// The name.
    pub cluster: Arc<str>,
}

impl fmt::Display for UnknownCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            virtual_host,
            route,
            cluster,
        } = self;
        write!(
            f,
            "the route {route} of virtual host {virtual_host:?} to the cluster {cluster:?}"
        )
    }
}

impl RouteConfiguration {
    /// The first cluster that a route goes to or is mirrored to and that is not known. Those that a request names are not
    /// looked at.
    pub fn unknown_cluster(&self, is_known: impl Fn(&str) -> bool) -> Option<UnknownCluster> {
        let is_missing = |name: &&Arc<str>| !is_known(name);
        let mirrored = |policies: &[RequestMirrorPolicy]| {
            let mut names = policies.iter().filter_map(|policy| match &policy.cluster {
                MirrorCluster::Name(name) => Some(name),
                _ => None,
            });
            names.find(is_missing).cloned()
        };
        self.virtual_hosts.iter().find_map(|host| {
            host.routes.iter().enumerate().find_map(|(at, route)| {
                let mut mirrors = &[][..];
                let mut target = None;
                if let Action::Route(action) = &route.action {
                    mirrors = &action.request_mirror_policies;
                    target = match &action.cluster {
                        ClusterSpecifier::Cluster(name) => Some(name).filter(is_missing),
                        ClusterSpecifier::WeightedClusters(weighted) => {
                            let mut names = weighted.clusters.iter().filter_map(|cluster| cluster.name.as_ref());
                            names.find(is_missing)
                        }
                        ClusterSpecifier::ClusterHeader(_) => None,
                    };
                }
                // The most specific that there are, as for requests.
                for more in [&host.request_mirror_policies, &self.request_mirror_policies] {
                    if mirrors.is_empty() {
                        mirrors = more;
                    }
                }
                let cluster = target.cloned().or_else(|| mirrored(mirrors))?;
                Some(UnknownCluster {
                    virtual_host: Arc::clone(&host.name),
                    route: at,
                    cluster,
                })
            })
        })
    }
}
