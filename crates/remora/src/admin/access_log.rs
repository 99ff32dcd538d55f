//! The log of requests to the admin endpoint (`admin.access_log`).

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use config::access_log::{AccessLog, AccessLogFilter, AccessLogType};
use http::{HeaderMap, Method, StatusCode, Uri, Version};
use telemetry::access_log::{Address, ByteCount, Format, LogAddress, LogContext, Sink, TimePoint, Writer};
use telemetry::stats::Shard;

/// The admin endpoint's logs.
pub(crate) struct AdminLog {
    logs: Vec<OpenLog>,
    /// A line is put together here; requests to the admin endpoint are few.
    line: Mutex<Vec<u8>>,
}

struct OpenLog {
    filter: Option<AccessLogFilter>,
    format: Format,
    sink: Arc<Sink>,
}

impl fmt::Debug for AdminLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminLog").field("logs", &self.logs.len()).finish()
    }
}

impl AdminLog {
    /// Opens the logs. One that cannot be opened is reported and left out.
    pub(crate) fn open(configured: &[AccessLog], writer: &Writer) -> Self {
        let open = |log: &AccessLog| {
            let (format, sink) = proxy::access_log::open(writer, log)?;
            Some(OpenLog {
                filter: log.filter.clone(),
                format,
                sink,
            })
        };
        Self {
            logs: configured.iter().filter_map(open).collect(),
            line: Mutex::default(),
        }
    }

    pub(crate) fn write(&self, entry: &Entry<'_>) {
        if self.logs.is_empty() {
            return;
        }
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        for log in &self.logs {
            if log.filter.as_ref().is_none_or(|filter| entry.passes(filter)) {
                line.clear();
                log.format.write(entry, &mut line);
                log.sink.write(Shard::CONTROL, &line);
            }
        }
    }
}

/// A request to the admin endpoint that was answered.
pub(crate) struct Entry<'a> {
    pub(crate) began: SystemTime,
    pub(crate) since: Instant,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) version: Version,
    pub(crate) request: &'a HeaderMap,
    pub(crate) status: StatusCode,
    pub(crate) response: &'a HeaderMap,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

impl Entry<'_> {
    fn duration(&self) -> Duration {
        self.since.elapsed()
    }

    fn passes(&self, filter: &AccessLogFilter) -> bool {
        match filter {
            AccessLogFilter::StatusCode(comparison) => comparison.holds(self.status.as_u16().into()),
            AccessLogFilter::Duration(comparison) => {
                comparison.holds(u64::try_from(self.duration().as_millis()).unwrap_or(u64::MAX))
            }
            AccessLogFilter::NotHealthCheck => true,
            AccessLogFilter::Traceable => false,
            AccessLogFilter::Runtime { percent_sampled, .. } => {
                telemetry::random::next() % u64::from(percent_sampled.denominator)
                    < u64::from(percent_sampled.numerator)
            }
            AccessLogFilter::And(filters) => filters.iter().all(|filter| self.passes(filter)),
            AccessLogFilter::Or(filters) => filters.iter().any(|filter| self.passes(filter)),
            AccessLogFilter::Header(matcher) => {
                let values = self.request.get_all(&*matcher.name).iter();
                matcher.matches(values.map(http::HeaderValue::as_bytes))
            }
            // Nothing that has a flag happens here, and nobody calls in gRPC.
            AccessLogFilter::ResponseFlag(_) => false,
            AccessLogFilter::GrpcStatus { exclude, .. } => *exclude,
            AccessLogFilter::LogType { types, exclude } => types.contains(&AccessLogType::DownstreamEnd) != *exclude,
        }
    }
}

impl LogContext for Entry<'_> {
    fn start_time(&self) -> SystemTime {
        self.began
    }

    fn elapsed(&self, point: TimePoint) -> Option<Duration> {
        match point {
            TimePoint::DownstreamReceiveBegin | TimePoint::DownstreamReceiveEnd => Some(Duration::ZERO),
            TimePoint::DownstreamSendBegin | TimePoint::DownstreamSendEnd => Some(self.duration()),
            _ => None,
        }
    }

    fn request_header(&self, name: &str) -> Option<&[u8]> {
        match name {
            ":method" => Some(self.method.as_str().as_bytes()),
            ":path" => Some(
                self.uri
                    .path_and_query()
                    .map_or("/", http::uri::PathAndQuery::as_str)
                    .as_bytes(),
            ),
            ":authority" => match self.uri.authority() {
                Some(authority) => Some(authority.as_str().as_bytes()),
                None => Some(self.request.get(http::header::HOST)?.as_bytes()),
            },
            name if name.starts_with(':') => None,
            name => Some(self.request.get(name)?.as_bytes()),
        }
    }

    fn response_header(&self, name: &str) -> Option<&[u8]> {
        Some(self.response.get(name)?.as_bytes())
    }

    fn protocol(&self) -> Option<&str> {
        match self.version {
            Version::HTTP_2 => Some("HTTP/2"),
            Version::HTTP_10 => Some("HTTP/1.0"),
            _ => Some("HTTP/1.1"),
        }
    }

    fn response_code(&self) -> Option<u16> {
        Some(self.status.as_u16())
    }

    fn bytes(&self, count: ByteCount) -> u64 {
        match count {
            ByteCount::BodyReceived => self.received,
            ByteCount::BodySent => self.sent,
            _ => 0,
        }
    }

    fn address(&self, which: Address) -> Option<LogAddress<'_>> {
        match which {
            Address::DownstreamRemote | Address::DownstreamDirectRemote => self.peer.map(LogAddress::Ip),
            Address::DownstreamLocal => self.local.map(LogAddress::Ip),
            Address::UpstreamHost | Address::UpstreamRemote | Address::UpstreamLocal => None,
        }
    }
}
