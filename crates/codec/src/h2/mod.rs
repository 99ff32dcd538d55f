//! HTTP/2 (RFC 9113) for proxies: sans-IO, single-threaded, both roles.
//!
//! A [`Connection`] takes bytes ([`Connection::receive`]) and commands (`open_stream`, `send_head`, `send_data`, ...) and
//! gives events and bytes ([`Connection::output`]). Its only other input is the current time.
//!
//! Guarantees:
//! - DATA is delivered as it arrives, straight out of the caller's input; nothing of it is copied or kept.
//! - What it holds is bounded: incomplete frames and header blocks by configuration, output by its cap and the limits on
//!   frames, queued data by the credit its source was given, closed streams by a fixed number of identifiers. Without
//!   streams and output it holds well under 1 KiB plus its HPACK tables.
//! - Every [`Limits`] a peer can run into ends the connection with a GOAWAY that names it, and counts.
//!
//! The caller's part:
//! - call `receive` until it returns `Ok(None)`, then `next_event` after `advance_output` and `on_deadline`;
//! - give the credit of each `Data` event back once (`release_credit`), or `reset` the stream, which gives back what it
//!   owes; a stream that ended may be `reset` for that, nothing is sent then;
//! - after an error, flush the output (the GOAWAY is in it) and close the transport.

mod adaptive;
mod config;
mod connection;
mod credit;
mod drain;
mod ending;
mod error;
mod frame;
mod keepalive;
mod limits;
mod output;
mod recv;
mod recv_control;
mod recv_data;
mod recv_headers;
mod send;
mod settings;
pub(crate) mod spare;
mod stream;
mod streams;

pub use config::{Config, Keepalive, Limits, Rate};
pub use connection::Connection;
pub use settings::PeerSettings;

#[cfg(test)]
mod tests;
