//! Content identity of resources.

use std::fmt;
use std::hash::{DefaultHasher, Hasher};

/// A 128-bit digest of the bytes a resource was parsed from. Two resources of one kind with the same digest are the
/// same, so an update that repeats what is already known costs one pass over its bytes.
///
/// It guards against needless work, not against an adversary: whoever can send configuration needs no collision.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        // Two independent 64-bit digests: the second differs in what it hashed first.
        let mut low = DefaultHasher::new();
        low.write(bytes);
        let mut high = DefaultHasher::new();
        high.write_u64(0x9e37_79b9_7f4a_7c15);
        high.write(bytes);
        Self(u128::from(high.finish()) << 64 | u128::from(low.finish()))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
