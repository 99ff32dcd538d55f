use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::X509Certificate;
use xds_api::envoy::extensions::transport_sockets::tls::v3::Secret;
use xds_api::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use xds_api::prost::Message;

use super::identities::Identities;
use super::root::Authority;
use crate::compile::resource::Version;
use crate::model::{MeshSettings, Name};

const HOUR: Duration = Duration::from_secs(3600);
const DOMAIN: &str = "mesh.test";

/// 2026-01-01T00:00:00Z.
fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

/// A path at which there is nothing, removed with the test.
struct State(PathBuf);

impl State {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("remora-state-{}-{number}", std::process::id())))
    }

    fn root(&self) -> PathBuf {
        self.0.join("root.pem")
    }

    fn open(&self) -> Result<Authority, String> {
        Authority::open(&self.0, DOMAIN, start()).map_err(|error| error.to_string())
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn with_certificate<T>(pem: &str, look: impl FnOnce(&X509Certificate<'_>) -> T) -> T {
    let (_, pem) = parse_x509_pem(pem.as_bytes()).unwrap();
    look(&pem.parse_x509().unwrap())
}

fn uris(certificate: &X509Certificate<'_>) -> Vec<String> {
    let sans = certificate.subject_alternative_name().unwrap().unwrap();
    let uris = sans.value.general_names.iter().map(|name| match name {
        GeneralName::URI(uri) => (*uri).to_owned(),
        other => panic!("{other:?}"),
    });
    uris.collect()
}

#[test]
fn the_root_persists_and_nobody_else_can_read_it() {
    let state = State::new();
    let first = state.open().unwrap().root_pem().to_owned();
    assert_eq!((mode(&state.0), mode(&state.root())), (0o700, 0o600));
    assert_eq!(fs::read_dir(&state.0).unwrap().count(), 1, "no draft is left behind");
    assert_eq!(state.open().unwrap().root_pem(), first);
}

#[test]
fn rights_that_others_have_are_taken_away() {
    let state = State::new();
    fs::create_dir_all(&state.0).unwrap();
    fs::set_permissions(&state.0, fs::Permissions::from_mode(0o755)).unwrap();
    state.open().unwrap();
    fs::set_permissions(state.root(), fs::Permissions::from_mode(0o644)).unwrap();
    state.open().unwrap();
    assert_eq!((mode(&state.0), mode(&state.root())), (0o700, 0o600));
}

#[test]
fn a_stored_root_that_cannot_be_used_is_named_and_never_replaced() {
    let state = State::new();
    state.open().unwrap();
    let good = fs::read_to_string(state.root()).unwrap();
    let other_key = State::new();
    other_key.open().unwrap();
    let other = fs::read_to_string(other_key.root()).unwrap();
    let certificate_at = good.find("-----BEGIN CERTIFICATE").unwrap();
    let other_at = other.find("-----BEGIN CERTIFICATE").unwrap();
    let mixed = format!("{}{}", &other[..other_at], &good[certificate_at..]);
    for (stored, reason) in [
        ("", "no certificate"),
        (&good[..40], "no certificate"),
        (&good[certificate_at..], "no usable key"),
        (&mixed, "its key is not its certificate's"),
    ] {
        fs::write(state.root(), stored).unwrap();
        let error = state.open().err().unwrap();
        assert!(error.contains(reason) && error.contains("root.pem"), "{error}");
        assert_eq!(fs::read_to_string(state.root()).unwrap(), stored);
    }
    fs::write(state.root(), &good).unwrap();
    let error = Authority::open(&state.0, "other.test", start())
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("is the root of spiffe://mesh.test, not of spiffe://other.test"),
        "{error}"
    );
    let error = Authority::open(&state.0, DOMAIN, start() + 11 * 365 * 24 * HOUR)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("expired"), "{error}");
}

#[test]
fn a_certificate_is_an_svid_signed_by_the_root() {
    let state = State::new();
    let authority = state.open().unwrap();
    let id = "spiffe://mesh.test/ns/demo/sa/greeter";
    let issued = authority.issue(id, HOUR, start()).unwrap();
    let (_, root) = parse_x509_pem(authority.root_pem().as_bytes()).unwrap();
    let root = root.parse_x509().unwrap();
    with_certificate(&issued.certificate_pem, |leaf| {
        leaf.verify_signature(Some(root.public_key())).unwrap();
        assert_eq!(leaf.issuer(), root.subject());
        assert_eq!(uris(leaf), [id]);
        assert!(leaf.subject().iter().next().is_none(), "the SPIFFE ID is the only name");
        assert!(!leaf.is_ca());
        let usage = leaf.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && !usage.key_cert_sign());
        let extended = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.server_auth && extended.client_auth);
        let seconds = leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp();
        assert_eq!(seconds, 3600 + 60);
        let san = leaf
            .extensions()
            .iter()
            .find(|extension| matches!(extension.parsed_extension(), ParsedExtension::SubjectAlternativeName(_)));
        assert!(
            san.unwrap().critical,
            "without a subject the name must be critical (RFC 5280, section 4.2.1.6)"
        );
    });
    assert!(root.is_ca());
}

#[test]
fn rustls_accepts_the_chain_for_both_ends() {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, UnixTime};
    use rustls::server::WebPkiClientVerifier;
    let state = State::new();
    let authority = state.open().unwrap();
    let issued = authority
        .issue("spiffe://mesh.test/ns/demo/sa/greeter", HOUR, start())
        .unwrap();
    let certificate = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.root_pem().as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .unwrap();
    let at = |time: SystemTime| UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap());
    verifier
        .verify_client_cert(&certificate, &[], at(start() + HOUR / 2))
        .unwrap();
    assert!(
        verifier
            .verify_client_cert(&certificate, &[], at(start() + 2 * HOUR))
            .is_err()
    );
    let stranger = State::new()
        .open()
        .unwrap()
        .issue("spiffe://mesh.test/ns/demo/sa/greeter", HOUR, start())
        .unwrap();
    let stranger = CertificateDer::from_pem_slice(stranger.certificate_pem.as_bytes()).unwrap();
    assert!(
        verifier
            .verify_client_cert(&stranger, &[], at(start() + HOUR / 2))
            .is_err()
    );
}

fn identities(state: &State) -> Identities {
    Identities::new(state.open().unwrap(), MeshSettings::new(DOMAIN), HOUR)
}

fn account() -> Name {
    Name::new("demo", "greeter")
}

fn version(identities: &Identities, now: SystemTime) -> Version {
    identities.secrets(&account(), now).unwrap()["default"].version
}

#[test]
fn an_account_has_one_certificate_until_about_half_its_life() {
    let state = State::new();
    let identities = identities(&state);
    let first = version(&identities, start());
    let due = identities.next_renewal().unwrap();
    assert!(due >= start() + HOUR / 2 && due <= start() + HOUR * 6 / 10);
    identities.renew(due - Duration::from_secs(1));
    assert_eq!(version(&identities, due), first);
    let mut renewals = identities.renewals();
    renewals.mark_unchanged();
    identities.renew(due);
    assert!(renewals.has_changed().unwrap());
    assert_ne!(version(&identities, due), first);
    assert!(identities.next_renewal().unwrap() >= due + HOUR / 2);
}

#[test]
fn a_certificate_that_nobody_asks_for_is_not_renewed_for_ever() {
    let state = State::new();
    let identities = identities(&state);
    version(&identities, start());
    let once = identities.next_renewal().unwrap();
    identities.renew(once);
    let twice = identities.next_renewal().unwrap();
    identities.renew(twice);
    assert_eq!(identities.next_renewal(), None);
}

#[test]
fn the_secrets_hold_the_chain_the_key_and_the_root() {
    let state = State::new();
    let secrets = identities(&state).secrets(&account(), start()).unwrap();
    let names: Vec<&str> = secrets.keys().map(|name| &**name).collect();
    assert_eq!(names, ["ROOTCA", "default"]);
    let read = |name: &str| Secret::decode(secrets[name].body.value.as_slice()).unwrap();
    assert!(matches!(read("ROOTCA").r#type, Some(Type::ValidationContext(_))));
    let Some(Type::TlsCertificate(certificate)) = read("default").r#type else {
        panic!("no certificate");
    };
    assert!(certificate.certificate_chain.is_some() && certificate.private_key.is_some());
    assert!(
        !format!("{:?}", secrets["default"]).contains("PRIVATE"),
        "no key in a log"
    );
}
