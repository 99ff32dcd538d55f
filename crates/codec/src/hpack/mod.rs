//! HPACK, header compression for HTTP/2 (RFC 7541).
//!
//! Decodes straight into a [`HeaderBlock`](crate::headers::HeaderBlock) and encodes straight from one. Dynamic tables
//! take memory only as they fill.

mod decoder;
mod encoder;

pub use decoder::{DecodeError, Decoded, Decoder, Limits};
pub use encoder::Encoder;
