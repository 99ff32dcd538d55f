//! The listener filters and the network filters that only look.

use xds_api::envoy::extensions::filters::listener::proxy_protocol::v3 as proxy_protocol;
use xds_api::envoy::extensions::filters::listener::tls_inspector::v3 as tls_inspector;
use xds_api::envoy::extensions::filters::network::connection_limit::v3 as connection_limit;

use crate::support;

const NO_FINGERPRINTS: &str = "clients are not fingerprinted";
const NO_UPSTREAM_PROXY_PROTOCOL: &str = "no upstream is spoken to with the PROXY protocol, which could carry them on";

support! {
    TABLES;

    message tls_inspector::TlsInspector as "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector" {
        enable_ja3_fingerprinting: rejected(NO_FINGERPRINTS),
        enable_ja4_fingerprinting: rejected(NO_FINGERPRINTS),
        initial_read_buffer_size: without_effect("what has arrived is read at once"),
        close_connection_on_client_hello_parsing_errors: supported,
        max_client_hello_size: supported,
    }

    message proxy_protocol::ProxyProtocol as "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol" {
        rules: supported,
        allow_requests_without_proxy_protocol: supported,
        pass_through_tlvs: without_effect(NO_UPSTREAM_PROXY_PROTOCOL),
        disallowed_versions: supported,
        stat_prefix: supported,
        tlv_location: supported,
    }

    message proxy_protocol::proxy_protocol::Rule
        as "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.Rule" {
        tlv_type: supported,
        on_tlv_present: supported,
    }

    message proxy_protocol::proxy_protocol::KeyValuePair
        as "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.KeyValuePair" {
        metadata_namespace: supported,
        key: supported,
        value_string_encoding: supported,
    }

    message connection_limit::ConnectionLimit
        as "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit" {
        stat_prefix: supported,
        max_connections: supported,
        delay: supported,
        runtime_enabled: rejected("the limit holds wherever it is configured"),
    }
}
