use proptest::prelude::*;

use super::*;

/// A ClientHello in records of at most `fragment` bytes.
fn hello(extensions: &[(u16, &[u8])], fragment: usize) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, 2, 0x13, 0x01, 1, 0]);
    let mut list = Vec::new();
    for (kind, value) in extensions {
        list.extend(kind.to_be_bytes());
        list.extend((value.len() as u16).to_be_bytes());
        list.extend(*value);
    }
    if !extensions.is_empty() {
        body.extend((list.len() as u16).to_be_bytes());
        body.extend(list);
    }
    let mut message = vec![CLIENT_HELLO];
    message.extend(&(body.len() as u32).to_be_bytes()[1..]);
    message.extend(body);
    let mut records = Vec::new();
    for piece in message.chunks(fragment) {
        records.extend([HANDSHAKE, 3, 1]);
        records.extend((piece.len() as u16).to_be_bytes());
        records.extend(piece);
    }
    records
}

fn sni(name: &str) -> Vec<u8> {
    let length = name.len() as u16;
    let mut value = (length + 3).to_be_bytes().to_vec();
    value.push(0);
    value.extend(length.to_be_bytes());
    value.extend(name.as_bytes());
    value
}

const TWO_PROTOCOLS: &[u8] = &[0, 12, 2, b'h', b'2', 8, b'h', b't', b't', b'p', b'/', b'1', b'.', b'1'];

fn expected() -> Peek {
    Peek::Hello(ClientHello {
        server_name: Some("api.example.com".into()),
        alpn: vec![b"h2"[..].into(), b"http/1.1"[..].into()],
    })
}

#[test]
fn name_and_protocols_are_read_however_the_hello_is_cut() {
    let name = sni("API.example.com");
    for fragment in [1, 2, 3, 50, 10_000] {
        let bytes = hello(
            &[(43, &[2, 3, 4]), (SERVER_NAME, &name), (ALPN, TWO_PROTOCOLS)],
            fragment,
        );
        for length in 0..bytes.len() {
            assert_eq!(
                client_hello(&bytes[..length]),
                Peek::Incomplete,
                "{length} of {} by {fragment}",
                bytes.len()
            );
        }
        assert_eq!(client_hello(&bytes), expected());
        let mut more = bytes.clone();
        more.extend(b"early data");
        assert_eq!(client_hello(&more), expected());
    }
}

#[test]
fn a_hello_without_extensions_asks_for_nothing() {
    assert_eq!(client_hello(&hello(&[], 1000)), Peek::Hello(ClientHello::default()));
    let other = hello(&[(43, &[2, 3, 4])], 1000);
    assert_eq!(client_hello(&other), Peek::Hello(ClientHello::default()));
}

#[test]
fn plaintext_is_known_from_the_first_byte() {
    for text in ["P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\n", "\0", "\u{16}\u{2}"] {
        assert_eq!(client_hello(text.as_bytes()), Peek::NotTls, "{text:?}");
    }
    for start in [&[][..], &[22], &[22, 3], &[22, 3, 1], &[22, 3, 1, 1]] {
        assert_eq!(client_hello(start), Peek::Incomplete);
    }
}

#[test]
fn contradictions_are_invalid() {
    let name = sni("a.example");
    for extensions in [
        &[(SERVER_NAME, &name[..]), (SERVER_NAME, &name[..])][..],
        &[(ALPN, TWO_PROTOCOLS), (ALPN, TWO_PROTOCOLS)],
        &[(ALPN, &TWO_PROTOCOLS[..5])],
        &[(ALPN, &[0, 1, 0])],
        &[(SERVER_NAME, &name[..5])],
    ] {
        assert_eq!(client_hello(&hello(extensions, 1000)), Peek::Invalid);
    }
    assert_eq!(client_hello(&[22, 3, 1, 0, 1, 2]), Peek::Invalid, "a ServerHello");
    assert_eq!(client_hello(&[22, 3, 1, 0, 0]), Peek::Invalid, "an empty fragment");
    assert_eq!(
        client_hello(&[22, 3, 1, 0xff, 0xff]),
        Peek::Invalid,
        "a record longer than records can be"
    );
    let mut second = hello(&[(SERVER_NAME, &name)], 10);
    second[15] = 23;
    assert_eq!(
        client_hello(&second),
        Peek::Invalid,
        "another kind of record in between"
    );
}

#[test]
fn a_hello_that_would_be_too_long_is_given_up_at_once() {
    assert_eq!(client_hello(&[22, 3, 1, 0, 200, 1, 1, 0, 0]), Peek::TooLarge);
    let long = hello(&[(21, &vec![0; 15_000])], 16_000);
    assert!(matches!(client_hello(&long), Peek::Hello(_)));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = client_hello(&bytes);
        let mut framed = vec![22, 3, 1, 0, bytes.len().min(255) as u8, 1, 0, 0, bytes.len().min(250) as u8];
        framed.extend(&bytes);
        let _ = client_hello(&framed);
    }

    #[test]
    fn a_changed_hello_is_read_without_a_panic(at in 0_usize..200, to in any::<u8>()) {
        let mut bytes = hello(&[(SERVER_NAME, &sni("a.example")), (ALPN, TWO_PROTOCOLS)], 64);
        let at = at % bytes.len();
        bytes[at] = to;
        let _ = client_hello(&bytes);
    }
}
