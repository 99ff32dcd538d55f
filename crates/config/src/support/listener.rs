//! `envoy.config.listener.v3` and the TCP proxy.

use xds_api::envoy::config::listener::v3 as pb;
use xds_api::envoy::extensions::filters::network::tcp_proxy::v3 as tcp_proxy;

use super::{NO_CONFIG_DISCOVERY, NO_EXTENSION, NO_SOCKET_OPTIONS};
use crate::support;

const NO_UDP: &str = "listeners are for TCP and Unix sockets";
const NO_WATERMARK_TIMEOUT: &str = "a connection that does not take its bytes is ended by the idle timeouts";

support! {
    TABLES;

    message pb::Listener as "envoy.config.listener.v3.Listener" {
        name: supported,
        address: supported,
        additional_addresses: supported,
        stat_prefix: supported,
        stats_matcher: rejected("statistics are chosen for the whole process (stats_config)"),
        filter_chains: supported,
        fcds_config: rejected("filter chains cannot be discovered by themselves"),
        filter_chain_matcher: rejected("write filter_chain_match, not a match tree"),
        use_original_dst: supported,
        default_filter_chain: supported,
        per_connection_buffer_limit_bytes: supported,
        per_connection_buffer_high_watermark_timeout: rejected(NO_WATERMARK_TIMEOUT),
        metadata: supported,
        deprecated_v1: supported,
        drain_type: supported,
        listener_filters: supported,
        listener_filters_timeout: supported,
        continue_on_listener_filters_timeout: supported,
        transparent: supported,
        freebind: supported,
        socket_options: rejected(NO_SOCKET_OPTIONS),
        tcp_fast_open_queue_length: without_effect("connections are opened without TCP fast open"),
        traffic_direction: supported,
        udp_listener_config: rejected(NO_UDP),
        api_listener: rejected("an API listener is for gRPC clients that speak xDS themselves"),
        connection_balance_config: supported,
        reuse_port: without_effect("it is deprecated: enable_reuse_port counts, and is on by default"),
        enable_reuse_port: supported,
        access_log: supported,
        tcp_backlog_size: supported,
        max_connections_to_accept_per_socket_event: without_effect("connections are accepted as they come"),
        bind_to_port: supported,
        enable_mptcp: rejected("sockets are plain TCP"),
        ignore_global_conn_limit: supported,
        bypass_overload_manager: supported,
        tcp_keepalive: supported,
    }
    oneof listener_specifier: pb::listener::ListenerSpecifier {
        InternalListener => internal_listener: rejected("there are no internal listeners"),
    }

    message pb::AdditionalAddress as "envoy.config.listener.v3.AdditionalAddress" {
        address: supported,
        socket_options: rejected(NO_SOCKET_OPTIONS),
        tcp_keepalive: rejected("tcp_keepalive of the listener is for all its addresses"),
    }

    message pb::listener::ConnectionBalanceConfig as "envoy.config.listener.v3.Listener.ConnectionBalanceConfig" {}
    oneof balance_type: pb::listener::connection_balance_config::BalanceType {
        ExactBalance => exact_balance: supported,
        ExtendBalance => extend_balance: rejected(NO_EXTENSION),
        CpuLocalityBalance => cpu_locality_balance: rejected("write exact_balance, or leave it to the kernel"),
    }

    message pb::FilterChain as "envoy.config.listener.v3.FilterChain" {
        filter_chain_match: supported,
        filters: supported,
        use_proxy_proto: rejected("it is deprecated: write the listener filter envoy.filters.listener.proxy_protocol"),
        metadata: supported,
        transport_socket: supported,
        transport_socket_connect_timeout: supported,
        name: supported,
    }

    message pb::FilterChainMatch as "envoy.config.listener.v3.FilterChainMatch" {
        destination_port: supported,
        prefix_ranges: supported,
        address_suffix: rejected("Envoy does not implement it either"),
        suffix_len: rejected("Envoy does not implement it either"),
        direct_source_prefix_ranges: supported,
        source_type: supported,
        source_prefix_ranges: supported,
        source_ports: supported,
        server_names: supported,
        transport_protocol: supported,
        application_protocols: supported,
    }

    message pb::Filter as "envoy.config.listener.v3.Filter" {
        name: supported,
    }
    oneof config_type: pb::filter::ConfigType {
        TypedConfig => typed_config: supported,
        ConfigDiscovery => config_discovery: rejected(NO_CONFIG_DISCOVERY),
    }

    message pb::ListenerFilter as "envoy.config.listener.v3.ListenerFilter" {
        name: supported,
        filter_disabled: supported,
    }
    oneof config_type: pb::listener_filter::ConfigType {
        TypedConfig => typed_config: supported,
        ConfigDiscovery => config_discovery: rejected(NO_CONFIG_DISCOVERY),
    }

    message tcp_proxy::TcpProxy as "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy" {
        stat_prefix: supported,
        on_demand: rejected("clusters are not discovered on demand"),
        metadata_match: supported,
        idle_timeout: supported,
        downstream_idle_timeout: rejected("write idle_timeout, which is for both directions"),
        upstream_idle_timeout: rejected("write idle_timeout, which is for both directions"),
        access_log: supported,
        max_connect_attempts: supported,
        backoff_options: rejected("connecting is tried again at once"),
        hash_policy: supported,
        tunneling_config: rejected("TCP is not tunnelled over HTTP"),
        max_downstream_connection_duration: supported,
        max_downstream_connection_duration_jitter_percentage: rejected("the duration has no jitter"),
        access_log_flush_interval: supported,
        flush_access_log_on_connected: supported,
        access_log_options: supported,
        proxy_protocol_tlvs: rejected("no PROXY protocol header is sent"),
        proxy_protocol_tlv_merge_policy: rejected("no PROXY protocol header is sent"),
        upstream_connect_mode: supported,
        max_early_data_bytes: rejected("the upstream is connected to at once"),
        check_drain_close: rejected("connections of a draining listener are not closed while they are in use"),
    }
    oneof cluster_specifier: tcp_proxy::tcp_proxy::ClusterSpecifier {
        Cluster => cluster: supported,
        WeightedClusters => weighted_clusters: supported,
    }

    message tcp_proxy::tcp_proxy::weighted_cluster::ClusterWeight
        as "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight" {
        name: supported,
        weight: supported,
        metadata_match: supported,
    }

    message tcp_proxy::tcp_proxy::TcpAccessLogOptions
        as "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TcpAccessLogOptions" {
        access_log_flush_interval: supported,
        flush_access_log_on_connected: supported,
        flush_access_log_on_start: rejected("a connection is not logged before it is connected"),
    }
}
