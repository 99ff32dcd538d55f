//! Where connections come in: compiled listeners, accepting, and what a connection counts for its listener.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use config::Fingerprint;
use config::access_log::AccessLogType;
use config::listener::{ConnectionBalance, Listener};
use telemetry::access_log::ResponseFlag;
use telemetry::stats::{Block, Counter, Shard, listener as stat, listener_worker as worker_stat};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::mpsc;

use crate::accepted::Accepted;
use crate::access_log::AccessLogs;
use crate::chain::{Chain, ChainTls, Terminal};
use crate::chain_choice;
use crate::connection::{self, Connection, Role};
use crate::connection_log::{ConnectionEntry, ConnectionRecord};
use crate::downstream::Downstream;
use crate::inspection::{self, Inspected};
use crate::listener_filters::CompiledFilter;
use crate::listening::ListeningSocket;
use crate::server::{Command, Peers};
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
    /// By worker.
    pub(crate) worker_stats: Box<[Arc<Block>]>,
    pub(crate) filters: Box<[CompiledFilter]>,
    pub(crate) chains: Vec<Arc<Chain>>,
    pub(crate) default: Option<Arc<Chain>>,
    pub(crate) access_logs: AccessLogs,
    /// Its connections, before and after an update.
    pub(crate) open: Arc<OpenConnections>,
    /// The most connections at a time, of this listener and of all.
    pub(crate) limit: Option<u64>,
    pub(crate) global_limit: Option<u64>,
}

/// How many connections of a listener each worker has.
#[derive(Debug)]
pub(crate) struct OpenConnections(Box<[AtomicU64]>);

impl OpenConnections {
    pub(crate) fn new(workers: usize) -> Arc<Self> {
        Arc::new(OpenConnections(
            (0..workers.max(1)).map(|_| AtomicU64::new(0)).collect(),
        ))
    }

    fn total(&self) -> u64 {
        self.0.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// The worker with the fewest, `own` if that is one of them.
    fn least(&self, own: usize) -> usize {
        let of = |index: usize| self.0[index].load(Ordering::Relaxed);
        (0..self.0.len()).fold(own, |best, index| if of(index) < of(best) { index } else { best })
    }

    fn of(&self, worker: usize) -> &AtomicU64 {
        &self.0[worker % self.0.len()]
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
    fn choose(&self, accepted: &Accepted) -> Option<&Arc<Chain>> {
        let criteria = self.chains.iter().map(|chain| &chain.config.filter_chain_match);
        chain_choice::choose(criteria, &accepted.facts())
            .map(|index| &self.chains[index])
            .or(self.default.as_ref())
    }

    /// Writes down a connection that ends.
    fn log(&self, worker: &mut Worker, accepted: &Accepted, record: &ConnectionRecord, began: Instant) {
        if !self.access_logs.is_empty() {
            let entry = ConnectionEntry {
                kind: AccessLogType::NotSet,
                accepted,
                record,
                began,
                now: worker.now,
            };
            self.access_logs.write(&entry, worker.shard, &mut worker.log_line);
        }
    }
}

/// A connection that has its filter chain.
pub(crate) struct Incoming {
    pub(crate) chain: Arc<Chain>,
    /// The listener it came in by.
    pub(crate) slot: Slot,
    pub(crate) accepted: Accepted,
    pub(crate) counted: Counted,
}

/// A connection among its listener's. Its end must be said ([`Counted::end`]).
#[derive(Debug)]
pub(crate) struct Counted {
    listener: Arc<CompiledListener>,
    shard: Shard,
    /// The worker's number.
    worker: usize,
    began: Instant,
}

impl Counted {
    fn new(listener: &Arc<CompiledListener>, shard: Shard, now: Instant) -> Self {
        let worker = shard.worker_index().unwrap_or(0);
        let stats = listener.stats.local(shard);
        stats.add(stat::DOWNSTREAM_CX_TOTAL, 1);
        stats.gauge_add(stat::DOWNSTREAM_CX_ACTIVE, 1);
        if let Some(stats) = listener.worker_stats.get(worker) {
            stats.increment(shard, worker_stat::DOWNSTREAM_CX_TOTAL);
            stats.inc(shard, worker_stat::DOWNSTREAM_CX_ACTIVE);
        }
        listener.open.of(worker).fetch_add(1, Ordering::Relaxed);
        Counted {
            listener: Arc::clone(listener),
            shard,
            worker,
            began: now,
        }
    }

    /// Counts something else of the connection.
    pub(crate) fn count(&self, counter: Counter) {
        self.listener.stats.increment(self.shard, counter);
    }

    /// Most bytes of a connection that may be held (`per_connection_buffer_limit_bytes`).
    pub(crate) fn buffer_limit(&self) -> usize {
        (self.listener.config.per_connection_buffer_limit_bytes as usize).max(1)
    }

    /// Whether its end is to be written down.
    pub(crate) fn is_logged(&self) -> bool {
        !self.listener.access_logs.is_empty()
    }

    /// The connection is over.
    pub(crate) fn end_in(&self, worker: &mut Worker, accepted: &Accepted, record: &ConnectionRecord) {
        self.count_end(worker.now);
        self.listener.log(worker, accepted, record, self.began);
    }

    /// The same from outside a turn.
    pub(crate) fn end(&self, cell: &WorkerCell, accepted: &Accepted, record: &ConnectionRecord) {
        // Not borrowable only while a panic unwinds.
        match cell.worker.try_borrow_mut() {
            Ok(mut worker) => self.end_in(&mut worker, accepted, record),
            Err(_) => self.count_end(Instant::now()),
        }
    }

    fn count_end(&self, now: Instant) {
        let stats = self.listener.stats.local(self.shard);
        stats.gauge_add(stat::DOWNSTREAM_CX_ACTIVE, -1);
        stats.add(stat::DOWNSTREAM_CX_DESTROY, 1);
        let lived = now.saturating_duration_since(self.began).as_millis() as u64;
        stats.record(stat::DOWNSTREAM_CX_LENGTH_MS, lived);
        if let Some(stats) = self.listener.worker_stats.get(self.worker) {
            stats.dec(self.shard, worker_stat::DOWNSTREAM_CX_ACTIVE);
        }
        self.listener.open.of(self.worker).fetch_sub(1, Ordering::Relaxed);
    }
}

/// A listening socket of either family that a worker accepts on.
pub(crate) enum AcceptSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl AcceptSocket {
    pub(crate) fn new(socket: ListeningSocket) -> io::Result<Self> {
        Ok(match socket {
            ListeningSocket::Tcp(socket) => AcceptSocket::Tcp(TcpListener::from_std(socket)?),
            ListeningSocket::Unix(socket) => AcceptSocket::Unix(UnixListener::from_std(socket)?),
        })
    }

    async fn accept(&self) -> io::Result<(Socket, Accepted)> {
        match self {
            AcceptSocket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok(accepted(stream, peer))
            }
            AcceptSocket::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Socket::Unix(stream), Accepted::default()))
            }
        }
    }
}

fn accepted(stream: TcpStream, peer: SocketAddr) -> (Socket, Accepted) {
    // Latency over packet count; failing to set it costs only that.
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().ok();
    (Socket::Tcp(stream), Accepted::new(Some(peer), local))
}

/// Hands connections of a listener with `exact_balance` to the worker that has the fewest.
pub(crate) struct Balancer {
    own: usize,
    peers: Peers,
}

impl Balancer {
    pub(crate) fn new(own: usize, peers: &Peers) -> Self {
        Balancer {
            own,
            peers: Arc::clone(peers),
        }
    }

    /// Hands the connection to another worker, where that has fewer; else gives it back.
    fn balance(&self, cell: &WorkerCell, slot: &Slot, socket: Socket) -> Option<Socket> {
        let Socket::Tcp(stream) = socket else {
            return Some(socket);
        };
        let target = {
            let worker = cell.worker.borrow();
            match worker.snapshot.listener(slot) {
                Some(listener) if listener.config.connection_balance == ConnectionBalance::Exact => {
                    listener.open.least(self.own)
                }
                _ => self.own,
            }
        };
        if target == self.own {
            return Some(Socket::Tcp(stream));
        }
        // One that is busy with commands does not get more work; a permit first, so that the socket is not lost.
        let sender = self.peers.get(target).and_then(mpsc::WeakSender::upgrade);
        let permit = sender.as_ref().and_then(|sender| sender.try_reserve().ok());
        let Some(permit) = permit else {
            return Some(Socket::Tcp(stream));
        };
        match stream.into_std() {
            Ok(socket) => permit.send(Command::Accepted {
                slot: slot.clone(),
                socket,
            }),
            Err(error) => tracing::debug!(target: "connection", %error, "a connection could not be handed over"),
        }
        None
    }
}

/// A connection that another worker accepted.
pub(crate) fn take_over(cell: &Rc<WorkerCell>, slot: &Slot, socket: std::net::TcpStream) {
    if let Ok(stream) = TcpStream::from_std(socket)
        && let Ok(peer) = stream.peer_addr()
    {
        let (socket, accepted) = accepted(stream, peer);
        on_accept(cell, slot, socket, accepted);
    }
}

/// The task of one worker's listening socket: accepts until it is aborted.
pub(crate) async fn accept(cell: Rc<WorkerCell>, slot: Slot, socket: AcceptSocket, balancer: Balancer) {
    loop {
        match socket.accept().await {
            Ok((socket, accepted)) => {
                if let Some(socket) = balancer.balance(&cell, &slot, socket) {
                    on_accept(&cell, &slot, socket, accepted);
                }
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

/// A connection came in: its listener filters look at it in a task of its own, where there are any.
fn on_accept(cell: &Rc<WorkerCell>, slot: &Slot, socket: Socket, accepted: Accepted) {
    let (listener, began) = {
        let mut worker = cell.worker.borrow_mut();
        worker.begin_turn();
        match worker.snapshot.listener(slot) {
            Some(listener) => (Arc::clone(listener), worker.now),
            None => return,
        }
    };
    if let Some(counter) = over_limit(cell, &listener) {
        listener.stats.increment(cell.worker.borrow().shard, counter);
        return;
    }
    if listener.filters.is_empty() {
        serve(cell, &listener, socket, accepted, Vec::new());
    } else {
        tokio::task::spawn_local(inspect(Rc::clone(cell), listener, socket, accepted, began));
    }
}

/// The counter of the limit on connections that is reached, if one is.
fn over_limit(cell: &WorkerCell, listener: &CompiledListener) -> Option<Counter> {
    if listener.limit.is_some_and(|limit| listener.open.total() >= limit) {
        return Some(stat::DOWNSTREAM_CX_OVERFLOW);
    }
    let limit = listener.global_limit?;
    let open = cell
        .worker
        .borrow()
        .totals
        .downstream_connections
        .load(Ordering::Relaxed);
    (open >= limit).then_some(stat::DOWNSTREAM_GLOBAL_CX_OVERFLOW)
}

async fn inspect(
    cell: Rc<WorkerCell>,
    listener: Arc<CompiledListener>,
    mut socket: Socket,
    mut accepted: Accepted,
    began: Instant,
) {
    let first = Arc::clone(&listener);
    match inspection::inspect(&cell, listener, &mut socket, &mut accepted).await {
        Some(Inspected { listener, received }) => serve(&cell, &listener, socket, accepted, received),
        None => {
            let mut worker = cell.worker.borrow_mut();
            worker.begin_turn();
            first.log(&mut worker, &accepted, &ConnectionRecord::default(), began);
        }
    }
}

/// Finds the connection's filter chain and starts the task that serves it. One without a chain is closed.
fn serve(
    cell: &Rc<WorkerCell>,
    listener: &Arc<CompiledListener>,
    socket: Socket,
    accepted: Accepted,
    received: Vec<u8>,
) {
    let mut worker = cell.worker.borrow_mut();
    worker.begin_turn();
    let (shard, now) = (worker.shard, worker.now);
    let Some(chain) = listener.choose(&accepted) else {
        listener.stats.increment(shard, stat::NO_FILTER_CHAIN_MATCH);
        let record = ConnectionRecord {
            flags: vec![ResponseFlag::NoRouteFound],
            ..ConnectionRecord::default()
        };
        return listener.log(&mut worker, &accepted, &record, now);
    };
    let tls = match &chain.tls {
        ChainTls::None => None,
        ChainTls::Context(context) => Some(context),
        ChainTls::NotReady => {
            tracing::debug!(target: "connection", listener = %listener.slot.name(), "secrets are not there yet");
            return listener.log(&mut worker, &accepted, &ConnectionRecord::default(), now);
        }
    };
    let incoming = Incoming {
        chain: Arc::clone(chain),
        slot: listener.slot.clone(),
        accepted,
        counted: Counted::new(listener, shard, now),
    };
    match &chain.terminal {
        Terminal::Tcp(proxy) => {
            let proxy = Arc::clone(proxy);
            tokio::task::spawn_local(crate::tcp::run(Rc::clone(cell), incoming, proxy, socket, received));
        }
        Terminal::Http(manager) => {
            let places = match chain.take_places(shard) {
                Ok(places) => places,
                Err(limiter) => {
                    let delay = limiter.config.delay;
                    tokio::task::spawn_local(refuse(Rc::clone(cell), delay, socket, incoming));
                    return;
                }
            };
            let session = tls.map(|context| Box::new(context.accept()));
            let mut downstream = Downstream::new(incoming, manager, places, shard, now);
            downstream.buffer_limit = listener.config.per_connection_buffer_limit_bytes;
            let connection = Connection::new(Role::Downstream(Box::new(downstream)), session, now);
            worker.totals.downstream_connections.fetch_add(1, Ordering::Relaxed);
            let key = worker.connections.insert(connection);
            drop(worker);
            if !received.is_empty() {
                connection::receive_first(cell, key, &received);
            }
            tokio::task::spawn_local(connection::drive(Rc::clone(cell), key, socket));
        }
    }
}

/// Closes a connection beyond its chain's limit, after the limit's delay.
async fn refuse(cell: Rc<WorkerCell>, delay: Option<Duration>, socket: Socket, incoming: Incoming) {
    if let Some(delay) = delay {
        tokio::time::sleep(delay).await;
    }
    drop(socket);
    incoming
        .counted
        .end(&cell, &incoming.accepted, &ConnectionRecord::default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_goes_to_the_worker_with_the_fewest_and_stays_where_all_have_as_many() {
        let open = OpenConnections::new(3);
        assert_eq!((0..3).map(|own| open.least(own)).collect::<Vec<_>>(), [0, 1, 2]);
        for (worker, count) in [(0, 2), (1, 1), (2, 1)] {
            open.of(worker).fetch_add(count, Ordering::Relaxed);
        }
        assert_eq!((0..3).map(|own| open.least(own)).collect::<Vec<_>>(), [1, 1, 2]);
        assert_eq!(open.total(), 4);
    }
}
