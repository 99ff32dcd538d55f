//! HPACK against an implementation in another language: what we encode Python's `hpack` decodes, and the reverse, over
//! one connection's tables.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use codec::headers::HeaderBlock;
use codec::headers::validate::Kind;
use codec::hpack::{Decoded, Decoder, Encoder, Limits};

struct Peer {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start() -> Peer {
        let mut process = Command::new(testkit::peers::python())
            .arg(testkit::peers::root().join("tests/peers/hpack_peer.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the Python environment of tests/peers.sh is there");
        let input = process.stdin.take().expect("piped");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        Peer { process, input, output }
    }

    fn ask(&mut self, question: &str) -> String {
        writeln!(self.input, "{question}").expect("the peer reads");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("the peer answers");
        answer.trim_end().to_owned()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A repeatable stream of numbers (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// A request as a caller sends it: names and values that repeat, and some that don't.
fn request(numbers: &mut Numbers) -> Vec<(String, String)> {
    let pick = |numbers: &mut Numbers, from: &[&str]| from[numbers.below(from.len())].to_owned();
    let mut fields = vec![
        (":method".to_owned(), pick(numbers, &["GET", "POST", "PUT"])),
        (":scheme".to_owned(), pick(numbers, &["http", "https"])),
        (":path".to_owned(), format!("/{}", "p/".repeat(numbers.below(20)))),
        (":authority".to_owned(), pick(numbers, &["a.example", "b.example:8080"])),
    ];
    for _ in 0..numbers.below(12) {
        let name = pick(
            numbers,
            &[
                "accept",
                "authorization",
                "x-request-id",
                "user-agent",
                "x-custom",
                "grpc-timeout",
                "x-empty",
            ],
        );
        let length = numbers.below(60);
        let value = (0..length)
            .map(|_| char::from(b' ' + 1 + numbers.below(94) as u8))
            .collect();
        fields.push((name, value));
    }
    fields
}

fn block_of(fields: &[(String, String)]) -> HeaderBlock {
    let mut block = HeaderBlock::new();
    for (name, value) in fields {
        match name.as_str() {
            ":method" => block.set_method(value.as_bytes()),
            ":scheme" => block.set_scheme(value.as_bytes()),
            ":path" => block.set_path(value.as_bytes()),
            ":authority" => block.set_authority(value.as_bytes()),
            name => block.append(name, value.as_bytes()),
        }
    }
    block
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

fn fields_of(block: &HeaderBlock) -> Vec<(String, String)> {
    let mut fields = vec![
        (":method".to_owned(), text(block.method())),
        (":scheme".to_owned(), text(block.scheme())),
        (":path".to_owned(), text(block.path())),
        (":authority".to_owned(), text(block.authority())),
    ];
    fields.extend(
        block
            .iter()
            .map(|field| (text(Some(field.name)), text(Some(field.value)))),
    );
    fields
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hex"))
        .collect()
}

#[test]
fn python_decodes_what_we_encode() {
    let mut peer = Peer::start();
    let mut numbers = Numbers(1);
    let mut encoder = Encoder::new(4096);
    for round in 0..400 {
        let fields = request(&mut numbers);
        let mut encoded = Vec::new();
        encoder.encode(&block_of(&fields), &mut encoded);
        let answer = peer.ask(&format!("decode {}", hex(&encoded)));
        let mut decoded: Vec<(String, String)> = serde_json::from_str(&answer).expect("JSON");
        // The order of pseudo-headers among themselves is free (RFC 9113 section 8.3).
        let mut expected = fields;
        decoded[..4].sort();
        expected[..4].sort();
        assert_eq!(decoded, expected, "block {round}");
    }
}

#[test]
fn we_decode_what_python_encodes() {
    let mut peer = Peer::start();
    let mut numbers = Numbers(2);
    let mut decoder = Decoder::new(4096);
    let limits = Limits {
        list_size: 64 * 1024,
        fields: 100,
    };
    let mut block = HeaderBlock::new();
    for round in 0..400 {
        let fields = request(&mut numbers);
        let encoded = unhex(&peer.ask(&format!("encode {}", serde_json::to_string(&fields).expect("JSON"))));
        let kind = Kind::Request {
            extended_connect: false,
        };
        assert_eq!(
            decoder.decode(&encoded, kind, limits, &mut block),
            Ok(Decoded::Complete),
            "block {round}"
        );
        assert_eq!(fields_of(&block), fields, "block {round}");
    }
}
