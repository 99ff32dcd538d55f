//! LRS: what the upstreams were sent and how it went, told to a management server in the interval it asks for
//! (`envoy.service.load_stats.v3`, `cluster_manager.load_stats_config`).
//!
//! The session is free of I/O; [`LoadReporter`] is the session behind a real stream. Where the numbers
//! come from is the caller's: a [`LoadSource`].

mod driver;
mod session;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use driver::LoadReporter;

/// Which clusters a server asks about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All there are, also those that come later.
    All,
    /// Those of these names.
    Named(BTreeSet<String>),
}

impl Selection {
    /// Whether a cluster is asked about.
    pub fn contains(&self, cluster: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(cluster),
        }
    }
}

/// The numbers. Everything in a report is since the report before, but what is in progress.
pub trait LoadSource: Send {
    /// From now on these clusters are asked about. Those that were before go on; the others start from nothing.
    fn select(&mut self, selection: &Selection);

    /// What happened in the selected clusters since they were last taken.
    fn take(&mut self) -> Vec<ClusterLoad>;
}

/// What one cluster was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterLoad {
    /// The cluster.
    pub cluster: Arc<str>,
    /// Its EDS service name, empty where that is the cluster's name.
    pub service: Arc<str>,
    /// Requests dropped before an endpoint had them.
    pub dropped: u64,
    /// Those of them that were dropped for a category (`drop_overloads`), by category.
    pub drops: Vec<(Arc<str>, u64)>,
    /// By place and priority. Places without any load are left out.
    pub localities: Vec<LocalityLoad>,
}

/// What the endpoints of one place were sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalityLoad {
    /// Region.
    pub region: Arc<str>,
    /// Zone within the region.
    pub zone: Arc<str>,
    /// Part of the zone.
    pub sub_zone: Arc<str>,
    /// The priority of the endpoints.
    pub priority: u32,
    /// All endpoints together.
    pub load: Load,
    /// Each endpoint that had any load.
    pub endpoints: Vec<EndpointLoad>,
}

/// What one endpoint was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointLoad {
    /// Where it listens.
    pub address: EndpointAddress,
    /// Its load.
    pub load: Load,
}

/// Where an endpoint listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointAddress {
    /// An IP address and TCP port.
    Socket(std::net::SocketAddr),
    /// A Unix domain socket.
    Pipe(Arc<str>),
}

/// Counts of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Sent.
    pub issued: u64,
    /// Answered without an error.
    pub succeeded: u64,
    /// Failed.
    pub failed: u64,
    /// Not ended yet.
    pub in_progress: u64,
}

impl Load {
    /// Whether there is nothing to tell.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl std::ops::AddAssign for Load {
    fn add_assign(&mut self, other: Self) {
        self.issued += other.issued;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.in_progress += other.in_progress;
    }
}
