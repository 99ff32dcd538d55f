//! What an HTTP/2 connection is told: Envoy's `Http2ProtocolOptions` with Envoy's defaults, plus the limits Envoy
//! keeps elsewhere or does not have.

use std::time::Duration;

/// Configuration of an HTTP/2 connection, shared by every connection of a listener or cluster. Field names and
/// defaults are those of `envoy.config.core.v3.Http2ProtocolOptions` where one exists. Start from [`Config::default`].
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Octets of dynamic HPACK table the peer's encoder may use of our decoder, and the most our encoder uses of the
    /// peer's (RFC 7541 section 4.2). 0 disables the dynamic tables. Default 4096.
    pub hpack_table_size: u32,
    /// Streams the peer may have open at once; for a client also the most it opens itself. Default 1024.
    pub max_concurrent_streams: u32,
    /// Octets a peer may send on one stream before credit is given back (RFC 9113 section 6.9.2). Default 16 MiB.
    pub initial_stream_window_size: u32,
    /// The same for the connection; at least 65,535, which every connection starts with. Default 24 MiB.
    pub initial_connection_window_size: u32,
    /// The connection's window begins as above and grows with what comes in during a round trip, up to this; `None`
    /// leaves it as it is. Default `None`.
    pub max_connection_window_size: Option<u32>,
    /// Largest frame payload the peer may send, 16,384 to 16,777,215 octets. Default 16,384.
    pub max_frame_size: u32,
    /// Largest list of header fields taken, counted as RFC 9113 section 6.5.2 does (32 octets more a field), in
    /// octets. Envoy's `max_request_headers_kb`. Default 60 KiB.
    pub max_header_list_size: u32,
    /// Most header fields in one block, pseudo-header fields included. Envoy's `max_headers_count`. Default 100.
    pub max_headers_count: u32,
    /// Whether a server offers extended CONNECT (RFC 8441). Default false.
    pub allow_connect: bool,
    /// `override_stream_error_on_invalid_http_message`: a malformed message (RFC 9113 section 8.1.1) ends its stream
    /// only; without it the whole connection. Default false, as in Envoy.
    pub stream_error_on_invalid_http_message: bool,
    /// Whether DATA that follows other data of its stream extends that frame while nothing of it has been written: the
    /// boundaries of DATA frames mean nothing (RFC 9113 section 6.1) and fewer are cheaper. Default true; a load
    /// generator that stands for a server which writes a frame a message turns it off.
    pub join_data_frames: bool,
    /// Whether string literals are Huffman coded when that is shorter. Default true.
    pub enable_huffman_encoding: bool,
    /// PINGs that find out whether the peer is alive; `None` sends none. Default `None`.
    pub keepalive: Option<Keepalive>,
    /// Time for the peer to acknowledge our SETTINGS, from its own SETTINGS on. Default 30 s.
    pub settings_timeout: Option<Duration>,
    /// Time from the first octet of a frame other than DATA, or of a header block, to its last: slow headers.
    /// Default 30 s.
    pub header_timeout: Option<Duration>,
    /// Longest time queued data may wait without a single octet leaving its stream (the peer's window stays shut) or
    /// the connection (the peer does not read). Default 5 minutes, Envoy's stream idle timeout.
    pub stall_timeout: Option<Duration>,
    /// Time the second GOAWAY of a drain waits for the round trip of its PING at most. Default 5 s.
    pub drain_round_trip_timeout: Duration,
    /// Bounds on what a hostile peer can make this connection do.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hpack_table_size: 4096,
            max_concurrent_streams: 1024,
            initial_stream_window_size: 16 * 1024 * 1024,
            initial_connection_window_size: 24 * 1024 * 1024,
            max_connection_window_size: None,
            max_frame_size: 16_384,
            max_header_list_size: 60 * 1024,
            max_headers_count: 100,
            allow_connect: false,
            stream_error_on_invalid_http_message: false,
            join_data_frames: true,
            enable_huffman_encoding: true,
            keepalive: None,
            settings_timeout: Some(Duration::from_secs(30)),
            header_timeout: Some(Duration::from_secs(30)),
            stall_timeout: Some(Duration::from_secs(300)),
            drain_round_trip_timeout: Duration::from_secs(5),
            limits: Limits::default(),
        }
    }
}

/// `envoy.config.core.v3.KeepaliveSettings`.
#[derive(Clone, Debug, PartialEq)]
pub struct Keepalive {
    /// Period between PINGs; zero sends none on a period.
    pub interval: Duration,
    /// How long an answer may take before the connection is aborted; any frame received extends it.
    pub timeout: Duration,
    /// Random part of `interval` added to each period, in percent. Envoy's default is 15.
    pub interval_jitter_percent: f64,
    /// Where the random part comes from: connections mix it with [`super::Connection::seed_jitter`]. The codec itself
    /// has no source of randomness.
    pub jitter_seed: u64,
    /// After this time without a frame from the peer, a PING goes ahead of the next new stream; zero disables.
    pub connection_idle_interval: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            interval: Duration::ZERO,
            timeout: Duration::from_secs(10),
            interval_jitter_percent: 15.0,
            jitter_seed: 0x9e37_79b9_7f4a_7c15,
            connection_idle_interval: Duration::ZERO,
        }
    }
}

/// Abuse limits. Each ends the connection with `ENHANCE_YOUR_CALM` (unless it says otherwise) and counts in the
/// statistic it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Frames of any type waiting for the socket (`outbound_flood`). Default 10,000.
    pub max_outbound_frames: u32,
    /// PING, SETTINGS and RST_STREAM frames waiting for the socket (`outbound_control_flood`). Default 1,000.
    pub max_outbound_control_frames: u32,
    /// Octets waiting for the socket: DATA stops at 512 KiB by itself, headers and control frames stop here
    /// (`outbound_flood`). Default 16 MiB.
    pub max_outbound_bytes: u32,
    /// Consecutive HEADERS, CONTINUATION and DATA frames without payload and without END_STREAM
    /// (`inbound_empty_frames_flood`). Default 1.
    pub max_consecutive_inbound_frames_with_empty_payload: u32,
    /// PRIORITY frames allowed per opened stream, plus one stream (`inbound_priority_frames_flood`). Default 100.
    pub max_inbound_priority_frames_per_stream: u32,
    /// WINDOW_UPDATE frames allowed: 5 + 2 * (opened streams + this * DATA frames sent)
    /// (`inbound_window_update_frames_flood`). Default 10.
    pub max_inbound_window_update_frames_per_data_frame_sent: u32,
    /// CONTINUATION frames of one header block, CVE-2024-27316 (`inbound_continuation_flood`). Default 16.
    pub max_continuation_frames: u32,
    /// SETTINGS frames in a burst and per second afterwards, CVE-2019-9515 (`inbound_settings_flood`).
    pub settings_frames: Rate,
    /// PING frames in a burst and per second afterwards, CVE-2019-9512; each DATA or HEADERS frame exchanged allows two
    /// more, as bandwidth estimators send one a round trip (`inbound_ping_flood`).
    pub ping_frames: Rate,
    /// Frames that are tolerated without use: unknown types, RST_STREAM and late frames on closed streams, in a burst
    /// and per second afterwards (`inbound_useless_frames_flood`).
    pub useless_frames: Rate,
    /// Stream errors the peer makes us signal, CVE-2025-8671 "made you reset", in a burst and per second afterwards
    /// (`made_you_reset`).
    pub stream_errors: Rate,
    /// Server: RST_STREAM frames in a burst and per second afterwards, CVE-2023-44487 (`inbound_reset_flood`). Envoy's
    /// `stream_reset_burst` and `stream_reset_rate`. Default 1,000 and 33.
    pub reset_frames: Rate,
    /// Streams after which more than half reset by the peer within `premature_reset_min_stream_lifetime` ends the
    /// connection, CVE-2023-44487 "rapid reset" (`rapid_reset`). Envoy's runtime key
    /// `overload.premature_reset_total_stream_count`. Default 500; 0 disables.
    pub premature_reset_total_stream_count: u32,
    /// A stream reset by its peer earlier than this after its start was reset prematurely. Default 1 s.
    pub premature_reset_min_stream_lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_outbound_frames: 10_000,
            max_outbound_control_frames: 1_000,
            max_outbound_bytes: 16 * 1024 * 1024,
            max_consecutive_inbound_frames_with_empty_payload: 1,
            max_inbound_priority_frames_per_stream: 100,
            max_inbound_window_update_frames_per_data_frame_sent: 10,
            max_continuation_frames: 16,
            settings_frames: Rate {
                burst: 100,
                per_second: 10,
            },
            ping_frames: Rate {
                burst: 1_000,
                per_second: 100,
            },
            useless_frames: Rate {
                burst: 10_000,
                per_second: 1_000,
            },
            stream_errors: Rate {
                burst: 100,
                per_second: 10,
            },
            reset_frames: Rate {
                burst: 1_000,
                per_second: 33,
            },
            premature_reset_total_stream_count: 500,
            premature_reset_min_stream_lifetime: Duration::from_secs(1),
        }
    }
}

/// A token bucket's size and refill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many may come at once.
    pub burst: u32,
    /// How many more each second.
    pub per_second: u32,
}
