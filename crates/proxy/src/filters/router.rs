//! `envoy.extensions.filters.http.router.v3.Router`: the filter that forwards. What it does is the
//! pipeline itself; here is its configuration.

use std::any::Any;
use std::sync::Arc;

use xds_api::envoy::extensions::filters::http::router::v3 as pb;

use config::http_connection_manager::parse_upstream_http_filters;
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

fn parse(context: &mut Context<'_>, bytes: &[u8]) -> Result<Arc<dyn ExtensionConfig>, Reported> {
    let message: pb::Router = context.decode(bytes)?;
    context.check(&message);
    parse_upstream_http_filters(context, "upstream_http_filters", &message.upstream_http_filters)?;
    Ok(Arc::new(Router {
        suppress_envoy_headers: message.suppress_envoy_headers,
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
            strict_check_headers: vec!["x".into()],
            ..Default::default()
        };
        assert_eq!(
            parsed(&strict),
            Err(vec![
                "strict_check_headers: is not supported: headers that steer the proxy are taken off requests, not checked"
                    .to_owned()
            ])
        );
    }
}
