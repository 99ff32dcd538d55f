//! Every way in which the proxy itself ends a request, and what each means to the caller.
//!
//! One closed enum, mapped by one exhaustive `match` to HTTP status, response flag, response-code
//! details, body and whether another attempt is safe. The values are Envoy 1.39's, read from a
//! running Envoy (`tests/e2e` compares them); the gRPC status follows from the HTTP status.

use codec::event::ConnectionError;
use codec::stats::Stat;
use telemetry::access_log::ResponseFlag;
use tls::TlsError;
use upstream::outlier::Outcome;

/// A request that ended without an upstream's answer, or was cut off in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No virtual host or no route matched.
    NoRoute,
    /// The route's cluster is not in the snapshot.
    NoCluster,
    /// Every endpoint is unhealthy, or there is none.
    NoHealthyUpstream,
    /// A connection was refused, unreachable, or ended before its handshake.
    NotConnected,
    /// A connection could not be begun: its socket could not be bound, or be given an option.
    NotBegun,
    /// `connect_timeout` ran out.
    ConnectTimeout,
    /// The TLS handshake with the endpoint failed.
    TlsHandshake,
    /// The connection ended before the response head.
    ConnectionTermination,
    /// The endpoint reset the stream before the response head.
    RemoteReset,
    /// The endpoint refused the stream (REFUSED_STREAM, or above GOAWAY's last stream).
    RemoteRefused,
    /// The endpoint broke the protocol before the response head.
    UpstreamProtocolError,
    /// `max_requests` or `max_pending_requests` was reached.
    Overflow,
    /// The control plane has a share of requests dropped (`drop_overloads`).
    DropOverload,
    /// The control plane has all requests dropped.
    UnconditionalDropOverload,
    /// The route's `timeout` ran out.
    RouteTimeout,
    /// `per_try_timeout` ran out.
    PerTryTimeout,
    /// `per_try_idle_timeout` ran out.
    PerTryIdleTimeout,
    /// The cluster's `max_stream_duration` ran out.
    UpstreamMaxDuration,
    /// The stream's longest duration was reached, by the route, the caller's `grpc-timeout` or the connection manager.
    DownstreamMaxDuration,
    /// More of the request's body came than is kept for retries, while none of them could take it.
    ReplayOverflow,
    /// `stream_idle_timeout` ran out.
    StreamIdle,
    /// `request_timeout` ran out before the whole request arrived.
    RequestTimeout,
    /// HTTP/1.1 without Host, or HTTP/2 without `:authority` and `host`.
    MissingHost,
    /// The path does not begin with a slash.
    PathNotAbsolute,
    /// The path has a fragment, or no normal form, or slashes that may not be escaped.
    PathNotNormal,
    /// A header's name has an underscore, where that is refused.
    UnderscoreInName,
    /// The caller went away; there is nobody to answer.
    DownstreamGone,
    /// An upgrade or CONNECT that no `upgrade_configs` entry allows.
    UpgradeNotAllowed,
}

/// Declares [`TransportFailure`]: a variant and its reason each, from which the details follow.
macro_rules! transport_failures {
    ($($(#[$doc:meta])* $name:ident = $reason:literal,)*) => {
        /// Why the transport to an endpoint failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum TransportFailure {
            $($(#[$doc])* $name,)*
        }

        impl TransportFailure {
            /// `%UPSTREAM_TRANSPORT_FAILURE_REASON%`.
            pub(crate) fn reason(self) -> &'static str {
                match self {
                    $(Self::$name => $reason,)*
                }
            }

            /// `%RESPONSE_CODE_DETAILS%`.
            pub(crate) fn details(self) -> &'static str {
                match self {
                    $(Self::$name => concat!(
                        "upstream_reset_before_response_started{remote_connection_failure|",
                        $reason,
                        "}"
                    ),)*
                }
            }
        }
    };
}

transport_failures! {
    /// ECONNREFUSED.
    Refused = "delayed_connect_error:_Connection_refused",
    /// ECONNRESET.
    Reset = "delayed_connect_error:_Connection_reset_by_peer",
    /// ETIMEDOUT: the system gave up before `connect_timeout`.
    TimedOut = "delayed_connect_error:_Connection_timed_out",
    /// EHOSTUNREACH.
    HostUnreachable = "delayed_connect_error:_No_route_to_host",
    /// ENETUNREACH.
    NetworkUnreachable = "immediate_connect_error:_Network_is_unreachable",
    /// ENOENT: there is no such Unix socket.
    NoSuchSocket = "immediate_connect_error:_No_such_file_or_directory",
    /// EACCES, EPERM.
    PermissionDenied = "immediate_connect_error:_Permission_denied",
    /// Another error of the system's; it is in our log.
    OtherConnect = "delayed_connect_error",
    /// The endpoint's certificate was not accepted.
    CertificateVerifyFailed = "TLS_error:CERTIFICATE_VERIFY_FAILED",
    /// The endpoint does not speak TLS. The name is BoringSSL's, which people search for.
    NoTls = "TLS_error:WRONG_VERSION_NUMBER",
    /// The endpoint refused the handshake.
    Alert = "TLS_error:ALERT_RECEIVED",
    /// Another error of TLS.
    OtherTls = "TLS_error",
}

impl From<&std::io::Error> for TransportFailure {
    fn from(error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => Self::Reset,
            ErrorKind::TimedOut => Self::TimedOut,
            ErrorKind::HostUnreachable => Self::HostUnreachable,
            ErrorKind::NetworkUnreachable => Self::NetworkUnreachable,
            ErrorKind::NotFound => Self::NoSuchSocket,
            ErrorKind::PermissionDenied => Self::PermissionDenied,
            _ => Self::OtherConnect,
        }
    }
}

impl From<&TlsError> for TransportFailure {
    fn from(error: &TlsError) -> Self {
        match error {
            TlsError::Verify(_) => Self::CertificateVerifyFailed,
            TlsError::Plaintext(_) => Self::NoTls,
            TlsError::Alert(_) => Self::Alert,
            _ => Self::OtherTls,
        }
    }
}

/// What the records say of a request that the codec refused, before there was one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// `%RESPONSE_CODE_DETAILS%`, as Envoy 1.39's codecs have it.
    pub(crate) details: &'static str,
    /// Body of the answer: the status' name, as Envoy sends it.
    pub(crate) body: &'static str,
}

impl Refusal {
    /// What a codec's error means; `is_h2` says whose.
    pub(crate) fn of(error: &ConnectionError, is_h2: bool) -> Refusal {
        if is_h2 {
            let details = match error.stat {
                Stat::HeaderOverflow => "http2.too_many_headers",
                _ => "http2.invalid.header.field",
            };
            return Refusal { details, body: "" };
        }
        let status = error.answer.map_or(0, |answer| answer.status);
        let is_about = |text: &str| error.violation.starts_with(text);
        let details = match status {
            408 => "request_header_timeout",
            426 => "low_version",
            431 if is_about("fields over") => "http1.too_many_headers",
            431 => "http1.headers_too_large",
            501 => "http1.invalid_transfer_encoding",
            _ if is_about("Content-Length beside Transfer-Encoding") => "http1.content_length_and_chunked_not_allowed",
            _ if is_about("invalid field value") => "http1.invalid_characters",
            _ if is_about("invalid Host") => "http.invalid_authority",
            _ => "http1.codec_error",
        };
        let body = match status {
            400 => "Bad Request",
            408 => "Request Timeout",
            413 => "Payload Too Large",
            426 => "Upgrade Required",
            431 => "Request Header Fields Too Large",
            501 => "Not Implemented",
            _ => "",
        };
        Refusal { details, body }
    }
}

/// What a [`Failure`] means to the caller and to the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// Status of the local reply.
    pub(crate) status: u16,
    /// Flag in access log and stats; some of Envoy's timeouts set none.
    pub(crate) flag: Option<ResponseFlag>,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub(crate) details: &'static str,
    /// Body of the local reply, `grpc-message` for a gRPC caller.
    pub(crate) body: &'static str,
    /// gRPC status where it is not the one that follows from the HTTP status.
    pub(crate) grpc_status: Option<u8>,
    /// The endpoint provably did not process the request: another attempt is always safe.
    pub(crate) unprocessed: bool,
}

impl Failure {
    /// The flag of the try that it ended. Where it ended the request, and the try with it, there is none.
    pub(crate) fn flag_of_attempt(self) -> Option<ResponseFlag> {
        match self {
            Self::NotConnected
            | Self::NotBegun
            | Self::ConnectTimeout
            | Self::TlsHandshake
            | Self::ConnectionTermination
            | Self::RemoteReset
            | Self::RemoteRefused
            | Self::UpstreamProtocolError
            | Self::Overflow
            | Self::PerTryTimeout
            | Self::PerTryIdleTimeout
            | Self::UpstreamMaxDuration => self.meaning().flag,
            _ => None,
        }
    }

    /// What this failure means.
    pub(crate) fn meaning(self) -> Meaning {
        use ResponseFlag as F;
        let (status, flag, details, body) = match self {
            Failure::NoRoute => (404, Some(F::NoRouteFound), "route_not_found", ""),
            Failure::NoCluster => (503, Some(F::NoClusterFound), "cluster_not_found", ""),
            Failure::NoHealthyUpstream => (
                503,
                Some(F::NoHealthyUpstream),
                "no_healthy_upstream",
                "no healthy upstream",
            ),
            Failure::NotConnected => (
                503,
                Some(F::UpstreamConnectionFailure),
                "upstream_reset_before_response_started{remote_connection_failure}",
                "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure",
            ),
            Failure::NotBegun => (
                503,
                Some(F::UpstreamConnectionFailure),
                "upstream_reset_before_response_started{local_connection_failure}",
                "upstream connect error or disconnect/reset before headers. reset reason: local connection failure",
            ),
            Failure::TlsHandshake => (
                503,
                Some(F::UpstreamConnectionFailure),
                "upstream_reset_before_response_started{remote_connection_failure|TLS_error}",
                "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, transport failure reason: TLS_error",
            ),
            Failure::ConnectTimeout => (
                503,
                Some(F::UpstreamConnectionFailure),
                "upstream_reset_before_response_started{connection_timeout}",
                "upstream connect error or disconnect/reset before headers. reset reason: connection timeout",
            ),
            Failure::ConnectionTermination => (
                503,
                Some(F::UpstreamConnectionTermination),
                "upstream_reset_before_response_started{connection_termination}",
                "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
            ),
            Failure::RemoteReset => (
                503,
                Some(F::UpstreamRemoteReset),
                "upstream_reset_before_response_started{remote_reset}",
                "upstream connect error or disconnect/reset before headers. reset reason: remote reset",
            ),
            Failure::RemoteRefused => (
                503,
                Some(F::UpstreamRemoteReset),
                "upstream_reset_before_response_started{remote_refused_stream_reset}",
                "upstream connect error or disconnect/reset before headers. reset reason: remote refused stream reset",
            ),
            Failure::UpstreamProtocolError => (
                502,
                Some(F::UpstreamProtocolError),
                "upstream_reset_before_response_started{protocol_error}",
                "upstream connect error or disconnect/reset before headers. reset reason: protocol error",
            ),
            Failure::Overflow => (
                503,
                Some(F::UpstreamOverflow),
                "upstream_reset_before_response_started{overflow}",
                "upstream connect error or disconnect/reset before headers. reset reason: overflow",
            ),
            Failure::DropOverload => (503, Some(F::DropOverLoad), "drop_overload", "drop overload"),
            Failure::UnconditionalDropOverload => (
                503,
                Some(F::UnconditionalDropOverload),
                "unconditional_drop_overload",
                "unconditional drop overload",
            ),
            Failure::RouteTimeout => (
                504,
                Some(F::UpstreamRequestTimeout),
                "response_timeout",
                "upstream request timeout",
            ),
            Failure::PerTryTimeout => (
                504,
                Some(F::UpstreamRequestTimeout),
                "upstream_per_try_timeout",
                "upstream request timeout",
            ),
            Failure::PerTryIdleTimeout => (
                504,
                Some(F::UpstreamRequestTimeout),
                "upstream_per_try_idle_timeout",
                "upstream request timeout",
            ),
            Failure::ReplayOverflow => (
                507,
                None,
                "request_payload_exceeded_retry_buffer_limit",
                "exceeded request buffer limit while retrying upstream",
            ),
            Failure::UpstreamMaxDuration => (
                504,
                Some(F::UpstreamMaxStreamDurationReached),
                "upstream_max_stream_duration_reached",
                "upstream max stream duration reached",
            ),
            Failure::DownstreamMaxDuration => (408, None, "max_duration_timeout", "downstream duration timeout"),
            Failure::StreamIdle => (408, Some(F::StreamIdleTimeout), "stream_idle_timeout", "stream timeout"),
            Failure::RequestTimeout => (408, None, "request_overall_timeout", "request timeout"),
            Failure::MissingHost => (400, None, "missing_host_header", ""),
            Failure::PathNotAbsolute => (404, None, "absolute_path_rejected", ""),
            Failure::PathNotNormal => (400, None, "path_normalization_failed", ""),
            Failure::UnderscoreInName => (
                400,
                Some(F::DownstreamProtocolError),
                "unexpected_underscore",
                "Bad Request",
            ),
            Failure::DownstreamGone => (
                0,
                Some(F::DownstreamConnectionTermination),
                "downstream_remote_disconnect",
                "",
            ),
            Failure::UpgradeNotAllowed => (403, None, "upgrade_failed", ""),
        };
        Meaning {
            status,
            flag,
            details,
            body,
            // A stream-duration limit is the caller's deadline (Envoy's stream_info duration).
            grpc_status: matches!(self, Failure::UpstreamMaxDuration | Failure::DownstreamMaxDuration).then_some(4),
            unprocessed: matches!(
                self,
                Failure::RemoteRefused
                    | Failure::NotConnected
                    | Failure::NotBegun
                    | Failure::ConnectTimeout
                    | Failure::TlsHandshake
            ),
        }
    }
}

impl Failure {
    /// The header by which an answer made here says that it was not for the endpoint's sake; its value is `true`.
    pub(crate) fn marking_header(self) -> Option<&'static [u8]> {
        match self {
            Failure::Overflow => Some(b"x-envoy-overloaded"),
            Failure::DropOverload => Some(b"x-envoy-drop-overload"),
            Failure::UnconditionalDropOverload => Some(b"x-envoy-unconditional-drop-overload"),
            _ => None,
        }
    }

    /// Whether it is the proxy or the caller who gives the request up, so that the endpoint's stream is reset.
    pub(crate) fn is_ours(self) -> bool {
        matches!(
            self,
            Failure::RouteTimeout
                | Failure::PerTryTimeout
                | Failure::PerTryIdleTimeout
                | Failure::UpstreamMaxDuration
                | Failure::DownstreamMaxDuration
                | Failure::StreamIdle
                | Failure::RequestTimeout
                | Failure::DownstreamGone
        )
    }

    /// What the failure says about the endpoint, for outlier detection; `None` if nothing.
    pub(crate) fn outcome(self) -> Option<Outcome> {
        match self {
            // Recorded by the connection.
            Failure::NotConnected | Failure::NotBegun | Failure::ConnectTimeout | Failure::TlsHandshake => None,
            Failure::RouteTimeout
            | Failure::PerTryTimeout
            | Failure::PerTryIdleTimeout
            | Failure::UpstreamMaxDuration => Some(Outcome::Timeout),
            Failure::ConnectionTermination | Failure::RemoteReset | Failure::UpstreamProtocolError => {
                Some(Outcome::Reset)
            }
            _ => None,
        }
    }
}

/// The gRPC status that stands for an HTTP status in a locally made answer (Envoy's
/// `httpToGrpcStatus`, which is gRPC's http-grpc-status-mapping).
pub(crate) fn grpc_status_of_http(status: u16) -> u8 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_timeout_is_unavailable_to_a_grpc_caller_and_a_stream_duration_is_a_deadline() {
        let timeout = Failure::RouteTimeout.meaning();
        assert_eq!((timeout.status, timeout.grpc_status), (504, None));
        assert_eq!(grpc_status_of_http(timeout.status), 14);
        assert_eq!(Failure::UpstreamMaxDuration.meaning().grpc_status, Some(4));
    }

    #[test]
    fn only_failures_before_the_endpoint_saw_the_request_are_unprocessed() {
        assert!(Failure::RemoteRefused.meaning().unprocessed);
        assert!(Failure::NotConnected.meaning().unprocessed);
        assert!(!Failure::RemoteReset.meaning().unprocessed);
        assert!(!Failure::ConnectionTermination.meaning().unprocessed);
    }
}
