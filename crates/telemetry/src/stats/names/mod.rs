//! Envoy's statistics, as tables: names, kinds and how Prometheus sees them.
//!
//! Taken from what Envoy 1.39 shows on `/stats`. What remora never counts (HTTP/3, for one) is listed
//! too: a dashboard or an agent that looks for a name finds it, at zero.

mod clusters;
mod codecs;
mod connection_manager;
mod http_filters;
mod listeners;
mod process;

pub use clusters::*;
pub use codecs::*;
pub use connection_manager::*;
pub use http_filters::*;
pub use listeners::*;
pub use process::*;
