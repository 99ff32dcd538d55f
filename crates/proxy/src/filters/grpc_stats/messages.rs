//! Counting gRPC messages in a body that comes in pieces.

/// Bytes before each message: a flag and the length (gRPC over HTTP2, Length-Prefixed-Message).
const PREFIX: usize = 5;

/// Where one direction of a call stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MessageCounter {
    prefix: [u8; PREFIX],
    /// Bytes of the prefix that are there.
    prefix_length: u8,
    /// Bytes of the message that are still to come.
    rest: u32,
}

impl MessageCounter {
    /// How many messages begin in `data`: a message counts when its prefix is complete.
    pub(super) fn count(&mut self, mut data: &[u8]) -> u64 {
        let mut messages = 0;
        while !data.is_empty() {
            if self.rest > 0 {
                let skipped = data.len().min(self.rest as usize);
                self.rest -= skipped as u32;
                data = &data[skipped..];
                continue;
            }
            self.prefix[usize::from(self.prefix_length)] = data[0];
            self.prefix_length += 1;
            data = &data[1..];
            if usize::from(self.prefix_length) == PREFIX {
                let [_, a, b, c, d] = self.prefix;
                self.rest = u32::from_be_bytes([a, b, c, d]);
                self.prefix_length = 0;
                messages += 1;
            }
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_wherever_the_body_is_cut() {
        let mut body = Vec::new();
        for length in [0u32, 3, 300, 0] {
            body.push(0);
            body.extend_from_slice(&length.to_be_bytes());
            body.resize(body.len() + length as usize, 7);
        }
        for cut in 1..body.len() {
            let mut counter = MessageCounter::default();
            let counted: u64 = body.chunks(cut).map(|piece| counter.count(piece)).sum();
            assert_eq!(counted, 4, "pieces of {cut}");
        }
    }
}
