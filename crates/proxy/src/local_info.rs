//! What filters know of the process they run in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The process: who it is, and whether it is to be taken for healthy.
#[derive(Debug, Default)]
pub struct LocalInfo {
    service_cluster: Arc<str>,
    health_check_failed: AtomicBool,
}

impl LocalInfo {
    /// A process of this service cluster (`node.cluster`).
    pub fn new(service_cluster: &str) -> Arc<LocalInfo> {
        Arc::new(LocalInfo {
            service_cluster: service_cluster.into(),
            health_check_failed: AtomicBool::new(false),
        })
    }

    /// The service cluster; empty where the node names none.
    pub fn service_cluster(&self) -> &str {
        &self.service_cluster
    }

    /// Has health checks that the proxy answers itself fail, or pass again.
    pub fn set_health_check_failed(&self, failed: bool) {
        self.health_check_failed.store(failed, Ordering::Relaxed);
    }

    /// Whether they are to fail.
    pub fn health_check_failed(&self) -> bool {
        self.health_check_failed.load(Ordering::Relaxed)
    }
}
