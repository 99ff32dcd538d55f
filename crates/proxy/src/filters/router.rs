//! `envoy.extensions.filters.http.router.v3.Router`: the filter that forwards. What it does is the
//! pipeline itself; here is its configuration.

use std::any::Any;
use std::sync::Arc;

use xds_api::envoy::extensions::filters::http::router::v3 as pb;

use config::{Context, ExtensionConfig, ExtensionKind, Extensions, Reported};

/// The router's settings.
#[derive(Debug)]
pub(crate) struct Router {
    /// No `x-envoy-*` headers are added to requests and answers.
    pub(crate) suppress_envoy_headers: bool,
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

#[allow(deprecated, reason = "what Envoy has deprecated is still sent")]
fn parse(context: &mut Context<'_>, bytes: &[u8]) -> Result<Arc<dyn ExtensionConfig>, Reported> {
    let message: pb::Router = context.decode(bytes)?;
    if message.dynamic_stats.is_some_and(|on| !on.value) {
        context.without_effect("dynamic_stats", "clusters are always counted");
    }
    if message.start_child_span {
        context.without_effect("start_child_span", "requests are not traced yet");
    }
    if message.suppress_grpc_request_failure_code_stats {
        context.without_effect(
            "suppress_grpc_request_failure_code_stats",
            "these statistics are not kept",
        );
    }
    let mut refused = None;
    for (field, is_set) in [
        ("upstream_log", !message.upstream_log.is_empty()),
        ("upstream_log_options", message.upstream_log_options.is_some()),
        ("strict_check_headers", !message.strict_check_headers.is_empty()),
        ("respect_expected_rq_timeout", message.respect_expected_rq_timeout),
        ("upstream_http_filters", !message.upstream_http_filters.is_empty()),
    ] {
        if is_set {
            refused = Some(context.reject_field(field, "is not supported"));
        }
    }
    match refused {
        Some(reported) => Err(reported),
        None => Ok(Arc::new(Router {
            suppress_envoy_headers: message.suppress_envoy_headers,
        })),
    }
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
            strict_check_headers: vec!["x".into()],
            ..Default::default()
        };
        assert_eq!(
            parsed(&strict),
            Err(vec!["strict_check_headers: is not supported".to_owned()])
        );
    }
}
