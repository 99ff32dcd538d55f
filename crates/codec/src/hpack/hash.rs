//! The hash by which the encoder finds fields in its table.
//!
//! The decoder computes it once, when a field enters its table, and hands it on with every use of the entry, so that
//! forwarding a repeated field hashes nothing. It need not resist chosen input: a look-up makes a fixed number of
//! probes, so collisions only cost compression.

use crate::names::KnownName;

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
const FINAL_MULTIPLIER: u64 = 0xd6e8_feb8_6659_fd93;

/// Hash of a whole field, never 0. `name` counts only if `known` is `None`.
#[inline]
pub(crate) fn field_hash(known: Option<KnownName>, name: &[u8], value: &[u8]) -> u32 {
    finish(absorb(name_state(known, name), value))
}

/// Hash of a name alone, never 0, different from that of any field with it.
#[inline]
pub(crate) fn name_hash(known: Option<KnownName>, name: &[u8]) -> u32 {
    finish(name_state(known, name) ^ MULTIPLIER)
}

#[inline]
fn name_state(known: Option<KnownName>, name: &[u8]) -> u64 {
    match known {
        Some(known) => (known.index() as u64 + 1).wrapping_mul(MULTIPLIER),
        None => absorb(!0, name),
    }
}

#[inline]
fn absorb(mut state: u64, bytes: &[u8]) -> u64 {
    // Spread over all bits, or a length and a letter could cancel each other out.
    state ^= (bytes.len() as u64).wrapping_mul(FINAL_MULTIPLIER);
    let (words, _) = bytes.as_chunks::<8>();
    for word in words {
        state = mix(state ^ u64::from_le_bytes(*word));
    }
    // The last word overlaps the one before; short inputs are put together from two overlapping halves.
    let last = if let Some(last) = bytes.last_chunk::<8>() {
        u64::from_le_bytes(*last)
    } else if let (Some(head), Some(tail)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        u64::from(u32::from_le_bytes(*head)) << 32 | u64::from(u32::from_le_bytes(*tail))
    } else if let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) {
        u64::from(first) << 16 | u64::from(bytes[bytes.len() / 2]) << 8 | u64::from(last)
    } else {
        0
    };
    mix(state ^ last)
}

#[inline]
fn mix(word: u64) -> u64 {
    let product = u128::from(word) * u128::from(MULTIPLIER);
    (product as u64) ^ (product >> 64) as u64
}

#[inline]
fn finish(state: u64) -> u32 {
    // The folding in `mix` leaves its best bits in the middle; one more multiplication brings them up.
    ((state.wrapping_mul(FINAL_MULTIPLIER) >> 32) as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn fields_that_differ_anywhere_hash_differently() {
        let mut seen = HashSet::new();
        for length in 0..40 {
            let value = vec![b'a'; length];
            assert!(seen.insert(field_hash(None, b"x-name", &value)), "length {length}");
            assert!(seen.insert(field_hash(None, b"x-nama", &value)));
            assert!(seen.insert(field_hash(Some(KnownName::UserAgent), b"", &value)));
            for position in 0..length {
                let mut other = value.clone();
                other[position] = b'b';
                assert!(
                    seen.insert(field_hash(None, b"x-name", &other)),
                    "length {length}, position {position}"
                );
            }
        }
        assert!(!seen.contains(&name_hash(None, b"x-name")));
        assert!(!seen.contains(&0));
    }
}
