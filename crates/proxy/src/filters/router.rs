//! `envoy.extensions.filters.http.router.v3.Router`: the filter that forwards. What it does is the
//! pipeline itself; here is its configuration.

use std::any::Any;
use std::sync::Arc;

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
}

pub(super) fn register(extensions: &mut Extensions) {
    extensions.register(
        ExtensionKind::HttpFilter,
        "envoy.extensions.filters.http.router.v3.Router",
        parse,
    );
}

fn parse(context: &mut Context<'_>, bytes: &[u8]) -> Result<Arc<dyn ExtensionConfig>, Reported> {
    let _ = (context, bytes);
    Ok(Arc::new(Router {
        suppress_envoy_headers: false,
    }))
}
