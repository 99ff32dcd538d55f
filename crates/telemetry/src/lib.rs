//! Telemetry: statistics with Envoy's names, access logs, trace context and request ids.
//!
//! Nothing here waits: counting is a plain store, an access-log line goes to a bounded queue with a
//! writer thread behind it, and reading merges what the threads counted.

pub mod access_log;
pub mod json;
pub mod random;
pub mod request_id;
pub mod stats;
pub mod trace_context;
