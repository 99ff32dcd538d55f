//! xDS resources, encoded once and named by their content.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use xds_api::google::protobuf::Any;
use xds_api::prost::{Message, Name};

/// The types served, in the order in which changes are sent (xDS protocol, "Eventual
/// consistency considerations"): what is referred to goes before what refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// Cluster.
    Cluster,
    /// ClusterLoadAssignment.
    Endpoints,
    /// Listener.
    Listener,
    /// RouteConfiguration.
    Route,
    /// Secret.
    Secret,
}

impl ResourceType {
    /// Every type, in order.
    pub const ALL: [Self; 5] = [
        Self::Cluster,
        Self::Endpoints,
        Self::Listener,
        Self::Route,
        Self::Secret,
    ];

    /// The type URL.
    pub fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        }
    }

    /// The type of a type URL, if it is served.
    pub fn from_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == url)
    }

    /// The discovery service's name: `CDS`, `EDS`...
    pub fn service(self) -> &'static str {
        match self {
            Self::Cluster => "CDS",
            Self::Endpoints => "EDS",
            Self::Listener => "LDS",
            Self::Route => "RDS",
            Self::Secret => "SDS",
        }
    }

    /// Whether a state-of-the-world response holds every resource of the type, so that
    /// absence means removal (xDS protocol, "Deleting Resources").
    pub fn is_complete_in_sotw(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }

    /// The position in [`ALL`](Self::ALL).
    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.service())
    }
}

/// A resource's version: the same content has the same version, in this process, after a
/// restart and in another replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// The version of this content: the first 64 bits of its SHA-256.
    pub fn of(content: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, content);
        let mut first = [0; 8];
        first.copy_from_slice(&digest.as_ref()[..8]);
        Self(u64::from_be_bytes(first))
    }

    /// The last eight bits: as good as random.
    pub fn low_byte(self) -> u8 {
        self.0.to_be_bytes()[7]
    }

    /// A version as it is displayed; none for a text that no version is displayed as.
    pub fn parse(text: &str) -> Option<Self> {
        let is_ours = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_ours {
            u64::from_str_radix(text, 16).ok().map(Self)
        } else {
            None
        }
    }

    /// The version of a set of resources.
    pub fn of_set<'a>(resources: impl Iterator<Item = (&'a str, Self)>) -> Self {
        let mut content = Vec::new();
        for (name, version) in resources {
            content.extend_from_slice(name.as_bytes());
            content.push(0);
            content.extend_from_slice(&version.0.to_be_bytes());
        }
        Self::of(&content)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A resource as it is sent.
#[derive(Clone)]
pub struct Resource {
    /// Its type.
    pub kind: ResourceType,
    /// Its name.
    pub name: Arc<str>,
    /// Its content's version.
    pub version: Version,
    /// The message.
    pub body: Any,
}

impl Resource {
    /// Encodes a message. Its maps must hold at most one entry: prost writes a map's
    /// entries in any order, and equal content must have equal bytes.
    pub fn new<M: Message + Name>(kind: ResourceType, name: impl Into<Arc<str>>, message: &M) -> Self {
        let body = xds_api::pack(message);
        Self {
            kind,
            name: name.into(),
            version: Version::of(&body.value),
            body,
        }
    }
}

impl fmt::Debug for Resource {
    /// Without the body: secrets have no place in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} ({} bytes)",
            self.kind,
            self.name,
            self.version,
            self.body.value.len()
        )
    }
}

/// Resources of one type, by name.
pub type ResourceSet = BTreeMap<Arc<str>, Arc<Resource>>;

/// A node's resources of one type: its own, and those it shares with other nodes.
#[derive(Clone, Debug, Default)]
pub struct NodeResources {
    /// Its own.
    pub own: ResourceSet,
    /// Shared; none has the name of one of its own.
    pub shared: Arc<ResourceSet>,
}

impl NodeResources {
    /// One of them.
    pub fn get(&self, name: &str) -> Option<&Arc<Resource>> {
        self.own.get(name).or_else(|| self.shared.get(name))
    }

    /// All of them: its own, then the shared ones, each by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.own.values().chain(self.shared.values())
    }

    /// Whether nothing differs, seen without looking at each shared resource.
    pub fn is_same(&self, other: &Self) -> bool {
        let versions = |set: &ResourceSet| set.values().map(|resource| resource.version).collect::<Vec<_>>();
        let shares = Arc::ptr_eq(&self.shared, &other.shared) || (self.shared.is_empty() && other.shared.is_empty());
        shares && self.own.keys().eq(other.own.keys()) && versions(&self.own) == versions(&other.own)
    }
}

/// Everything one node is to have.
#[derive(Clone, Debug, Default)]
pub struct View {
    resources: [NodeResources; 5],
}

impl View {
    /// The resources of a type.
    pub fn of(&self, kind: ResourceType) -> &NodeResources {
        &self.resources[kind.index()]
    }

    /// The resources of a type, to change.
    pub fn of_mut(&mut self, kind: ResourceType) -> &mut NodeResources {
        &mut self.resources[kind.index()]
    }
}
