//! Options of the HTTP codecs, shared by both sides of the proxy (`envoy.config.core.v3`, protocol.proto).
//!
//! An absent option is `None`: the side that uses it knows its default.

use std::sync::Arc;
use std::time::Duration;

mod parse;

/// Options of every HTTP version (`HttpProtocolOptions`).
#[derive(Debug, Clone, PartialEq)]
pub struct CommonHttpProtocolOptions {
    /// How long a connection without streams is kept. None for ever; absent in the configuration is one hour.
    pub idle_timeout: Option<Duration>,
    /// How long a connection lives at most; drained then.
    pub max_connection_duration: Option<Duration>,
    /// Percent of `max_connection_duration` that is added at random at most.
    pub max_connection_duration_jitter_percent: f64,
    /// Limit on the number of header fields, pseudo-headers included. Absent is 100.
    pub max_headers_count: Option<u32>,
    /// Limit on response headers from upstream, in KiB. Absent is 60.
    pub max_response_headers_kb: Option<u32>,
    /// How long a stream lives at most.
    pub max_stream_duration: Option<Duration>,
    /// What becomes of header names with an underscore.
    pub headers_with_underscores_action: HeadersWithUnderscoresAction,
    /// How many requests a connection serves at most; drained then. Absent or zero is without limit.
    pub max_requests_per_connection: Option<u32>,
}

impl CommonHttpProtocolOptions {
    /// Envoy's default for [`idle_timeout`](Self::idle_timeout).
    pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
}

impl Default for CommonHttpProtocolOptions {
    /// Envoy's defaults.
    fn default() -> Self {
        Self {
            idle_timeout: Some(Self::DEFAULT_IDLE_TIMEOUT),
            max_connection_duration: None,
            max_connection_duration_jitter_percent: 0.0,
            max_headers_count: None,
            max_response_headers_kb: None,
            max_stream_duration: None,
            headers_with_underscores_action: HeadersWithUnderscoresAction::Allow,
            max_requests_per_connection: None,
        }
    }
}

/// What becomes of header names with an underscore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeadersWithUnderscoresAction {
    /// They pass.
    #[default]
    Allow,
    /// The request is refused (HTTP/1: 400; HTTP/2: the stream is reset).
    RejectRequest,
    /// The header is dropped.
    DropHeader,
}

/// Options of HTTP/1.1 (`Http1ProtocolOptions`).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Http1ProtocolOptions {
    /// Whether a request target in absolute form is taken apart. Absent is true.
    pub allow_absolute_url: Option<bool>,
    /// Whether every method that is a token is served, and not only those that are known.
    pub allow_custom_methods: bool,
    /// Whether HTTP/1.0 is served.
    pub accept_http_10: bool,
    /// The host of an HTTP/1.0 request that names none.
    pub default_host_for_http_10: Option<Arc<str>>,
    /// The case of header names that are written.
    pub header_key_format: HeaderKeyFormat,
    /// Whether trailers pass.
    pub enable_trailers: bool,
    /// Whether a message with an invalid field ends only its own stream.
    pub override_stream_error_on_invalid_http_message: Option<bool>,
    /// Whether requests are sent in absolute form.
    pub send_fully_qualified_url: bool,
}

/// The case of header names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeaderKeyFormat {
    /// Lower case.
    #[default]
    Lower,
    /// Each word begins with a capital: `Content-Type`.
    ProperCaseWords,
    /// As it was received (`preserve_case`).
    PreserveCase,
}

/// Options of HTTP/2 (`Http2ProtocolOptions`).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Http2ProtocolOptions {
    /// SETTINGS_HEADER_TABLE_SIZE in bytes. Absent is 4096.
    pub hpack_table_size: Option<u32>,
    /// SETTINGS_MAX_CONCURRENT_STREAMS. Absent is 1024 downstream, the peer's upstream.
    pub max_concurrent_streams: Option<u32>,
    /// SETTINGS_INITIAL_WINDOW_SIZE in bytes. Absent is 16 MiB.
    pub initial_stream_window_size: Option<u32>,
    /// Window of a connection in bytes. Absent is 24 MiB.
    pub initial_connection_window_size: Option<u32>,
    /// Whether extended CONNECT (RFC 8441) is allowed.
    pub allow_connect: bool,
    /// Limit on frames waiting to be written. Absent is 10,000.
    pub max_outbound_frames: Option<u32>,
    /// Limit on PING, SETTINGS and RST_STREAM frames among them. Absent is 1000.
    pub max_outbound_control_frames: Option<u32>,
    /// Limit on consecutive received frames with an empty payload and without END_STREAM. Absent is 1.
    pub max_consecutive_inbound_frames_with_empty_payload: Option<u32>,
    /// Limit on received PRIORITY frames, for each stream opened. Absent is 100.
    pub max_inbound_priority_frames_per_stream: Option<u32>,
    /// Limit on received WINDOW_UPDATE frames, for each DATA frame sent. Absent is 10.
    pub max_inbound_window_update_frames_per_data_frame_sent: Option<u32>,
    /// Whether strings are Huffman coded where that is shorter. Absent is true.
    pub enable_huffman_encoding: Option<bool>,
    /// Whether an invalid message ends only its own stream.
    pub override_stream_error_on_invalid_http_message: Option<bool>,
    /// PING keepalive.
    pub connection_keepalive: Option<KeepaliveSettings>,
    /// Limit on a single received header field in KiB.
    pub max_header_field_size_kb: Option<u32>,
    /// How many streams a peer may reset at once, and afterwards a second, before the connection is closed.
    pub stream_reset_limit: Option<StreamResetLimit>,
}

/// A token bucket for streams that a peer resets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamResetLimit {
    /// Size of the bucket.
    pub burst: u64,
    /// Tokens a second.
    pub rate: u64,
}

/// PING keepalive of an HTTP/2 connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeepaliveSettings {
    /// Time between pings; none for no regular pings.
    pub interval: Option<Duration>,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// Percent of `interval` that is added at random at most.
    pub interval_jitter_percent: f64,
    /// A ping is sent before a new stream when the connection was idle for this long.
    pub connection_idle_interval: Option<Duration>,
}

/// Options of HTTP upstreams that concern TLS (`UpstreamHttpProtocolOptions`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpstreamHttpProtocolOptions {
    /// Whether the server name comes from the request's host.
    pub auto_sni: bool,
    /// Whether the certificate must be for that host.
    pub auto_san_validation: bool,
    /// The header that gives the server name in place of the host.
    pub override_auto_sni_header: Option<Arc<str>>,
}
