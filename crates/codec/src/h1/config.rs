//! What an HTTP/1.1 connection may do and how much it may use; names as in Envoy's `Http1ProtocolOptions`.

use std::time::Duration;

/// Settings of the connections of a listener or cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Most bytes of a head, start line included, and of a trailer section. Envoy's `max_request_headers_kb`: 60 KiB.
    pub max_headers_bytes: u32,
    /// Most fields of a head or a trailer section. Envoy's `max_headers_count`: 100.
    pub max_headers_count: u32,
    /// Server: a head must be complete this long after its first byte. Envoy's `request_headers_timeout`: off.
    pub request_headers_timeout: Option<Duration>,
    /// Server: refuse HTTP/1.1 requests without Host. A consumer that answers them itself turns it off. Default on.
    pub require_host: bool,
    /// Server: accept targets in absolute form (RFC 9112 section 3.2.2 says they must be; Envoy's default).
    pub allow_absolute_url: bool,
    /// Server: accept every method that is a token, and not only those that Envoy knows.
    pub allow_custom_methods: bool,
    /// Server: serve HTTP/1.0 requests; refused with 426 otherwise.
    pub accept_http_10: bool,
    /// Server: the authority of HTTP/1.0 requests that name none.
    pub default_host_for_http_10: Option<Box<[u8]>>,
    /// Send trailers, and report those received. Without it both are dropped, as is Envoy's default.
    pub enable_trailers: bool,
    /// How names are written.
    pub header_key_format: HeaderKeyFormat,
    /// Client: write `scheme://authority/path` as the target.
    pub send_fully_qualified_url: bool,
    /// Server: `:scheme` of requests whose target has none: `https` on TLS listeners.
    pub scheme: &'static [u8],
    /// Body bytes delivered and not yet given back by `release_credit` before `wants_read` turns false. Envoy's
    /// `per_connection_buffer_limit_bytes`: 1 MiB.
    pub credit_window: u32,
    /// Bytes in the output above which `send_data` reports less than it took.
    pub output_cap: u32,
    /// Most bytes of chunk extensions in one message, and of interim responses before one final response.
    pub max_chunk_extension_bytes: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_headers_bytes: 60 * 1024,
            max_headers_count: 100,
            request_headers_timeout: None,
            allow_absolute_url: true,
            allow_custom_methods: true,
            accept_http_10: false,
            require_host: true,
            default_host_for_http_10: None,
            enable_trailers: true,
            header_key_format: HeaderKeyFormat::LowerCase,
            send_fully_qualified_url: false,
            scheme: b"http",
            credit_window: 1024 * 1024,
            output_cap: 512 * 1024,
            max_chunk_extension_bytes: 16 * 1024,
        }
    }
}

/// How header names are written (Envoy's `header_key_format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderKeyFormat {
    /// In lower case.
    #[default]
    LowerCase,
    /// As the other side spelled them; in lower case where that is not known.
    PreserveCase,
    /// First letters of words in upper case: `Content-Length`.
    ProperCaseWords,
}
