//! TCP proxying: a connection carried to an endpoint as it is (Envoy: Network filters > TCP proxy).
//!
//! ```text
//!  begin --cluster, endpoint, permits--> connect --(fails: the next attempt)--> carry --> end
//!
//!  caller --read--> [TLS] --> one buffer of the worker --> [TLS] --write--> endpoint
//!         <-------------------------- and back ---------------------------
//! ```
//! One task has both sockets: `connect` finds the endpoint, `carry` moves the bytes, `leg` is one side with its TLS. A
//! side is read only when all that was read before has been taken by the other, so that what a connection holds is
//! bounded by one read each way, and a slow reader slows its sender.

use config::access_log::AccessLogType;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Instant;

use telemetry::stats::{Block, Registry, Scope, Shard, tcp as stat};
use upstream::balancer::SubsetCriteria;

use crate::accepted::Accepted;
use crate::access_log::AccessLogs;
use crate::chain::{Chain, ChainTls, Place};
use crate::connection_log::{ConnectionEntry, ConnectionRecord};
use crate::listener::{Counted, Incoming};
use crate::slab::Key;
use crate::slots::{Slot, Slots};
use crate::socket::Socket;
use crate::worker::WorkerCell;

mod carry;
mod connect;
mod leg;

use leg::Leg;

/// A TCP proxy compiled for execution.
#[derive(Debug)]
pub(crate) struct TcpProxy {
    config: Arc<config::tcp_proxy::TcpProxy>,
    stats: Arc<Block>,
    /// In the order of the configuration.
    clusters: Box<[Target]>,
    access_logs: AccessLogs,
}

/// A cluster that connections are carried to.
#[derive(Debug)]
struct Target {
    slot: Slot,
    /// Which of its endpoints are eligible.
    criteria: Option<SubsetCriteria>,
}

impl TcpProxy {
    /// Compiles a TCP proxy; nothing in it can fail any more.
    pub(crate) fn compile(
        config: &Arc<config::tcp_proxy::TcpProxy>,
        stats: &Arc<Registry>,
        clusters: &Slots,
        access_logs: AccessLogs,
    ) -> TcpProxy {
        TcpProxy {
            stats: stats.block(Scope::Tcp(&config.stat_prefix), &stat::TABLE),
            clusters: config
                .clusters
                .clusters
                .iter()
                .map(|cluster| Target {
                    slot: clusters.slot(&cluster.name),
                    criteria: SubsetCriteria::new([&config.metadata_match, &cluster.metadata_match]),
                })
                .collect(),
            access_logs,
            config: Arc::clone(config),
        }
    }
}

/// What the worker knows of a connection that is carried: enough to tell it to end.
pub(crate) struct Tunnel {
    pub(crate) chain: Arc<Chain>,
    /// The listener it came in by.
    pub(crate) slot: Slot,
    /// Its filter chain is gone: when it is closed.
    close_at: Option<Instant>,
    waker: Option<Waker>,
}

impl Tunnel {
    /// Has it closed at some moment, unless an earlier one was said before.
    pub(crate) fn close_at(&mut self, at: Instant) {
        if self.close_at.is_none() {
            self.close_at = Some(at);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }
}

/// A connection being carried. Dropping it, whatever ended it, counts and logs its end.
struct Session {
    cell: Rc<WorkerCell>,
    key: Key<Tunnel>,
    proxy: Arc<TcpProxy>,
    shard: Shard,
    began: Instant,
    accepted: Accepted,
    record: ConnectionRecord,
    counted: Counted,
    /// When the caller's TLS handshake must be done.
    handshake_deadline: Option<Instant>,
    _places: Box<[Place]>,
}

/// Carries a connection until it ends.
pub(crate) async fn run(
    cell: Rc<WorkerCell>,
    incoming: Incoming,
    proxy: Arc<TcpProxy>,
    socket: Socket,
    received: Vec<u8>,
) {
    let Incoming {
        chain,
        slot,
        accepted,
        counted,
    } = incoming;
    let tls = match &chain.tls {
        ChainTls::None => None,
        ChainTls::Context(context) => Some(Box::new(context.accept())),
        // The caller of this has closed such connections.
        ChainTls::NotReady => return,
    };
    let (shard, began) = {
        let worker = cell.worker.borrow();
        (worker.shard, worker.now)
    };
    let places = match chain.take_places(shard) {
        Ok(places) => places,
        Err(limiter) => {
            proxy.stats.increment(shard, stat::DOWNSTREAM_CX_TOTAL);
            if let Some(delay) = limiter.config.delay {
                tokio::time::sleep(delay).await;
            }
            return counted.end(&cell, &accepted, &ConnectionRecord::default());
        }
    };
    proxy.stats.increment(shard, stat::DOWNSTREAM_CX_TOTAL);
    let ssl_stats = chain.ssl_stats.clone();
    let handshake_deadline = chain.handshake_deadline(began);
    let record = ConnectionRecord {
        chain: Some(Arc::clone(&chain.config.name)),
        ..ConnectionRecord::default()
    };
    let key = {
        let mut worker = cell.worker.borrow_mut();
        worker.totals.downstream_connections.fetch_add(1, Ordering::Relaxed);
        worker.tunnels.insert(Tunnel {
            chain,
            slot,
            close_at: None,
            waker: None,
        })
    };
    let mut session = Session {
        cell,
        key,
        proxy,
        shard,
        began,
        accepted,
        record,
        counted,
        handshake_deadline,
        _places: places,
    };
    let downstream = Leg::accepted(socket, tls, received, ssl_stats);
    if let Some(upstream) = connect::connect(&mut session).await {
        if session.proxy.config.flush_access_log_on_connected {
            session.log(AccessLogType::TcpUpstreamConnected);
        }
        carry::carry(&mut session, downstream, upstream).await;
    }
}

impl Session {
    /// The time of the current turn.
    fn now(&self) -> Instant {
        self.cell.worker.borrow().now
    }

    /// When it is closed since its filter chain is gone.
    fn close_at(&self) -> Option<Instant> {
        self.cell.worker.borrow().tunnels.get(self.key)?.close_at
    }

    /// Writes the entries of this moment.
    fn log(&self, kind: AccessLogType) {
        if self.proxy.access_logs.is_empty() {
            return;
        }
        // Not borrowable only while a panic unwinds.
        if let Ok(mut worker) = self.cell.worker.try_borrow_mut() {
            let entry = ConnectionEntry {
                kind,
                accepted: &self.accepted,
                record: &self.record,
                began: self.began,
                now: Instant::now(),
            };
            self.proxy.access_logs.write(&entry, self.shard, &mut worker.log_line);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.log(AccessLogType::TcpConnectionEnd);
        if let Ok(mut worker) = self.cell.worker.try_borrow_mut() {
            worker.tunnels.remove(self.key);
            worker.totals.downstream_connections.fetch_sub(1, Ordering::Relaxed);
        }
        self.counted.end(&self.cell, &self.accepted, &self.record);
    }
}
