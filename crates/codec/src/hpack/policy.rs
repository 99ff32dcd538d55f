//! Which fields the encoder puts into its dynamic table.

use crate::names::KnownName::{self, *};

/// How a field is treated by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// Few values that come again: indexed at first sight.
    Index,
    /// Values that may or may not come again: indexed at second sight, so that what never comes again costs neither
    /// table space here nor at the peer, and evicts nothing.
    SecondSight,
    /// New in every message: never looked up, never indexed.
    PerMessage,
    /// Secrets: literals that no table on the way may hold (RFC 7541 section 7.1.3).
    Never,
}

static POLICIES: [Policy; KnownName::COUNT] = policies();

/// The policy for a field with this name (`None`: not a known one) that nobody marked sensitive.
#[inline]
pub(super) fn of(known: Option<KnownName>) -> Policy {
    known.map_or(Policy::SecondSight, |known| POLICIES[known.index()])
}

const fn policies() -> [Policy; KnownName::COUNT] {
    let mut policies = [Policy::SecondSight; KnownName::COUNT];
    let mut i = 0;
    while i < KnownName::COUNT {
        policies[i] = match KnownName::ALL[i] {
            Authorization | ProxyAuthorization | Cookie | SetCookie | SecWebsocketKey => Policy::Never,
            XRequestId
            | Traceparent
            | Tracestate
            | B3
            | XB3TraceId
            | XB3SpanId
            | XB3ParentSpanId
            | XClientTraceId
            | XCloudTraceContext
            | XOtSpanContext
            | GrpcTraceBin
            | GrpcStatusDetailsBin
            | GrpcMessage
            | EndpointLoadMetricsBin
            | XEnvoyUpstreamServiceTime
            | XEnvoyUpstreamStreamDurationMs => Policy::PerMessage,
            Method
            | Scheme
            | Authority
            | Status
            | Protocol
            | Accept
            | AcceptCharset
            | AcceptEncoding
            | AcceptLanguage
            | CacheControl
            | ContentEncoding
            | ContentType
            | GrpcAcceptEncoding
            | GrpcEncoding
            | GrpcStatus
            | Server
            | StrictTransportSecurity
            | Te
            | Trailer
            | UserAgent
            | Vary
            | Via
            | XForwardedProto => Policy::Index,
            _ => Policy::SecondSight,
        };
        i += 1;
    }
    policies
}

/// Remembers the last fields that were not indexed by a part of their hash. Its mistakes only cost compression.
///
/// Fully associative: with fixed places, two fields of every request that share one would push each other out for
/// ever.
#[derive(Debug, Default)]
pub(super) struct Seen {
    tags: [u16; 32],
    /// The oldest tag, next to be replaced.
    next: u8,
}

impl Seen {
    /// Whether the field with this hash was seen lately; notes that it has been seen now.
    pub(super) fn check(&mut self, hash: u32) -> bool {
        // 0 stands for an empty place.
        let tag = (hash >> 16) as u16 | 1;
        // No early exit: this form is vectorised.
        if self.tags.iter().fold(false, |seen, &other| seen | (other == tag)) {
            return true;
        }
        self.tags[usize::from(self.next)] = tag;
        self.next = (self.next + 1) % self.tags.len() as u8;
        false
    }
}
