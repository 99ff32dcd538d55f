//! Filter chains compiled for execution.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use config::Fingerprint;
use config::connection_limit::ConnectionLimit;
use config::listener::FilterChain;
use telemetry::stats::{Block, Registry, Scope, Shard, connection_limit as stat};
use tls::ServerContext;

use crate::manager::Manager;
use crate::tcp::TcpProxy;

/// A filter chain compiled for execution; connections hold the one they were accepted under.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) config: Arc<FilterChain>,
    pub(crate) terminal: Terminal,
    pub(crate) tls: ChainTls,
    pub(crate) limits: Box<[Arc<Limiter>]>,
    pub(crate) ssl_stats: Option<Arc<Block>>,
    /// Answers of the listener's connection manager, where the chain ends in one.
    pub(crate) listener_http_stats: Option<Arc<Block>>,
    /// The secrets its TLS context was made from.
    pub(crate) secrets: Vec<(Arc<str>, Option<Fingerprint>)>,
}

/// What becomes of the bytes.
#[derive(Clone, Debug)]
pub(crate) enum Terminal {
    /// HTTP.
    Http(Arc<Manager>),
    /// Carried to a cluster as they are.
    Tcp(Arc<TcpProxy>),
}

/// How the connections of a chain are secured.
#[derive(Debug)]
pub(crate) enum ChainTls {
    /// Plaintext.
    None,
    /// TLS with this context.
    Context(Arc<ServerContext>),
    /// TLS whose secrets are not there yet: connections are closed, as Envoy does.
    NotReady,
}

impl Chain {
    /// Whether its connections are TLS.
    pub(crate) fn is_tls(&self) -> bool {
        !matches!(self.tls, ChainTls::None)
    }

    /// When the TLS handshake of a connection that begins now must be done.
    pub(crate) fn handshake_deadline(&self, now: Instant) -> Option<Instant> {
        let timeout = self.config.transport_socket_connect_timeout.filter(|_| self.is_tls());
        timeout.map(|timeout| now + timeout)
    }

    /// Places for a connection among those its limits allow; the limiter that refuses it otherwise.
    pub(crate) fn take_places(&self, shard: Shard) -> Result<Box<[Place]>, &Arc<Limiter>> {
        self.limits
            .iter()
            .map(|limiter| Place::take(limiter, shard).ok_or(limiter))
            .collect()
    }
}

/// The `connection_limit` filter of a chain: how many of its connections are open, over all workers.
#[derive(Debug)]
pub(crate) struct Limiter {
    pub(crate) config: Arc<ConnectionLimit>,
    stats: Arc<Block>,
    open: AtomicU64,
}

impl Limiter {
    pub(crate) fn new(config: &Arc<ConnectionLimit>, stats: &Arc<Registry>) -> Arc<Self> {
        let prefix = format!("connection_limit.{}.", config.stat_prefix);
        Arc::new(Limiter {
            config: Arc::clone(config),
            stats: stats.block(Scope::Process(&prefix), &stat::TABLE),
            open: AtomicU64::new(0),
        })
    }
}

/// A connection's place among those a limiter allows, until dropped.
#[derive(Debug)]
pub(crate) struct Place {
    limiter: Arc<Limiter>,
    shard: Shard,
}

impl Place {
    fn take(limiter: &Arc<Limiter>, shard: Shard) -> Option<Place> {
        let limit = limiter.config.max_connections;
        let taken = limiter.open.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |open| {
            (open < limit).then_some(open + 1)
        });
        if taken.is_err() {
            limiter.stats.increment(shard, stat::LIMITED_CONNECTIONS);
            return None;
        }
        limiter.stats.inc(shard, stat::ACTIVE_CONNECTIONS);
        Some(Place {
            limiter: Arc::clone(limiter),
            shard,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.limiter.open.fetch_sub(1, Ordering::AcqRel);
        self.limiter.stats.dec(self.shard, stat::ACTIVE_CONNECTIONS);
    }
}
