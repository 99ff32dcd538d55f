//! Random numbers for ids and sampling, one generator per thread: xoshiro256++ (Blackman and Vigna), seeded with the
//! standard library's random hash keys, which come from the operating system. Not for secrets.

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher, RandomState};

thread_local! {
    static STATE: Cell<[u64; 4]> = Cell::new(seed());
}

fn seed() -> [u64; 4] {
    // Each state has its own keys on top of those of the thread; all zero is the one seed that is no good.
    let mut words = [0; 4];
    for (position, word) in words.iter_mut().enumerate() {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_usize(position);
        *word = hasher.finish();
    }
    words[0] |= 1;
    words
}

/// The next 64 random bits of this thread.
pub fn next() -> u64 {
    STATE.with(|state| {
        let mut s = state.get();
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let shifted = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= shifted;
        s[3] = s[3].rotate_left(45);
        state.set(s);
        result
    })
}

/// A number below `bound`, near enough uniform for balancing and sampling; 0 for a bound of 0.
pub fn below(bound: u64) -> u64 {
    ((u128::from(next()) * u128::from(bound)) >> 64) as u64
}

/// Two digits of lower-case hex.
pub(crate) fn write_hex(byte: u8, out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out[0] = DIGITS[usize::from(byte >> 4)];
    out[1] = DIGITS[usize::from(byte & 15)];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_below_a_bound_cover_it_evenly() {
        let mut counts = [0_u32; 10];
        (0..10_000).for_each(|_| counts[below(10) as usize] += 1);
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
        assert_eq!(below(0), 0);
        assert_eq!(below(1), 0);
    }
}
