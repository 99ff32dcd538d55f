//! The static Huffman code (RFC 7541 section 5.2 and appendix B).
//!
//! The code is canonical: within one length codes rise with the symbol, and from one length to the next they go on
//! where the shorter ones ended. So the lengths are the whole code; everything else is computed from them when
//! compiling.

use super::DecodeError;

/// Code lengths in bits of the 256 octets and of EOS.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
];

const EOS: u16 = 256;
const MAX_LENGTH: usize = 30;

/// The code of one octet: bits in the low `length` bits of `code`.
#[derive(Clone, Copy)]
struct Code {
    code: u32,
    length: u32,
}

/// What one code length holds: codes `first..first + count` (right-aligned) are the symbols
/// `SORTED[offset..offset + count]`.
#[derive(Clone, Copy)]
struct Group {
    first: u32,
    count: u32,
    offset: u32,
}

/// Everything derived from [`LENGTHS`].
struct Tables {
    codes: [Code; 257],
    groups: [Group; MAX_LENGTH + 1],
    sorted: [u16; 257],
}

const fn derive() -> Tables {
    let mut tables = Tables {
        codes: [Code { code: 0, length: 0 }; 257],
        groups: [Group {
            first: 0,
            count: 0,
            offset: 0,
        }; MAX_LENGTH + 1],
        sorted: [0; 257],
    };
    let mut code = 0u32;
    let mut offset = 0;
    let mut length = 1;
    while length <= MAX_LENGTH {
        code <<= 1;
        tables.groups[length].first = code;
        tables.groups[length].offset = offset as u32;
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == length {
                tables.codes[symbol] = Code {
                    code,
                    length: length as u32,
                };
                tables.groups[length].count += 1;
                tables.sorted[offset] = symbol as u16;
                offset += 1;
                code += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    tables
}

static TABLES: Tables = derive();

/// Bits looked at in one step of the decoder: 13 hold two of the common symbols. The tables take 24 KiB, of which text
/// touches a small part.
const STEP: usize = 13;

/// What one step takes, by the next [`STEP`] bits.
struct Steps {
    /// Bits 0..6 the length of all symbols of the step, 6..8 their number: 1 or 2. The length lies where a shift takes
    /// it from without more ado, for looking up, shifting and looking up again is what decoding waits for. 0 where the
    /// first code is longer than [`STEP`]: such a step goes nowhere, and so do those after it, which lets the decoder
    /// look only after several.
    lengths: [u8; 1 << STEP],
    /// The first symbol in the low byte, the second above it.
    symbols: [u16; 1 << STEP],
}

static STEPS: Steps = steps();

const _: () = assert!(4 * STEP <= 56, "four steps between two refills");

const fn steps() -> Steps {
    let tables = derive();
    let mut steps = Steps {
        lengths: [0; 1 << STEP],
        symbols: [0; 1 << STEP],
    };
    let mut first = 0;
    while first < 256 {
        let Code { code, length } = tables.codes[first];
        if length as usize <= STEP {
            let room = STEP - length as usize;
            let base = (code as usize) << room;
            // Alone, wherever nothing else fits; overwritten below where a second symbol does.
            let mut i = base;
            while i < base + (1 << room) {
                steps.lengths[i] = length as u8 | 1 << 6;
                steps.symbols[i] = first as u16;
                i += 1;
            }
            let mut second = 0;
            while second < 256 {
                let next = tables.codes[second];
                if next.length as usize <= room {
                    let rest = room - next.length as usize;
                    let start = base + ((next.code as usize) << rest);
                    let mut i = start;
                    while i < start + (1 << rest) {
                        steps.lengths[i] = (length + next.length) as u8 | 2 << 6;
                        steps.symbols[i] = (second as u16) << 8 | first as u16;
                        i += 1;
                    }
                }
                second += 1;
            }
        }
        first += 1;
    }
    steps
}

/// Appends the decoded form of `input` to `output`.
///
/// Fails on padding of eight bits or more, padding that is not a prefix of EOS, and on EOS itself.
pub(crate) fn decode(input: &[u8], output: &mut Vec<u8>) -> Result<(), DecodeError> {
    let start = output.len();
    // No code is shorter than five bits, and symbols are written eight bytes at a time.
    output.resize(start + input.len() * 8 / 5 + 8, 0);
    match decode_into(input, &mut output[start..]) {
        Some(written) => {
            output.truncate(start + written);
            Ok(())
        }
        None => {
            output.truncate(start);
            Err(DecodeError::InvalidHuffman)
        }
    }
}

/// Four steps: the symbols, first one lowest; in bits 0..6 the bits they took, above that their number; and whether the
/// last step went nowhere.
#[inline(always)]
fn four_steps(window: &mut u64) -> (u64, u32, bool) {
    let mut symbols = 0u64;
    let mut taken = 0u32;
    let mut last = 0;
    for _ in 0..4 {
        let next = (*window >> (64 - STEP)) as usize;
        last = u32::from(STEPS.lengths[next]);
        symbols |= u64::from(STEPS.symbols[next]).wrapping_shl(taken >> 6 << 3);
        // By the low six bits.
        *window = window.wrapping_shl(last);
        taken += last;
    }
    (symbols, taken, last == 0)
}

fn decode_into(input: &[u8], output: &mut [u8]) -> Option<usize> {
    let mut rest = input;
    let mut written = 0;
    // The next bits, left-aligned; `bits` of them count. What lies below is the input that follows, too.
    let mut window = 0u64;
    let mut bits = 0u32;
    while let Some(word) = rest.first_chunk::<8>() {
        window |= u64::from_be_bytes(*word) >> bits;
        let more = (63 - bits) >> 3;
        rest = &rest[more as usize..];
        bits += more * 8;
        // At least 56 bits: four steps need no check.
        let (symbols, taken, is_stuck) = four_steps(&mut window);
        *output.get_mut(written..)?.first_chunk_mut::<8>()? = symbols.to_le_bytes();
        written += (taken >> 6) as usize;
        bits -= taken & 0x3f;
        // Fewer bits than a long code may have can be left: then first more have to come.
        if is_stuck && bits >= MAX_LENGTH as u32 {
            let (symbol, length) = long(window)?;
            *output.get_mut(written)? = symbol;
            written += 1;
            window <<= length;
            bits -= length;
        }
    }
    // Fewer than eight bytes are left outside of the window: take what fits, and let ones follow the last bit, as if
    // padding went on for ever.
    let mut outside = rest.len() as u32 * 8;
    let mut word = u64::MAX;
    for &byte in rest.iter().rev() {
        word = word >> 8 | u64::from(byte) << 56;
    }
    loop {
        // All bits below `bits` are replaced: they may be zeros that were shifted in.
        if bits < 64 {
            window = window & !(u64::MAX >> bits) | word >> bits;
            let more = (64 - bits).min(outside);
            word = if more == 64 { u64::MAX } else { !(!word << more) };
            bits += more;
            outside -= more;
        }
        let next = (window >> (64 - STEP)) as usize;
        let (symbols, count, length) = match u32::from(STEPS.lengths[next]) {
            0 if bits < 8 && window == u64::MAX => return Some(written),
            0 => {
                let (symbol, length) = long(window)?;
                (u16::from(symbol), 1, length)
            }
            step => (STEPS.symbols[next], step >> 6, step & 0x3f),
        };
        if length <= bits {
            *output.get_mut(written..)?.first_chunk_mut::<2>()? = symbols.to_le_bytes();
            written += count as usize;
            window <<= length;
            bits -= length;
            continue;
        }
        // Not all of it is there: perhaps the first of two symbols, else this is the padding.
        let first = TABLES.codes[usize::from(symbols & 0xff)].length;
        if count == 2 && first <= bits {
            *output.get_mut(written)? = symbols as u8;
            written += 1;
            window <<= first;
            bits -= first;
            continue;
        }
        let is_padding = bits < 8 && window >> 56 == 0xff;
        return (bits == 0 || is_padding).then_some(written);
    }
}

/// A symbol of more than [`STEP`] bits at the left of `window`; `None` for EOS.
#[cold]
fn long(window: u64) -> Option<(u8, u32)> {
    for length in STEP + 1..=MAX_LENGTH {
        let group = &TABLES.groups[length];
        let code = (window >> (64 - length)) as u32;
        if let Some(index) = code.checked_sub(group.first)
            && index < group.count
        {
            let symbol = TABLES.sorted[(group.offset + index) as usize];
            return (symbol != EOS).then_some((symbol as u8, length as u32));
        }
    }
    None
}

/// How many bytes [`encode`] appends for `input`.
pub(crate) fn encoded_len(input: &[u8]) -> usize {
    let bits: usize = input.iter().map(|&byte| usize::from(LENGTHS[byte as usize])).sum();
    bits.div_ceil(8)
}

/// Appends the Huffman code of `input`, of which the length is known from [`encoded_len`], padded with ones.
pub(crate) fn encode(input: &[u8], length: usize, output: &mut Vec<u8>) {
    let start = output.len();
    output.resize(start + length, 0);
    let (words, tail) = output[start..].as_chunks_mut::<4>();
    let mut words = words.iter_mut();
    let mut window = 0u64;
    let mut bits = 0;
    for &byte in input {
        let Code { code, length } = TABLES.codes[byte as usize];
        window = window << length | u64::from(code);
        bits += length;
        // At most 31 bits stay and a code has at most 30: the window never overflows.
        if bits >= 32 {
            bits -= 32;
            if let Some(word) = words.next() {
                *word = ((window >> bits) as u32).to_be_bytes();
            }
        }
    }
    if bits > 0 {
        let last = ((window << (32 - bits)) as u32 | (u32::MAX >> bits)).to_be_bytes();
        match words.next() {
            // 25 to 31 bits: the last word is a whole one.
            Some(word) => *word = last,
            None => tail.copy_from_slice(&last[..tail.len()]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(input: &[u8]) -> Vec<u8> {
        let mut output = Vec::new();
        encode(input, encoded_len(input), &mut output);
        output
    }

    fn decoded(input: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let mut output = b"before".to_vec();
        let result = decode(input, &mut output);
        assert_eq!(&output[..6], b"before");
        result.map(|()| output.split_off(6))
    }

    /// One symbol at a time, straight from the definition.
    fn decoded_slowly(input: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let mut output = Vec::new();
        let (mut code, mut length) = (0u32, 0);
        for bit in input
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        {
            code = code << 1 | u32::from(bit);
            length += 1;
            let symbol = (0..257).find(|&s| TABLES.codes[s].length == length && TABLES.codes[s].code == code);
            match symbol {
                Some(256) => return Err(DecodeError::InvalidHuffman),
                Some(symbol) => {
                    output.push(symbol as u8);
                    (code, length) = (0, 0);
                }
                None if length > 30 => return Err(DecodeError::InvalidHuffman),
                None => {}
            }
        }
        let is_padding = length < 8 && code == (1 << length) - 1;
        if is_padding {
            Ok(output)
        } else {
            Err(DecodeError::InvalidHuffman)
        }
    }

    #[test]
    fn codes_are_those_of_appendix_b() {
        let code = |symbol: usize| (TABLES.codes[symbol].code, TABLES.codes[symbol].length);
        assert_eq!(code(0), (0x1ff8, 13));
        assert_eq!(code(1), (0x007f_ffd8, 23));
        assert_eq!(code(10), (0x3fff_fffc, 30));
        assert_eq!(code(b' ' as usize), (0x14, 6));
        assert_eq!(code(b'0' as usize), (0x0, 5));
        assert_eq!(code(b'Z' as usize), (0xfd, 8));
        assert_eq!(code(b'\\' as usize), (0x7fff0, 19));
        assert_eq!(code(b'z' as usize), (0x7b, 7));
        assert_eq!(code(255), (0x03ff_ffee, 26));
        assert_eq!(code(256), (0x3fff_ffff, 30));
    }

    #[test]
    fn the_code_is_complete_and_free_of_prefixes() {
        let sum: u64 = LENGTHS
            .iter()
            .map(|&length| 1u64 << (MAX_LENGTH - usize::from(length)))
            .sum();
        assert_eq!(sum, 1 << MAX_LENGTH);
    }

    #[test]
    fn every_symbol_survives_both_ways_at_every_bit_offset() {
        for symbol in 0..=255u8 {
            for before in 0..8 {
                for after in 0..8 {
                    // '0' takes five bits, so eight of them pass through all offsets.
                    let text = [vec![b'0'; before], vec![symbol; 3], vec![b'a'; after]].concat();
                    assert_eq!(decoded(&encoded(&text)).unwrap(), text);
                }
            }
        }
    }

    #[test]
    fn padding_of_eight_bits_or_not_of_ones_is_refused() {
        assert_eq!(decoded(b""), Ok(vec![]));
        // 'a' is 00011: padded with 111, with 110, and with a whole byte more.
        assert_eq!(decoded(&[0b0001_1111]), Ok(b"a".to_vec()));
        assert_eq!(decoded(&[0b0001_1110]), Err(DecodeError::InvalidHuffman));
        assert_eq!(decoded(&[0b0001_1111, 0xff]), Err(DecodeError::InvalidHuffman));
        assert_eq!(decoded(&[0xff]), Err(DecodeError::InvalidHuffman));
        assert_eq!(decoded(&[0xff; 3]), Err(DecodeError::InvalidHuffman));
    }

    #[test]
    fn eos_is_refused_wherever_it_stands() {
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), Err(DecodeError::InvalidHuffman));
        assert_eq!(
            decoded(&[0x1f, 0xff, 0xff, 0xff, 0xff]),
            Err(DecodeError::InvalidHuffman)
        );
        assert_eq!(decoded(&[0xff; 40]), Err(DecodeError::InvalidHuffman));
        let mut long = encoded(&[b'a'; 64]);
        long.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x1f]);
        assert_eq!(decoded(&long), Err(DecodeError::InvalidHuffman));
    }

    proptest! {
        #[test]
        fn any_bytes_survive(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decoded(&encoded(&text)).unwrap(), text);
        }

        #[test]
        fn any_input_decodes_as_the_definition_says(input in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(decoded(&input), decoded_slowly(&input));
        }

        #[test]
        fn damaged_text_decodes_as_the_definition_says(
            text in "[a-z0-9/:. -]{0,60}", index in any::<prop::sample::Index>(), flip in 0..8u8
        ) {
            let mut input = encoded(text.as_bytes());
            if !input.is_empty() {
                let index = index.index(input.len());
                input[index] ^= 1 << flip;
            }
            prop_assert_eq!(decoded(&input), decoded_slowly(&input));
        }
    }
}
