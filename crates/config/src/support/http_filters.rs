//! The messages of HTTP filters; their parsers are with the filters.

use xds_api::envoy::config::common::mutation_rules::v3 as rules;
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::extensions::filters::common::fault::v3 as common_fault;
use xds_api::envoy::extensions::filters::http::{
    buffer, cors, fault, grpc_stats, header_mutation, health_check, router, upstream_codec,
};
use xds_api::istio::alpn;

use super::{NO_RUNTIME, NO_SPANS};
use crate::support;

support! {
    TABLES;

    message alpn::FilterConfig as "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig" {
        alpn_override: supported,
    }

    message alpn::AlpnOverride as "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig.AlpnOverride" {
        upstream_protocol: supported,
        alpn_override: supported,
    }

    message buffer::v3::Buffer as "envoy.extensions.filters.http.buffer.v3.Buffer" {
        max_request_bytes: supported,
    }

    message buffer::v3::BufferPerRoute as "envoy.extensions.filters.http.buffer.v3.BufferPerRoute" {}
    oneof r#override: buffer::v3::buffer_per_route::Override {
        Disabled => disabled: supported,
        Buffer => buffer: supported,
    }

    message header_mutation::v3::HeaderMutation
        as "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation" {
        mutations: supported,
        most_specific_header_mutations_wins: supported,
    }

    message header_mutation::v3::HeaderMutationPerRoute
        as "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute" {
        mutations: supported,
    }

    message header_mutation::v3::Mutations as "envoy.extensions.filters.http.header_mutation.v3.Mutations" {
        request_mutations: supported,
        query_parameter_mutations: supported,
        response_mutations: supported,
        response_trailers_mutations: supported,
        request_trailers_mutations: supported,
    }

    message rules::HeaderMutation as "envoy.config.common.mutation_rules.v3.HeaderMutation" {}
    oneof action: rules::header_mutation::Action {
        Remove => remove: supported,
        Append => append: supported,
        RemoveOnMatch => remove_on_match: supported,
    }

    message rules::header_mutation::RemoveOnMatch
        as "envoy.config.common.mutation_rules.v3.HeaderMutation.RemoveOnMatch" {
        key_matcher: supported,
    }

    message core::KeyValueMutation as "envoy.config.core.v3.KeyValueMutation" {
        append: supported,
        remove: supported,
    }

    message core::KeyValueAppend as "envoy.config.core.v3.KeyValueAppend" {
        record: supported,
        entry: rejected("it is deprecated: write record"),
        action: supported,
    }

    message core::KeyValuePair as "envoy.config.core.v3.KeyValuePair" {
        key: supported,
        value: supported,
    }

    message cors::v3::Cors as "envoy.extensions.filters.http.cors.v3.Cors" {}

    message cors::v3::CorsPolicy as "envoy.extensions.filters.http.cors.v3.CorsPolicy" {
        allow_origin_string_match: supported,
        allow_methods: supported,
        allow_headers: supported,
        expose_headers: supported,
        max_age: supported,
        allow_credentials: supported,
        filter_enabled: supported,
        shadow_enabled: supported,
        allow_private_network_access: supported,
        forward_not_matching_preflights: supported,
    }

    message fault::v3::HttpFault as "envoy.extensions.filters.http.fault.v3.HTTPFault" {
        delay: supported,
        abort: supported,
        upstream_cluster: supported,
        headers: supported,
        downstream_nodes: supported,
        max_active_faults: supported,
        response_rate_limit: supported,
        delay_percent_runtime: without_effect(NO_RUNTIME),
        abort_percent_runtime: without_effect(NO_RUNTIME),
        delay_duration_runtime: without_effect(NO_RUNTIME),
        abort_http_status_runtime: without_effect(NO_RUNTIME),
        max_active_faults_runtime: without_effect(NO_RUNTIME),
        response_rate_limit_percent_runtime: without_effect(NO_RUNTIME),
        abort_grpc_status_runtime: without_effect(NO_RUNTIME),
        disable_downstream_cluster_stats: without_effect("faults are never counted by a name that the caller chooses"),
        filter_metadata: without_effect("no part of the proxy reads dynamic metadata"),
    }

    message fault::v3::FaultAbort as "envoy.extensions.filters.http.fault.v3.FaultAbort" {
        percentage: supported,
        response_body: supported,
    }
    oneof error_type: fault::v3::fault_abort::ErrorType {
        HttpStatus => http_status: supported,
        GrpcStatus => grpc_status: supported,
        HeaderAbort => header_abort: supported,
    }

    message common_fault::FaultDelay as "envoy.extensions.filters.common.fault.v3.FaultDelay" {
        percentage: supported,
    }
    oneof fault_delay_secifier: common_fault::fault_delay::FaultDelaySecifier {
        FixedDelay => fixed_delay: supported,
        HeaderDelay => header_delay: supported,
    }

    message common_fault::FaultRateLimit as "envoy.extensions.filters.common.fault.v3.FaultRateLimit" {
        percentage: supported,
    }
    oneof limit_type: common_fault::fault_rate_limit::LimitType {
        FixedLimit => fixed_limit: supported,
        HeaderLimit => header_limit: supported,
    }

    message common_fault::fault_rate_limit::FixedLimit
        as "envoy.extensions.filters.common.fault.v3.FaultRateLimit.FixedLimit" {
        limit_kbps: supported,
    }

    message grpc_stats::v3::FilterConfig as "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig" {
        emit_filter_state: without_effect("there is no filter state to put the counts into"),
        enable_upstream_stats: supported,
        replace_dots_in_grpc_service_name: supported,
    }
    oneof per_method_stat_specifier: grpc_stats::v3::filter_config::PerMethodStatSpecifier {
        IndividualMethodStatsAllowlist => individual_method_stats_allowlist: supported,
        StatsForAllMethods => stats_for_all_methods: supported,
    }

    message core::GrpcMethodList as "envoy.config.core.v3.GrpcMethodList" {
        services: supported,
    }

    message core::grpc_method_list::Service as "envoy.config.core.v3.GrpcMethodList.Service" {
        name: supported,
        method_names: supported,
    }

    message health_check::v3::HealthCheck as "envoy.extensions.filters.http.health_check.v3.HealthCheck" {
        pass_through_mode: supported,
        cache_time: supported,
        cluster_min_healthy_percentages: supported,
        headers: supported,
    }

    message router::v3::Router as "envoy.extensions.filters.http.router.v3.Router" {
        dynamic_stats: supported,
        start_child_span: without_effect(NO_SPANS),
        upstream_log: supported,
        upstream_log_options: supported,
        suppress_envoy_headers: supported,
        strict_check_headers: supported,
        respect_expected_rq_timeout: supported,
        suppress_grpc_request_failure_code_stats: supported,
        upstream_http_filters: supported,
        reject_connect_request_early_data: rejected("what comes after CONNECT is kept until the tunnel stands"),
    }

    message router::v3::router::UpstreamAccessLogOptions
        as "envoy.extensions.filters.http.router.v3.Router.UpstreamAccessLogOptions" {
        flush_upstream_log_on_upstream_stream: supported,
        upstream_log_flush_interval: supported,
    }

    message upstream_codec::v3::UpstreamCodec
        as "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec" {}
}
