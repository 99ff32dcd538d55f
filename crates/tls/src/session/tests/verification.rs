//! Whose certificate is accepted.

use rcgen::{SerialNumber, date_time_ymd};

use super::*;
use crate::error::VerifyFailure;
use crate::settings::CertificateValidationContext;

/// What the server says of a client with this certificate, and the client of the server.
fn outcome(
    leaf: Option<&Leaf>,
    server_leaf: &Leaf,
    client_validation: Validation,
    server_validation: Validation,
) -> (Option<TlsError>, Option<TlsError>) {
    let server = server(&downstream(server_leaf, server_validation));
    let client = client(&upstream(leaf, client_validation));
    let (mut left, mut right) = connect(&client, &server, &PEER);
    converse(&mut left, &mut right, usize::MAX);
    (left.failure, right.failure)
}

fn stranger_name() -> Box<str> {
    "spiffe://cluster.local/ns/other/sa/stranger".into()
}

#[test]
fn a_peer_with_the_wrong_identity_is_refused_by_either_side() {
    let authority = Authority::new("mesh");
    let stranger = authority.leaf(&["spiffe://cluster.local/ns/other/sa/stranger"]);
    let (frontend, backend) = (authority.leaf(&[FRONTEND]), authority.leaf(&[BACKEND]));
    let good_server = server(&downstream(&backend, trust(&authority, vec![uri(FRONTEND)])));
    let good_client = client(&upstream(Some(&frontend), trust(&authority, vec![uri(BACKEND)])));

    let bad_client = client(&upstream(Some(&stranger), trust(&authority, vec![uri(BACKEND)])));
    let (mut left, mut right) = connect(&bad_client, &good_server, &PEER);
    converse(&mut left, &mut right, usize::MAX);
    let failure = right.failure.unwrap();
    assert_eq!(
        failure,
        TlsError::Verify(VerifyFailure::SubjectAltName(stranger_name()))
    );
    assert_eq!(failure.stat(), telemetry::stats::ssl::FAIL_VERIFY_SAN);
    assert_eq!(
        left.failure.unwrap().to_string(),
        "the peer sent the alert certificate_unknown"
    );

    let bad_server = server(&downstream(&stranger, trust(&authority, vec![uri(FRONTEND)])));
    let (mut left, mut right) = connect(&good_client, &bad_server, &PEER);
    converse(&mut left, &mut right, usize::MAX);
    assert_eq!(
        left.failure.unwrap(),
        TlsError::Verify(VerifyFailure::SubjectAltName(stranger_name()))
    );
    assert_eq!(
        right.failure.unwrap().to_string(),
        "the peer sent the alert certificate_unknown"
    );
}

#[test]
fn only_certificates_of_trusted_authorities_that_are_valid_now_are_accepted() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let good = ours.leaf(&[BACKEND]);
    let server_says = |leaf: Option<&Leaf>| outcome(leaf, &good, trust(&ours, vec![]), trust(&ours, vec![])).1;
    assert_eq!(server_says(Some(&ours.leaf(&[FRONTEND]))), None);
    let reason = |leaf: Option<&Leaf>| match server_says(leaf) {
        Some(TlsError::Verify(VerifyFailure::Untrusted(reason))) => reason.into_string(),
        other => panic!("{other:?}"),
    };
    assert!(reason(Some(&theirs.leaf(&[FRONTEND]))).contains("UnknownIssuer"));
    let expired = ours.leaf_with(&[FRONTEND], |params| params.not_after = date_time_ymd(2020, 1, 1));
    assert!(reason(Some(&expired)).contains("xpired"));
    let future = ours.leaf_with(&[FRONTEND], |params| params.not_before = date_time_ymd(2200, 1, 1));
    assert!(reason(Some(&future)).contains("NotValidYet") || reason(Some(&future)).contains("not valid yet"));
    let for_servers = ours.leaf_with(&[FRONTEND], |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    assert!(
        reason(Some(&for_servers)).to_lowercase().contains("purpose"),
        "{}",
        reason(Some(&for_servers))
    );
    assert_eq!(server_says(None), Some(TlsError::Verify(VerifyFailure::NoCertificate)));
}

#[test]
fn a_client_checks_the_chain_but_no_host_name_unless_told_to() {
    let authority = Authority::new("mesh");
    let backend = authority.leaf(&["*.example.com"]);
    let server = server(&downstream(&backend, Validation::None));
    let mut settings = upstream(None, trust(&authority, vec![]));
    settings.auto_host_sni = true;
    let result = |settings: &crate::UpstreamTlsContext, host: &str| {
        let (mut left, mut right) = connect(
            &client(settings),
            &server,
            &Peer {
                host: Some(host),
                ..PEER
            },
        );
        converse(&mut left, &mut right, usize::MAX);
        assert_eq!(right.session.server_name(), Some(host));
        left.failure
    };
    assert_eq!(result(&settings, "other.example.org"), None);
    settings.auto_sni_san_validation = true;
    assert_eq!(result(&settings, "api.example.com"), None);
    assert!(matches!(
        result(&settings, "other.example.org"),
        Some(TlsError::Verify(VerifyFailure::SubjectAltName(_)))
    ));
    let untrusting = upstream(None, Validation::None);
    let (mut left, mut right) = connect(&client(&untrusting), &server, &PEER);
    converse(&mut left, &mut right, usize::MAX);
    assert_eq!((left.failure, left.done), (None, true));
    assert!(!left.session.peer_identity().unwrap().verified);
}

#[test]
fn an_intermediate_sent_along_completes_the_chain_within_the_depth_allowed() {
    let root = Authority::new("root");
    let intermediate = root.intermediate("intermediate");
    let mut leaf = intermediate.leaf(&[FRONTEND]);
    let server_leaf = root.leaf(&[BACKEND]);
    let with_depth = |depth| {
        Validation::Inline(Box::new(CertificateValidationContext {
            trusted_ca: Some(inline(&root.pem)),
            max_verify_depth: depth,
            ..CertificateValidationContext::default()
        }))
    };
    let says = |leaf: &Leaf, depth| outcome(Some(leaf), &server_leaf, trust(&root, vec![]), with_depth(depth)).1;
    assert!(says(&leaf, None).is_some(), "the intermediate is missing");
    leaf.certificate.push_str(&intermediate.pem);
    assert_eq!(says(&leaf, None), None);
    assert_eq!(says(&leaf, Some(2)), None);
    assert!(says(&leaf, Some(1)).is_some());
    assert_eq!(says(&root.leaf(&[FRONTEND]), Some(1)), None);
}

#[test]
fn a_revoked_certificate_is_refused() {
    let authority = Authority::new("mesh");
    let server_leaf = authority.leaf(&[BACKEND]);
    let numbered = |serial: u64| {
        authority.leaf_with(&[FRONTEND], |params| {
            params.serial_number = Some(SerialNumber::from(serial))
        })
    };
    let validation = Validation::Inline(Box::new(CertificateValidationContext {
        trusted_ca: Some(inline(&authority.pem)),
        crl: Some(inline(&authority.revocation_list(77))),
        ..CertificateValidationContext::default()
    }));
    let says = |leaf: &Leaf| outcome(Some(leaf), &server_leaf, trust(&authority, vec![]), validation.clone()).1;
    assert_eq!(says(&numbered(78)), None);
    assert!(
        says(&numbered(77))
            .unwrap()
            .to_string()
            .to_lowercase()
            .contains("revoked")
    );
}

#[test]
fn a_pinned_certificate_is_accepted_by_hash_or_key() {
    let authority = Authority::new("mesh");
    let (leaf, server_leaf) = (authority.leaf(&[FRONTEND]), authority.leaf(&[BACKEND]));
    let (mut left, mut right) = established(
        &client(&upstream(Some(&leaf), Validation::None)),
        &server(&downstream(&server_leaf, trust(&authority, vec![]))),
    );
    converse(&mut left, &mut right, usize::MAX);
    let digits = right.session.peer_identity().unwrap().sha256_fingerprint();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    let mut hash = [0; 32];
    (0..32).for_each(|at| hash[at] = byte(2 * at));
    let pinned = |hash| {
        Validation::Inline(Box::new(CertificateValidationContext {
            verify_certificate_hash: vec![[1; 32], hash],
            ..CertificateValidationContext::default()
        }))
    };
    let says = |hash| outcome(Some(&leaf), &server_leaf, Validation::None, pinned(hash)).1;
    assert_eq!(says(hash), None);
    assert_eq!(says([2; 32]), Some(TlsError::Verify(VerifyFailure::Pin)));
    assert_eq!(
        says([2; 32]).unwrap().stat(),
        telemetry::stats::ssl::FAIL_VERIFY_CERT_HASH
    );
}

#[test]
fn a_leaf_that_is_itself_trusted_is_accepted() {
    let own = Authority::new("self");
    let self_signed = rcgen::generate_simple_self_signed(vec!["self.example".to_owned()]).unwrap();
    let leaf = Leaf {
        certificate: self_signed.cert.pem(),
        key: self_signed.signing_key.serialize_pem(),
    };
    let validation = Validation::Inline(Box::new(CertificateValidationContext {
        trusted_ca: Some(inline(&leaf.certificate)),
        ..CertificateValidationContext::default()
    }));
    assert_eq!(outcome(None, &leaf, validation.clone(), Validation::None).0, None);
    assert!(
        outcome(None, &own.leaf(&[BACKEND]), validation, Validation::None)
            .0
            .is_some()
    );
}
