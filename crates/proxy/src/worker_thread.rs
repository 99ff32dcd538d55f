//! A worker's thread: its runtime, its accept tasks, and the commands it takes.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use config::listener::TrafficDirection;
use telemetry::stats::Shard;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle, spawn_local};

use crate::connection::Role;
use crate::drain::{DrainPace, Draining};
use crate::listener;
use crate::server::{Command, Totals};
use crate::slots::Slot;
use crate::snapshot::Snapshot;
use crate::worker::{self, Worker, WorkerCell};

/// Runs a worker until it is told to stop or its server is gone.
pub(crate) fn run(
    shard: Shard,
    snapshots: Arc<ArcSwap<Snapshot>>,
    totals: Arc<Totals>,
    inbox: mpsc::Receiver<Command>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(tokio::runtime::LocalOptions::default());
    match runtime {
        Ok(runtime) => runtime.block_on(serve(shard, snapshots, totals, inbox)),
        Err(error) => tracing::error!(target: "main", %error, "a worker cannot start"),
    }
}

async fn serve(
    shard: Shard,
    snapshots: Arc<ArcSwap<Snapshot>>,
    totals: Arc<Totals>,
    mut inbox: mpsc::Receiver<Command>,
) {
    let cell = WorkerCell::new(shard, snapshots, totals, Instant::now());
    let timers = spawn_local(worker::run_timers(Rc::clone(&cell)));
    let mut listening: HashMap<usize, AbortHandle> = HashMap::new();
    while let Some(command) = inbox.recv().await {
        match command {
            Command::Listen { slot, socket } => listen(&cell, &mut listening, slot, socket),
            Command::Unlisten { slot } => {
                if let Some(task) = listening.remove(&slot.index()) {
                    task.abort();
                }
            }
            Command::Sweep => sweep(&mut cell.worker.borrow_mut()),
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
    for task in listening.into_values() {
        task.abort();
    }
    timers.abort();
}

fn listen(
    cell: &Rc<WorkerCell>,
    listening: &mut HashMap<usize, AbortHandle>,
    slot: Slot,
    socket: std::net::TcpListener,
) {
    let socket = match tokio::net::TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(target: "main", listener = %slot.name(), %error, "cannot watch a listening socket");
            return;
        }
    };
    let index = slot.index();
    let task: JoinHandle<()> = spawn_local(listener::accept(Rc::clone(cell), slot, socket));
    if let Some(old) = listening.insert(index, task.abort_handle()) {
        old.abort();
    }
}

fn stop_listening(worker: &Worker, listening: &mut HashMap<usize, AbortHandle>, only: Option<TrafficDirection>) {
    let snapshot = Rc::clone(&worker.snapshot);
    for listener in snapshot.listeners() {
        if only.is_none_or(|only| listener.config.traffic_direction == only)
            && let Some(task) = listening.remove(&listener.slot.index())
        {
            task.abort();
        }
    }
}

/// After a publish: connections of chains that are gone drain, so do those to endpoints that left.
fn sweep(worker: &mut Worker) {
    worker.begin_turn();
    let snapshot = Rc::clone(&worker.snapshot);
    for key in worker.connections.keys() {
        let Some(connection) = worker.connections.get(key) else {
            continue;
        };
        match &connection.role {
            Role::Downstream(downstream) => {
                let fingerprint = downstream.chain.config.fingerprint;
                let stays = snapshot
                    .listener(&downstream.slot)
                    .is_some_and(|listener| listener.chain_with(fingerprint).is_some());
                if !stays {
                    crate::downstream::drain(worker, key);
                }
            }
            Role::Upstream(upstream) => {
                if upstream.endpoint().should_drain() {
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
