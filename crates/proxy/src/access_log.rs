//! Access logs: where they go, which requests are written, and a request as the formatter sees it.

pub(crate) mod logged_metadata;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use codec::headers::HeaderBlock;
use config::access_log::{AccessLog, AccessLogFilter, AccessLogFormat, AccessLogSink};
use config::endpoint::EndpointDetails;
use config::metadata::{Struct, Value};
use telemetry::access_log::{
    Address, ByteCount, DEFAULT_FORMAT, Format, JsonTemplate, LogAddress, LogContext, MetadataSource, MetadataValue,
    ResponseFlags, Side, Sink, Text, TimePoint, TlsField, Writer,
};
use telemetry::stats::Shard;
use tls::PeerIdentity;
use upstream::endpoint::{EndpointAddressRef, EndpointState};

use self::logged_metadata::{borrowed, found_value, owned, plain};
use crate::downstream::{Downstream, Protocol};
use crate::stream::Stream;

/// Opens the process's log files, each once.
#[derive(Clone, Debug)]
pub(crate) struct LogSinks(Arc<Writer>);

impl LogSinks {
    pub(crate) fn new(writer: Arc<Writer>) -> Self {
        LogSinks(writer)
    }

    /// The logs of a connection manager. A file that can't be opened is reported and its log left
    /// out: requests are served all the same.
    pub(crate) fn open(&self, logs: &[AccessLog]) -> AccessLogs {
        AccessLogs(logs.iter().filter_map(|log| self.open_one(log)).collect())
    }

    fn open_one(&self, log: &AccessLog) -> Option<OpenLog> {
        let (format, sink) = open(&self.0, log)?;
        Some(OpenLog {
            filter: log.filter.clone(),
            format,
            sink,
        })
    }
}

/// Opens a log and compiles its format. What cannot be opened is reported and `None`: the rest goes on without it.
pub fn open(writer: &Writer, log: &AccessLog) -> Option<(Format, Arc<Sink>)> {
    let (sink, format) = match &log.sink {
        AccessLogSink::File { path, format } => match writer.file(Path::new(&**path)) {
            Ok(sink) => (sink, format),
            Err(error) => {
                tracing::error!(target: "config", %path, %error, "cannot open an access log");
                return None;
            }
        },
        AccessLogSink::Stdout { format } => (writer.stdout(), format),
        AccessLogSink::Stderr { format } => (writer.stderr(), format),
        AccessLogSink::Extension(_) => return None,
    };
    match compile(format) {
        Ok(format) => Some((format, sink)),
        Err(error) => {
            tracing::error!(target: "config", log = %log.name, %error, "an access log's format is not usable");
            None
        }
    }
}

/// Compiles a configured format.
pub(crate) fn compile(format: &AccessLogFormat) -> Result<Format, telemetry::access_log::FormatError> {
    match format {
        AccessLogFormat::Default => Format::text(DEFAULT_FORMAT, false),
        AccessLogFormat::Text {
            format,
            omit_empty_values,
        } => Format::text(format, *omit_empty_values),
        AccessLogFormat::Json {
            format,
            omit_empty_values,
            ..
        } => Format::json(&object(format), *omit_empty_values),
    }
}

fn object(fields: &Struct) -> JsonTemplate {
    JsonTemplate::Object(
        fields
            .iter()
            .map(|(name, value)| (name.to_string(), template(value)))
            .collect(),
    )
}

fn template(value: &Value) -> JsonTemplate {
    match value {
        Value::Null => JsonTemplate::Null,
        Value::Number(number) => JsonTemplate::Number(*number),
        Value::String(text) => JsonTemplate::String(text.to_string()),
        Value::Bool(truth) => JsonTemplate::Bool(*truth),
        Value::List(list) => JsonTemplate::List(list.iter().map(template).collect()),
        Value::Struct(fields) => object(fields),
    }
}

/// The logs of one connection manager.
#[derive(Debug)]
pub(crate) struct AccessLogs(Vec<OpenLog>);

#[derive(Debug)]
struct OpenLog {
    filter: Option<AccessLogFilter>,
    format: Format,
    sink: Arc<Sink>,
}

impl AccessLogs {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes the entries of a finished request. `line` is the worker's buffer.
    pub(crate) fn write(&self, entry: &impl Logged, shard: Shard, line: &mut Vec<u8>) {
        for log in &self.0 {
            if log.filter.as_ref().is_none_or(|filter| entry.passes(filter)) {
                line.clear();
                log.format.write(entry, line);
                log.sink.write(shard, line);
            }
        }
    }
}

/// What is logged: a request, or a connection.
pub(crate) trait Logged: LogContext {
    /// Whether a log with this filter gets an entry for it.
    fn passes(&self, filter: &AccessLogFilter) -> bool;
}

impl Logged for Entry<'_> {
    fn passes(&self, filter: &AccessLogFilter) -> bool {
        holds(filter, self)
    }
}

pub(crate) fn holds(filter: &AccessLogFilter, entry: &Entry<'_>) -> bool {
    let record = &entry.stream.record;
    match filter {
        AccessLogFilter::StatusCode(comparison) => comparison.holds(record.status.into()),
        AccessLogFilter::Duration(comparison) => comparison.holds(entry.duration().as_millis() as u64),
        AccessLogFilter::NotHealthCheck => !record.health_check,
        // Nothing is traced.
        AccessLogFilter::Traceable => false,
        AccessLogFilter::Runtime { percent_sampled, .. } => {
            let random = entry.stream.request_id().map_or(0, sampling_number);
            random % u64::from(percent_sampled.denominator) < u64::from(percent_sampled.numerator)
        }
        AccessLogFilter::And(filters) => filters.iter().all(|filter| holds(filter, entry)),
        AccessLogFilter::Or(filters) => filters.iter().any(|filter| holds(filter, entry)),
        AccessLogFilter::Header(matcher) => matcher.matches(entry.stream.request.get_all(&*matcher.name)),
        AccessLogFilter::ResponseFlag(names) => entry
            .response_flags()
            .iter()
            .any(|flag| names.is_empty() || names.iter().any(|name| **name == *flag.short_name())),
        AccessLogFilter::GrpcStatus { statuses, exclude } => {
            let status = record.grpc_status.unwrap_or(if record.status == 200 { 0 } else { 2 });
            statuses.iter().any(|wanted| u32::from(*wanted) == status) != *exclude
        }
    }
}

/// A number from a request id, so that every proxy on a request's way samples the same ones.
fn sampling_number(id: &[u8]) -> u64 {
    id.iter().take(8).fold(0, |number, byte| {
        number * 16 + u64::from((*byte as char).to_digit(16).unwrap_or_default())
    })
}

/// A finished request.
pub(crate) struct Entry<'a> {
    pub(crate) stream: &'a Stream,
    pub(crate) downstream: &'a Downstream,
    /// The answer's head, while that is being made; later the one that was kept.
    pub(crate) response: Option<&'a HeaderBlock>,
    pub(crate) now: Instant,
}

impl Entry<'_> {
    fn duration(&self) -> Duration {
        self.now.saturating_duration_since(self.stream.record.started)
    }

    /// The endpoint of the latest attempt.
    fn endpoint(&self) -> Option<&Arc<EndpointState>> {
        let latest = self.stream.attempt.as_ref().map(|attempt| &attempt.endpoint);
        self.stream.record.endpoint.as_ref().or(latest)
    }

    /// What is configured of that endpoint, its metadata among it. It is looked for among all of its cluster's: only
    /// formats that name it pay for that.
    fn endpoint_details(&self) -> Option<Arc<EndpointDetails>> {
        let endpoint = self.endpoint()?;
        let table = self.stream.cluster.as_ref()?.table();
        let hosts = table.hosts();
        let host = hosts.iter().find(|host| Arc::ptr_eq(&host.state, endpoint))?;
        hosts.endpoint(host).shared_details()
    }

    fn since_start(&self, at: Option<Instant>) -> Option<Duration> {
        at.map(|at| at.saturating_duration_since(self.stream.record.started))
    }
}

fn header<'a>(block: &'a HeaderBlock, name: &str) -> Option<&'a [u8]> {
    block.get(name)
}

impl LogContext for Entry<'_> {
    fn start_time(&self) -> SystemTime {
        SystemTime::now() - self.duration()
    }

    fn elapsed(&self, point: TimePoint) -> Option<Duration> {
        let record = &self.stream.record;
        match point {
            TimePoint::DownstreamReceiveBegin => Some(Duration::ZERO),
            TimePoint::DownstreamReceiveEnd => self.since_start(record.request_received_at),
            TimePoint::UpstreamSendBegin => self.since_start(record.sent_upstream_at),
            TimePoint::UpstreamReceiveBegin => self.since_start(record.response_started_at),
            TimePoint::DownstreamSendBegin => {
                self.since_start(record.response_started_at.or(record.local_reply.then_some(self.now)))
            }
            TimePoint::DownstreamSendEnd => Some(self.duration()),
            _ => None,
        }
    }

    fn request_header(&self, name: &str) -> Option<&[u8]> {
        header(&self.stream.request, name)
    }

    fn response_header(&self, name: &str) -> Option<&[u8]> {
        header(self.response.or(self.stream.record.response_head.as_deref())?, name)
    }

    fn response_trailer(&self, name: &str) -> Option<&[u8]> {
        header(self.stream.record.response_trailers.as_deref()?, name)
    }

    fn protocol(&self) -> Option<&str> {
        self.downstream.protocol().map(|protocol| match protocol {
            Protocol::Http1 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2",
        })
    }

    fn response_code(&self) -> Option<u16> {
        Some(self.stream.record.status).filter(|status| *status != 0)
    }

    fn response_flags(&self) -> ResponseFlags {
        let record = &self.stream.record;
        let mut flags = record.filter_flags;
        record
            .retry_flag
            .into_iter()
            .chain(record.flag)
            .for_each(|flag| flags.set(flag));
        flags
    }

    fn request_attempt_count(&self) -> Option<u64> {
        Some(u64::from(self.stream.record.attempts))
    }

    fn bytes(&self, count: ByteCount) -> u64 {
        match count {
            ByteCount::BodyReceived => self.stream.body.received,
            ByteCount::BodySent => self.stream.record.bytes_sent,
            _ => 0,
        }
    }

    fn address(&self, which: Address) -> Option<LogAddress<'_>> {
        match which {
            Address::DownstreamRemote => match self.stream.named_client {
                Some(address) => Some(LogAddress::Ip(SocketAddr::new(address, 0))),
                None => self.downstream.peer.map(LogAddress::Ip),
            },
            Address::DownstreamDirectRemote => self.downstream.direct_peer.map(LogAddress::Ip),
            Address::DownstreamLocal => self.downstream.local.map(LogAddress::Ip),
            Address::UpstreamRemote => match self.endpoint()?.address() {
                EndpointAddressRef::Socket(address) => Some(LogAddress::Ip(address)),
                EndpointAddressRef::Pipe(path) => Some(LogAddress::Path(path)),
            },
            Address::UpstreamLocal => None,
        }
    }

    fn text(&self, which: Text) -> Option<&str> {
        let text = match which {
            Text::ResponseCodeDetails => self.stream.record.details,
            Text::UpstreamTransportFailureReason => self.stream.record.transport_failure?.reason(),
            Text::UpstreamClusterName => self.stream.cluster.as_ref()?.name(),
            Text::UpstreamHostName => self.endpoint()?.hostname(),
            Text::UpstreamProtocol => match self.stream.record.upstream_is_http2? {
                true => "HTTP/2",
                false => "HTTP/1.1",
            },
            Text::RouteName => &self.stream.route_table()?.route(self.stream.route?).name,
            Text::VirtualHostName => &self.stream.route_table()?.virtual_host(self.stream.route?).name,
            Text::VirtualClusterName => {
                let stats = self.stream.rare.as_ref()?.route_stats.as_ref()?;
                stats.virtual_cluster_name.as_deref()?
            }
            Text::FilterChainName => &self.downstream.chain.config.name,
            Text::RequestedServerName => self.downstream.server_name.as_deref()?,
            Text::LocalReplyBody => return self.stream.rare.as_ref()?.reply_body.as_deref(),
            Text::StreamId => std::str::from_utf8(self.stream.request_id()?).ok()?,
            _ => return None,
        };
        Some(text).filter(|text| !text.is_empty())
    }

    fn metadata(&self, source: MetadataSource, namespace: &str, path: &[Box<str>]) -> Option<MetadataValue<'_>> {
        let metadata = match source {
            MetadataSource::Route => &self.stream.route_table()?.route(self.stream.route?).metadata,
            MetadataSource::VirtualHost => &self.stream.route_table()?.virtual_host(self.stream.route?).metadata,
            MetadataSource::Cluster => &self.stream.cluster.as_ref()?.config().metadata,
            MetadataSource::UpstreamHost => {
                let details = self.endpoint_details()?;
                return found_value(&details.metadata, namespace, path).map(owned);
            }
            MetadataSource::FilterState => &self.downstream.attached.as_ref()?.filter_state,
            MetadataSource::PlainFilterState => {
                let state = &self.downstream.attached.as_ref()?.filter_state;
                return found_value(state, namespace, path).map(plain);
            }
            // No filter attaches any: listener filters do to connections, not to requests.
            _ => return None,
        };
        found_value(metadata, namespace, path).map(borrowed)
    }

    fn tls(&self, side: Side, field: TlsField, out: &mut Vec<u8>) -> bool {
        let (Side::Downstream, Some(identity)) = (side, &self.downstream.peer_identity) else {
            return false;
        };
        if field == TlsField::LocalUriSan {
            let own = self.downstream.local_uri_san().unwrap_or("");
            out.extend_from_slice(own.as_bytes());
            return !own.is_empty();
        }
        write_peer(identity, field, out)
    }
}

/// Appends what a field says of a peer that has shown who it is. False, and nothing appended, when that is nothing.
pub(crate) fn write_peer(identity: &PeerIdentity, field: TlsField, out: &mut Vec<u8>) -> bool {
    let before = out.len();
    match field {
        TlsField::PeerSubject => out.extend_from_slice(identity.subject.as_bytes()),
        TlsField::PeerIssuer => out.extend_from_slice(identity.issuer.as_bytes()),
        TlsField::PeerSerial => out.extend_from_slice(identity.serial_number.as_bytes()),
        TlsField::PeerFingerprint256 => out.extend_from_slice(identity.sha256_fingerprint().as_bytes()),
        TlsField::PeerUriSan => join(&identity.uri_sans, out),
        TlsField::PeerDnsSan => join(&identity.dns_sans, out),
        TlsField::PeerCert => out.extend_from_slice(identity.url_encoded_pem().as_bytes()),
        _ => {}
    }
    out.len() > before
}

fn join(names: &[Box<str>], out: &mut Vec<u8>) {
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
    }
}
