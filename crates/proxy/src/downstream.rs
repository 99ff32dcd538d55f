//! The caller's side of a connection: its protocol, its limits, its drain.

mod ending;
mod refusal;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use codec::Connection as Codec;
use config::http_connection_manager::CodecType;
use config::route::PeerCertificate;
use telemetry::stats::{Block, Counter, Gauge, Shard};
use telemetry::stats::{http as stat, listener as listener_stat};
use tls::{PeerIdentity, Session, SubjectAltName, TlsError};

use crate::accepted::{Accepted, Attached};
use crate::chain::{Chain, ChainTls, Place};
use crate::connection::{Connection, Ending, Role};
use crate::connection_log::ConnectionRecord;
use crate::failure::Failure;
use crate::listener::{Counted, Incoming};
use crate::manager::Manager;
use crate::slab::Key;
use crate::slots::Slot;
use crate::worker::{Local, Worker};

pub(crate) use ending::{after_request, before_answer, drain, retire};
pub(crate) use refusal::on_codec_error;

use ending::Retired;

/// First bytes of every HTTP/2 connection (RFC 9113 section 3.4).
pub(crate) const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long after its last answer a connection may be closed without waiting for the peer's end.
const QUIET: Duration = Duration::from_secs(1);

/// The downstream part of a connection's record.
pub(crate) struct Downstream {
    pub(crate) chain: Arc<Chain>,
    /// The listener it came in by.
    pub(crate) slot: Slot,
    pub(crate) manager: Local<Manager>,
    pub(crate) peer: Option<SocketAddr>,
    /// The socket's peer, where somebody speaks for another (PROXY protocol).
    pub(crate) direct_peer: Option<SocketAddr>,
    pub(crate) local: Option<SocketAddr>,
    /// Where it was going before it was redirected here, if a listener filter found out.
    pub(crate) original_destination: Option<SocketAddr>,
    pub(crate) is_tls: bool,
    pub(crate) peer_identity: Option<Arc<PeerIdentity>>,
    pub(crate) server_name: Option<Arc<str>>,
    /// What listener filters attached to it.
    pub(crate) attached: Option<Arc<Attached>>,
    pub(crate) shard: Shard,
    /// The listener's `per_connection_buffer_limit_bytes`.
    pub(crate) buffer_limit: u32,
    accepted: Instant,
    counted: Counted,
    _places: Box<[Place]>,
    /// When its TLS handshake must be done.
    handshake_deadline: Option<Instant>,
    /// Its filter chain is gone.
    retired: Option<Box<Retired>>,
    /// Bytes both ways, where its listener logs.
    received: u64,
    sent: u64,
    /// When `max_connection_duration` is reached, its jitter included.
    expires: Option<Instant>,
    active_streams: u32,
    requests: u64,
    idle_since: Instant,
    protocol: Option<Protocol>,
    draining: bool,
    /// A draining HTTP/2 connection whose first GOAWAY is out.
    drain_started: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl Downstream {
    pub(crate) fn new(
        incoming: Incoming,
        manager: &Arc<Manager>,
        places: Box<[Place]>,
        shard: Shard,
        now: Instant,
    ) -> Self {
        let Incoming {
            chain,
            slot,
            accepted,
            counted,
        } = incoming;
        let stats = manager.stats.local(shard);
        stats.add(stat::DOWNSTREAM_CX_TOTAL, 1);
        stats.gauge_add(stat::DOWNSTREAM_CX_ACTIVE, 1);
        if chain.is_tls() {
            stats.add(stat::DOWNSTREAM_CX_SSL_TOTAL, 1);
            stats.gauge_add(stat::DOWNSTREAM_CX_SSL_ACTIVE, 1);
        }
        let common = &manager.config.common_http_protocol_options;
        let jitter = common.max_connection_duration_jitter_percent / 100.0;
        let expires = common.max_connection_duration.map(|limit| {
            let share = (telemetry::random::next() % 1000) as f64 / 1000.0;
            now + limit.mul_f64(1.0 + jitter * share)
        });
        Downstream {
            manager: Rc::new(Arc::clone(manager)),
            is_tls: chain.is_tls(),
            slot,
            peer: accepted.peer,
            direct_peer: accepted.direct_peer,
            local: accepted.local,
            original_destination: accepted.original_destination(),
            peer_identity: None,
            server_name: accepted.server_name.map(Arc::from),
            attached: accepted.attached,
            shard,
            buffer_limit: config::listener::Listener::DEFAULT_PER_CONNECTION_BUFFER_LIMIT_BYTES,
            accepted: now,
            counted,
            _places: places,
            handshake_deadline: chain.handshake_deadline(now),
            retired: None,
            chain,
            received: 0,
            sent: 0,
            expires,
            active_streams: 0,
            requests: 0,
            idle_since: now,
            protocol: None,
            draining: false,
            drain_started: None,
        }
    }

    /// Chooses the codec by the connection's first bytes; `None` while they leave both possible.
    pub(crate) fn detect_protocol(&mut self, input: &[u8], now: Instant) -> Option<Codec> {
        let protocol = match self.manager.config.codec_type {
            CodecType::Http1 => Protocol::Http1,
            CodecType::Http2 => Protocol::Http2,
            CodecType::Auto => {
                let length = input.len().min(HTTP2_PREFACE.len());
                if input[..length] != HTTP2_PREFACE[..length] {
                    Protocol::Http1
                } else if length == HTTP2_PREFACE.len() {
                    Protocol::Http2
                } else {
                    return None;
                }
            }
        };
        Some(self.start(protocol, now))
    }

    /// The TLS handshake is done: ALPN decides, or else the first bytes will.
    pub(crate) fn handshake_done(&mut self, session: &Session, now: Instant) -> Option<Codec> {
        self.handshake_deadline = None;
        self.peer_identity = session.peer_identity().cloned();
        if let Some(ssl) = &self.chain.ssl_stats {
            session.count_handshake(ssl.local(self.shard));
        }
        if self.server_name.is_none() {
            self.server_name = session.server_name().map(Arc::from);
        }
        match (self.manager.config.codec_type, session.alpn()) {
            (CodecType::Http2, _) | (CodecType::Auto, Some(b"h2")) => Some(self.start(Protocol::Http2, now)),
            (CodecType::Http1, _) | (CodecType::Auto, Some(_)) => Some(self.start(Protocol::Http1, now)),
            (CodecType::Auto, None) => None,
        }
    }

    fn start(&mut self, protocol: Protocol, now: Instant) -> Codec {
        self.protocol = Some(protocol);
        let (total, active) = protocol_connection_stats(protocol);
        let stats = self.manager.stats.local(self.shard);
        stats.add(total, 1);
        stats.gauge_add(active, 1);
        // Shown from now on, as in Envoy.
        self.codec_stats(protocol == Protocol::Http2);
        match protocol {
            Protocol::Http1 => Codec::h1_server(&self.manager.h1, now),
            Protocol::Http2 => Codec::h2_server(&self.manager.h2, now),
        }
    }

    pub(crate) fn protocol(&self) -> Option<Protocol> {
        self.protocol
    }

    /// The counter of requests of this protocol.
    pub(crate) fn protocol_requests_stat(&self) -> Counter {
        match self.protocol {
            Some(Protocol::Http2) => stat::DOWNSTREAM_RQ_HTTP2_TOTAL,
            Some(Protocol::Http1) | None => stat::DOWNSTREAM_RQ_HTTP1_TOTAL,
        }
    }

    /// Whether it has had no request for so long that no answer can still be on its way.
    pub(crate) fn is_quiet(&self, now: Instant) -> bool {
        self.active_streams == 0 && self.idle_since + QUIET <= now
    }

    /// Whether requests of it are under way.
    pub(crate) fn has_streams(&self) -> bool {
        self.active_streams > 0
    }

    /// Where its codec counts.
    pub(crate) fn codec_stats(&self, is_h2: bool) -> &Block {
        self.manager.codec_stats.of(is_h2)
    }

    pub(crate) fn stream_began(&mut self) {
        self.active_streams += 1;
        self.requests += 1;
    }

    /// Another stream takes the place of one: the caller made one request all the same.
    pub(crate) fn stream_goes_on(&mut self) {
        self.active_streams += 1;
    }

    pub(crate) fn stream_ended(&mut self, now: Instant) {
        self.active_streams = self.active_streams.saturating_sub(1);
        self.idle_since = now;
    }

    pub(crate) fn count_received(&mut self, bytes: usize) {
        self.received += bytes as u64;
        self.manager
            .stats
            .local(self.shard)
            .add(stat::DOWNSTREAM_CX_RX_BYTES_TOTAL, bytes as u64);
    }

    pub(crate) fn count_sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        self.manager
            .stats
            .local(self.shard)
            .add(stat::DOWNSTREAM_CX_TX_BYTES_TOTAL, bytes as u64);
    }

    pub(crate) fn count_tls_error(&self, error: &TlsError) {
        if let Some(ssl) = &self.chain.ssl_stats {
            ssl.local(self.shard).add(error.stat(), 1);
        }
        tracing::debug!(target: "connection", %error, "TLS handshake with a caller failed");
    }

    /// What routes may ask of the caller's certificate.
    pub(crate) fn peer_certificate(&self) -> PeerCertificate {
        PeerCertificate {
            presented: self.peer_identity.is_some(),
            validated: self.peer_identity.as_ref().is_some_and(|identity| identity.verified),
        }
    }

    /// Our own certificate's URI SAN, for `By=` in `x-forwarded-client-cert`.
    pub(crate) fn local_uri_san(&self) -> Option<&str> {
        match &self.chain.tls {
            ChainTls::Context(context) => context
                .certificate_chains()
                .next()?
                .first()?
                .subject_alt_names
                .iter()
                .find_map(|name| match name {
                    SubjectAltName::Uri(uri) => Some(&**uri),
                    _ => None,
                }),
            ChainTls::None | ChainTls::NotReady => None,
        }
    }

    /// Whether enough requests were served (`max_requests_per_connection`).
    fn reached_max_requests(&self) -> bool {
        match self
            .manager
            .config
            .common_http_protocol_options
            .max_requests_per_connection
        {
            None | Some(0) => false,
            Some(limit) => self.requests >= u64::from(limit),
        }
    }

    /// When this side next wants to be looked at.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let mut at = None;
        let mut consider = |deadline: Option<Instant>| {
            at = match (at, deadline) {
                (Some(a), Some(b)) => Some(std::cmp::min::<Instant>(a, b)),
                (a, b) => a.or(b),
            };
        };
        if self.active_streams == 0 {
            consider(self.manager.idle_timeout().map(|timeout| self.idle_since + timeout));
        }
        if !self.draining {
            consider(self.expires);
        }
        consider(
            self.drain_started
                .map(|started| started + self.manager.config.drain_timeout),
        );
        consider(self.retired.as_ref().map(|retired| retired.close_at));
        consider(self.handshake_deadline);
        at
    }

    /// The connection is gone.
    pub(crate) fn closed(self, worker: &mut Worker, ending: Ending) {
        let now = worker.now;
        let stats = self.manager.stats.local(self.shard);
        stats.gauge_add(stat::DOWNSTREAM_CX_ACTIVE, -1);
        stats.add(stat::DOWNSTREAM_CX_DESTROY, 1);
        let (destroyed, with_requests) = if ending.by_peer {
            (
                stat::DOWNSTREAM_CX_DESTROY_REMOTE,
                stat::DOWNSTREAM_CX_DESTROY_REMOTE_ACTIVE_RQ,
            )
        } else {
            (
                stat::DOWNSTREAM_CX_DESTROY_LOCAL,
                stat::DOWNSTREAM_CX_DESTROY_LOCAL_ACTIVE_RQ,
            )
        };
        stats.add(destroyed, 1);
        if ending.cut_requests {
            stats.add(stat::DOWNSTREAM_CX_DESTROY_ACTIVE_RQ, 1);
            stats.add(with_requests, 1);
        }
        stats.record(
            stat::DOWNSTREAM_CX_LENGTH_MS,
            now.saturating_duration_since(self.accepted).as_millis() as u64,
        );
        if self.is_tls {
            stats.gauge_add(stat::DOWNSTREAM_CX_SSL_ACTIVE, -1);
        }
        if let Some(protocol) = self.protocol {
            stats.gauge_add(protocol_connection_stats(protocol).1, -1);
        }
        let (mut accepted, mut record) = (Accepted::default(), ConnectionRecord::default());
        if self.counted.is_logged() {
            accepted = Accepted {
                direct_peer: self.direct_peer,
                server_name: self.server_name.as_deref().map(Into::into),
                attached: self.attached,
                ..Accepted::new(self.peer, self.local)
            };
            record = ConnectionRecord {
                chain: Some(Arc::clone(&self.chain.config.name)),
                bytes_received: self.received,
                bytes_sent: self.sent,
                ..record
            };
        }
        self.counted.end_in(worker, &accepted, &record);
    }
}

fn protocol_connection_stats(protocol: Protocol) -> (Counter, Gauge) {
    match protocol {
        Protocol::Http1 => (stat::DOWNSTREAM_CX_HTTP1_TOTAL, stat::DOWNSTREAM_CX_HTTP1_ACTIVE),
        Protocol::Http2 => (stat::DOWNSTREAM_CX_HTTP2_TOTAL, stat::DOWNSTREAM_CX_HTTP2_ACTIVE),
    }
}

/// The connection's timer fired.
pub(crate) fn on_timer(worker: &mut Worker, key: Key<Connection>) {
    let now = worker.now;
    let Some(connection) = worker.connections.get_mut(key) else {
        return;
    };
    if let Some(codec) = &mut connection.codec
        && codec.deadline().is_some_and(|deadline| deadline <= now)
        && let Err(error) = codec.on_deadline(now)
    {
        return crate::pipeline::on_codec_error(worker, key, &error);
    }
    let Role::Downstream(downstream) = &mut connection.role else {
        return;
    };
    let too_slow = downstream.handshake_deadline.is_some_and(|at| at <= now);
    if too_slow {
        downstream
            .counted
            .count(listener_stat::DOWNSTREAM_CX_TRANSPORT_SOCKET_CONNECT_TIMEOUT);
    }
    if too_slow
        || downstream
            .retired
            .as_ref()
            .is_some_and(|retired| retired.close_at <= now)
    {
        crate::pipeline::on_connection_closed(worker, key, Failure::ConnectionTermination);
        if let Some(connection) = worker.connections.get_mut(key) {
            connection.begin_close(Duration::ZERO);
        }
        return;
    }
    let config = &downstream.manager.config;
    let stats = downstream.manager.stats.local(downstream.shard);
    let idle = downstream.manager.idle_timeout();
    if downstream.active_streams == 0 && idle.is_some_and(|idle| downstream.idle_since + idle <= now) {
        stats.add(stat::DOWNSTREAM_CX_IDLE_TIMEOUT, 1);
        return drain(worker, key);
    }
    if !downstream.draining && downstream.expires.is_some_and(|expires| expires <= now) {
        stats.add(stat::DOWNSTREAM_CX_MAX_DURATION_REACHED, 1);
        return drain(worker, key);
    }
    if downstream
        .drain_started
        .is_some_and(|started| started + config.drain_timeout <= now)
    {
        downstream.drain_started = None;
        // The second GOAWAY has gone out or goes now: what is in flight ends, then it closes.
        if downstream.active_streams == 0 {
            connection.begin_close(connection.linger(now));
        }
    }
}
