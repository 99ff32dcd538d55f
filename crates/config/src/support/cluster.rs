//! `envoy.config.cluster.v3`, health checks, upstream HTTP options.

use xds_api::envoy::config::cluster::v3 as pb;
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::extensions::upstreams::http::v3 as http;

use super::{NO_CONFIG_DISCOVERY, NO_EXTENSION, NO_MORE_STATS};
use crate::support;

const NO_HTTP3: &str = "HTTP/3 is not spoken";
const NO_LOAD_REPORTS: &str =
    "loads are reported for the whole process (cluster_manager.load_stats_config), as in Envoy";
const NO_HEALTH_LOG: &str = "health-check events are in the log of the process";

support! {
    TABLES;

    message pb::Cluster as "envoy.config.cluster.v3.Cluster" {
        transport_socket_matches: supported,
        transport_socket_matcher: rejected("write transport_socket_matches, not a match tree"),
        name: supported,
        alt_stat_name: supported,
        stats_matcher: rejected("statistics are chosen for the whole process (stats_config)"),
        eds_cluster_config: supported,
        connect_timeout: supported,
        per_connection_buffer_limit_bytes: supported,
        per_connection_buffer_high_watermark_timeout: rejected("a connection that does not take its bytes is ended by the idle timeouts"),
        lb_policy: supported,
        load_assignment: supported,
        health_checks: supported,
        max_requests_per_connection: supported,
        circuit_breakers: supported,
        upstream_http_protocol_options: supported,
        common_http_protocol_options: supported,
        http_protocol_options: supported,
        http2_protocol_options: supported,
        typed_extension_protocol_options: supported,
        dns_refresh_rate: supported,
        dns_jitter: supported,
        dns_failure_refresh_rate: supported,
        respect_dns_ttl: supported,
        dns_lookup_family: supported,
        dns_resolvers: supported,
        use_tcp_for_dns_lookups: supported,
        dns_resolution_config: supported,
        typed_dns_resolver_config: supported,
        wait_for_warm_on_init: supported,
        outlier_detection: supported,
        cleanup_interval: supported,
        upstream_bind_config: supported,
        lb_subset_config: supported,
        common_lb_config: supported,
        transport_socket: supported,
        metadata: supported,
        protocol_selection: supported,
        upstream_connection_options: supported,
        close_connections_on_host_health_failure: supported,
        ignore_health_on_host_removal: supported,
        filters: supported,
        load_balancing_policy: supported,
        lrs_server: without_effect(NO_LOAD_REPORTS),
        lrs_report_endpoint_metrics: without_effect(NO_LOAD_REPORTS),
        track_timeout_budgets: without_effect(NO_MORE_STATS),
        upstream_config: rejected(NO_EXTENSION),
        track_cluster_stats: without_effect(NO_MORE_STATS),
        preconnect_policy: supported,
        connection_pool_per_downstream_connection: supported,
        queuing_policies: rejected("requests wait in the order in which they came"),
    }
    oneof cluster_discovery_type: pb::cluster::ClusterDiscoveryType {
        Type => r#type: supported,
        ClusterType => cluster_type: rejected("only the types of the field type are known"),
    }
    oneof lb_config: pb::cluster::LbConfig {
        RingHashLbConfig => ring_hash_lb_config: supported,
        MaglevLbConfig => maglev_lb_config: supported,
        OriginalDstLbConfig => original_dst_lb_config: supported,
        LeastRequestLbConfig => least_request_lb_config: supported,
        RoundRobinLbConfig => round_robin_lb_config: supported,
    }

    message pb::Filter as "envoy.config.cluster.v3.Filter" {
        name: supported,
        typed_config: supported,
        config_discovery: rejected(NO_CONFIG_DISCOVERY),
    }

    message pb::cluster::EdsClusterConfig as "envoy.config.cluster.v3.Cluster.EdsClusterConfig" {
        eds_config: supported,
        service_name: supported,
    }

    message pb::cluster::TransportSocketMatch as "envoy.config.cluster.v3.Cluster.TransportSocketMatch" {
        name: supported,
        r#match: supported,
        transport_socket: supported,
    }

    message pb::cluster::OriginalDstLbConfig as "envoy.config.cluster.v3.Cluster.OriginalDstLbConfig" {
        use_http_header: supported,
        http_header_name: supported,
        upstream_port_override: supported,
        metadata_key: rejected("the destination cannot come from dynamic metadata"),
    }

    message pb::cluster::RefreshRate as "envoy.config.cluster.v3.Cluster.RefreshRate" {
        base_interval: supported,
        max_interval: supported,
    }

    message pb::cluster::PreconnectPolicy as "envoy.config.cluster.v3.Cluster.PreconnectPolicy" {
        per_upstream_preconnect_ratio: supported,
        predictive_preconnect_ratio: supported,
        preconnect_enabled_metadata: rejected("connections are opened ahead for all endpoints alike"),
    }

    message pb::UpstreamConnectionOptions as "envoy.config.cluster.v3.UpstreamConnectionOptions" {
        tcp_keepalive: supported,
        set_local_interface_name_on_upstream_connections: without_effect("nothing reads the name of the interface"),
        happy_eyeballs_config: supported,
    }

    message pb::upstream_connection_options::HappyEyeballsConfig
        as "envoy.config.cluster.v3.UpstreamConnectionOptions.HappyEyeballsConfig" {
        first_address_family_version: supported,
        first_address_family_count: supported,
    }

    message pb::TrackClusterStats as "envoy.config.cluster.v3.TrackClusterStats" {
        timeout_budgets: supported,
        request_response_sizes: supported,
        per_endpoint_stats: supported,
    }

    message pb::CircuitBreakers as "envoy.config.cluster.v3.CircuitBreakers" {
        thresholds: supported,
        per_host_thresholds: supported,
    }

    message pb::circuit_breakers::Thresholds as "envoy.config.cluster.v3.CircuitBreakers.Thresholds" {
        priority: supported,
        max_connections: supported,
        max_pending_requests: supported,
        max_requests: supported,
        max_retries: supported,
        retry_budget: supported,
        track_remaining: supported,
        max_connection_pools: supported,
    }

    message pb::circuit_breakers::thresholds::RetryBudget
        as "envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget" {
        budget_percent: supported,
        budget_interval: supported,
        min_retry_concurrency: supported,
    }

    message pb::OutlierDetection as "envoy.config.cluster.v3.OutlierDetection" {
        consecutive_5xx: supported,
        interval: supported,
        base_ejection_time: supported,
        max_ejection_percent: supported,
        enforcing_consecutive_5xx: supported,
        enforcing_success_rate: supported,
        success_rate_minimum_hosts: supported,
        success_rate_request_volume: supported,
        success_rate_stdev_factor: supported,
        consecutive_gateway_failure: supported,
        enforcing_consecutive_gateway_failure: supported,
        split_external_local_origin_errors: supported,
        consecutive_local_origin_failure: supported,
        enforcing_consecutive_local_origin_failure: supported,
        enforcing_local_origin_success_rate: supported,
        failure_percentage_threshold: supported,
        enforcing_failure_percentage: supported,
        enforcing_failure_percentage_local_origin: supported,
        failure_percentage_minimum_hosts: supported,
        failure_percentage_request_volume: supported,
        max_ejection_time: supported,
        max_ejection_time_jitter: supported,
        successful_active_health_check_uneject_host: supported,
        monitors: rejected(NO_EXTENSION),
        always_eject_one_host: supported,
        detect_degraded_hosts: rejected("endpoints are degraded by the control plane and by health checks only"),
    }

    message core::HealthCheck as "envoy.config.core.v3.HealthCheck" {
        timeout: supported,
        interval: supported,
        initial_jitter: supported,
        interval_jitter: supported,
        interval_jitter_percent: supported,
        unhealthy_threshold: supported,
        healthy_threshold: supported,
        alt_port: supported,
        reuse_connection: supported,
        no_traffic_interval: supported,
        no_traffic_healthy_interval: supported,
        unhealthy_interval: supported,
        unhealthy_edge_interval: supported,
        healthy_edge_interval: supported,
        event_log_path: without_effect(NO_HEALTH_LOG),
        event_logger: without_effect(NO_HEALTH_LOG),
        event_service: without_effect(NO_HEALTH_LOG),
        always_log_health_check_failures: supported,
        always_log_health_check_success: without_effect(NO_HEALTH_LOG),
        tls_options: supported,
        transport_socket_match_criteria: supported,
    }
    oneof health_checker: core::health_check::HealthChecker {
        HttpHealthCheck => http_health_check: supported,
        TcpHealthCheck => tcp_health_check: supported,
        GrpcHealthCheck => grpc_health_check: supported,
        CustomHealthCheck => custom_health_check: rejected("write http_health_check, tcp_health_check or grpc_health_check"),
    }

    message core::health_check::HttpHealthCheck as "envoy.config.core.v3.HealthCheck.HttpHealthCheck" {
        host: supported,
        path: supported,
        send: rejected("a health check has no request body"),
        receive: supported,
        response_buffer_size: supported,
        request_headers_to_add: supported,
        request_headers_to_remove: supported,
        expected_statuses: supported,
        retriable_statuses: supported,
        codec_client_type: supported,
        service_name_matcher: supported,
        method: supported,
    }

    message core::health_check::TcpHealthCheck as "envoy.config.core.v3.HealthCheck.TcpHealthCheck" {
        send: supported,
        receive: supported,
        proxy_protocol_config: rejected("no PROXY protocol header is sent"),
    }

    message core::health_check::GrpcHealthCheck as "envoy.config.core.v3.HealthCheck.GrpcHealthCheck" {
        service_name: supported,
        authority: supported,
        initial_metadata: supported,
    }

    message http::HttpProtocolOptions as "envoy.extensions.upstreams.http.v3.HttpProtocolOptions" {
        common_http_protocol_options: supported,
        upstream_http_protocol_options: supported,
        http_filters: supported,
        header_validation_config: rejected(NO_EXTENSION),
        outlier_detection: rejected("a response is a failure by its status alone"),
        request_mirror_policies: rejected("write request_mirror_policies in the route"),
        hash_policy: rejected("write hash_policy in the route"),
        retry_policy: rejected("write retry_policy in the route or virtual host"),
    }
    oneof upstream_protocol_options: http::http_protocol_options::UpstreamProtocolOptions {
        ExplicitHttpConfig => explicit_http_config: supported,
        UseDownstreamProtocolConfig => use_downstream_protocol_config: supported,
        AutoConfig => auto_config: supported,
    }

    message http::http_protocol_options::ExplicitHttpConfig
        as "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig" {}
    oneof protocol_config: http::http_protocol_options::explicit_http_config::ProtocolConfig {
        HttpProtocolOptions => http_protocol_options: supported,
        Http2ProtocolOptions => http2_protocol_options: supported,
        Http3ProtocolOptions => http3_protocol_options: rejected(NO_HTTP3),
    }

    message http::http_protocol_options::UseDownstreamHttpConfig
        as "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig" {
        http_protocol_options: supported,
        http2_protocol_options: supported,
        http3_protocol_options: without_effect(NO_HTTP3),
    }

    message http::http_protocol_options::AutoHttpConfig
        as "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.AutoHttpConfig" {
        http_protocol_options: supported,
        http2_protocol_options: supported,
        http3_protocol_options: rejected(NO_HTTP3),
        alternate_protocols_cache_options: rejected(NO_HTTP3),
    }
}
