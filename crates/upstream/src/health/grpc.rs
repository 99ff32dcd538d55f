//! The gRPC health check: `grpc.health.v1.Health/Check` over HTTP/2
//! (grpc/doc/health-checking.md, grpc/doc/PROTOCOL-HTTP2.md).

use std::time::Duration;

use codec::headers::HeaderBlock;
use codec::names::KnownName;
use config::cluster::GrpcHealthCheck;
use config::header_mutation::HeaderMutations;
use prost::Message;

use super::exchange::Answer;
use super::state::CheckResult;

/// The messages of `grpc.health.v1`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated from proto/grpc/health/v1/health.proto"
)]
mod messages {
    include!(concat!(env!("OUT_DIR"), "/grpc.health.v1.rs"));
}

use messages::health_check_response::ServingStatus;
use messages::{HealthCheckRequest, HealthCheckResponse};

/// An answer is a few bytes; more than this is none.
pub(super) const MAX_ANSWER: usize = 4 * 1024;

/// The request's head. `scheme` follows the transport, as Envoy has it.
pub(super) fn request_head(
    authority: &str,
    scheme: &str,
    timeout: Duration,
    settings: &GrpcHealthCheck,
) -> HeaderBlock {
    let mut head = HeaderBlock::new();
    head.set_method(b"POST");
    head.set_scheme(scheme.as_bytes());
    head.set_path(b"/grpc.health.v1.Health/Check");
    head.set_authority(authority.as_bytes());
    head.append(KnownName::Te, b"trailers");
    head.append(KnownName::ContentType, b"application/grpc");
    head.append(KnownName::GrpcTimeout, grpc_timeout(timeout).as_bytes());
    head.append(KnownName::UserAgent, USER_AGENT);
    append_literals(&mut head, &settings.initial_metadata);
    head
}

/// What a health check calls itself: backends and their logs know Envoy's.
pub(super) const USER_AGENT: &[u8] = b"Envoy/HC";

/// Adds configured headers. Values with command operators have nothing to refer to here and are left out.
pub(super) fn append_literals(head: &mut HeaderBlock, mutations: &HeaderMutations) {
    for name in &mutations.remove {
        head.remove(name.as_bytes());
    }
    for option in mutations.add.iter().filter(|option| option.is_literal()) {
        head.append(option.name.as_bytes(), option.value.as_bytes());
    }
}

/// The request's body: one uncompressed length-prefixed message.
pub(super) fn request_body(settings: &GrpcHealthCheck) -> Vec<u8> {
    let message = HealthCheckRequest {
        service: settings.service_name.to_string(),
    };
    let mut body = vec![0; 5];
    // The length of a service name fits 32 bits: it came in one message of the configuration.
    body[1..5].copy_from_slice(&(message.encoded_len() as u32).to_be_bytes());
    body.extend_from_slice(&message.encode_to_vec());
    body
}

/// `TimeoutValue TimeoutUnit`: at most eight digits.
fn grpc_timeout(timeout: Duration) -> String {
    match timeout.as_millis() {
        millis if millis < 100_000_000 => format!("{millis}m"),
        _ => format!("{}S", timeout.as_secs().min(99_999_999)),
    }
}

/// What the answer says. Any complete answer that isn't SERVING needs no second opinion.
pub(super) fn judge(answer: &Answer) -> CheckResult {
    match serving_status(answer) {
        Some(ServingStatus::Serving) => CheckResult::Success { degraded: false },
        _ => CheckResult::Failure,
    }
}

/// The status in the answer; `None` if the call failed or the answer is none to this call.
fn serving_status(answer: &Answer) -> Option<ServingStatus> {
    let head = &answer.head;
    if head.status() != Some(200) || !head.get(KnownName::ContentType)?.starts_with(b"application/grpc") {
        return None;
    }
    let grpc_status = answer
        .trailers
        .get(KnownName::GrpcStatus)
        .or_else(|| head.get(KnownName::GrpcStatus));
    if grpc_status != Some(b"0") {
        return None;
    }
    let (prefix, message) = answer.body.split_at_checked(5)?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    if prefix[0] != 0 || length as usize != message.len() {
        return None;
    }
    Some(HealthCheckResponse::decode(message).ok()?.status())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, grpc_status: &[u8], serving: ServingStatus) -> Answer {
        let mut answer = Answer::default();
        answer.head.set_status(status);
        answer.head.append(KnownName::ContentType, b"application/grpc+proto");
        answer.trailers.append(KnownName::GrpcStatus, grpc_status);
        let message = HealthCheckResponse { status: serving.into() }.encode_to_vec();
        answer.body = [&[0, 0, 0, 0, message.len() as u8][..], &message].concat();
        answer
    }

    #[test]
    fn only_serving_is_success() {
        use ServingStatus::{NotServing, ServiceUnknown, Serving, Unknown};
        assert_eq!(
            judge(&answer(200, b"0", Serving)),
            CheckResult::Success { degraded: false }
        );
        for status in [NotServing, Unknown, ServiceUnknown] {
            assert_eq!(judge(&answer(200, b"0", status)), CheckResult::Failure);
        }
    }

    #[test]
    fn a_failed_call_is_a_failure() {
        assert_eq!(judge(&answer(200, b"5", ServingStatus::Serving)), CheckResult::Failure);
        assert_eq!(judge(&answer(503, b"0", ServingStatus::Serving)), CheckResult::Failure);
        assert_eq!(judge(&Answer::default()), CheckResult::Failure);
        let mut html = answer(200, b"0", ServingStatus::Serving);
        html.head.set(KnownName::ContentType, b"text/html");
        assert_eq!(judge(&html), CheckResult::Failure);
    }

    #[test]
    fn trailers_only_carries_its_status_in_the_head() {
        let mut unimplemented = Answer::default();
        unimplemented.head.set_status(200);
        unimplemented.head.append(KnownName::ContentType, b"application/grpc");
        unimplemented.head.append(KnownName::GrpcStatus, b"12");
        assert_eq!(judge(&unimplemented), CheckResult::Failure);
    }

    #[test]
    fn a_mangled_message_is_a_failure() {
        for cut in 0..7 {
            let mut short = answer(200, b"0", ServingStatus::Serving);
            short.body.truncate(cut);
            assert_eq!(judge(&short), CheckResult::Failure, "{cut}");
        }
        let mut compressed = answer(200, b"0", ServingStatus::Serving);
        compressed.body[0] = 1;
        assert_eq!(judge(&compressed), CheckResult::Failure);
    }

    #[test]
    fn the_request_asks_for_the_service_in_one_message() {
        let settings = GrpcHealthCheck {
            service_name: "shop.Cart".into(),
            ..GrpcHealthCheck::default()
        };
        let body = request_body(&settings);
        assert_eq!(body[..5], [0, 0, 0, 0, 11]);
        assert_eq!(HealthCheckRequest::decode(&body[5..]).unwrap().service, "shop.Cart");
        let head = request_head("cart", "http", Duration::from_millis(1500), &settings);
        assert_eq!(head.authority(), Some(&b"cart"[..]));
        assert_eq!(head.get(KnownName::GrpcTimeout), Some(&b"1500m"[..]));
    }
}
