//! The secrets of a cluster, and what is made with them.

use std::sync::Arc;

use config::cluster::Cluster;
use config::secret::Secret;
use config::{Config, ResourceType};
use tls::Loader;

use crate::transport::Transports;

/// The secrets that a cluster names, as they are in `config`.
pub(super) fn secrets(cluster: &Cluster, config: &Config) -> Vec<(Arc<str>, Option<Arc<Secret>>)> {
    let references = cluster.references();
    let names = references.names(ResourceType::Secret);
    names
        .map(|name| (name.clone(), config.secrets.get(name).cloned()))
        .collect()
}

/// How a cluster's connections are secured, with these secrets.
pub(super) fn transports(
    cluster: &Cluster,
    secrets: &[(Arc<str>, Option<Arc<Secret>>)],
    loader: &Loader,
) -> Transports {
    let find = |name: &str| secrets.iter().find(|(known, _)| **known == *name)?.1.clone();
    Transports::new(cluster, loader, &find)
}
