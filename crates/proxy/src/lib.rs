//! The data path: listeners, the HTTP pipeline, filters, drain.
//!
//! Follow a request: `listener` accepts, `connection` moves bytes, `pipeline` routes and
//! forwards, `pool` and `upstream_connection` reach the endpoint. `server` is what the binary
//! holds; `snapshot` what a configuration is compiled to.

mod accepted;
pub mod access_log;
mod authority;
mod chain;
mod chain_choice;
mod client_address;
mod client_certificate;
mod codec_options;
mod connection;
mod connection_log;
mod date;
mod dedicated_connection;
mod dial;
mod downstream;
pub mod drain;
mod failure;
mod filters;
mod grpc_timeout;
mod hash_policy;
mod header_operations;
mod inspection;
mod listener;
mod listener_filters;
mod listening;
mod local_info;
mod local_reply;
mod manager;
mod path;
mod pickers;
mod pipeline;
mod pool;
mod process_codec_stats;
mod redirect;
mod request_headers;
mod response_headers;
mod retry;
mod route_rewrites;
mod route_stats;
mod route_table;
mod route_timeouts;
pub mod server;
mod slab;
mod slots;
pub mod snapshot;
mod socket;
mod socket_options;
mod stream;
mod tcp;
mod timer_wheel;
mod upgrade;
mod upstream_connection;
mod worker;
mod worker_thread;

pub use filters::register;
pub use local_info::LocalInfo;
