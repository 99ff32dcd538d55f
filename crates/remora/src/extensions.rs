//! Every extension there is: the filters, transport sockets and secrets of the crates below.

use config::Extensions;

/// The registry that bootstrap and dynamic resources are parsed with.
pub(crate) fn all() -> Extensions {
    let mut extensions = Extensions::new();
    tls::register(&mut extensions);
    proxy::register(&mut extensions);
    extensions
}
