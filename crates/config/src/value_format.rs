//! Texts with command operators (`%REQ(name)%`), compiled by the crate that executes them.

use std::sync::Arc;

use crate::extensions::ExtensionConfig;

/// What a text with command operators was compiled to. It stands beside its text and means the same, so that any two
/// are equal: the texts are what is compared.
#[derive(Debug, Clone, Default)]
pub struct ValueFormat(Option<Arc<dyn ExtensionConfig>>);

impl ValueFormat {
    pub(crate) fn new(compiled: Arc<dyn ExtensionConfig>) -> Self {
        Self(Some(compiled))
    }

    /// The compiled text as a `T`; `None` for a text without operators.
    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.0.as_deref()?.get()
    }
}

impl PartialEq for ValueFormat {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
