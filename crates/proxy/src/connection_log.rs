//! Connections in access logs: those of the TCP proxy and of listeners.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use config::access_log::{AccessLogFilter, AccessLogType};
use telemetry::access_log::{
    Address, ByteCount, LogAddress, LogContext, MetadataSource, MetadataValue, ResponseFlag, ResponseFlags, Side, Text,
    TimePoint, TlsField,
};
use tls::PeerIdentity;
use upstream::endpoint::EndpointState;

use crate::accepted::Accepted;
use crate::access_log::logged_metadata::{borrowed, found_value, plain};
use crate::access_log::{Logged, address_of, write_peer};
use crate::upstream_connection::Ends;

/// What is written of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionRecord {
    pub(crate) flags: Vec<ResponseFlag>,
    /// The filter chain's name.
    pub(crate) chain: Option<Arc<str>>,
    pub(crate) cluster: Option<Arc<str>>,
    pub(crate) endpoint: Option<Arc<EndpointState>>,
    /// Both ends of the connection to it.
    pub(crate) ends: Option<Ends>,
    /// Who the caller has shown to be.
    pub(crate) peer_identity: Option<Arc<PeerIdentity>>,
    /// Attempts to connect.
    pub(crate) attempts: u32,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
}

/// A connection as the formatter sees it.
pub(crate) struct ConnectionEntry<'a> {
    pub(crate) kind: AccessLogType,
    pub(crate) accepted: &'a Accepted,
    pub(crate) record: &'a ConnectionRecord,
    pub(crate) began: Instant,
    pub(crate) now: Instant,
}

impl ConnectionEntry<'_> {
    fn duration(&self) -> Duration {
        self.now.saturating_duration_since(self.began)
    }
}

impl Logged for ConnectionEntry<'_> {
    fn passes(&self, filter: &AccessLogFilter) -> bool {
        match filter {
            // A connection has no status: 0, as it is written.
            AccessLogFilter::StatusCode(comparison) => comparison.holds(0),
            AccessLogFilter::Duration(comparison) => comparison.holds(self.duration().as_millis() as u64),
            AccessLogFilter::NotHealthCheck => true,
            AccessLogFilter::Traceable => false,
            AccessLogFilter::Runtime { percent_sampled, .. } => {
                let random = telemetry::random::next();
                random % u64::from(percent_sampled.denominator) < u64::from(percent_sampled.numerator)
            }
            AccessLogFilter::And(filters) => filters.iter().all(|filter| self.passes(filter)),
            AccessLogFilter::Or(filters) => filters.iter().any(|filter| self.passes(filter)),
            AccessLogFilter::Header(matcher) => matcher.matches(std::iter::empty::<&[u8]>()),
            AccessLogFilter::ResponseFlag(names) => self
                .record
                .flags
                .iter()
                .any(|flag| names.is_empty() || names.iter().any(|name| **name == *flag.short_name())),
            AccessLogFilter::GrpcStatus { exclude, .. } => *exclude,
            AccessLogFilter::LogType { types, exclude } => types.contains(&self.kind) != *exclude,
        }
    }
}

impl LogContext for ConnectionEntry<'_> {
    fn start_time(&self) -> SystemTime {
        SystemTime::now() - self.duration()
    }

    fn elapsed(&self, point: TimePoint) -> Option<Duration> {
        match point {
            TimePoint::DownstreamReceiveBegin => Some(Duration::ZERO),
            TimePoint::DownstreamSendEnd => Some(self.duration()),
            _ => None,
        }
    }

    fn response_flags(&self) -> ResponseFlags {
        let mut flags = ResponseFlags::default();
        for flag in &self.record.flags {
            flags.set(*flag);
        }
        flags
    }

    fn request_attempt_count(&self) -> Option<u64> {
        Some(u64::from(self.record.attempts))
    }

    fn bytes(&self, count: ByteCount) -> u64 {
        match count {
            ByteCount::BodyReceived => self.record.bytes_received,
            ByteCount::BodySent => self.record.bytes_sent,
            _ => 0,
        }
    }

    fn address(&self, which: Address) -> Option<LogAddress<'_>> {
        match which {
            Address::DownstreamRemote => self.accepted.peer.map(LogAddress::Ip),
            Address::DownstreamDirectRemote => self.accepted.direct_peer.map(LogAddress::Ip),
            Address::DownstreamLocal => self.accepted.local.map(LogAddress::Ip),
            Address::UpstreamHost => Some(address_of(self.record.endpoint.as_ref()?)),
            Address::UpstreamRemote => match self.record.ends.as_ref()?.remote {
                Some(address) => Some(LogAddress::Ip(address)),
                None => Some(address_of(self.record.endpoint.as_ref()?)),
            },
            Address::UpstreamLocal => self.record.ends.as_ref()?.local.map(LogAddress::Ip),
        }
    }

    fn text(&self, which: Text) -> Option<&str> {
        let text = match which {
            Text::UpstreamClusterName => self.record.cluster.as_deref()?,
            Text::UpstreamHostName => self.record.endpoint.as_ref()?.hostname(),
            Text::FilterChainName => self.record.chain.as_deref()?,
            Text::RequestedServerName => self.accepted.server_name.as_deref()?,
            Text::AccessLogType => self.kind.name(),
            _ => return None,
        };
        Some(text).filter(|text| !text.is_empty())
    }

    fn metadata(&self, source: MetadataSource, namespace: &str, path: &[Box<str>]) -> Option<MetadataValue<'_>> {
        let attached = self.accepted.attached.as_ref()?;
        let (metadata, write): (_, fn(_) -> _) = match source {
            MetadataSource::Dynamic => (&attached.dynamic_metadata, borrowed),
            MetadataSource::FilterState => (&attached.filter_state, borrowed),
            MetadataSource::PlainFilterState => (&attached.filter_state, plain),
            _ => return None,
        };
        found_value(metadata, namespace, path).map(write)
    }

    fn tls(&self, side: Side, field: TlsField, out: &mut Vec<u8>) -> bool {
        let identity = self.record.peer_identity.as_ref().filter(|_| side == Side::Downstream);
        identity.is_some_and(|identity| write_peer(identity, field, out))
    }
}
