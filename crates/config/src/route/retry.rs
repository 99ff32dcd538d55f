//! Retries (`envoy.config.route.v3.RetryPolicy`).

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::metadata::Struct;
use crate::string_matcher::HeaderMatcher;

/// When and how a request is tried again.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// On what.
    pub retry_on: RetryOn,
    /// How often. Envoy's default is 1.
    pub num_retries: u32,
    /// How long one try may take. None: as long as the request.
    pub per_try_timeout: Option<Duration>,
    /// How long one try may be without activity. None for ever.
    pub per_try_idle_timeout: Option<Duration>,
    /// Whether endpoints that were tried are avoided (`previous_hosts`).
    pub avoid_previous_hosts: bool,
    /// Whether canary endpoints are avoided (`omit_canary_hosts`).
    pub omit_canary_hosts: bool,
    /// After how many tries the priorities tried until then are left alone (`previous_priorities`, `update_frequency`).
    pub previous_priorities: Option<NonZeroU32>,
    /// Endpoints whose `envoy.lb` metadata has all of this are avoided (`omit_host_metadata`).
    pub omit_host_metadata: Vec<Arc<Struct>>,
    /// How often another endpoint is looked for when the chosen one is to be avoided. Envoy's default is 1.
    pub host_selection_retry_max_attempts: u32,
    /// Statuses for `retriable-status-codes`.
    pub retriable_status_codes: Vec<u16>,
    /// Pause between tries.
    pub retry_back_off: RetryBackOff,
    /// Pause that the answer asks for.
    pub rate_limited_retry_back_off: Option<RateLimitedRetryBackOff>,
    /// Response headers for `retriable-headers`.
    pub retriable_headers: Vec<HeaderMatcher>,
    /// Request headers without one of which nothing is tried again.
    pub retriable_request_headers: Vec<HeaderMatcher>,
}

/// Conditions of a retry, as a set: `retry_on` in the configuration, and `x-envoy-retry-on` and
/// `x-envoy-retry-grpc-on` in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetryOn(u32);

impl RetryOn {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// `5xx`: any 5xx, no answer, or a timeout.
    pub const SERVER_ERROR: Self = Self(1);
    /// `gateway-error`: 502, 503, 504.
    pub const GATEWAY_ERROR: Self = Self(1 << 1);
    /// `reset`: no answer.
    pub const RESET: Self = Self(1 << 2);
    /// `reset-before-request`: no answer, and the request was not sent.
    pub const RESET_BEFORE_REQUEST: Self = Self(1 << 3);
    /// `connect-failure`.
    pub const CONNECT_FAILURE: Self = Self(1 << 4);
    /// `envoy-ratelimited`.
    pub const ENVOY_RATELIMITED: Self = Self(1 << 5);
    /// `retriable-4xx`: 409.
    pub const RETRIABLE_4XX: Self = Self(1 << 6);
    /// `refused-stream`.
    pub const REFUSED_STREAM: Self = Self(1 << 7);
    /// `retriable-status-codes`.
    pub const RETRIABLE_STATUS_CODES: Self = Self(1 << 8);
    /// `retriable-headers`.
    pub const RETRIABLE_HEADERS: Self = Self(1 << 9);
    /// `http3-post-connect-failure`.
    pub const HTTP3_POST_CONNECT_FAILURE: Self = Self(1 << 10);
    /// `cancelled`: gRPC status 1.
    pub const CANCELLED: Self = Self(1 << 11);
    /// `deadline-exceeded`: gRPC status 4.
    pub const DEADLINE_EXCEEDED: Self = Self(1 << 12);
    /// `resource-exhausted`: gRPC status 8.
    pub const RESOURCE_EXHAUSTED: Self = Self(1 << 13);
    /// `unavailable`: gRPC status 14.
    pub const UNAVAILABLE: Self = Self(1 << 14);
    /// `internal`: gRPC status 13.
    pub const INTERNAL: Self = Self(1 << 15);

    /// All conditions on a gRPC status.
    pub const GRPC: Self = Self(0x1f << 11);
    /// All others.
    pub const HTTP: Self = Self((1 << 11) - 1);

    /// Names as they are configured.
    const NAMES: [(&'static str, Self); 16] = [
        ("5xx", Self::SERVER_ERROR),
        ("gateway-error", Self::GATEWAY_ERROR),
        ("reset", Self::RESET),
        ("reset-before-request", Self::RESET_BEFORE_REQUEST),
        ("connect-failure", Self::CONNECT_FAILURE),
        ("envoy-ratelimited", Self::ENVOY_RATELIMITED),
        ("retriable-4xx", Self::RETRIABLE_4XX),
        ("refused-stream", Self::REFUSED_STREAM),
        ("retriable-status-codes", Self::RETRIABLE_STATUS_CODES),
        ("retriable-headers", Self::RETRIABLE_HEADERS),
        ("http3-post-connect-failure", Self::HTTP3_POST_CONNECT_FAILURE),
        ("cancelled", Self::CANCELLED),
        ("deadline-exceeded", Self::DEADLINE_EXCEEDED),
        ("resource-exhausted", Self::RESOURCE_EXHAUSTED),
        ("unavailable", Self::UNAVAILABLE),
        ("internal", Self::INTERNAL),
    ];

    /// The condition with this name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(known, _)| known.as_bytes() == name)
            .map(|(_, condition)| *condition)
    }

    /// The conditions in a comma-separated list, and whether all of it was understood. A bare status from 100 to 599
    /// in the list is Envoy's short form for `retriable-status-codes` and is handed to `status`.
    pub fn from_list(list: &[u8], mut status: impl FnMut(u16)) -> (Self, bool) {
        let (mut conditions, mut understood) = (Self::NONE, true);
        for name in list
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .filter(|name| !name.is_empty())
        {
            if let Some(condition) = Self::from_name(name) {
                conditions = conditions.union(condition);
            } else if let Some(code) = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok())
                && (100..600).contains(&code)
            {
                conditions = conditions.union(Self::RETRIABLE_STATUS_CODES);
                status(code);
            } else {
                understood = false;
            }
        }
        (conditions, understood)
    }

    /// Whether any of `conditions` is in the set.
    pub const fn contains_any(self, conditions: Self) -> bool {
        self.0 & conditions.0 != 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Pause between tries: random, up to an interval that doubles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBackOff {
    /// The first interval.
    pub base_interval: Duration,
    /// The largest.
    pub max_interval: Duration,
}

impl Default for RetryBackOff {
    /// Envoy's: 25 ms, at most ten times that.
    fn default() -> Self {
        Self {
            base_interval: Duration::from_millis(25),
            max_interval: Duration::from_millis(250),
        }
    }
}

/// Pause that an answer asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimitedRetryBackOff {
    /// Headers that say how long; the first that is there and understood counts.
    pub reset_headers: Vec<ResetHeader>,
    /// A longer pause than this is not made. Envoy's default is 300 s.
    pub max_interval: Duration,
}

/// A header that says how long to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResetHeader {
    /// Its name, lower case.
    pub name: Arc<str>,
    /// How it says so.
    pub format: ResetHeaderFormat,
}

/// How a header says how long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetHeaderFormat {
    /// In seconds from now.
    Seconds,
    /// As the second of the Unix epoch when it is over.
    UnixTimestamp,
}
