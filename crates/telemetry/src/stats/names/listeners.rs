//! Statistics of listeners and of TLS.

use crate::stats::definition::stat_table;

stat_table! {
    /// `listener.<address>.*` (Envoy: Listener > Statistics).
    pub mod listener {
        counters {
            DOWNSTREAM_CX_DESTROY = "downstream_cx_destroy",
            DOWNSTREAM_CX_OVERFLOW = "downstream_cx_overflow",
            DOWNSTREAM_CX_OVERLOAD_REJECT = "downstream_cx_overload_reject",
            DOWNSTREAM_CX_TOTAL = "downstream_cx_total",
            DOWNSTREAM_CX_TRANSPORT_SOCKET_CONNECT_TIMEOUT = "downstream_cx_transport_socket_connect_timeout",
            DOWNSTREAM_GLOBAL_CX_OVERFLOW = "downstream_global_cx_overflow",
            DOWNSTREAM_LISTENER_FILTER_ERROR = "downstream_listener_filter_error",
            DOWNSTREAM_LISTENER_FILTER_REMOTE_CLOSE = "downstream_listener_filter_remote_close",
            DOWNSTREAM_PRE_CX_TIMEOUT = "downstream_pre_cx_timeout",
            EXTENSION_CONFIG_MISSING = "extension_config_missing",
            NETWORK_EXTENSION_CONFIG_MISSING = "network_extension_config_missing",
            NO_FILTER_CHAIN_MATCH = "no_filter_chain_match",
        }
        gauges {
            DOWNSTREAM_CX_ACTIVE = "downstream_cx_active",
            DOWNSTREAM_PRE_CX_ACTIVE = "downstream_pre_cx_active",
        }
        histograms {
            CONNECTIONS_ACCEPTED_PER_SOCKET_EVENT = "connections_accepted_per_socket_event",
            DOWNSTREAM_CX_LENGTH_MS = "downstream_cx_length_ms",
        }
    }
}

stat_table! {
    /// `listener.<address>.worker_<id>.*`: one worker's share of a listener.
    pub mod listener_worker {
        counters {
            DOWNSTREAM_CX_TOTAL = "downstream_cx_total",
        }
        gauges {
            DOWNSTREAM_CX_ACTIVE = "downstream_cx_active",
        }
    }
}

stat_table! {
    /// `ssl.*` of a listener or a cluster: handshakes and why they failed (Envoy: TLS statistics). Ciphers, curves and
    /// versions appear once used.
    pub mod ssl {
        counters {
            CIPHERS_ECDHE_ECDSA_AES128_GCM_SHA256 = "ssl.ciphers.ECDHE-ECDSA-AES128-GCM-SHA256" as "ssl.ciphers" tagged "envoy_ssl_cipher" = "ECDHE-ECDSA-AES128-GCM-SHA256": when_used,
            CIPHERS_ECDHE_ECDSA_AES256_GCM_SHA384 = "ssl.ciphers.ECDHE-ECDSA-AES256-GCM-SHA384" as "ssl.ciphers" tagged "envoy_ssl_cipher" = "ECDHE-ECDSA-AES256-GCM-SHA384": when_used,
            CIPHERS_ECDHE_ECDSA_CHACHA20_POLY1305 = "ssl.ciphers.ECDHE-ECDSA-CHACHA20-POLY1305" as "ssl.ciphers" tagged "envoy_ssl_cipher" = "ECDHE-ECDSA-CHACHA20-POLY1305": when_used,
            CIPHERS_ECDHE_RSA_AES128_GCM_SHA256 = "ssl.ciphers.ECDHE-RSA-AES128-GCM-SHA256" as "ssl.ciphers" tagged "envoy_ssl_cipher" = "ECDHE-RSA-AES128-GCM-SHA256": when_used,
            CIPHERS_ECDHE_RSA_AES256_GCM_SHA384 = "ssl.ciphers.ECDHE-RSA-AES256-GCM-SHA384" as "ssl.ciphers" tagged "envoy_ssl_cipher" = "ECDHE-RSA-AES256-GCM-SHA384": when_used,
            CIPHERS_ECDHE_RSA_CHACHA20_POLY1305 = "ssl.ciphers.ECDHE-RSA-CHACHA20-POLY1305" as "ssl.ciphers" tagged "envoy_ssl_cipher" = "ECDHE-RSA-CHACHA20-POLY1305": when_used,
            CIPHERS_TLS_AES_128_GCM_SHA256 = "ssl.ciphers.TLS_AES_128_GCM_SHA256" as "ssl.ciphers" tagged "envoy_ssl_cipher" = "TLS_AES_128_GCM_SHA256": when_used,
            CIPHERS_TLS_AES_256_GCM_SHA384 = "ssl.ciphers.TLS_AES_256_GCM_SHA384" as "ssl.ciphers" tagged "envoy_ssl_cipher" = "TLS_AES_256_GCM_SHA384": when_used,
            CIPHERS_TLS_CHACHA20_POLY1305_SHA256 = "ssl.ciphers.TLS_CHACHA20_POLY1305_SHA256" as "ssl.ciphers" tagged "envoy_ssl_cipher" = "TLS_CHACHA20_POLY1305_SHA256": when_used,
            CONNECTION_ERROR = "ssl.connection_error",
            CURVES_P_256 = "ssl.curves.P-256" as "ssl.curves" tagged "envoy_ssl_curve" = "P-256": when_used,
            CURVES_P_384 = "ssl.curves.P-384" as "ssl.curves" tagged "envoy_ssl_curve" = "P-384": when_used,
            CURVES_P_521 = "ssl.curves.P-521" as "ssl.curves" tagged "envoy_ssl_curve" = "P-521": when_used,
            CURVES_X25519 = "ssl.curves.X25519" as "ssl.curves" tagged "envoy_ssl_curve" = "X25519": when_used,
            CURVES_X25519MLKEM768 = "ssl.curves.X25519MLKEM768" as "ssl.curves" tagged "envoy_ssl_curve" = "X25519MLKEM768": when_used,
            FAIL_VERIFY_CERT_HASH = "ssl.fail_verify_cert_hash",
            FAIL_VERIFY_ERROR = "ssl.fail_verify_error",
            FAIL_VERIFY_NO_CERT = "ssl.fail_verify_no_cert",
            FAIL_VERIFY_SAN = "ssl.fail_verify_san",
            HANDSHAKE = "ssl.handshake",
            NO_CERTIFICATE = "ssl.no_certificate",
            OCSP_STAPLE_FAILED = "ssl.ocsp_staple_failed",
            OCSP_STAPLE_OMITTED = "ssl.ocsp_staple_omitted",
            OCSP_STAPLE_REQUESTS = "ssl.ocsp_staple_requests",
            OCSP_STAPLE_RESPONSES = "ssl.ocsp_staple_responses",
            SESSION_REUSED = "ssl.session_reused",
            VERSIONS_TLSV1_2 = "ssl.versions.TLSv1.2" as "ssl.versions" tagged "envoy_ssl_version" = "TLSv1.2": when_used,
            VERSIONS_TLSV1_3 = "ssl.versions.TLSv1.3" as "ssl.versions" tagged "envoy_ssl_version" = "TLSv1.3": when_used,
        }
    }
}

stat_table! {
    /// The TLS context factory of a listener, fed by SDS.
    pub mod listener_tls_factory {
        counters {
            DOWNSTREAM_CONTEXT_SECRETS_NOT_READY = "server_ssl_socket_factory.downstream_context_secrets_not_ready",
            SSL_CONTEXT_UPDATE_BY_SDS = "server_ssl_socket_factory.ssl_context_update_by_sds",
            UPSTREAM_CONTEXT_SECRETS_NOT_READY = "server_ssl_socket_factory.upstream_context_secrets_not_ready",
        }
    }
}

stat_table! {
    /// `ssl.certificate.<name>.*`: when a loaded certificate ends.
    pub mod certificate {
        gauges {
            EXPIRATION_UNIX_TIME_SECONDS = "expiration_unix_time_seconds",
        }
    }
}

stat_table! {
    /// `tls_inspector.*` (Envoy: Listener filters > TLS inspector).
    pub mod tls_inspector {
        counters {
            ALPN_FOUND = "alpn_found",
            ALPN_NOT_FOUND = "alpn_not_found",
            CLIENT_HELLO_TOO_LARGE = "client_hello_too_large",
            SNI_FOUND = "sni_found",
            SNI_NOT_FOUND = "sni_not_found",
            TLS_FOUND = "tls_found",
            TLS_NOT_FOUND = "tls_not_found",
        }
        histograms {
            BYTES_PROCESSED = "bytes_processed",
        }
    }
}

stat_table! {
    /// `http_inspector.*` (Envoy: Listener filters > HTTP inspector).
    pub mod http_inspector {
        counters {
            HTTP10_FOUND = "http10_found",
            HTTP11_FOUND = "http11_found",
            HTTP2_FOUND = "http2_found",
            HTTP_NOT_FOUND = "http_not_found",
            READ_ERROR = "read_error",
        }
    }
}

stat_table! {
    /// `proxy_proto.[<stat_prefix>.]*` (Envoy: Listener filters > Proxy Protocol).
    pub mod proxy_protocol {
        counters {
            NOT_FOUND_ALLOWED = "not_found_allowed",
            NOT_FOUND_DISALLOWED = "not_found_disallowed",
            V1_DISALLOWED = "versions.v1.disallowed",
            V1_ERROR = "versions.v1.error",
            V1_FOUND = "versions.v1.found",
            V2_DISALLOWED = "versions.v2.disallowed",
            V2_ERROR = "versions.v2.error",
            V2_FOUND = "versions.v2.found",
        }
    }
}

stat_table! {
    /// What the PROXY protocol filters of all listeners count together; it has no prefix.
    pub mod proxy_protocol_errors {
        counters {
            DOWNSTREAM_CX_PROXY_PROTO_ERROR = "downstream_cx_proxy_proto_error",
        }
    }
}

stat_table! {
    /// `connection_limit.<stat_prefix>.*` (Envoy: Network filters > Connection limit).
    pub mod connection_limit {
        counters {
            LIMITED_CONNECTIONS = "limited_connections",
        }
        gauges {
            ACTIVE_CONNECTIONS = "active_connections",
        }
    }
}
