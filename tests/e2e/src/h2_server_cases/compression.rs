//! RFC 7541: header compression.

use super::*;

/// RFC 7541.
pub(super) fn compression() -> Vec<Case> {
    let bad = |name: &str, octets: &[u8]| case(name, Connection(COMPRESSION), [get_and(octets)]);
    let good = |name: &str, octets: &[u8]| case(name, Answered(1), [get_and(octets)]);
    let at_start = |name: &str, then, octets: &[u8]| {
        let head = [octets, &block(GET)[..]].concat();
        case(name, then, [raw_headers(END_HEADERS | END_STREAM, 1, &head)])
    };
    vec![
        bad("2.3.3 an index beyond both tables", &[0xc6]),
        bad("2.3.3 a literal's index beyond both tables", &[0x7f, 0x07, 0x01, b'a']),
        bad("4.2 a size update at the end", &[0x20]),
        bad(
            "5.1 an integer without end",
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ),
        bad("5.2 a string longer than the block", &[0x00, 0x01, b'a', 0x7e, b'b']),
        bad(
            "5.2 padding of more than 7 bits",
            &[0x00, 0x01, b'x', 0x84, 0x49, 0x50, 0x9f, 0xff],
        ),
        bad("5.2 padding of zeros", &[0x00, 0x01, b'x', 0x83, 0x49, 0x50, 0x90]),
        bad(
            "5.2 EOS in a string",
            &[0x00, 0x01, b'x', 0x87, 0x49, 0x50, 0x9f, 0xff, 0xff, 0xff, 0xff],
        ),
        bad("6.1 index 0", &[0x80]),
        at_start(
            "6.3 a size above the limit",
            Connection(COMPRESSION),
            &[0x3f, 0xe2, 0x1f],
        ),
        at_start("6.3 a size within the limit", Answered(1), &[0x3f, 0xe1, 0x1f]),
        at_start("4.2 two size updates", Answered(1), &[0x20, 0x3f, 0xe1, 0x1f]),
        case(
            "6.1 all of a request by index",
            Answered(1),
            [raw_headers(
                END_HEADERS | END_STREAM,
                1,
                &[0x82, 0x84, 0x86, 0x41, 0x04, b't', b'e', b's', b't'],
            )],
        ),
        good(
            "6.2.1 incremental indexing, indexed name",
            &[0x7a, 0x04, b't', b'e', b's', b't'],
        ),
        good(
            "6.2.1 incremental indexing, new name",
            &[0x40, 0x01, b'x', 0x04, b't', b'e', b's', b't'],
        ),
        good(
            "6.2.2 without indexing, indexed name",
            &[0x0f, 0x2b, 0x04, b't', b'e', b's', b't'],
        ),
        good(
            "6.2.2 without indexing, new name",
            &[0x00, 0x01, b'x', 0x04, b't', b'e', b's', b't'],
        ),
        good(
            "6.2.3 never indexed, indexed name",
            &[0x1f, 0x2b, 0x04, b't', b'e', b's', b't'],
        ),
        good(
            "6.2.3 never indexed, new name",
            &[0x10, 0x01, b'x', 0x04, b't', b'e', b's', b't'],
        ),
        good("5.2 Huffman code", &[0x00, 0x01, b'x', 0x83, 0x49, 0x50, 0x9f]),
        case(
            "2.3.2 an entry of the dynamic table",
            Answered(3),
            [
                get_and(&[0x40, 0x01, b'x', 0x01, b'y']),
                raw_headers(END_HEADERS | END_STREAM, 3, &[&block(GET)[..], &[0xbe]].concat()),
            ],
        ),
        case(
            "4.4 an entry larger than the table empties it",
            Connection(COMPRESSION),
            [
                get_and(&[&[0x40, 0x01, b'x', 0x7f, 0xa1, 0x1f][..], &[b'a'; 4128]].concat()),
                raw_headers(END_HEADERS | END_STREAM, 3, &[&block(GET)[..], &[0xbe]].concat()),
            ],
        ),
        case(
            "3.4 a preface in pieces is one",
            Answered(1),
            [headers(1, GET, true)[..4].to_vec(), headers(1, GET, true)[4..].to_vec()],
        ),
    ]
}
