//! References to secrets (`envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig`). What a secret holds is parsed
//! by the crate that uses it, through [`Extensions`](crate::Extensions).

use std::sync::Arc;

use xds_api::envoy::extensions::transport_sockets::tls::v3 as pb;
use xds_api::prost::{Message as _, Name as _};

use crate::config_source::ConfigSource;
use crate::context::Context;
use crate::extensions::{ExtensionConfig, ExtensionKind};
use crate::fingerprint::Fingerprint;
use crate::rejected::Reported;
use crate::resource::{References, ResourceType};

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

impl SdsSecretConfig {
    /// Parses a reference.
    ///
    /// # Errors
    /// When it has no name, or its source is not valid.
    pub fn parse(context: &mut Context<'_>, message: &pb::SdsSecretConfig) -> Result<Self, Reported> {
        context.check(message);
        let name = context.discovered_name("name", &message.name);
        let source = context.optional("sds_config", message.sds_config.as_ref(), ConfigSource::parse);
        Ok(Self {
            name: name?,
            sds_config: source?.map(Arc::new),
        })
    }

    /// Adds the secret to what a resource needs.
    pub fn add_reference(&self, references: &mut References) {
        references.add(ResourceType::Secret, &self.name, self.sds_config.as_ref());
    }
}

impl Secret {
    /// Parses a secret with the parser that is registered for it.
    ///
    /// # Errors
    /// When any field is at fault, or there is no such parser.
    pub fn parse(context: &mut Context<'_>, message: &pb::Secret) -> Result<Self, Reported> {
        Self::parse_encoded(context, &message.name, &message.encode_to_vec())
    }

    /// Parses a secret from its bytes, which hold its name too.
    pub(crate) fn parse_encoded(context: &mut Context<'_>, name: &str, bytes: &[u8]) -> Result<Self, Reported> {
        let name = context.text("name", name);
        let config = context.parse_extension(ExtensionKind::Secret, &pb::Secret::full_name(), bytes);
        Ok(Self {
            name: name?,
            config: config?,
            fingerprint: Fingerprint::of(bytes),
        })
    }
}
