//! Small messages whose fields are all read.

use xds_api::envoy::config::accesslog::v3 as accesslog;
use xds_api::envoy::config::cluster::v3 as cluster;
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::config::core::v3::health_check;
use xds_api::envoy::config::endpoint::v3 as endpoint;
use xds_api::envoy::config::listener::v3 as listener;
use xds_api::envoy::config::listener::v3::listener_filter_chain_match_predicate as predicate;
use xds_api::envoy::config::route::v3::route_action::hash_policy;
use xds_api::envoy::extensions::filters::network::tcp_proxy::v3 as tcp_proxy;
use xds_api::envoy::r#type::matcher::v3 as matcher;
use xds_api::envoy::r#type::v3 as types;

use super::NO_FILTER_STATE;
use crate::support;

support! {
    TABLES;

    message accesslog::StatusCodeFilter as "envoy.config.accesslog.v3.StatusCodeFilter" {
        comparison: supported,
    }

    message accesslog::DurationFilter as "envoy.config.accesslog.v3.DurationFilter" {
        comparison: supported,
    }

    message accesslog::ComparisonFilter as "envoy.config.accesslog.v3.ComparisonFilter" {
        op: supported,
        value: supported,
    }

    message accesslog::RuntimeFilter as "envoy.config.accesslog.v3.RuntimeFilter" {
        runtime_key: supported,
        percent_sampled: supported,
        use_independent_randomness: supported,
    }

    message accesslog::AndFilter as "envoy.config.accesslog.v3.AndFilter" {
        filters: supported,
    }

    message accesslog::OrFilter as "envoy.config.accesslog.v3.OrFilter" {
        filters: supported,
    }

    message accesslog::HeaderFilter as "envoy.config.accesslog.v3.HeaderFilter" {
        header: supported,
    }

    message accesslog::ResponseFlagFilter as "envoy.config.accesslog.v3.ResponseFlagFilter" {
        flags: supported,
    }

    message accesslog::GrpcStatusFilter as "envoy.config.accesslog.v3.GrpcStatusFilter" {
        statuses: supported,
        exclude: supported,
    }

    message cluster::LoadBalancingPolicy as "envoy.config.cluster.v3.LoadBalancingPolicy" {
        policies: supported,
    }

    message cluster::load_balancing_policy::Policy as "envoy.config.cluster.v3.LoadBalancingPolicy.Policy" {
        typed_extension_config: supported,
    }

    message health_check::Payload as "envoy.config.core.v3.HealthCheck.Payload" {}
    oneof payload: health_check::payload::Payload {
        Text => text: supported,
        Binary => binary: supported,
    }

    message health_check::TlsOptions as "envoy.config.core.v3.HealthCheck.TlsOptions" {
        alpn_protocols: supported,
    }

    message core::HealthStatusSet as "envoy.config.core.v3.HealthStatusSet" {
        statuses: supported,
    }

    message core::http1_protocol_options::HeaderKeyFormat
        as "envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat" {}
    oneof header_format: core::http1_protocol_options::header_key_format::HeaderFormat {
        ProperCaseWords => proper_case_words: supported,
        StatefulFormatter => stateful_formatter: supported,
    }

    message core::JsonFormatOptions as "envoy.config.core.v3.JsonFormatOptions" {
        sort_properties: supported,
    }

    message core::SelfConfigSource as "envoy.config.core.v3.SelfConfigSource" {
        transport_api_version: supported,
    }

    message endpoint::endpoint::AdditionalAddress as "envoy.config.endpoint.v3.Endpoint.AdditionalAddress" {
        address: supported,
    }

    message listener::listener::DeprecatedV1 as "envoy.config.listener.v3.Listener.DeprecatedV1" {
        bind_to_port: supported,
    }

    message listener::ListenerFilterChainMatchPredicate
        as "envoy.config.listener.v3.ListenerFilterChainMatchPredicate" {}
    oneof rule: predicate::Rule {
        OrMatch => or_match: supported,
        AndMatch => and_match: supported,
        NotMatch => not_match: supported,
        AnyMatch => any_match: supported,
        DestinationPortRange => destination_port_range: supported,
    }

    message predicate::MatchSet as "envoy.config.listener.v3.ListenerFilterChainMatchPredicate.MatchSet" {
        rules: supported,
    }

    message hash_policy::ConnectionProperties
        as "envoy.config.route.v3.RouteAction.HashPolicy.ConnectionProperties" {
        source_ip: supported,
    }

    message hash_policy::CookieAttribute as "envoy.config.route.v3.RouteAction.HashPolicy.CookieAttribute" {
        name: supported,
        value: supported,
    }

    message hash_policy::QueryParameter as "envoy.config.route.v3.RouteAction.HashPolicy.QueryParameter" {
        name: supported,
    }

    message tcp_proxy::tcp_proxy::WeightedCluster
        as "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster" {
        clusters: supported,
    }

    message matcher::regex_matcher::GoogleRe2 as "envoy.type.matcher.v3.RegexMatcher.GoogleRE2" {
        max_program_size: without_effect("the size of an expression has a limit of its own"),
    }

    message types::HashPolicy as "envoy.type.v3.HashPolicy" {}
    oneof policy_specifier: types::hash_policy::PolicySpecifier {
        SourceIp => source_ip: supported,
        FilterState => filter_state: rejected(NO_FILTER_STATE),
    }

    message types::Int32Range as "envoy.type.v3.Int32Range" {
        start: supported,
        end: supported,
    }

    message types::Int64Range as "envoy.type.v3.Int64Range" {
        start: supported,
        end: supported,
    }

    message types::Percent as "envoy.type.v3.Percent" {
        value: supported,
    }
}
