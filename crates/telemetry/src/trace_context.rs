//! W3C Trace Context: reading, making and passing on `traceparent` (Trace Context, level 1).

use crate::random;

/// A `traceparent`: which trace a request belongs to and who called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace, never all zero.
    pub trace_id: [u8; 16],
    /// The caller's span, never all zero.
    pub span_id: [u8; 8],
    /// Flags; the lowest bit is `sampled`.
    pub flags: u8,
}

/// Length of `traceparent` as it is written.
pub const LENGTH: usize = 55;

const SAMPLED: u8 = 1;

impl TraceContext {
    /// Begins a trace.
    pub fn generate(sampled: bool) -> TraceContext {
        let mut trace_id = [0; 16];
        trace_id[..8].copy_from_slice(&random::next().to_be_bytes());
        // All zero would mean "no trace"; one bit is no loss.
        trace_id[8..].copy_from_slice(&(random::next() | 1).to_be_bytes());
        TraceContext {
            trace_id,
            span_id: new_span(),
            flags: u8::from(sampled) * SAMPLED,
        }
    }

    /// Reads a `traceparent`. `None` when it is to be ignored: a new trace begins then (section 3.2.2.5).
    pub fn parse(value: &[u8]) -> Option<TraceContext> {
        let (head, rest) = value.split_at_checked(LENGTH)?;
        let version = byte(&head[..2])?;
        // Version 0 ends here; a later one may go on behind a dash (section 3.2.4).
        let ends_well = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest[0] == b'-',
        };
        if !ends_well || [head[2], head[35], head[52]] != [b'-'; 3] {
            return None;
        }
        let mut context = TraceContext {
            trace_id: [0; 16],
            span_id: [0; 8],
            flags: byte(&head[53..55])?,
        };
        read(&head[3..35], &mut context.trace_id)?;
        read(&head[36..52], &mut context.span_id)?;
        if version > 0 {
            // Only what version 0 defines is understood, and passed on.
            context.flags &= SAMPLED;
        }
        (context.trace_id != [0; 16] && context.span_id != [0; 8]).then_some(context)
    }

    /// The same trace with a span of its own: what is sent upstream.
    pub fn child(&self) -> TraceContext {
        TraceContext {
            span_id: new_span(),
            ..*self
        }
    }

    /// Whether the caller records this trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// As `traceparent` is written.
    pub fn to_bytes(&self) -> [u8; LENGTH] {
        let mut text = [b'-'; LENGTH];
        random::write_hex(0, &mut text[..2]);
        for (position, byte) in self.trace_id.iter().enumerate() {
            random::write_hex(*byte, &mut text[3 + 2 * position..]);
        }
        for (position, byte) in self.span_id.iter().enumerate() {
            random::write_hex(*byte, &mut text[36 + 2 * position..]);
        }
        random::write_hex(self.flags, &mut text[53..]);
        text
    }
}

fn new_span() -> [u8; 8] {
    (random::next() | 1).to_be_bytes()
}

/// Two digits of lower-case hex: upper case is invalid (section 3.2.1).
fn byte(digits: &[u8]) -> Option<u8> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    Some(digit(*digits.first()?)? << 4 | digit(*digits.get(1)?)?)
}

fn read(digits: &[u8], out: &mut [u8]) -> Option<()> {
    for (pair, slot) in digits.chunks(2).zip(out) {
        *slot = byte(pair)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &[u8; LENGTH] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written_unchanged() {
        let context = TraceContext::parse(VALID).unwrap();
        assert!(context.is_sampled());
        assert_eq!(&context.to_bytes(), VALID);
        let child = context.child();
        assert_eq!((child.trace_id, child.flags), (context.trace_id, context.flags));
        assert_ne!(child.span_id, context.span_id);
    }

    #[test]
    fn what_is_malformed_is_ignored() {
        let invalid: [&[u8]; 8] = [
            b"",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            b"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            b"00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ];
        for value in invalid {
            assert_eq!(TraceContext::parse(value), None, "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = b"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-09-what-comes";
        let context = TraceContext::parse(later).unwrap();
        assert_eq!(&context.to_bytes(), VALID);
        assert_eq!(
            TraceContext::parse(&b"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.x"[..]),
            None
        );
    }

    #[test]
    fn a_new_trace_is_valid() {
        for sampled in [false, true] {
            let context = TraceContext::generate(sampled);
            assert_eq!(TraceContext::parse(&context.to_bytes()), Some(context));
            assert_eq!(context.is_sampled(), sampled);
        }
    }
}
