//! A worker's thread: its runtime, its accept tasks, and the commands it takes.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use config::listener::TrafficDirection;
use telemetry::stats::Shard;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn_local};

use crate::chain::Chain;
use crate::connection::Role;
use crate::drain::{DrainPace, Draining};
use crate::listener::{self, AcceptSocket, Balancer};
use crate::listening::ListeningSocket;
use crate::server::{Command, Peers, Totals};
use crate::slots::Slot;
use crate::snapshot::Snapshot;
use crate::worker::{self, Worker, WorkerCell};

/// Runs a worker until it is told to stop or its server is gone.
pub(crate) fn run(
    index: usize,
    peers: Peers,
    snapshots: Arc<ArcSwap<Snapshot>>,
    totals: Arc<Totals>,
    inbox: mpsc::Receiver<Command>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(tokio::runtime::LocalOptions::default());
    match runtime {
        Ok(runtime) => runtime.block_on(serve(index, peers, snapshots, totals, inbox)),
        Err(error) => tracing::error!(target: "main", %error, "a worker cannot start"),
    }
}

async fn serve(
    index: usize,
    peers: Peers,
    snapshots: Arc<ArcSwap<Snapshot>>,
    totals: Arc<Totals>,
    mut inbox: mpsc::Receiver<Command>,
) {
    let cell = WorkerCell::new(Shard::worker(index), snapshots, totals, Instant::now());
    let timers = spawn_local(worker::run_timers(Rc::clone(&cell)));
    let mut listening: Listening = HashMap::new();
    while let Some(command) = inbox.recv().await {
        match command {
            Command::Listen { slot, sockets } => {
                let own = Place { index, peers: &peers };
                listen(&cell, own, &mut listening, &slot, sockets);
            }
            Command::Accepted { slot, socket } => listener::take_over(&cell, &slot, socket),
            Command::Unlisten { slot } => {
                listening.remove(&slot.index());
            }
            Command::Sweep { drain_time, over } => sweep(&mut cell.worker.borrow_mut(), drain_time, over),
            Command::Drain {
                only,
                stop_accepting,
                pace,
            } => {
                let mut worker = cell.worker.borrow_mut();
                worker.begin_turn();
                if stop_accepting {
                    stop_listening(&worker, &mut listening, only);
                }
                let since = worker.now;
                let over = match pace {
                    DrainPace::AtOnce => Duration::ZERO,
                    DrainPace::Over(time) => time,
                };
                // Connections that come while listeners stay open are asked to end as well.
                worker.draining = Some(Draining { only, since, over });
                if pace == DrainPace::AtOnce {
                    drain(&mut worker, only);
                }
            }
            Command::Stop => break,
        }
    }
    drop(listening);
    timers.abort();
}

/// The accept tasks of each listener, by slot number.
type Listening = HashMap<usize, Vec<AcceptTask>>;

/// A task that accepts on one socket, until this is dropped.
struct AcceptTask(AbortHandle);

impl Drop for AcceptTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn listen(
    cell: &Rc<WorkerCell>,
    own: Place<'_>,
    listening: &mut Listening,
    slot: &Slot,
    sockets: Vec<ListeningSocket>,
) {
    let mut tasks = Vec::with_capacity(sockets.len());
    for socket in sockets {
        match AcceptSocket::new(socket) {
            Ok(socket) => {
                let balancer = Balancer::new(own.index, own.peers);
                let task = spawn_local(listener::accept(Rc::clone(cell), slot.clone(), socket, balancer));
                tasks.push(AcceptTask(task.abort_handle()));
            }
            Err(error) => {
                tracing::error!(target: "main", listener = %slot.name(), %error, "cannot watch a listening socket");
            }
        }
    }
    listening.insert(slot.index(), tasks);
}

/// Which worker this is, and the others.
#[derive(Clone, Copy)]
struct Place<'a> {
    index: usize,
    peers: &'a Peers,
}

fn stop_listening(worker: &Worker, listening: &mut Listening, only: Option<TrafficDirection>) {
    let snapshot = Rc::clone(&worker.snapshot);
    for listener in snapshot.listeners() {
        if only.is_none_or(|only| listener.config.traffic_direction == only) {
            listening.remove(&listener.slot.index());
        }
    }
}

/// After a publish: connections of chains that are gone drain, so do those to endpoints that left.
fn sweep(worker: &mut Worker, drain_time: Duration, over: Duration) {
    worker.begin_turn();
    let close_at = worker.now + drain_time;
    let draining = Draining {
        only: None,
        since: worker.now,
        over,
    };
    let snapshot = Rc::clone(&worker.snapshot);
    let stays = |slot: &Slot, chain: &Chain| {
        snapshot
            .listener(slot)
            .is_some_and(|listener| listener.chain_with(chain.config.fingerprint).is_some())
    };
    for key in worker.tunnels.keys() {
        if let Some(tunnel) = worker.tunnels.get_mut(key)
            && !stays(&tunnel.slot, &tunnel.chain)
        {
            tunnel.close_at(close_at);
        }
    }
    for key in worker.connections.keys() {
        let Some(connection) = worker.connections.get(key) else {
            continue;
        };
        match &connection.role {
            Role::Downstream(downstream) => {
                if !stays(&downstream.slot, &downstream.chain) {
                    crate::downstream::retire(worker, key, draining, close_at);
                }
            }
            Role::Upstream(upstream) => {
                if upstream.should_close() {
                    crate::upstream_connection::close(worker, key);
                } else if upstream.should_drain() {
                    crate::upstream_connection::drain(worker, key);
                }
            }
        }
    }
}

fn drain(worker: &mut Worker, only: Option<TrafficDirection>) {
    let snapshot = Rc::clone(&worker.snapshot);
    for key in worker.connections.keys() {
        let Some(connection) = worker.connections.get(key) else {
            continue;
        };
        let Role::Downstream(downstream) = &connection.role else {
            continue;
        };
        let goes = snapshot
            .listener(&downstream.slot)
            .map(|listener| listener.config.traffic_direction);
        if only.is_none() || goes == only {
            crate::downstream::drain(worker, key);
        }
    }
}
