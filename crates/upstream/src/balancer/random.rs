//! The random numbers that balancers and timers draw.

/// A small, fast generator (SplitMix64, Steele, Lea and Flood 2014): eight bytes of state, so that every worker can
/// hold one per cluster. Statistically sound, not for secrets. The same seed gives the same sequence, which is what
/// makes distributions testable.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator that starts at `seed`. Give each worker and cluster a different one, or they pick in step.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A generator whose seed differs from process to process and from call to call.
    pub fn from_entropy() -> Self {
        use std::hash::{BuildHasher, Hasher};
        // The standard library seeds `RandomState` from the operating system once and changes it on every call.
        Self::new(std::collections::hash_map::RandomState::new().build_hasher().finish())
    }

    /// The next 64 uniformly distributed bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A uniformly distributed number in `0..bound`; 0 if `bound` is 0.
    ///
    /// Multiplies instead of dividing (Lemire 2019); the bias without rejection is below 2^-32 for the table sizes
    /// that occur.
    pub fn below(&mut self, bound: u32) -> u32 {
        (((self.next_u64() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// A uniformly distributed number in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A uniformly distributed duration in `0..bound`, to the nanosecond.
    pub fn duration_below(&mut self, bound: std::time::Duration) -> std::time::Duration {
        bound.mul_f64(self.unit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_sequence() {
        let (mut a, mut b) = (Random::new(7), Random::new(7));
        for _ in 0..100 {
            assert_eq!(a.next_u64(), b.next_u64());
        }
        assert_ne!(Random::new(1).next_u64(), Random::new(2).next_u64());
    }

    #[test]
    fn below_covers_its_range_evenly() {
        let mut random = Random::new(1);
        let mut seen = [0u32; 7];
        for _ in 0..70_000 {
            seen[random.below(7) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| (9_600..10_400).contains(&n)), "{seen:?}");
        assert_eq!(random.below(0), 0);
        assert_eq!(random.below(1), 0);
    }

    #[test]
    fn unit_stays_below_one() {
        let mut random = Random::new(3);
        assert!((0..10_000).map(|_| random.unit()).all(|u| (0.0..1.0).contains(&u)));
    }
}
