//! A request, or one try of it, as the formatter sees it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use codec::headers::HeaderBlock;
use config::access_log::{AccessLogFilter, AccessLogType};
use config::endpoint::EndpointDetails;
use telemetry::access_log::{
    Address, ByteCount, LogAddress, LogContext, MetadataSource, MetadataValue, ResponseFlags, Side, Text, TimePoint,
    TlsField,
};
use upstream::endpoint::{EndpointAddressRef, EndpointState};

use super::attempt_log::AttemptLog;
use super::logged_metadata::{borrowed, found_value, owned, plain};
use super::{Logged, write_peer};
use crate::downstream::{Downstream, Protocol};
use crate::stream::{Attempt, Stream};
use crate::upstream_connection::Ends;

/// A request, or one try of it.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    stream: &'a Stream,
    downstream: &'a Downstream,
    /// The answer's head, while that is being made; later the one that was kept.
    response: Option<&'a HeaderBlock>,
    /// The try that is written of, which has a status, times and counts of its own; the whole request when none.
    attempt: Option<(&'a Attempt, &'a AttemptLog)>,
    moment: AccessLogType,
    now: Instant,
}

impl<'a> Entry<'a> {
    /// A request as it is now.
    pub(crate) fn new(stream: &'a Stream, downstream: &'a Downstream, now: Instant) -> Self {
        Entry {
            stream,
            downstream,
            response: None,
            attempt: None,
            moment: AccessLogType::NotSet,
            now,
        }
    }

    /// The same with the head of an answer that is being made.
    pub(crate) fn with_response(self, response: Option<&'a HeaderBlock>) -> Self {
        Entry { response, ..self }
    }

    /// The same for a log.
    pub(crate) fn at(self, moment: AccessLogType) -> Self {
        Entry { moment, ..self }
    }

    /// The same of one try.
    pub(crate) fn of_attempt(self, attempt: &'a Attempt, log: &'a AttemptLog) -> Self {
        Entry {
            attempt: Some((attempt, log)),
            ..self
        }
    }

    fn log(&self) -> Option<&'a AttemptLog> {
        self.attempt.map(|(_, log)| log)
    }

    fn started(&self) -> Instant {
        self.log().map_or(self.stream.record.started, |log| log.started)
    }

    fn duration(&self) -> Duration {
        self.now.saturating_duration_since(self.started())
    }

    fn status(&self) -> u16 {
        match self.log() {
            Some(log) => log.status(),
            None => self.stream.record.status,
        }
    }

    /// The endpoint of the latest attempt.
    fn endpoint(&self) -> Option<&'a Arc<EndpointState>> {
        let latest = self.stream.attempt.as_ref().map(|attempt| &attempt.endpoint);
        match self.attempt {
            Some((attempt, _)) => Some(&attempt.endpoint),
            None => self.stream.record.endpoint.as_ref().or(latest),
        }
    }

    /// Both ends of the connection that it went out on.
    fn ends(&self) -> Option<&'a Ends> {
        match self.log() {
            Some(log) => log.ends.as_deref(),
            None => self.stream.record.ends.as_deref(),
        }
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
        at.map(|at| at.saturating_duration_since(self.started()))
    }

    fn elapsed_of_attempt(&self, log: &AttemptLog, point: TimePoint) -> Option<Duration> {
        match point {
            TimePoint::DownstreamReceiveBegin => Some(Duration::ZERO),
            TimePoint::UpstreamSendBegin => self.since_start(log.sent_at),
            TimePoint::UpstreamReceiveBegin => self.since_start(log.head_at),
            TimePoint::DownstreamSendEnd => Some(self.duration()),
            _ => None,
        }
    }
}

impl Logged for Entry<'_> {
    fn passes(&self, filter: &AccessLogFilter) -> bool {
        let record = &self.stream.record;
        match filter {
            AccessLogFilter::StatusCode(comparison) => comparison.holds(self.status().into()),
            AccessLogFilter::Duration(comparison) => comparison.holds(self.duration().as_millis() as u64),
            AccessLogFilter::NotHealthCheck => !record.health_check,
            // Nothing is traced.
            AccessLogFilter::Traceable => false,
            AccessLogFilter::Runtime { percent_sampled, .. } => {
                let random = self.stream.request_id().map_or(0, sampling_number);
                random % u64::from(percent_sampled.denominator) < u64::from(percent_sampled.numerator)
            }
            AccessLogFilter::And(filters) => filters.iter().all(|filter| self.passes(filter)),
            AccessLogFilter::Or(filters) => filters.iter().any(|filter| self.passes(filter)),
            AccessLogFilter::Header(matcher) => matcher.matches(self.stream.request.get_all(&*matcher.name)),
            AccessLogFilter::ResponseFlag(names) => self
                .response_flags()
                .iter()
                .any(|flag| names.is_empty() || names.iter().any(|name| **name == *flag.short_name())),
            AccessLogFilter::GrpcStatus { statuses, exclude } => {
                let status = record.grpc_status.unwrap_or(if record.status == 200 { 0 } else { 2 });
                statuses.iter().any(|wanted| u32::from(*wanted) == status) != *exclude
            }
            AccessLogFilter::LogType { types, exclude } => types.contains(&self.moment) != *exclude,
        }
    }
}

/// A number from a request id, so that every proxy on a request's way samples the same ones.
fn sampling_number(id: &[u8]) -> u64 {
    id.iter().take(8).fold(0, |number, byte| {
        number * 16 + u64::from((*byte as char).to_digit(16).unwrap_or_default())
    })
}

impl LogContext for Entry<'_> {
    fn start_time(&self) -> SystemTime {
        SystemTime::now() - self.duration()
    }

    fn elapsed(&self, point: TimePoint) -> Option<Duration> {
        if let Some(log) = self.log() {
            return self.elapsed_of_attempt(log, point);
        }
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
        self.stream.request.get(name)
    }

    fn response_header(&self, name: &str) -> Option<&[u8]> {
        let kept = match self.log() {
            Some(log) => log.head.as_deref(),
            None => self.response.or(self.stream.record.response_head.as_deref()),
        };
        kept?.get(name)
    }

    fn response_trailer(&self, name: &str) -> Option<&[u8]> {
        let kept = match self.log() {
            Some(log) => log.trailers.as_deref(),
            None => self.stream.record.response_trailers.as_deref(),
        };
        kept?.get(name)
    }

    fn protocol(&self) -> Option<&str> {
        // A try has that of its own connection.
        if let Some(log) = self.log() {
            return log.is_http2.map(protocol_name);
        }
        self.downstream
            .protocol()
            .map(|protocol| protocol_name(protocol == Protocol::Http2))
    }

    fn response_code(&self) -> Option<u16> {
        Some(self.status()).filter(|status| *status != 0)
    }

    fn response_flags(&self) -> ResponseFlags {
        let record = &self.stream.record;
        if let Some(log) = self.log() {
            let mut flags = ResponseFlags::default();
            log.flag.into_iter().for_each(|flag| flags.set(flag));
            return flags;
        }
        let mut flags = record.filter_flags;
        record
            .retry_flag
            .into_iter()
            .chain(record.flag)
            .for_each(|flag| flags.set(flag));
        flags
    }

    fn request_attempt_count(&self) -> Option<u64> {
        match self.attempt {
            // As in Envoy, which counts them in the request's entry alone.
            Some(_) => Some(0),
            None => Some(u64::from(self.stream.record.attempts)),
        }
    }

    fn bytes(&self, count: ByteCount) -> u64 {
        match (count, self.attempt) {
            // Of a try, what came is of the answer.
            (ByteCount::BodyReceived, Some((_, log))) => log.received,
            (ByteCount::BodySent, Some((attempt, _))) => attempt.body_passed,
            (ByteCount::BodyReceived, None) => self.stream.body.received,
            (ByteCount::BodySent, None) => self.stream.record.bytes_sent,
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
            Address::UpstreamHost => Some(address_of(self.endpoint()?)),
            Address::UpstreamRemote => match self.ends()?.remote {
                Some(address) => Some(LogAddress::Ip(address)),
                None => Some(address_of(self.endpoint()?)),
            },
            Address::UpstreamLocal => self.ends()?.local.map(LogAddress::Ip),
        }
    }

    fn text(&self, which: Text) -> Option<&str> {
        let record = &self.stream.record;
        let text = match which {
            Text::AccessLogType => self.moment.name(),
            Text::ResponseCodeDetails if self.attempt.is_none() => record.details,
            Text::UpstreamTransportFailureReason => match self.log() {
                Some(log) => log.transport_failure?.reason(),
                None => record.transport_failure?.reason(),
            },
            Text::UpstreamClusterName => self.stream.cluster.as_ref()?.name(),
            Text::UpstreamHostName => self.endpoint()?.hostname(),
            Text::UpstreamProtocol => protocol_name(match self.log() {
                Some(log) => log.is_http2?,
                None => record.upstream_is_http2?,
            }),
            Text::RouteName => &self.stream.route_table()?.route(self.stream.route?).name,
            Text::VirtualHostName => &self.stream.route_table()?.virtual_host(self.stream.route?).name,
            Text::VirtualClusterName => {
                let stats = self.stream.rare.as_ref()?.route_stats.as_ref()?;
                stats.virtual_cluster_name.as_deref()?
            }
            Text::FilterChainName => &self.downstream.chain.config.name,
            Text::RequestedServerName => self.downstream.server_name.as_deref()?,
            Text::LocalReplyBody => return self.stream.rare.as_ref()?.reply_body.as_deref(),
            Text::StreamId if self.attempt.is_none() => std::str::from_utf8(self.stream.request_id()?).ok()?,
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

fn protocol_name(is_http2: bool) -> &'static str {
    match is_http2 {
        true => "HTTP/2",
        false => "HTTP/1.1",
    }
}

/// The first address of an endpoint.
pub(crate) fn address_of(endpoint: &EndpointState) -> LogAddress<'_> {
    match endpoint.address() {
        EndpointAddressRef::Socket(address) => LogAddress::Ip(address),
        EndpointAddressRef::Pipe(path) => LogAddress::Path(path),
    }
}
