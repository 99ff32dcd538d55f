//! Header blocks, one after the other on one connection: no panic, limits hold, and what decodes survives our encoder.
#![no_main]

use codec::headers::HeaderBlock;
use codec::headers::validate::Kind;
use codec::hpack::{Decoded, Decoder, Encoder, Limits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = Limits { list_size: 16 * 1024, fields: 100 };
    let (mut decoder, mut encoder, mut other) = (Decoder::new(4096), Encoder::new(4096), Decoder::new(4096));
    let (mut block, mut again) = (HeaderBlock::new(), HeaderBlock::new());
    // The first byte of each block is its length in units of 4 and its kind.
    let mut rest = data;
    while let Some((&first, after)) = rest.split_first() {
        let (input, after) = after.split_at(usize::from(first & 0x3f) * 4 % (after.len() + 1));
        rest = after;
        let kind = match first >> 6 {
            0 => Kind::Response,
            1 => Kind::Trailers,
            2 => Kind::Request { extended_connect: false },
            _ => Kind::Request { extended_connect: true },
        };
        match decoder.decode(input, kind, limits, &mut block) {
            Err(_) => return,
            Ok(Decoded::Complete) => {
                assert!(block.list_size() <= 16 * 1024 + 64);
                let mut output = Vec::new();
                encoder.encode(&block, &mut output);
                assert_eq!(other.decode(&output, kind, limits, &mut again), Ok(Decoded::Complete));
                // Secrets are marked on the way out.
                assert_eq!(block.len(), again.len());
                for (a, b) in block.iter().zip(&again) {
                    assert_eq!((a.name, a.value), (b.name, b.value));
                    assert!(b.sensitive || !a.sensitive);
                }
            }
            Ok(_) => assert!(block.capacity() < 1 << 20),
        }
    }
});
