//! The HTTP health check (`core.v3.HealthCheck.HttpHealthCheck`).

use codec::headers::HeaderBlock;
use codec::names::KnownName;
use config::cluster::{HttpHealthCheck, Payload, StatusRange};

use super::exchange::Answer;
use super::grpc::{USER_AGENT, append_literals};
use super::state::CheckResult;

/// The request's head.
pub(super) fn request_head(authority: &str, scheme: &str, settings: &HttpHealthCheck) -> HeaderBlock {
    let mut head = HeaderBlock::new();
    head.set_method(settings.method.as_bytes());
    head.set_scheme(scheme.as_bytes());
    head.set_path(settings.path.as_bytes());
    head.set_authority(authority.as_bytes());
    head.append(KnownName::UserAgent, USER_AGENT);
    append_literals(&mut head, &settings.request_headers);
    head
}

/// What the answer says.
pub(super) fn judge(answer: &Answer, settings: &HttpHealthCheck) -> CheckResult {
    let Some(status) = answer.head.status() else {
        return CheckResult::Failure;
    };
    let within = |ranges: &[StatusRange]| ranges.iter().any(|range| (range.start..range.end).contains(&status));
    let expected = if settings.expected_statuses.is_empty() {
        status == 200
    } else {
        within(&settings.expected_statuses)
    };
    if !expected {
        return if within(&settings.retriable_statuses) {
            CheckResult::RetriableFailure
        } else {
            CheckResult::Failure
        };
    }
    if !contains_in_order(&answer.body, &settings.receive) {
        return CheckResult::Failure;
    }
    if let Some(matcher) = &settings.service_name_matcher {
        let service = answer
            .head
            .get_bytes(b"x-envoy-upstream-healthchecked-cluster")
            .unwrap_or_default();
        if !matcher.matches(service) {
            return CheckResult::Failure;
        }
    }
    CheckResult::Success {
        degraded: answer.head.get_bytes(b"x-envoy-degraded").is_some(),
    }
}

/// Whether `data` holds all of `payloads`, in this order, each after the one before.
pub(super) fn contains_in_order(mut data: &[u8], payloads: &[Payload]) -> bool {
    for payload in payloads.iter().filter(|payload| !payload.is_empty()) {
        match data.windows(payload.len()).position(|window| *window == **payload) {
            Some(at) => data = &data[at + payload.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use config::header_mutation::HeaderMutations;
    use config::string_matcher::StringMatcher;

    use super::*;

    fn settings() -> HttpHealthCheck {
        HttpHealthCheck {
            host: None,
            path: "/healthz".into(),
            method: "GET",
            http2: false,
            request_headers: HeaderMutations::default(),
            expected_statuses: Vec::new(),
            retriable_statuses: Vec::new(),
            receive: Vec::new(),
            response_buffer_size: 1024,
            service_name_matcher: None,
        }
    }

    fn answer(status: u16, body: &[u8]) -> Answer {
        let mut answer = Answer {
            body: body.to_vec(),
            ..Answer::default()
        };
        answer.head.set_status(status);
        answer
    }

    const SUCCESS: CheckResult = CheckResult::Success { degraded: false };

    #[test]
    fn two_hundred_alone_is_success_unless_configured() {
        let mut settings = settings();
        assert_eq!(judge(&answer(200, b""), &settings), SUCCESS);
        assert_eq!(judge(&answer(204, b""), &settings), CheckResult::Failure);
        settings.expected_statuses = vec![StatusRange { start: 200, end: 205 }];
        settings.retriable_statuses = vec![StatusRange { start: 503, end: 504 }];
        assert_eq!(judge(&answer(204, b""), &settings), SUCCESS);
        assert_eq!(judge(&answer(503, b""), &settings), CheckResult::RetriableFailure);
        assert_eq!(judge(&answer(504, b""), &settings), CheckResult::Failure);
    }

    #[test]
    fn the_body_must_hold_what_is_expected_in_order() {
        let mut settings = settings();
        settings.receive = vec![b"up"[..].into(), b"ready"[..].into()];
        assert_eq!(judge(&answer(200, b"up and ready"), &settings), SUCCESS);
        assert_eq!(judge(&answer(200, b"ready, up"), &settings), CheckResult::Failure);
        assert_eq!(judge(&answer(200, b"up"), &settings), CheckResult::Failure);
    }

    #[test]
    fn the_service_that_answers_must_be_the_one_meant() {
        let mut settings = settings();
        settings.service_name_matcher = Some(StringMatcher::exact("cart"));
        let mut answer = answer(200, b"");
        assert_eq!(judge(&answer, &settings), CheckResult::Failure);
        answer
            .head
            .append(&b"x-envoy-upstream-healthchecked-cluster"[..], b"cart");
        assert_eq!(judge(&answer, &settings), SUCCESS);
    }

    #[test]
    fn an_endpoint_may_say_that_it_is_degraded() {
        let mut answer = answer(200, b"");
        answer.head.append(&b"x-envoy-degraded"[..], b"");
        assert_eq!(judge(&answer, &settings()), CheckResult::Success { degraded: true });
    }
}
