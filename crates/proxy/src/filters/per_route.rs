//! Settings of filters on routes (`typed_per_filter_config`), compiled so that nothing is hashed for a request.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use config::ExtensionConfig;
use config::route::PerFilterConfig;

/// The name of a filter, compared by a hash made in advance before it is compared as text.
#[derive(Clone, Debug)]
pub(crate) struct FilterId {
    hash: u64,
    name: Arc<str>,
}

impl FilterId {
    pub(crate) fn new(name: &Arc<str>) -> FilterId {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        FilterId {
            hash: hasher.finish(),
            name: Arc::clone(name),
        }
    }
}

impl PartialEq for FilterId {
    fn eq(&self, other: &FilterId) -> bool {
        self.hash == other.hash && self.name == other.name
    }
}

/// What one level (weighted cluster, route, virtual host, table) says of filters.
#[derive(Debug, Default)]
pub(crate) struct Level(Box<[FilterEntry]>);

/// What it says of one filter.
#[derive(Debug)]
pub(crate) struct FilterEntry {
    id: FilterId,
    pub(crate) config: Option<Arc<dyn ExtensionConfig>>,
    /// Whether the filter is off; settings alone turn it on, as in Envoy.
    pub(crate) disabled: bool,
}

impl Level {
    pub(crate) fn compile(filters: &PerFilterConfig) -> Level {
        let entry = |(name, filter): (&Arc<str>, &config::route::FilterConfig)| FilterEntry {
            id: FilterId::new(name),
            config: filter.config.clone(),
            disabled: filter.disabled.unwrap_or(false),
        };
        Level(filters.iter().map(entry).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, id: &FilterId) -> Option<&FilterEntry> {
        self.0.iter().find(|entry| entry.id == *id)
    }
}
