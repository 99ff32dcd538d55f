//! The older hash function of rings.

/// MurmurHash2 of 64 bits with the seed of libstdc++'s `std::hash` (Austin Appleby, MurmurHash64A).
pub(super) fn murmur_hash_2(input: &[u8]) -> u64 {
    const SEED: u64 = 0xc70f_6907;
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let mix = |word: u64| word ^ (word >> 47);
    let mut hash = SEED ^ (input.len() as u64).wrapping_mul(M);
    let (words, tail) = input.as_chunks::<8>();
    for word in words {
        let data = mix(u64::from_le_bytes(*word).wrapping_mul(M)).wrapping_mul(M);
        hash = (hash ^ data).wrapping_mul(M);
    }
    if !tail.is_empty() {
        let mut last = [0; 8];
        last[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(M);
    }
    mix(mix(hash).wrapping_mul(M))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur_hash_agrees_with_the_standard_library_of_gcc() {
        for (text, expected) in [
            ("", 6_142_509_188_972_423_790),
            ("foo", 9_631_199_822_919_835_226),
            ("bar", 11_474_628_671_133_349_555),
            ("foo\nbar", 16_306_510_975_912_980_159),
        ] {
            assert_eq!(murmur_hash_2(text.as_bytes()), expected, "{text}");
        }
    }
}
