//! `envoy.config.core.v3`, protocol.proto: options of the HTTP codecs.

use xds_api::envoy::config::core::v3 as pb;

use crate::support;

support! {
    TABLES;

    message pb::HttpProtocolOptions as "envoy.config.core.v3.HttpProtocolOptions" {
        idle_timeout: supported,
        max_connection_duration: supported,
        max_connection_duration_jitter: supported,
        max_headers_count: supported,
        max_response_headers_kb: supported,
        max_stream_duration: supported,
        headers_with_underscores_action: supported("http_options"),
        max_requests_per_connection: supported,
    }

    message pb::Http1ProtocolOptions as "envoy.config.core.v3.Http1ProtocolOptions" {
        allow_absolute_url: supported,
        accept_http_10: supported,
        default_host_for_http_10: supported,
        header_key_format: supported,
        enable_trailers: supported,
        allow_chunked_length: rejected("a message with both Content-Length and chunked encoding is refused (RFC 9112 section 6.1)"),
        override_stream_error_on_invalid_http_message: supported,
        send_fully_qualified_url: supported,
        use_balsa_parser: without_effect("there is one parser"),
        allow_custom_methods: supported("http_options"),
        ignore_http_11_upgrade: rejected("upgrades are allowed or not by upgrade_configs"),
    }

    message pb::Http2ProtocolOptions as "envoy.config.core.v3.Http2ProtocolOptions" {
        hpack_table_size: supported,
        max_concurrent_streams: supported,
        initial_stream_window_size: supported,
        initial_connection_window_size: supported,
        allow_connect: supported,
        allow_metadata: rejected("METADATA frames are not passed on"),
        max_outbound_frames: supported,
        max_outbound_control_frames: supported,
        max_consecutive_inbound_frames_with_empty_payload: supported,
        max_inbound_priority_frames_per_stream: supported,
        max_inbound_window_update_frames_per_data_frame_sent: supported,
        stream_error_on_invalid_http_messaging: supported,
        override_stream_error_on_invalid_http_message: supported,
        custom_settings_parameters: rejected("only the settings with fields of their own are sent"),
        connection_keepalive: supported,
        use_oghttp2_codec: without_effect("there is one codec"),
        max_metadata_size: without_effect("METADATA frames are not passed on"),
        enable_huffman_encoding: supported,
        max_header_field_size_kb: without_effect("a field may be as long as the head that it is in"),
        disallow_obs_text: rejected("bytes beyond ASCII in header values pass"),
        stream_reset_burst: supported,
        stream_reset_rate: supported,
    }

    message pb::KeepaliveSettings as "envoy.config.core.v3.KeepaliveSettings" {
        interval: supported,
        timeout: supported,
        interval_jitter: supported,
        connection_idle_interval: supported,
    }

    message pb::UpstreamHttpProtocolOptions as "envoy.config.core.v3.UpstreamHttpProtocolOptions" {
        auto_sni: supported,
        auto_san_validation: supported,
        override_auto_sni_header: supported,
    }
}
