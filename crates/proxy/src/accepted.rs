//! A connection that was accepted, before a filter chain is chosen for it.

use std::net::SocketAddr;
use std::sync::Arc;

use config::metadata::Metadata;

use crate::chain_choice::Facts;

/// What is known of a connection; listener filters find out more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accepted {
    /// Who calls: the socket's peer, or who that says it speaks for (PROXY protocol). None for a Unix socket.
    pub(crate) peer: Option<SocketAddr>,
    /// The socket's peer.
    pub(crate) direct_peer: Option<SocketAddr>,
    /// Where the connection was going: the socket's own address, or the original one where that was restored.
    pub(crate) local: Option<SocketAddr>,
    /// Whether [`local`](Self::local) was restored by a listener filter.
    pub(crate) is_restored: bool,
    /// Server name asked for, in lower case.
    pub(crate) server_name: Option<Box<str>>,
    /// Whether it begins with a ClientHello.
    pub(crate) is_tls: bool,
    /// What it will speak: ALPN of its ClientHello, or what its first bytes are.
    pub(crate) application_protocols: Vec<Box<str>>,
    /// What listener filters attached to it; rarely anything.
    pub(crate) attached: Option<Arc<Attached>>,
}

/// What listener filters attach to a connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Attached {
    /// For logs of the connection itself: requests have metadata of their own, as in Envoy.
    pub(crate) dynamic_metadata: Metadata,
    /// For the connection and its requests; objects by name.
    pub(crate) filter_state: Metadata,
}

impl Accepted {
    /// A connection as the socket tells it.
    pub(crate) fn new(peer: Option<SocketAddr>, local: Option<SocketAddr>) -> Self {
        Accepted {
            peer,
            direct_peer: peer,
            local,
            ..Accepted::default()
        }
    }

    /// Where a redirected connection was going. `None` for one that was not redirected, so that nothing that connects
    /// to the proxy itself is sent round in a circle.
    pub(crate) fn original_destination(&self) -> Option<SocketAddr> {
        self.local.filter(|_| self.is_restored)
    }

    /// What a filter chain is chosen by.
    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts {
            destination: self.local,
            source: self.peer,
            direct_source: self.direct_peer,
            server_name: self.server_name.as_deref(),
            is_tls: self.is_tls,
            application_protocols: &self.application_protocols,
        }
    }
}
