//! What a decoder refuses, and that what it merely finds too large or malformed leaves the state in step.

use super::*;

fn error(input: &str) -> DecodeError {
    decode(&mut Decoder::new(4096), &hex(input), REQUEST).unwrap_err()
}

fn literal(name: &[u8], value: &[u8], pattern: u8) -> Vec<u8> {
    let mut output = vec![pattern];
    integer::encode(name.len(), 7, 0, &mut output);
    output.extend_from_slice(name);
    integer::encode(value.len(), 7, 0, &mut output);
    output.extend_from_slice(value);
    output
}

/// A valid request head in indices of the static table.
const GET: [u8; 4] = [0x82, 0x84, 0x86, 0x01];

fn get_with(rest: &[u8]) -> Vec<u8> {
    [&[0x82, 0x84, 0x86][..], rest].concat()
}

fn malformed(rest: &[u8]) -> Malformed {
    match decode(&mut Decoder::new(4096), &get_with(rest), REQUEST).unwrap().0 {
        Decoded::Malformed(malformed) => malformed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn indices_outside_both_tables_are_errors() {
    assert_eq!(error("80"), DecodeError::InvalidIndex);
    assert_eq!(error("be"), DecodeError::InvalidIndex);
    assert_eq!(error("ff80808000"), DecodeError::InvalidIndex);
    assert_eq!(error("7f00 0161"), DecodeError::InvalidIndex);
    assert_eq!(error("0f3f 0161"), DecodeError::InvalidIndex);
}

#[test]
fn every_cut_of_a_block_is_truncated_or_a_shorter_block() {
    let whole = get_with(&hex("4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf"));
    for length in 4..whole.len() {
        assert_eq!(
            decode(&mut Decoder::new(4096), &whole[..length], REQUEST),
            Err(DecodeError::Truncated),
            "{length}"
        );
    }
}

#[test]
fn a_string_longer_than_the_block_is_truncated_not_allocated() {
    assert_eq!(error("407f ffff 7f"), DecodeError::Truncated);
    assert_eq!(error("4001 61ff ffff 7f"), DecodeError::Truncated);
}

#[test]
fn section_5_1_integer_overflow_is_an_error() {
    assert_eq!(error("ff ffff ffff 0f"), DecodeError::IntegerOverflow);
    assert_eq!(error("3f ffff ffff ff0f"), DecodeError::IntegerOverflow);
    assert_eq!(error("ff 8080 8080 8080 8080 00"), DecodeError::IntegerOverflow);
}

#[test]
fn section_5_2_bad_huffman_is_an_error_in_names_and_values() {
    assert_eq!(error("4081 ff01 61"), DecodeError::InvalidHuffman);
    assert_eq!(error("4001 6184 ffff ffff"), DecodeError::InvalidHuffman);
}

#[test]
fn section_4_2_size_updates_come_first_and_within_the_limit() {
    let mut decoder = Decoder::new(4096);
    decode(&mut decoder, &hex("20 3fe11f 82"), REQUEST).unwrap();
    assert_eq!(error("3fe21f"), DecodeError::InvalidSizeUpdate);
    assert_eq!(error("8220"), DecodeError::InvalidSizeUpdate);
}

#[test]
fn section_4_2_a_reduced_limit_must_be_acknowledged_by_the_next_block() {
    let mut decoder = Decoder::new(4096);
    decoder.set_max_size(1000);
    assert_eq!(
        decode(&mut decoder, &GET[..3], REQUEST),
        Err(DecodeError::InvalidSizeUpdate)
    );
    let mut decoder = Decoder::new(4096);
    decoder.set_max_size(1000);
    decode(&mut decoder, &hex("3fc907 82"), REQUEST).unwrap();
    decode(&mut decoder, &hex("82"), REQUEST).unwrap();
    // A raised limit asks for nothing.
    decoder.set_max_size(2000);
    decode(&mut decoder, &hex("82"), REQUEST).unwrap();
}

#[test]
fn a_block_over_the_limits_leaves_the_state_in_step() {
    for limits in [
        Limits {
            list_size: 200,
            fields: 100,
        },
        Limits {
            list_size: 1 << 20,
            fields: 4,
        },
    ] {
        let mut decoder = Decoder::new(4096);
        let mut block = HeaderBlock::new();
        let mut input = get_with(&[]);
        for n in 0..10 {
            input.extend(literal(b"x-field", format!("value-{n}").as_bytes(), 0x40));
        }
        assert_eq!(
            decoder.decode(&input, REQUEST, limits, &mut block),
            Ok(Decoded::TooLarge)
        );
        assert!(block.list_size() <= 200 || block.len() <= 4);
        // All ten were inserted: the oldest has index 62 + 9.
        let (decoded, block) = decode(&mut decoder, &get_with(&[0x80 | 71]), REQUEST).unwrap();
        assert_eq!(decoded, Decoded::Complete);
        assert_eq!(block.get("x-field"), Some(&b"value-0"[..]));
    }
}

#[test]
fn the_list_size_counts_as_section_6_5_2_says() {
    let input = get_with(&literal(b"x", b"y", 0));
    let size = 7 + 3 + 5 + 1 + 7 + 4 + 1 + 1 + 4 * 32;
    let mut block = HeaderBlock::new();
    let mut decode = |list_size| {
        Decoder::new(4096)
            .decode(&input, REQUEST, Limits { list_size, fields: 100 }, &mut block)
            .unwrap()
    };
    assert_eq!(decode(size), Decoded::Complete);
    assert_eq!(decode(size - 1), Decoded::TooLarge);
    decode(size);
    assert_eq!(block.list_size(), size as usize);
}

#[test]
fn a_bomb_of_references_is_bounded_by_the_list_size() {
    let mut decoder = Decoder::new(4096);
    let mut input = get_with(&literal(b"x", &[b'y'; 4000], 0x40));
    input.extend(std::iter::repeat_n(0x80 | 62, 16_000));
    let mut block = HeaderBlock::new();
    let limits = Limits {
        list_size: 60 * 1024,
        fields: u32::MAX,
    };
    assert_eq!(
        decoder.decode(&input, REQUEST, limits, &mut block),
        Ok(Decoded::TooLarge)
    );
    assert!(block.capacity() < 256 * 1024, "{}", block.capacity());
}

/// An octet that stands for a large entry costs no copy of it once the block is refused.
#[test]
fn a_refused_block_copies_nothing_out_of_the_table() {
    let limits = Limits {
        list_size: 60 * 1024,
        fields: 100,
    };
    let mut decoder = Decoder::new(4096);
    let mut block = HeaderBlock::new();
    let large = get_with(&literal(&[b'n'; 1_800], &[b'v'; 1_800], 0x40));
    assert_eq!(
        decoder.decode(&large, REQUEST, limits, &mut block),
        Ok(Decoded::Complete)
    );
    let references = [
        // The whole entry, again and again.
        vec![0x80 | 62; 1_000],
        // Its name, with values of one octet that are not indexed.
        [0x0f, 62 - 15, 1, b'a'].repeat(1_000),
    ];
    for references in references {
        let mut block = HeaderBlock::new();
        let refused = get_with(&[literal(b"X", b"", 0), references].concat());
        let decoded = decoder.decode(&refused, REQUEST, limits, &mut block);
        assert!(matches!(decoded, Ok(Decoded::Malformed(_))), "{decoded:?}");
        let capacity = block.bytes.capacity();
        assert!(capacity < 1_800, "the buffer has grown to {capacity} octets");
    }
}

#[test]
fn a_malformed_block_leaves_the_state_in_step_and_stays_malformed_by_index() {
    let mut decoder = Decoder::new(4096);
    let input = get_with(&[literal(b"x-bad", b"a\0b", 0x40), literal(b"x-good", b"1", 0x40)].concat());
    assert_eq!(
        decode(&mut decoder, &input, REQUEST).unwrap().0,
        Decoded::Malformed(Malformed::Value)
    );
    let (decoded, block) = decode(&mut decoder, &get_with(&[0x80 | 62]), REQUEST).unwrap();
    assert_eq!((decoded, block.get("x-good")), (Decoded::Complete, Some(&b"1"[..])));
    let (decoded, _) = decode(&mut decoder, &get_with(&[0x80 | 63]), REQUEST).unwrap();
    assert_eq!(decoded, Decoded::Malformed(Malformed::Value));
    // The bad value's name is good, so another value with it is, too.
    let (decoded, _) = decode(&mut decoder, &get_with(&[0x0f, 63 - 15, 1, b'v']), REQUEST).unwrap();
    assert_eq!(decoded, Decoded::Complete);
}

#[test]
fn rfc_9113_section_8_2_1_names_and_values() {
    assert_eq!(malformed(&literal(b"X-Upper", b"1", 0)), Malformed::Name);
    assert_eq!(malformed(&literal(b"", b"1", 0)), Malformed::Name);
    assert_eq!(malformed(&literal(b"a b", b"1", 0)), Malformed::Name);
    assert_eq!(malformed(&literal(b"a:b", b"1", 0)), Malformed::Name);
    assert_eq!(malformed(&literal(b"a\x80", b"1", 0)), Malformed::Name);
    for value in [
        &b"a\0"[..],
        b"a\r",
        b"a\nb",
        b"\x7f",
        b" a",
        b"a ",
        b"\ta",
        b"a\t",
        b" ",
    ] {
        assert_eq!(malformed(&literal(b"x", value, 0)), Malformed::Value, "{value:?}");
    }
    for value in [&b""[..], b"a\tb", b"a b", b"\xff\x80"] {
        let (decoded, _) = decode(&mut Decoder::new(4096), &get_with(&literal(b"x", value, 0)), REQUEST).unwrap();
        assert_eq!(decoded, Decoded::Complete, "{value:?}");
    }
}

#[test]
fn rfc_9113_section_8_3_pseudo_headers() {
    assert_eq!(malformed(&literal(b":unknown", b"1", 0)), Malformed::UnknownPseudo);
    assert_eq!(malformed(&[0x88]), Malformed::UnknownPseudo);
    assert_eq!(malformed(&[0x82]), Malformed::DuplicatePseudo);
    assert_eq!(
        malformed(&[literal(b"x", b"1", 0), literal(b":authority", b"a", 0)].concat()),
        Malformed::LatePseudo
    );
    assert_eq!(malformed(&literal(b":protocol", b"websocket", 0)), Malformed::Protocol);
    for missing in 0..3 {
        let mut input = GET[..3].to_vec();
        input.remove(missing);
        let (decoded, _) = decode(&mut Decoder::new(4096), &input, REQUEST).unwrap();
        assert_eq!(decoded, Decoded::Malformed(Malformed::MissingPseudo));
    }
    let response = |input: &[u8]| decode(&mut Decoder::new(4096), input, Kind::Response).unwrap().0;
    assert_eq!(response(&[0x88]), Decoded::Complete);
    assert_eq!(response(&[]), Decoded::Malformed(Malformed::MissingPseudo));
    assert_eq!(response(&[0x88, 0x88]), Decoded::Malformed(Malformed::DuplicatePseudo));
    assert_eq!(response(&[0x82]), Decoded::Malformed(Malformed::UnknownPseudo));
    for status in [&b"99"[..], b"2000", b"abc", b"099", b"", b"101", b"+20"] {
        assert_eq!(
            response(&literal(b":status", status, 0)),
            Decoded::Malformed(Malformed::Status),
            "{status:?}"
        );
    }
    let trailers = decode(&mut Decoder::new(4096), &[0x88], Kind::Trailers).unwrap().0;
    assert_eq!(trailers, Decoded::Malformed(Malformed::PseudoInTrailers));
}
