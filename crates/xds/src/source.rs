//! Where subscriptions go: the aggregated stream, a stream of its own, a file.

use config::ResourceType;
use config::config_source::{ConfigSourceSpecifier, GrpcService, GrpcTarget};

use crate::engine::Transport;

/// A source by its place in [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub(crate) usize);

impl SourceId {
    /// The aggregated stream of the bootstrap (`dynamic_resources.ads_config`).
    pub const ADS: Self = Self(0);
}

/// All sources in use. There are few, and they are compared by content: two resources that name the same server share
/// a stream.
#[derive(Debug)]
pub struct Sources {
    /// What is asked of each, with the type where a source serves one only.
    known: Vec<(ConfigSourceSpecifier, Option<ResourceType>)>,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            known: vec![(ConfigSourceSpecifier::Ads, None)],
        }
    }
}

impl Sources {
    /// The source of this specifier for resources of this type, found or added. `self` is taken for the aggregated
    /// stream, which is where resources with references come from.
    pub fn intern(&mut self, specifier: &ConfigSourceSpecifier, resource_type: ResourceType) -> SourceId {
        let only = match specifier {
            ConfigSourceSpecifier::Ads | ConfigSourceSpecifier::SelfSource => return SourceId::ADS,
            ConfigSourceSpecifier::Api(api) if api.api_type.is_aggregated() => None,
            ConfigSourceSpecifier::Api(_) | ConfigSourceSpecifier::Path { .. } => Some(resource_type),
        };
        let at = self
            .known
            .iter()
            .position(|(known, type_of_known)| *type_of_known == only && known == specifier);
        SourceId(at.unwrap_or_else(|| {
            self.known.push((specifier.clone(), only));
            self.known.len() - 1
        }))
    }
}

/// What the servers of a source are called in logs and dumps.
pub(crate) fn describe(source: SourceId, transport: &Transport) -> Vec<String> {
    let api = match transport {
        Transport::File { path, .. } => return vec![path.to_string()],
        Transport::Grpc { api, .. } => api,
    };
    let name = |service: &GrpcService| {
        let server = match &service.target {
            GrpcTarget::EnvoyGrpc { cluster_name, .. } => cluster_name,
            GrpcTarget::GoogleGrpc { target_uri, .. } => target_uri,
        };
        if source == SourceId::ADS {
            format!("ads {server}")
        } else {
            server.to_string()
        }
    };
    api.grpc_services.iter().map(name).collect()
}
