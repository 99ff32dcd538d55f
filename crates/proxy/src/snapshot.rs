//! The configuration compiled for execution: immutable, published whole, read once a request.

use std::collections::HashMap;
use std::sync::Arc;

use config::Config;
use config::listener::{FilterChain, Listener};
use config::route::RouteConfiguration;
use telemetry::stats::{self, Registry, Scope};
use tls::{ContextError, DownstreamTlsContext, Loader};
use upstream::cluster::ClusterHandle;

use crate::access_log::LogSinks;
use crate::listener::{Chain, ChainTls, CompiledListener};
use crate::manager::Manager;
use crate::route_table::RouteTable;
use crate::slots::{Slot, Slots};

/// Everything a worker needs to serve, consistent in itself.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    listeners: Vec<Option<Arc<CompiledListener>>>,
    tables: Vec<Option<Arc<RouteTable>>>,
    clusters: Vec<Option<Arc<ClusterHandle>>>,
    /// For the rare request whose header names its cluster.
    clusters_by_name: Clusters,
}

impl Snapshot {
    pub(crate) fn listener(&self, slot: &Slot) -> Option<&Arc<CompiledListener>> {
        self.listeners.get(slot.index())?.as_ref()
    }

    pub(crate) fn listeners(&self) -> impl Iterator<Item = &Arc<CompiledListener>> {
        self.listeners.iter().flatten()
    }

    pub(crate) fn route_table(&self, slot: &Slot) -> Option<&RouteTable> {
        self.tables.get(slot.index())?.as_deref()
    }

    pub(crate) fn cluster(&self, slot: &Slot) -> Option<&Arc<ClusterHandle>> {
        self.clusters.get(slot.index())?.as_ref()
    }

    pub(crate) fn cluster_by_name(&self, name: &[u8]) -> Option<&Arc<ClusterHandle>> {
        self.clusters_by_name.get(std::str::from_utf8(name).ok()?)
    }
}

/// The clusters of a configuration, bound to their run-time state.
pub type Clusters = Arc<HashMap<Arc<str>, Arc<ClusterHandle>>>;

/// Compiles configurations, each from what changed since the one before.
#[derive(Debug)]
pub(crate) struct Compiler {
    stats: Arc<Registry>,
    tls: Arc<Loader>,
    log_sinks: LogSinks,
    cluster_slots: Slots,
    table_slots: Slots,
    listener_slots: Slots,
    listeners: HashMap<Arc<str>, Arc<CompiledListener>>,
    tables: HashMap<Arc<str>, (Slot, Arc<RouteTable>)>,
    clusters: HashMap<Arc<str>, Slot>,
}

impl Compiler {
    pub(crate) fn new(stats: Arc<Registry>, tls: Arc<Loader>, log_sinks: LogSinks) -> Self {
        Compiler {
            stats,
            tls,
            log_sinks,
            cluster_slots: Slots::default(),
            table_slots: Slots::default(),
            listener_slots: Slots::default(),
            listeners: HashMap::new(),
            tables: HashMap::new(),
            clusters: HashMap::new(),
        }
    }

    /// Compiles `config`; parts that did not change are those of the previous call.
    pub(crate) fn compile(&mut self, config: &Config, clusters: &Clusters) -> Snapshot {
        self.clusters.retain(|name, _| clusters.contains_key(name));
        for name in clusters.keys() {
            if !self.clusters.contains_key(name) {
                self.clusters.insert(Arc::clone(name), self.cluster_slots.slot(name));
            }
        }
        self.tables.retain(|name, _| config.routes.get(name).is_some());
        for (name, table) in config.routes.iter() {
            self.compile_table(name, table);
        }
        self.listeners.retain(|name, _| config.listeners.get(name).is_some());
        for (name, listener) in config.listeners.iter() {
            self.compile_listener(name, listener, config);
        }
        let mut snapshot = Snapshot {
            clusters_by_name: Arc::clone(clusters),
            ..Snapshot::default()
        };
        for (name, slot) in &self.clusters {
            place(&mut snapshot.clusters, slot, clusters.get(name));
        }
        for (slot, table) in self.tables.values() {
            place(&mut snapshot.tables, slot, Some(table));
        }
        for listener in self.listeners.values() {
            place(&mut snapshot.listeners, &listener.slot, Some(listener));
        }
        snapshot
    }

    fn compile_table(&mut self, name: &Arc<str>, table: &Arc<RouteConfiguration>) {
        if let Some((_, compiled)) = self.tables.get(name)
            && Arc::ptr_eq(&compiled.config, table)
        {
            return;
        }
        let slot = self.table_slots.slot(name);
        let compiled = Arc::new(RouteTable::compile(table, &self.cluster_slots));
        self.tables.insert(Arc::clone(name), (slot, compiled));
    }

    fn compile_listener(&mut self, name: &Arc<str>, listener: &Arc<Listener>, config: &Config) {
        let previous = self.listeners.get(name).cloned();
        if let Some(previous) = &previous
            && Arc::ptr_eq(&previous.config, listener)
            && previous.all_chains().all(|chain| !secrets_changed(chain, config))
        {
            return;
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
                    let manager = Arc::clone(&compiled.manager);
                    Some(Arc::new(self.chain(chain, manager, &stats, &ssl, config)))
                }
                None => {
                    // `config` accepts only chains that end in a filter this crate executes.
                    let settings = chain.http_connection_manager()?;
                    let logs = self.log_sinks.open(&settings.access_log);
                    let manager = Manager::compile(
                        settings,
                        &self.stats,
                        &self.cluster_slots,
                        &self.table_slots,
                        logs,
                        tls_settings(chain).is_some(),
                    );
                    Some(Arc::new(self.chain(chain, Arc::new(manager), &stats, &ssl, config)))
                }
            }
        };
        let compiled = CompiledListener {
            config: Arc::clone(listener),
            slot: self.listener_slots.slot(name),
            stats: Arc::clone(&stats),
            chains: listener.filter_chains.iter().filter_map(&compile).collect(),
            default: listener.default_filter_chain.as_ref().and_then(&compile),
        };
        self.listeners.insert(Arc::clone(name), Arc::new(compiled));
    }

    fn chain(
        &self,
        chain: &Arc<FilterChain>,
        manager: Arc<Manager>,
        stats: &Arc<stats::Block>,
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
        Chain {
            config: Arc::clone(chain),
            manager,
            ssl_stats: settings.is_some().then(|| Arc::clone(ssl)),
            secrets: used_secrets(chain, config),
            tls,
            listener_stats: Arc::clone(stats),
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

fn place<T>(vector: &mut Vec<Option<Arc<T>>>, slot: &Slot, value: Option<&Arc<T>>) {
    if vector.len() <= slot.index() {
        vector.resize_with(slot.index() + 1, || None);
    }
    vector[slot.index()] = value.cloned();
}
