//! Statistics of HTTP filters.

use crate::stats::definition::stat_table;

stat_table! {
    /// `http.<stat_prefix>.fault.*` (Envoy: Fault Injection > Statistics).
    pub mod fault {
        counters {
            ABORTS_INJECTED = "fault.aborts_injected",
            DELAYS_INJECTED = "fault.delays_injected",
            FAULTS_OVERFLOW = "fault.faults_overflow",
            RESPONSE_RL_INJECTED = "fault.response_rl_injected",
        }
        gauges {
            ACTIVE_FAULTS = "fault.active_faults",
        }
    }
}

stat_table! {
    /// `http.<stat_prefix>.cors.*` (Envoy: CORS > Statistics).
    pub mod cors {
        counters {
            ORIGIN_INVALID = "cors.origin_invalid",
            ORIGIN_VALID = "cors.origin_valid",
        }
    }
}

stat_table! {
    /// `cluster.<name>.grpc.*`, with service and method before the name where they are counted one by one (Envoy: gRPC
    /// Statistics).
    pub mod grpc {
        counters {
            STATUS_0 = "0": when_used,
            STATUS_1 = "1": when_used,
            STATUS_2 = "2": when_used,
            STATUS_3 = "3": when_used,
            STATUS_4 = "4": when_used,
            STATUS_5 = "5": when_used,
            STATUS_6 = "6": when_used,
            STATUS_7 = "7": when_used,
            STATUS_8 = "8": when_used,
            STATUS_9 = "9": when_used,
            STATUS_10 = "10": when_used,
            STATUS_11 = "11": when_used,
            STATUS_12 = "12": when_used,
            STATUS_13 = "13": when_used,
            STATUS_14 = "14": when_used,
            STATUS_15 = "15": when_used,
            STATUS_16 = "16": when_used,
            FAILURE = "failure": when_used,
            REQUEST_MESSAGE_COUNT = "request_message_count": when_used,
            RESPONSE_MESSAGE_COUNT = "response_message_count": when_used,
            SUCCESS = "success": when_used,
            TOTAL = "total": when_used,
        }
        histograms {
            UPSTREAM_RQ_TIME = "upstream_rq_time": when_used,
        }
    }
}
