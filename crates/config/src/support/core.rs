//! `envoy.config.core.v3` and the matchers and fractions of `envoy.type`.

use xds_api::envoy::config::core::v3 as pb;
use xds_api::envoy::extensions::network::dns_resolver::{cares::v3 as cares, getaddrinfo::v3 as getaddrinfo};
use xds_api::envoy::extensions::transport_sockets::tls::v3 as tls;
use xds_api::envoy::r#type::matcher::v3 as matcher;
use xds_api::envoy::r#type::v3 as types;

use super::{NO_EXTENSION, NO_NAMED_PORT, NO_RUNTIME, NO_TYPED_METADATA};
use crate::support;

const OWN_RESOLVER: &str = "the name servers of the system are asked without a library call that blocks";

support! {
    TABLES;

    message pb::Address as "envoy.config.core.v3.Address" {}
    oneof address: pb::address::Address {
        SocketAddress => socket_address: supported,
        Pipe => pipe: supported,
        EnvoyInternalAddress => envoy_internal_address: rejected("there are no internal listeners"),
    }

    message pb::SocketAddress as "envoy.config.core.v3.SocketAddress" {
        protocol: supported,
        address: supported,
        resolver_name: rejected("there are no custom resolvers"),
        ipv4_compat: rejected("listen on an IPv4 address beside the IPv6 one (additional_addresses)"),
        network_namespace_filepath: rejected("sockets are opened in the network namespace of the process"),
    }
    oneof port_specifier: pb::socket_address::PortSpecifier {
        PortValue => port_value: supported,
        NamedPort => named_port: rejected(NO_NAMED_PORT),
    }

    message pb::Pipe as "envoy.config.core.v3.Pipe" {
        path: supported,
        mode: supported,
    }

    message pb::CidrRange as "envoy.config.core.v3.CidrRange" {
        address_prefix: supported,
        prefix_len: supported,
    }

    message pb::TcpKeepalive as "envoy.config.core.v3.TcpKeepalive" {
        keepalive_probes: supported,
        keepalive_time: supported,
        keepalive_interval: supported,
    }

    message pb::BindConfig as "envoy.config.core.v3.BindConfig" {
        source_address: supported,
        freebind: supported,
        socket_options: supported,
        extra_source_addresses: supported,
        additional_source_addresses: supported,
        local_address_selector: rejected(NO_EXTENSION),
        validate_network_namespaces: without_effect("addresses cannot name a network namespace"),
    }

    message pb::ExtraSourceAddress as "envoy.config.core.v3.ExtraSourceAddress" {
        address: supported,
        socket_options: supported,
    }

    message pb::SocketOptionsOverride as "envoy.config.core.v3.SocketOptionsOverride" {
        socket_options: supported,
    }

    message pb::SocketOption as "envoy.config.core.v3.SocketOption" {
        description: supported,
        level: supported,
        name: supported,
        state: supported,
        r#type: supported,
        ip_version: supported,
    }
    oneof value: pb::socket_option::Value {
        IntValue => int_value: supported,
        BufValue => buf_value: supported,
    }

    message pb::socket_option::SocketType as "envoy.config.core.v3.SocketOption.SocketType" {
        stream: supported,
        datagram: supported,
    }

    message pb::socket_option::socket_type::Stream as "envoy.config.core.v3.SocketOption.SocketType.Stream" {}

    message pb::socket_option::socket_type::Datagram as "envoy.config.core.v3.SocketOption.SocketType.Datagram" {}

    message pb::DnsResolverOptions as "envoy.config.core.v3.DnsResolverOptions" {
        use_tcp_for_dns_lookups: supported,
        no_default_search_domain: supported,
    }

    message pb::DnsResolutionConfig as "envoy.config.core.v3.DnsResolutionConfig" {
        resolvers: supported,
        dns_resolver_options: supported,
    }

    message cares::CaresDnsResolverConfig as "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig" {
        resolvers: supported,
        use_resolvers_as_fallback: supported,
        filter_unroutable_families: supported,
        dns_resolver_options: supported,
        udp_max_queries: without_effect("each query has a socket of its own"),
        query_timeout_seconds: supported,
        query_tries: supported,
        rotate_nameservers: supported,
        edns0_max_payload_size: supported,
        max_udp_channel_duration: without_effect("each query has a socket of its own"),
        reinit_channel_on_timeout: without_effect("each query has a socket of its own"),
        qcache_max_ttl: without_effect("answers are good for as long as the cluster says (dns_refresh_rate, respect_dns_ttl)"),
    }

    message getaddrinfo::GetAddrInfoDnsResolverConfig
        as "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig" {
        num_retries: without_effect(OWN_RESOLVER),
        num_resolver_threads: without_effect(OWN_RESOLVER),
    }

    message pb::Metadata as "envoy.config.core.v3.Metadata" {
        filter_metadata: supported,
        typed_filter_metadata: without_effect(NO_TYPED_METADATA),
    }

    message pb::Locality as "envoy.config.core.v3.Locality" {
        region: supported,
        zone: supported,
        sub_zone: supported,
    }

    message pb::HeaderValue as "envoy.config.core.v3.HeaderValue" {
        key: supported,
        value: supported,
        raw_value: rejected("write value, which is text"),
    }

    message pb::HeaderValueOption as "envoy.config.core.v3.HeaderValueOption" {
        header: supported,
        append: supported,
        append_action: supported,
        keep_empty_value: supported,
    }

    message pb::WatchedDirectory as "envoy.config.core.v3.WatchedDirectory" {
        path: supported,
        watch_modify: rejected("only being moved into place is watched for"),
    }

    message pb::DataSource as "envoy.config.core.v3.DataSource" {
        watched_directory: supported,
    }
    oneof specifier: pb::data_source::Specifier {
        Filename => filename: supported,
        InlineBytes => inline_bytes: supported,
        InlineString => inline_string: supported,
        EnvironmentVariable => environment_variable: supported,
    }

    message pb::TransportSocket as "envoy.config.core.v3.TransportSocket" {
        name: supported,
    }
    oneof config_type: pb::transport_socket::ConfigType {
        TypedConfig => typed_config: supported,
    }

    message pb::TypedExtensionConfig as "envoy.config.core.v3.TypedExtensionConfig" {
        name: supported,
        typed_config: supported,
    }

    message pb::RuntimeFractionalPercent as "envoy.config.core.v3.RuntimeFractionalPercent" {
        default_value: supported,
        runtime_key: without_effect(NO_RUNTIME),
    }

    message pb::RuntimeUInt32 as "envoy.config.core.v3.RuntimeUInt32" {
        default_value: supported,
        runtime_key: without_effect(NO_RUNTIME),
    }

    message pb::RuntimeDouble as "envoy.config.core.v3.RuntimeDouble" {
        default_value: supported,
        runtime_key: without_effect(NO_RUNTIME),
    }

    message types::FractionalPercent as "envoy.type.v3.FractionalPercent" {
        numerator: supported,
        denominator: supported,
    }

    message pb::ConfigSource as "envoy.config.core.v3.ConfigSource" {
        authorities: rejected("xdstp names are not supported"),
        initial_fetch_timeout: supported,
        resource_api_version: supported,
    }
    oneof config_source_specifier: pb::config_source::ConfigSourceSpecifier {
        Path => path: supported,
        PathConfigSource => path_config_source: supported,
        ApiConfigSource => api_config_source: supported,
        Ads => ads: supported,
        Self_ => self_: supported,
    }

    message pb::PathConfigSource as "envoy.config.core.v3.PathConfigSource" {
        path: supported,
        watched_directory: supported,
        poll_interval: rejected("changes are watched for, not polled"),
    }

    message pb::ApiConfigSource as "envoy.config.core.v3.ApiConfigSource" {
        api_type: supported,
        transport_api_version: supported,
        cluster_names: rejected("only REST uses it, and REST is not supported: write grpc_services"),
        grpc_services: supported,
        refresh_delay: without_effect("only REST polls"),
        request_timeout: supported,
        rate_limit_settings: supported,
        set_node_on_first_message_only: supported,
        config_validators: rejected(NO_EXTENSION),
    }

    message pb::RateLimitSettings as "envoy.config.core.v3.RateLimitSettings" {
        max_tokens: supported,
        fill_rate: supported,
    }

    message pb::GrpcService as "envoy.config.core.v3.GrpcService" {
        timeout: supported,
        initial_metadata: supported,
        retry_policy: rejected("streams are opened again with a back-off of their own"),
    }
    oneof target_specifier: pb::grpc_service::TargetSpecifier {
        EnvoyGrpc => envoy_grpc: supported,
        GoogleGrpc => google_grpc: supported,
    }

    message pb::grpc_service::EnvoyGrpc as "envoy.config.core.v3.GrpcService.EnvoyGrpc" {
        cluster_name: supported,
        authority: supported,
        retry_policy: rejected("streams are opened again with a back-off of their own"),
        max_receive_message_length: supported,
        skip_envoy_headers: without_effect("no such headers are added"),
    }

    message pb::grpc_service::GoogleGrpc as "envoy.config.core.v3.GrpcService.GoogleGrpc" {
        target_uri: supported,
        channel_credentials: supported,
        channel_credentials_plugin: rejected(NO_EXTENSION),
        call_credentials: rejected("calls carry no credentials of their own"),
        call_credentials_plugin: rejected(NO_EXTENSION),
        stat_prefix: supported,
        credentials_factory_name: rejected("there are no credential factories"),
        config: rejected("there are no credential factories"),
        per_stream_buffer_limit_bytes: rejected("buffers of such streams have a fixed limit"),
        channel_args: rejected("the channel is not that of the gRPC C++ library"),
    }

    message pb::grpc_service::google_grpc::ChannelCredentials
        as "envoy.config.core.v3.GrpcService.GoogleGrpc.ChannelCredentials" {}
    oneof credential_specifier: pb::grpc_service::google_grpc::channel_credentials::CredentialSpecifier {
        SslCredentials => ssl_credentials: supported,
        GoogleDefault => google_default: rejected("there are no credentials of Google Cloud"),
        LocalCredentials => local_credentials: supported,
    }

    message pb::grpc_service::google_grpc::SslCredentials as "envoy.config.core.v3.GrpcService.GoogleGrpc.SslCredentials" {
        root_certs: supported,
        private_key: supported,
        cert_chain: supported,
    }

    message matcher::RegexMatcher as "envoy.type.matcher.v3.RegexMatcher" {
        regex: supported,
    }
    oneof engine_type: matcher::regex_matcher::EngineType {
        GoogleRe2 => google_re2: supported,
    }

    message matcher::RegexMatchAndSubstitute as "envoy.type.matcher.v3.RegexMatchAndSubstitute" {
        pattern: supported,
        substitution: supported,
    }

    message matcher::StringMatcher as "envoy.type.matcher.v3.StringMatcher" {
        ignore_case: supported,
    }
    oneof match_pattern: matcher::string_matcher::MatchPattern {
        Exact => exact: supported,
        Prefix => prefix: supported,
        Suffix => suffix: supported,
        SafeRegex => safe_regex: supported,
        Contains => contains: supported,
        Custom => custom: rejected(NO_EXTENSION),
    }

    message tls::SdsSecretConfig as "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig" {
        name: supported,
        sds_config: supported,
    }
}
