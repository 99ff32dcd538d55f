//! HTTP/1.1 (RFC 9112) for proxies: sans-IO, both roles, the events and methods of [`h2`](crate::h2).
//!
//! Heads are parsed by `httparse`; what stands around it is ours, and strict where smuggling starts: every line ends in
//! CR LF, lengths are one decimal number, `transfer-encoding` is exactly `chunked` and never beside `content-length`,
//! no folded lines, no white space around names. Each refusal is a [`Refusal`] with the status that answers it.
//!
//! One request is in progress at a time. A server keeps what a client sends ahead of its turn (pipelining) and stops
//! wanting input meanwhile ([`Connection::wants_read`]); when its turn comes, [`Connection::wants_receive`] says so.
//!
//! Upgrades and CONNECT become tunnels: after a 101, or a 2xx to CONNECT, bytes are plain `Data` both ways, and
//! `end_stream` half-closes ([`Connection::half_closed`]).

mod chunked;
mod commands;
mod config;
mod connection;
mod framing;
mod head;
mod output;
mod receive;
mod refusal;
mod scan;
mod write;

pub use config::{Config, HeaderKeyFormat};
pub use connection::Connection;
pub use refusal::Refusal;

#[cfg(test)]
mod tests;
