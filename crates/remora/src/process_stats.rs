//! Statistics of the process that the control thread keeps.

use std::sync::Arc;
use std::time::Duration;

use telemetry::stats::{self, Registry, Scope, Shard};

/// The blocks `listener_manager.` and `server.`.
pub(crate) struct ProcessStats {
    listeners: Arc<stats::Block>,
    server: Arc<stats::Block>,
    registry: Arc<Registry>,
}

impl ProcessStats {
    /// The blocks, with what never changes set.
    pub(crate) fn new(registry: &Arc<Registry>, workers: usize, static_unknown_fields: usize) -> Self {
        let block = |prefix, table| registry.block(Scope::Process(prefix), table);
        let stats = Self {
            listeners: block("listener_manager.", &stats::listener_manager::TABLE),
            server: block("server.", &stats::server::TABLE),
            registry: Arc::clone(registry),
        };
        let (major, minor, patch) = crate::version::numbers();
        let version = u64::from(major) * 1_000_000 + u64::from(minor) * 1_000 + u64::from(patch);
        stats.server.set(Shard::CONTROL, stats::server::VERSION, version);
        stats
            .server
            .set(Shard::CONTROL, stats::server::CONCURRENCY, workers as u64);
        let unknown = stats.server.local(Shard::CONTROL);
        unknown.add(stats::server::STATIC_UNKNOWN_FIELDS, static_unknown_fields as u64);
        stats
    }

    /// The listeners are open.
    pub(crate) fn begin(&self, uptime: Duration) {
        self.listeners
            .set(Shard::CONTROL, stats::listener_manager::WORKERS_STARTED, 1);
        let milliseconds = u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX);
        self.server
            .record(Shard::CONTROL, stats::server::INITIALIZATION_TIME_MS, milliseconds);
    }

    /// How many listeners are open.
    pub(crate) fn set_listeners(&self, listeners: usize) {
        let local = self.listeners.local(Shard::CONTROL);
        let before = self.listeners.gauge(stats::listener_manager::TOTAL_LISTENERS_ACTIVE);
        let opened = (listeners as u64).saturating_sub(before);
        // Envoy counts one for each worker.
        let workers = self.registry.workers() as u64;
        local.add(stats::listener_manager::LISTENER_CREATE_SUCCESS, opened * workers);
        let gauge = stats::listener_manager::TOTAL_LISTENERS_ACTIVE;
        self.listeners.set(Shard::CONTROL, gauge, listeners as u64);
    }

    /// The block `server.`.
    pub(crate) fn server(&self) -> &Arc<stats::Block> {
        &self.server
    }

    /// Has histograms take in what was recorded.
    pub(crate) fn flush(&self) {
        self.registry.flush();
    }
}
