//! What the admin endpoint shows and changes.

use std::time::Duration;

use telemetry::stats::{Query, Registry};
use xds_api::envoy::admin::v3 as admin;
use xds_api::envoy::config::core::v3::Node;
use xds_api::google::protobuf::Any;

/// What is said of a configuration that comes from the last-good cache.
pub(crate) const LAST_GOOD: &str = "from the last-good cache, not confirmed by a control plane";

/// Where the process is in its life. The numbers are those of the gauge `server.state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerState {
    /// Serving.
    Live,
    /// Finishing what it has, taking nothing new.
    Draining,
    /// Before the first clusters are known.
    PreInitializing,
    /// Waiting for the rest.
    Initializing,
}

impl ServerState {
    /// Envoy's word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Live => "LIVE",
            Self::Draining => "DRAINING",
            Self::PreInitializing => "PRE_INITIALIZING",
            Self::Initializing => "INITIALIZING",
        }
    }

    /// The value in `envoy.admin.v3.ServerInfo`.
    pub(crate) fn in_server_info(self) -> admin::server_info::State {
        match self {
            Self::Live => admin::server_info::State::Live,
            Self::Draining => admin::server_info::State::Draining,
            Self::PreInitializing => admin::server_info::State::PreInitializing,
            Self::Initializing => admin::server_info::State::Initializing,
        }
    }
}

/// What `/drain_listeners` was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct DrainRequest {
    /// Only listeners whose traffic direction is inbound.
    pub(crate) inbound_only: bool,
    /// Let requests end within the drain time before listeners close.
    pub(crate) graceful: bool,
    /// Go on running after that.
    pub(crate) skip_exit: bool,
}

/// A field that was set and changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ineffective {
    /// The resource that sets it: `bootstrap`, or type and name.
    pub(crate) resource: String,
    /// The field, from the resource down.
    pub(crate) path: String,
    /// Why it changes nothing.
    pub(crate) reason: &'static str,
}

/// The proxy as the admin endpoint sees it. Calls come from the admin thread and answer from what is at hand; changes
/// are handed over and done elsewhere.
pub(crate) trait AdminSource: Send + Sync + 'static {
    /// Where the process is in its life.
    fn state(&self) -> ServerState;

    /// How long it has been running.
    fn uptime(&self) -> Duration;

    /// The node as management servers see it.
    fn node(&self) -> Node;

    /// How it was started.
    fn command_line_options(&self) -> admin::CommandLineOptions;

    /// The statistics, up to date.
    fn stats(&self) -> &Registry;

    /// Every cluster with its endpoints, by name; [`clusters`](super::clusters) says which statistics an endpoint has.
    fn clusters(&self) -> Vec<admin::ClusterStatus>;

    /// Every listener with the addresses it listens on, by name.
    fn listeners(&self) -> Vec<admin::ListenerStatus>;

    /// The sections of the configuration dump in Envoy's order: `BootstrapConfigDump`, `ClustersConfigDump`,
    /// `EndpointsConfigDump` (only with `include_eds`), `ListenersConfigDump`, `RoutesConfigDump`, `SecretsConfigDump`.
    fn config_dump(&self, include_eds: bool) -> Vec<Any>;

    /// Every field that was set and changes nothing.
    fn without_effect(&self) -> Vec<Ineffective>;

    /// Certificates in use.
    fn certificates(&self) -> Vec<admin::Certificate>;

    /// What is waited for, by the name of the component that waits (`listener`), and what was refused without a value that
    /// serves.
    fn unready_targets(&self) -> Vec<(&'static str, admin::UnreadyTargetsDumps)>;

    /// The layers of runtime values, the later before the earlier.
    fn runtime_layers(&self) -> &[config::bootstrap::RuntimeLayer];

    /// Whether hot restart is offered; Envoy's name of the version that it speaks.
    fn hot_restart_version(&self) -> &'static str {
        "disabled"
    }

    /// Makes the proxy fail or pass the health checks that it answers itself; `/ready` goes with it.
    fn set_health_check_failed(&self, failed: bool);

    /// Begins to drain.
    fn drain_listeners(&self, request: DrainRequest);

    /// Ends the process.
    fn quit(&self);

    /// The xDS client, whose view CSDS shows; none where there is no such client.
    fn xds_client(&self) -> Option<xds::Handle> {
        None
    }

    /// Whether what is served comes from the last-good cache (`--xds-cache`) and no control plane has confirmed it yet.
    fn serves_last_good(&self) -> bool {
        self.xds_client()
            .is_some_and(|client| client.readiness().borrow().from_cache)
    }

    /// Opens access logs anew, after they were moved away.
    fn reopen_logs(&self);

    /// Renders statistics.
    fn render_stats(&self, query: &Query) -> String {
        self.stats().render(query)
    }
}
