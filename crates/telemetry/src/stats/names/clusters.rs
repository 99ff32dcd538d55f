//! Statistics of a cluster: `cluster.<name>.*` (Envoy: Upstream > Cluster manager > Statistics).
//!
//! They are several tables so that what only the control thread touches costs the workers nothing
//! and a cluster without traffic allocates next to nothing.

use crate::stats::definition::{Table, stat_table};

/// Tables whose statistics are shown wherever those of `table` are, though nothing was counted yet: a cluster has those
/// of [`cluster_membership`] from its beginning, the others with the first request.
pub(crate) fn shown_with(table: &'static Table) -> &'static [&'static Table] {
    static WITH_MEMBERSHIP: [&Table; 2] = [&cluster::TABLE, &cluster_circuit_breakers::TABLE];
    if std::ptr::eq(table, &cluster_membership::TABLE) {
        &WITH_MEMBERSHIP
    } else {
        &[]
    }
}

stat_table! {
    /// Connections and requests to the cluster, and how endpoints were chosen for them; written by workers.
    pub mod cluster {
        counters {
            BIND_ERRORS = "bind_errors",
            LB_HEALTHY_PANIC = "lb_healthy_panic",
            LB_SUBSETS_FALLBACK = "lb_subsets_fallback",
            LB_SUBSETS_FALLBACK_PANIC = "lb_subsets_fallback_panic",
            LB_SUBSETS_SELECTED = "lb_subsets_selected",
            LB_ZONE_NO_CAPACITY_LEFT = "lb_zone_no_capacity_left",
            LB_ZONE_ROUTING_ALL_DIRECTLY = "lb_zone_routing_all_directly",
            LB_ZONE_ROUTING_CROSS_ZONE = "lb_zone_routing_cross_zone",
            LB_ZONE_ROUTING_SAMPLED = "lb_zone_routing_sampled",
            ORIGINAL_DST_HOST_INVALID = "original_dst_host_invalid",
            RETRY_OR_SHADOW_ABANDONED = "retry_or_shadow_abandoned",
            UPSTREAM_CX_CLOSE_NOTIFY = "upstream_cx_close_notify",
            UPSTREAM_CX_CONNECT_ATTEMPTS_EXCEEDED = "upstream_cx_connect_attempts_exceeded",
            UPSTREAM_CX_CONNECT_FAIL = "upstream_cx_connect_fail",
            UPSTREAM_CX_CONNECT_TIMEOUT = "upstream_cx_connect_timeout",
            UPSTREAM_CX_CONNECT_WITH_0_RTT = "upstream_cx_connect_with_0_rtt",
            UPSTREAM_CX_DESTROY = "upstream_cx_destroy",
            UPSTREAM_CX_DESTROY_LOCAL = "upstream_cx_destroy_local",
            UPSTREAM_CX_DESTROY_LOCAL_WITH_ACTIVE_RQ = "upstream_cx_destroy_local_with_active_rq",
            UPSTREAM_CX_DESTROY_REMOTE = "upstream_cx_destroy_remote",
            UPSTREAM_CX_DESTROY_REMOTE_WITH_ACTIVE_RQ = "upstream_cx_destroy_remote_with_active_rq",
            UPSTREAM_CX_DESTROY_WITH_ACTIVE_RQ = "upstream_cx_destroy_with_active_rq",
            UPSTREAM_CX_HTTP1_TOTAL = "upstream_cx_http1_total",
            UPSTREAM_CX_HTTP2_TOTAL = "upstream_cx_http2_total",
            UPSTREAM_CX_HTTP3_TOTAL = "upstream_cx_http3_total",
            UPSTREAM_CX_IDLE_TIMEOUT = "upstream_cx_idle_timeout",
            UPSTREAM_CX_MAX_DURATION_REACHED = "upstream_cx_max_duration_reached",
            UPSTREAM_CX_MAX_REQUESTS = "upstream_cx_max_requests",
            UPSTREAM_CX_NONE_HEALTHY = "upstream_cx_none_healthy",
            UPSTREAM_CX_OVERFLOW = "upstream_cx_overflow",
            UPSTREAM_CX_POOL_OVERFLOW = "upstream_cx_pool_overflow",
            UPSTREAM_CX_PROTOCOL_ERROR = "upstream_cx_protocol_error",
            UPSTREAM_CX_RX_BYTES_TOTAL = "upstream_cx_rx_bytes_total",
            UPSTREAM_CX_TOTAL = "upstream_cx_total",
            UPSTREAM_CX_TX_BYTES_TOTAL = "upstream_cx_tx_bytes_total",
            UPSTREAM_FLOW_CONTROL_BACKED_UP_TOTAL = "upstream_flow_control_backed_up_total",
            UPSTREAM_FLOW_CONTROL_DRAINED_TOTAL = "upstream_flow_control_drained_total",
            UPSTREAM_FLOW_CONTROL_PAUSED_READING_TOTAL = "upstream_flow_control_paused_reading_total",
            UPSTREAM_FLOW_CONTROL_RESUMED_READING_TOTAL = "upstream_flow_control_resumed_reading_total",
            UPSTREAM_HTTP3_BROKEN = "upstream_http3_broken",
            UPSTREAM_INTERNAL_REDIRECT_FAILED_TOTAL = "upstream_internal_redirect_failed_total",
            UPSTREAM_INTERNAL_REDIRECT_SUCCEEDED_TOTAL = "upstream_internal_redirect_succeeded_total",
            UPSTREAM_RQ_0RTT = "upstream_rq_0rtt",
            UPSTREAM_RQ_1XX = "upstream_rq_1xx" as "upstream_rq_xx" tagged "envoy_response_code_class" = "1": when_used,
            UPSTREAM_RQ_2XX = "upstream_rq_2xx" as "upstream_rq_xx" tagged "envoy_response_code_class" = "2": when_used,
            UPSTREAM_RQ_3XX = "upstream_rq_3xx" as "upstream_rq_xx" tagged "envoy_response_code_class" = "3": when_used,
            UPSTREAM_RQ_4XX = "upstream_rq_4xx" as "upstream_rq_xx" tagged "envoy_response_code_class" = "4": when_used,
            UPSTREAM_RQ_5XX = "upstream_rq_5xx" as "upstream_rq_xx" tagged "envoy_response_code_class" = "5": when_used,
            UPSTREAM_RQ_ACTIVE_OVERFLOW = "upstream_rq_active_overflow",
            UPSTREAM_RQ_CANCELLED = "upstream_rq_cancelled",
            UPSTREAM_RQ_COMPLETED = "upstream_rq_completed",
            UPSTREAM_RQ_MAINTENANCE_MODE = "upstream_rq_maintenance_mode",
            UPSTREAM_RQ_MAX_DURATION_REACHED = "upstream_rq_max_duration_reached",
            UPSTREAM_RQ_PENDING_FAILURE_EJECT = "upstream_rq_pending_failure_eject",
            UPSTREAM_RQ_PENDING_OVERFLOW = "upstream_rq_pending_overflow",
            UPSTREAM_RQ_PENDING_TOTAL = "upstream_rq_pending_total",
            UPSTREAM_RQ_PER_TRY_IDLE_TIMEOUT = "upstream_rq_per_try_idle_timeout",
            UPSTREAM_RQ_PER_TRY_TIMEOUT = "upstream_rq_per_try_timeout",
            UPSTREAM_RQ_RETRY = "upstream_rq_retry",
            UPSTREAM_RQ_RETRY_BACKOFF_EXPONENTIAL = "upstream_rq_retry_backoff_exponential",
            UPSTREAM_RQ_RETRY_BACKOFF_RATELIMITED = "upstream_rq_retry_backoff_ratelimited",
            UPSTREAM_RQ_RETRY_LIMIT_EXCEEDED = "upstream_rq_retry_limit_exceeded",
            UPSTREAM_RQ_RETRY_OVERFLOW = "upstream_rq_retry_overflow",
            UPSTREAM_RQ_RETRY_SUCCESS = "upstream_rq_retry_success",
            UPSTREAM_RQ_RX_RESET = "upstream_rq_rx_reset",
            UPSTREAM_RQ_RX_RESET_NO_ERROR = "upstream_rq_rx_reset_no_error",
            UPSTREAM_RQ_TIMEOUT = "upstream_rq_timeout",
            UPSTREAM_RQ_TOTAL = "upstream_rq_total",
            UPSTREAM_RQ_TX_RESET = "upstream_rq_tx_reset",
        }
        gauges {
            UPSTREAM_CX_ACTIVE = "upstream_cx_active",
            UPSTREAM_CX_RX_BYTES_BUFFERED = "upstream_cx_rx_bytes_buffered",
            UPSTREAM_CX_TX_BYTES_BUFFERED = "upstream_cx_tx_bytes_buffered",
            UPSTREAM_RQ_ACTIVE = "upstream_rq_active",
            UPSTREAM_RQ_PENDING_ACTIVE = "upstream_rq_pending_active",
        }
        histograms {
            UPSTREAM_CX_CONNECT_MS = "upstream_cx_connect_ms",
            UPSTREAM_CX_LENGTH_MS = "upstream_cx_length_ms",
            UPSTREAM_RQ_PER_CX = "upstream_rq_per_cx",
            UPSTREAM_RQ_TIME = "upstream_rq_time": when_used,
        }
        codes {
            UPSTREAM_RQ_CODE = "upstream_rq_",
        }
    }
}

stat_table! {
    /// `cluster.<name>.external.*` and `internal.*`: answers by where their request came from. Shown once used.
    pub mod cluster_origin {
        counters {
            UPSTREAM_RQ_1XX = "upstream_rq_1xx" as "upstream_rq_xx" tagged "envoy_response_code_class" = "1": when_used,
            UPSTREAM_RQ_2XX = "upstream_rq_2xx" as "upstream_rq_xx" tagged "envoy_response_code_class" = "2": when_used,
            UPSTREAM_RQ_3XX = "upstream_rq_3xx" as "upstream_rq_xx" tagged "envoy_response_code_class" = "3": when_used,
            UPSTREAM_RQ_4XX = "upstream_rq_4xx" as "upstream_rq_xx" tagged "envoy_response_code_class" = "4": when_used,
            UPSTREAM_RQ_5XX = "upstream_rq_5xx" as "upstream_rq_xx" tagged "envoy_response_code_class" = "5": when_used,
            UPSTREAM_RQ_COMPLETED = "upstream_rq_completed": when_used,
        }
        histograms {
            UPSTREAM_RQ_TIME = "upstream_rq_time": when_used,
        }
        codes {
            UPSTREAM_RQ_CODE = "upstream_rq_",
        }
    }
}

stat_table! {
    /// Members, discovery and what load balancing is built of; written by the control thread.
    pub mod cluster_membership {
        counters {
            ASSIGNMENT_STALE = "assignment_stale",
            ASSIGNMENT_TIMEOUT_RECEIVED = "assignment_timeout_received",
            ASSIGNMENT_USE_CACHED = "assignment_use_cached",
            INIT_FETCH_TIMEOUT = "init_fetch_timeout": when_used,
            LB_LOCAL_CLUSTER_NOT_OK = "lb_local_cluster_not_ok",
            LB_RECALCULATE_ZONE_STRUCTURES = "lb_recalculate_zone_structures",
            LB_SUBSETS_CREATED = "lb_subsets_created",
            LB_SUBSETS_REMOVED = "lb_subsets_removed",
            LB_ZONE_CLUSTER_TOO_SMALL = "lb_zone_cluster_too_small",
            MEMBERSHIP_CHANGE = "membership_change",
            UPDATE_ATTEMPT = "update_attempt",
            UPDATE_EMPTY = "update_empty",
            UPDATE_FAILURE = "update_failure",
            UPDATE_NO_REBUILD = "update_no_rebuild",
            UPDATE_REJECTED = "update_rejected": when_used,
            UPDATE_SUCCESS = "update_success",
        }
        gauges {
            LB_SUBSETS_ACTIVE = "lb_subsets_active",
            MAX_HOST_WEIGHT = "max_host_weight",
            MEMBERSHIP_DEGRADED = "membership_degraded",
            MEMBERSHIP_EXCLUDED = "membership_excluded",
            MEMBERSHIP_HEALTHY = "membership_healthy",
            MEMBERSHIP_TOTAL = "membership_total",
            UPDATE_TIME = "update_time": when_used,
            VERSION = "version",
            WARMING_STATE = "warming_state",
        }
        histograms {
            UPDATE_DURATION = "update_duration": when_used,
        }
        texts {
            VERSION_TEXT = "version_text": when_used,
        }
    }
}

stat_table! {
    /// Circuit breakers, both priorities: 1 while open, and what remains where `track_remaining` is set.
    pub mod cluster_circuit_breakers {
        gauges {
            DEFAULT_CX_OPEN = "circuit_breakers.default.cx_open",
            DEFAULT_CX_POOL_OPEN = "circuit_breakers.default.cx_pool_open",
            DEFAULT_REMAINING_CX = "circuit_breakers.default.remaining_cx": when_used,
            DEFAULT_REMAINING_CX_POOLS = "circuit_breakers.default.remaining_cx_pools": when_used,
            DEFAULT_REMAINING_PENDING = "circuit_breakers.default.remaining_pending": when_used,
            DEFAULT_REMAINING_RETRIES = "circuit_breakers.default.remaining_retries": when_used,
            DEFAULT_REMAINING_RQ = "circuit_breakers.default.remaining_rq": when_used,
            DEFAULT_RQ_OPEN = "circuit_breakers.default.rq_open",
            DEFAULT_RQ_PENDING_OPEN = "circuit_breakers.default.rq_pending_open",
            DEFAULT_RQ_RETRY_OPEN = "circuit_breakers.default.rq_retry_open",
            HIGH_CX_OPEN = "circuit_breakers.high.cx_open",
            HIGH_CX_POOL_OPEN = "circuit_breakers.high.cx_pool_open",
            HIGH_REMAINING_CX = "circuit_breakers.high.remaining_cx": when_used,
            HIGH_REMAINING_CX_POOLS = "circuit_breakers.high.remaining_cx_pools": when_used,
            HIGH_REMAINING_PENDING = "circuit_breakers.high.remaining_pending": when_used,
            HIGH_REMAINING_RETRIES = "circuit_breakers.high.remaining_retries": when_used,
            HIGH_REMAINING_RQ = "circuit_breakers.high.remaining_rq": when_used,
            HIGH_RQ_OPEN = "circuit_breakers.high.rq_open",
            HIGH_RQ_PENDING_OPEN = "circuit_breakers.high.rq_pending_open",
            HIGH_RQ_RETRY_OPEN = "circuit_breakers.high.rq_retry_open",
        }
    }
}

stat_table! {
    /// Active health checks of the cluster.
    pub mod cluster_health_check {
        counters {
            ATTEMPT = "health_check.attempt",
            FAILURE = "health_check.failure",
            NETWORK_FAILURE = "health_check.network_failure",
            PASSIVE_FAILURE = "health_check.passive_failure",
            SUCCESS = "health_check.success",
            VERIFY_CLUSTER = "health_check.verify_cluster",
        }
        gauges {
            DEGRADED = "health_check.degraded",
            HEALTHY = "health_check.healthy",
        }
    }
}

stat_table! {
    /// Outlier detection of the cluster.
    pub mod cluster_outlier_detection {
        counters {
            EJECTIONS_CONSECUTIVE_5XX = "outlier_detection.ejections_consecutive_5xx",
            EJECTIONS_DETECTED_CONSECUTIVE_5XX = "outlier_detection.ejections_detected_consecutive_5xx",
            EJECTIONS_DETECTED_CONSECUTIVE_GATEWAY_FAILURE = "outlier_detection.ejections_detected_consecutive_gateway_failure",
            EJECTIONS_DETECTED_CONSECUTIVE_LOCAL_ORIGIN_FAILURE = "outlier_detection.ejections_detected_consecutive_local_origin_failure",
            EJECTIONS_DETECTED_DEGRADATION = "outlier_detection.ejections_detected_degradation",
            EJECTIONS_DETECTED_FAILURE_PERCENTAGE = "outlier_detection.ejections_detected_failure_percentage",
            EJECTIONS_DETECTED_LOCAL_ORIGIN_FAILURE_PERCENTAGE = "outlier_detection.ejections_detected_local_origin_failure_percentage",
            EJECTIONS_DETECTED_LOCAL_ORIGIN_SUCCESS_RATE = "outlier_detection.ejections_detected_local_origin_success_rate",
            EJECTIONS_DETECTED_SUCCESS_RATE = "outlier_detection.ejections_detected_success_rate",
            EJECTIONS_ENFORCED_CONSECUTIVE_5XX = "outlier_detection.ejections_enforced_consecutive_5xx",
            EJECTIONS_ENFORCED_CONSECUTIVE_GATEWAY_FAILURE = "outlier_detection.ejections_enforced_consecutive_gateway_failure",
            EJECTIONS_ENFORCED_CONSECUTIVE_LOCAL_ORIGIN_FAILURE = "outlier_detection.ejections_enforced_consecutive_local_origin_failure",
            EJECTIONS_ENFORCED_FAILURE_PERCENTAGE = "outlier_detection.ejections_enforced_failure_percentage",
            EJECTIONS_ENFORCED_LOCAL_ORIGIN_FAILURE_PERCENTAGE = "outlier_detection.ejections_enforced_local_origin_failure_percentage",
            EJECTIONS_ENFORCED_LOCAL_ORIGIN_SUCCESS_RATE = "outlier_detection.ejections_enforced_local_origin_success_rate",
            EJECTIONS_ENFORCED_SUCCESS_RATE = "outlier_detection.ejections_enforced_success_rate",
            EJECTIONS_ENFORCED_TOTAL = "outlier_detection.ejections_enforced_total",
            EJECTIONS_OVERFLOW = "outlier_detection.ejections_overflow",
            EJECTIONS_SUCCESS_RATE = "outlier_detection.ejections_success_rate",
            EJECTIONS_TOTAL = "outlier_detection.ejections_total",
        }
        gauges {
            EJECTIONS_ACTIVE = "outlier_detection.ejections_active",
        }
    }
}

stat_table! {
    /// The TLS context factory of the cluster, fed by SDS.
    pub mod cluster_tls_factory {
        counters {
            DOWNSTREAM_CONTEXT_SECRETS_NOT_READY = "client_ssl_socket_factory.downstream_context_secrets_not_ready",
            SSL_CONTEXT_UPDATE_BY_SDS = "client_ssl_socket_factory.ssl_context_update_by_sds",
            UPSTREAM_CONTEXT_SECRETS_NOT_READY = "client_ssl_socket_factory.upstream_context_secrets_not_ready",
        }
    }
}
