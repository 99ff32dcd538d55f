//! From the configuration's protocol options to the codecs'.

use std::time::Duration;

use config::cluster::{Cluster, HttpProtocolOptions, UpstreamProtocol};
use config::http_connection_manager::HttpConnectionManager;
use config::http_protocol_options::{HeaderKeyFormat, Http1ProtocolOptions, Http2ProtocolOptions};

use codec::{h1, h2};

/// Envoy's limit on response headers, in KiB, where nothing is said.
const DEFAULT_MAX_RESPONSE_HEADERS_KB: u32 = 60;

/// How long the final GOAWAY of a drain waits for the peer's answer to a PING. A request that comes later is refused
/// as not processed, so that its sender sends it again elsewhere.
const DRAIN_ROUND_TRIP: Duration = Duration::from_secs(1);

/// HTTP/2 towards callers.
pub(crate) fn h2_server(manager: &HttpConnectionManager) -> h2::Config {
    let mut config = h2(&manager.http2_protocol_options);
    header_list(&mut config, manager.max_request_headers_kb);
    if let Some(count) = manager.common_http_protocol_options.max_headers_count {
        config.max_headers_count = count;
    }
    if manager.stream_error_on_invalid_http_message {
        config.stream_error_on_invalid_http_message = true;
    }
    // The codec waits for a round trip, not for a time; a peer that does not answer while idle holds up a drain.
    config.drain_round_trip_timeout = manager.drain_timeout.min(DRAIN_ROUND_TRIP);
    config.header_timeout = manager.request_headers_timeout;
    config.stall_timeout = manager.stream_flush_timeout.unwrap_or(manager.stream_idle_timeout);
    config
}

/// HTTP/2 towards endpoints.
pub(crate) fn h2_client(options: &HttpProtocolOptions) -> h2::Config {
    let mut config = match &options.upstream_protocol {
        UpstreamProtocol::Http2(http2)
        | UpstreamProtocol::UseDownstream { http2, .. }
        | UpstreamProtocol::Auto { http2, .. } => h2(http2),
        UpstreamProtocol::Http1(_) => h2::Config::default(),
    };
    let kilobytes = options
        .common
        .max_response_headers_kb
        .unwrap_or(DEFAULT_MAX_RESPONSE_HEADERS_KB);
    header_list(&mut config, kilobytes);
    if let Some(count) = options.common.max_headers_count {
        config.max_headers_count = count;
    }
    config
}

/// The size of header lists, which must fit into the frames that a header block may have.
fn header_list(config: &mut h2::Config, kilobytes: u32) {
    config.max_header_list_size = kilobytes * 1024;
    let frames = config.max_header_list_size.div_ceil(config.max_frame_size);
    let most = &mut config.limits.max_continuation_frames;
    *most = (*most).max(frames);
}

fn h2(options: &Http2ProtocolOptions) -> h2::Config {
    let mut config = h2::Config::default();
    set(&mut config.hpack_table_size, options.hpack_table_size);
    set(&mut config.max_concurrent_streams, options.max_concurrent_streams);
    set(
        &mut config.initial_stream_window_size,
        options.initial_stream_window_size,
    );
    set(
        &mut config.initial_connection_window_size,
        options.initial_connection_window_size,
    );
    config.allow_connect = options.allow_connect;
    let limits = &mut config.limits;
    set(&mut limits.max_outbound_frames, options.max_outbound_frames);
    set(
        &mut limits.max_outbound_control_frames,
        options.max_outbound_control_frames,
    );
    set(
        &mut limits.max_consecutive_inbound_frames_with_empty_payload,
        options.max_consecutive_inbound_frames_with_empty_payload,
    );
    set(
        &mut limits.max_inbound_priority_frames_per_stream,
        options.max_inbound_priority_frames_per_stream,
    );
    set(
        &mut limits.max_inbound_window_update_frames_per_data_frame_sent,
        options.max_inbound_window_update_frames_per_data_frame_sent,
    );
    if let Some(limit) = options.stream_reset_limit {
        limits.reset_frames = h2::Rate {
            burst: u32::try_from(limit.burst).unwrap_or(u32::MAX),
            per_second: u32::try_from(limit.rate).unwrap_or(u32::MAX),
        };
    }
    set(&mut config.enable_huffman_encoding, options.enable_huffman_encoding);
    if let Some(only_the_stream) = options.override_stream_error_on_invalid_http_message {
        config.stream_error_on_invalid_http_message = only_the_stream;
    }
    if let Some(keepalive) = &options.connection_keepalive {
        config.keepalive = Some(h2::Keepalive {
            interval: keepalive.interval.unwrap_or_default(),
            timeout: keepalive.timeout,
            interval_jitter_percent: keepalive.interval_jitter_percent,
            connection_idle_interval: keepalive.connection_idle_interval.unwrap_or_default(),
            ..h2::Keepalive::default()
        });
    }
    config
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

/// HTTP/1.1 towards callers.
pub(crate) fn h1_server(manager: &HttpConnectionManager, is_tls: bool) -> h1::Config {
    let mut config = h1(&manager.http_protocol_options);
    config.scheme = if is_tls { b"https" } else { b"http" };
    config.max_headers_bytes = manager.max_request_headers_kb * 1024;
    set(
        &mut config.max_headers_count,
        manager.common_http_protocol_options.max_headers_count,
    );
    config.request_headers_timeout = manager.request_headers_timeout;
    // The pipeline answers them, as Envoy's connection manager does, so that they are logged with what they asked for.
    config.require_host = false;
    config
}

/// HTTP/1.1 towards endpoints.
pub(crate) fn h1_client(cluster: &Cluster) -> h1::Config {
    let options = &cluster.http_protocol_options;
    let mut config = match &options.upstream_protocol {
        UpstreamProtocol::Http1(http1)
        | UpstreamProtocol::UseDownstream { http1, .. }
        | UpstreamProtocol::Auto { http1, .. } => h1(http1),
        UpstreamProtocol::Http2(_) => h1::Config::default(),
    };
    let kilobytes = options
        .common
        .max_response_headers_kb
        .unwrap_or(DEFAULT_MAX_RESPONSE_HEADERS_KB);
    config.max_headers_bytes = kilobytes * 1024;
    set(&mut config.max_headers_count, options.common.max_headers_count);
    // HTTP/1.1 has no window: reading stops when so much waits to be passed on.
    config.credit_window = match cluster.per_connection_buffer_limit_bytes {
        0 => u32::MAX,
        limit => limit,
    };
    config
}

fn h1(options: &Http1ProtocolOptions) -> h1::Config {
    h1::Config {
        accept_http_10: options.accept_http_10,
        default_host_for_http_10: options
            .default_host_for_http_10
            .as_ref()
            .map(|host| host.as_bytes().into()),
        allow_absolute_url: options.allow_absolute_url.unwrap_or(true),
        allow_custom_methods: options.allow_custom_methods,
        send_fully_qualified_url: options.send_fully_qualified_url,
        header_key_format: match options.header_key_format {
            HeaderKeyFormat::Lower => h1::HeaderKeyFormat::LowerCase,
            HeaderKeyFormat::ProperCaseWords => h1::HeaderKeyFormat::ProperCaseWords,
            HeaderKeyFormat::PreserveCase => h1::HeaderKeyFormat::PreserveCase,
        },
        enable_trailers: options.enable_trailers,
        ..h1::Config::default()
    }
}
