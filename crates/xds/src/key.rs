//! The identity of a resource.

use std::fmt;
use std::sync::Arc;

use config::ResourceType;

/// A resource by type and name. Ordered by type in subscription order, then by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceKey {
    /// Its type.
    pub resource_type: ResourceType,
    /// Its name: for endpoints the EDS service name.
    pub name: Arc<str>,
}

impl ResourceKey {
    /// The key of the resource of this type and name.
    pub fn new(resource_type: ResourceType, name: impl Into<Arc<str>>) -> Self {
        Self {
            resource_type,
            name: name.into(),
        }
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.resource_type, self.name)
    }
}
