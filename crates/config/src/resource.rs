//! Resources: what the xDS protocol carries, by type and name.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use xds_api::wire::{WireFields, WireValue};

use crate::cluster::Cluster;
use crate::config_source::ConfigSource;
use crate::context::Context;
use crate::endpoint::ClusterLoadAssignment;
use crate::extensions::Extensions;
use crate::fingerprint::Fingerprint;
use crate::listener::Listener;
use crate::rejected::{Parsed, Rejected};
use crate::route::RouteConfiguration;
use crate::secret::Secret;

/// The types of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceType {
    /// Clusters (CDS).
    Cluster,
    /// Endpoints of a cluster (EDS).
    ClusterLoadAssignment,
    /// Listeners (LDS).
    Listener,
    /// Route tables (RDS).
    RouteConfiguration,
    /// Certificates, keys and trust (SDS).
    Secret,
}

impl ResourceType {
    /// All types, in the order in which they are subscribed to and applied.
    pub const ALL: [Self; 5] = [
        Self::Cluster,
        Self::ClusterLoadAssignment,
        Self::Listener,
        Self::RouteConfiguration,
        Self::Secret,
    ];

    /// Full name of the message.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Cluster => "envoy.config.cluster.v3.Cluster",
            Self::ClusterLoadAssignment => "envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "envoy.config.listener.v3.Listener",
            Self::RouteConfiguration => "envoy.config.route.v3.RouteConfiguration",
            Self::Secret => "envoy.extensions.transport_sockets.tls.v3.Secret",
        }
    }

    /// The type URL as it is subscribed to.
    pub const fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::ClusterLoadAssignment => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::RouteConfiguration => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        }
    }

    /// The type with this URL.
    pub fn from_type_url(type_url: &str) -> Option<Self> {
        let message = crate::extensions::message_name(type_url);
        Self::ALL
            .into_iter()
            .find(|resource_type| resource_type.message() == message)
    }

    /// Envoy's short name of the discovery service: `cds`, `eds`, `lds`, `rds`, `sds`.
    pub const fn short_name(self) -> &'static str {
        match self {
            Self::Cluster => "cds",
            Self::ClusterLoadAssignment => "eds",
            Self::Listener => "lds",
            Self::RouteConfiguration => "rds",
            Self::Secret => "sds",
        }
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message().rsplit('.').next().unwrap_or_default())
    }
}

/// A parsed resource of any type. Cloning shares it.
#[derive(Debug, Clone)]
pub enum Resource {
    /// A cluster.
    Cluster(Arc<Cluster>),
    /// Endpoints of a cluster.
    ClusterLoadAssignment(Arc<ClusterLoadAssignment>),
    /// A listener.
    Listener(Arc<Listener>),
    /// A route table.
    RouteConfiguration(Arc<RouteConfiguration>),
    /// A secret.
    Secret(Arc<Secret>),
}

impl Resource {
    /// Whether it is good for a time only, which begins again when it is sent again, unchanged or not
    /// (`endpoint_stale_after`).
    pub fn is_good_for_a_time(&self) -> bool {
        matches!(self, Self::ClusterLoadAssignment(assignment) if assignment.endpoint_stale_after.is_some())
    }

    /// Parses the bytes of a resource (the value of its `Any`).
    ///
    /// # Errors
    /// Every fault of it. Bytes that are no message of the type are one fault, at the root.
    pub fn parse(
        resource_type: ResourceType,
        bytes: &[u8],
        extensions: &Extensions,
    ) -> Result<Parsed<Self>, Vec<Rejected>> {
        Context::parse(extensions, |context| {
            context.set_content(bytes);
            match resource_type {
                ResourceType::Cluster => {
                    let message = context.decode(bytes)?;
                    Cluster::parse(context, &message).map(|value| Self::Cluster(Arc::new(value)))
                }
                ResourceType::ClusterLoadAssignment => {
                    let message = context.decode(bytes)?;
                    ClusterLoadAssignment::parse(context, &message)
                        .map(|value| Self::ClusterLoadAssignment(Arc::new(value)))
                }
                ResourceType::Listener => {
                    let message = context.decode(bytes)?;
                    Listener::parse(context, &message).map(|value| Self::Listener(Arc::new(value)))
                }
                ResourceType::RouteConfiguration => RouteConfiguration::parse_encoded(context, bytes)
                    .map(|value| Self::RouteConfiguration(Arc::new(value))),
                ResourceType::Secret => {
                    let name = peek_name(bytes).unwrap_or_default();
                    Secret::parse_encoded(context, &name, bytes).map(|value| Self::Secret(Arc::new(value)))
                }
            }
        })
    }

    /// Its type.
    pub fn resource_type(&self) -> ResourceType {
        match self {
            Self::Cluster(_) => ResourceType::Cluster,
            Self::ClusterLoadAssignment(_) => ResourceType::ClusterLoadAssignment,
            Self::Listener(_) => ResourceType::Listener,
            Self::RouteConfiguration(_) => ResourceType::RouteConfiguration,
            Self::Secret(_) => ResourceType::Secret,
        }
    }

    /// Its name: for endpoints the `cluster_name`, which is the EDS service name of the clusters that use them.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Cluster(cluster) => &cluster.name,
            Self::ClusterLoadAssignment(endpoints) => &endpoints.cluster_name,
            Self::Listener(listener) => &listener.name,
            Self::RouteConfiguration(routes) => &routes.name,
            Self::Secret(secret) => &secret.name,
        }
    }

    /// Identity of its content.
    pub fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Cluster(cluster) => cluster.fingerprint,
            Self::ClusterLoadAssignment(endpoints) => endpoints.fingerprint,
            Self::Listener(listener) => listener.fingerprint,
            Self::RouteConfiguration(routes) => routes.fingerprint,
            Self::Secret(secret) => secret.fingerprint,
        }
    }

    /// What it needs.
    pub fn references(&self) -> References {
        match self {
            Self::Cluster(cluster) => cluster.references(),
            Self::Listener(listener) => listener.references(),
            Self::RouteConfiguration(routes) => routes.references(),
            Self::ClusterLoadAssignment(_) | Self::Secret(_) => References::default(),
        }
    }
}

/// Two resources are equal when they have the same type, name and content.
impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.resource_type() == other.resource_type()
            && self.name() == other.name()
            && self.fingerprint() == other.fingerprint()
    }
}

/// One resource that another needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// Its type.
    pub resource_type: ResourceType,
    /// Its name.
    pub name: Arc<str>,
    /// Where the referring resource says it comes from. None for clusters, and for secrets of the bootstrap: those are
    /// known by name alone.
    pub source: Option<Arc<ConfigSource>>,
}

/// What a resource needs before it can be put to use, without duplicates.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct References {
    references: Vec<Reference>,
    /// Position of the first reference to each name: a route table of ten thousand names stays linear.
    positions: HashMap<(ResourceType, Arc<str>), usize>,
}

impl References {
    /// Adds a reference, unless it is there.
    pub fn add(&mut self, resource_type: ResourceType, name: &Arc<str>, source: Option<&Arc<ConfigSource>>) {
        let reference = Reference {
            resource_type,
            name: Arc::clone(name),
            source: source.cloned(),
        };
        let position = *self
            .positions
            .entry((resource_type, Arc::clone(name)))
            .or_insert(self.references.len());
        // The same name from two sources is two references; that is rare enough to look for from the first on.
        if !self.references[position.min(self.references.len())..].contains(&reference) {
            self.references.push(reference);
        }
    }

    /// Adds a cluster.
    pub fn add_cluster(&mut self, name: &Arc<str>) {
        self.add(ResourceType::Cluster, name, None);
    }

    /// All of them, in the order found.
    pub fn iter(&self) -> impl Iterator<Item = &Reference> {
        self.references.iter()
    }

    /// The names of one type, in the order found.
    pub fn names(&self, resource_type: ResourceType) -> impl Iterator<Item = &Arc<str>> {
        self.iter()
            .filter(move |reference| reference.resource_type == resource_type)
            .map(|reference| &reference.name)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.references.is_empty()
    }
}

/// The name of a resource from its bytes, also when the rest of them is no valid message: it is field 1 of all types.
/// So an error can say which resource it is about, and an undecodable resource is not taken for an absent one.
pub fn peek_name(bytes: &[u8]) -> Option<String> {
    let names = WireFields::new(bytes)
        .map_while(Result::ok)
        .filter_map(|(number, value)| match value {
            WireValue::Bytes(text) if number == 1 => std::str::from_utf8(text).ok(),
            _ => None,
        });
    // The last one counts, as in decoding.
    names.last().map(str::to_owned)
}

#[cfg(test)]
mod tests;
