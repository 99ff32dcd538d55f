//! References to secrets (`envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig`). What a secret holds is parsed
//! by the crate that uses it, through [`Extensions`](crate::Extensions).

use std::sync::Arc;

use crate::config_source::ConfigSource;
use crate::extensions::ExtensionConfig;
use crate::fingerprint::Fingerprint;

/// A reference to a secret by name.
#[derive(Debug, Clone, PartialEq)]
pub struct SdsSecretConfig {
    /// The name of the secret.
    pub name: Arc<str>,
    /// Where it comes from; none when it is a static secret of the bootstrap.
    pub sds_config: Option<Arc<ConfigSource>>,
}

/// A secret resource.
#[derive(Debug, Clone)]
pub struct Secret {
    /// The name it is referred to by.
    pub name: Arc<str>,
    /// What it holds, as the TLS crate parsed it.
    pub config: Arc<dyn ExtensionConfig>,
    /// Identity of its content.
    pub fingerprint: Fingerprint,
}
