//! Serving: the threads, what starts and stops in which order, and the loop of the control thread.
//!
//! ```text
//!   control thread   xDS client, health checks, DNS ──▶ Config ──▶ clusters ──▶ Snapshot for the workers
//!   workers          one runtime and one set of sockets each; know nothing but the Snapshot
//!   admin thread     reads views, sends commands to the control thread
//! ```

mod error;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use config::bootstrap::{Admin, Bootstrap};
use config::endpoint::Locality;
use config::listener::TrafficDirection;
use config::{Config, Extensions, Fingerprint, Parsed, Resource};
use proxy::LocalInfo;
use proxy::drain::DrainPace;
use proxy::server::Server;
use telemetry::access_log::Writer;
use telemetry::stats::Registry;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use upstream::balancer::Random;
use upstream::clusters::{ClusterMap, Clusters, Driver};
use upstream::dns::HickoryResolver;
use upstream::health::NetworkChecker;
use upstream::registry::{Place, StateRegistry};
use xds::{ConfigWatch, DecodedResource, ExtensionsDecoder, Readiness};
use xds_api::envoy::config::bootstrap::v3 as pb;
use xds_api::prost::Message as _;

use crate::admin::{AdminLog, AdminServer, AdminSettings, DrainRequest, ServerState};
use crate::admin_source::{self, ProxyView};
use crate::command_line::{DrainStrategy, Mode, Options};
use crate::dialer::Dialer;
use crate::lifecycle::{Command, Lifecycle};
use crate::process_stats::ProcessStats;
use crate::signals::{Caught, Signals};
use crate::unknown_fields::{FieldChecking, UnknownDynamicFields};
use crate::{connection_limits, load_reports, local_address, logging, stats_settings};

pub(crate) use error::ServeError;

/// How often a draining process looks whether its connections have ended.
const DRAIN_CHECK: Duration = Duration::from_millis(20);

/// How long the process waits for access logs to be written out at its end.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

/// Serves until a signal or the admin endpoint says to end. `unknown_fields` of the bootstrap were allowed and left out.
///
/// # Errors
/// Something that is needed cannot be had.
pub(crate) fn run(
    options: &Options,
    message: pb::Bootstrap,
    unknown_fields: usize,
    extensions: Extensions,
    parsed: Parsed<Bootstrap>,
) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut control = Control::start(options, message, unknown_fields, extensions, parsed)?;
        let served = control.serve(options.mode).await;
        control.xds.keep_last_good();
        control.stop().await;
        served
    })
}

/// The control thread.
struct Control {
    server: Server,
    logs: Arc<Writer>,
    driver: Driver,
    configs: ConfigWatch,
    /// What a coming configuration contains, to be warmed.
    warming: ConfigWatch,
    readiness: watch::Receiver<Readiness>,
    xds: xds::Handle,
    lifecycle: Arc<Lifecycle>,
    commands: mpsc::Receiver<Command>,
    signals: Signals,
    flush: Interval,
    view: Arc<ProxyView>,
    admin: Option<AdminServer>,
    stats: ProcessStats,
    drain_time: Duration,
    drain_strategy: DrainStrategy,
    static_listeners: HashSet<Arc<str>>,
    config: Arc<Config>,
    clusters: Arc<ClusterMap>,
    /// The generation of endpoints that the workers were last told about.
    swept: u64,
    /// Whether listeners are open.
    serving: bool,
    draining: Option<Draining>,
}

/// A drain under way.
struct Draining {
    request: DrainRequest,
    ends: Instant,
    /// The process ends with it, and as soon as no connection is left.
    exits: bool,
}

/// What the control thread woke up for.
enum Happened {
    Configured(Arc<Config>),
    Warming(Arc<Config>),
    ClusterWarm(Arc<str>, Fingerprint),
    Ready(Readiness),
    Asked(Command),
    Terminate,
    Flush,
    DrainCheck,
}

impl Control {
    fn start(
        options: &Options,
        message: pb::Bootstrap,
        unknown_fields: usize,
        extensions: Extensions,
        parsed: Parsed<Bootstrap>,
    ) -> Result<Self, ServeError> {
        let Parsed {
            value: bootstrap,
            without_effect,
        } = parsed;
        if let Some(format) = bootstrap
            .application_log_format
            .as_ref()
            .filter(|_| options.log_format.is_none())
        {
            logging::set_format(format);
        }
        let workers = options.workers();
        let registry = Registry::with_settings(workers, stats_settings::of(&bootstrap.stats, &options.stats_tags()));
        let stats = ProcessStats::new(&registry, workers, unknown_fields);
        let loader = tls::Loader::new();
        let clusters = Clusters::new(
            Arc::new(StateRegistry::at(place(&bootstrap), Arc::clone(&registry))),
            Arc::clone(&loader),
            Random::from_entropy(),
        );
        let driver = Driver::new(
            clusters,
            Arc::new(HickoryResolver::new(&bootstrap.dns_resolver)),
            Arc::new(NetworkChecker),
        );
        let node = admin_source::node(bootstrap.node.clone());
        let xds_options = xds::Options {
            node: node.clone(),
            static_resources: static_resources(&bootstrap),
            ads_config: bootstrap.dynamic_resources.ads_config.clone(),
            cds_config: bootstrap.dynamic_resources.cds_config.clone(),
            lds_config: bootstrap.dynamic_resources.lds_config.clone(),
            cache_directory: options.xds_cache.clone(),
            settings: xds::Settings {
                await_data_plane: true,
                data_errors: options.xds_data_errors,
                ..xds::Settings::default()
            },
        };
        let decoder = Arc::new(FieldChecking::new(
            ExtensionsDecoder::new(Arc::new(extensions)),
            UnknownDynamicFields::of(options),
            Arc::clone(stats.server()),
        ));
        let dialer = || Dialer::new(driver.view(), Arc::clone(&loader));
        if let Some(servers) = &bootstrap.cluster_manager.load_stats_config {
            load_reports::start(Arc::clone(servers), node.clone(), dialer(), driver.view(), &registry);
        }
        let client = xds::Client::new(xds_options, decoder, Arc::new(dialer()), &registry);
        let xds = client.handle();
        if let Some(folder) = &options.xds_cache {
            std::fs::create_dir_all(folder)?;
        }
        let logs = Writer::new(&registry, options.file_flush())?;
        let local_address = local_address::of_machine(options.local_address_ip_version);
        let local = LocalInfo::new(&node.cluster);
        let mut server = Server::start(workers, &registry, &loader, &logs, local_address, &local)?;
        let gradually = matches!(options.drain_strategy, DrainStrategy::Gradual);
        server.set_drain_time(options.drain_time(), gradually);
        server.set_connection_limits(connection_limits::from_bootstrap(&bootstrap));
        let (lifecycle, commands) = Lifecycle::new(local);
        let lifecycle = Arc::new(lifecycle);
        let mut configs = xds.configs();
        let config = configs.current();
        let view = Arc::new(ProxyView {
            lifecycle: Arc::clone(&lifecycle),
            options: options.shown(),
            node,
            bootstrap: message.encode_to_vec().into(),
            without_effect: without_effect.into(),
            started: SystemTime::now(),
            stats: Arc::clone(&registry),
            server_stats: Arc::clone(stats.server()),
            flush_on_admin: bootstrap.stats.flush_on_admin,
            clusters: driver.view(),
            static_clusters: bootstrap
                .clusters
                .iter()
                .map(|cluster| Arc::clone(&cluster.name))
                .collect(),
            connections: server.connection_count(),
            xds: xds.clone(),
            layers: bootstrap.layered_runtime,
            config: ArcSwap::new(Arc::clone(&config)),
            listeners: ArcSwap::default(),
            tls_contexts: ArcSwap::default(),
        });
        let admin = bootstrap
            .admin
            .map_or(Ok(None), |admin| start_admin(admin, options, &view, &logs))?;
        let mut flush = tokio::time::interval(bootstrap.stats.flush_interval);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let static_listeners = bootstrap
            .listeners
            .iter()
            .map(|listener| Arc::clone(&listener.name))
            .collect();
        let control = Self {
            server,
            logs,
            driver,
            configs,
            warming: xds.warming(),
            readiness: xds.readiness(),
            xds,
            lifecycle,
            commands,
            signals: Signals::new()?,
            flush,
            view,
            admin,
            stats,
            drain_time: options.drain_time(),
            drain_strategy: options.drain_strategy,
            static_listeners,
            config,
            clusters: Arc::default(),
            swept: 0,
            serving: false,
            draining: None,
        };
        tokio::spawn(client.run());
        tracing::info!("starting with {workers} workers, version {}", crate::version::text());
        Ok(control)
    }

    /// Serves until the end.
    async fn serve(&mut self, mode: Mode) -> Result<(), ServeError> {
        self.clusters = self.driver.reconcile(&self.config);
        // What waits from the beginning, clusters of the bootstrap, is no news that `next` would wake up for.
        self.driver.warm(&self.warming.current());
        self.lifecycle.set_state(ServerState::Initializing);
        let readiness = *self.readiness.borrow_and_update();
        self.begin_if_ready(readiness).await?;
        loop {
            if mode == Mode::InitOnly && self.serving {
                return Ok(());
            }
            match self.next().await {
                Happened::Configured(config) => self.apply(config).await?,
                Happened::Warming(candidates) => self.driver.warm(&candidates),
                Happened::ClusterWarm(name, fingerprint) => self.xds.cluster_warm(&name, fingerprint),
                Happened::Ready(readiness) => self.begin_if_ready(readiness).await?,
                Happened::Asked(Command::Quit) => {
                    tracing::info!("asked to quit");
                    return Ok(());
                }
                Happened::Asked(Command::Drain(request)) => self.begin_drain(request, !request.skip_exit).await,
                Happened::Asked(Command::ReopenLogs) => self.reopen_logs(),
                Happened::Terminate if self.draining.as_ref().is_some_and(|draining| draining.exits) => {
                    tracing::warn!("told to end again: requests in flight are cut off");
                    return Ok(());
                }
                Happened::Terminate => {
                    tracing::info!("draining for at most {} s", self.drain_time.as_secs());
                    self.lifecycle.set_state(ServerState::Draining);
                    self.server.drain(None, true, DrainPace::AtOnce).await;
                    self.draining = Some(Draining {
                        request: DrainRequest {
                            graceful: true,
                            ..DrainRequest::default()
                        },
                        ends: Instant::now() + self.drain_time,
                        exits: true,
                    });
                }
                Happened::Flush => {
                    self.view.refresh_stats();
                    if !self.view.flush_on_admin {
                        self.stats.flush();
                    }
                    self.sweep().await?;
                }
                Happened::DrainCheck => {
                    if self.end_drain().await {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn next(&mut self) -> Happened {
        let draining = self.draining.is_some();
        tokio::select! {
            Some(config) = self.configs.next() => Happened::Configured(config),
            Some(candidates) = self.warming.next() => Happened::Warming(candidates),
            event = self.driver.next() => match event {
                upstream::clusters::Event::Warm { name, fingerprint } => Happened::ClusterWarm(name, fingerprint),
            },
            Ok(()) = self.readiness.changed() => Happened::Ready(*self.readiness.borrow_and_update()),
            Some(command) = self.commands.recv() => Happened::Asked(command),
            caught = self.signals.next() => match caught {
                Caught::End => Happened::Terminate,
                Caught::ReopenLogs => Happened::Asked(Command::ReopenLogs),
            },
            _ = self.flush.tick() => Happened::Flush,
            () = tokio::time::sleep(DRAIN_CHECK), if draining => Happened::DrainCheck,
        }
    }

    /// Puts a configuration in force. Before the first answers of management servers only its clusters are: that is
    /// how those servers are reached.
    async fn apply(&mut self, config: Arc<Config>) -> Result<(), ServeError> {
        self.clusters = self.driver.reconcile(&config);
        self.config = config;
        self.view.config.store(Arc::clone(&self.config));
        if self.serving { self.publish().await } else { Ok(()) }
    }

    /// Opens the listeners once everything that is waited for has come or was given up on.
    async fn begin_if_ready(&mut self, readiness: Readiness) -> Result<(), ServeError> {
        if self.serving || !readiness.ready {
            return Ok(());
        }
        self.serving = true;
        // The configuration that made it ready may still be on its way to us.
        self.config = self.configs.current();
        self.clusters = self.driver.reconcile(&self.config);
        self.view.config.store(Arc::clone(&self.config));
        self.publish().await?;
        self.lifecycle.set_state(ServerState::Live);
        self.stats.begin(self.lifecycle.uptime());
        tracing::info!("all dependencies initialized, serving");
        Ok(())
    }

    async fn publish(&mut self) -> Result<(), ServeError> {
        let errors = self.server.publish(&self.config, &self.clusters).await;
        let listeners = self.server.listeners();
        self.stats.set_listeners(listeners.len());
        self.view.listeners.store(Arc::new(listeners));
        self.view.tls_contexts.store(Arc::new(self.server.tls_contexts()));
        // As in Envoy a listener of the bootstrap has to be there; one that came later may fail.
        let (fatal, later): (Vec<_>, Vec<_>) = errors
            .into_iter()
            .partition(|error| self.static_listeners.contains(&error.listener));
        for error in later {
            tracing::error!("{error}");
        }
        if fatal.is_empty() {
            Ok(())
        } else {
            Err(ServeError::Listeners(fatal))
        }
    }

    /// Has the workers close connections to endpoints that DNS or health checks took away since the last time.
    async fn sweep(&mut self) -> Result<(), ServeError> {
        let generation = self.driver.clusters().registry().generation();
        if !self.serving || generation == self.swept {
            return Ok(());
        }
        self.swept = generation;
        self.server.sweep().await;
        Ok(())
    }

    async fn begin_drain(&mut self, request: DrainRequest, exits: bool) {
        let only = request.inbound_only.then_some(TrafficDirection::Inbound);
        tracing::info!(
            "draining {} listeners",
            if request.inbound_only { "inbound" } else { "all" }
        );
        let pace = match self.drain_strategy {
            DrainStrategy::Gradual if request.graceful => DrainPace::Over(self.drain_time),
            DrainStrategy::Gradual | DrainStrategy::Immediate => DrainPace::AtOnce,
        };
        self.server.drain(only, !request.graceful, pace).await;
        if request.graceful && self.draining.is_none() {
            self.draining = Some(Draining {
                request,
                ends: Instant::now() + self.drain_time,
                exits,
            });
        }
    }

    /// Ends a drain whose time is over, or, when the process ends with it, whose connections are gone. Returns whether
    /// the process ends.
    async fn end_drain(&mut self) -> bool {
        let Some(draining) = &self.draining else { return false };
        let stopping = self.lifecycle.state() == ServerState::Draining;
        let over = Instant::now() >= draining.ends;
        let idle = stopping && draining.exits && self.server.downstream_connections() == 0;
        if !over && !idle {
            return false;
        }
        let Some(draining) = self.draining.take() else {
            return false;
        };
        if over && stopping {
            tracing::warn!(
                "the drain time is over: {} connections are cut off",
                self.server.downstream_connections()
            );
        } else if !stopping {
            let only = draining.request.inbound_only.then_some(TrafficDirection::Inbound);
            self.server.drain(only, true, DrainPace::AtOnce).await;
        }
        draining.exits
    }

    fn reopen_logs(&self) {
        self.logs.reopen();
        if let Err(error) = logging::reopen() {
            tracing::error!(%error, "cannot open the log file anew");
        }
    }

    async fn stop(self) {
        self.server.stop().await;
        if !self.logs.flush(LOG_PATIENCE) {
            tracing::warn!("access logs could not be written out in time");
        }
        if let Some(admin) = self.admin {
            admin.close();
        }
        tracing::info!("exiting");
    }
}

/// The resources of the bootstrap as the xDS client takes them.
fn static_resources(bootstrap: &Bootstrap) -> Vec<DecodedResource> {
    let clusters = bootstrap.clusters.iter().cloned().map(Resource::Cluster);
    let secrets = bootstrap.secrets.iter().cloned().map(Resource::Secret);
    let listeners = bootstrap.listeners.iter().cloned().map(Resource::Listener);
    clusters
        .chain(secrets)
        .chain(listeners)
        .map(|resource| DecodedResource::new(resource, Vec::new()))
        .collect()
}

fn start_admin(
    admin: Admin,
    options: &Options,
    view: &Arc<ProxyView>,
    logs: &Writer,
) -> Result<Option<AdminServer>, ServeError> {
    let Some(address) = admin.address else { return Ok(None) };
    let shown = address.to_string();
    let settings = AdminSettings {
        address,
        allow_paths: admin.allow_paths,
        address_path: options.admin_address_path.clone(),
        log: Arc::new(AdminLog::open(&admin.access_log, logs)),
    };
    let view: Arc<ProxyView> = Arc::clone(view);
    let server = AdminServer::start(settings, view).map_err(|error| ServeError::Admin(shown, error))?;
    tracing::info!("admin address: {}", server.address());
    Ok(Some(server))
}

/// What the bootstrap says for all clusters.
fn place(bootstrap: &Bootstrap) -> Place {
    let locality = bootstrap.node.locality.clone().unwrap_or_default();
    Place {
        locality: Locality {
            region: locality.region.into(),
            zone: locality.zone.into(),
            sub_zone: locality.sub_zone.into(),
        },
        local_cluster: bootstrap.cluster_manager.local_cluster_name.clone(),
        bind_config: bootstrap.cluster_manager.upstream_bind_config.clone(),
    }
}
