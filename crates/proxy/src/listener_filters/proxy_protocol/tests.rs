use super::*;

const REST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

fn v1(line: &str) -> Parsed {
    parse(&[line.as_bytes(), REST].concat())
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [V2_SIGNATURE, &[command, family], &length, body].concat()
}

fn body_v4() -> Vec<u8> {
    vec![1, 2, 3, 4, 5, 6, 7, 8, 3, 232, 7, 208]
}

fn addresses(source: &str, destination: &str) -> Option<Addresses> {
    Some(Addresses {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    })
}

#[test]
fn lines_of_version_1_are_read_as_envoy_reads_them() {
    let line = "PROXY TCP4 1.2.3.4 5.6.7.8 1000 2000\r\n";
    assert_eq!(
        v1(line),
        Parsed::Header {
            version: Version::V1,
            length: line.len(),
            addresses: addresses("1.2.3.4:1000", "5.6.7.8:2000"),
            tlvs: line.len(),
        }
    );
    let six = v1("PROXY TCP6 1::2 3::4 1000 2000\r\n");
    assert!(matches!(six, Parsed::Header { addresses: found, .. } if found == addresses("[1::2]:1000", "[3::4]:2000")));
    for unknown in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff::1 ::2 1 2\r\n"] {
        assert!(
            matches!(v1(unknown), Parsed::Header { addresses: None, .. }),
            "{unknown}"
        );
    }
    assert!(matches!(
        v1("PROXY TCP4 1.2.3.4 5.6.7.8 0100 2000\r\n"),
        Parsed::Header { .. }
    ));
    let broken = [
        "PROXY TCP4 1.2.3.4 bad\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 70000 2000\r\n",
        "PROXY TCP4  1.2.3.4 5.6.7.8 700 2000\r\n",
        "PROXY TCP4 224.0.0.1 5.6.7.8 700 2000\r\n",
        "PROXY TCP4 0.0.0.0 5.6.7.8 700 2000\r\n",
        "PROXY TCP7 1.2.3.4 5.6.7.8 700 2000\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 700 2000\n",
        "PROXY TCP6 1.2.3.4 5.6.7.8 700 2000\r\n",
    ];
    for line in broken {
        assert_eq!(v1(line), Parsed::Broken(Version::V1), "{line}");
    }
    let long = format!("PROXY TCP4 1.2.3.4 5.6.7.8 700 2000{}\r\n", " ".repeat(100));
    assert_eq!(v1(&long), Parsed::Broken(Version::V1));
}

#[test]
fn headers_of_version_2_are_read_as_envoy_reads_them() {
    let whole = v2(0x21, 0x11, &body_v4());
    assert_eq!(
        parse(&[&whole, REST].concat()),
        Parsed::Header {
            version: Version::V2,
            length: whole.len(),
            addresses: addresses("1.2.3.4:1000", "5.6.7.8:2000"),
            tlvs: whole.len(),
        }
    );
    let with_tlv = v2(0x21, 0x12, &[body_v4(), vec![5, 0, 1, b'a']].concat());
    assert!(matches!(parse(&with_tlv), Parsed::Header { length, .. } if length == with_tlv.len()));
    let six: Vec<u8> = [[1; 16], [2; 16]].concat().into_iter().chain([0, 1, 0, 2]).collect();
    assert!(matches!(
        parse(&v2(0x21, 0x21, &six)),
        Parsed::Header { addresses: Some(_), .. }
    ));
    for local in [v2(0x20, 0, &[]), v2(0x20, 0x11, &body_v4())] {
        assert!(matches!(parse(&local), Parsed::Header { addresses: None, .. }));
    }
    let broken = [
        v2(0x21, 0, &[]),
        v2(0x21, 0x31, &[b'a'; 216]),
        v2(0x21, 0x11, &body_v4()[..8]),
        v2(0x11, 0x11, &body_v4()),
        v2(0x22, 0x11, &body_v4()),
        v2(0x21, 0x11, &[body_v4(), vec![5, 0]].concat()),
        v2(0x21, 0x11, &[body_v4(), vec![5, 0, 9, 1]].concat()),
    ];
    for header in broken {
        assert_eq!(parse(&header), Parsed::Broken(Version::V2), "{header:?}");
    }
}

#[test]
fn every_beginning_of_a_header_is_incomplete_and_nothing_else_is_one() {
    for header in [
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
        v2(0x21, 0x11, &body_v4()),
    ] {
        for length in 0..header.len() {
            assert_eq!(parse(&header[..length]), Parsed::Incomplete, "{length}");
        }
    }
    assert_eq!(parse(REST), Parsed::Absent);
    assert_eq!(parse(b"PROXIED"), Parsed::Absent);
}

#[test]
fn a_version_that_is_disallowed_is_refused_or_passed_by_what_else_is_allowed() {
    let registry = Registry::new(1);
    let filter = |allow| {
        ProxyProtocol::new(
            &Arc::new(config::listener_filters::ProxyProtocol {
                allow_requests_without_proxy_protocol: allow,
                disallows_v1: true,
                ..Default::default()
            }),
            &registry,
        )
    };
    let shard = Shard::worker(0);
    let line = b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n";
    let mut accepted = Accepted::default();
    assert_eq!(filter(true).look(line, &mut accepted, shard), Look::PEEKED);
    assert_eq!(accepted.peer, None);
    assert_eq!(filter(false).look(line, &mut accepted, shard), Look::Close);
    assert_eq!(filter(false).look(REST, &mut accepted, shard), Look::Close);
    let binary = v2(0x21, 0x11, &body_v4());
    assert_eq!(
        filter(false).look(&binary, &mut accepted, shard),
        Look::Done { consumed: binary.len() }
    );
    assert_eq!(accepted.original_destination(), Some("5.6.7.8:2000".parse().unwrap()));
}
