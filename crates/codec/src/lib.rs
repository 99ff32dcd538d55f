//! HTTP/2 and HTTP/1.1 made for proxying: sans-IO, single-threaded, both roles.
//!
//! Bytes and commands go in, events and bytes come out; the codec knows nothing of sockets, runtimes, routing or
//! configuration sources. Both protocols share one header block ([`headers::HeaderBlock`]) and one event vocabulary
//! ([`event::Event`]), so whatever forwards a message does not care which protocol it came from or goes to.

#![forbid(unsafe_code)]

mod connection;
pub mod event;
pub mod h1;
pub mod h2;
pub mod headers;
pub mod hpack;
pub mod names;
pub mod stats;

pub use connection::{Connection, Protocol};

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
