//! How long a request may take: the route's fields, what an internal caller asks for, and `grpc-timeout`.

use std::time::Duration;

use codec::headers::HeaderBlock;
use codec::names::KnownName;
use config::route::{RetryPolicy, RouteAction};

use crate::grpc_timeout;
use crate::request_headers::decimal;

/// Limits on getting an answer, from the end of the request on. None: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// For all tries together.
    pub(crate) global: Option<Duration>,
    /// For each try.
    pub(crate) per_try: Option<Duration>,
    /// For each try, without activity.
    pub(crate) per_try_idle: Option<Duration>,
}

impl Timeouts {
    /// The limits for a request. Headers by which an internal caller asks for others are taken out; those of callers
    /// who may not ask are gone before (see `request_headers`).
    pub(crate) fn of(
        action: &RouteAction,
        policy: Option<&RetryPolicy>,
        request: &mut HeaderBlock,
        is_grpc: bool,
        is_internal: bool,
        respects_expected: bool,
    ) -> Self {
        let mut global = match (action.max_stream_duration, action.max_grpc_timeout) {
            // The newer field takes the place of both older ones (Envoy: RouteAction.max_stream_duration).
            (Some(_), _) => None,
            (None, Some(most)) if is_grpc => grpc_limit(action, most, request),
            (None, _) => action.timeout,
        };
        let mut per_try = policy.and_then(|policy| policy.per_try_timeout);
        if is_internal {
            let mut take = |name| {
                let milliseconds = std::str::from_utf8(request.get(name)?).ok()?.trim().parse().ok();
                request.remove(name);
                milliseconds.map(|number| Some(Duration::from_millis(number)).filter(|limit| !limit.is_zero()))
            };
            let asked = take(KnownName::XEnvoyUpstreamRqTimeoutMs);
            // What a proxy before this one gave the request is all it has.
            let expected = respects_expected
                .then(|| take(KnownName::XEnvoyExpectedRqTimeoutMs))
                .flatten();
            global = expected.or(asked).unwrap_or(global);
            per_try = take(KnownName::XEnvoyUpstreamRqPerTryTimeoutMs).unwrap_or(per_try);
        }
        // A try can't take longer than all of them.
        let per_try = per_try.filter(|limit| global.is_none_or(|global| *limit < global));
        Self {
            global,
            per_try,
            per_try_idle: policy.and_then(|policy| policy.per_try_idle_timeout),
        }
    }

    /// How long the endpoint has for a try that begins `elapsed` after the end of the request.
    pub(crate) fn expected(&self, elapsed: Duration, hedges: bool) -> Option<Duration> {
        // A hedged try goes on when its own time is over.
        let of_try = self.per_try.filter(|_| !hedges).or(self.global)?;
        let rest = self.global.map(|global| global.saturating_sub(elapsed));
        let least = Duration::from_millis(1); // zero would be no limit
        Some(rest.map_or(of_try, |rest| of_try.min(rest)).max(least))
    }
}

/// `max_grpc_timeout`: what the caller's `grpc-timeout` asks for, up to a limit.
fn grpc_limit(action: &RouteAction, most: Option<Duration>, request: &HeaderBlock) -> Option<Duration> {
    let asked = request.get(KnownName::GrpcTimeout).and_then(grpc_timeout::parse);
    let asked = asked.filter(|asked| !asked.is_zero()).map(|asked| {
        // An offset that would leave nothing is not applied: nothing would be no limit.
        let offset = action.grpc_timeout_offset.filter(|offset| *offset < asked);
        asked - offset.unwrap_or_default()
    });
    match (asked, most) {
        (Some(asked), Some(most)) => Some(asked.min(most)),
        (asked, most) => asked.or(most),
    }
}

/// Tells the endpoint how long it has, in the headers that the route has for it.
pub(crate) fn announce(
    request: &mut HeaderBlock,
    action: &RouteAction,
    expected: Option<Duration>,
    is_grpc: bool,
    suppresses_envoy_headers: bool,
) {
    let Some(expected) = expected else { return };
    if !suppresses_envoy_headers {
        let mut text = [0_u8; 20];
        let value = decimal(expected.as_millis() as u64, &mut text);
        request.set(KnownName::XEnvoyExpectedRqTimeoutMs, value);
    }
    if is_grpc && action.max_stream_duration.is_none() && action.max_grpc_timeout.is_some() {
        let mut text = [0_u8; 20];
        request.set(KnownName::GrpcTimeout, grpc_timeout::write(expected, &mut text));
    }
}

/// How long a stream may last from its beginning, by its route or else its connection manager. The endpoint of a gRPC
/// request is told of a limit of the route's in `grpc-timeout`.
pub(crate) fn stream_duration(
    action: &RouteAction,
    request: &mut HeaderBlock,
    is_grpc: bool,
    of_manager: Option<Duration>,
) -> Option<Duration> {
    let limits = action.max_stream_duration.unwrap_or_default();
    let asked = request.get(KnownName::GrpcTimeout).and_then(grpc_timeout::parse);
    let limit = match (asked, limits.grpc_timeout_header_max) {
        (Some(asked), Some(most)) => {
            let limit = most.map_or(asked, |most| asked.min(most));
            limit.saturating_sub(limits.grpc_timeout_header_offset)
        }
        _ => match limits.max_stream_duration {
            Some(limit) => limit?,
            None => return of_manager,
        },
    };
    if is_grpc {
        let mut text = [0_u8; 20];
        request.set(KnownName::GrpcTimeout, grpc_timeout::write(limit, &mut text));
    }
    Some(limit)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use config::route::{
        ClusterNotFoundResponseCode, ClusterSpecifier, MaxStreamDuration, RouteActionSettings, RoutingPriority,
    };

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn action() -> RouteAction {
        RouteAction {
            cluster: ClusterSpecifier::Cluster("c".into()),
            settings: Arc::new(settings()),
        }
    }

    fn settings() -> RouteActionSettings {
        RouteActionSettings {
            cluster_not_found_response_code: ClusterNotFoundResponseCode::default(),
            metadata_match: config::metadata::Metadata::default(),
            path_rewrite: None,
            host_rewrite: None,
            append_x_forwarded_host: false,
            timeout: Some(15 * SECOND),
            idle_timeout: None,
            flush_timeout: None,
            max_stream_duration: None,
            max_grpc_timeout: None,
            grpc_timeout_offset: None,
            retry_policy: None,
            hedge_policy: None,
            request_mirror_policies: Vec::new(),
            priority: RoutingPriority::Default,
            hash_policy: Vec::new(),
            upgrade_configs: Vec::new(),
            internal_redirect_policy: None,
        }
    }

    fn request(fields: &[(&str, &str)]) -> HeaderBlock {
        let mut request = HeaderBlock::new();
        for (name, value) in fields {
            request.append(*name, value.as_bytes());
        }
        request
    }

    #[test]
    fn an_internal_caller_sets_the_limits_and_others_do_not() {
        let fields = [
            ("x-envoy-upstream-rq-timeout-ms", "3000"),
            ("x-envoy-upstream-rq-per-try-timeout-ms", "200"),
        ];
        let mut internal = request(&fields);
        let limits = Timeouts::of(&action(), None, &mut internal, false, true, false);
        assert_eq!(limits.global, Some(3 * SECOND));
        assert_eq!(limits.per_try, Some(Duration::from_millis(200)));
        assert!(internal.is_empty());
        let limits = Timeouts::of(&action(), None, &mut request(&fields), false, false, false);
        assert_eq!((limits.global, limits.per_try), (Some(15 * SECOND), None));
        let too_long = [("x-envoy-upstream-rq-per-try-timeout-ms", "15000")];
        let limits = Timeouts::of(&action(), None, &mut request(&too_long), false, true, false);
        assert_eq!(limits.per_try, None, "no shorter than the global one");
        let never = [("x-envoy-upstream-rq-timeout-ms", "0")];
        assert_eq!(
            Timeouts::of(&action(), None, &mut request(&never), false, true, false).global,
            None
        );
    }

    #[test]
    fn the_endpoint_is_told_what_is_left() {
        let limits = Timeouts {
            global: Some(SECOND),
            per_try: Some(SECOND / 4),
            per_try_idle: None,
        };
        assert_eq!(limits.expected(Duration::ZERO, false), Some(SECOND / 4));
        assert_eq!(limits.expected(Duration::ZERO, true), Some(SECOND));
        assert_eq!(
            limits.expected(Duration::from_millis(900), false),
            Some(Duration::from_millis(100))
        );
        assert_eq!(limits.expected(2 * SECOND, false), Some(Duration::from_millis(1)));
        assert_eq!(Timeouts::default().expected(SECOND, false), None);
    }

    #[test]
    fn a_grpc_timeout_counts_up_to_its_limit() {
        let with = |most, offset| RouteAction {
            settings: Arc::new(RouteActionSettings {
                max_grpc_timeout: Some(most),
                grpc_timeout_offset: offset,
                ..settings()
            }),
            ..action()
        };
        let limit = |action: &RouteAction, fields: &[(&str, &str)]| {
            Timeouts::of(action, None, &mut request(fields), true, false, false).global
        };
        let asked = [("grpc-timeout", "3S")];
        assert_eq!(limit(&with(Some(2 * SECOND), None), &asked), Some(2 * SECOND));
        assert_eq!(limit(&with(None, Some(SECOND)), &asked), Some(2 * SECOND));
        assert_eq!(limit(&with(None, Some(3 * SECOND)), &asked), Some(3 * SECOND));
        assert_eq!(limit(&with(None, None), &[]), None);
        assert_eq!(limit(&with(Some(SECOND), None), &[]), Some(SECOND));
    }

    #[test]
    fn a_stream_lasts_as_long_as_its_route_says_or_its_caller_asks() {
        let with = |limits| RouteAction {
            settings: Arc::new(RouteActionSettings {
                max_stream_duration: Some(limits),
                ..settings()
            }),
            ..action()
        };
        let none = MaxStreamDuration::default();
        let of = |limits, fields: &[(&str, &str)]| {
            stream_duration(&with(limits), &mut request(fields), true, Some(9 * SECOND))
        };
        assert_eq!(of(none, &[]), Some(9 * SECOND));
        let own = MaxStreamDuration {
            max_stream_duration: Some(Some(SECOND)),
            ..none
        };
        assert_eq!(of(own, &[("grpc-timeout", "5S")]), Some(SECOND));
        let off = MaxStreamDuration {
            max_stream_duration: Some(None),
            ..none
        };
        assert_eq!(of(off, &[]), None);
        let honoured = MaxStreamDuration {
            grpc_timeout_header_max: Some(Some(4 * SECOND)),
            grpc_timeout_header_offset: SECOND,
            ..own
        };
        assert_eq!(of(honoured, &[("grpc-timeout", "5S")]), Some(3 * SECOND));
        assert_eq!(of(honoured, &[]), Some(SECOND));
        let mut shortened = request(&[("grpc-timeout", "5S")]);
        stream_duration(&with(honoured), &mut shortened, true, None);
        assert_eq!(shortened.get("grpc-timeout"), Some(&b"3000m"[..]));
    }
}
