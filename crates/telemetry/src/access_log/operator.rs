//! Command operators: `%NAME(ARGUMENT):LENGTH%`, read once.

use super::context::{Address, ByteCount, MetadataSource, Side, Text, TimePoint, TlsField};
use super::grpc::GrpcStatusFormat;
use super::timestamp::TimeFormat;

/// One piece of a format.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operator {
    Literal(Box<str>),
    /// `None` where the process knows no value.
    Constant(Option<Box<str>>),
    Header {
        source: HeaderSource,
        name: Box<str>,
        alternative: Option<Box<str>>,
        limit: Option<usize>,
    },
    StartTime(TimeFormat),
    EmitTime(TimeFormat),
    Protocol,
    ResponseCode,
    ResponseFlags {
        long: bool,
    },
    Duration {
        from: TimePoint,
        to: TimePoint,
        unit: Unit,
    },
    Bytes(ByteCount),
    ConnectionId(Side),
    RequestAttemptCount,
    Address(Address, AddressPart),
    Text(Text, Option<usize>),
    Tls(Side, TlsField),
    Metadata {
        source: MetadataSource,
        namespace: Box<str>,
        path: Box<[Box<str>]>,
        limit: Option<usize>,
    },
    GrpcStatus(GrpcStatusFormat),
    UniqueId,
    QueryParameter {
        name: Box<str>,
        limit: Option<usize>,
    },
    Path {
        query: bool,
        from: PathFrom,
        limit: Option<usize>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderSource {
    Request,
    Response,
    Trailer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressPart {
    All,
    WithoutPort,
    Port,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathFrom {
    Path,
    Original,
    OriginalOrPath,
}

/// Why a format is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {position} of the format")]
pub struct FormatError {
    /// Where the operator begins, counted from 0.
    pub position: usize,
    /// What was found, and what was expected.
    pub reason: String,
}

/// Cuts a format into its pieces.
pub(super) fn parse(format: &str) -> Result<Vec<Operator>, FormatError> {
    let mut operators = Vec::new();
    let mut literal = String::new();
    let mut rest = format;
    while let Some(start) = rest.find('%') {
        literal.push_str(&rest[..start]);
        let position = format.len() - rest.len() + start;
        let inside = &rest[start + 1..];
        if let Some(after) = inside.strip_prefix('%') {
            literal.push('%');
            rest = after;
            continue;
        }
        let fail = |reason: String| FormatError { position, reason };
        let (command, after) = command(inside).map_err(fail)?;
        if !literal.is_empty() {
            operators.push(Operator::Literal(std::mem::take(&mut literal).into()));
        }
        operators.push(operator(&command).map_err(fail)?);
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        operators.push(Operator::Literal(literal.into()));
    }
    Ok(operators)
}

/// An operator taken apart.
struct Command<'a> {
    name: &'a str,
    argument: Option<&'a str>,
    limit: Option<usize>,
}

/// What stands between two percent signs, and what follows. An argument may hold percent signs.
fn command(inside: &str) -> Result<(Command<'_>, &str), String> {
    let name_length = inside
        .bytes()
        .take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_');
    let (name, mut rest) = inside.split_at(name_length.count());
    if name.is_empty() {
        return Err("'%' begins no command operator (a percent sign is written '%%')".to_owned());
    }
    let mut argument = None;
    if let Some(after) = rest.strip_prefix('(') {
        let (inner, after) = after
            .split_once(')')
            .ok_or_else(|| format!("%{name}( has no closing bracket"))?;
        argument = Some(inner);
        rest = after;
    }
    let mut limit = None;
    if let Some(after) = rest.strip_prefix(':') {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let length = after[..digits]
            .parse()
            .map_err(|_| format!("%{name} has no number behind its colon"))?;
        limit = Some(length);
        rest = &after[digits..];
    }
    let rest = rest
        .strip_prefix('%')
        .ok_or_else(|| format!("%{name} has no closing '%'"))?;
    Ok((Command { name, argument, limit }, rest))
}

fn operator(command: &Command<'_>) -> Result<Operator, String> {
    let name = command.name;
    let limit = command.limit;
    if let Some(operator) = with_argument(command)? {
        return Ok(operator);
    }
    if command.argument.is_some() {
        return match without_argument(name, limit) {
            Some(_) => Err(format!("%{name}% takes no argument")),
            None => Err(format!("%{name}% is no command operator that is supported")),
        };
    }
    without_argument(name, limit).ok_or_else(|| format!("%{name}% is no command operator that is supported"))
}

/// Operators that take an argument, or may.
fn with_argument(command: &Command<'_>) -> Result<Option<Operator>, String> {
    let &Command { name, argument, limit } = command;
    let needed = || {
        argument
            .filter(|text| !text.is_empty())
            .ok_or_else(|| format!("%{name}% needs an argument"))
    };
    let header = |source| {
        let argument = needed()?;
        let mut names = argument.split('?');
        let lower = |name: Option<&str>| {
            name.filter(|name| !name.is_empty())
                .map(|name| name.to_ascii_lowercase().into())
        };
        let (first, second, more) = (lower(names.next()), lower(names.next()), names.next());
        match (first, second, more) {
            (Some(name), alternative, None) => Ok(Some(Operator::Header {
                source,
                name,
                alternative,
                limit,
            })),
            _ => Err(format!(
                "%{name}({argument})% must name one header, or two with '?' between"
            )),
        }
    };
    let metadata = |source| {
        let argument = needed()?;
        let mut parts = argument.split(':').map(|part| part.trim().into());
        let namespace = parts.next().unwrap_or_default();
        Ok(Some(Operator::Metadata {
            source,
            namespace,
            path: parts.collect(),
            limit,
        }))
    };
    Ok(match name {
        "REQ" | "REQUEST_HEADER" => return header(HeaderSource::Request),
        "RESP" | "RESPONSE_HEADER" => return header(HeaderSource::Response),
        "TRAILER" | "RESPONSE_TRAILER" => return header(HeaderSource::Trailer),
        "DYNAMIC_METADATA" => return metadata(MetadataSource::Dynamic),
        "CLUSTER_METADATA" => return metadata(MetadataSource::Cluster),
        "UPSTREAM_METADATA" => return metadata(MetadataSource::UpstreamHost),
        "METADATA" => {
            let (kind, rest) = needed()?
                .split_once(':')
                .ok_or("%METADATA% needs a type and a namespace")?;
            let source = match kind {
                "DYNAMIC" => MetadataSource::Dynamic,
                "CLUSTER" => MetadataSource::Cluster,
                "ROUTE" => MetadataSource::Route,
                "VIRTUAL_HOST" => MetadataSource::VirtualHost,
                "LISTENER" => MetadataSource::Listener,
                "LISTENER_FILTER_CHAIN" => MetadataSource::ListenerFilterChain,
                "UPSTREAM_HOST" => MetadataSource::UpstreamHost,
                _ => return Err(format!("%METADATA({kind}:...)% names no kind of metadata")),
            };
            let mut parts = rest.split(':').map(|part| part.trim().into());
            let namespace = parts.next().unwrap_or_default();
            Some(Operator::Metadata {
                source,
                namespace,
                path: parts.collect(),
                limit,
            })
        }
        "FILTER_STATE" | "UPSTREAM_FILTER_STATE" => {
            let upstream = name == "UPSTREAM_FILTER_STATE";
            Some(filter_state(needed()?, upstream, limit)?)
        }
        "START_TIME" => Some(Operator::StartTime(TimeFormat::parse(argument.unwrap_or_default())?)),
        "EMIT_TIME" => Some(Operator::EmitTime(TimeFormat::parse(argument.unwrap_or_default())?)),
        "DOWNSTREAM_PEER_CERT_V_START"
        | "DOWNSTREAM_PEER_CERT_V_END"
        | "UPSTREAM_PEER_CERT_V_START"
        | "UPSTREAM_PEER_CERT_V_END" => {
            if argument.is_some() {
                return Err(format!("%{name}% is written in one format only"));
            }
            None
        }
        "COMMON_DURATION" => Some(common_duration(needed()?)?),
        "ENVIRONMENT" => {
            let value = std::env::var(needed()?).ok();
            Some(Operator::Constant(value.map(|value| truncated(value, limit).into())))
        }
        "GRPC_STATUS" => Some(Operator::GrpcStatus(match argument.unwrap_or("CAMEL_STRING") {
            "CAMEL_STRING" => GrpcStatusFormat::Camel,
            "SNAKE_STRING" => GrpcStatusFormat::Snake,
            "NUMBER" => GrpcStatusFormat::Number,
            other => {
                return Err(format!(
                    "%GRPC_STATUS({other})% must be CAMEL_STRING, SNAKE_STRING or NUMBER"
                ));
            }
        })),
        "QUERY_PARAM" => Some(Operator::QueryParameter {
            name: needed()?.into(),
            limit,
        }),
        "PATH" => Some(path(argument.unwrap_or_default(), limit)?),
        _ => None,
    })
}

/// `OBJECT`, `OBJECT:TYPED`, `OBJECT:PLAIN` or `OBJECT:FIELD:NAME`.
fn filter_state(argument: &str, upstream: bool, limit: Option<usize>) -> Result<Operator, String> {
    let mut parts = argument.split(':');
    let namespace = parts.next().unwrap_or_default().into();
    // As JSON it is written whole.
    let (source, path, limit) = match (parts.next().unwrap_or_default(), parts.next()) {
        ("" | "TYPED", None) => (MetadataSource::FilterState, Box::default(), None),
        ("PLAIN", None) => (MetadataSource::PlainFilterState, Box::default(), limit),
        ("FIELD", Some(name)) => (MetadataSource::FilterState, [name.into()].into(), limit),
        _ => {
            return Err(format!(
                "%FILTER_STATE({argument})% must be an object, with :PLAIN, :TYPED or :FIELD:name after it or nothing"
            ));
        }
    };
    Ok(Operator::Metadata {
        source: if upstream {
            MetadataSource::UpstreamFilterState
        } else {
            source
        },
        namespace,
        path,
        limit,
    })
}

/// `START:END:PRECISION`.
fn common_duration(argument: &str) -> Result<Operator, String> {
    let wrong = || format!("%COMMON_DURATION({argument})% must be two moments and ms, us or ns, with ':' between");
    let mut parts = argument.split(':');
    let mut moment = || parts.next().and_then(time_point).ok_or_else(wrong);
    let (from, to) = (moment()?, moment()?);
    let unit = match (parts.next(), parts.next()) {
        (Some("ms"), None) => Unit::Milliseconds,
        (Some("us"), None) => Unit::Microseconds,
        (Some("ns"), None) => Unit::Nanoseconds,
        _ => return Err(wrong()),
    };
    Ok(Operator::Duration { from, to, unit })
}

fn time_point(name: &str) -> Option<TimePoint> {
    Some(match name {
        "DS_RX_BEG" => TimePoint::DownstreamReceiveBegin,
        "DS_RX_END" => TimePoint::DownstreamReceiveEnd,
        "US_CX_BEG" => TimePoint::UpstreamConnectBegin,
        "US_CX_END" => TimePoint::UpstreamConnectEnd,
        "US_HS_END" => TimePoint::UpstreamHandshakeEnd,
        "US_TX_BEG" => TimePoint::UpstreamSendBegin,
        "US_TX_END" => TimePoint::UpstreamSendEnd,
        "US_RX_BEG" => TimePoint::UpstreamReceiveBegin,
        "US_RX_BODY_BEG" => TimePoint::UpstreamReceiveBodyBegin,
        "US_RX_END" => TimePoint::UpstreamReceiveEnd,
        "DS_TX_BEG" => TimePoint::DownstreamSendBegin,
        "DS_TX_END" => TimePoint::DownstreamSendEnd,
        _ => return None,
    })
}

/// `QUERY:OPTION`: with or without the query, of which header.
fn path(argument: &str, limit: Option<usize>) -> Result<Operator, String> {
    let (query, from) = argument.split_once(':').unwrap_or((argument, ""));
    let query = match query {
        "WQ" | "" => true,
        "NQ" => false,
        _ => return Err(format!("%PATH({argument})% must begin with WQ or NQ")),
    };
    let from = match from {
        "ORIG_OR_PATH" | "" => PathFrom::OriginalOrPath,
        "ORIG" => PathFrom::Original,
        "PATH" => PathFrom::Path,
        _ => return Err(format!("%PATH({argument})% must end with ORIG, PATH or ORIG_OR_PATH")),
    };
    Ok(Operator::Path { query, from, limit })
}

/// At most this many bytes, cut between characters.
pub(super) fn truncated(mut text: String, limit: Option<usize>) -> String {
    if let Some(limit) = limit
        && limit < text.len()
    {
        let end = (0..=limit).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

fn without_argument(name: &str, limit: Option<usize>) -> Option<Operator> {
    use Address as A;
    use AddressPart::{All, Port, WithoutPort};
    let since_start = |to| Operator::Duration {
        from: TimePoint::DownstreamReceiveBegin,
        to,
        unit: Unit::Milliseconds,
    };
    let text = |which| Operator::Text(which, limit);
    Some(match name {
        "PROTOCOL" => Operator::Protocol,
        "RESPONSE_CODE" => Operator::ResponseCode,
        "RESPONSE_CODE_DETAILS" => text(Text::ResponseCodeDetails),
        "RESPONSE_FLAGS" => Operator::ResponseFlags { long: false },
        "RESPONSE_FLAGS_LONG" => Operator::ResponseFlags { long: true },
        "CONNECTION_TERMINATION_DETAILS" => text(Text::ConnectionTerminationDetails),
        "UPSTREAM_TRANSPORT_FAILURE_REASON" => text(Text::UpstreamTransportFailureReason),
        "DOWNSTREAM_TRANSPORT_FAILURE_REASON" => text(Text::DownstreamTransportFailureReason),
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => text(Text::UpstreamClusterName),
        "UPSTREAM_HOST_NAME" => text(Text::UpstreamHostName),
        "ROUTE_NAME" => text(Text::RouteName),
        "VIRTUAL_HOST_NAME" => text(Text::VirtualHostName),
        "VIRTUAL_CLUSTER_NAME" => text(Text::VirtualClusterName),
        "FILTER_CHAIN_NAME" => text(Text::FilterChainName),
        "REQUESTED_SERVER_NAME" => text(Text::RequestedServerName),
        "UPSTREAM_SERVER_NAME" => text(Text::UpstreamRequestedServerName),
        "UPSTREAM_PROTOCOL" => text(Text::UpstreamProtocol),
        "STREAM_ID" => text(Text::StreamId),
        "TRACE_ID" => text(Text::TraceId),
        "SPAN_ID" => text(Text::SpanId),
        "LOCAL_REPLY_BODY" => text(Text::LocalReplyBody),
        "ACCESS_LOG_TYPE" => text(Text::AccessLogType),
        "TLS_JA3_FINGERPRINT" => text(Text::Ja3Fingerprint),
        "UNIQUE_ID" => Operator::UniqueId,
        "HOSTNAME" => Operator::Constant(host_name()),
        "DURATION" => since_start(TimePoint::DownstreamSendEnd),
        "REQUEST_DURATION" => since_start(TimePoint::DownstreamReceiveEnd),
        "REQUEST_TX_DURATION" => since_start(TimePoint::UpstreamSendEnd),
        "RESPONSE_DURATION" => since_start(TimePoint::UpstreamReceiveBegin),
        "RESPONSE_TX_DURATION" => Operator::Duration {
            from: TimePoint::UpstreamReceiveBegin,
            to: TimePoint::DownstreamSendEnd,
            unit: Unit::Milliseconds,
        },
        "UPSTREAM_CONNECTION_POOL_READY_DURATION" => since_start(TimePoint::UpstreamSendBegin),
        // Only QUIC measures it.
        "ROUNDTRIP_DURATION" => Operator::Constant(None),
        "BYTES_RECEIVED" => Operator::Bytes(ByteCount::BodyReceived),
        "BYTES_SENT" => Operator::Bytes(ByteCount::BodySent),
        "UPSTREAM_WIRE_BYTES_RECEIVED" => Operator::Bytes(ByteCount::WireReceived(Side::Upstream)),
        "UPSTREAM_WIRE_BYTES_SENT" => Operator::Bytes(ByteCount::WireSent(Side::Upstream)),
        "UPSTREAM_HEADER_BYTES_RECEIVED" => Operator::Bytes(ByteCount::HeaderReceived(Side::Upstream)),
        "UPSTREAM_HEADER_BYTES_SENT" => Operator::Bytes(ByteCount::HeaderSent(Side::Upstream)),
        "DOWNSTREAM_WIRE_BYTES_RECEIVED" => Operator::Bytes(ByteCount::WireReceived(Side::Downstream)),
        "DOWNSTREAM_WIRE_BYTES_SENT" => Operator::Bytes(ByteCount::WireSent(Side::Downstream)),
        "DOWNSTREAM_HEADER_BYTES_RECEIVED" => Operator::Bytes(ByteCount::HeaderReceived(Side::Downstream)),
        "DOWNSTREAM_HEADER_BYTES_SENT" => Operator::Bytes(ByteCount::HeaderSent(Side::Downstream)),
        "CONNECTION_ID" => Operator::ConnectionId(Side::Downstream),
        "UPSTREAM_CONNECTION_ID" => Operator::ConnectionId(Side::Upstream),
        "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Operator::RequestAttemptCount,
        "GRPC_STATUS_NUMBER" => Operator::GrpcStatus(GrpcStatusFormat::Number),
        "UPSTREAM_HOST" => Operator::Address(A::UpstreamHost, All),
        "UPSTREAM_REMOTE_ADDRESS" => Operator::Address(A::UpstreamRemote, All),
        "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Operator::Address(A::UpstreamRemote, WithoutPort),
        "UPSTREAM_REMOTE_PORT" => Operator::Address(A::UpstreamRemote, Port),
        "UPSTREAM_LOCAL_ADDRESS" => Operator::Address(A::UpstreamLocal, All),
        "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => Operator::Address(A::UpstreamLocal, WithoutPort),
        "UPSTREAM_LOCAL_PORT" => Operator::Address(A::UpstreamLocal, Port),
        "DOWNSTREAM_REMOTE_ADDRESS" => Operator::Address(A::DownstreamRemote, All),
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Operator::Address(A::DownstreamRemote, WithoutPort),
        "DOWNSTREAM_REMOTE_PORT" => Operator::Address(A::DownstreamRemote, Port),
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => Operator::Address(A::DownstreamDirectRemote, All),
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => Operator::Address(A::DownstreamDirectRemote, WithoutPort),
        "DOWNSTREAM_DIRECT_REMOTE_PORT" => Operator::Address(A::DownstreamDirectRemote, Port),
        "DOWNSTREAM_LOCAL_ADDRESS" => Operator::Address(A::DownstreamLocal, All),
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => Operator::Address(A::DownstreamLocal, WithoutPort),
        "DOWNSTREAM_LOCAL_PORT" => Operator::Address(A::DownstreamLocal, Port),
        _ => return tls_operator(name),
    })
}

/// `DOWNSTREAM_...` and `UPSTREAM_...` of the TLS session on that side.
fn tls_operator(name: &str) -> Option<Operator> {
    let (side, field) = match name.strip_prefix("DOWNSTREAM_") {
        Some(field) => (Side::Downstream, field),
        None => (Side::Upstream, name.strip_prefix("UPSTREAM_")?),
    };
    let field = match field {
        "TLS_VERSION" => TlsField::Version,
        "TLS_CIPHER" => TlsField::Cipher,
        "TLS_SESSION_ID" => TlsField::SessionId,
        "PEER_SUBJECT" => TlsField::PeerSubject,
        "PEER_ISSUER" => TlsField::PeerIssuer,
        "PEER_SERIAL" => TlsField::PeerSerial,
        "PEER_FINGERPRINT_256" => TlsField::PeerFingerprint256,
        "PEER_FINGERPRINT_1" => TlsField::PeerFingerprint1,
        "PEER_URI_SAN" => TlsField::PeerUriSan,
        "PEER_DNS_SAN" => TlsField::PeerDnsSan,
        "PEER_IP_SAN" => TlsField::PeerIpSan,
        "PEER_EMAIL_SAN" => TlsField::PeerEmailSan,
        "PEER_CERT" => TlsField::PeerCert,
        "PEER_CERT_V_START" => TlsField::PeerCertStart,
        "PEER_CERT_V_END" => TlsField::PeerCertEnd,
        "LOCAL_SUBJECT" => TlsField::LocalSubject,
        "LOCAL_URI_SAN" => TlsField::LocalUriSan,
        "LOCAL_DNS_SAN" => TlsField::LocalDnsSan,
        _ => return None,
    };
    Some(Operator::Tls(side, field))
}

/// The system's name for this machine.
fn host_name() -> Option<Box<str>> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.into())
}
