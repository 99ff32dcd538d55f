//! Header names a mesh proxy knows, as one-byte ids.
//!
//! Comparing ids replaces comparing strings wherever a name is looked for, and table entries of HPACK carry the id so
//! that decoding a warm request never hashes a name.

macro_rules! known_names {
    ($($(#[$group:meta])* $variant:ident = $text:literal,)*) => {
        /// A header name known at compile time, as a one-byte id.
        ///
        /// Covers the HPACK static table (RFC 7541 appendix A), the pseudo-headers of RFC 9113 and RFC 8441, and what
        /// HTTP/1.1, gRPC, tracing and Envoy give a meaning to.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum KnownName {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
        }

        impl KnownName {
            /// Every known name, in the order of their ids.
            pub const ALL: &'static [KnownName] = &[$(KnownName::$variant,)*];
        }

        const NAMES: &[&str] = &[$($text,)*];
    };
}

known_names! {
    // Pseudo-headers come first: `is_pseudo` is a comparison.
    Method = ":method",
    Scheme = ":scheme",
    Authority = ":authority",
    Path = ":path",
    Protocol = ":protocol",
    Status = ":status",
    // The rest of the HPACK static table.
    Accept = "accept",
    AcceptCharset = "accept-charset",
    AcceptEncoding = "accept-encoding",
    AcceptLanguage = "accept-language",
    AcceptRanges = "accept-ranges",
    AccessControlAllowOrigin = "access-control-allow-origin",
    Age = "age",
    Allow = "allow",
    Authorization = "authorization",
    CacheControl = "cache-control",
    ContentDisposition = "content-disposition",
    ContentEncoding = "content-encoding",
    ContentLanguage = "content-language",
    ContentLength = "content-length",
    ContentLocation = "content-location",
    ContentRange = "content-range",
    ContentType = "content-type",
    Cookie = "cookie",
    Date = "date",
    Etag = "etag",
    Expect = "expect",
    Expires = "expires",
    From = "from",
    Host = "host",
    IfMatch = "if-match",
    IfModifiedSince = "if-modified-since",
    IfNoneMatch = "if-none-match",
    IfRange = "if-range",
    IfUnmodifiedSince = "if-unmodified-since",
    LastModified = "last-modified",
    Link = "link",
    Location = "location",
    MaxForwards = "max-forwards",
    ProxyAuthenticate = "proxy-authenticate",
    ProxyAuthorization = "proxy-authorization",
    Range = "range",
    Referer = "referer",
    Refresh = "refresh",
    RetryAfter = "retry-after",
    Server = "server",
    SetCookie = "set-cookie",
    StrictTransportSecurity = "strict-transport-security",
    TransferEncoding = "transfer-encoding",
    UserAgent = "user-agent",
    Vary = "vary",
    Via = "via",
    WwwAuthenticate = "www-authenticate",
    // Hop by hop (RFC 9110 section 7.6.1) and other HTTP semantics.
    Connection = "connection",
    KeepAlive = "keep-alive",
    ProxyConnection = "proxy-connection",
    Te = "te",
    Trailer = "trailer",
    Upgrade = "upgrade",
    Http2Settings = "http2-settings",
    Priority = "priority",
    AltSvc = "alt-svc",
    EarlyData = "early-data",
    Forwarded = "forwarded",
    Origin = "origin",
    AccessControlAllowCredentials = "access-control-allow-credentials",
    AccessControlAllowHeaders = "access-control-allow-headers",
    AccessControlAllowMethods = "access-control-allow-methods",
    AccessControlAllowPrivateNetwork = "access-control-allow-private-network",
    AccessControlExposeHeaders = "access-control-expose-headers",
    AccessControlMaxAge = "access-control-max-age",
    AccessControlRequestHeaders = "access-control-request-headers",
    AccessControlRequestMethod = "access-control-request-method",
    AccessControlRequestPrivateNetwork = "access-control-request-private-network",
    SecWebsocketAccept = "sec-websocket-accept",
    SecWebsocketExtensions = "sec-websocket-extensions",
    SecWebsocketKey = "sec-websocket-key",
    SecWebsocketProtocol = "sec-websocket-protocol",
    SecWebsocketVersion = "sec-websocket-version",
    // gRPC.
    GrpcAcceptEncoding = "grpc-accept-encoding",
    GrpcEncoding = "grpc-encoding",
    GrpcMessage = "grpc-message",
    GrpcPreviousRpcAttempts = "grpc-previous-rpc-attempts",
    GrpcRetryPushbackMs = "grpc-retry-pushback-ms",
    GrpcStatus = "grpc-status",
    GrpcStatusDetailsBin = "grpc-status-details-bin",
    GrpcTagsBin = "grpc-tags-bin",
    GrpcTimeout = "grpc-timeout",
    GrpcTraceBin = "grpc-trace-bin",
    EndpointLoadMetricsBin = "endpoint-load-metrics-bin",
    // Tracing and identification.
    B3 = "b3",
    Baggage = "baggage",
    Traceparent = "traceparent",
    Tracestate = "tracestate",
    XB3Flags = "x-b3-flags",
    XB3ParentSpanId = "x-b3-parentspanid",
    XB3Sampled = "x-b3-sampled",
    XB3SpanId = "x-b3-spanid",
    XB3TraceId = "x-b3-traceid",
    XClientTraceId = "x-client-trace-id",
    XCloudTraceContext = "x-cloud-trace-context",
    XOtSpanContext = "x-ot-span-context",
    XRequestId = "x-request-id",
    XForwardedClientCert = "x-forwarded-client-cert",
    XForwardedFor = "x-forwarded-for",
    XForwardedHost = "x-forwarded-host",
    XForwardedPort = "x-forwarded-port",
    XForwardedProto = "x-forwarded-proto",
    // Envoy.
    XEnvoyAttemptCount = "x-envoy-attempt-count",
    XEnvoyAuthPartialBody = "x-envoy-auth-partial-body",
    XEnvoyCluster = "x-envoy-cluster",
    XEnvoyDecoratorOperation = "x-envoy-decorator-operation",
    XEnvoyDegraded = "x-envoy-degraded",
    XEnvoyDownstreamServiceCluster = "x-envoy-downstream-service-cluster",
    XEnvoyDownstreamServiceNode = "x-envoy-downstream-service-node",
    XEnvoyExpectedRqTimeoutMs = "x-envoy-expected-rq-timeout-ms",
    XEnvoyExternalAddress = "x-envoy-external-address",
    XEnvoyHedgeOnPerTryTimeout = "x-envoy-hedge-on-per-try-timeout",
    XEnvoyImmediateHealthCheckFail = "x-envoy-immediate-health-check-fail",
    XEnvoyInternal = "x-envoy-internal",
    XEnvoyIpTags = "x-envoy-ip-tags",
    XEnvoyIsTimeoutRetry = "x-envoy-is-timeout-retry",
    XEnvoyLocalOverloaded = "x-envoy-local-overloaded",
    XEnvoyMaxRetries = "x-envoy-max-retries",
    XEnvoyNotForwarded = "x-envoy-not-forwarded",
    XEnvoyOriginalDstHost = "x-envoy-original-dst-host",
    XEnvoyOriginalMethod = "x-envoy-original-method",
    XEnvoyOriginalPath = "x-envoy-original-path",
    XEnvoyOriginalUrl = "x-envoy-original-url",
    XEnvoyOverloaded = "x-envoy-overloaded",
    XEnvoyPeerMetadata = "x-envoy-peer-metadata",
    XEnvoyPeerMetadataId = "x-envoy-peer-metadata-id",
    XEnvoyRateLimited = "x-envoy-ratelimited",
    XEnvoyRetriableHeaderNames = "x-envoy-retriable-header-names",
    XEnvoyRetriableStatusCodes = "x-envoy-retriable-status-codes",
    XEnvoyRetryGrpcOn = "x-envoy-retry-grpc-on",
    XEnvoyRetryOn = "x-envoy-retry-on",
    XEnvoyUpstreamAltStatName = "x-envoy-upstream-alt-stat-name",
    XEnvoyUpstreamCanary = "x-envoy-upstream-canary",
    XEnvoyUpstreamHealthCheckedCluster = "x-envoy-upstream-healthchecked-cluster",
    XEnvoyUpstreamRqPerTryTimeoutMs = "x-envoy-upstream-rq-per-try-timeout-ms",
    XEnvoyUpstreamRqTimeoutAltResponse = "x-envoy-upstream-rq-timeout-alt-response",
    XEnvoyUpstreamRqTimeoutMs = "x-envoy-upstream-rq-timeout-ms",
    XEnvoyUpstreamServiceTime = "x-envoy-upstream-service-time",
    XEnvoyUpstreamStreamDurationMs = "x-envoy-upstream-stream-duration-ms",
}

impl KnownName {
    /// How many names are known; ids are below this.
    pub const COUNT: usize = NAMES.len();

    /// The name, in lower case.
    #[inline]
    pub const fn as_str(self) -> &'static str {
        NAMES[self as usize]
    }

    /// The name's bytes, in lower case.
    #[inline]
    pub const fn as_bytes(self) -> &'static [u8] {
        NAMES[self as usize].as_bytes()
    }

    /// The id, below [`KnownName::COUNT`]; for tables indexed by name.
    #[inline]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// True for `:method` and the other pseudo-headers (RFC 9113 section 8.3).
    #[inline]
    pub const fn is_pseudo(self) -> bool {
        (self as u8) <= (KnownName::Status as u8)
    }

    /// The id of a lower-case name, if it is a known one. Names in upper or mixed case are not found.
    #[inline]
    pub fn from_bytes(name: &[u8]) -> Option<KnownName> {
        if name.len() < 2 || name.len() > LONGEST {
            return None;
        }
        let mut slot = hash(name);
        loop {
            let id = SLOTS[slot & (SLOT_COUNT - 1)];
            if id == EMPTY {
                return None;
            }
            if NAMES[id as usize].as_bytes() == name {
                return Some(Self::ALL[id as usize]);
            }
            slot += 1;
        }
    }
}

impl KnownName {
    /// The id of a name in any case, if it is a known one: how HTTP/1.1 has them. `name` must be a token (RFC 9110
    /// section 5.6.2).
    #[inline]
    pub(crate) fn from_token(name: &[u8]) -> Option<KnownName> {
        if name.len() < 2 || name.len() > LONGEST {
            return None;
        }
        let mut slot = hash(name);
        loop {
            let id = SLOTS[slot & (SLOT_COUNT - 1)];
            if id == EMPTY {
                return None;
            }
            let known = NAMES[id as usize].as_bytes();
            // Among the characters of a token, only letters become one of a known name's when the bit is set. No early
            // exit: this form is vectorised.
            let difference = known
                .iter()
                .zip(name)
                .fold(0, |all, (&known, &byte)| all | (known ^ (byte | LOWER)));
            if known.len() == name.len() && difference == 0 {
                return Some(Self::ALL[id as usize]);
            }
            slot += 1;
        }
    }
}

impl std::fmt::Debug for KnownName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Display for KnownName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A header name given to [`HeaderBlock`](crate::headers::HeaderBlock): known, or any bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// A known name.
    Known(KnownName),
    /// A name that is not a known one.
    Other(&'a [u8]),
}

/// What can be given as a header name.
pub trait AsName {
    /// The name, with known ones recognised (a name in mixed case is not).
    fn as_name(&self) -> Name<'_>;
}

impl AsName for KnownName {
    #[inline]
    fn as_name(&self) -> Name<'_> {
        Name::Known(*self)
    }
}

impl AsName for Name<'_> {
    #[inline]
    fn as_name(&self) -> Name<'_> {
        *self
    }
}

impl AsName for [u8] {
    #[inline]
    fn as_name(&self) -> Name<'_> {
        match KnownName::from_bytes(self) {
            Some(known) => Name::Known(known),
            None => Name::Other(self),
        }
    }
}

impl<const N: usize> AsName for [u8; N] {
    #[inline]
    fn as_name(&self) -> Name<'_> {
        self.as_slice().as_name()
    }
}

impl AsName for str {
    #[inline]
    fn as_name(&self) -> Name<'_> {
        self.as_bytes().as_name()
    }
}

impl AsName for String {
    #[inline]
    fn as_name(&self) -> Name<'_> {
        self.as_bytes().as_name()
    }
}

impl<T: AsName + ?Sized> AsName for &T {
    #[inline]
    fn as_name(&self) -> Name<'_> {
        (**self).as_name()
    }
}

const SLOT_COUNT: usize = 1024;
const EMPTY: u8 = 0xff;
const _: () = assert!(NAMES.len() < EMPTY as usize, "an id is one byte");
const LONGEST: usize = longest();

/// Open addressing over [`hash`], filled at compile time and at most a fifth full: a lookup is one comparison of
/// strings, or none.
static SLOTS: [u8; SLOT_COUNT] = slots();

/// The bit that tells lower from upper case.
const LOWER: u8 = 0x20;

/// Length, first, middle and last two bytes tell nearly all known names apart. The same for letters in either case.
const fn hash(name: &[u8]) -> usize {
    let length = name.len();
    let mixed = (length as u32)
        .wrapping_mul(0x9e37_79b1)
        .wrapping_add(((name[0] | LOWER) as u32).wrapping_mul(0x85eb_ca77))
        .wrapping_add(((name[length / 2] | LOWER) as u32).wrapping_mul(0xc2b2_ae3d))
        .wrapping_add(((name[length - 2] | LOWER) as u32).wrapping_mul(0x27d4_eb2f))
        .wrapping_add(((name[length - 1] | LOWER) as u32).wrapping_mul(0x1656_67b1));
    (mixed >> 16) as usize
}

const fn longest() -> usize {
    let mut longest = 0;
    let mut i = 0;
    while i < NAMES.len() {
        if NAMES[i].len() > longest {
            longest = NAMES[i].len();
        }
        i += 1;
    }
    longest
}

const fn slots() -> [u8; SLOT_COUNT] {
    let mut slots = [EMPTY; SLOT_COUNT];
    let mut id = 0;
    while id < NAMES.len() {
        let mut slot = hash(NAMES[id].as_bytes());
        while slots[slot & (SLOT_COUNT - 1)] != EMPTY {
            slot += 1;
        }
        slots[slot & (SLOT_COUNT - 1)] = id as u8;
        id += 1;
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_by_its_bytes_and_no_other() {
        for &known in KnownName::ALL {
            assert_eq!(KnownName::from_bytes(known.as_bytes()), Some(known));
            assert_eq!(KnownName::ALL[known.index()], known);
            let longer = [known.as_bytes(), b"x"].concat();
            assert_eq!(KnownName::from_bytes(&longer), None, "{known}x");
            let upper = known.as_bytes().to_ascii_uppercase();
            assert_eq!(KnownName::from_bytes(&upper), None);
            assert_eq!(KnownName::from_token(&upper), Some(known));
            assert_eq!(KnownName::from_token(&longer), None);
            // No other token is taken for it.
            for position in (0..upper.len()).filter(|_| !known.is_pseudo()) {
                for byte in (0..=255).filter(|&byte| crate::headers::validate::is_token(&[byte])) {
                    let mut other = upper.clone();
                    other[position] = byte;
                    let expected = KnownName::from_bytes(&other.to_ascii_lowercase());
                    assert_eq!(
                        KnownName::from_token(&other),
                        expected.filter(|known| !known.is_pseudo()),
                        "{other:?}"
                    );
                }
            }
        }
        for unknown in [&b""[..], b"x", b"x-custom", b"content-typf", &[0xff; 300]] {
            assert_eq!(KnownName::from_bytes(unknown), None);
        }
    }

    #[test]
    fn names_are_unique_and_lower_case() {
        let mut seen = std::collections::HashSet::new();
        for known in KnownName::ALL {
            assert!(seen.insert(known.as_str()), "{known} twice");
            assert_eq!(known.as_str(), known.as_str().to_ascii_lowercase());
        }
    }

    #[test]
    fn pseudo_headers_are_told_apart_from_regular_fields() {
        for known in KnownName::ALL {
            assert_eq!(known.is_pseudo(), known.as_str().starts_with(':'), "{known}");
        }
    }

    #[test]
    fn lookup_chains_stay_short() {
        let mut longest_chain = 0;
        for known in KnownName::ALL {
            let start = hash(known.as_bytes());
            let chain = (0..)
                .take_while(|i| SLOTS[(start + i) & (SLOT_COUNT - 1)] as usize != known.index())
                .count();
            longest_chain = longest_chain.max(chain);
        }
        assert!(longest_chain <= 3, "{longest_chain}");
    }
}
