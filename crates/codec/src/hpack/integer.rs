//! Integers with a prefix of less than a byte (RFC 7541 section 5.1).

use super::DecodeError;

/// The largest value accepted: nothing in a header block of a connection comes near it.
const MAX: u32 = u32::MAX >> 4;

/// Decodes an integer whose prefix is the low `prefix` bits of the first byte of `input`, and moves `input` behind it.
#[inline]
pub(super) fn decode(input: &mut &[u8], prefix: u32) -> Result<u32, DecodeError> {
    let (&first, rest) = input.split_first().ok_or(DecodeError::Truncated)?;
    *input = rest;
    let mask = (1u32 << prefix) - 1;
    let value = u32::from(first) & mask;
    if value < mask {
        Ok(value)
    } else {
        continued(input, value)
    }
}

fn continued(input: &mut &[u8], mut value: u32) -> Result<u32, DecodeError> {
    for shift in [0, 7, 14, 21] {
        let (&byte, rest) = input.split_first().ok_or(DecodeError::Truncated)?;
        *input = rest;
        value += u32::from(byte & 0x7f) << shift;
        if value > MAX {
            return Err(DecodeError::IntegerOverflow);
        }
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    // A fifth continuation byte: too large, or zeros without an end.
    Err(DecodeError::IntegerOverflow)
}

/// Appends `value` with a prefix of `prefix` bits; `pattern` is the rest of the first byte.
#[inline]
pub(super) fn encode(value: usize, prefix: u32, pattern: u8, output: &mut Vec<u8>) {
    let mask = (1usize << prefix) - 1;
    if value < mask {
        output.push(pattern | value as u8);
        return;
    }
    output.push(pattern | mask as u8);
    let mut value = value - mask;
    while value >= 0x80 {
        output.push(value as u8 | 0x80);
        value >>= 7;
    }
    output.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(mut input: &[u8], prefix: u32) -> Result<(u32, usize), DecodeError> {
        let before = input.len();
        decode(&mut input, prefix).map(|value| (value, before - input.len()))
    }

    #[test]
    fn examples_of_appendix_c_1() {
        // C.1.1, C.1.2, C.1.3.
        for (value, prefix, bytes) in [
            (10, 5, &[0x0a][..]),
            (1337, 5, &[0x1f, 0x9a, 0x0a]),
            (42, 8, &[0x2a]),
            (31, 5, &[0x1f, 0]),
        ] {
            let mut output = Vec::new();
            encode(value, prefix, 0, &mut output);
            assert_eq!(output, bytes);
            assert_eq!(decoded(bytes, prefix), Ok((value as u32, bytes.len())));
        }
    }

    #[test]
    fn bits_above_the_prefix_do_not_count() {
        assert_eq!(decoded(&[0xea], 5), Ok((10, 1)));
        let mut output = Vec::new();
        encode(10, 5, 0xe0, &mut output);
        assert_eq!(output, [0xea]);
    }

    #[test]
    fn every_width_survives() {
        for prefix in 1..=8 {
            for value in (0..300).chain([1 << 14, (1 << 21) + 5, 1 << 27]) {
                let mut output = Vec::new();
                encode(value, prefix, 0, &mut output);
                assert_eq!(
                    decoded(&output, prefix),
                    Ok((value as u32, output.len())),
                    "{value} in {prefix}"
                );
            }
        }
    }

    #[test]
    fn a_cut_integer_is_truncated() {
        assert_eq!(decoded(&[], 5), Err(DecodeError::Truncated));
        assert_eq!(decoded(&[0x1f], 5), Err(DecodeError::Truncated));
        assert_eq!(decoded(&[0x1f, 0x80], 5), Err(DecodeError::Truncated));
    }

    #[test]
    fn integers_without_end_or_beyond_the_limit_are_refused() {
        assert_eq!(
            decoded(&[0x1f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00], 5),
            Err(DecodeError::IntegerOverflow)
        );
        assert_eq!(
            decoded(&[0xff, 0xff, 0xff, 0xff, 0xff, 0x0f], 8),
            Err(DecodeError::IntegerOverflow)
        );
        assert_eq!(
            decoded(&[0xff, 0xff, 0xff, 0xff, 0x7f], 8),
            Err(DecodeError::IntegerOverflow)
        );
        // Four bytes that say little, as a padded encoder may write them, are fine.
        assert_eq!(decoded(&[0x1f, 0x80, 0x80, 0x80, 0x00], 5), Ok((31, 5)));
    }
}
