//! Certificates, keys and authorities that the bootstrap's own clusters and listeners name: read before anything starts,
//! so that a file that is not there ends the start, as in Envoy, and not the first connection.

use std::sync::Arc;

use config::Rejected;
use config::bootstrap::Bootstrap;
use config::listener::TransportSocket;
use config::secret::Secret;
use tls::{ContextError, DownstreamTlsContext, Loader, UpstreamTlsContext};

/// Everything that cannot be used. A secret that a management server is to deliver is none of it.
pub(crate) fn faults(bootstrap: &Bootstrap) -> Vec<Rejected> {
    let loader = Loader::new();
    let secret = |name: &str| -> Option<Arc<Secret>> {
        let mut secrets = bootstrap.secrets.iter();
        secrets.find(|secret| *secret.name == *name).cloned()
    };
    let mut faults = Vec::new();
    let mut check = |path: String, socket: Option<&TransportSocket>| {
        let Some(socket) = socket else { return };
        let made = if let Some(settings) = socket.config.get::<UpstreamTlsContext>() {
            loader.client(settings, &secret).err()
        } else if let Some(settings) = socket.config.get::<DownstreamTlsContext>() {
            loader.server(settings, &secret).err()
        } else {
            None
        };
        match made {
            None | Some(ContextError::NotReady(_)) => {}
            Some(error @ ContextError::Unreadable { .. }) => {
                faults.push(Rejected::new(&*path, format!("cannot read {error}")));
            }
            Some(error @ ContextError::Invalid(_)) => faults.push(Rejected::new(&*path, error.to_string())),
        }
    };
    for (index, cluster) in bootstrap.clusters.iter().enumerate() {
        let cluster_path = format!("static_resources.clusters[{index}]");
        check(
            format!("{cluster_path}.transport_socket.typed_config"),
            cluster.transport_socket.as_ref(),
        );
        for (index, entry) in cluster.transport_socket_matches.iter().enumerate() {
            check(
                format!("{cluster_path}.transport_socket_matches[{index}].transport_socket.typed_config"),
                entry.transport_socket.as_ref(),
            );
        }
    }
    for (index, listener) in bootstrap.listeners.iter().enumerate() {
        let path = format!("static_resources.listeners[{index}]");
        for (index, chain) in listener.filter_chains.iter().enumerate() {
            check(
                format!("{path}.filter_chains[{index}].transport_socket.typed_config"),
                chain.transport_socket.as_ref(),
            );
        }
        if let Some(chain) = &listener.default_filter_chain {
            check(
                format!("{path}.default_filter_chain.transport_socket.typed_config"),
                chain.transport_socket.as_ref(),
            );
        }
    }
    faults
}
