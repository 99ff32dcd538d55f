//! `envoy.extensions.filters.network.http_connection_manager.v3`.

use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as pb;

use xds_api::envoy::extensions::http::early_header_mutation::header_mutation::v3 as early;
use xds_api::envoy::extensions::http::original_ip_detection::xff::v3 as xff;
use xds_api::envoy::extensions::request_id::uuid::v3 as uuid;

use super::{NO_CONFIG_DISCOVERY, NO_EXTENSION, NO_SPANS};
use crate::support;

support! {
    TABLES;

    message pb::HttpConnectionManager
        as "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager" {
        codec_type: supported,
        stat_prefix: supported,
        http_filters: supported,
        add_user_agent: rejected("the proxy does not put its cluster's name into requests"),
        tracing: supported,
        common_http_protocol_options: supported,
        http1_safe_max_connection_duration: rejected("a connection that is too old is drained"),
        http_protocol_options: supported,
        http2_protocol_options: supported,
        http3_protocol_options: without_effect("HTTP/3 is not spoken on TCP listeners"),
        server_name: supported,
        server_header_transformation: supported,
        scheme_header_transformation: supported("http_options"),
        max_request_headers_kb: supported,
        stream_idle_timeout: supported,
        stream_flush_timeout: supported,
        request_timeout: supported,
        request_headers_timeout: supported,
        drain_timeout: supported,
        drain_timeout_jitter: rejected("drain_timeout has no jitter"),
        delayed_close_timeout: supported,
        access_log: supported,
        access_log_flush_interval: supported,
        flush_access_log_on_new_request: supported,
        access_log_options: supported,
        use_remote_address: supported,
        xff_num_trusted_hops: supported,
        original_ip_detection_extensions: supported("http_options"),
        early_header_mutation_extensions: supported("http_options"),
        internal_address_config: supported("http_options"),
        skip_xff_append: supported,
        via: supported,
        generate_request_id: supported,
        preserve_external_request_id: supported,
        always_set_request_id_in_response: supported,
        forward_client_cert_details: supported,
        set_current_client_cert_details: supported,
        forward_client_cert_matcher: rejected("forward_client_cert_details is the same for all requests"),
        proxy_100_continue: supported,
        represent_ipv4_remote_address_as_ipv4_mapped_ipv6: supported,
        upgrade_configs: supported("http_options"),
        normalize_path: supported("http_options"),
        merge_slashes: supported("http_options"),
        path_with_escaped_slashes_action: supported("http_options"),
        request_id_extension: supported,
        local_reply_config: supported("http_options"),
        strip_matching_host_port: supported,
        stream_error_on_invalid_http_message: supported,
        path_normalization_options: rejected("write normalize_path and merge_slashes"),
        strip_trailing_host_dot: supported("http_options"),
        proxy_status_config: rejected("the header proxy-status is not written"),
        typed_header_validation_config: rejected(NO_EXTENSION),
        append_x_forwarded_port: supported,
        append_local_overload: rejected("the header x-envoy-local-overloaded is not written"),
        add_proxy_protocol_connection_state: without_effect("there is no state of PROXY protocol connections to add"),
        forward_proto_config: rejected("the scheme follows the connection, or scheme_header_transformation"),
    }
    oneof route_specifier: pb::http_connection_manager::RouteSpecifier {
        Rds => rds: supported,
        RouteConfig => route_config: supported,
        ScopedRoutes => scoped_routes: rejected("routes cannot be scoped (SRDS): write rds or route_config"),
    }
    oneof strip_port_mode: pb::http_connection_manager::StripPortMode {
        StripAnyHostPort => strip_any_host_port: supported,
    }

    message pb::RequestIdExtension
        as "envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension" {
        typed_config: supported,
    }

    message uuid::UuidRequestIdConfig as "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig" {
        pack_trace_reason: without_effect(NO_SPANS),
        use_request_id_for_trace_sampling: without_effect(NO_SPANS),
    }

    message early::HeaderMutation as "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation" {
        mutations: supported,
    }

    message xff::XffConfig as "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig" {
        xff_num_trusted_hops: supported,
        xff_trusted_cidrs: supported,
        skip_xff_append: supported,
    }

    message xff::XffTrustedCidrs as "envoy.extensions.http.original_ip_detection.xff.v3.XffTrustedCidrs" {
        cidrs: supported,
    }

    message pb::Rds as "envoy.extensions.filters.network.http_connection_manager.v3.Rds" {
        config_source: supported,
        route_config_name: supported,
    }

    message pb::HttpFilter as "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter" {
        name: supported,
        is_optional: supported,
        disabled: supported,
    }
    oneof config_type: pb::http_filter::ConfigType {
        TypedConfig => typed_config: supported,
        ConfigDiscovery => config_discovery: rejected(NO_CONFIG_DISCOVERY),
    }

    message core::SchemeHeaderTransformation as "envoy.config.core.v3.SchemeHeaderTransformation" {
        match_upstream: supported,
    }
    oneof transformation: core::scheme_header_transformation::Transformation {
        SchemeToOverwrite => scheme_to_overwrite: supported,
    }

    message pb::http_connection_manager::InternalAddressConfig
        as "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.InternalAddressConfig" {
        unix_sockets: supported,
        cidr_ranges: supported,
    }

    message pb::http_connection_manager::SetCurrentClientCertDetails
        as "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.SetCurrentClientCertDetails" {
        subject: supported,
        cert: supported,
        chain: supported,
        dns: supported,
        uri: supported,
        issuer: rejected("the issuer is not said"),
        format: rejected("the header is written as text"),
    }

    message pb::http_connection_manager::UpgradeConfig
        as "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig" {
        upgrade_type: supported,
        filters: rejected("an upgrade passes the filters of the connection manager"),
        enabled: supported,
    }

    message pb::http_connection_manager::HcmAccessLogOptions
        as "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.HcmAccessLogOptions" {
        access_log_flush_interval: supported,
        flush_access_log_on_new_request: supported,
        flush_log_on_tunnel_successfully_established: supported,
    }

    message pb::http_connection_manager::Tracing
        as "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing" {
        client_sampling: without_effect(NO_SPANS),
        random_sampling: without_effect(NO_SPANS),
        overall_sampling: without_effect(NO_SPANS),
        verbose: without_effect(NO_SPANS),
        max_path_tag_length: without_effect(NO_SPANS),
        custom_tags: without_effect(NO_SPANS),
        provider: rejected(NO_SPANS),
        spawn_upstream_span: without_effect(NO_SPANS),
        operation: without_effect(NO_SPANS),
        upstream_operation: without_effect(NO_SPANS),
        no_context_propagation: rejected("trace context is passed on"),
    }

    message pb::LocalReplyConfig as "envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig" {
        mappers: supported,
        body_format: supported,
    }

    message pb::ResponseMapper as "envoy.extensions.filters.network.http_connection_manager.v3.ResponseMapper" {
        filter: supported,
        status_code: supported,
        body: supported,
        body_format_override: supported,
        headers_to_add: supported,
    }
}
