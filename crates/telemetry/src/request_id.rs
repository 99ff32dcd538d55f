//! Request ids: random UUIDs (RFC 9562, version 4) without allocation or locks.

use crate::random;

/// A new id in its text form, `xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx`.
pub fn generate() -> [u8; 36] {
    let (high, low) = (random::next(), random::next());
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&high.to_be_bytes());
    bytes[8..].copy_from_slice(&low.to_be_bytes());
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (position, byte) in bytes.into_iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            at += 1;
        }
        random::write_hex(byte, &mut text[at..at + 2]);
        at += 2;
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_version_4_uuids_and_differ_across_threads() {
        let handles: Vec<_> = (0..4)
            .map(|_| std::thread::spawn(|| (0..1000).map(|_| generate()).collect::<Vec<_>>()))
            .collect();
        let ids: Vec<[u8; 36]> = handles.into_iter().flat_map(|handle| handle.join().unwrap()).collect();
        for id in &ids {
            for (at, byte) in id.iter().enumerate() {
                match at {
                    8 | 13 | 18 | 23 => assert_eq!(*byte, b'-'),
                    14 => assert_eq!(*byte, b'4'),
                    19 => assert!(b"89ab".contains(byte)),
                    _ => assert!(byte.is_ascii_digit() || (b'a'..=b'f').contains(byte)),
                }
            }
        }
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 4000);
    }
}
