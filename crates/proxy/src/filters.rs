//! HTTP filters: what the pipeline asks of them, their chains, and one file each for the filters themselves.

use config::Extensions;

mod buffer;
pub(crate) mod chain;
mod compressor;
mod cors;
pub(crate) mod exchange;
mod fault;
mod grpc_stats;
mod header_lookup;
mod header_mutation;
mod health_check;
pub(crate) mod http_filter;
pub(crate) mod istio_alpn;
mod istio_telemetry;
pub(crate) mod per_route;
pub(crate) mod router;

/// Registers the parsers of the HTTP filters this crate executes: one line each.
pub fn register(extensions: &mut Extensions) {
    buffer::register(extensions);
    compressor::register(extensions);
    cors::register(extensions);
    fault::register(extensions);
    grpc_stats::register(extensions);
    header_mutation::register(extensions);
    health_check::register(extensions);
    istio_alpn::register(extensions);
    istio_telemetry::register(extensions);
    extensions.register_formats(crate::header_operations::compile);
    router::register(extensions);
}
