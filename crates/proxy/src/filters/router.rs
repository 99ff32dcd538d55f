//! `envoy.extensions.filters.http.router.v3.Router`: the filter that forwards. What it does is the
//! pipeline itself; here is its configuration.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use xds_api::envoy::extensions::filters::http::router::v3 as pb;

use codec::names::KnownName;
use config::access_log::{AccessLog, flush_interval};
use config::http_connection_manager::parse_upstream_http_filters;
use config::route::RetryOn;
use config::{Context, ExtensionConfig, ExtensionKind, Extensions, Reported};

/// The router's settings.
#[derive(Clone, Debug)]
pub(crate) struct Router {
    /// No `x-envoy-*` headers are added to requests and answers.
    pub(crate) suppress_envoy_headers: bool,
    /// Headers whose values must be valid where they are believed.
    pub(crate) strict_check_headers: Vec<StrictHeader>,
    /// `x-envoy-expected-rq-timeout-ms` of an internal caller is the request's timeout.
    pub(crate) respect_expected_rq_timeout: bool,
    /// Answers to gRPC requests are not counted by their status.
    pub(crate) suppress_grpc_request_failure_code_stats: bool,
    /// Answers are counted by their status, and how long they took.
    pub(crate) dynamic_stats: bool,
    /// Logs of each try.
    pub(crate) upstream_log: Arc<[AccessLog]>,
    /// Whether a try is logged when it has its connection.
    pub(crate) flush_upstream_log_on_upstream_stream: bool,
    /// How often it is while it goes on; only at its end when none.
    pub(crate) upstream_log_flush_interval: Option<Duration>,
}

impl Default for Router {
    fn default() -> Self {
        Router {
            suppress_envoy_headers: false,
            strict_check_headers: Vec::new(),
            respect_expected_rq_timeout: false,
            suppress_grpc_request_failure_code_stats: false,
            dynamic_stats: true,
            upstream_log: Arc::default(),
            flush_upstream_log_on_upstream_stream: false,
            upstream_log_flush_interval: None,
        }
    }
}

/// A header that `strict_check_headers` may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StrictHeader {
    UpstreamRqTimeoutMs,
    UpstreamRqPerTryTimeoutMs,
    MaxRetries,
    RetryGrpcOn,
    RetryOn,
}

impl StrictHeader {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "x-envoy-upstream-rq-timeout-ms" => Self::UpstreamRqTimeoutMs,
            "x-envoy-upstream-rq-per-try-timeout-ms" => Self::UpstreamRqPerTryTimeoutMs,
            "x-envoy-max-retries" => Self::MaxRetries,
            "x-envoy-retry-grpc-on" => Self::RetryGrpcOn,
            "x-envoy-retry-on" => Self::RetryOn,
            _ => return None,
        })
    }

    /// Its name.
    pub(crate) fn name(self) -> KnownName {
        match self {
            Self::UpstreamRqTimeoutMs => KnownName::XEnvoyUpstreamRqTimeoutMs,
            Self::UpstreamRqPerTryTimeoutMs => KnownName::XEnvoyUpstreamRqPerTryTimeoutMs,
            Self::MaxRetries => KnownName::XEnvoyMaxRetries,
            Self::RetryGrpcOn => KnownName::XEnvoyRetryGrpcOn,
            Self::RetryOn => KnownName::XEnvoyRetryOn,
        }
    }

    /// `%RESPONSE_CODE_DETAILS%` of a request that is refused for it.
    pub(crate) fn details(self) -> &'static str {
        match self {
            Self::UpstreamRqTimeoutMs => "request_headers_failed_strict_check{x-envoy-upstream-rq-timeout-ms}",
            Self::UpstreamRqPerTryTimeoutMs => {
                "request_headers_failed_strict_check{x-envoy-upstream-rq-per-try-timeout-ms}"
            }
            Self::MaxRetries => "request_headers_failed_strict_check{x-envoy-max-retries}",
            Self::RetryGrpcOn => "request_headers_failed_strict_check{x-envoy-retry-grpc-on}",
            Self::RetryOn => "request_headers_failed_strict_check{x-envoy-retry-on}",
        }
    }

    /// Whether a value is valid.
    pub(crate) fn accepts(self, value: &[u8]) -> bool {
        let of_kind = |kind: RetryOn| {
            let is_known = |name: &[u8]| {
                RetryOn::from_name(name).is_some_and(|condition| !condition.intersection(kind).is_empty())
            };
            let names = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            names.filter(|name| !name.is_empty()).all(is_known)
        };
        match self {
            Self::UpstreamRqTimeoutMs | Self::UpstreamRqPerTryTimeoutMs | Self::MaxRetries => {
                std::str::from_utf8(value).is_ok_and(|value| value.trim().parse::<u64>().is_ok())
            }
            Self::RetryGrpcOn => of_kind(RetryOn::GRPC),
            Self::RetryOn => of_kind(RetryOn::HTTP),
        }
    }
}

impl ExtensionConfig for Router {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn is_terminal(&self) -> bool {
        true
    }
}

pub(super) fn register(extensions: &mut Extensions) {
    extensions.register(
        ExtensionKind::HttpFilter,
        "envoy.extensions.filters.http.router.v3.Router",
        parse,
    );
}

fn parse(context: &mut Context<'_>, bytes: &[u8]) -> Result<Arc<dyn ExtensionConfig>, Reported> {
    let message: pb::Router = context.decode(bytes)?;
    context.check(&message);
    parse_upstream_http_filters(context, "upstream_http_filters", &message.upstream_http_filters)?;
    let strict_check_headers = context.each(
        "strict_check_headers",
        &message.strict_check_headers,
        |context, name| {
            StrictHeader::from_name(name)
                .ok_or_else(|| context.reject(format!("is {name:?}, expected a header that the router acts on")))
        },
    )?;
    let upstream_log: Result<Vec<AccessLog>, _> = context.each("upstream_log", &message.upstream_log, AccessLog::parse);
    let options = message.upstream_log_options.unwrap_or_default();
    let interval = context.at("upstream_log_options", |context| {
        context.check(&options);
        let interval = options.upstream_log_flush_interval.as_ref();
        flush_interval(context, "upstream_log_flush_interval", interval)
    });
    Ok(Arc::new(Router {
        suppress_envoy_headers: message.suppress_envoy_headers,
        strict_check_headers,
        respect_expected_rq_timeout: message.respect_expected_rq_timeout,
        suppress_grpc_request_failure_code_stats: message.suppress_grpc_request_failure_code_stats,
        dynamic_stats: message.dynamic_stats.is_none_or(|flag| flag.value),
        upstream_log: upstream_log?.into(),
        flush_upstream_log_on_upstream_stream: options.flush_upstream_log_on_upstream_stream,
        upstream_log_flush_interval: interval?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use xds_api::prost::Message;

    fn parsed(message: &pb::Router) -> Result<bool, Vec<String>> {
        let extensions = Extensions::default();
        Context::parse(&extensions, |context| parse(context, &message.encode_to_vec()))
            .map(|parsed| {
                parsed
                    .value
                    .get::<Router>()
                    .is_some_and(|router| router.suppress_envoy_headers)
            })
            .map_err(|rejected| rejected.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_the_router_cannot_do_is_refused_by_name() {
        assert_eq!(
            parsed(&pb::Router {
                suppress_envoy_headers: true,
                ..Default::default()
            }),
            Ok(true)
        );
        let strict = pb::Router {
            strict_check_headers: vec!["x-envoy-retry-on".into(), "x".into()],
            ..Default::default()
        };
        assert_eq!(
            parsed(&strict),
            Err(vec![
                "strict_check_headers[1]: is \"x\", expected a header that the router acts on".to_owned()
            ])
        );
    }
}
