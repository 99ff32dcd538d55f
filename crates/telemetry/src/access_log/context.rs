//! What an access-log entry can be made of. Whoever logs answers these questions; what it does not know stays `None`
//! and is written as `-`.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use super::flags::ResponseFlags;

/// A side of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Towards who calls.
    Downstream,
    /// Towards whom is called.
    Upstream,
}

/// Moments in a request's life, as Envoy names them for `COMMON_DURATION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimePoint {
    /// First byte of the request received (`DS_RX_BEG`).
    DownstreamReceiveBegin,
    /// Last byte of the request received (`DS_RX_END`).
    DownstreamReceiveEnd,
    /// Connecting to upstream begun (`US_CX_BEG`).
    UpstreamConnectBegin,
    /// Connected to upstream (`US_CX_END`).
    UpstreamConnectEnd,
    /// TLS handshake with upstream done (`US_HS_END`).
    UpstreamHandshakeEnd,
    /// First byte of the request sent to upstream (`US_TX_BEG`).
    UpstreamSendBegin,
    /// Last byte of the request sent to upstream (`US_TX_END`).
    UpstreamSendEnd,
    /// First byte of the response received from upstream (`US_RX_BEG`).
    UpstreamReceiveBegin,
    /// First byte of the response's body received (`US_RX_BODY_BEG`).
    UpstreamReceiveBodyBegin,
    /// Last byte of the response received from upstream (`US_RX_END`).
    UpstreamReceiveEnd,
    /// First byte of the response sent (`DS_TX_BEG`).
    DownstreamSendBegin,
    /// Last byte of the response sent: the request is over (`DS_TX_END`).
    DownstreamSendEnd,
}

/// Counts of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteCount {
    /// Body of the request (`BYTES_RECEIVED`); for TCP, what came from downstream.
    BodyReceived,
    /// Body of the response (`BYTES_SENT`); for TCP, what went downstream.
    BodySent,
    /// Everything received on this side for the request, framing included.
    WireReceived(Side),
    /// Everything sent on this side for the request, framing included.
    WireSent(Side),
    /// Headers received on this side.
    HeaderReceived(Side),
    /// Headers sent on this side.
    HeaderSent(Side),
}

/// Addresses of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// Who calls, as `x-forwarded-for` or the PROXY protocol tell it.
    DownstreamRemote,
    /// Who is connected.
    DownstreamDirectRemote,
    /// What was connected to.
    DownstreamLocal,
    /// The endpoint chosen, whether it could be connected or not.
    UpstreamHost,
    /// What is connected to there: one of the endpoint's addresses.
    UpstreamRemote,
    /// The proxy's own end of the connection to it.
    UpstreamLocal,
}

/// An address in a form that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogAddress<'a> {
    /// An IP address and port.
    Ip(SocketAddr),
    /// A Unix socket's path, or whatever else a peer is called by.
    Path(&'a str),
}

/// Texts that need no argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the command operator of the same name")]
pub enum Text {
    ResponseCodeDetails,
    ConnectionTerminationDetails,
    UpstreamTransportFailureReason,
    DownstreamTransportFailureReason,
    UpstreamClusterName,
    UpstreamHostName,
    RouteName,
    VirtualHostName,
    VirtualClusterName,
    FilterChainName,
    RequestedServerName,
    UpstreamRequestedServerName,
    UpstreamProtocol,
    StreamId,
    TraceId,
    SpanId,
    LocalReplyBody,
    AccessLogType,
    Ja3Fingerprint,
}

/// What can be logged of a TLS session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the command operator of the same name")]
pub enum TlsField {
    Version,
    Cipher,
    SessionId,
    PeerSubject,
    PeerIssuer,
    PeerSerial,
    PeerFingerprint256,
    PeerFingerprint1,
    PeerUriSan,
    PeerDnsSan,
    PeerIpSan,
    PeerEmailSan,
    PeerCert,
    PeerCertStart,
    PeerCertEnd,
    LocalSubject,
    LocalUriSan,
    LocalDnsSan,
}

/// Where metadata is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataSource {
    /// What filters attached to the request (`DYNAMIC_METADATA`).
    Dynamic,
    /// Of the cluster (`CLUSTER_METADATA`).
    Cluster,
    /// Of the route.
    Route,
    /// Of the virtual host.
    VirtualHost,
    /// Of the listener.
    Listener,
    /// Of the filter chain.
    ListenerFilterChain,
    /// Of the endpoint (`UPSTREAM_METADATA`).
    UpstreamHost,
    /// State that filters share (`FILTER_STATE`); the namespace is the object's name, the path one of its fields.
    FilterState,
    /// The same, an object as one text (`PLAIN`).
    PlainFilterState,
    /// The same on the upstream side (`UPSTREAM_FILTER_STATE`).
    UpstreamFilterState,
}

/// A value found in metadata.
#[derive(Clone, Debug, PartialEq)]
pub enum MetadataValue<'a> {
    /// A text; written without quotes in text formats.
    String(std::borrow::Cow<'a, str>),
    /// A number.
    Number(f64),
    /// A truth value.
    Bool(bool),
    /// A list or an object, as JSON.
    Json(std::borrow::Cow<'a, str>),
}

/// A request (or a TCP connection) that is logged.
#[allow(unused_variables, reason = "the defaults know nothing")]
pub trait LogContext {
    /// When the request began.
    fn start_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    /// How long after [`start_time`](LogContext::start_time) something happened, if it did.
    fn elapsed(&self, point: TimePoint) -> Option<Duration> {
        None
    }

    /// A header of the request; the name is in lower case, pseudo-headers have their colon. The first value counts.
    fn request_header(&self, name: &str) -> Option<&[u8]> {
        None
    }

    /// A header of the response, as it went downstream.
    fn response_header(&self, name: &str) -> Option<&[u8]> {
        None
    }

    /// A trailer of the response.
    fn response_trailer(&self, name: &str) -> Option<&[u8]> {
        None
    }

    /// `HTTP/1.1` or `HTTP/2`, towards downstream.
    fn protocol(&self) -> Option<&str> {
        None
    }

    /// The status sent downstream; none when nothing was (written as 0).
    fn response_code(&self) -> Option<u16> {
        None
    }

    /// What went wrong.
    fn response_flags(&self) -> ResponseFlags {
        ResponseFlags::default()
    }

    /// How often the request was sent upstream.
    fn request_attempt_count(&self) -> Option<u64> {
        None
    }

    /// Bytes; 0 where nothing was counted.
    fn bytes(&self, count: ByteCount) -> u64 {
        0
    }

    /// The process-wide number of the connection on this side.
    fn connection_id(&self, side: Side) -> Option<u64> {
        None
    }

    /// An address.
    fn address(&self, which: Address) -> Option<LogAddress<'_>> {
        None
    }

    /// A text.
    fn text(&self, which: Text) -> Option<&str> {
        None
    }

    /// Appends what is known of the TLS session on this side. False, and nothing appended, when that is nothing.
    fn tls(&self, side: Side, field: TlsField, out: &mut Vec<u8>) -> bool {
        false
    }

    /// A value at a path below a namespace.
    fn metadata(&self, source: MetadataSource, namespace: &str, path: &[Box<str>]) -> Option<MetadataValue<'_>> {
        None
    }
}
