//! Statistics of the codecs: process-wide for downstream (`http1.`, `http2.`), per cluster for upstream.

use crate::stats::definition::stat_table;

stat_table! {
    /// `http1.*`, below nothing or below `cluster.<name>.` (Envoy: HTTP connection manager > Per codec statistics).
    pub mod http1 {
        counters {
            DROPPED_HEADERS_WITH_UNDERSCORES = "dropped_headers_with_underscores",
            METADATA_NOT_SUPPORTED_ERROR = "metadata_not_supported_error",
            REQUESTS_REJECTED_WITH_UNDERSCORES_IN_HEADERS = "requests_rejected_with_underscores_in_headers",
            RESPONSE_FLOOD = "response_flood",
        }
    }
}

stat_table! {
    /// `http2.*`, below nothing or below `cluster.<name>.` (Envoy: HTTP connection manager > Per codec statistics). What
    /// is shown only once it was used has no name in Envoy.
    pub mod http2 {
        counters {
            COOKIES_TOTAL_BYTES_TOO_LARGE = "cookies_total_bytes_too_large",
            DROPPED_HEADERS_WITH_UNDERSCORES = "dropped_headers_with_underscores",
            GOAWAY_SENT = "goaway_sent",
            HEADER_LIST_SIZE_TOO_LARGE = "header_list_size_too_large",
            HEADER_OVERFLOW = "header_overflow",
            HEADERS_CB_NO_STREAM = "headers_cb_no_stream",
            GOAWAY_GRACEFUL_SENT = "goaway_graceful_sent": when_used,
            HEADERS_TIMEOUT = "headers_timeout": when_used,
            HPACK_ERROR = "hpack_error": when_used,
            INBOUND_CONTINUATION_FLOOD = "inbound_continuation_flood": when_used,
            INBOUND_EMPTY_FRAMES_FLOOD = "inbound_empty_frames_flood",
            INBOUND_PING_FLOOD = "inbound_ping_flood": when_used,
            INBOUND_PRIORITY_FRAMES_FLOOD = "inbound_priority_frames_flood",
            INBOUND_RESET_FLOOD = "inbound_reset_flood": when_used,
            INBOUND_SETTINGS_FLOOD = "inbound_settings_flood": when_used,
            INBOUND_USELESS_FRAMES_FLOOD = "inbound_useless_frames_flood": when_used,
            INBOUND_WINDOW_UPDATE_FRAMES_FLOOD = "inbound_window_update_frames_flood",
            KEEPALIVE_TIMEOUT = "keepalive_timeout",
            MADE_YOU_RESET = "made_you_reset": when_used,
            METADATA_EMPTY_FRAMES = "metadata_empty_frames",
            OUTBOUND_CONTROL_FLOOD = "outbound_control_flood",
            OUTBOUND_FLOOD = "outbound_flood",
            RAPID_RESET = "rapid_reset": when_used,
            REQUESTS_REJECTED_WITH_UNDERSCORES_IN_HEADERS = "requests_rejected_with_underscores_in_headers",
            RX_MESSAGING_ERROR = "rx_messaging_error",
            RX_RESET = "rx_reset",
            SETTINGS_TIMEOUT = "settings_timeout": when_used,
            STREAM_REFUSED_ERRORS = "stream_refused_errors",
            TRAILERS = "trailers",
            TX_FLUSH_TIMEOUT = "tx_flush_timeout",
            TX_RESET = "tx_reset",
        }
        gauges {
            DEFERRED_STREAM_CLOSE = "deferred_stream_close",
            OUTBOUND_CONTROL_FRAMES_ACTIVE = "outbound_control_frames_active",
            OUTBOUND_FRAMES_ACTIVE = "outbound_frames_active",
            PENDING_SEND_BYTES = "pending_send_bytes",
            STREAMS_ACTIVE = "streams_active",
        }
        histograms {
            COOKIE_COUNT = "cookie_count",
            COOKIE_SIZE = "cookie_size",
            HEADER_COUNT = "header_count",
            HEADER_LIST_SIZE = "header_list_size",
        }
    }
}
