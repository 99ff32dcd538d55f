//! Whether a proxy would take a resource, asked before it is served.

use crate::compile::resource::Resource;

/// Something that knows what proxies take.
pub trait Validator: Send + Sync {
    /// Looks at a resource.
    ///
    /// # Errors
    /// Every reason why a proxy would refuse it, with the field's path.
    fn validate(&self, resource: &Resource) -> Result<(), Vec<String>>;
}

/// What remora takes.
#[derive(Debug, Default)]
pub struct ProxyValidator {}

impl ProxyValidator {
    /// With every extension the proxy has.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Validator for ProxyValidator {
    fn validate(&self, _resource: &Resource) -> Result<(), Vec<String>> {
        Ok(())
    }
}
