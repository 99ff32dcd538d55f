//! What stands between a cluster's bytes and the wire: nothing, or TLS.

use std::sync::Arc;

use config::cluster::{Cluster, TransportSocketMatch};
use config::endpoint::{Endpoint, LocalityEndpoints};
use config::listener::TransportSocket;
use tls::{ClientContext, Loader, RawBuffer, Secrets, UpstreamTlsContext};
use tracing::warn;

/// How connections to an endpoint are secured.
#[derive(Clone, Debug)]
pub enum Transport {
    /// Plaintext.
    RawBuffer,
    /// TLS.
    Tls(Arc<ClientContext>),
    /// TLS that cannot be set up: a secret is missing or unusable. Connections fail, as in Envoy
    /// (`upstream_context_secrets_not_ready`); they never fall back to plaintext.
    NotReady {
        /// What is missing.
        reason: Arc<str>,
    },
}

/// The transports of one cluster: its own, and those that endpoints choose by their metadata.
#[derive(Clone, Debug)]
pub struct Transports {
    own: Transport,
    /// By name, in the order in which they are tried.
    matches: Box<[(Arc<str>, Transport)]>,
}

impl Transport {
    /// What a transport socket describes, with the secrets of the moment; none is plaintext.
    fn new(cluster: &Cluster, socket: Option<&TransportSocket>, loader: &Loader, secrets: Secrets<'_>) -> Self {
        let Some(socket) = socket else { return Self::RawBuffer };
        if socket.config.get::<RawBuffer>().is_some() {
            return Self::RawBuffer;
        }
        let not_ready = |reason: String| {
            warn!(
                cluster = &*cluster.name,
                transport_socket = &*socket.name,
                reason,
                "no connections can be made"
            );
            Self::NotReady { reason: reason.into() }
        };
        match socket.config.get::<UpstreamTlsContext>() {
            Some(settings) if cluster.http_protocol_options.upstream.auto_san_validation => {
                let settings = UpstreamTlsContext {
                    auto_sni_san_validation: true,
                    ..settings.clone()
                };
                match loader.client(&settings, secrets) {
                    Ok(context) => Self::Tls(context),
                    Err(error) => not_ready(error.to_string()),
                }
            }
            Some(settings) => match loader.client(settings, secrets) {
                Ok(context) => Self::Tls(context),
                Err(error) => not_ready(error.to_string()),
            },
            None => not_ready(format!(
                "a transport socket of this kind cannot be used upstream: {:?}",
                socket.config
            )),
        }
    }
}

impl Transports {
    /// The transports of `cluster`.
    pub fn new(cluster: &Cluster, loader: &Loader, secrets: Secrets<'_>) -> Self {
        let transport = |socket| Transport::new(cluster, socket, loader, secrets);
        let matches = cluster.transport_socket_matches.iter();
        Self {
            own: transport(cluster.transport_socket.as_ref()),
            matches: matches
                .map(|entry| (entry.name.clone(), transport(entry.transport_socket.as_ref())))
                .collect(),
        }
    }

    /// Whether some endpoints are reached through TLS, ready or not.
    pub(crate) fn use_tls(&self) -> bool {
        let is_tls = |transport: &Transport| !matches!(transport, Transport::RawBuffer);
        is_tls(&self.own) || self.matches.iter().any(|(_, transport)| is_tls(transport))
    }

    /// The transport with this name ([`EndpointKey::transport`](crate::endpoint::EndpointKey::transport)): the
    /// cluster's own for an empty one.
    pub fn named(&self, name: &str) -> &Transport {
        // A cluster has two or three: a search costs less than a hash.
        self.matches
            .iter()
            .find(|(match_name, _)| **match_name == *name)
            .map_or(&self.own, |(_, transport)| transport)
    }
}

/// The name of the `transport_socket_matches` entry that an endpoint's metadata selects, empty if none does.
pub(crate) fn transport_name<'a>(cluster: &'a Cluster, locality: &LocalityEndpoints, endpoint: &Endpoint) -> &'a str {
    if cluster.transport_socket_matches.is_empty() {
        return "";
    }
    let endpoint = endpoint.metadata().filter(TransportSocketMatch::METADATA);
    let locality = locality.metadata.filter(TransportSocketMatch::METADATA);
    let matches = |entry: &&TransportSocketMatch| entry.matches(endpoint, locality);
    cluster
        .transport_socket_matches
        .iter()
        .find(matches)
        .map_or("", |entry| &entry.name)
}
