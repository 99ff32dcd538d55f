//! What is supported of the bootstrap's messages.

use xds_api::envoy::config::bootstrap::v3 as pb;
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::config::metrics::v3 as metrics;
use xds_api::envoy::config::overload::v3 as overload;
use xds_api::envoy::extensions::resource_monitors::downstream_connections::v3 as connections;
use xds_api::envoy::r#type::matcher::v3 as matcher;
use xds_api::envoy::r#type::v3 as types;

use crate::support;

const NO_WATCHDOG: &str = "no watchdog watches the threads";
const NO_XDSTP: &str = "resource names of the form xdstp:// are not supported";
const NO_EXTENSION: &str = "there is no such extension";
const NO_OVERLOAD: &str = "nothing is done at a level of overload: connections have a bound";
const NO_DNS_SETTINGS: &str = "names are resolved as the system's resolv.conf says";

support! {
    TABLES;

    message pb::Bootstrap as "envoy.config.bootstrap.v3.Bootstrap" {
        node: supported,
        node_context_params: rejected(NO_XDSTP),
        static_resources: supported,
        dynamic_resources: supported,
        cluster_manager: supported,
        hds_config: rejected("health discovery (HDS) is not supported"),
        flags_path: rejected("give options on the command line"),
        stats_sinks: rejected("statistics are read from the admin endpoint, they are not sent anywhere"),
        deferred_stat_options: without_effect("statistics never take memory before they are used"),
        stats_config: supported,
        stats_flush_interval: supported,
        watchdog: without_effect(NO_WATCHDOG),
        watchdogs: without_effect(NO_WATCHDOG),
        tracing: rejected("set the provider in the HTTP connection manager's tracing"),
        layered_runtime: supported,
        admin: supported,
        overload_manager: supported,
        enable_dispatcher_stats: without_effect("there are no dispatcher statistics"),
        header_prefix: rejected("headers start with x-envoy-"),
        stats_server_version_override: without_effect("server.version is the version of this proxy"),
        use_tcp_for_dns_lookups: rejected(NO_DNS_SETTINGS),
        dns_resolution_config: rejected(NO_DNS_SETTINGS),
        typed_dns_resolver_config: supported,
        bootstrap_extensions: supported,
        fatal_actions: rejected(NO_EXTENSION),
        config_sources: rejected(NO_XDSTP),
        default_config_source: rejected(NO_XDSTP),
        default_socket_interface: rejected(NO_EXTENSION),
        certificate_provider_instances: rejected(NO_EXTENSION),
        inline_headers: without_effect("every header is as quick to reach as Envoy's inline ones"),
        perf_tracing_file_path: rejected("no performance trace is written"),
        default_regex_engine: supported,
        xds_delegate_extension: rejected(NO_EXTENSION),
        xds_config_tracker_extension: rejected(NO_EXTENSION),
        listener_manager: supported,
        application_log_config: supported,
        grpc_async_client_manager_config: without_effect("gRPC connections are kept by their cluster"),
        memory_allocator_manager: without_effect("the memory allocator is the system's"),
        enable_worker_cpu_affinity: without_effect("workers are not bound to processors"),
    }
    oneof stats_flush: pb::bootstrap::StatsFlush {
        StatsFlushOnAdmin => stats_flush_on_admin: supported,
    }
    oneof stats_eviction: pb::bootstrap::StatsEviction {
        StatsEvictionInterval => stats_eviction_interval: without_effect("unused statistics are not removed"),
    }

    message pb::bootstrap::StaticResources as "envoy.config.bootstrap.v3.Bootstrap.StaticResources" {
        listeners: supported,
        clusters: supported,
        secrets: supported,
    }

    message pb::bootstrap::DynamicResources as "envoy.config.bootstrap.v3.Bootstrap.DynamicResources" {
        lds_config: supported,
        lds_resources_locator: rejected(NO_XDSTP),
        cds_config: supported,
        cds_resources_locator: rejected(NO_XDSTP),
        ads_config: supported,
    }

    message pb::bootstrap::ApplicationLogConfig as "envoy.config.bootstrap.v3.Bootstrap.ApplicationLogConfig" {
        log_format: supported,
    }

    message pb::bootstrap::application_log_config::LogFormat
        as "envoy.config.bootstrap.v3.Bootstrap.ApplicationLogConfig.LogFormat" {}
    oneof log_format: pb::bootstrap::application_log_config::log_format::LogFormat {
        JsonFormat => json_format: supported,
        TextFormat => text_format: supported,
    }

    message pb::Admin as "envoy.config.bootstrap.v3.Admin" {
        access_log: supported,
        access_log_path: supported,
        profile_path: without_effect("there is no profiler"),
        address: supported,
        socket_options: rejected("raw socket options are not set"),
        ignore_global_conn_limit: without_effect("there is no global connection limit"),
        allow_paths: supported,
    }

    message overload::OverloadManager as "envoy.config.overload.v3.OverloadManager" {
        refresh_interval: without_effect("connections are counted as they come"),
        resource_monitors: supported,
        actions: rejected(NO_OVERLOAD),
        loadshed_points: rejected(NO_OVERLOAD),
        buffer_factory_config: rejected("buffers are not accounted for by their owner"),
    }

    message overload::ResourceMonitor as "envoy.config.overload.v3.ResourceMonitor" {
        name: supported,
    }
    oneof config_type: overload::resource_monitor::ConfigType {
        TypedConfig => typed_config: supported,
    }

    message connections::DownstreamConnectionsConfig
        as "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig" {
        max_active_downstream_connections: supported,
    }

    message pb::ClusterManager as "envoy.config.bootstrap.v3.ClusterManager" {
        local_cluster_name: supported,
        outlier_detection: rejected("outlier events are not written to a file or sent to a service"),
        upstream_bind_config: supported,
        load_stats_config: supported,
        enable_deferred_cluster_creation: without_effect("a cluster takes next to nothing before it is used"),
    }

    message pb::LayeredRuntime as "envoy.config.bootstrap.v3.LayeredRuntime" {
        layers: supported,
    }

    message pb::RuntimeLayer as "envoy.config.bootstrap.v3.RuntimeLayer" {
        name: supported,
    }
    oneof layer_specifier: pb::runtime_layer::LayerSpecifier {
        StaticLayer => static_layer: supported,
        DiskLayer => disk_layer: rejected("runtime values are not read from files; write a static_layer"),
        AdminLayer => admin_layer: without_effect("runtime values cannot be changed in the admin endpoint"),
        RtdsLayer => rtds_layer: rejected("runtime discovery (RTDS) is not supported"),
    }

    message core::Node as "envoy.config.core.v3.Node" {
        id: supported,
        cluster: supported,
        metadata: supported,
        dynamic_parameters: rejected(NO_XDSTP),
        locality: supported,
        user_agent_name: supported,
        extensions: supported,
        client_features: supported,
        listening_addresses: supported,
    }
    oneof user_agent_version_type: core::node::UserAgentVersionType {
        UserAgentVersion => user_agent_version: supported,
        UserAgentBuildVersion => user_agent_build_version: supported,
    }

    message metrics::StatsConfig as "envoy.config.metrics.v3.StatsConfig" {
        stats_tags: supported,
        use_all_default_tags: supported,
        stats_matcher: supported,
        histogram_bucket_settings: supported,
        allow_default_tag_overrides: without_effect("default tags are never overridden"),
    }

    message metrics::TagSpecifier as "envoy.config.metrics.v3.TagSpecifier" {
        tag_name: supported,
    }
    oneof tag_value: metrics::tag_specifier::TagValue {
        Regex => regex: supported,
        FixedValue => fixed_value: supported,
    }

    message metrics::StatsMatcher as "envoy.config.metrics.v3.StatsMatcher" {}
    oneof stats_matcher: metrics::stats_matcher::StatsMatcher {
        RejectAll => reject_all: supported,
        ExclusionList => exclusion_list: supported,
        InclusionList => inclusion_list: supported,
    }

    message matcher::ListStringMatcher as "envoy.type.matcher.v3.ListStringMatcher" {
        patterns: supported,
    }

    message metrics::HistogramBucketSettings as "envoy.config.metrics.v3.HistogramBucketSettings" {
        r#match: supported,
        buckets: supported,
        bins: without_effect("histograms are counted in Envoy's default bins"),
    }

    message core::BuildVersion as "envoy.config.core.v3.BuildVersion" {
        version: supported,
        metadata: supported,
    }

    message types::SemanticVersion as "envoy.type.v3.SemanticVersion" {
        major_number: supported,
        minor_number: supported,
        patch: supported,
    }

    message core::Extension as "envoy.config.core.v3.Extension" {
        name: supported,
        category: supported,
        type_descriptor: supported,
        version: supported,
        disabled: supported,
        type_urls: supported,
    }
}
