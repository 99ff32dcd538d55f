//! What the admin endpoint shows of the client: `/config_dump`, `/ready`, `/init_dump`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::{ResourceType, WithoutEffect};

use crate::key::ResourceKey;

/// Whether the proxy has what it needs to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readiness {
    /// The first answer about clusters.
    pub clusters: InitialFetch,
    /// The first answer about listeners.
    pub listeners: InitialFetch,
    /// Both first answers came or were given up on, and everything in them is warm or was given up on. Stays true.
    pub ready: bool,
    /// Whether what is served comes from the last-good cache and no control plane has confirmed it yet.
    pub from_cache: bool,
}

/// The first answer to a subscription to all resources of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InitialFetch {
    /// Nothing dynamic of this type is configured.
    #[default]
    NotConfigured,
    /// No answer yet.
    Pending,
    /// Answered; also when the answer was refused, as in Envoy.
    Done,
    /// `initial_fetch_timeout` ran out.
    TimedOut,
    /// No answer, as no server was reached; the last-good cache had one.
    Cached,
}

impl InitialFetch {
    /// Whether nothing more is waited for.
    pub fn is_over(self) -> bool {
        self != Self::Pending
    }
}

/// All that is known about resources and streams at one time.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Readiness at that time.
    pub readiness: Readiness,
    /// Every resource, by type and name.
    pub resources: Vec<ResourceStatus>,
    /// Every stream.
    pub streams: Vec<StreamStatus>,
}

/// One resource.
#[derive(Debug, Clone)]
pub struct ResourceStatus {
    /// Type and name.
    pub key: ResourceKey,
    /// Where it comes from; bootstrap resources are static.
    pub origin: Origin,
    /// Envoy's `ClientResourceStatus`.
    pub client_status: ClientStatus,
    /// The accepted value.
    pub accepted: Option<AcceptedStatus>,
    /// The last rejection since the value was accepted.
    pub error: Option<ErrorState>,
    /// Whether the accepted value is the one that is served. `false` while it warms.
    pub active: bool,
    /// What it waits for before it is served.
    pub waiting_for: Vec<ResourceKey>,
}

/// Where a resource comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The bootstrap.
    Static,
    /// A source named by the configuration.
    Dynamic,
}

/// States of a resource as CSDS names them (`envoy.admin.v3.ClientResourceStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientStatus {
    /// Asked for, not answered.
    Requested,
    /// Taken not to exist.
    DoesNotExist,
    /// Accepted.
    Acked,
    /// The last answer was rejected; an earlier value may be in force.
    Nacked,
    /// Not answered in time, and still waited for.
    Timeout,
    /// The server reported an error in place of the resource; an earlier value may be in force.
    ReceivedError,
}

/// An accepted value.
#[derive(Debug, Clone)]
pub struct AcceptedStatus {
    /// Its version.
    pub version: Arc<str>,
    /// When it was accepted.
    pub last_updated: SystemTime,
    /// The message as it was sent; its type is that of the key.
    pub encoded: Arc<[u8]>,
    /// Fields that change nothing.
    pub without_effect: Arc<[WithoutEffect]>,
}

/// A rejection (`envoy.admin.v3.UpdateFailureState`).
#[derive(Debug, Clone)]
pub struct ErrorState {
    /// The version that was rejected.
    pub version: Arc<str>,
    /// All faults, with field paths.
    pub details: Arc<str>,
    /// The message as it was sent, where there was one.
    pub encoded: Option<Arc<[u8]>>,
    /// When it was rejected.
    pub last_update_attempt: SystemTime,
}

/// One discovery stream.
#[derive(Debug, Clone)]
pub struct StreamStatus {
    /// What it is for: `ads`, or the server or path of a source of its own.
    pub source: String,
    /// Whether it is connected.
    pub connected: bool,
    /// The control plane's name for itself.
    pub control_plane: String,
    /// Why the last connection ended.
    pub last_error: Option<String>,
    /// Per type: the version of the last response that was accepted.
    pub versions: Vec<(ResourceType, String)>,
    /// How long it has been connected, or been without connection.
    pub since: Duration,
}
