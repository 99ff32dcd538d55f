//! Against rustls' own connections: our record layer has a peer that does not share its mistakes.

use std::io::{Read, Write};

use rustls::client::{ClientConnection, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ServerConnection;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::*;
use crate::parameters::default_provider;

/// Bytes between our session and a rustls connection, until both are silent. What rustls read comes back.
fn exchange(ours: &mut Side, theirs: &mut rustls::Connection, chunk: usize) -> Vec<u8> {
    let mut received = Vec::new();
    loop {
        let mut silent = true;
        let mut to_ours = Vec::new();
        while theirs.wants_write() {
            theirs.write_tls(&mut to_ours).unwrap();
        }
        for piece in to_ours.chunks(chunk) {
            silent = false;
            ours.take(piece);
            assert_eq!(ours.failure, None);
        }
        let mut to_theirs = &*std::mem::take(&mut ours.outbound);
        while !to_theirs.is_empty() {
            silent = false;
            let mut piece = &to_theirs[..chunk.min(to_theirs.len())];
            let taken = theirs.read_tls(&mut piece).unwrap();
            if taken == 0 {
                // rustls takes nothing behind a close_notify.
                break;
            }
            to_theirs = &to_theirs[taken..];
            theirs.process_new_packets().unwrap();
            let mut buffer = [0; 32 * 1024];
            while let Ok(length @ 1..) = theirs.reader().read(&mut buffer) {
                received.extend_from_slice(&buffer[..length]);
            }
        }
        if silent {
            return received;
        }
    }
}

/// Data in both directions, with a change of keys by rustls in between.
fn talk(ours: &mut Side, theirs: &mut rustls::Connection) {
    theirs.set_buffer_limit(None);
    exchange(ours, theirs, 999);
    assert!(ours.done && !theirs.is_handshaking());
    let data: Vec<u8> = (0..100_000_u32).map(|number| (number % 253) as u8).collect();
    for chunk in [usize::MAX, 1000] {
        ours.received.clear();
        ours.write(&data);
        theirs.writer().write_all(&data).unwrap();
        assert!(exchange(ours, theirs, chunk) == data);
        assert!(ours.received == data);
        theirs.refresh_traffic_keys().unwrap();
    }
    ours.session.close_notify(&mut ours.outbound);
    theirs.send_close_notify();
    exchange(ours, theirs, 10);
    assert!(ours.closed);
    assert_eq!(theirs.reader().read(&mut [0; 10]).unwrap(), 0, "a clean end");
}

#[test]
fn a_rustls_client_talks_to_our_server() {
    let authority = Authority::new("mesh");
    let server = server(&downstream(&authority.leaf(&["a.example"]), Validation::None));
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap())
        .unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), default_provider())
        .build()
        .unwrap();
    let config = ClientConfig::builder_with_provider(default_provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_webpki_verifier(verifier)
        .with_no_client_auth();
    let client = ClientConnection::new(Arc::new(config), "a.example".try_into().unwrap()).unwrap();
    let mut ours = Side::new(server.accept(), Vec::new());
    talk(&mut ours, &mut client.into());
    assert_eq!(ours.session.server_name(), Some("a.example"));
}

#[test]
fn our_client_talks_to_a_rustls_server() {
    let authority = Authority::new("mesh");
    let leaf = authority.leaf(&["a.example"]);
    let config = ServerConfig::builder_with_provider(default_provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap(),
        )
        .unwrap();
    let server = ServerConnection::new(Arc::new(config)).unwrap();
    let mut hello = Vec::new();
    let session = client(&upstream(None, trust(&authority, vec![])))
        .connect(&PEER, &mut hello)
        .unwrap();
    talk(&mut Side::new(session, hello), &mut server.into());
}
