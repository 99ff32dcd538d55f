mod other_peer;
mod verification;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use proptest::prelude::*;
use rustls::version::{TLS12, TLS13};

use super::*;
use crate::settings::{Certificates, Validation};
use crate::test_certificates::*;

const PEER: Peer<'static> = Peer {
    address: IpAddr::V4(Ipv4Addr::LOCALHOST),
    host: None,
    server_name: None,
    alpn: None,
};
const FRONTEND: &str = "spiffe://cluster.local/ns/default/sa/frontend";
const BACKEND: &str = "spiffe://cluster.local/ns/default/sa/backend";

/// One side of a conversation in memory.
struct Side {
    session: Session,
    /// Ciphertext on its way to the other side.
    outbound: Vec<u8>,
    /// Plaintext received.
    received: Vec<u8>,
    done: bool,
    closed: bool,
    failure: Option<TlsError>,
}

impl Side {
    fn new(session: Session, outbound: Vec<u8>) -> Side {
        Side {
            session,
            outbound,
            received: Vec::new(),
            done: false,
            closed: false,
            failure: None,
        }
    }

    fn take(&mut self, ciphertext: &[u8]) {
        if self.failure.is_some() {
            return;
        }
        match self
            .session
            .read_tls(ciphertext, &mut self.received, &mut self.outbound)
        {
            Ok(progress) => {
                self.done |= progress.handshake_done;
                self.closed |= progress.closed;
            }
            Err(error) => self.failure = Some(error),
        }
    }

    fn write(&mut self, data: &[u8]) {
        self.session.write(data, &mut self.outbound).unwrap();
    }
}

/// Carries bytes to and fro, in pieces of at most `chunk`, until both are silent.
fn converse(client: &mut Side, server: &mut Side, chunk: usize) {
    while !client.outbound.is_empty() || !server.outbound.is_empty() {
        for piece in std::mem::take(&mut client.outbound).chunks(chunk) {
            server.take(piece);
        }
        for piece in std::mem::take(&mut server.outbound).chunks(chunk) {
            client.take(piece);
        }
    }
}

fn connect(client: &Arc<ClientContext>, server: &Arc<ServerContext>, peer: &Peer<'_>) -> (Side, Side) {
    let mut hello = Vec::new();
    let session = client.connect(peer, &mut hello).unwrap();
    (Side::new(session, hello), Side::new(server.accept(), Vec::new()))
}

fn established(client: &Arc<ClientContext>, server: &Arc<ServerContext>) -> (Side, Side) {
    let (mut client, mut server) = connect(client, server, &PEER);
    converse(&mut client, &mut server, usize::MAX);
    assert_eq!((&client.failure, &server.failure), (&None, &None));
    assert!(client.done && server.done);
    (client, server)
}

/// Contexts of a frontend and a backend that know each other by their SPIFFE identities.
fn mesh() -> (Arc<ClientContext>, Arc<ServerContext>) {
    let authority = Authority::new("mesh");
    let (frontend, backend) = (authority.leaf(&[FRONTEND]), authority.leaf(&[BACKEND]));
    let mut down = downstream(&backend, trust(&authority, vec![uri(FRONTEND)]));
    down.common.alpn_protocols = vec![b"h2"[..].into()];
    let mut up = upstream(Some(&frontend), trust(&authority, vec![uri(BACKEND)]));
    up.common.alpn_protocols = vec![b"h2"[..].into()];
    (client(&up), server(&down))
}

#[test]
fn both_sides_of_mutual_tls_know_each_other() {
    let (client, server) = mesh();
    let (mut client, mut server) = established(&client, &server);
    let seen = server.session.peer_identity().unwrap();
    assert_eq!(&*seen.uri_sans, [FRONTEND.into()]);
    assert_eq!(&*seen.subject, format!("O=Acme\\, Inc.,CN={FRONTEND}"));
    assert!(seen.verified);
    assert_eq!(seen.sha256_fingerprint().len(), 64);
    assert!(seen.url_encoded_pem().starts_with("-----BEGIN%20CERTIFICATE-----%0A"));
    assert_eq!(&*client.session.peer_identity().unwrap().uri_sans, [BACKEND.into()]);
    for side in [&client, &server] {
        assert_eq!(side.session.alpn(), Some(&b"h2"[..]));
        assert_eq!(side.session.protocol_version(), Some("TLSv1.3"));
        assert_eq!(side.session.key_exchange_group(), Some("X25519MLKEM768"));
        assert!(side.session.cipher_suite().unwrap().starts_with("TLS_"));
        assert!(side.session.is_established() && !side.session.resumed());
        assert_eq!(side.session.server_name(), None);
    }
    let logged = |field| {
        let mut out = Vec::new();
        server
            .session
            .write_log_field(field, &mut out)
            .then(|| String::from_utf8(out).unwrap())
    };
    assert_eq!(logged(TlsField::PeerUriSan).as_deref(), Some(FRONTEND));
    assert_eq!(logged(TlsField::LocalUriSan).as_deref(), Some(BACKEND));
    assert_eq!(
        logged(TlsField::LocalSubject).unwrap(),
        format!("O=Acme\\, Inc.,CN={BACKEND}")
    );
    assert_eq!(logged(TlsField::PeerIssuer).as_deref(), Some("CN=mesh"));
    assert_eq!(logged(TlsField::Version).as_deref(), Some("TLSv1.3"));
    assert_eq!(logged(TlsField::PeerDnsSan), None);
    assert!(logged(TlsField::PeerCertEnd).unwrap().ends_with(":00:00.000Z"));
    client.write(b"ping");
    server.write(b"pong");
    converse(&mut client, &mut server, usize::MAX);
    assert_eq!((&*client.received, &*server.received), (&b"pong"[..], &b"ping"[..]));
}

#[test]
fn a_handshake_and_data_in_pieces_of_one_byte_come_to_the_same() {
    let (client, server) = mesh();
    let (mut client, mut server) = connect(&client, &server, &PEER);
    converse(&mut client, &mut server, 1);
    assert!(client.done && server.done, "{:?} {:?}", client.failure, server.failure);
    let data: Vec<u8> = (0..40_000_u32).map(|number| (number % 251) as u8).collect();
    client.write(&data);
    server.write(&data[..1000]);
    client.session.close_notify(&mut client.outbound);
    converse(&mut client, &mut server, 1);
    assert!(server.received == data && client.received == data[..1000]);
    assert!(server.closed && !client.closed);
    server.write(b"the other direction is still open");
    converse(&mut client, &mut server, 1);
    assert!(client.received.ends_with(b"still open"));
    assert_eq!(
        client.session.write(b"x", &mut Vec::new()),
        Err(TlsError::NotEstablished)
    );
}

#[test]
fn no_protocol_in_common_means_none_and_not_a_failure() {
    let authority = Authority::new("mesh");
    let leaf = authority.leaf(&[BACKEND]);
    let protocols = |names: &[&str]| {
        names
            .iter()
            .map(|name| name.as_bytes().into())
            .collect::<Vec<Box<[u8]>>>()
    };
    for (ours, theirs, expected) in [
        (&["h2", "http/1.1"][..], &["http/1.1", "h2"][..], Some("h2")),
        (&["istio-h2", "h2"], &["h2"], Some("h2")),
        (&["h2"], &["istio-peer-exchange", "istio"], None),
        (&["h2"], &[], None),
        (&[], &["h2"], None),
    ] {
        let mut down = downstream(&leaf, Validation::None);
        down.common.alpn_protocols = protocols(ours);
        let mut up = upstream(None, trust(&authority, vec![]));
        up.common.alpn_protocols = protocols(theirs);
        let (left, right) = established(&client(&up), &server(&down));
        assert_eq!(left.session.alpn(), expected.map(str::as_bytes), "{ours:?} {theirs:?}");
        assert_eq!(right.session.alpn(), expected.map(str::as_bytes));
    }
    let offered: [&[u8]; 1] = [b"h2"];
    let mut down = downstream(&leaf, Validation::None);
    down.common.alpn_protocols = protocols(&["h2"]);
    let peer = Peer {
        server_name: None,
        alpn: Some(&offered),
        ..PEER
    };
    let (mut left, mut right) = connect(&client(&upstream(None, Validation::None)), &server(&down), &peer);
    converse(&mut left, &mut right, usize::MAX);
    assert_eq!(
        left.session.alpn(),
        Some(&b"h2"[..]),
        "a caller may offer what the settings don't"
    );
}

#[test]
fn the_certificate_is_chosen_by_the_name_asked_for() {
    let authority = Authority::new("mesh");
    let leaves = [
        authority.leaf(&["first.example"]),
        authority.leaf(&["*.wild.example", "second.example"]),
    ];
    let mut down = downstream(&leaves[0], Validation::None);
    down.common.certificates = Certificates::Inline(leaves.iter().map(Leaf::settings).collect());
    let server = server(&down);
    for (name, expected) in [
        ("first.example", "first.example"),
        ("second.example", "*.wild.example"),
        ("any.wild.example", "*.wild.example"),
        ("more.than.wild.example", "first.example"),
        ("unknown.example", "first.example"),
    ] {
        let mut up = upstream(None, trust(&authority, vec![]));
        up.sni = Some(rustls::pki_types::ServerName::try_from(name).unwrap());
        let (left, right) = established(&client(&up), &server);
        assert_eq!(&*left.session.peer_identity().unwrap().dns_sans[0], expected, "{name}");
        assert_eq!(right.session.server_name(), Some(name));
    }
}

#[test]
fn a_second_connection_resumes_the_session_and_still_knows_the_peer() {
    let (client_context, server_context) = mesh();
    let (mut client, mut server) = established(&client_context, &server_context);
    assert!(!client.session.resumed());
    server.write(b"a ticket came before this");
    converse(&mut client, &mut server, usize::MAX);
    let (client, server) = established(&client_context, &server_context);
    assert!(client.session.resumed() && server.session.resumed());
    assert_eq!(&*server.session.peer_identity().unwrap().uri_sans, [FRONTEND.into()]);
    assert_eq!(&*client.session.peer_identity().unwrap().uri_sans, [BACKEND.into()]);
}

#[test]
fn without_session_keys_or_tickets_nothing_is_resumed() {
    let authority = Authority::new("mesh");
    let leaf = authority.leaf(&[BACKEND]);
    let mut down = downstream(&leaf, Validation::None);
    let mut up = upstream(None, trust(&authority, vec![]));
    up.max_session_keys = 0;
    let (client_context, server_context) = (client(&up), server(&down));
    established(&client_context, &server_context);
    assert!(!established(&client_context, &server_context).0.session.resumed());
    up.max_session_keys = 4;
    down.disable_stateless_session_resumption = true;
    let (client_context, server_context) = (client(&up), server(&down));
    established(&client_context, &server_context);
    assert!(!established(&client_context, &server_context).0.session.resumed());
}

#[test]
fn new_certificates_apply_to_new_sessions_and_leave_old_ones_alone() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let old_server = server(&downstream(&old.leaf(&[BACKEND]), trust(&old, vec![])));
    let old_client = client(&upstream(Some(&old.leaf(&[FRONTEND])), trust(&old, vec![])));
    let (mut client_side, mut server_side) = established(&old_client, &old_server);
    server_side.write(b"x");
    converse(&mut client_side, &mut server_side, usize::MAX);
    let new_server = server(&downstream(&new.leaf(&[BACKEND]), trust(&new, vec![])));
    drop(old_server);
    client_side.write(b"still here");
    converse(&mut client_side, &mut server_side, usize::MAX);
    assert_eq!(server_side.received, b"still here");
    // The old client has a ticket of the old server, which must not help it past the new trust.
    let (mut left, mut right) = connect(&old_client, &new_server, &PEER);
    converse(&mut left, &mut right, usize::MAX);
    assert!(left.failure.is_some());
}

#[test]
fn tls_12_works_in_both_directions() {
    let authority = Authority::new("mesh");
    let (frontend, backend) = (authority.leaf(&[FRONTEND]), authority.leaf(&[BACKEND]));
    let mut down = downstream(&backend, trust(&authority, vec![uri(FRONTEND)]));
    down.common.alpn_protocols = vec![b"h2"[..].into()];
    down.common.parameters.versions = vec![&TLS12];
    let mut up = upstream(Some(&frontend), trust(&authority, vec![uri(BACKEND)]));
    up.common.alpn_protocols = vec![b"h2"[..].into()];
    let (client_context, server_context) = (client(&up), server(&down));
    for chunk in [usize::MAX, 1] {
        let (mut client, mut server) = connect(&client_context, &server_context, &PEER);
        converse(&mut client, &mut server, chunk);
        assert!(client.done && server.done, "{:?} {:?}", client.failure, server.failure);
        assert_eq!(client.session.protocol_version(), Some("TLSv1.2"));
        assert_eq!(client.session.cipher_suite(), Some("ECDHE-ECDSA-AES256-GCM-SHA384"));
        assert_eq!(&*server.session.peer_identity().unwrap().uri_sans, [FRONTEND.into()]);
        assert_eq!(server.session.alpn(), Some(&b"h2"[..]));
        let data = vec![7; 50_000];
        client.write(&data);
        server.write(b"pong");
        converse(&mut client, &mut server, chunk);
        assert!(server.received == data && client.received == b"pong");
        server.session.close_notify(&mut server.outbound);
        converse(&mut client, &mut server, chunk);
        assert!(client.closed && client.failure.is_none());
    }
    let mut only_13 = up;
    only_13.common.parameters.versions = vec![&TLS13];
    let (mut left, mut right) = connect(&client(&only_13), &server_context, &PEER);
    converse(&mut left, &mut right, usize::MAX);
    assert!(
        matches!(right.failure, Some(TlsError::Incompatible(_))),
        "{:?}",
        right.failure
    );
}

#[test]
fn plaintext_is_recognised_on_either_side() {
    let (client, server) = mesh();
    let mut output = Vec::new();
    let error = server
        .accept()
        .read_tls(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &mut Vec::new(), &mut output)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the peer speaks plaintext, not TLS (it sent \"PRI * HTTP/2.0..\")"
    );
    let mut session = client.connect(&PEER, &mut output).unwrap();
    let error = session
        .read_tls(b"HTTP/1.1 400 Bad Request\r\n", &mut Vec::new(), &mut output)
        .unwrap_err();
    assert!(matches!(error, TlsError::Plaintext(_)));
    assert_eq!(
        session.read_tls(b"", &mut Vec::new(), &mut output),
        Err(TlsError::NotEstablished)
    );
}

#[test]
fn an_identity_is_shared_by_the_connections_of_one_workload() {
    let (client, server) = mesh();
    let (_first, one) = established(&client, &server);
    let (_second, two) = established(&client, &server);
    assert!(Arc::ptr_eq(
        one.session.peer_identity().unwrap(),
        two.session.peer_identity().unwrap()
    ));
}

#[test]
fn a_handshake_is_counted_with_what_was_agreed_on() {
    use telemetry::stats::{Registry, Scope, Shard, ssl};
    let (client, server) = mesh();
    let (_client, server) = established(&client, &server);
    let block = Registry::new(1).block(Scope::Listener("127.0.0.1:80"), &ssl::TABLE);
    server.session.count_handshake(block.local(Shard::worker(0)));
    assert_eq!(block.counter(ssl::HANDSHAKE), 1);
    assert_eq!(block.counter(ssl::VERSIONS_TLSV1_3), 1);
    assert_eq!(block.counter(ssl::CURVES_X25519MLKEM768), 1);
    assert_eq!(block.counter(ssl::NO_CERTIFICATE), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn data_arrives_whole_however_it_is_cut(
        messages in prop::collection::vec((any::<bool>(), 0_usize..40_000), 1..6),
        chunk in 1_usize..20_000,
    ) {
        let (client, server) = mesh();
        let (mut client, mut server) = established(&client, &server);
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        for (position, (from_client, length)) in messages.into_iter().enumerate() {
            let data = vec![position as u8; length];
            if from_client {
                client.write(&data);
                to_server.extend(data);
            } else {
                server.write(&data);
                to_client.extend(data);
            }
            if position % 2 == 0 {
                converse(&mut client, &mut server, chunk);
            }
        }
        converse(&mut client, &mut server, chunk);
        prop_assert!(client.received == to_client && server.received == to_server);
    }

    #[test]
    fn nonsense_ends_a_session_without_a_panic(
        garbage in prop::collection::vec(any::<u8>(), 1..200),
        at in 0_usize..2000,
        flip in any::<u8>(),
    ) {
        let (client, server) = mesh();
        let mut output = Vec::new();
        let _ = server.accept().read_tls(&garbage, &mut Vec::new(), &mut output);
        let mut hello = Vec::new();
        let session = client.connect(&PEER, &mut hello).unwrap();
        let at = at % hello.len();
        hello[at] ^= flip;
        let (mut left, mut right) = (Side::new(session, hello), Side::new(server.accept(), Vec::new()));
        converse(&mut left, &mut right, 100);
    }
}
