//! HTTP filters: what the pipeline asks of them, their chains, and one file each for the filters themselves.

use config::Extensions;

mod buffer;
pub(crate) mod chain;
pub(crate) mod exchange;
mod header_mutation;
pub(crate) mod http_filter;
pub(crate) mod per_route;
pub(crate) mod router;

/// Registers the parsers of the HTTP filters this crate executes: one line each.
pub fn register(extensions: &mut Extensions) {
    buffer::register(extensions);
    header_mutation::register(extensions);
    extensions.register_formats(crate::header_operations::compile);
    router::register(extensions);
}
