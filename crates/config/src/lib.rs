//! What the proxy was told, parsed once into types that cannot be invalid.
//!
//! A resource arrives as an Envoy v3 message. Its parser either gives a value whose every field means what it says, or
//! all the reasons why not, each with the path of the field ([`Rejected`]). Every field of every message is in a table
//! ([`support`](mod@support)): supported, accepted without effect, or rejected.
//!
//! Filters, transport sockets and secrets belong to other crates: their parsers are in the [`Extensions`] that the
//! caller passes. There is no I/O here.

// What Envoy has deprecated is still sent, and is read on purpose.
#![allow(deprecated)]

pub mod access_log;
pub mod address;
pub mod bootstrap;
pub mod cluster;
pub mod config_source;
pub mod connection_limit;
pub mod data_source;
pub mod endpoint;
pub mod filter_chain_match;
pub mod header_mutation;
pub mod http_connection_manager;
pub mod http_protocol_options;
pub mod listener;
pub mod listener_filters;
pub mod metadata;
pub mod percent;
pub mod regex;
pub mod resource;
pub mod route;
pub mod secret;
pub mod socket_option;
pub mod string_matcher;
pub mod support;
pub mod tcp_proxy;
pub mod value_format;

mod alike;
mod complete;
mod context;
mod extensions;
mod field_path;
mod fingerprint;
mod rejected;
mod resource_map;
mod scalars;
mod shared_str;
#[cfg(test)]
mod testing;

pub use complete::Config;
pub use context::Context;
pub use extensions::{DataReader, ExtensionConfig, ExtensionKind, Extensions, FormatCompiler, Parser};
pub use field_path::FieldPath;
pub use fingerprint::Fingerprint;
pub use rejected::{Parsed, Rejected, Reported, WithoutEffect};
pub use resource::{Reference, References, Resource, ResourceType};
pub use resource_map::{Change, ResourceMap};
