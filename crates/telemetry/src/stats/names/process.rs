//! Statistics of the process: server, managers of listeners and clusters, threads, files.

use crate::stats::definition::stat_table;

stat_table! {
    /// `server.*` (Envoy: Administration > Server statistics).
    pub mod server {
        counters {
            DEBUG_ASSERTION_FAILURES = "debug_assertion_failures",
            DROPPED_STAT_FLUSHES = "dropped_stat_flushes",
            DYNAMIC_UNKNOWN_FIELDS = "dynamic_unknown_fields",
            ENVOY_BUG_FAILURES = "envoy_bug_failures",
            ENVOY_NOTIFICATIONS = "envoy_notifications",
            STATIC_UNKNOWN_FIELDS = "static_unknown_fields",
            WIP_PROTOS = "wip_protos",
        }
        gauges {
            COMPILATION_SETTINGS_FIPS_MODE = "compilation_settings.fips_mode",
            CONCURRENCY = "concurrency",
            DAYS_UNTIL_FIRST_CERT_EXPIRING = "days_until_first_cert_expiring",
            HOT_RESTART_EPOCH = "hot_restart_epoch",
            LIVE = "live",
            MEMORY_ALLOCATED = "memory_allocated",
            MEMORY_HEAP_SIZE = "memory_heap_size",
            MEMORY_PHYSICAL_SIZE = "memory_physical_size",
            PARENT_CONNECTIONS = "parent_connections",
            SECONDS_UNTIL_FIRST_OCSP_RESPONSE_EXPIRING = "seconds_until_first_ocsp_response_expiring",
            STATE = "state",
            STATS_RECENT_LOOKUPS = "stats_recent_lookups",
            TOTAL_CONNECTIONS = "total_connections",
            UPTIME = "uptime",
            VERSION = "version",
        }
        histograms {
            INITIALIZATION_TIME_MS = "initialization_time_ms",
        }
    }
}

stat_table! {
    /// `cluster_manager.*` (Envoy: Cluster manager > Statistics).
    pub mod cluster_manager {
        counters {
            CLUSTER_ADDED = "cluster_added",
            CLUSTER_MODIFIED = "cluster_modified",
            CLUSTER_REMOVED = "cluster_removed",
            CLUSTER_UPDATED = "cluster_updated",
            CLUSTER_UPDATED_VIA_MERGE = "cluster_updated_via_merge",
            UPDATE_MERGE_CANCELLED = "update_merge_cancelled",
            UPDATE_OUT_OF_MERGE_WINDOW = "update_out_of_merge_window",
        }
        gauges {
            ACTIVE_CLUSTERS = "active_clusters",
            WARMING_CLUSTERS = "warming_clusters",
        }
    }
}

stat_table! {
    /// `cluster_manager.cds.*`: the CDS subscription.
    pub mod cds {
        counters {
            CONFIG_RELOAD = "config_reload",
            INIT_FETCH_TIMEOUT = "init_fetch_timeout",
            UPDATE_ATTEMPT = "update_attempt",
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
    /// `listener_manager.*` (Envoy: Listener manager > Statistics). `listener_create_failure` and its
    /// like count per listener, as Envoy counts them.
    pub mod listener_manager {
        counters {
            LISTENER_ADDED = "listener_added",
            LISTENER_CREATE_FAILURE = "listener_create_failure",
            LISTENER_CREATE_SUCCESS = "listener_create_success",
            LISTENER_IN_PLACE_UPDATED = "listener_in_place_updated",
            LISTENER_MODIFIED = "listener_modified",
            LISTENER_REMOVED = "listener_removed",
            LISTENER_STOPPED = "listener_stopped",
        }
        gauges {
            TOTAL_FILTER_CHAINS_DRAINING = "total_filter_chains_draining",
            TOTAL_LISTENERS_ACTIVE = "total_listeners_active",
            TOTAL_LISTENERS_DRAINING = "total_listeners_draining",
            TOTAL_LISTENERS_WARMING = "total_listeners_warming",
            WORKERS_PINNED = "workers_pinned",
            WORKERS_STARTED = "workers_started",
        }
    }
}

stat_table! {
    /// `listener_manager.lds.*`: the LDS subscription.
    pub mod lds {
        counters {
            INIT_FETCH_TIMEOUT = "init_fetch_timeout",
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
    /// `control_plane.*`: the ADS stream.
    pub mod control_plane {
        counters {
            RATE_LIMIT_ENFORCED = "rate_limit_enforced",
        }
        gauges {
            CONNECTED_STATE = "connected_state",
            PENDING_REQUESTS = "pending_requests",
        }
        texts {
            IDENTIFIER = "identifier",
        }
    }
}

stat_table! {
    /// `load_reporter.*`: the LRS stream.
    pub mod load_reporter {
        counters {
            ERRORS = "errors",
            REQUESTS = "requests",
            RESPONSES = "responses",
            RETRIES = "retries",
        }
    }
}

stat_table! {
    /// `main_thread.*`, `workers.*` and `server.worker_<id>.*`: event loops that were late.
    pub mod thread {
        counters {
            WATCHDOG_MEGA_MISS = "watchdog_mega_miss",
            WATCHDOG_MISS = "watchdog_miss",
        }
    }
}

stat_table! {
    /// `filesystem.*`: access-log files (Envoy: Access logging > Statistics).
    pub mod filesystem {
        counters {
            FLUSHED_BY_TIMER = "flushed_by_timer",
            REOPEN_FAILED = "reopen_failed",
            WRITE_BUFFERED = "write_buffered",
            WRITE_COMPLETED = "write_completed",
            WRITE_DROPPED = "write_dropped",
            WRITE_FAILED = "write_failed",
        }
        gauges {
            WRITE_TOTAL_BUFFERED = "write_total_buffered",
        }
    }
}

stat_table! {
    /// `runtime.*`: the layered runtime.
    pub mod runtime {
        counters {
            DEPRECATED_FEATURE_USE = "deprecated_feature_use",
            LOAD_ERROR = "load_error",
            LOAD_SUCCESS = "load_success",
            OVERRIDE_DIR_EXISTS = "override_dir_exists",
            OVERRIDE_DIR_NOT_EXISTS = "override_dir_not_exists",
        }
        gauges {
            ADMIN_OVERRIDES_ACTIVE = "admin_overrides_active",
            DEPRECATED_FEATURE_SEEN_SINCE_PROCESS_START = "deprecated_feature_seen_since_process_start",
            NUM_KEYS = "num_keys",
            NUM_LAYERS = "num_layers",
        }
    }
}
