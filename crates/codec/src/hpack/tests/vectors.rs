//! RFC 7541 appendix C.2 to C.6 (C.1 is with the integers).

use super::*;

/// Encoded block, decoded fields, size of the dynamic table afterwards.
type Step<'a> = (&'a str, &'a [(&'a str, &'a str)], usize);

fn run(max_size: usize, kind: Kind, steps: &[Step<'_>]) -> Decoder {
    let mut decoder = Decoder::new(max_size);
    for (n, &(encoded, fields, size)) in steps.iter().enumerate() {
        let (decoded, block) = decode(&mut decoder, &hex(encoded), kind).unwrap();
        assert_eq!(decoded, Decoded::Complete, "step {n}");
        let mut want = expected(fields);
        // A block lists its pseudo-headers in an order of its own.
        want.sort();
        let mut got = list(&block);
        got.sort();
        assert_eq!(got, want, "step {n}");
        assert_eq!(decoder.table.size(), size, "step {n}");
    }
    decoder
}

/// The dynamic table, newest first.
fn table(decoder: &Decoder) -> Vec<(String, String)> {
    (0..decoder.table.len())
        .map(|index| {
            let entry = decoder.table.entry(index).unwrap();
            let (name, value) = decoder.table.name_and_value(entry);
            let name = entry.known.map_or(name, |known| known.as_bytes());
            (
                String::from_utf8(name.to_vec()).unwrap(),
                String::from_utf8(value.to_vec()).unwrap(),
            )
        })
        .collect()
}

#[test]
fn c_2_1_literal_with_indexing() {
    let encoded = "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572";
    let decoder = run(
        4096,
        Kind::Trailers,
        &[(encoded, &[("custom-key", "custom-header")], 55)],
    );
    assert_eq!(table(&decoder), expected(&[("custom-key", "custom-header")]));
}

#[test]
fn c_2_2_literal_without_indexing() {
    let mut decoder = Decoder::new(4096);
    let (_, block) = decode(&mut decoder, &hex("040c 2f73 616d 706c 652f 7061 7468"), REQUEST).unwrap();
    assert_eq!(block.path(), Some(&b"/sample/path"[..]));
    assert_eq!(decoder.table.len(), 0);
}

#[test]
fn c_2_3_literal_never_indexed() {
    let mut decoder = Decoder::new(4096);
    let encoded = hex("1008 7061 7373 776f 7264 0673 6563 7265 74");
    let (_, block) = decode(&mut decoder, &encoded, Kind::Trailers).unwrap();
    let field = block.iter().next().unwrap();
    assert_eq!(
        (field.name, field.value, field.sensitive),
        (&b"password"[..], &b"secret"[..], true)
    );
    assert_eq!(decoder.table.len(), 0);
}

#[test]
fn c_2_4_indexed() {
    let (_, block) = decode(&mut Decoder::new(4096), &hex("82"), REQUEST).unwrap();
    assert_eq!(block.method(), Some(&b"GET"[..]));
}

const REQUESTS: [(&[(&str, &str)], usize); 3] = [
    (
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "www.example.com"),
        ],
        57,
    ),
    (
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "www.example.com"),
            ("cache-control", "no-cache"),
        ],
        110,
    ),
    (
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/index.html"),
            (":authority", "www.example.com"),
            ("custom-key", "custom-value"),
        ],
        164,
    ),
];

fn requests(encoded: [&str; 3]) {
    let steps: Vec<Step<'_>> = encoded
        .iter()
        .zip(REQUESTS)
        .map(|(encoded, (fields, size))| (*encoded, fields, size))
        .collect();
    let decoder = run(4096, REQUEST, &steps);
    let want = [
        ("custom-key", "custom-value"),
        ("cache-control", "no-cache"),
        (":authority", "www.example.com"),
    ];
    assert_eq!(table(&decoder), expected(&want));
}

#[test]
fn c_3_requests_without_huffman() {
    requests([
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ]);
}

#[test]
fn c_4_requests_with_huffman() {
    requests([
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ]);
}

#[test]
fn c_4_huffman_strings_are_what_the_encoder_writes() {
    for (text, code) in [
        ("www.example.com", "f1e3 c2e5 f23a 6ba0 ab90 f4ff"),
        ("no-cache", "a8eb 1064 9cbf"),
        ("custom-key", "25a8 49e9 5ba9 7d7f"),
        ("custom-value", "25a8 49e9 5bb8 e8b4 bf"),
    ] {
        let mut output = Vec::new();
        huffman::encode(text.as_bytes(), huffman::encoded_len(text.as_bytes()), &mut output);
        assert_eq!(output, hex(code), "{text}");
    }
}

const RESPONSES: [(&[(&str, &str)], usize); 3] = [
    (
        &[
            (":status", "302"),
            ("cache-control", "private"),
            ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("location", "https://www.example.com"),
        ],
        222,
    ),
    (
        &[
            (":status", "307"),
            ("cache-control", "private"),
            ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("location", "https://www.example.com"),
        ],
        222,
    ),
    (
        &[
            (":status", "200"),
            ("cache-control", "private"),
            ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
            ("location", "https://www.example.com"),
            ("content-encoding", "gzip"),
            ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
        ],
        215,
    ),
];

fn responses(encoded: [&str; 3]) {
    let steps: Vec<Step<'_>> = encoded
        .iter()
        .zip(RESPONSES)
        .map(|(encoded, (fields, size))| (*encoded, fields, size))
        .collect();
    let decoder = run(256, Kind::Response, &steps);
    let want = [
        ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
        ("content-encoding", "gzip"),
        ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
    ];
    assert_eq!(table(&decoder), expected(&want));
}

#[test]
fn c_5_responses_without_huffman() {
    responses([
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120
         474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738
         666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33
         3630 303b 2076 6572 7369 6f6e 3d31",
    ]);
}

#[test]
fn c_6_responses_with_huffman() {
    responses([
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718
         63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7
         b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ]);
}
