//! The data path as the binary sees it: worker threads, publishing of configurations, drain.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use config::Config;
use config::listener::{Listener, TrafficDirection};
use telemetry::access_log::Writer;
use telemetry::stats::Registry;
use tls::{Loader, ServerContext};
use tokio::sync::mpsc;
use upstream::endpoint::EndpointAddress;

use crate::access_log::LogSinks;
use crate::chain::ChainTls;
use crate::drain::DrainPace;
use crate::listening::{ListeningSocket, SocketSettings};
use crate::local_info::LocalInfo;
use crate::slots::Slot;
use crate::snapshot::{Clusters, Compiler, Snapshot};
use crate::worker_thread;

/// Commands a worker has not taken yet; the control thread waits rather than queueing more.
const COMMANDS: usize = 64;
/// How often, and how far apart, an address is tried that is in use after a listener was closed.
const REOPEN_TRIES: u32 = 50;
const REOPEN_PAUSE: Duration = Duration::from_millis(10);
/// Envoy's default for `--drain-time-s`.
const DEFAULT_DRAIN_TIME: Duration = Duration::from_secs(600);

/// What a worker is told to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Accept on these sockets for the listener, and on no others.
    Listen { slot: Slot, sockets: Vec<ListeningSocket> },
    /// Serve a connection that another worker accepted.
    Accepted { slot: Slot, socket: std::net::TcpStream },
    /// Stop accepting for the listener.
    Unlisten { slot: Slot },
    /// Something was published: connections whose chain or endpoint is gone are drained, the former for at most
    /// this long; the probability that an answer asks its connection to end rises over `over`.
    Sweep { drain_time: Duration, over: Duration },
    /// Drain the connections of the listeners that go this way, or of all.
    Drain {
        only: Option<TrafficDirection>,
        stop_accepting: bool,
        pace: DrainPace,
    },
    /// Close everything and end the thread.
    Stop,
}

/// The other workers, by index.
pub(crate) type Peers = Arc<[mpsc::WeakSender<Command>]>;

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
    /// The addresses it is bound to, at least one: with the port the system chose where the configuration says 0.
    pub addresses: Vec<EndpointAddress>,
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
    /// How long connections of a filter chain that is gone may last.
    drain_time: Duration,
    /// They are asked to end at a probability that rises over that time, not with their next answer.
    drains_gradually: bool,
}

#[derive(Debug)]
struct WorkerHandle {
    commands: mpsc::Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Bound {
    slot: Slot,
    /// What it was bound for.
    config: Arc<Listener>,
    settings: SocketSettings,
    addresses: Vec<EndpointAddress>,
}

/// Bounds on connections from callers that are not in a listener's own configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Of all listeners together, where the overload manager does not say it (runtime key
    /// `overload.global_downstream_max_connections`).
    pub global: Option<u64>,
    /// Of all listeners together (the overload manager's monitor of downstream connections).
    pub overload_manager: Option<u64>,
    /// By listener name (runtime keys `envoy.resource_limits.listener.<name>.connection_limit`).
    pub listeners: HashMap<Arc<str>, u64>,
}

impl ConnectionLimits {
    /// How many connections of all listeners together may be open for this one to take another. As in Envoy, a listener
    /// that bypasses the overload manager falls back to the runtime's word.
    pub(crate) fn of_all(&self, listener: &Listener) -> Option<u64> {
        if listener.ignore_global_conn_limit {
            return None;
        }
        self.overload_manager
            .filter(|_| !listener.bypass_overload_manager)
            .or(self.global)
    }
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
        local: &Arc<LocalInfo>,
    ) -> io::Result<Server> {
        let snapshots = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        let totals = Arc::new(Totals::default());
        let (commands, inboxes): (Vec<_>, Vec<_>) = (0..concurrency.max(1)).map(|_| mpsc::channel(COMMANDS)).unzip();
        // Weak: a worker ends when its server is gone, whatever other workers hold.
        let peers: Peers = commands.iter().map(mpsc::Sender::downgrade).collect();
        let mut workers = Vec::with_capacity(commands.len());
        for (index, (commands, inbox)) in commands.into_iter().zip(inboxes).enumerate() {
            let peers = Arc::clone(&peers);
            let snapshots = Arc::clone(&snapshots);
            let totals = Arc::clone(&totals);
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || worker_thread::run(index, peers, snapshots, totals, inbox))?;
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
            Arc::clone(local),
        );
        Ok(Server {
            compiler,
            snapshots,
            workers,
            totals,
            bound: HashMap::new(),
            draining: false,
            drain_time: DEFAULT_DRAIN_TIME,
            drains_gradually: true,
        })
    }

    /// Sets how long connections last whose filter chain or listener is gone (`--drain-time-s`; 600 s otherwise), and
    /// whether they are asked to end at a probability that rises over that time or with their next answer
    /// (`--drain-strategy`; gradually otherwise).
    pub fn set_drain_time(&mut self, drain_time: Duration, gradually: bool) {
        self.drain_time = drain_time;
        self.drains_gradually = gradually;
    }

    /// The [`Command::Sweep`] of this server.
    fn sweeping(&self) -> impl Fn() -> Command + use<> {
        let drain_time = self.drain_time;
        let over = if self.drains_gradually {
            drain_time
        } else {
            Duration::ZERO
        };
        move || Command::Sweep { drain_time, over }
    }

    /// Sets the bounds on connections; for listeners that are published later.
    pub fn set_connection_limits(&mut self, limits: ConnectionLimits) {
        self.compiler.set_connection_limits(limits);
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
        let closed = self.close_listeners(&snapshot).await;
        if !self.draining {
            self.open_listeners(&snapshot, closed, &mut errors).await;
        }
        self.send_all(self.sweeping()).await;
        errors
    }

    /// Whether any was closed.
    async fn close_listeners(&mut self, snapshot: &Snapshot) -> bool {
        let gone: Vec<Arc<str>> = self
            .bound
            .iter()
            .filter(|(_, bound)| {
                snapshot.listener(&bound.slot).is_none_or(|listener| {
                    // Mostly it is the very same.
                    !Arc::ptr_eq(&listener.config, &bound.config)
                        && SocketSettings::of(&listener.config).as_ref() != Some(&bound.settings)
                })
            })
            .map(|(name, _)| Arc::clone(name))
            .collect();
        let closes = !gone.is_empty();
        for name in gone {
            if let Some(bound) = self.bound.remove(&name) {
                self.send_all(|| Command::Unlisten {
                    slot: bound.slot.clone(),
                })
                .await;
            }
        }
        closes
    }

    async fn open_listeners(&mut self, snapshot: &Snapshot, closed: bool, errors: &mut Vec<ListenError>) {
        for listener in snapshot.listeners() {
            let config = &listener.config;
            if self.bound.contains_key(&config.name) {
                continue;
            }
            let Some(settings) = SocketSettings::of(config) else {
                continue;
            };
            let mut opened = self.open(&listener.slot, &settings).await;
            // The workers close what they were told to a moment later.
            let mut tries = if closed { REOPEN_TRIES } else { 0 };
            while tries > 0
                && opened
                    .as_ref()
                    .is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
            {
                tries -= 1;
                tokio::time::sleep(REOPEN_PAUSE).await;
                opened = self.open(&listener.slot, &settings).await;
            }
            match opened {
                Ok(addresses) => {
                    let bound = Bound {
                        slot: listener.slot.clone(),
                        config: Arc::clone(config),
                        settings,
                        addresses,
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

    async fn open(&self, slot: &Slot, settings: &SocketSettings) -> io::Result<Vec<EndpointAddress>> {
        let (sockets, addresses) = settings.open(self.workers.len())?;
        for (worker, sockets) in self.workers.iter().zip(sockets) {
            // A worker that is gone has panicked outside of any connection; the others serve.
            let _ = worker
                .commands
                .send(Command::Listen {
                    slot: slot.clone(),
                    sockets,
                })
                .await;
        }
        Ok(addresses)
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
        self.send_all(self.sweeping()).await;
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
                addresses: bound.addresses.clone(),
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
