//! Whether and when a request is tried again: Envoy's retry policies as decisions, without clock, connection or timer.
//!
//! ```text
//!   answer or failure ── wanted by a condition? ── no ──> it stands
//!                             │ yes
//!                        one left? ── no ──> it stands (URX)
//!                             │ yes
//!                   the breaker's permit? ── no ──> it stands (UO)
//!                             │ yes
//!              pause: as the answer asks, else random below an interval that doubles ──> another try
//! ```
//! What has to happen in the pipeline for that is in `pipeline/try_again.rs`.

use std::time::Duration;

use codec::headers::HeaderBlock;
use codec::names::KnownName;
use config::route::{RateLimitedRetryBackOff, ResetHeaderFormat, RetryBackOff, RetryOn, RetryPolicy};
use config::string_matcher::HeaderMatcher;

use crate::failure::Failure;

/// What is left of a request's retries.
#[derive(Debug)]
pub(crate) struct Retries {
    conditions: RetryOn,
    remaining: u32,
    /// How often the interval of the pauses has doubled.
    doubled: u32,
    /// What the request itself asks for on top of the policy; few do.
    asked: Option<Box<Asked>>,
}

/// Conditions from the headers of an internal request.
#[derive(Debug, Default)]
struct Asked {
    statuses: Vec<u16>,
    headers: Vec<Box<[u8]>>,
}

/// What an answer says of the time of the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushback {
    /// Not before this has passed.
    After(Duration),
    /// Never.
    Never,
}

/// Envoy's number of retries where only a request's headers ask for any.
const DEFAULT_RETRIES: u32 = 1;

impl Retries {
    /// The retries of a request; `None` if it has none. Headers that ask for retries are believed and taken out; those
    /// of callers who may not ask are gone before (see `request_headers`).
    pub(crate) fn new(policy: Option<&RetryPolicy>, request: &mut HeaderBlock, is_internal: bool) -> Option<Self> {
        let mut retries = Self {
            conditions: policy.map(|policy| policy.retry_on).unwrap_or_default(),
            remaining: policy.map_or(DEFAULT_RETRIES, |policy| policy.num_retries),
            doubled: 0,
            asked: None,
        };
        if is_internal {
            retries.ask(request);
        }
        let only_with = policy.map_or(&[][..], |policy| &policy.retriable_request_headers);
        if !only_with.is_empty() && !only_with.iter().any(|matcher| matches(matcher, request)) {
            return None;
        }
        (!retries.conditions.is_empty()).then_some(retries)
    }

    fn ask(&mut self, request: &mut HeaderBlock) {
        for (name, kind) in [
            (KnownName::XEnvoyRetryOn, RetryOn::HTTP),
            (KnownName::XEnvoyRetryGrpcOn, RetryOn::GRPC),
        ] {
            if let Some(list) = request.get(name) {
                let (conditions, _) = RetryOn::from_list(list, |_| {});
                self.conditions = self.conditions.union(conditions.intersection(kind));
            }
        }
        if !self.conditions.is_empty() {
            let number = |name| std::str::from_utf8(request.get(name)?).ok()?.trim().parse().ok();
            self.remaining = number(KnownName::XEnvoyMaxRetries).unwrap_or(self.remaining);
            let list = |name| {
                let values = request.get(name).unwrap_or_default().split(|byte| *byte == b',');
                values.map(<[u8]>::trim_ascii).filter(|value| !value.is_empty())
            };
            let asked = Asked {
                statuses: list(KnownName::XEnvoyRetriableStatusCodes)
                    .filter_map(|status| std::str::from_utf8(status).ok()?.parse().ok())
                    .collect(),
                headers: list(KnownName::XEnvoyRetriableHeaderNames)
                    .map(|name| name.to_ascii_lowercase().into())
                    .collect(),
            };
            if !asked.statuses.is_empty() || !asked.headers.is_empty() {
                self.asked = Some(Box::new(asked));
            }
        }
        for name in [
            KnownName::XEnvoyRetryOn,
            KnownName::XEnvoyRetryGrpcOn,
            KnownName::XEnvoyMaxRetries,
            KnownName::XEnvoyRetriableStatusCodes,
            KnownName::XEnvoyRetriableHeaderNames,
        ] {
            request.remove(name);
        }
    }

    /// Whether the conditions want another try after the head of an answer.
    pub(crate) fn wants_after_answer(&self, policy: Option<&RetryPolicy>, head: &HeaderBlock) -> bool {
        let on = |conditions| self.conditions.contains_any(conditions);
        // Such an answer comes from another proxy's rate limit: only the condition for it counts.
        if head.contains(KnownName::XEnvoyRateLimited) {
            return on(RetryOn::ENVOY_RATELIMITED);
        }
        let status = head.status().unwrap_or_default();
        if on(RetryOn::SERVER_ERROR) && (500..600).contains(&status)
            || on(RetryOn::GATEWAY_ERROR) && (502..=504).contains(&status)
            || on(RetryOn::RETRIABLE_4XX) && status == 409
        {
            return true;
        }
        let asked = self.asked.as_deref();
        let listed = |statuses: &[u16]| statuses.contains(&status);
        if on(RetryOn::RETRIABLE_STATUS_CODES)
            && (policy.is_some_and(|policy| listed(&policy.retriable_status_codes))
                || asked.is_some_and(|asked| listed(&asked.statuses)))
        {
            return true;
        }
        if on(RetryOn::RETRIABLE_HEADERS)
            && (policy.is_some_and(|policy| policy.retriable_headers.iter().any(|matcher| matches(matcher, head)))
                || asked.is_some_and(|asked| asked.headers.iter().any(|name| head.contains(&**name))))
        {
            return true;
        }
        on(RetryOn::GRPC)
            && head
                .get(KnownName::GrpcStatus)
                .and_then(grpc_status)
                .is_some_and(|status| self.wants_after_grpc_status(status))
    }

    /// Whether the conditions want another try after a gRPC status.
    pub(crate) fn wants_after_grpc_status(&self, status: u32) -> bool {
        self.conditions.contains_any(match status {
            1 => RetryOn::CANCELLED,
            4 => RetryOn::DEADLINE_EXCEEDED,
            8 => RetryOn::RESOURCE_EXHAUSTED,
            13 => RetryOn::INTERNAL,
            14 => RetryOn::UNAVAILABLE,
            _ => RetryOn::NONE,
        })
    }

    /// Whether any gRPC status is a reason to try again.
    pub(crate) fn looks_at_grpc_status(&self) -> bool {
        self.conditions.contains_any(RetryOn::GRPC)
    }

    /// Whether the conditions want another try after a failure. `was_sent`: the request had begun to be sent.
    pub(crate) fn wants_after_failure(&self, failure: Failure, was_sent: bool) -> bool {
        let on = |conditions| self.conditions.contains_any(conditions);
        match failure {
            // A full breaker is not relieved by trying again.
            Failure::Overflow => return false,
            Failure::NotConnected | Failure::NotBegun | Failure::ConnectTimeout | Failure::TlsHandshake
                if on(RetryOn::CONNECT_FAILURE) =>
            {
                return true;
            }
            Failure::RemoteRefused if on(RetryOn::REFUSED_STREAM) => return true,
            _ => {}
        }
        // Without an answer there is one made here, a 5xx.
        (on(RetryOn::RESET_BEFORE_REQUEST) && !was_sent)
            || on(RetryOn::RESET
                .union(RetryOn::SERVER_ERROR)
                .union(RetryOn::GATEWAY_ERROR))
    }

    /// Takes one of what is left; false if nothing is.
    pub(crate) fn take(&mut self) -> bool {
        let left = self.remaining > 0;
        self.remaining -= u32::from(left);
        left
    }

    /// The pause before the next try: random, below an interval that doubles from one pause to the next.
    pub(crate) fn pause(&mut self, back_off: &RetryBackOff, random: u64) -> Duration {
        let (base, most) = (
            milliseconds(back_off.base_interval),
            milliseconds(back_off.max_interval),
        );
        let interval = base.saturating_mul(1 << self.doubled.min(32)).min(most).max(1);
        if interval < most {
            self.doubled += 1;
        }
        Duration::from_millis(random % interval)
    }
}

/// The pause that an answer asks for in one of the headers which the policy names, with up to half of it added at
/// random; `None` if it asks for none, or for a longer one than is allowed.
pub(crate) fn pause_asked_for(
    policy: &RateLimitedRetryBackOff,
    head: &HeaderBlock,
    unix_seconds: u64,
    random: u64,
) -> Option<Duration> {
    let asked = policy.reset_headers.iter().find_map(|header| {
        let value = std::str::from_utf8(head.get(header.name.as_bytes())?).ok()?;
        let number: u64 = value.trim().parse().ok()?;
        let seconds = match header.format {
            ResetHeaderFormat::Seconds => number,
            ResetHeaderFormat::UnixTimestamp => number.checked_sub(unix_seconds)?,
        };
        Some(Duration::from_secs(seconds)).filter(|pause| !pause.is_zero() && *pause <= policy.max_interval)
    })?;
    Some(asked + Duration::from_millis(random % (milliseconds(asked) / 2).max(1)))
}

/// What `grpc-retry-pushback-ms` says (gRFC A6): a number of milliseconds, or anything else for never.
pub(crate) fn pushback(head: &HeaderBlock, longest: Duration) -> Option<Pushback> {
    let value = head.get(KnownName::GrpcRetryPushbackMs)?;
    let pause = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
    Some(match pause.map(Duration::from_millis) {
        Some(pause) if pause <= longest => Pushback::After(pause),
        _ => Pushback::Never,
    })
}

/// The number of a `grpc-status`.
pub(crate) fn grpc_status(value: &[u8]) -> Option<u32> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whether a header block matches; pseudo-headers have their names with the colon.
pub(crate) fn matches(matcher: &HeaderMatcher, block: &HeaderBlock) -> bool {
    let pseudo = match &*matcher.name {
        ":path" => block.path(),
        ":method" => block.method(),
        ":authority" | "host" => block.authority(),
        ":scheme" => block.scheme(),
        ":status" => {
            let mut text = [0; 20];
            let status = block
                .status()
                .map(|status| crate::request_headers::decimal(status.into(), &mut text));
            return matcher.matches(status.into_iter());
        }
        name => return matcher.matches(block.get_all(name)),
    };
    matcher.matches(pseudo.filter(|value| !value.is_empty()).into_iter())
}

#[cfg(test)]
mod tests;
