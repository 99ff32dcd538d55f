use config::route::{ResetHeader, RetryPolicy};
use config::string_matcher::{HeaderMatchSpecifier, HeaderMatcher};
use proptest::prelude::*;

use super::*;

fn policy(retry_on: &str) -> RetryPolicy {
    let mut retriable_status_codes = Vec::new();
    let (conditions, understood) =
        RetryOn::from_list(retry_on.as_bytes(), |status| retriable_status_codes.push(status));
    assert!(understood, "{retry_on}");
    RetryPolicy {
        retry_on: conditions,
        num_retries: 2,
        per_try_timeout: None,
        per_try_idle_timeout: None,
        avoid_previous_hosts: true,
        omit_canary_hosts: false,
        previous_priorities: None,
        omit_host_metadata: Vec::new(),
        host_selection_retry_max_attempts: 5,
        retriable_status_codes,
        retry_back_off: RetryBackOff::default(),
        rate_limited_retry_back_off: None,
        retriable_headers: Vec::new(),
        retriable_request_headers: Vec::new(),
    }
}

fn present(name: &str) -> HeaderMatcher {
    HeaderMatcher {
        name: name.into(),
        specifier: HeaderMatchSpecifier::Present(true),
        invert_match: false,
        treat_missing_header_as_empty: false,
    }
}

fn answer(status: u16, fields: &[(&str, &str)]) -> HeaderBlock {
    let mut head = HeaderBlock::new();
    head.set_status(status);
    for (name, value) in fields {
        head.append(*name, value.as_bytes());
    }
    head
}

fn retries(retry_on: &str) -> Retries {
    Retries::new(Some(&policy(retry_on)), &mut HeaderBlock::new(), false).unwrap()
}

#[test]
fn each_condition_is_met_by_its_answers_and_no_others() {
    let grpc = |status| answer(200, &[("grpc-status", status)]);
    let answers = [
        ("500", answer(500, &[])),
        ("502", answer(502, &[])),
        ("503", answer(503, &[])),
        ("504", answer(504, &[])),
        ("409", answer(409, &[])),
        ("418", answer(418, &[])),
        ("200", answer(200, &[])),
        ("503 limited", answer(503, &[("x-envoy-ratelimited", "true")])),
        ("cancelled", grpc("1")),
        ("deadline", grpc("4")),
        ("exhausted", grpc("8")),
        ("internal", grpc("13")),
        ("unavailable", grpc("14")),
        ("unknown", grpc("2")),
    ];
    for (retry_on, met) in [
        ("5xx", &["500", "502", "503", "504"][..]),
        ("gateway-error", &["502", "503", "504"]),
        ("retriable-4xx", &["409"]),
        ("418", &["418"]),
        ("envoy-ratelimited", &["503 limited"]),
        ("reset", &[]),
        ("connect-failure", &[]),
        ("refused-stream", &[]),
        ("cancelled", &["cancelled"]),
        ("deadline-exceeded", &["deadline"]),
        ("resource-exhausted", &["exhausted"]),
        ("internal", &["internal"]),
        ("unavailable", &["unavailable"]),
    ] {
        let (policy, retries) = (policy(retry_on), retries(retry_on));
        let found: Vec<_> = answers
            .iter()
            .filter(|(_, head)| retries.wants_after_answer(Some(&policy), head))
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(found, met, "{retry_on}");
    }
}

#[test]
fn each_condition_is_met_by_its_failures_and_no_others() {
    let failures = [
        Failure::NotConnected,
        Failure::ConnectTimeout,
        Failure::TlsHandshake,
        Failure::RemoteRefused,
        Failure::RemoteReset,
        Failure::ConnectionTermination,
        Failure::PerTryTimeout,
        Failure::Overflow,
    ];
    let all_but_overflow = &failures[..7];
    for (retry_on, was_sent, met) in [
        ("connect-failure", false, &failures[..3]),
        ("refused-stream", true, &failures[3..4]),
        ("reset", true, all_but_overflow),
        ("5xx", true, all_but_overflow),
        ("gateway-error", true, all_but_overflow),
        ("reset-before-request", false, all_but_overflow),
        ("reset-before-request", true, &[]),
        ("503,unavailable,retriable-4xx", true, &[]),
    ] {
        let retries = retries(retry_on);
        let found: Vec<_> = failures
            .into_iter()
            .filter(|failure| retries.wants_after_failure(*failure, was_sent))
            .collect();
        assert_eq!(found, met, "{retry_on} sent: {was_sent}");
    }
}

#[test]
fn an_internal_request_adds_to_the_policy_and_its_headers_go_no_further() {
    let mut request = HeaderBlock::new();
    for (name, value) in [
        (
            "x-envoy-retry-on",
            "retriable-headers,retriable-status-codes,unavailable",
        ),
        ("x-envoy-retry-grpc-on", "internal,5xx"),
        ("x-envoy-max-retries", "7"),
        ("x-envoy-retriable-status-codes", "404, 405,x"),
        ("x-envoy-retriable-header-names", "X-Again"),
    ] {
        request.append(name, value.as_bytes());
    }
    let mut retries = Retries::new(None, &mut request, true).unwrap();
    assert!(request.is_empty());
    let wants = |retries: &Retries, head: &HeaderBlock| retries.wants_after_answer(None, head);
    assert!(wants(&retries, &answer(405, &[])));
    assert!(wants(&retries, &answer(200, &[("x-again", "")])));
    assert!(wants(&retries, &answer(200, &[("grpc-status", "13")])));
    // Each of the two headers has its own conditions.
    assert!(!wants(&retries, &answer(200, &[("grpc-status", "14")])));
    assert!(!wants(&retries, &answer(500, &[])));
    assert_eq!((0..10).filter(|_| retries.take()).count(), 7);
}

#[test]
fn a_policy_for_some_requests_is_not_for_others() {
    let policy = RetryPolicy {
        retriable_request_headers: vec![present("x-idempotent")],
        ..policy("5xx")
    };
    let mut request = HeaderBlock::new();
    assert!(Retries::new(Some(&policy), &mut request, false).is_none());
    request.append("x-idempotent", b"yes");
    assert!(Retries::new(Some(&policy), &mut request, false).is_some());
}

#[test]
fn a_policy_without_conditions_is_none() {
    assert!(Retries::new(Some(&policy("")), &mut HeaderBlock::new(), false).is_none());
    assert!(Retries::new(None, &mut HeaderBlock::new(), true).is_none());
}

#[test]
fn retriable_headers_are_matched_in_the_answer() {
    let policy = RetryPolicy {
        retriable_headers: vec![present("x-try-again"), present(":status")],
        ..policy("retriable-headers")
    };
    let retries = retries("retriable-headers");
    assert!(retries.wants_after_answer(Some(&policy), &answer(200, &[])));
    let policy = RetryPolicy {
        retriable_headers: vec![present("x-try-again")],
        ..policy
    };
    assert!(!retries.wants_after_answer(Some(&policy), &answer(500, &[])));
    assert!(retries.wants_after_answer(Some(&policy), &answer(200, &[("x-try-again", "1")])));
}

#[test]
fn an_answer_that_asks_for_a_pause_gets_it_if_it_is_allowed() {
    let policy = RateLimitedRetryBackOff {
        reset_headers: vec![
            ResetHeader {
                name: "retry-after".into(),
                format: ResetHeaderFormat::Seconds,
            },
            ResetHeader {
                name: "x-ratelimit-reset".into(),
                format: ResetHeaderFormat::UnixTimestamp,
            },
        ],
        max_interval: Duration::from_secs(60),
    };
    let asked = |fields: &[(&str, &str)], random| pause_asked_for(&policy, &answer(429, fields), 1_000, random);
    assert_eq!(asked(&[("retry-after", "10")], 0), Some(Duration::from_secs(10)));
    assert_eq!(
        asked(&[("retry-after", "10")], 4_999),
        Some(Duration::from_millis(14_999))
    );
    assert_eq!(asked(&[("retry-after", "10")], 5_000), Some(Duration::from_secs(10)));
    assert_eq!(asked(&[("x-ratelimit-reset", "1007")], 0), Some(Duration::from_secs(7)));
    for none in ["61", "0", "Wed, 21 Oct 2015 07:28:00 GMT", "-1"] {
        assert_eq!(asked(&[("retry-after", none)], 0), None, "{none}");
    }
    assert_eq!(asked(&[("x-ratelimit-reset", "999")], 0), None);
    let both = [("retry-after", "61"), ("x-ratelimit-reset", "1001")];
    assert_eq!(
        asked(&both, 0),
        Some(Duration::from_secs(1)),
        "the next one that is allowed"
    );
}

#[test]
fn a_pushback_is_a_pause_or_never() {
    let longest = Duration::from_secs(300);
    let of = |value| pushback(&answer(200, &[("grpc-retry-pushback-ms", value)]), longest);
    assert_eq!(of("250"), Some(Pushback::After(Duration::from_millis(250))));
    assert_eq!(of("0"), Some(Pushback::After(Duration::ZERO)));
    for never in ["-1", "soon", "300001"] {
        assert_eq!(of(never), Some(Pushback::Never), "{never}");
    }
    assert_eq!(pushback(&answer(200, &[]), longest), None);
}

proptest! {
    #[test]
    fn pauses_stay_below_an_interval_that_doubles_up_to_the_largest(
        base in 1_u64..500, factor in 1_u64..50, random in proptest::collection::vec(any::<u64>(), 1..80),
    ) {
        let back_off = RetryBackOff {
            base_interval: Duration::from_millis(base),
            max_interval: Duration::from_millis(base * factor),
        };
        let mut retries = retries("5xx");
        let mut interval = base;
        for random in random {
            let pause = retries.pause(&back_off, random);
            prop_assert_eq!(pause, Duration::from_millis(random % interval));
            interval = (interval * 2).min(base * factor);
        }
    }

    #[test]
    fn never_more_retries_are_taken_than_the_policy_has(number in 0_u32..20, asked in 0_usize..40) {
        let policy = RetryPolicy { num_retries: number, ..policy("5xx") };
        let mut retries = Retries::new(Some(&policy), &mut HeaderBlock::new(), false).unwrap();
        let taken = (0..asked).filter(|_| retries.take()).count();
        prop_assert_eq!(taken, asked.min(number as usize));
    }
}
