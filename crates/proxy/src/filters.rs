//! HTTP filters, one file each; each registers its parser here.

use config::Extensions;

pub(crate) mod router;

/// Registers the parsers of the HTTP filters this crate executes.
pub fn register(extensions: &mut Extensions) {
    router::register(extensions);
}
