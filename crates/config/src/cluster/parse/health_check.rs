//! Active health checks.

use std::sync::Arc;

use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::config::core::v3::health_check as pb;
use xds_api::envoy::r#type::v3::{CodecClientType, Int64Range};
use xds_api::google::protobuf::{Duration as PbDuration, UInt32Value};

use crate::cluster::{
    GrpcHealthCheck, HealthCheck, HealthChecker, HttpHealthCheck, Payload, StatusRange, TcpHealthCheck,
};
use crate::context::Context;
use crate::header_mutation::HeaderMutations;
use crate::metadata::parse_struct;
use crate::rejected::Reported;
use crate::scalars::bool_or;
use crate::shared_str::{non_empty, shared};
use crate::string_matcher::StringMatcher;

/// Envoy's default for how much of a body is looked at.
const DEFAULT_RESPONSE_BUFFER_SIZE: u64 = 1024;

impl HealthCheck {
    pub(super) fn parse(context: &mut Context<'_>, message: &core::HealthCheck) -> Result<Self, Reported> {
        context.check(message);
        let mut required = |field: &str, value: Option<&PbDuration>| match context.positive_duration(field, value)? {
            Some(duration) => Ok(duration),
            None => Err(context.reject_field(field, "is required")),
        };
        let timeout = required("timeout", message.timeout.as_ref());
        let interval = required("interval", message.interval.as_ref());
        let mut threshold = |field: &str, value: Option<UInt32Value>| {
            value
                .map(|value| value.value)
                .ok_or(())
                .map_err(|()| context.reject_field(field, "is required"))
        };
        let unhealthy_threshold = threshold("unhealthy_threshold", message.unhealthy_threshold);
        let healthy_threshold = threshold("healthy_threshold", message.healthy_threshold);
        let initial_jitter = context.duration("initial_jitter", message.initial_jitter.as_ref());
        let interval_jitter = context.duration("interval_jitter", message.interval_jitter.as_ref());
        let alt_port = context.in_range("alt_port", message.alt_port.as_ref(), 1..=65535);
        let mut positive = |field: &str, value: Option<&PbDuration>| context.positive_duration(field, value);
        let no_traffic_interval = positive("no_traffic_interval", message.no_traffic_interval.as_ref());
        let no_traffic_healthy_interval = positive(
            "no_traffic_healthy_interval",
            message.no_traffic_healthy_interval.as_ref(),
        );
        let unhealthy_interval = positive("unhealthy_interval", message.unhealthy_interval.as_ref());
        let unhealthy_edge_interval = positive("unhealthy_edge_interval", message.unhealthy_edge_interval.as_ref());
        let healthy_edge_interval = positive("healthy_edge_interval", message.healthy_edge_interval.as_ref());
        let checker = parse_checker(context, message);
        let alpn_protocols = message.tls_options.iter().flat_map(|options| &options.alpn_protocols);
        Ok(Self {
            checker: checker?,
            timeout: timeout?,
            interval: interval?,
            initial_jitter: initial_jitter?.unwrap_or_default(),
            interval_jitter: interval_jitter?.unwrap_or_default(),
            interval_jitter_percent: message.interval_jitter_percent,
            unhealthy_threshold: unhealthy_threshold?,
            healthy_threshold: healthy_threshold?,
            // The range was checked just above.
            alt_port: alt_port?.map(|port| port as u16),
            reuse_connection: bool_or(message.reuse_connection.as_ref(), true),
            no_traffic_interval: no_traffic_interval?.unwrap_or(Self::DEFAULT_NO_TRAFFIC_INTERVAL),
            no_traffic_healthy_interval: no_traffic_healthy_interval?,
            unhealthy_interval: unhealthy_interval?,
            unhealthy_edge_interval: unhealthy_edge_interval?,
            healthy_edge_interval: healthy_edge_interval?,
            always_log_health_check_failures: message.always_log_health_check_failures,
            alpn_protocols: alpn_protocols.map(|name| shared(name)).collect(),
            transport_socket_match_criteria: message.transport_socket_match_criteria.as_ref().map(parse_struct),
        })
    }
}

fn parse_checker(context: &mut Context<'_>, message: &core::HealthCheck) -> Result<HealthChecker, Reported> {
    match &message.health_checker {
        Some(pb::HealthChecker::GrpcHealthCheck(check)) => context.at("grpc_health_check", |context| {
            context.check(check);
            let metadata = ("initial_metadata", check.initial_metadata.as_slice());
            let initial_metadata = HeaderMutations::parse(context, metadata, ("", &[]))?;
            Ok(HealthChecker::Grpc(GrpcHealthCheck {
                service_name: shared(&check.service_name),
                authority: non_empty(&check.authority),
                initial_metadata,
            }))
        }),
        Some(pb::HealthChecker::HttpHealthCheck(check)) => context
            .at("http_health_check", |context| HttpHealthCheck::parse(context, check))
            .map(|check| HealthChecker::Http(Box::new(check))),
        Some(pb::HealthChecker::TcpHealthCheck(check)) => context.at("tcp_health_check", |context| {
            context.check(check);
            let send = context.optional("send", check.send.as_ref(), parse_payload);
            let receive = context.each("receive", &check.receive, parse_payload);
            Ok(HealthChecker::Tcp(TcpHealthCheck {
                send: send?,
                receive: receive?,
            }))
        }),
        Some(pb::HealthChecker::CustomHealthCheck(_)) => Err(context.reported()),
        None => Err(context.reject("has no grpc_health_check, http_health_check or tcp_health_check")),
    }
}

impl HttpHealthCheck {
    fn parse(context: &mut Context<'_>, message: &pb::HttpHealthCheck) -> Result<Self, Reported> {
        use core::RequestMethod as Method;
        context.check(message);
        let path = context.text("path", &message.path);
        let method = match context.enumeration("method", message.method) {
            Ok(Method::MethodUnspecified) => Ok(Method::Get.as_str_name()),
            Ok(Method::Connect) => Err(context.reject_field("method", "is CONNECT, which checks nothing")),
            Ok(method) => Ok(method.as_str_name()),
            Err(reported) => Err(reported),
        };
        let http2 = match context.enumeration("codec_client_type", message.codec_client_type) {
            Ok(CodecClientType::Http1) => Ok(false),
            Ok(CodecClientType::Http2) => Ok(true),
            Ok(CodecClientType::Http3) => {
                Err(context.reject_field("codec_client_type", "is HTTP3, which is not supported"))
            }
            Err(reported) => Err(reported),
        };
        let request_headers = HeaderMutations::parse(
            context,
            ("request_headers_to_add", &message.request_headers_to_add),
            ("request_headers_to_remove", &message.request_headers_to_remove),
        );
        let expected_statuses = context.each("expected_statuses", &message.expected_statuses, parse_range);
        let retriable_statuses = context.each("retriable_statuses", &message.retriable_statuses, parse_range);
        let receive = context.each("receive", &message.receive, parse_payload);
        let matcher = message.service_name_matcher.as_ref();
        let service_name_matcher = context.optional("service_name_matcher", matcher, StringMatcher::parse);
        Ok(Self {
            host: non_empty(&message.host),
            path: path?,
            method: method?,
            http2: http2?,
            request_headers: request_headers?,
            expected_statuses: expected_statuses?,
            retriable_statuses: retriable_statuses?,
            receive: receive?,
            response_buffer_size: message
                .response_buffer_size
                .map_or(DEFAULT_RESPONSE_BUFFER_SIZE, |size| size.value),
            service_name_matcher: service_name_matcher?,
        })
    }
}

fn parse_range(context: &mut Context<'_>, message: &Int64Range) -> Result<StatusRange, Reported> {
    match (u16::try_from(message.start), u16::try_from(message.end)) {
        (Ok(start @ 100..), Ok(end @ ..=600)) if start < end => Ok(StatusRange { start, end }),
        _ => {
            let found = format!("is from {} to {}", message.start, message.end);
            Err(context.reject(format!("{found}, expected start below end, from 100 to 600")))
        }
    }
}

fn parse_payload(context: &mut Context<'_>, message: &pb::Payload) -> Result<Payload, Reported> {
    match &message.payload {
        Some(pb::payload::Payload::Binary(bytes)) => Ok(bytes.as_slice().into()),
        Some(pb::payload::Payload::Text(text)) => {
            let bytes = from_hex(text).filter(|bytes| !bytes.is_empty()).map(Arc::from);
            bytes.ok_or_else(|| context.reject_field("text", format!("is {text:?}, expected bytes in hexadecimal")))
        }
        None => Err(context.reject("has no text or binary")),
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let (pairs, rest) = digits.as_deref()?.as_chunks::<2>();
    rest.is_empty()
        .then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
