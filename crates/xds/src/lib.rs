//! The xDS client: from the discovery streams to one complete, consistent [`config::Config`].
//!
//! ```text
//!  driver ── messages ──▶ Session ── Update ──▶ Engine ── decode ──▶ Store ──▶ Assembler ──▶ Arc<Config>
//!  (tonic)  ◀── requests ──┘  ▲                                                  │
//!                             └────────────── subscriptions ────────────────────┘
//! ```
//!
//! Everything but the [`driver`](crate::client) is free of I/O: messages and a clock go in, requests and configurations
//! come out. The rules it keeps are those of Envoy's xDS protocol page (`xds_protocol.rst`) and of the gRPC proposals
//! named where a rule is applied.
//!
//! - [`session`]: one discovery stream; state of the world and delta behind one [`session::Update`].
//! - [`store`]: the accepted value of each resource beside the last rejection.
//! - [`assemble`]: what may be published when: warming, dependency-complete publishing, make-before-break.
//! - [`engine`]: the three joined, without I/O.
//! - [`client`]: the engine behind real streams; what the binary uses.
//! - [`load_reports`]: LRS, on a stream of its own.

pub mod assemble;
pub mod backoff;
mod cache;
pub mod client;
pub mod csds;
mod data_errors;
pub mod decode;
mod driver;
pub mod engine;
#[cfg(test)]
mod fixtures;
mod key;
pub mod load_reports;
mod rate_limit;
pub mod session;
pub mod source;
mod statistics;
pub mod status;
pub mod store;

pub use client::{Client, ConfigWatch, Connecting, Connector, Handle, Io, Options, Settings};
pub use data_errors::DataErrors;
pub use decode::{DecodedResource, Decoder, ExtensionsDecoder};
pub use key::ResourceKey;
pub use status::{Readiness, Status};
