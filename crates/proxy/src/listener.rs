//! Where connections come in: compiled listeners and filter chains, and accepting.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use config::Fingerprint;
use config::listener::{FilterChain, Listener};
use telemetry::stats::{Block, listener as stat};
use tls::ServerContext;
use tokio::net::TcpListener;

use crate::chain_choice::{self, Facts};
use crate::connection::{self, Connection, Role};
use crate::downstream::Downstream;
use crate::manager::Manager;
use crate::slots::Slot;
use crate::socket::Socket;
use crate::worker::{Worker, WorkerCell};

/// Pause after the system could not give a connection (no file descriptors left): accepting again
/// at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listener compiled for execution.
#[derive(Debug)]
pub(crate) struct CompiledListener {
    pub(crate) config: Arc<Listener>,
    pub(crate) slot: Slot,
    pub(crate) stats: Arc<Block>,
    pub(crate) chains: Vec<Arc<Chain>>,
    pub(crate) default: Option<Arc<Chain>>,
}

/// A filter chain compiled for execution; connections hold the one they were accepted under.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) config: Arc<FilterChain>,
    pub(crate) manager: Arc<Manager>,
    pub(crate) tls: ChainTls,
    pub(crate) listener_stats: Arc<Block>,
    /// Answers of the listener's connection manager.
    pub(crate) listener_http_stats: Arc<Block>,
    /// Each worker's share of the listener's connections.
    pub(crate) worker_stats: Box<[Arc<Block>]>,
    pub(crate) ssl_stats: Option<Arc<Block>>,
    /// The secrets its TLS context was made from.
    pub(crate) secrets: Vec<(Arc<str>, Option<Fingerprint>)>,
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
}

impl CompiledListener {
    /// The chains, the default one last.
    pub(crate) fn all_chains(&self) -> impl Iterator<Item = &Arc<Chain>> {
        self.chains.iter().chain(&self.default)
    }

    /// The chain with this content.
    pub(crate) fn chain_with(&self, fingerprint: Fingerprint) -> Option<&Arc<Chain>> {
        self.all_chains().find(|chain| chain.config.fingerprint == fingerprint)
    }

    /// The chain for a connection.
    fn choose(&self, facts: &Facts<'_>) -> Option<&Arc<Chain>> {
        chain_choice::choose(self.chains.iter().map(|chain| &chain.config.filter_chain_match), facts)
            .map(|index| &self.chains[index])
            .or(self.default.as_ref())
    }
}

/// The task of one worker's listening socket: accepts until it is aborted.
pub(crate) async fn accept(cell: Rc<WorkerCell>, slot: Slot, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Latency over packet count; failing to set it costs only that.
                let _ = stream.set_nodelay(true);
                let local = stream.local_addr().ok();
                on_accept(&cell, &slot, Socket::Tcp(stream), Some(peer), local);
            }
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                tracing::warn!(target: "connection", listener = %slot.name(), %error, "cannot accept connections; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether an accept error concerns the one connection, which is gone, rather than the socket.
fn is_of_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}

/// A connection came in: finds its chain and starts its task. One without a chain is closed.
fn on_accept(cell: &Rc<WorkerCell>, slot: &Slot, socket: Socket, peer: Option<SocketAddr>, local: Option<SocketAddr>) {
    let key = {
        let mut worker = cell.worker.borrow_mut();
        worker.begin_turn();
        match start(&mut worker, slot, peer, local) {
            Some(key) => key,
            None => return,
        }
    };
    tokio::task::spawn_local(connection::drive(Rc::clone(cell), key, socket));
}

fn start(
    worker: &mut Worker,
    slot: &Slot,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
) -> Option<crate::slab::Key<Connection>> {
    let snapshot = Rc::clone(&worker.snapshot);
    let listener = snapshot.listener(slot)?;
    let facts = Facts {
        destination: local,
        source: peer,
        direct_source: peer,
        ..Facts::default()
    };
    let Some(chain) = listener.choose(&facts) else {
        listener.stats.local(worker.shard).add(stat::NO_FILTER_CHAIN_MATCH, 1);
        return None;
    };
    let session = match &chain.tls {
        ChainTls::None => None,
        ChainTls::Context(context) => Some(Box::new(context.accept())),
        ChainTls::NotReady => {
            tracing::debug!(target: "connection", listener = %slot.name(), "secrets are not there yet");
            return None;
        }
    };
    let mut downstream = Downstream::new(Arc::clone(chain), slot.clone(), peer, local, worker.shard, worker.now);
    downstream.buffer_limit = listener.config.per_connection_buffer_limit_bytes;
    let connection = Connection::new(Role::Downstream(Box::new(downstream)), session, worker.now);
    worker.totals.downstream_connections.fetch_add(1, Ordering::Relaxed);
    Some(worker.connections.insert(connection))
}
