//! Our HPACK against that of the `h2` crate, over whole frames: what one side encodes the other decodes to the same
//! list of fields, for many blocks on one connection.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use codec::headers::HeaderBlock;
use codec::headers::validate::Kind;
use codec::hpack::{Decoded, Decoder, Encoder, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const LIMITS: Limits = Limits {
    list_size: 1 << 20,
    fields: 1000,
};
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;
const END_STREAM_AND_HEADERS: u8 = 5;

/// A small generator with a fixed seed, so that a failure repeats.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % below
    }
}

/// Fields of which some repeat, some change, some are secrets and some are long.
fn fields(random: &mut Random, n: usize) -> Vec<(String, String)> {
    let mut fields = vec![
        ("content-type".to_owned(), "application/grpc".to_owned()),
        ("te".to_owned(), "trailers".to_owned()),
        ("x-request-id".to_owned(), format!("{n:032x}")),
    ];
    for _ in 0..random.next(12) {
        let name = match random.next(6) {
            0 => format!("x-field-{}", random.next(30)),
            1 => "grpc-timeout".to_owned(),
            2 => "authorization".to_owned(),
            3 => "user-agent".to_owned(),
            4 => "accept-encoding".to_owned(),
            _ => format!("x-{}", "long".repeat(random.next(20))),
        };
        let value = match random.next(4) {
            0 => String::new(),
            1 => format!("value {}", random.next(5)),
            2 => "gzip, deflate".to_owned(),
            _ => (0..random.next(200))
                .map(|_| (b'!' + random.next(90) as u8) as char)
                .collect(),
        };
        fields.push((name, value));
    }
    fields
}

async fn write_frame(io: &mut DuplexStream, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    io.write_all(&frame).await.unwrap();
}

async fn read_frame(io: &mut DuplexStream) -> (u8, u8, u32, Vec<u8>) {
    let mut header = [0; 9];
    io.read_exact(&mut header).await.unwrap();
    let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
    let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
    let mut payload = vec![0; length as usize];
    io.read_exact(&mut payload).await.unwrap();
    (header[3], header[4], stream, payload)
}

fn sorted(mut fields: Vec<(String, String)>) -> Vec<(String, String)> {
    // `h2` keeps fields in a map: the order within a name is all that survives.
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    fields
}

#[tokio::test(flavor = "current_thread")]
async fn what_we_encode_the_h2_crate_decodes() {
    let (mut ours, theirs) = tokio::io::duplex(1 << 22);
    let blocks: Vec<_> = {
        let mut random = Random(0x5eed_0001);
        (0..300).map(|n| fields(&mut random, n)).collect()
    };
    ours.write_all(PREFACE).await.unwrap();
    write_frame(&mut ours, SETTINGS, 0, 0, &[]).await;
    let mut server = h2::server::handshake(theirs).await.unwrap();
    let mut encoder = Encoder::new(4096);
    for (n, fields) in blocks.iter().enumerate() {
        let mut block = HeaderBlock::new();
        block.set_method(b"POST");
        block.set_scheme(b"http");
        block.set_authority(b"service.example");
        block.set_path(format!("/service/method{}", n % 3).as_bytes());
        for (name, value) in fields {
            block.append(name, value.as_bytes());
        }
        // Our peer may change the size of its table whenever it likes.
        if n % 50 == 49 {
            encoder.set_max_size([0, 4096, 200][n % 3]);
        }
        let mut encoded = Vec::new();
        encoder.encode(&block, &mut encoded);
        write_frame(&mut ours, HEADERS, END_STREAM_AND_HEADERS, 2 * n as u32 + 1, &encoded).await;
        let (request, mut respond) = server.accept().await.unwrap().unwrap();
        assert_eq!(
            request.uri(),
            &*format!("http://service.example/service/method{}", n % 3)
        );
        let got = request.headers().iter();
        let got = got
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        assert_eq!(sorted(got), sorted(fields.clone()), "block {n}");
        respond.send_response(http::Response::new(()), true).unwrap();
    }
}

#[tokio::test(flavor = "current_thread")]
async fn what_the_h2_crate_encodes_we_decode() {
    let (mut ours, theirs) = tokio::io::duplex(1 << 22);
    let blocks: Vec<_> = {
        let mut random = Random(0x5eed_0002);
        (0..300).map(|n| fields(&mut random, n)).collect()
    };
    let (mut client, connection) = h2::client::Builder::new()
        .initial_max_send_streams(1000)
        .handshake::<_, bytes::Bytes>(theirs)
        .await
        .unwrap();
    let driver = tokio::spawn(connection);
    let mut preface = [0; PREFACE.len()];
    ours.read_exact(&mut preface).await.unwrap();
    assert_eq!(preface, PREFACE);
    write_frame(&mut ours, SETTINGS, 0, 0, &[]).await;
    let mut decoder = Decoder::new(4096);
    for (n, fields) in blocks.iter().enumerate() {
        let mut request = http::Request::post(format!("http://service.example/service/method{}", n % 3));
        for (name, value) in fields {
            let mut value = http::HeaderValue::from_str(value).unwrap();
            value.set_sensitive(name == "authorization");
            request
                .headers_mut()
                .unwrap()
                .append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
        }
        client = client.ready().await.unwrap();
        let (_response, _) = client.send_request(request.body(()).unwrap(), true).unwrap();
        let payload = loop {
            match read_frame(&mut ours).await {
                (HEADERS, flags, _, payload) => {
                    assert_eq!(flags, END_STREAM_AND_HEADERS);
                    break payload;
                }
                (SETTINGS, flags, ..) if flags & ACK == 0 => write_frame(&mut ours, SETTINGS, ACK, 0, &[]).await,
                _ => {}
            }
        };
        let mut block = HeaderBlock::new();
        let decoded = decoder
            .decode(
                &payload,
                Kind::Request {
                    extended_connect: false,
                },
                LIMITS,
                &mut block,
            )
            .unwrap();
        // White space at the ends is malformed over HTTP/2, and no table state is lost over it.
        let is_malformed = fields.iter().any(|(_, value)| value.trim() != value);
        assert_eq!(matches!(decoded, Decoded::Malformed(_)), is_malformed, "{decoded:?}");
        if is_malformed {
            continue;
        }
        assert_eq!(block.path(), Some(format!("/service/method{}", n % 3).as_bytes()));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let got = block
            .iter()
            .map(|field| (text(field.name), text(field.value)))
            .collect();
        assert_eq!(sorted(got), sorted(fields.clone()), "block {n}");
        let secrets = block.iter().filter(|field| field.name == b"authorization");
        assert!(
            secrets.clone().all(|field| field.sensitive || field.value.is_empty()),
            "block {n}"
        );
    }
    driver.abort();
}
