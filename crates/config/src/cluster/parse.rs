//! Parsing of clusters.

use std::sync::Arc;

use xds_api::envoy::config::cluster::v3 as pb;

use super::{
    BindConfig, CircuitBreakers, Cluster, ClusterSettings, DnsOptions, HappyEyeballs, HealthCheck, HealthChecker,
    HttpProtocolOptions, OutlierDetection, Preconnect, TrackClusterStats, TransportSocketMatch, UpstreamProtocol,
};
use crate::context::Context;
use crate::extensions::{ExtensionKind, message_name};
use crate::listener::{TcpKeepalive, TransportSocket};
use crate::metadata::{Metadata, parse_struct};
use crate::rejected::Reported;
use crate::scalars::{bool_or, u32_or};
use crate::shared_str::non_empty;

mod circuit_breakers;
mod discovery;
mod dns;
mod health_check;
mod http;
mod load_balancing;
mod outlier_detection;

impl Cluster {
    /// Parses a cluster.
    ///
    /// # Errors
    /// When any field is at fault.
    pub fn parse(context: &mut Context<'_>, message: &pb::Cluster) -> Result<Self, Reported> {
        let fingerprint = context.take_fingerprint(message);
        context.check(message);
        let name = context.name("name", &message.name);
        let discovery = discovery::parse(context, message);
        let connect_timeout = context.positive_duration("connect_timeout", message.connect_timeout.as_ref());
        let lb_policy = load_balancing::parse(context, message);
        let lb_subset_config = load_balancing::parse_subset(context, message);
        let health_checks: Result<Vec<Arc<HealthCheck>>, _> =
            context.each("health_checks", &message.health_checks, |context, check| {
                HealthCheck::parse(context, check).map(Arc::new)
            });
        let circuit_breakers = context.optional(
            "circuit_breakers",
            message.circuit_breakers.as_ref(),
            CircuitBreakers::parse,
        );
        let outlier_detection = context.optional(
            "outlier_detection",
            message.outlier_detection.as_ref(),
            OutlierDetection::parse,
        );
        let http_protocol_options = HttpProtocolOptions::parse(context, message);
        if let (Ok(checks), Ok(options)) = (&health_checks, &http_protocol_options) {
            check_protocol(context, checks, &options.upstream_protocol);
        }
        let transport_socket = TransportSocket::parse_optional(
            context,
            message.transport_socket.as_ref(),
            ExtensionKind::UpstreamTransportSocket,
        );
        let matches = &message.transport_socket_matches;
        let transport_socket_matches = context.each("transport_socket_matches", matches, TransportSocketMatch::parse);
        let bind_config = message.upstream_bind_config.as_ref();
        let upstream_bind_config = context.optional("upstream_bind_config", bind_config, BindConfig::parse);
        let connection_options = message.upstream_connection_options.as_ref();
        let connection_options =
            context.optional("upstream_connection_options", connection_options, |context, options| {
                context.check(options);
                let keepalive = context.optional("tcp_keepalive", options.tcp_keepalive.as_ref(), TcpKeepalive::parse);
                let eyeballs = options.happy_eyeballs_config.as_ref();
                let eyeballs = context.optional("happy_eyeballs_config", eyeballs, HappyEyeballs::parse);
                Ok((keepalive?, eyeballs?.unwrap_or_default()))
            });
        let dns = DnsOptions::parse(context, message);
        let preconnect = context.optional(
            "preconnect_policy",
            message.preconnect_policy.as_ref(),
            Preconnect::parse,
        );
        let filters = parse_filters(context, &message.filters);
        let cleanup_interval = context.positive_duration("cleanup_interval", message.cleanup_interval.as_ref());
        let track = message.track_cluster_stats.as_ref();
        let track = context.optional("track_cluster_stats", track, |context, track| {
            context.check(track);
            Ok(TrackClusterStats {
                timeout_budgets: track.timeout_budgets,
                request_response_sizes: track.request_response_sizes,
                per_endpoint_stats: track.per_endpoint_stats,
            })
        });
        let metadata = Metadata::parse_optional(context, "metadata", message.metadata.as_ref());
        filters?;
        let (lb_policy, common_lb_config) = lb_policy?;
        let (tcp_keepalive, happy_eyeballs) = connection_options?.unwrap_or_default();
        let mut track_cluster_stats = track?.unwrap_or_default();
        track_cluster_stats.timeout_budgets |= message.track_timeout_budgets;
        let settings = ClusterSettings {
            connect_timeout: connect_timeout?.unwrap_or(Self::DEFAULT_CONNECT_TIMEOUT),
            per_connection_buffer_limit_bytes: u32_or(
                message.per_connection_buffer_limit_bytes.as_ref(),
                Self::DEFAULT_PER_CONNECTION_BUFFER_LIMIT_BYTES,
            ),
            lb_policy,
            common_lb_config: context.share(common_lb_config),
            lb_subset_config: lb_subset_config?.map(Arc::new),
            health_checks: health_checks?,
            circuit_breakers: context.share(circuit_breakers?.unwrap_or_default()),
            outlier_detection: outlier_detection?.map(Arc::new),
            http_protocol_options: context.share(http_protocol_options?),
            upstream_bind_config: upstream_bind_config?,
            tcp_keepalive,
            happy_eyeballs,
            dns: context.share(dns?),
            wait_for_warm_on_init: bool_or(message.wait_for_warm_on_init.as_ref(), true),
            close_connections_on_host_health_failure: message.close_connections_on_host_health_failure,
            ignore_health_on_host_removal: message.ignore_health_on_host_removal,
            connection_pool_per_downstream_connection: message.connection_pool_per_downstream_connection,
            preconnect: preconnect?.unwrap_or_default(),
            cleanup_interval: cleanup_interval?.unwrap_or(Self::DEFAULT_CLEANUP_INTERVAL),
            track_cluster_stats,
        };
        Ok(Self {
            name: name?,
            alt_stat_name: non_empty(&message.alt_stat_name),
            discovery: discovery?,
            transport_socket: transport_socket?,
            transport_socket_matches: transport_socket_matches?,
            metadata,
            settings: context.share(settings),
            fingerprint,
        })
    }
}

/// Network filters of a cluster's connections: there are none that do anything, only some that are passed over.
fn parse_filters(context: &mut Context<'_>, filters: &[pb::Filter]) -> Result<(), Reported> {
    let _: Vec<()> = context.each("filters", filters, |context, filter| {
        context.check(filter);
        context.text("name", &filter.name)?;
        let Some(any) = &filter.typed_config else {
            return Err(context.reject_field("typed_config", "is required"));
        };
        context.at("typed_config", |context| {
            let kind = ExtensionKind::UpstreamNetworkFilter;
            let Some(reason) = context.ignored(kind, any) else {
                let name = message_name(&any.type_url);
                return Err(context.reject(format!("{kind} {name:?} is not supported: filters stand in listeners")));
            };
            context.without_effect("", reason);
            Ok(())
        })
    })?;
    Ok(())
}

/// A gRPC health check needs HTTP/2, as every gRPC call does.
fn check_protocol(context: &mut Context<'_>, checks: &[Arc<HealthCheck>], protocol: &UpstreamProtocol) {
    if let Some(at) = checks
        .iter()
        .position(|check| matches!(check.checker, HealthChecker::Grpc(_)))
        && matches!(protocol, UpstreamProtocol::Http1(_))
    {
        let field = format!("health_checks[{at}].grpc_health_check");
        context.reject_field(&field, "needs a cluster that speaks HTTP/2 (http2_protocol_options)");
    }
}

impl TransportSocketMatch {
    fn parse(context: &mut Context<'_>, message: &pb::cluster::TransportSocketMatch) -> Result<Self, Reported> {
        context.check(message);
        let name = context.text("name", &message.name);
        let transport_socket = TransportSocket::parse_optional(
            context,
            message.transport_socket.as_ref(),
            ExtensionKind::UpstreamTransportSocket,
        );
        let criteria = message.r#match.as_ref().map(parse_struct).unwrap_or_default();
        Ok(Self {
            name: name?,
            criteria,
            transport_socket: transport_socket?,
        })
    }
}

impl Preconnect {
    fn parse(context: &mut Context<'_>, message: &pb::cluster::PreconnectPolicy) -> Result<Self, Reported> {
        context.check(message);
        let mut ratio =
            |field: &str, value: Option<xds_api::google::protobuf::DoubleValue>| match value.map(|value| value.value) {
                Some(ratio) if !(1.0..=3.0).contains(&ratio) => {
                    Err(context.reject_field(field, format!("is {ratio}, expected 1 to 3")))
                }
                ratio => Ok(ratio),
            };
        let per_upstream = ratio("per_upstream_preconnect_ratio", message.per_upstream_preconnect_ratio);
        let predictive = ratio("predictive_preconnect_ratio", message.predictive_preconnect_ratio);
        let defaults = Self::default();
        Ok(Self {
            per_upstream_ratio: per_upstream?.unwrap_or(defaults.per_upstream_ratio),
            predictive_ratio: predictive?.unwrap_or(defaults.predictive_ratio),
        })
    }
}

/// What is named after the cluster unless it has a name of its own.
fn name_or(context: &Context<'_>, name: &str, cluster: &str) -> Arc<str> {
    context.shared_name(if name.is_empty() { cluster } else { name })
}
