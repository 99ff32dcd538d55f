//! Statistics of an HTTP connection manager: `http.<stat_prefix>.*` and its share of a listener.

use crate::stats::definition::stat_table;

stat_table! {
    /// `http.<stat_prefix>.*` (Envoy: HTTP connection manager > Statistics, and Router > Statistics).
    pub mod http {
        counters {
            DOWNSTREAM_CX_DELAYED_CLOSE_TIMEOUT = "downstream_cx_delayed_close_timeout",
            DOWNSTREAM_CX_DESTROY = "downstream_cx_destroy",
            DOWNSTREAM_CX_DESTROY_ACTIVE_RQ = "downstream_cx_destroy_active_rq",
            DOWNSTREAM_CX_DESTROY_LOCAL = "downstream_cx_destroy_local",
            DOWNSTREAM_CX_DESTROY_LOCAL_ACTIVE_RQ = "downstream_cx_destroy_local_active_rq",
            DOWNSTREAM_CX_DESTROY_REMOTE = "downstream_cx_destroy_remote",
            DOWNSTREAM_CX_DESTROY_REMOTE_ACTIVE_RQ = "downstream_cx_destroy_remote_active_rq",
            DOWNSTREAM_CX_DRAIN_CLOSE = "downstream_cx_drain_close",
            DOWNSTREAM_CX_HTTP1_TOTAL = "downstream_cx_http1_total",
            DOWNSTREAM_CX_HTTP2_TOTAL = "downstream_cx_http2_total",
            DOWNSTREAM_CX_HTTP3_TOTAL = "downstream_cx_http3_total",
            DOWNSTREAM_CX_IDLE_TIMEOUT = "downstream_cx_idle_timeout",
            DOWNSTREAM_CX_MAX_DURATION_REACHED = "downstream_cx_max_duration_reached",
            DOWNSTREAM_CX_MAX_REQUESTS_REACHED = "downstream_cx_max_requests_reached",
            DOWNSTREAM_CX_OVERLOAD_DISABLE_KEEPALIVE = "downstream_cx_overload_disable_keepalive",
            DOWNSTREAM_CX_PROTOCOL_ERROR = "downstream_cx_protocol_error",
            DOWNSTREAM_CX_RX_BYTES_TOTAL = "downstream_cx_rx_bytes_total",
            DOWNSTREAM_CX_SSL_TOTAL = "downstream_cx_ssl_total",
            DOWNSTREAM_CX_TOTAL = "downstream_cx_total",
            DOWNSTREAM_CX_TX_BYTES_TOTAL = "downstream_cx_tx_bytes_total",
            DOWNSTREAM_CX_UPGRADES_TOTAL = "downstream_cx_upgrades_total",
            DOWNSTREAM_FLOW_CONTROL_PAUSED_READING_TOTAL = "downstream_flow_control_paused_reading_total",
            DOWNSTREAM_FLOW_CONTROL_RESUMED_READING_TOTAL = "downstream_flow_control_resumed_reading_total",
            DOWNSTREAM_RQ_1XX = "downstream_rq_1xx" as "downstream_rq_xx" tagged "envoy_response_code_class" = "1",
            DOWNSTREAM_RQ_2XX = "downstream_rq_2xx" as "downstream_rq_xx" tagged "envoy_response_code_class" = "2",
            DOWNSTREAM_RQ_3XX = "downstream_rq_3xx" as "downstream_rq_xx" tagged "envoy_response_code_class" = "3",
            DOWNSTREAM_RQ_4XX = "downstream_rq_4xx" as "downstream_rq_xx" tagged "envoy_response_code_class" = "4",
            DOWNSTREAM_RQ_5XX = "downstream_rq_5xx" as "downstream_rq_xx" tagged "envoy_response_code_class" = "5",
            DOWNSTREAM_RQ_COMPLETED = "downstream_rq_completed",
            DOWNSTREAM_RQ_FAILED_PATH_NORMALIZATION = "downstream_rq_failed_path_normalization",
            DOWNSTREAM_RQ_HEADER_TIMEOUT = "downstream_rq_header_timeout",
            DOWNSTREAM_RQ_HTTP1_TOTAL = "downstream_rq_http1_total",
            DOWNSTREAM_RQ_HTTP2_TOTAL = "downstream_rq_http2_total",
            DOWNSTREAM_RQ_HTTP3_TOTAL = "downstream_rq_http3_total",
            DOWNSTREAM_RQ_IDLE_TIMEOUT = "downstream_rq_idle_timeout",
            DOWNSTREAM_RQ_MAX_DURATION_REACHED = "downstream_rq_max_duration_reached",
            DOWNSTREAM_RQ_NON_RELATIVE_PATH = "downstream_rq_non_relative_path",
            DOWNSTREAM_RQ_OVERLOAD_CLOSE = "downstream_rq_overload_close",
            DOWNSTREAM_RQ_REDIRECTED_WITH_NORMALIZED_PATH = "downstream_rq_redirected_with_normalized_path",
            DOWNSTREAM_RQ_REJECTED_VIA_IP_DETECTION = "downstream_rq_rejected_via_ip_detection",
            DOWNSTREAM_RQ_RESPONSE_BEFORE_RQ_COMPLETE = "downstream_rq_response_before_rq_complete",
            DOWNSTREAM_RQ_RX_RESET = "downstream_rq_rx_reset",
            DOWNSTREAM_RQ_TIMEOUT = "downstream_rq_timeout",
            DOWNSTREAM_RQ_TOO_LARGE = "downstream_rq_too_large",
            DOWNSTREAM_RQ_TOO_MANY_PREMATURE_RESETS = "downstream_rq_too_many_premature_resets",
            DOWNSTREAM_RQ_TOTAL = "downstream_rq_total",
            DOWNSTREAM_RQ_TX_RESET = "downstream_rq_tx_reset",
            DOWNSTREAM_RQ_WS_ON_NON_WS_ROUTE = "downstream_rq_ws_on_non_ws_route",
            NO_CLUSTER = "no_cluster",
            NO_ROUTE = "no_route",
            PASSTHROUGH_INTERNAL_REDIRECT_BAD_LOCATION = "passthrough_internal_redirect_bad_location",
            PASSTHROUGH_INTERNAL_REDIRECT_NO_ROUTE = "passthrough_internal_redirect_no_route",
            PASSTHROUGH_INTERNAL_REDIRECT_PREDICATE = "passthrough_internal_redirect_predicate",
            PASSTHROUGH_INTERNAL_REDIRECT_TOO_MANY_REDIRECTS = "passthrough_internal_redirect_too_many_redirects",
            PASSTHROUGH_INTERNAL_REDIRECT_UNSAFE_SCHEME = "passthrough_internal_redirect_unsafe_scheme",
            RQ_DIRECT_RESPONSE = "rq_direct_response",
            RQ_OVERLOAD_LOCAL_REPLY = "rq_overload_local_reply",
            RQ_REDIRECT = "rq_redirect",
            RQ_RESET_AFTER_DOWNSTREAM_RESPONSE_STARTED = "rq_reset_after_downstream_response_started",
            RQ_TOTAL = "rq_total",
            RS_TOO_LARGE = "rs_too_large",
            TRACING_CLIENT_ENABLED = "tracing.client_enabled",
            TRACING_HEALTH_CHECK = "tracing.health_check",
            TRACING_NOT_TRACEABLE = "tracing.not_traceable",
            TRACING_RANDOM_SAMPLING = "tracing.random_sampling",
            TRACING_SERVICE_FORCED = "tracing.service_forced",
        }
        gauges {
            DOWNSTREAM_CX_ACTIVE = "downstream_cx_active",
            DOWNSTREAM_CX_HTTP1_ACTIVE = "downstream_cx_http1_active",
            DOWNSTREAM_CX_HTTP1_SOFT_DRAIN = "downstream_cx_http1_soft_drain",
            DOWNSTREAM_CX_HTTP2_ACTIVE = "downstream_cx_http2_active",
            DOWNSTREAM_CX_HTTP3_ACTIVE = "downstream_cx_http3_active",
            DOWNSTREAM_CX_RX_BYTES_BUFFERED = "downstream_cx_rx_bytes_buffered",
            DOWNSTREAM_CX_SSL_ACTIVE = "downstream_cx_ssl_active",
            DOWNSTREAM_CX_TX_BYTES_BUFFERED = "downstream_cx_tx_bytes_buffered",
            DOWNSTREAM_CX_UPGRADES_ACTIVE = "downstream_cx_upgrades_active",
            DOWNSTREAM_RQ_ACTIVE = "downstream_rq_active",
        }
        histograms {
            DOWNSTREAM_CX_LENGTH_MS = "downstream_cx_length_ms",
            DOWNSTREAM_RQ_TIME = "downstream_rq_time",
        }
    }
}

stat_table! {
    /// `listener.<address>.http.<stat_prefix>.*`: answers by class, per listener.
    pub mod listener_http {
        counters {
            DOWNSTREAM_RQ_1XX = "downstream_rq_1xx" as "downstream_rq_xx" tagged "envoy_response_code_class" = "1",
            DOWNSTREAM_RQ_2XX = "downstream_rq_2xx" as "downstream_rq_xx" tagged "envoy_response_code_class" = "2",
            DOWNSTREAM_RQ_3XX = "downstream_rq_3xx" as "downstream_rq_xx" tagged "envoy_response_code_class" = "3",
            DOWNSTREAM_RQ_4XX = "downstream_rq_4xx" as "downstream_rq_xx" tagged "envoy_response_code_class" = "4",
            DOWNSTREAM_RQ_5XX = "downstream_rq_5xx" as "downstream_rq_xx" tagged "envoy_response_code_class" = "5",
            DOWNSTREAM_RQ_COMPLETED = "downstream_rq_completed",
        }
    }
}

stat_table! {
    /// `http.<stat_prefix>.rds.<route_config_name>.*`: one RDS subscription.
    pub mod rds {
        counters {
            CONFIG_RELOAD = "config_reload",
            INIT_FETCH_TIMEOUT = "init_fetch_timeout",
            UPDATE_ATTEMPT = "update_attempt",
            UPDATE_EMPTY = "update_empty",
            UPDATE_FAILURE = "update_failure",
            UPDATE_REJECTED = "update_rejected",
            UPDATE_SUCCESS = "update_success",
        }
        gauges {
            CONFIG_RELOAD_TIME_MS = "config_reload_time_ms",
            UPDATE_TIME = "update_time",
            VERSION = "version",
        }
        histograms {
            UPDATE_DURATION = "update_duration",
        }
        texts {
            VERSION_TEXT = "version_text",
        }
    }
}

stat_table! {
    /// `sds.<name>.*`: one SDS subscription.
    pub mod sds {
        counters {
            INIT_FETCH_TIMEOUT = "init_fetch_timeout",
            KEY_ROTATION_FAILED = "key_rotation_failed",
            UPDATE_ATTEMPT = "update_attempt",
            UPDATE_FAILURE = "update_failure",
            UPDATE_REJECTED = "update_rejected",
            UPDATE_SUCCESS = "update_success",
        }
        gauges {
            UPDATE_TIME = "update_time",
            VERSION = "version",
        }
        histograms {
            UPDATE_DURATION = "update_duration",
        }
        texts {
            VERSION_TEXT = "version_text",
        }
    }
}

stat_table! {
    /// `tcp.<stat_prefix>.*` (Envoy: TCP proxy > Statistics).
    pub mod tcp {
        counters {
            DOWNSTREAM_CX_DRAIN_CLOSE = "downstream_cx_drain_close",
            DOWNSTREAM_CX_NO_ROUTE = "downstream_cx_no_route",
            DOWNSTREAM_CX_RX_BYTES_TOTAL = "downstream_cx_rx_bytes_total",
            DOWNSTREAM_CX_TOTAL = "downstream_cx_total",
            DOWNSTREAM_CX_TX_BYTES_TOTAL = "downstream_cx_tx_bytes_total",
            DOWNSTREAM_FLOW_CONTROL_PAUSED_READING_TOTAL = "downstream_flow_control_paused_reading_total",
            DOWNSTREAM_FLOW_CONTROL_RESUMED_READING_TOTAL = "downstream_flow_control_resumed_reading_total",
            EARLY_DATA_RECEIVED_COUNT_TOTAL = "early_data_received_count_total",
            IDLE_TIMEOUT = "idle_timeout",
            MAX_DOWNSTREAM_CONNECTION_DURATION = "max_downstream_connection_duration",
            ROUTE_DELAYED_TOTAL = "route_delayed_total",
            UPSTREAM_FLUSH_TOTAL = "upstream_flush_total",
        }
        gauges {
            DOWNSTREAM_CX_RX_BYTES_BUFFERED = "downstream_cx_rx_bytes_buffered",
            DOWNSTREAM_CX_TX_BYTES_BUFFERED = "downstream_cx_tx_bytes_buffered",
            UPSTREAM_FLUSH_ACTIVE = "upstream_flush_active",
        }
    }
}

stat_table! {
    /// `vhost.<name>.vcluster.<name>.*` and `vhost.<name>.route.<stat_prefix>.*` (Envoy: Router > Statistics): requests
    /// that are counted together.
    pub mod route {
        counters {
            UPSTREAM_RQ_1XX = "upstream_rq_1xx" as "upstream_rq_xx" tagged "envoy_response_code_class" = "1": when_used,
            UPSTREAM_RQ_2XX = "upstream_rq_2xx" as "upstream_rq_xx" tagged "envoy_response_code_class" = "2": when_used,
            UPSTREAM_RQ_3XX = "upstream_rq_3xx" as "upstream_rq_xx" tagged "envoy_response_code_class" = "3": when_used,
            UPSTREAM_RQ_4XX = "upstream_rq_4xx" as "upstream_rq_xx" tagged "envoy_response_code_class" = "4": when_used,
            UPSTREAM_RQ_5XX = "upstream_rq_5xx" as "upstream_rq_xx" tagged "envoy_response_code_class" = "5": when_used,
            UPSTREAM_RQ_COMPLETED = "upstream_rq_completed": when_used,
            UPSTREAM_RQ_RETRY = "upstream_rq_retry",
            UPSTREAM_RQ_RETRY_LIMIT_EXCEEDED = "upstream_rq_retry_limit_exceeded",
            UPSTREAM_RQ_RETRY_OVERFLOW = "upstream_rq_retry_overflow",
            UPSTREAM_RQ_RETRY_SUCCESS = "upstream_rq_retry_success",
            UPSTREAM_RQ_TIMEOUT = "upstream_rq_timeout",
            UPSTREAM_RQ_TOTAL = "upstream_rq_total",
        }
        histograms {
            UPSTREAM_RQ_TIME = "upstream_rq_time": when_used,
        }
        codes {
            UPSTREAM_RQ_CODE = "upstream_rq_",
        }
    }
}
