//! An HTTP connection manager compiled for execution.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use codec::{h1, h2};
use config::http_connection_manager::{HttpConnectionManager, RouteSpecifier};
use telemetry::stats::{Block, Registry, Scope, http};

use crate::access_log::AccessLogs;
use crate::client_address::ClientAddresses;
use crate::codec_options;
use crate::filters::chain::Chain;
use crate::filters::http_filter::BuildContext;
use crate::local_info::LocalInfo;
use crate::local_reply::LocalReplies;
use crate::path::PathRules;
use crate::process_codec_stats::ProcessCodecStats;
use crate::route_table::RouteTable;
use crate::slots::{Slot, Slots};
use crate::snapshot::Snapshot;

/// What all connection managers of the process have in common.
#[derive(Debug)]
pub(crate) struct ProcessFacts {
    /// This machine's address.
    pub(crate) local_address: IpAddr,
    /// What filters know of the process.
    pub(crate) local: Arc<LocalInfo>,
    /// What codecs of callers count.
    pub(crate) codec_stats: Arc<ProcessCodecStats>,
}

/// The logs of a connection manager.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    /// Of requests (`access_log`).
    pub(crate) requests: AccessLogs,
    /// Of each try (the router's `upstream_log`).
    pub(crate) attempts: AccessLogs,
}

/// What the connections of a filter chain share.
#[derive(Debug)]
pub(crate) struct Manager {
    pub(crate) config: Arc<HttpConnectionManager>,
    pub(crate) stats: Arc<Block>,
    /// What codecs of callers count.
    pub(crate) codec_stats: Arc<ProcessCodecStats>,
    pub(crate) h1: Arc<h1::Config>,
    pub(crate) h2: Arc<h2::Config>,
    pub(crate) logs: Logs,
    /// The process it runs in.
    pub(crate) local: Arc<LocalInfo>,
    /// Its HTTP filters.
    pub(crate) chain: Chain,
    pub(crate) path_rules: PathRules,
    pub(crate) clients: ClientAddresses,
    /// How answers made here are rewritten.
    pub(crate) local_replies: Option<LocalReplies>,
    routes: Routes,
}

#[derive(Debug)]
enum Routes {
    Inline(Arc<RouteTable>),
    Rds(Slot),
}

impl Manager {
    /// Compiles a connection manager; nothing in it can fail any more.
    pub(crate) fn compile(
        config: &Arc<HttpConnectionManager>,
        stats: &Arc<Registry>,
        clusters: &Slots,
        tables: &Slots,
        logs: Logs,
        is_tls: bool,
        process: &ProcessFacts,
    ) -> Manager {
        let routes = match &config.route_specifier {
            RouteSpecifier::RouteConfig(table) => Routes::Inline(Arc::new(RouteTable::compile(table, clusters, stats))),
            RouteSpecifier::Rds { route_config_name, .. } => Routes::Rds(tables.slot(route_config_name)),
        };
        let context = BuildContext {
            stats,
            stat_prefix: &config.stat_prefix,
            clusters,
            local: &process.local,
        };
        Manager {
            stats: stats.block(Scope::Http(&config.stat_prefix), &http::TABLE),
            codec_stats: Arc::clone(&process.codec_stats),
            h1: Arc::new(codec_options::h1_server(config, is_tls)),
            h2: Arc::new(codec_options::h2_server(config)),
            logs,
            local: Arc::clone(&process.local),
            chain: Chain::compile(&config.http_filters, &context),
            path_rules: PathRules::new(config),
            clients: ClientAddresses::new(config, process.local_address),
            local_replies: config.local_reply_config.as_ref().map(LocalReplies::compile),
            routes,
            config: Arc::clone(config),
        }
    }

    /// No `x-envoy-*` headers are added to requests and answers.
    pub(crate) fn suppresses_envoy_headers(&self) -> bool {
        self.chain.router.suppress_envoy_headers
    }

    /// The route table in force in `snapshot`; `None` before the first one has arrived.
    pub(crate) fn route_table<'a>(&'a self, snapshot: &'a Snapshot) -> Option<&'a RouteTable> {
        match &self.routes {
            Routes::Inline(table) => Some(table),
            Routes::Rds(slot) => snapshot.route_table(slot),
        }
    }

    /// The longest duration of a stream.
    pub(crate) fn max_stream_duration(&self) -> Option<Duration> {
        self.config.common_http_protocol_options.max_stream_duration
    }

    /// How long a whole request may take to arrive.
    pub(crate) fn request_timeout(&self) -> Option<Duration> {
        self.config.request_timeout
    }

    /// Whether requests are written down.
    pub(crate) fn logs_requests(&self) -> bool {
        !self.logs.requests.is_empty()
    }

    /// Whether each try is.
    pub(crate) fn logs_attempts(&self) -> bool {
        !self.logs.attempts.is_empty()
    }

    /// How long a connection without streams is kept; `None` for ever.
    pub(crate) fn idle_timeout(&self) -> Option<Duration> {
        self.config.common_http_protocol_options.idle_timeout
    }
}
