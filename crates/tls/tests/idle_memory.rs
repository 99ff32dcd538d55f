//! What an idle mutual TLS session costs, as the system counts it: aws-lc allocates outside Rust's allocator, so the
//! resident set is the only honest figure. A process of its own, so that nothing else moves it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic in a test is the report"
)]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use config::data_source::DataSource;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use tls::{
    CertificateValidationContext, Certificates, ClientContext, CommonTlsContext, DownstreamTlsContext, Loader,
    Parameters, Peer, ServerContext, Session, TlsCertificate, UpstreamTlsContext, Validation,
};

fn inline(text: &str) -> DataSource {
    DataSource::Inline(text.as_bytes().into())
}

/// Both ends of a mesh connection, with certificates like those a mesh issues.
fn contexts() -> (Arc<ClientContext>, Arc<ServerContext>) {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let leaf = |name: &str| {
        let mut params = CertificateParams::new([]).unwrap();
        params.subject_alt_names = vec![SanType::URI(name.try_into().unwrap())];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap().pem();
        TlsCertificate {
            certificate_chain: inline(&certificate),
            private_key: inline(&key.serialize_pem()),
        }
    };
    let common = |name: &str| CommonTlsContext {
        parameters: Parameters::default(),
        certificates: Certificates::Inline(vec![leaf(name)]),
        validation: Validation::Inline(Box::new(CertificateValidationContext {
            trusted_ca: Some(inline(&root)),
            ..CertificateValidationContext::default()
        })),
        alpn_protocols: vec![b"h2"[..].into()],
    };
    let loader = Loader::new();
    let server = DownstreamTlsContext {
        common: common("spiffe://cluster.local/ns/default/sa/backend"),
        require_client_certificate: true,
        disable_stateless_session_resumption: false,
        session_timeout: None,
        full_scan_certs_on_sni_mismatch: false,
    };
    let client = UpstreamTlsContext {
        common: common("spiffe://cluster.local/ns/default/sa/frontend"),
        sni: None,
        auto_host_sni: false,
        auto_sni_san_validation: false,
        // Full handshakes: a resumed session would be the cheaper case.
        max_session_keys: 0,
    };
    (
        loader.client(&client, &|_| None).unwrap(),
        loader.server(&server, &|_| None).unwrap(),
    )
}

fn established(client: &ClientContext, server: &Arc<ServerContext>) -> (Session, Session) {
    let peer = Peer {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        host: None,
        server_name: None,
        alpn: None,
    };
    let (mut to_server, mut to_client, mut plaintext) = (Vec::new(), Vec::new(), Vec::new());
    let mut left = client.connect(&peer, &mut to_server).unwrap();
    let mut right = server.accept();
    while !to_server.is_empty() || !to_client.is_empty() {
        right
            .read_tls(&std::mem::take(&mut to_server), &mut plaintext, &mut to_client)
            .unwrap();
        left.read_tls(&std::mem::take(&mut to_client), &mut plaintext, &mut to_server)
            .unwrap();
    }
    left.write(&[0; 20_000], &mut to_server).unwrap();
    right.read_tls(&to_server, &mut plaintext, &mut to_client).unwrap();
    assert!(left.is_established() && right.is_established());
    (left, right)
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn an_idle_session_takes_a_few_kib() {
    const SESSIONS: usize = 400;
    let (client, server) = contexts();
    // What is allocated once, and what the allocator keeps of handshakes, is there before counting begins.
    let warm: Vec<_> = (0..50).map(|_| established(&client, &server)).collect();
    let before = resident_kib();
    let held: Vec<_> = (0..SESSIONS).map(|_| established(&client, &server)).collect();
    let bytes = (resident_kib() - before) * 1024 / (2 * SESSIONS);
    println!("{bytes} bytes a session, one side");
    assert_eq!(held.len() + warm.len(), SESSIONS + 50);
    assert!(bytes < 4500, "{bytes} bytes a session, one side");
}
