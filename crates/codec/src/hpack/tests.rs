use super::*;
use crate::headers::HeaderBlock;
use crate::headers::validate::{Kind, Malformed};
use crate::names::KnownName;
use proptest::prelude::*;

mod fuzz;
mod limits;
mod vectors;

const REQUEST: Kind = Kind::Request {
    extended_connect: false,
};
const AMPLE: Limits = Limits {
    list_size: 1 << 20,
    fields: 10_000,
};

/// Bytes from hexadecimal digits; white space doesn't count.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Pseudo-headers and fields as text, `:status` included.
fn list(block: &HeaderBlock) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut list: Vec<_> = block
        .pseudo_fields()
        .map(|(name, value, _, _)| (name.to_string(), text(value)))
        .collect();
    list.extend(block.status().map(|status| (":status".to_owned(), status.to_string())));
    list.extend(block.iter().map(|field| (text(field.name), text(field.value))));
    list
}

fn expected(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn request(fields: &[(&str, &str)]) -> HeaderBlock {
    let mut block = HeaderBlock::new();
    block.set_method(b"POST");
    block.set_scheme(b"http");
    block.set_path(b"/package.Service/Method");
    block.set_authority(b"service.example");
    for (name, value) in fields {
        block.append(*name, value.as_bytes());
    }
    block
}

fn decode(decoder: &mut Decoder, input: &[u8], kind: Kind) -> Result<(Decoded, HeaderBlock), DecodeError> {
    let mut block = HeaderBlock::new();
    decoder
        .decode(input, kind, AMPLE, &mut block)
        .map(|decoded| (decoded, block))
}

fn encode(encoder: &mut Encoder, block: &HeaderBlock) -> Vec<u8> {
    let mut output = Vec::new();
    encoder.encode(block, &mut output);
    output
}

#[test]
fn a_repeated_request_shrinks_to_one_byte_a_field() {
    let (mut encoder, mut decoder) = (Encoder::new(4096), Decoder::new(4096));
    let block = request(&[
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("x-team", "blue"),
    ]);
    let sizes: Vec<usize> = (0..3)
        .map(|_| {
            let encoded = encode(&mut encoder, &block);
            let (decoded, got) = decode(&mut decoder, &encoded, REQUEST).unwrap();
            assert_eq!((decoded, &got), (Decoded::Complete, &block));
            encoded.len()
        })
        .collect();
    assert_eq!(sizes[2], 7, "{sizes:?}");
}

#[test]
fn the_hash_a_decoder_hands_on_is_the_one_an_encoder_computes() {
    let block = request(&[("content-type", "application/grpc"), ("x-team", "blue")]);
    let (mut first, mut decoder, mut second) = (Encoder::new(4096), Decoder::new(4096), Encoder::new(4096));
    for round in 0..4 {
        let encoded = encode(&mut first, &block);
        let (_, got) = decode(&mut decoder, &encoded, REQUEST).unwrap();
        // Once through `got`, whose fields carry hashes, once through `block`, whose fields don't.
        let forwarded = encode(&mut second, if round % 2 == 0 { &got } else { &block });
        assert!(round < 2 || forwarded.len() == encoded.len(), "{round}: {forwarded:x?}");
    }
}

#[test]
fn secrets_are_sent_never_indexed_and_stay_so_when_forwarded() {
    let mut block = request(&[("authorization", "Bearer secret"), ("cookie", "id=1")]);
    block.append_sensitive("x-api-key", b"secret");
    let (mut encoder, mut decoder) = (Encoder::new(4096), Decoder::new(4096));
    for _ in 0..3 {
        let encoded = encode(&mut encoder, &block);
        let (_, got) = decode(&mut decoder, &encoded, REQUEST).unwrap();
        for name in ["authorization", "cookie", "x-api-key"] {
            assert!(
                got.iter()
                    .find(|field| field.name == name.as_bytes())
                    .unwrap()
                    .sensitive,
                "{name}"
            );
        }
        // Forwarded, the mark alone decides.
        let again = encode(&mut Encoder::new(4096), &got);
        let (_, got) = decode(&mut Decoder::new(4096), &again, REQUEST).unwrap();
        assert!(got.iter().find(|field| field.name == b"x-api-key").unwrap().sensitive);
    }
    // :authority is indexed at first sight, :path at second; no secret ever is.
    assert_eq!(encoder.table.len(), 2);
}

#[test]
fn what_is_new_in_every_request_evicts_nothing() {
    let mut encoder = Encoder::new(4096);
    let mut decoder = Decoder::new(4096);
    let mut sizes = Vec::new();
    for n in 0..500 {
        let id = format!("7b1c{n:032}");
        let block = request(&[("x-request-id", &id), ("traceparent", &id), ("x-unknown-unique", &id)]);
        let encoded = encode(&mut encoder, &block);
        assert_eq!(decode(&mut decoder, &encoded, REQUEST).unwrap().1, block);
        sizes.push(encoded.len());
    }
    assert!(encoder.table.len() <= 4, "{} entries", encoder.table.len());
    assert!(sizes[499] < 130, "{}", sizes[499]);
}

#[test]
fn an_idle_connections_tables_take_no_memory() {
    assert_eq!(Encoder::new(4096).capacity(), 0);
    assert_eq!(Decoder::new(4096).capacity(), 0);
    assert!(size_of::<Encoder>() + size_of::<Decoder>() <= 320);
}

#[test]
fn a_smaller_limit_than_the_default_is_announced_in_the_first_block() {
    let mut encoder = Encoder::new(100);
    let encoded = encode(&mut encoder, &request(&[]));
    assert_eq!(encoded[..2], hex("3f45"));
    let mut decoder = Decoder::new(4096);
    assert_eq!(decode(&mut decoder, &encoded, REQUEST).unwrap().0, Decoded::Complete);
    assert!(!encode(&mut encoder, &request(&[])).starts_with(&[0x3f]));
}

#[test]
fn the_lowest_size_between_two_blocks_is_announced_too() {
    let mut encoder = Encoder::new(4096);
    let mut decoder = Decoder::new(4096);
    let block = request(&[("user-agent", "x")]);
    decode(&mut decoder, &encode(&mut encoder, &block), REQUEST).unwrap();
    encoder.set_max_size(0);
    encoder.set_max_size(2000);
    let encoded = encode(&mut encoder, &block);
    assert_eq!(encoded[..4], hex("20 3fb10f"));
    assert_eq!(decode(&mut decoder, &encoded, REQUEST).unwrap().1, block);
    // Changed and changed back without a block between: the table was emptied all the same.
    encoder.set_max_size(0);
    encoder.set_max_size(2000);
    assert_eq!(encode(&mut encoder, &block)[..4], hex("20 3fb10f"));
}

#[test]
fn a_large_setting_is_cut_to_our_limit() {
    let mut encoder = Encoder::new(8192);
    encoder.set_max_size(1 << 30);
    assert_eq!(encode(&mut encoder, &request(&[]))[..3], hex("3fe13f"));
}

#[test]
fn statuses_outside_the_static_table_survive() {
    let (mut encoder, mut decoder) = (Encoder::new(4096), Decoder::new(4096));
    for status in [100, 103, 200, 204, 206, 304, 400, 404, 429, 500, 503, 599, 999, 503] {
        let mut block = HeaderBlock::new();
        block.set_status(status);
        let encoded = encode(&mut encoder, &block);
        assert_eq!(
            decode(&mut decoder, &encoded, Kind::Response).unwrap(),
            (Decoded::Complete, block)
        );
    }
}

fn field() -> impl Strategy<Value = (String, String, bool)> {
    let name = prop_oneof![
        "[a-z]{1,3}",
        Just("content-type".to_owned()),
        Just("grpc-timeout".to_owned()),
        Just("cookie".to_owned()),
        "[a-z0-9_.-]{1,40}",
    ];
    let value = prop_oneof!["", "[a-c]{1,2}", "[ -~]{0,200}"];
    (name, value, proptest::bool::weighted(0.1)).prop_filter("valid over HTTP/2", |(name, value, _)| {
        let known = KnownName::from_bytes(name.as_bytes());
        value.trim() == value
            && !matches!(
                known,
                Some(KnownName::Te | KnownName::Host | KnownName::Upgrade | KnownName::ContentLength)
            )
    })
}

proptest! {
    #[test]
    fn blocks_survive_whatever_came_before_and_whatever_the_table_size(
        blocks in proptest::collection::vec(proptest::collection::vec(field(), 0..20), 1..12),
        sizes in proptest::collection::vec(proptest::option::of(0..6000usize), 12),
    ) {
        let (mut encoder, mut decoder) = (Encoder::new(8192), Decoder::new(8192));
        // The decoder's limit is what its SETTINGS say; the peer's encoder starts from 4096.
        decoder.decode(&[0x3f, 0xe1, 0x1f], Kind::Trailers, AMPLE, &mut HeaderBlock::new()).unwrap();
        for (fields, size) in blocks.iter().zip(sizes) {
            if let Some(size) = size {
                encoder.set_max_size(size);
                decoder.set_max_size(size);
            }
            let mut block = request(&[]);
            for (name, value, sensitive) in fields {
                if *sensitive {
                    block.append_sensitive(name, value.as_bytes());
                } else {
                    block.append(name, value.as_bytes());
                }
            }
            let encoded = encode(&mut encoder, &block);
            let (decoded, got) = decode(&mut decoder, &encoded, REQUEST).unwrap();
            prop_assert_eq!(decoded, Decoded::Complete);
            prop_assert_eq!(list(&got), list(&block));
        }
    }
}
