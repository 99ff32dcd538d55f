//! The random numbers by which Envoy orders endpoints for a hash.

/// MT19937 (Matsumoto and Nishimura 1998), `std::mt19937` of C++: bounded loads order endpoints by it, and the order is
/// to be Envoy's.
pub(super) struct MersenneTwister {
    state: [u32; Self::SIZE],
    next: usize,
}

impl MersenneTwister {
    const SIZE: usize = 624;
    const SHIFT: usize = 397;

    pub(super) fn new(seed: u32) -> Self {
        let mut state = [seed; Self::SIZE];
        for at in 1..Self::SIZE {
            let before = state[at - 1];
            state[at] = 1_812_433_253u32
                .wrapping_mul(before ^ (before >> 30))
                .wrapping_add(at as u32);
        }
        Self {
            state,
            next: Self::SIZE,
        }
    }

    /// The next 32 bits.
    pub(super) fn next_u32(&mut self) -> u32 {
        if self.next == Self::SIZE {
            self.twist();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// A number below `bound`, drawn as Envoy draws it.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        let part = (1u64 << 32) / u64::from(bound);
        loop {
            let drawn = u64::from(self.next_u32()) / part;
            if drawn < u64::from(bound) {
                return drawn as u32;
            }
        }
    }

    fn twist(&mut self) {
        for at in 0..Self::SIZE {
            let joined = (self.state[at] & 0x8000_0000) | (self.state[(at + 1) % Self::SIZE] & 0x7fff_ffff);
            let mut word = self.state[(at + Self::SHIFT) % Self::SIZE] ^ (joined >> 1);
            if joined & 1 == 1 {
                word ^= 0x9908_b0df;
            }
            self.state[at] = word;
        }
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The C++ standard demands this value (26.6.6 [rand.predef]).
    #[test]
    fn the_ten_thousandth_number_is_that_of_the_standard() {
        let mut random = MersenneTwister::new(5489);
        let last = (0..10_000).map(|_| random.next_u32()).last();
        assert_eq!(last, Some(4_123_659_995));
    }
}
