//! Short ways from message strings to shared ones.

use std::sync::Arc;

/// A shared copy. Empty text, the most common of all, is shared by everyone.
pub(crate) fn shared(text: &str) -> Arc<str> {
    if text.is_empty() { Arc::default() } else { text.into() }
}

/// A shared copy, none when empty.
pub(crate) fn non_empty(text: &str) -> Option<Arc<str>> {
    (!text.is_empty()).then(|| text.into())
}
