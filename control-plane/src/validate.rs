//! Whether a proxy would take a resource, asked before it is served.

use config::Extensions;

use crate::compile::resource::{Resource, ResourceType};

/// Something that knows what proxies take.
pub trait Validator: Send + Sync {
    /// Looks at a resource.
    ///
    /// # Errors
    /// Every reason why a proxy would refuse it, with the field's path.
    fn validate(&self, resource: &Resource) -> Result<(), Vec<String>>;
}

/// What remora takes: the very parsers with which it reads what it is sent.
#[derive(Debug)]
pub struct ProxyValidator {
    extensions: Extensions,
}

impl Default for ProxyValidator {
    fn default() -> Self {
        Self::new()
    }
}

impl ProxyValidator {
    /// With every extension the proxy has.
    pub fn new() -> Self {
        let mut extensions = Extensions::new();
        tls::register(&mut extensions);
        proxy::register(&mut extensions);
        Self { extensions }
    }
}

impl Validator for ProxyValidator {
    fn validate(&self, resource: &Resource) -> Result<(), Vec<String>> {
        let kind = match resource.kind {
            ResourceType::Cluster => config::ResourceType::Cluster,
            ResourceType::Endpoints => config::ResourceType::ClusterLoadAssignment,
            ResourceType::Listener => config::ResourceType::Listener,
            ResourceType::Route => config::ResourceType::RouteConfiguration,
            ResourceType::Secret => config::ResourceType::Secret,
        };
        match config::Resource::parse(kind, &resource.body.value, &self.extensions) {
            Ok(_) => Ok(()),
            Err(rejected) => Err(rejected.iter().map(ToString::to_string).collect()),
        }
    }
}
