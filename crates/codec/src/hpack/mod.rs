//! HPACK, header compression for HTTP/2 (RFC 7541).
//!
//! Decodes straight into a [`HeaderBlock`](crate::headers::HeaderBlock) and encodes straight from one. Dynamic tables
//! take memory only as they fill.

mod decoder;
mod dynamic_table;
mod encoder;
mod hash;
mod huffman;
mod integer;
mod policy;
mod static_table;

pub use decoder::{DecodeError, Decoded, Decoder, Limits};
pub use encoder::Encoder;

#[cfg(test)]
mod tests;
