//! `envoy.config.route.v3`.

use xds_api::envoy::config::route::v3 as pb;
use xds_api::envoy::extensions::internal_redirect::allow_listed_routes::v3 as allow_listed_routes;
use xds_api::envoy::extensions::path::r#match::uri_template::v3 as path_match;
use xds_api::envoy::extensions::path::rewrite::uri_template::v3 as path_rewrite;
use xds_api::envoy::extensions::retry::host::omit_host_metadata::v3 as omit_host_metadata;
use xds_api::envoy::extensions::retry::priority::previous_priorities::v3 as previous_priorities;
use xds_api::envoy::r#type::matcher::v3 as matcher;
use xds_api::envoy::r#type::v3 as types;

use super::{
    DEPRECATED_CORS, NO_EXTENSION, NO_FILTER_STATE, NO_RATE_LIMITS, NO_ROUTE_SPECIFIERS, NO_RUNTIME, NO_SPANS,
    NOT_IN_ENVOY,
};
use crate::support;

support! {
    TABLES;

    message pb::RouteConfiguration as "envoy.config.route.v3.RouteConfiguration" {
        name: supported,
        virtual_hosts: supported,
        vhds: rejected("virtual hosts cannot be discovered one by one (VHDS)"),
        internal_only_headers: supported,
        response_headers_to_add: supported,
        response_headers_to_remove: supported,
        request_headers_to_add: supported,
        request_headers_to_remove: supported,
        most_specific_header_mutations_wins: supported,
        validate_clusters: supported,
        max_direct_response_body_size_bytes: supported,
        cluster_specifier_plugins: rejected(NO_EXTENSION),
        request_mirror_policies: supported,
        ignore_port_in_host_matching: supported,
        vhost_header: rejected("virtual hosts are found by the host of the request"),
        ignore_path_parameters_in_path_matching: supported,
        typed_per_filter_config: supported,
        metadata: supported,
        route_specifiers: rejected(NO_ROUTE_SPECIFIERS),
    }

    message pb::VirtualHost as "envoy.config.route.v3.VirtualHost" {
        name: supported,
        domains: supported,
        routes: supported,
        matcher: rejected("write routes, not a match tree"),
        require_tls: supported,
        virtual_clusters: supported,
        rate_limits: rejected(NO_RATE_LIMITS),
        request_headers_to_add: supported,
        request_headers_to_remove: supported,
        response_headers_to_add: supported,
        response_headers_to_remove: supported,
        cors: rejected(DEPRECATED_CORS),
        typed_per_filter_config: supported,
        include_request_attempt_count: supported,
        include_attempt_count_in_response: supported,
        retry_policy: supported,
        retry_policy_typed_config: rejected(NO_EXTENSION),
        hedge_policy: supported,
        include_is_timeout_retry_header: supported,
        per_request_buffer_limit_bytes: supported,
        request_body_buffer_limit: supported,
        request_mirror_policies: supported,
        metadata: supported,
        route_specifiers: rejected(NO_ROUTE_SPECIFIERS),
    }

    message pb::Route as "envoy.config.route.v3.Route" {
        name: supported,
        r#match: supported,
        metadata: supported,
        decorator: without_effect(NO_SPANS),
        typed_per_filter_config: supported,
        request_headers_to_add: supported,
        request_headers_to_remove: supported,
        response_headers_to_add: supported,
        response_headers_to_remove: supported,
        tracing: without_effect(NO_SPANS),
        per_request_buffer_limit_bytes: supported,
        stat_prefix: supported,
        request_body_buffer_limit: supported,
        route_specifiers: rejected(NO_ROUTE_SPECIFIERS),
    }
    oneof action: pb::route::Action {
        Route => route: supported,
        Redirect => redirect: supported,
        DirectResponse => direct_response: supported,
        FilterAction => filter_action: rejected(NO_EXTENSION),
        NonForwardingAction => non_forwarding_action: supported,
    }

    message pb::Decorator as "envoy.config.route.v3.Decorator" {
        operation: supported,
        propagate: supported,
    }

    message pb::FilterConfig as "envoy.config.route.v3.FilterConfig" {
        config: supported,
        is_optional: supported,
        disabled: supported,
    }

    message pb::RouteMatch as "envoy.config.route.v3.RouteMatch" {
        case_sensitive: supported,
        runtime_fraction: supported,
        headers: supported,
        query_parameters: supported,
        cookies: supported,
        grpc: supported,
        tls_context: supported,
        dynamic_metadata: supported,
        filter_state: rejected("routes cannot depend on filter state"),
    }
    oneof path_specifier: pb::route_match::PathSpecifier {
        Prefix => prefix: supported,
        Path => path: supported,
        SafeRegex => safe_regex: supported,
        ConnectMatcher => connect_matcher: supported,
        PathSeparatedPrefix => path_separated_prefix: supported,
        PathMatchPolicy => path_match_policy: supported,
    }

    message pb::HeaderMatcher as "envoy.config.route.v3.HeaderMatcher" {
        name: supported,
        invert_match: supported,
        treat_missing_header_as_empty: supported,
    }
    oneof header_match_specifier: pb::header_matcher::HeaderMatchSpecifier {
        ExactMatch => exact_match: supported,
        SafeRegexMatch => safe_regex_match: supported,
        RangeMatch => range_match: supported,
        PresentMatch => present_match: supported,
        PrefixMatch => prefix_match: supported,
        SuffixMatch => suffix_match: supported,
        ContainsMatch => contains_match: supported,
        StringMatch => string_match: supported,
    }

    message pb::route_match::TlsContextMatchOptions as "envoy.config.route.v3.RouteMatch.TlsContextMatchOptions" {
        presented: supported,
        validated: supported,
    }

    message pb::CookieMatcher as "envoy.config.route.v3.CookieMatcher" {
        name: supported,
        string_match: supported,
        invert_match: supported,
    }

    message pb::VirtualCluster as "envoy.config.route.v3.VirtualCluster" {
        name: supported,
        headers: supported,
    }

    message allow_listed_routes::AllowListedRoutesConfig
        as "envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig" {
        allowed_route_names: supported,
    }

    message path_match::UriTemplateMatchConfig
        as "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig" {
        path_template: supported,
    }

    message path_rewrite::UriTemplateRewriteConfig
        as "envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig" {
        path_template_rewrite: supported,
    }

    message matcher::MetadataMatcher as "envoy.type.matcher.v3.MetadataMatcher" {
        filter: supported,
        path: supported,
        value: supported,
        invert: supported,
    }

    message matcher::metadata_matcher::PathSegment as "envoy.type.matcher.v3.MetadataMatcher.PathSegment" {}
    oneof segment: matcher::metadata_matcher::path_segment::Segment {
        Key => key: supported,
    }

    message matcher::ValueMatcher as "envoy.type.matcher.v3.ValueMatcher" {}
    oneof match_pattern: matcher::value_matcher::MatchPattern {
        NullMatch => null_match: supported,
        DoubleMatch => double_match: supported,
        StringMatch => string_match: supported,
        BoolMatch => bool_match: supported,
        PresentMatch => present_match: supported,
        ListMatch => list_match: supported,
        OrMatch => or_match: supported,
    }

    message matcher::DoubleMatcher as "envoy.type.matcher.v3.DoubleMatcher" {}
    oneof match_pattern: matcher::double_matcher::MatchPattern {
        Range => range: supported,
        Exact => exact: supported,
    }

    message types::DoubleRange as "envoy.type.v3.DoubleRange" {
        start: supported,
        end: supported,
    }

    message matcher::ListMatcher as "envoy.type.matcher.v3.ListMatcher" {}
    oneof match_pattern: matcher::list_matcher::MatchPattern {
        OneOf => one_of: supported,
    }

    message matcher::OrMatcher as "envoy.type.matcher.v3.OrMatcher" {
        value_matchers: supported,
    }

    message pb::QueryParameterMatcher as "envoy.config.route.v3.QueryParameterMatcher" {
        name: supported,
    }
    oneof query_parameter_match_specifier: pb::query_parameter_matcher::QueryParameterMatchSpecifier {
        StringMatch => string_match: supported,
        PresentMatch => present_match: supported,
    }

    message pb::RouteAction as "envoy.config.route.v3.RouteAction" {
        cluster_not_found_response_code: supported,
        metadata_match: supported,
        prefix_rewrite: supported,
        regex_rewrite: supported,
        path_rewrite_policy: supported,
        path_rewrite: supported,
        append_x_forwarded_host: supported,
        timeout: supported,
        idle_timeout: supported,
        flush_timeout: supported,
        early_data_policy: rejected(NO_EXTENSION),
        retry_policy: supported,
        retry_policy_typed_config: rejected(NO_EXTENSION),
        request_mirror_policies: supported,
        priority: supported,
        rate_limits: rejected(NO_RATE_LIMITS),
        include_vh_rate_limits: rejected(NO_RATE_LIMITS),
        hash_policy: supported,
        cors: rejected(DEPRECATED_CORS),
        max_grpc_timeout: supported,
        grpc_timeout_offset: supported,
        upgrade_configs: supported,
        internal_redirect_policy: supported,
        internal_redirect_action: rejected("it is deprecated: write internal_redirect_policy"),
        max_internal_redirects: rejected("it is deprecated: write internal_redirect_policy"),
        hedge_policy: supported,
        max_stream_duration: supported,
    }
    oneof cluster_specifier: pb::route_action::ClusterSpecifier {
        Cluster => cluster: supported,
        ClusterHeader => cluster_header: supported,
        WeightedClusters => weighted_clusters: supported,
        ClusterSpecifierPlugin => cluster_specifier_plugin: rejected(NO_EXTENSION),
        InlineClusterSpecifierPlugin => inline_cluster_specifier_plugin: rejected(NO_EXTENSION),
    }
    oneof host_rewrite_specifier: pb::route_action::HostRewriteSpecifier {
        HostRewriteLiteral => host_rewrite_literal: supported,
        AutoHostRewrite => auto_host_rewrite: supported,
        HostRewriteHeader => host_rewrite_header: supported,
        HostRewritePathRegex => host_rewrite_path_regex: supported,
        HostRewrite => host_rewrite: supported,
    }

    message pb::WeightedCluster as "envoy.config.route.v3.WeightedCluster" {
        clusters: supported,
        total_weight: without_effect("the total is the sum of the weights"),
        runtime_key_prefix: without_effect(NO_RUNTIME),
    }
    oneof random_value_specifier: pb::weighted_cluster::RandomValueSpecifier {
        HeaderName => header_name: supported,
        UseHashPolicy => use_hash_policy: supported,
    }

    message pb::weighted_cluster::ClusterWeight as "envoy.config.route.v3.WeightedCluster.ClusterWeight" {
        name: supported,
        cluster_header: supported,
        weight: supported,
        metadata_match: supported,
        request_headers_to_add: supported,
        request_headers_to_remove: supported,
        response_headers_to_add: supported,
        response_headers_to_remove: supported,
        typed_per_filter_config: supported,
    }
    oneof host_rewrite_specifier: pb::weighted_cluster::cluster_weight::HostRewriteSpecifier {
        HostRewriteLiteral => host_rewrite_literal: supported,
    }

    message pb::route_action::RequestMirrorPolicy as "envoy.config.route.v3.RouteAction.RequestMirrorPolicy" {
        cluster: supported,
        cluster_header: supported,
        runtime_fraction: supported,
        trace_sampled: without_effect(NO_SPANS),
        disable_shadow_host_suffix_append: supported,
        request_headers_mutations: supported,
        host_rewrite_literal: supported,
    }

    message pb::route_action::MaxStreamDuration as "envoy.config.route.v3.RouteAction.MaxStreamDuration" {
        max_stream_duration: supported,
        grpc_timeout_header_max: supported,
        grpc_timeout_header_offset: supported,
    }

    message pb::route_action::HashPolicy as "envoy.config.route.v3.RouteAction.HashPolicy" {
        terminal: supported,
    }
    oneof policy_specifier: pb::route_action::hash_policy::PolicySpecifier {
        Header => header: supported,
        Cookie => cookie: supported,
        ConnectionProperties => connection_properties: supported,
        QueryParameter => query_parameter: supported,
        FilterState => filter_state: rejected(NO_FILTER_STATE),
    }

    message pb::route_action::hash_policy::Header as "envoy.config.route.v3.RouteAction.HashPolicy.Header" {
        header_name: supported,
        regex_rewrite: supported,
    }

    message pb::route_action::hash_policy::Cookie as "envoy.config.route.v3.RouteAction.HashPolicy.Cookie" {
        name: supported,
        ttl: supported,
        path: supported,
        attributes: supported,
    }

    message pb::route_action::UpgradeConfig as "envoy.config.route.v3.RouteAction.UpgradeConfig" {
        upgrade_type: supported,
        enabled: supported,
        connect_config: supported,
    }

    message pb::route_action::upgrade_config::ConnectConfig
        as "envoy.config.route.v3.RouteAction.UpgradeConfig.ConnectConfig" {
        proxy_protocol_config: rejected("no PROXY protocol header is sent"),
        allow_post: rejected("CONNECT alone opens a tunnel"),
    }

    message pb::InternalRedirectPolicy as "envoy.config.route.v3.InternalRedirectPolicy" {
        max_internal_redirects: supported,
        redirect_response_codes: supported,
        predicates: supported,
        allow_cross_scheme_redirect: supported,
        response_headers_to_copy: supported,
    }

    message pb::HedgePolicy as "envoy.config.route.v3.HedgePolicy" {
        initial_requests: without_effect(NOT_IN_ENVOY),
        additional_request_chance: without_effect(NOT_IN_ENVOY),
        hedge_on_per_try_timeout: supported,
    }

    message pb::RetryPolicy as "envoy.config.route.v3.RetryPolicy" {
        retry_on: supported,
        num_retries: supported,
        per_try_timeout: supported,
        per_try_idle_timeout: supported,
        retry_priority: supported,
        retry_host_predicate: supported,
        retry_options_predicates: rejected(NO_EXTENSION),
        host_selection_retry_max_attempts: supported,
        retriable_status_codes: supported,
        retry_back_off: supported,
        rate_limited_retry_back_off: supported,
        retriable_headers: supported,
        retriable_request_headers: supported,
        refresh_cluster_on_retry: rejected("a retry goes to the cluster of the first try"),
    }

    message pb::retry_policy::RetryHostPredicate as "envoy.config.route.v3.RetryPolicy.RetryHostPredicate" {
        name: supported,
    }
    oneof config_type: pb::retry_policy::retry_host_predicate::ConfigType {
        TypedConfig => typed_config: supported,
    }

    message pb::retry_policy::RetryPriority as "envoy.config.route.v3.RetryPolicy.RetryPriority" {
        name: supported,
    }
    oneof config_type: pb::retry_policy::retry_priority::ConfigType {
        TypedConfig => typed_config: supported,
    }

    message previous_priorities::PreviousPrioritiesConfig
        as "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig" {
        update_frequency: supported,
    }

    message omit_host_metadata::OmitHostMetadataConfig
        as "envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig" {
        metadata_match: supported,
    }

    message pb::retry_policy::RetryBackOff as "envoy.config.route.v3.RetryPolicy.RetryBackOff" {
        base_interval: supported,
        max_interval: supported,
    }

    message pb::retry_policy::RateLimitedRetryBackOff as "envoy.config.route.v3.RetryPolicy.RateLimitedRetryBackOff" {
        reset_headers: supported,
        max_interval: supported,
    }

    message pb::retry_policy::ResetHeader as "envoy.config.route.v3.RetryPolicy.ResetHeader" {
        name: supported,
        format: supported,
    }

    message pb::RedirectAction as "envoy.config.route.v3.RedirectAction" {
        host_redirect: supported,
        port_redirect: supported,
        response_code: supported,
        strip_query: supported,
    }
    oneof scheme_rewrite_specifier: pb::redirect_action::SchemeRewriteSpecifier {
        HttpsRedirect => https_redirect: supported,
        SchemeRedirect => scheme_redirect: supported,
    }
    oneof path_rewrite_specifier: pb::redirect_action::PathRewriteSpecifier {
        PathRedirect => path_redirect: supported,
        PrefixRewrite => prefix_rewrite: supported,
        RegexRewrite => regex_rewrite: supported,
        PathRewrite => path_rewrite: supported,
    }

    message pb::DirectResponseAction as "envoy.config.route.v3.DirectResponseAction" {
        status: supported,
        body: supported,
        body_format: supported,
    }
}
