//! The configuration compiled for execution: immutable, published whole, read once a request.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use config::listener::{FilterChain, Listener};
use config::{Config, ResourceMap};
use telemetry::stats::{self, Registry, Scope};
use tls::{ContextError, DownstreamTlsContext, Loader};
use upstream::cluster::ClusterHandle;

use crate::access_log::LogSinks;
use crate::chain::{Chain, ChainTls, Limiter, Terminal};
use crate::filters::router::Router;
use crate::listener::{CompiledListener, OpenConnections};
use crate::listener_filters;
use crate::local_info::LocalInfo;
use crate::manager::{Logs, Manager, ProcessFacts};
use crate::process_codec_stats::ProcessCodecStats;
use crate::route_table::RouteTable;
use crate::server::ConnectionLimits;
use crate::slots::{Slot, SlotMap, Slots};
use crate::tcp::TcpProxy;

/// Everything a worker needs to serve, consistent in itself. A copy shares all parts with the original, so that the
/// next one costs what changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    listeners: SlotMap<CompiledListener>,
    /// The listeners of each address, bound or not: where connections go that were redirected.
    by_address: Arc<HashMap<SocketAddr, Slot>>,
    tables: SlotMap<RouteTable>,
    clusters: SlotMap<ClusterHandle>,
    /// For the rare request whose header names its cluster.
    clusters_by_name: Clusters,
}

impl Snapshot {
    pub(crate) fn listener(&self, slot: &Slot) -> Option<&Arc<CompiledListener>> {
        self.listeners.get(slot)
    }

    pub(crate) fn listeners(&self) -> impl Iterator<Item = &Arc<CompiledListener>> {
        self.listeners.iter()
    }

    /// The listener for connections to an address: of that address, else of its port and every address.
    pub(crate) fn listener_for(&self, destination: SocketAddr) -> Option<&Arc<CompiledListener>> {
        let any: IpAddr = match destination.ip() {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let slot = self.by_address.get(&destination);
        let slot = slot.or_else(|| self.by_address.get(&SocketAddr::new(any, destination.port())))?;
        self.listener(slot)
    }

    pub(crate) fn route_table(&self, slot: &Slot) -> Option<&RouteTable> {
        self.tables.get(slot).map(|table| &**table)
    }

    pub(crate) fn cluster(&self, slot: &Slot) -> Option<&Arc<ClusterHandle>> {
        self.clusters.get(slot)
    }

    pub(crate) fn cluster_by_name(&self, name: &[u8]) -> Option<&Arc<ClusterHandle>> {
        self.clusters_by_name.get(std::str::from_utf8(name).ok()?)
    }
}

/// The clusters of a configuration, bound to their run-time state.
pub type Clusters = Arc<ResourceMap<ClusterHandle>>;

/// Compiles configurations, each from what changed since the one before.
#[derive(Debug)]
pub(crate) struct Compiler {
    stats: Arc<Registry>,
    tls: Arc<Loader>,
    log_sinks: LogSinks,
    process: ProcessFacts,
    limits: ConnectionLimits,
    cluster_slots: Slots,
    table_slots: Slots,
    listener_slots: Slots,
    listeners: HashMap<Arc<str>, Arc<CompiledListener>>,
    /// Slots are held for as long as their name is configured, so that its number stays.
    tables: HashMap<Arc<str>, Slot>,
    clusters: HashMap<Arc<str>, Slot>,
    /// What the last snapshot was made of.
    config: Config,
    snapshot: Arc<Snapshot>,
}

impl Compiler {
    pub(crate) fn new(
        stats: Arc<Registry>,
        tls: Arc<Loader>,
        log_sinks: LogSinks,
        local_address: IpAddr,
        local: Arc<LocalInfo>,
    ) -> Self {
        Compiler {
            process: ProcessFacts {
                local_address,
                local,
                codec_stats: Arc::new(ProcessCodecStats::new(&stats)),
            },
            stats,
            tls,
            log_sinks,
            limits: ConnectionLimits::default(),
            cluster_slots: Slots::default(),
            table_slots: Slots::default(),
            listener_slots: Slots::default(),
            listeners: HashMap::new(),
            tables: HashMap::new(),
            clusters: HashMap::new(),
            config: Config::default(),
            snapshot: Arc::default(),
        }
    }

    pub(crate) fn set_connection_limits(&mut self, limits: ConnectionLimits) {
        self.limits = limits;
    }

    /// Compiles `config`, at the cost of what differs from the last call: everything else is shared with the last
    /// snapshot, and where nothing differs it is that snapshot.
    pub(crate) fn compile(&mut self, config: &Config, clusters: &Clusters) -> Arc<Snapshot> {
        let mut snapshot = Snapshot::clone(&self.snapshot);
        let mut changed = false;
        for change in clusters.changes_since(&self.snapshot.clusters_by_name) {
            changed = true;
            let slot = match self.clusters.get(change.name) {
                Some(slot) => slot.clone(),
                None => self.cluster_slots.slot(change.name),
            };
            snapshot.clusters.set(&slot, change.new.cloned());
            keep(&mut self.clusters, change.name, slot, change.new.is_some());
        }
        snapshot.clusters_by_name = Arc::clone(clusters);
        let before = std::mem::replace(&mut self.config, config.clone());
        for change in config.routes.changes_since(&before.routes) {
            changed = true;
            let slot = self.table_slots.slot(change.name);
            let compiled = change
                .new
                .map(|table| Arc::new(RouteTable::compile(table, &self.cluster_slots, &self.stats)));
            snapshot.tables.set(&slot, compiled);
            keep(&mut self.tables, change.name, slot, change.new.is_some());
        }
        let listeners_changed = !config.listeners.ptr_eq(&before.listeners);
        for change in config.listeners.changes_since(&before.listeners) {
            if change.new.is_none()
                && let Some(listener) = self.listeners.remove(change.name)
            {
                changed = true;
                snapshot.listeners.set(&listener.slot, None);
            }
        }
        if !config.listeners.ptr_eq(&before.listeners) || !config.secrets.ptr_eq(&before.secrets) {
            for (name, listener) in config.listeners.iter() {
                if self.compile_listener(name, listener, config)
                    && let Some(compiled) = self.listeners.get(name)
                {
                    changed = true;
                    snapshot.listeners.set(&compiled.slot, Some(Arc::clone(compiled)));
                }
            }
        }
        if listeners_changed {
            snapshot.by_address = self.by_address();
        }
        if changed {
            self.snapshot = Arc::new(snapshot);
        }
        Arc::clone(&self.snapshot)
    }

    /// Compiles a listener unless it is as before; whether it did.
    fn compile_listener(&mut self, name: &Arc<str>, listener: &Arc<Listener>, config: &Config) -> bool {
        let previous = self.listeners.get(name).cloned();
        if let Some(previous) = &previous
            && Arc::ptr_eq(&previous.config, listener)
            && previous.all_chains().all(|chain| !secrets_changed(chain, config))
        {
            return false;
        }
        let stat_name = match &listener.stat_prefix {
            Some(prefix) => prefix.to_string(),
            None => listener.address.to_string(),
        };
        let stats = self.stats.block(Scope::Listener(&stat_name), &stats::listener::TABLE);
        let ssl = self.stats.block(Scope::Listener(&stat_name), &stats::ssl::TABLE);
        let compile = |chain: &Arc<FilterChain>| {
            let same = previous
                .as_ref()
                .and_then(|listener| listener.chain_with(chain.fingerprint));
            match same {
                Some(compiled) if !secrets_changed(compiled, config) => Some(Arc::clone(compiled)),
                // The connection manager, and so its statistics and logs, stay when only a secret changed.
                Some(compiled) => {
                    let terminal = compiled.terminal.clone();
                    let limits = compiled.limits.clone();
                    Some(Arc::new(self.chain(chain, terminal, limits, &stat_name, &ssl, config)))
                }
                None => {
                    let terminal = self.terminal(chain)?;
                    let limits = chain.connection_limits();
                    let limits = limits.map(|limit| Limiter::new(limit, &self.stats)).collect();
                    Some(Arc::new(self.chain(chain, terminal, limits, &stat_name, &ssl, config)))
                }
            }
        };
        let open = previous.as_ref().map(|previous| Arc::clone(&previous.open));
        let compiled = CompiledListener {
            config: Arc::clone(listener),
            slot: self.listener_slots.slot(name),
            stats: Arc::clone(&stats),
            worker_stats: (0..self.stats.workers())
                .map(|worker| {
                    let scope = Scope::ListenerWorker(&stat_name, worker);
                    self.stats.block(scope, &stats::listener_worker::TABLE)
                })
                .collect(),
            filters: listener_filters::compile(&listener.listener_filters, listener.use_original_dst, &self.stats),
            access_logs: self.log_sinks.open(&listener.access_log),
            open: open.unwrap_or_else(|| OpenConnections::new(self.stats.workers())),
            limit: self.limits.listeners.get(name).copied(),
            global_limit: self.limits.of_all(listener),
            chains: listener.filter_chains.iter().filter_map(&compile).collect(),
            default: listener.default_filter_chain.as_ref().and_then(&compile),
        };
        self.listeners.insert(Arc::clone(name), Arc::new(compiled));
        true
    }

    fn by_address(&self) -> Arc<HashMap<SocketAddr, Slot>> {
        let mut by_address = HashMap::new();
        for listener in self.listeners.values() {
            let config = &listener.config;
            for address in std::iter::once(&config.address).chain(&config.additional_addresses) {
                if let Some(address) = address.socket_addr() {
                    by_address.insert(address, listener.slot.clone());
                }
            }
        }
        Arc::new(by_address)
    }

    /// The filter that a chain ends in. `config` accepts only chains that end in one this crate executes.
    fn terminal(&self, chain: &FilterChain) -> Option<Terminal> {
        if let Some(settings) = chain.tcp_proxy() {
            let logs = self.log_sinks.open(&settings.access_log);
            let proxy = TcpProxy::compile(settings, &self.stats, &self.cluster_slots, logs);
            return Some(Terminal::Tcp(Arc::new(proxy)));
        }
        let settings = chain.http_connection_manager()?;
        let mut filters = settings.http_filters.iter();
        let router = filters.find_map(|filter| filter.config.as_ref()?.get::<Router>());
        let logs = Logs {
            requests: self.log_sinks.open(&settings.access_log),
            attempts: self.log_sinks.open(router.map_or(&[], |router| &router.upstream_log)),
        };
        let manager = Manager::compile(
            settings,
            &self.stats,
            &self.cluster_slots,
            &self.table_slots,
            logs,
            tls_settings(chain).is_some(),
            &self.process,
        );
        Some(Terminal::Http(Arc::new(manager)))
    }

    fn chain(
        &self,
        chain: &Arc<FilterChain>,
        terminal: Terminal,
        limits: Box<[Arc<Limiter>]>,
        stat_name: &str,
        ssl: &Arc<stats::Block>,
        config: &Config,
    ) -> Chain {
        let settings = tls_settings(chain);
        let tls = match settings {
            None => ChainTls::None,
            Some(settings) => match self.tls.server(settings, &|name| config.secrets.get(name).cloned()) {
                Ok(context) => ChainTls::Context(context),
                Err(ContextError::NotReady(_)) => ChainTls::NotReady,
                Err(error) => {
                    tracing::error!(target: "config", chain = %chain.name, %error, "a filter chain's TLS cannot be set up");
                    ChainTls::NotReady
                }
            },
        };
        let listener_http_stats = match &terminal {
            Terminal::Http(manager) => {
                let scope = Scope::ListenerHttp(stat_name, &manager.config.stat_prefix);
                Some(self.stats.block(scope, &stats::listener_http::TABLE))
            }
            Terminal::Tcp(_) => None,
        };
        Chain {
            config: Arc::clone(chain),
            listener_http_stats,
            terminal,
            limits,
            ssl_stats: settings.is_some().then(|| Arc::clone(ssl)),
            secrets: used_secrets(chain, config),
            tls,
        }
    }
}

fn tls_settings(chain: &FilterChain) -> Option<&DownstreamTlsContext> {
    chain.transport_socket.as_ref()?.config.get::<DownstreamTlsContext>()
}

/// The secrets a chain names, as they are in `config`.
fn used_secrets(chain: &FilterChain, config: &Config) -> Vec<(Arc<str>, Option<config::Fingerprint>)> {
    let mut references = config::References::default();
    if let Some(socket) = &chain.transport_socket {
        socket.config.references(&mut references);
    }
    references
        .names(config::ResourceType::Secret)
        .map(|name| {
            (
                Arc::clone(name),
                config.secrets.get(name).map(|secret| secret.fingerprint),
            )
        })
        .collect()
}

fn secrets_changed(chain: &Chain, config: &Config) -> bool {
    chain
        .secrets
        .iter()
        .any(|(name, fingerprint)| config.secrets.get(name).map(|secret| secret.fingerprint) != *fingerprint)
}

/// Holds the slot of a name while the name is configured.
fn keep(slots: &mut HashMap<Arc<str>, Slot>, name: &Arc<str>, slot: Slot, configured: bool) {
    if configured {
        slots.insert(Arc::clone(name), slot);
    } else {
        slots.remove(name);
    }
}
