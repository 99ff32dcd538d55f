//! The engine behind real streams: one task per stream, one for the clock, nothing that waits while it holds the engine.

mod fallback;
mod file;
mod keeper;
mod stream;
#[cfg(test)]
mod tests;
mod transport;

pub(crate) use transport::{Incoming, Transport as GrpcTransport};

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use config::{Config, Fingerprint};
use telemetry::stats::Registry;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use xds_api::envoy::config::core::v3::Node;

use crate::client::{Connector, Options, Settings};
use crate::decode::Decoder;
use crate::engine::{Engine, EngineOptions, Transport};
use crate::source::SourceId;
use crate::status::{Readiness, Status};

/// What client, handles and stream tasks share.
pub(crate) struct Shared {
    /// Locked for one call at a time, never across an await.
    engine: Mutex<Engine>,
    connector: Arc<dyn Connector>,
    settings: Settings,
    pub(crate) node: Node,
    cache_directory: Option<PathBuf>,
    /// Wakes the keeper of the last-good cache: something may have changed.
    accepted: Notify,
    /// The engine's count of changes when the cache was last read or written; held while it is written.
    written: Mutex<u64>,
    pub(crate) configs: watch::Sender<Arc<Config>>,
    pub(crate) readiness: watch::Sender<Readiness>,
    pub(crate) warming: watch::Sender<Arc<Config>>,
    /// Wakes the clock task: a deadline may have come nearer, or a stream is to be opened.
    clock: Notify,
    /// Wakes a stream's task: it may have something to say.
    streams: Mutex<HashMap<SourceId, Arc<Wake>>>,
}

/// Wakes the two halves of a stream's task.
#[derive(Debug, Default)]
struct Wake {
    /// The one that exchanges messages with the server in use.
    serving: Notify,
    /// The one that tries preferred servers.
    probe: Notify,
}

impl Shared {
    pub(crate) fn new(
        options: Options,
        decoder: Arc<dyn Decoder>,
        connector: Arc<dyn Connector>,
        statistics: &Arc<Registry>,
    ) -> Arc<Self> {
        let settings = options.settings;
        let (node, cache_directory) = (options.node.clone(), options.cache_directory);
        let options = EngineOptions {
            node: options.node,
            static_resources: options.static_resources,
            ads_config: options.ads_config,
            cds_config: options.cds_config,
            lds_config: options.lds_config,
            cluster_wait: settings.cluster_wait,
            await_data_plane: settings.await_data_plane,
            does_not_exist_timeout: Some(settings.does_not_exist_timeout),
            data_errors: settings.data_errors,
        };
        let mut engine = Engine::new(options, decoder, statistics, now(), SystemTime::now());
        if let Some(directory) = &cache_directory {
            keeper::restore(&mut engine, directory, &node, now());
        }
        let shared = Self {
            configs: watch::Sender::new(engine.take_config().unwrap_or_default()),
            readiness: watch::Sender::new(engine.readiness()),
            warming: watch::Sender::new(engine.take_warming().unwrap_or_default()),
            written: Mutex::new(engine.changes()),
            engine: Mutex::new(engine),
            connector,
            settings,
            node,
            cache_directory,
            accepted: Notify::new(),
            clock: Notify::new(),
            streams: Mutex::default(),
        };
        Arc::new(shared)
    }

    pub(crate) fn cluster_warm(&self, name: &str, fingerprint: Fingerprint) {
        self.with(|engine, now| engine.cluster_warm(name, fingerprint, now));
    }

    pub(crate) fn status(&self) -> Status {
        self.lock().status(now())
    }

    /// Writes the last-good cache now, where there is one to be kept and something changed.
    pub(crate) fn keep_last_good(&self) {
        if let Some(directory) = &self.cache_directory
            && let Err(failure) = keeper::write(self, directory)
        {
            tracing::warn!("last-good cache cannot be written: {failure}");
        }
    }

    /// The clock: opens streams as they are wanted and does what is due.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut tasks = JoinSet::new();
        if let Some(directory) = self.cache_directory.clone() {
            tasks.spawn(keeper::keep(Arc::clone(&self), directory));
        }
        loop {
            let (new, deadline) = {
                let mut engine = self.lock();
                (engine.take_new_streams(), engine.deadline())
            };
            for specification in new {
                let wake = Arc::new(Wake::default());
                self.wakers().insert(specification.source, Arc::clone(&wake));
                let (shared, source) = (Arc::clone(&self), specification.source);
                match specification.transport {
                    Transport::Grpc { api, only } => {
                        tasks.spawn(stream::keep_open(shared, stream::Servers { source, api, only }, wake))
                    }
                    Transport::File {
                        path,
                        watched_directory,
                        resource_type,
                    } => {
                        let file = file::Watched {
                            source,
                            path,
                            watched_directory,
                            resource_type,
                        };
                        tasks.spawn(file::serve(shared, file, wake))
                    }
                };
            }
            tokio::select! {
                () = sleep_until(deadline) => self.with(Engine::on_deadline),
                () = self.clock.notified() => {}
                // A stream task ends only by a panic, which must not be taken for a quiet server.
                Some(Err(error)) = tasks.join_next() => tracing::error!("a discovery stream's task ended: {error}"),
            }
        }
    }

    /// Calls the engine and passes on what the call brought about.
    fn with<T>(&self, call: impl FnOnce(&mut Engine, Instant) -> T) -> T {
        let mut engine = self.lock();
        let (deadline, changes) = (engine.deadline(), engine.changes());
        let result = call(&mut engine, now());
        if engine.changes() != changes {
            self.accepted.notify_one();
        }
        if let Some(config) = engine.take_config() {
            self.configs.send_replace(config);
        }
        if let Some(warming) = engine.take_warming() {
            self.warming.send_replace(warming);
        }
        let readiness = engine.readiness();
        self.readiness
            .send_if_modified(|current| std::mem::replace(current, readiness) != readiness);
        if engine.has_new_streams() || engine.deadline() != deadline {
            self.clock.notify_one();
        }
        let wakers = self.wakers();
        for source in engine.streams_with_requests(now()) {
            if let Some(wake) = wakers.get(&source) {
                wake.serving.notify_one();
                wake.probe.notify_one();
            }
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wakers(&self) -> MutexGuard<'_, HashMap<SourceId, Arc<Wake>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// The runtime's clock, which tests can pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

pub(crate) async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
