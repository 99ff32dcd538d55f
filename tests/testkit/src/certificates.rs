//! Certificates of a test's own authority, with SPIFFE identities.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa};
use rcgen::{KeyPair, KeyUsagePurpose, SanType};

use crate::Directory;

/// A certificate authority. Its files, and those of the certificates it issues, are in the test's directory.
#[derive(Debug)]
pub struct Authority<'a> {
    directory: &'a Directory,
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Its certificate, PEM.
    pub certificate: PathBuf,
}

/// An issued certificate and its key, PEM files.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl<'a> Authority<'a> {
    /// Makes an authority.
    ///
    /// # Panics
    /// Keys cannot be made.
    #[must_use]
    pub fn new(directory: &'a Directory, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key can be made");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate can be signed");
        let certificate = directory.write(&format!("{name}.pem"), &issuer.pem());
        Self {
            directory,
            issuer,
            certificate,
        }
    }

    /// Issues a certificate with a SPIFFE identity and the names `localhost` and 127.0.0.1.
    ///
    /// # Panics
    /// The identity is no URI.
    #[must_use]
    pub fn issue(&self, name: &str, spiffe: &str) -> Identity {
        let mut params =
            CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("these are names");
        params.distinguished_name.push(DnType::CommonName, name);
        params
            .subject_alt_names
            .push(SanType::URI(spiffe.try_into().expect("an identity is an ASCII string")));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("a certificate can be signed");
        Identity {
            certificate: self.directory.write(&format!("{name}.pem"), &certificate.pem()),
            key: self.directory.write(&format!("{name}.key"), &key.serialize_pem()),
        }
    }
}
