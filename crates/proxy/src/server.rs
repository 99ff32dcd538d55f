//! The data path as the binary sees it: worker threads, publishing of configurations, drain.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use config::Config;
use config::address::Address;
use config::listener::TrafficDirection;
use telemetry::access_log::Writer;
use telemetry::stats::{Registry, Shard};
use tls::{Loader, ServerContext};
use tokio::sync::mpsc;

use crate::access_log::LogSinks;
use crate::drain::DrainPace;
use crate::listener::ChainTls;
use crate::slots::Slot;
use crate::snapshot::{Clusters, Compiler, Snapshot};
use crate::socket;
use crate::worker_thread;

/// Commands a worker has not taken yet; the control thread waits rather than queueing more.
const COMMANDS: usize = 64;
/// Listen backlog where the configuration says nothing.
const BACKLOG: u32 = 4096;

/// What a worker is told to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Accept on this socket for the listener.
    Listen { slot: Slot, socket: std::net::TcpListener },
    /// Stop accepting for the listener.
    Unlisten { slot: Slot },
    /// Something was published: connections whose chain or endpoint is gone are drained.
    Sweep,
    /// Drain the connections of the listeners that go this way, or of all.
    Drain {
        only: Option<TrafficDirection>,
        stop_accepting: bool,
        pace: DrainPace,
    },
    /// Close everything and end the thread.
    Stop,
}

/// Counts shared by all workers.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// Connections from callers.
    pub(crate) downstream_connections: AtomicU64,
}

/// A listener that could not be put to use.
#[derive(Debug)]
pub struct ListenError {
    /// The listener's name.
    pub listener: Arc<str>,
    /// The address it was to listen on.
    pub address: String,
    /// What the system says.
    pub error: io::Error,
}

impl std::fmt::Display for ListenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "listener {}: cannot listen on {}: {}",
            self.listener, self.address, self.error
        )
    }
}

impl std::error::Error for ListenError {}

/// A listener in use.
#[derive(Clone, Debug)]
pub struct ListenerStatus {
    /// Its name.
    pub name: Arc<str>,
    /// The address it is bound to: with the port the system chose where the configuration says 0.
    pub address: SocketAddr,
}

/// The running data path. Dropping it stops the workers at once; call [`Server::drain`] first.
#[derive(Debug)]
pub struct Server {
    compiler: Compiler,
    snapshots: Arc<ArcSwap<Snapshot>>,
    workers: Vec<WorkerHandle>,
    totals: Arc<Totals>,
    bound: HashMap<Arc<str>, Bound>,
    /// No listener is opened any more.
    draining: bool,
}

#[derive(Debug)]
struct WorkerHandle {
    commands: mpsc::Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Bound {
    slot: Slot,
    configured: Address,
    address: SocketAddr,
}

impl Server {
    /// Starts `concurrency` workers, idle until something is published. `local_address` is this machine's, for callers
    /// on the machine itself (`x-forwarded-for`).
    ///
    /// # Errors
    /// When the system gives no threads or no event queue.
    pub fn start(
        concurrency: usize,
        stats: &Arc<Registry>,
        tls: &Arc<Loader>,
        logs: &Arc<Writer>,
        local_address: IpAddr,
    ) -> io::Result<Server> {
        let snapshots = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        let totals = Arc::new(Totals::default());
        let mut workers = Vec::with_capacity(concurrency);
        for index in 0..concurrency.max(1) {
            let (commands, inbox) = mpsc::channel(COMMANDS);
            let snapshots = Arc::clone(&snapshots);
            let totals = Arc::clone(&totals);
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || worker_thread::run(Shard::worker(index), snapshots, totals, inbox))?;
            workers.push(WorkerHandle {
                commands,
                thread: Some(thread),
            });
        }
        let compiler = Compiler::new(
            Arc::clone(stats),
            Arc::clone(tls),
            LogSinks::new(Arc::clone(logs)),
            local_address,
        );
        Ok(Server {
            compiler,
            snapshots,
            workers,
            totals,
            bound: HashMap::new(),
            draining: false,
        })
    }

    /// Puts a configuration in force: new requests see all of it or nothing of it. Listening
    /// sockets are opened and closed to match; one whose address did not change is kept.
    ///
    /// Returns the listeners whose address could not be bound; everything else is in force.
    pub async fn publish(&mut self, config: &Config, clusters: &Clusters) -> Vec<ListenError> {
        let snapshot = self.compiler.compile(config, clusters);
        let mut errors = Vec::new();
        // A change of endpoints alone is in the tables of their clusters already.
        if !Arc::ptr_eq(&snapshot, &self.snapshots.load()) {
            self.snapshots.store(Arc::clone(&snapshot));
        }
        self.close_listeners(&snapshot).await;
        if !self.draining {
            self.open_listeners(&snapshot, &mut errors).await;
        }
        self.send_all(|| Command::Sweep).await;
        errors
    }

    async fn close_listeners(&mut self, snapshot: &Snapshot) {
        let gone: Vec<Arc<str>> = self
            .bound
            .iter()
            .filter(|(_, bound)| {
                snapshot
                    .listener(&bound.slot)
                    .is_none_or(|listener| listener.config.address != bound.configured || !listener.config.bind_to_port)
            })
            .map(|(name, _)| Arc::clone(name))
            .collect();
        for name in gone {
            if let Some(bound) = self.bound.remove(&name) {
                self.send_all(|| Command::Unlisten {
                    slot: bound.slot.clone(),
                })
                .await;
            }
        }
    }

    async fn open_listeners(&mut self, snapshot: &Snapshot, errors: &mut Vec<ListenError>) {
        for listener in snapshot.listeners() {
            let config = &listener.config;
            if !config.bind_to_port || self.bound.contains_key(&config.name) {
                continue;
            }
            let outcome = self
                .open(
                    &listener.slot,
                    &config.address,
                    config.tcp_backlog_size.unwrap_or(BACKLOG),
                )
                .await;
            match outcome {
                Ok(address) => {
                    let bound = Bound {
                        slot: listener.slot.clone(),
                        configured: config.address.clone(),
                        address,
                    };
                    self.bound.insert(Arc::clone(&config.name), bound);
                }
                Err(error) => errors.push(ListenError {
                    listener: Arc::clone(&config.name),
                    address: config.address.to_string(),
                    error,
                }),
            }
        }
    }

    /// Binds one socket for each worker before any of them accepts, so that an address in use is
    /// found out as a whole.
    async fn open(&self, slot: &Slot, address: &Address, backlog: u32) -> io::Result<SocketAddr> {
        let wanted = address
            .socket_addr()
            .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "only TCP addresses can be listened on"))?;
        let first = socket::listen_tcp(wanted, true, backlog)?;
        let bound = first.local_addr()?;
        let mut sockets = vec![first];
        for _ in 1..self.workers.len() {
            sockets.push(socket::listen_tcp(bound, true, backlog)?);
        }
        for (worker, socket) in self.workers.iter().zip(sockets) {
            // A worker that is gone has panicked outside of any connection; the others serve.
            let _ = worker
                .commands
                .send(Command::Listen {
                    slot: slot.clone(),
                    socket,
                })
                .await;
        }
        Ok(bound)
    }

    async fn send_all(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            // As above.
            let _ = worker.commands.send(command()).await;
        }
    }

    /// Lets connections end when their requests have: GOAWAY, `connection: close`. With
    /// `stop_accepting` the listening sockets are closed first. `only` restricts it to listeners
    /// of one traffic direction, `pace` says how fast it goes.
    pub async fn drain(&mut self, only: Option<TrafficDirection>, stop_accepting: bool, pace: DrainPace) {
        if stop_accepting {
            let snapshot = self.snapshots.load_full();
            self.bound.retain(|_, bound| {
                let goes = snapshot
                    .listener(&bound.slot)
                    .map(|listener| listener.config.traffic_direction);
                only.is_some() && goes != only
            });
            self.draining |= only.is_none();
        }
        self.send_all(|| Command::Drain {
            only,
            stop_accepting,
            pace,
        })
        .await;
    }

    /// Connections from callers that are open.
    pub fn downstream_connections(&self) -> u64 {
        self.totals.downstream_connections.load(Ordering::Relaxed)
    }

    /// A handle for [`Server::downstream_connections`] that can be read from anywhere.
    pub fn connection_count(&self) -> ConnectionCount {
        ConnectionCount(Arc::clone(&self.totals))
    }

    /// Has the workers drain connections to endpoints that left their cluster or failed their health checks. Part of
    /// every [`Server::publish`]; needed by itself when only endpoints changed.
    pub async fn sweep(&self) {
        self.send_all(|| Command::Sweep).await;
    }

    /// The TLS contexts of the filter chains in force, for `/certs`.
    pub fn tls_contexts(&self) -> Vec<Arc<ServerContext>> {
        let snapshot = self.snapshots.load();
        let mut contexts = Vec::new();
        for chain in snapshot.listeners().flat_map(|listener| listener.all_chains()) {
            if let ChainTls::Context(context) = &chain.tls {
                contexts.push(Arc::clone(context));
            }
        }
        contexts
    }

    /// The listeners that accept connections.
    pub fn listeners(&self) -> Vec<ListenerStatus> {
        let mut listeners: Vec<_> = self
            .bound
            .iter()
            .map(|(name, bound)| ListenerStatus {
                name: Arc::clone(name),
                address: bound.address,
            })
            .collect();
        listeners.sort_by(|a, b| a.name.cmp(&b.name));
        listeners
    }

    /// Ends the workers; what is still in flight is cut off.
    pub async fn stop(mut self) {
        self.send_all(|| Command::Stop).await;
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                // A worker that panicked has said so in the log.
                let _ = tokio::task::spawn_blocking(move || thread.join()).await;
            }
        }
    }
}

/// How many callers are connected.
#[derive(Clone, Debug)]
pub struct ConnectionCount(Arc<Totals>);

impl ConnectionCount {
    /// Connections from callers that are open.
    pub fn current(&self) -> u64 {
        self.0.downstream_connections.load(Ordering::Relaxed)
    }
}
