//! A worker's random numbers: fast, not for secrets.
//!
//! xoshiro256++ (Blackman and Vigna), seeded from the standard library's per-process random keys.
//! Used for weighted clusters, balancing and request ids, where speed matters and prediction does not.

use std::hash::{BuildHasher, Hasher, RandomState};

/// State of the generator.
pub(crate) struct Random {
    state: [u64; 4],
}

impl Random {
    /// A generator whose sequence differs from every other one's.
    pub(crate) fn from_entropy() -> Self {
        let mut state = [0; 4];
        for (index, word) in state.iter_mut().enumerate() {
            let mut hasher = RandomState::new().build_hasher();
            hasher.write_usize(index);
            *word = hasher.finish();
        }
        // All zero is the one state that never leaves itself.
        state[0] |= 1;
        Random { state }
    }

    /// The next 64 random bits.
    pub(crate) fn next(&mut self) -> u64 {
        let state = &mut self.state;
        let result = state[0].wrapping_add(state[3]).rotate_left(23).wrapping_add(state[0]);
        let shifted = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = state[3].rotate_left(45);
        result
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_below_their_bound_and_reach_all_of_it() {
        let mut random = Random::from_entropy();
        let mut seen = [false; 7];
        for _ in 0..2000 {
            seen[random.below(7) as usize] = true;
        }
        assert_eq!(seen, [true; 7]);
        assert_eq!(random.below(0), 0);
    }
}
