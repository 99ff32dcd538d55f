//! Random and damaged header blocks: no panic, limits hold, and what decodes as complete survives our encoder.

use super::*;

/// A small generator with a fixed seed, so that a failure repeats.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % below
    }
}

const LIMITS: Limits = Limits {
    list_size: 4096,
    fields: 50,
};

/// Blocks of one connection, as a peer would send them.
fn blocks(random: &mut Random) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(4096);
    (0..1 + random.next(5))
        .map(|_| {
            let mut block = request(&[("te", "trailers")]);
            for _ in 0..random.next(6) {
                let name = format!("x-{}", random.next(4));
                let value = "value ".repeat(random.next(20));
                if random.next(5) == 0 {
                    block.append_sensitive(&name, value.trim().as_bytes());
                } else {
                    block.append(&name, value.trim().as_bytes());
                }
            }
            if random.next(5) == 0 {
                encoder.set_max_size(random.next(5000));
            }
            encode(&mut encoder, &block)
        })
        .collect()
}

fn damage(random: &mut Random, block: &mut Vec<u8>) {
    for _ in 0..random.next(3) {
        if block.is_empty() {
            return;
        }
        let at = random.next(block.len());
        match random.next(4) {
            0 => block[at] ^= 1 << random.next(8),
            1 => block[at] = [0x00, 0x20, 0x3f, 0x40, 0x7f, 0x80, 0xff][random.next(7)],
            2 => drop(block.remove(at)),
            _ => {
                let end = (at + random.next(10)).min(block.len());
                let copy = block[at..end].to_vec();
                block.splice(at..at, copy);
            }
        }
    }
}

/// Decodes the blocks of a connection; returns how many were complete.
fn run(blocks: &[Vec<u8>]) -> usize {
    let (mut decoder, mut encoder, mut other) = (Decoder::new(4096), Encoder::new(1000), Decoder::new(4096));
    let (mut block, mut again) = (HeaderBlock::new(), HeaderBlock::new());
    let mut complete = 0;
    for input in blocks {
        let decoded = decoder.decode(input, REQUEST, LIMITS, &mut block);
        assert!(decoder.table.size() <= 4096);
        assert!(block.list_size() <= 4096 && block.len() <= 50);
        match decoded {
            Ok(Decoded::Complete) => {
                complete += 1;
                let encoded = encode(&mut encoder, &block);
                assert_eq!(
                    other.decode(&encoded, REQUEST, LIMITS, &mut again),
                    Ok(Decoded::Complete)
                );
                assert_eq!(list(&again), list(&block));
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    complete
}

#[test]
fn damaged_blocks_are_decoded_or_refused() {
    let mut random = Random(0x5eed_0004);
    let mut complete = 0;
    for _ in 0..10_000 {
        let mut blocks = blocks(&mut random);
        blocks.iter_mut().for_each(|block| damage(&mut random, block));
        complete += run(&blocks);
    }
    assert!(complete > 5_000, "{complete}: the corpus is damaged beyond use");
}

#[test]
fn noise_is_decoded_or_refused() {
    let mut random = Random(0x5eed_0005);
    for _ in 0..20_000 {
        let noise = (0..random.next(60)).map(|_| random.next(256) as u8).collect();
        run(&[noise]);
    }
}
