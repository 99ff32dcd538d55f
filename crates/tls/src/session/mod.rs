//! A TLS session without I/O: ciphertext in, plaintext and ciphertext out, all into the caller's buffers.
//!
//! ```text
//!  server: Accepting --ClientHello--> Handshaking --+--TLS 1.3--> Established (own record layer)
//!  client:                            Handshaking --+--TLS 1.2--> EstablishedTls12 (rustls)
//!                          any of them --failure--> Ended
//! ```

mod handshake;
mod log_field;
mod record;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::{CipherSuite, HandshakeKind, NamedGroup, ProtocolVersion};
use telemetry::access_log::TlsField;

use crate::certificate::CertificateDetails;
use crate::client::ClientContext;
use crate::error::TlsError;
use crate::identity::PeerIdentity;
use crate::parameters::{group_name, suite_name, version_name};
use crate::peek::{self, Peek};
use crate::peers::Peers;
use crate::server::ServerContext;
use handshake::{Handshake, Rustls};
use record::Traffic;

/// What a call of [`Session::read_tls`] came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The handshake ended in this call: data may be written, and who the peer is is known.
    pub handshake_done: bool,
    /// The peer said that it will send nothing more (close_notify).
    pub closed: bool,
}

/// Whom a client session is made to.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// The address connected to. Sessions without SNI are remembered by it.
    pub address: IpAddr,
    /// The endpoint's host name, where it has one: the SNI with `auto_host_sni`.
    pub host: Option<&'a str>,
    /// The SNI, whatever the context says: the request decides it (`auto_sni`).
    pub server_name: Option<&'a str>,
    /// Application protocols to offer instead of the context's.
    pub alpn: Option<&'a [&'a [u8]]>,
}

/// One TLS session.
pub struct Session {
    state: State,
    facts: Facts,
}

enum State {
    Accepting {
        context: Arc<ServerContext>,
        received: Vec<u8>,
    },
    Handshaking {
        handshake: Box<Handshake>,
        peers: Arc<Peers>,
    },
    Established(Box<Traffic>),
    EstablishedTls12(Box<Handshake>),
    Ended,
}

/// What the handshake found out.
#[derive(Default)]
struct Facts {
    alpn: Option<Box<[u8]>>,
    server_name: Option<Box<str>>,
    peer: Option<Arc<PeerIdentity>>,
    local: Option<Arc<CertificateDetails>>,
    version: Option<ProtocolVersion>,
    suite: Option<CipherSuite>,
    group: Option<NamedGroup>,
    resumed: bool,
    close_sent: bool,
}

impl Session {
    /// The server's side of a connection that was accepted.
    pub(crate) fn accept(context: Arc<ServerContext>) -> Session {
        Session {
            state: State::Accepting {
                context,
                received: Vec::new(),
            },
            facts: Facts::default(),
        }
    }

    /// The client's side of a connection that was made; the ClientHello goes to `output`.
    pub(crate) fn connect(context: &ClientContext, peer: &Peer<'_>, output: &mut Vec<u8>) -> Result<Session, TlsError> {
        let server_name = context.server_name(peer);
        let alpn = match peer.alpn {
            Some(protocols) => protocols.iter().map(|protocol| protocol.to_vec()).collect(),
            None => context.config.alpn_protocols.clone(),
        };
        let sni = match &server_name {
            ServerName::DnsName(name) => Some(name.as_ref().into()),
            _ => None,
        };
        let config = Arc::clone(&context.config);
        let connection = UnbufferedClientConnection::new_with_alpn(config, server_name, alpn)?;
        let mut handshake = Box::new(Handshake::new(Rustls::Client(Box::new(connection)), Vec::new()));
        handshake.read(&[], &mut Vec::new(), output)?;
        let facts = Facts {
            server_name: sni,
            local: context.leaf().cloned(),
            ..Facts::default()
        };
        Ok(Session {
            state: State::Handshaking {
                handshake,
                peers: Arc::clone(&context.peers),
            },
            facts,
        })
    }

    /// Takes what the peer sent and appends the data in it to `plaintext`. What TLS itself has to say to
    /// the peer (handshake, key updates, the alert after a failure) is appended to `output`.
    ///
    /// # Errors
    /// The session is over; `output` is still to be sent. Data already appended to `plaintext` is good.
    pub fn read_tls(
        &mut self,
        ciphertext: &[u8],
        plaintext: &mut Vec<u8>,
        output: &mut Vec<u8>,
    ) -> Result<Progress, TlsError> {
        let result = self.read(ciphertext, plaintext, output);
        if result.is_err() {
            self.state = State::Ended;
        }
        result
    }

    fn read(&mut self, ciphertext: &[u8], plaintext: &mut Vec<u8>, output: &mut Vec<u8>) -> Result<Progress, TlsError> {
        match &mut self.state {
            State::Established(traffic) => traffic.read(ciphertext, plaintext, output),
            State::EstablishedTls12(handshake) => {
                let reached = handshake.read(ciphertext, plaintext, output)?;
                Ok(Progress {
                    handshake_done: false,
                    closed: reached.closed,
                })
            }
            State::Accepting { received, .. } => {
                received.extend_from_slice(ciphertext);
                self.choose_config(plaintext, output)
            }
            State::Handshaking { .. } => self.read_handshake(ciphertext, plaintext, output),
            State::Ended => Err(TlsError::NotEstablished),
        }
    }

    /// Reads the ClientHello before rustls does: without a protocol in common rustls would refuse, Envoy
    /// goes on without ALPN.
    fn choose_config(&mut self, plaintext: &mut Vec<u8>, output: &mut Vec<u8>) -> Result<Progress, TlsError> {
        let State::Accepting { context, received } = &mut self.state else {
            return Ok(Progress::default());
        };
        let hello = match peek::client_hello(received) {
            Peek::Incomplete => return Ok(Progress::default()),
            Peek::NotTls => return Err(handshake::plaintext(received)),
            // rustls finds the fault again and says so to the peer.
            Peek::Invalid | Peek::TooLarge => peek::ClientHello::default(),
            Peek::Hello(hello) => hello,
        };
        let handshake = Box::new(handshake::server(context.config_for(&hello), std::mem::take(received))?);
        self.facts.local = context.leaf_for(hello.server_name.as_deref()).cloned();
        self.facts.server_name = hello.server_name;
        self.state = State::Handshaking {
            handshake,
            peers: Arc::clone(&context.peers),
        };
        self.read_handshake(&[], plaintext, output)
    }

    fn read_handshake(
        &mut self,
        ciphertext: &[u8],
        plaintext: &mut Vec<u8>,
        output: &mut Vec<u8>,
    ) -> Result<Progress, TlsError> {
        let State::Handshaking { handshake, peers } = &mut self.state else {
            return Ok(Progress::default());
        };
        let reached = handshake.read(ciphertext, plaintext, output)?;
        if !reached.established {
            if reached.closed {
                return Err(TlsError::protocol("the peer closed the session during the handshake"));
            }
            return Ok(Progress::default());
        }
        let common = handshake.common();
        self.facts.alpn = common.alpn_protocol().map(Into::into);
        self.facts.version = common.protocol_version();
        self.facts.suite = common.negotiated_cipher_suite().map(|suite| suite.suite());
        self.facts.group = common.negotiated_key_exchange_group().map(|group| group.name());
        self.facts.resumed = common.handshake_kind() == Some(HandshakeKind::Resumed);
        if let Some(chain) = common.peer_certificates() {
            self.facts.peer = peers.identity(chain);
        }
        if self.facts.resumed
            && let Some(peer) = &self.facts.peer
            && peer.verified
        {
            // What was verified when the session began may have expired since.
            peer.still_valid()?;
        }
        let State::Handshaking { handshake, .. } = std::mem::replace(&mut self.state, State::Ended) else {
            return Ok(Progress::default());
        };
        if self.facts.version != Some(ProtocolVersion::TLSv1_3) {
            self.state = State::EstablishedTls12(handshake);
            return Ok(Progress {
                handshake_done: true,
                closed: reached.closed,
            });
        }
        let (mut traffic, beyond) = handshake.into_traffic()?;
        // The server's tickets, or the client's first request, may have come along.
        let progress = traffic.read(&beyond, plaintext, output)?;
        self.state = State::Established(Box::new(traffic));
        Ok(Progress {
            handshake_done: true,
            ..progress
        })
    }

    /// Encrypts data for the peer.
    ///
    /// # Errors
    /// [`TlsError::NotEstablished`] before the handshake is done or after the session ended.
    pub fn write(&mut self, plaintext: &[u8], output: &mut Vec<u8>) -> Result<(), TlsError> {
        if self.facts.close_sent {
            return Err(TlsError::NotEstablished);
        }
        match &mut self.state {
            State::Established(traffic) => traffic.write(plaintext, output),
            State::EstablishedTls12(handshake) => handshake.write(plaintext, output),
            State::Accepting { .. } | State::Handshaking { .. } | State::Ended => Err(TlsError::NotEstablished),
        }
    }

    /// Tells the peer that nothing more will be written. Once is enough; data can still be read.
    pub fn close_notify(&mut self, output: &mut Vec<u8>) {
        if std::mem::replace(&mut self.facts.close_sent, true) {
            return;
        }
        match &mut self.state {
            State::Established(traffic) => traffic.close_notify(output),
            State::EstablishedTls12(handshake) | State::Handshaking { handshake, .. } => handshake.close_notify(output),
            State::Accepting { .. } | State::Ended => {}
        }
    }

    /// Whether the handshake is still going on.
    pub fn is_handshaking(&self) -> bool {
        matches!(self.state, State::Accepting { .. } | State::Handshaking { .. })
    }

    /// Whether data can be written.
    pub fn is_established(&self) -> bool {
        matches!(self.state, State::Established(_) | State::EstablishedTls12(_))
    }

    /// The application protocol agreed on. `None` without one, which is no failure.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.facts.alpn.as_deref()
    }

    /// The host name the client asked for (SNI).
    pub fn server_name(&self) -> Option<&str> {
        self.facts.server_name.as_deref()
    }

    /// Who the peer is, where it showed a certificate and the handshake is done.
    pub fn peer_identity(&self) -> Option<&Arc<PeerIdentity>> {
        self.facts.peer.as_ref()
    }

    /// Our own certificate: of a server the one for the name asked for, of a client the one it presents when asked.
    pub fn local_certificate(&self) -> Option<&Arc<CertificateDetails>> {
        self.facts.local.as_ref()
    }

    /// Appends what `%DOWNSTREAM_PEER_SUBJECT%` and its like say. False, and nothing appended, when that is nothing.
    pub fn write_log_field(&self, field: TlsField, out: &mut Vec<u8>) -> bool {
        log_field::write(self, field, out)
    }

    /// `TLSv1.2` or `TLSv1.3`, once the handshake is done.
    pub fn protocol_version(&self) -> Option<&'static str> {
        self.facts.version.map(version_name)
    }

    /// The cipher suite's name as Envoy writes it, once the handshake is done.
    pub fn cipher_suite(&self) -> Option<&'static str> {
        self.facts.suite.map(suite_name)
    }

    /// The name of the group that keys were agreed on in, once the handshake is done.
    pub fn key_exchange_group(&self) -> Option<&'static str> {
        self.facts.group.map(group_name)
    }

    /// Whether an earlier session was resumed.
    pub fn resumed(&self) -> bool {
        self.facts.resumed
    }

    /// Counts an ended handshake in the `ssl.*` statistics of a listener or a cluster.
    pub fn count_handshake(&self, stats: telemetry::stats::Local<'_>) {
        crate::stats::count_handshake(self, stats);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Accepting { .. } => "Accepting",
            State::Handshaking { .. } => "Handshaking",
            State::Established(_) => "Established",
            State::EstablishedTls12(_) => "EstablishedTls12",
            State::Ended => "Ended",
        };
        formatter
            .debug_struct("Session")
            .field("state", &state)
            .field("alpn", &self.alpn())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
