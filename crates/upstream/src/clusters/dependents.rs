//! Which clusters a changed resource concerns, so that an update costs what changed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use config::cluster::Cluster;
use config::{Config, ResourceType};

/// The active clusters by the endpoints and secrets they refer to. Most refer to endpoints of their own name and to
/// nothing else: that goes without saying, since a mesh has thousands.
#[derive(Debug, Default)]
pub(super) struct Dependents {
    /// Usually one cluster each: a list is a tenth of the memory of a set.
    by_resource: HashMap<Referred, Vec<Arc<str>>>,
    by_cluster: HashMap<Arc<str>, Box<[Referred]>>,
}

type Referred = (ResourceType, Arc<str>);

impl Dependents {
    /// The cluster of this name refers to what `cluster` refers to, and to nothing else.
    pub(super) fn set(&mut self, cluster: &Cluster) {
        self.remove(&cluster.name);
        let references = cluster.references();
        let own = (ResourceType::ClusterLoadAssignment, &cluster.name);
        let others = references.iter().filter(|r| (r.resource_type, &r.name) != own);
        let referred: Box<[Referred]> = others.map(|r| (r.resource_type, r.name.clone())).collect();
        for resource in &referred {
            self.by_resource
                .entry(resource.clone())
                .or_default()
                .push(cluster.name.clone());
        }
        if !referred.is_empty() {
            self.by_cluster.insert(cluster.name.clone(), referred);
        }
    }

    /// The cluster of this name is no more.
    pub(super) fn remove(&mut self, cluster: &str) {
        for resource in self.by_cluster.remove(cluster).unwrap_or_default() {
            if let Some(clusters) = self.by_resource.get_mut(&resource) {
                clusters.retain(|name| **name != *cluster);
                if clusters.is_empty() {
                    self.by_resource.remove(&resource);
                }
            }
        }
    }

    /// The names of the clusters that differ between two configurations, themselves or in what they refer to; removed
    /// ones among them.
    pub(super) fn changed(&self, new: &Config, old: &Config) -> BTreeSet<Arc<str>> {
        let mut changed: BTreeSet<Arc<str>> = new
            .clusters
            .changes_since(&old.clusters)
            .map(|change| change.name.clone())
            .collect();
        let own = new.endpoints.changes_since(&old.endpoints).map(|change| change.name);
        let own = own.filter(|name| new.clusters.contains_key(name));
        changed.extend(own.cloned().collect::<Vec<_>>());
        let endpoints = new.endpoints.changes_since(&old.endpoints).map(|change| change.name);
        let secrets = new.secrets.changes_since(&old.secrets).map(|change| change.name);
        let resources = endpoints
            .map(|name| (ResourceType::ClusterLoadAssignment, name.clone()))
            .chain(secrets.map(|name| (ResourceType::Secret, name.clone())));
        for resource in resources {
            changed.extend(self.by_resource.get(&resource).into_iter().flatten().cloned());
        }
        changed
    }
}
