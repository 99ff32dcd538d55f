//! Whether a peer's certificate is accepted: trust, revocation, names and pins
//! (`envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext`).

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor, UnixTime};
use rustls::{CertificateError, DistinguishedName, Error};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath, anchor_from_trusted_cert,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::certificate::{CertificateDetails, certificates, subject_alt_names};
use crate::error::{VerifyFailure, verify_failed};
use crate::identity::fingerprint;
use crate::subject_alt_name::{SanMatcher, SubjectAltName, dns_name_matches};

/// Authorities a peer's certificate may come from.
#[derive(Debug)]
pub(crate) struct Roots {
    anchors: Vec<TrustAnchor<'static>>,
    certificates: Vec<CertificateDer<'static>>,
    pub(crate) details: Box<[CertificateDetails]>,
    subjects: Vec<DistinguishedName>,
}

impl Roots {
    /// Reads a PEM bundle.
    pub(crate) fn read(pem: &[u8], path: &Arc<str>) -> Result<Roots, String> {
        let certificates = certificates(pem).map_err(|reason| format!("trusted_ca {reason}"))?;
        let mut details = Vec::with_capacity(certificates.len());
        let mut anchors = Vec::with_capacity(certificates.len());
        for certificate in &certificates {
            details.push(CertificateDetails::read(certificate, path).map_err(|reason| format!("trusted_ca {reason}"))?);
            let anchor = anchor_from_trusted_cert(certificate)
                .map_err(|error| format!("trusted_ca holds a certificate that can't be an authority: {error}"))?;
            anchors.push(anchor.to_owned());
        }
        let subjects = anchors
            .iter()
            .map(|anchor: &TrustAnchor<'_>| DistinguishedName::in_sequence(&anchor.subject))
            .collect();
        Ok(Roots {
            anchors,
            certificates,
            details: details.into(),
            subjects,
        })
    }
}

/// Reads PEM revocation lists.
pub(crate) fn revocation_lists(pem: &[u8]) -> Result<Vec<CertRevocationList<'static>>, String> {
    let mut lists = Vec::new();
    for list in CertificateRevocationListDer::pem_slice_iter(pem) {
        let list = list.map_err(|error| format!("crl is no PEM: {error}"))?;
        let list = OwnedCertRevocationList::from_der(&list).map_err(|error| format!("crl cannot be read: {error}"))?;
        lists.push(CertRevocationList::from(list));
    }
    if lists.is_empty() {
        return Err("crl holds no PEM revocation list".to_owned());
    }
    Ok(lists)
}

/// Which end of a connection the certificate is for (RFC 5280, section 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Server,
    Client,
}

/// Everything that decides whether a peer's certificate is accepted.
#[derive(Debug)]
pub(crate) struct Validator {
    pub(crate) provider: Arc<CryptoProvider>,
    /// Without them no chain is checked, as in Envoy.
    pub(crate) roots: Option<Arc<Roots>>,
    pub(crate) revocation_lists: Vec<CertRevocationList<'static>>,
    pub(crate) only_verify_leaf_cert_crl: bool,
    /// Certificates above the leaf, the authority included.
    pub(crate) max_verify_depth: Option<u32>,
    /// Any of them; none means any name will do.
    pub(crate) san_matchers: Vec<SanMatcher>,
    /// SHA-256 of the leaf in DER.
    pub(crate) certificate_hashes: Vec<[u8; 32]>,
    /// SHA-256 of the leaf's public key in DER.
    pub(crate) spki_hashes: Vec<[u8; 32]>,
}

impl Validator {
    /// Whether a peer must show a certificate for the conditions to mean anything.
    pub(crate) fn needs_certificate(&self) -> bool {
        !self.san_matchers.is_empty() || !self.certificate_hashes.is_empty() || !self.spki_hashes.is_empty()
    }

    /// Whether anything vouches for an accepted certificate.
    pub(crate) fn verifies(&self) -> bool {
        self.roots.is_some() || !self.certificate_hashes.is_empty() || !self.spki_hashes.is_empty()
    }

    /// Subjects of the trusted authorities, sent to clients so that they can choose a certificate.
    pub(crate) fn root_subjects(&self) -> &[DistinguishedName] {
        self.roots.as_ref().map_or(&[], |roots| &roots.subjects)
    }

    /// Checks a certificate. `host` replaces the configured names (`auto_sni_san_validation`).
    pub(crate) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        purpose: Purpose,
        host: Option<&str>,
        now: UnixTime,
    ) -> Result<(), Error> {
        if let Some(roots) = &self.roots {
            self.verify_chain(roots, leaf, intermediates, purpose, now)?;
        }
        let needs_names = host.is_some() || !self.san_matchers.is_empty();
        if !needs_names && self.certificate_hashes.is_empty() && self.spki_hashes.is_empty() {
            return Ok(());
        }
        let (_, certificate) =
            X509Certificate::from_der(leaf).map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if needs_names {
            let names = subject_alt_names(&certificate);
            let accepted = names.iter().any(|name| match (host, name) {
                (Some(host), SubjectAltName::Dns(name)) => dns_name_matches(name, host),
                (Some(host), SubjectAltName::IpAddress(address)) => host.parse() == Ok(*address),
                (Some(_), _) => false,
                (None, name) => self.san_matchers.iter().any(|matcher| matcher.matches(name)),
            });
            if !accepted {
                return Err(verify_failed(VerifyFailure::SubjectAltName(list(&names))));
            }
        }
        if !self.certificate_hashes.is_empty() || !self.spki_hashes.is_empty() {
            // Either kind of pin will do (Envoy: "if either matches").
            let pinned = self.certificate_hashes.contains(&fingerprint(leaf))
                || self.spki_hashes.contains(&fingerprint(certificate.public_key().raw));
            if !pinned {
                return Err(verify_failed(VerifyFailure::Pin));
            }
        }
        Ok(())
    }

    fn verify_chain(
        &self,
        roots: &Roots,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        purpose: Purpose,
        now: UnixTime,
    ) -> Result<(), Error> {
        let end_entity = EndEntityCert::try_from(leaf).map_err(untrusted)?;
        let lists: Vec<&CertRevocationList<'_>> = self.revocation_lists.iter().collect();
        let revocation = match RevocationOptionsBuilder::new(&lists) {
            Err(_) => None,
            Ok(options) => {
                let depth = if self.only_verify_leaf_cert_crl {
                    RevocationCheckDepth::EndEntity
                } else {
                    RevocationCheckDepth::Chain
                };
                // An issuer without a list cannot be checked: refused, as Envoy does; an outdated list too.
                let options = options.with_depth(depth).with_status_policy(UnknownStatusPolicy::Deny);
                Some(options.with_expiration_policy(ExpirationPolicy::Enforce).build())
            }
        };
        let usage = match purpose {
            Purpose::Server => KeyUsage::server_auth(),
            Purpose::Client => KeyUsage::client_auth(),
        };
        let limit = self.max_verify_depth.map_or(usize::MAX, |depth| depth as usize);
        let shallow = |path: &VerifiedPath<'_>| {
            // The authority counts, the leaf does not.
            let depth = path.intermediate_certificates().count() + 1;
            if depth > limit {
                Err(webpki::Error::MaximumPathDepthExceeded)
            } else {
                Ok(())
            }
        };
        let verified = end_entity.verify_for_usage(
            self.provider.signature_verification_algorithms.all,
            &roots.anchors,
            intermediates,
            now,
            usage,
            revocation,
            Some(&shallow),
        );
        match verified {
            Ok(_) => Ok(()),
            // The leaf itself is what is trusted, be it an authority or not (OpenSSL: partial chain). It must
            // still be valid now.
            Err(_) if self.revocation_lists.is_empty() && roots.certificates.iter().any(|root| root == leaf) => {
                within_validity(leaf, now)
            }
            Err(error) => Err(untrusted(error)),
        }
    }
}

fn within_validity(leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let details = CertificateDetails::read(leaf, &"".into())
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let now = UNIX_EPOCH + Duration::from_secs(now.as_secs());
    if now < details.valid_from {
        Err(Error::InvalidCertificate(CertificateError::NotValidYet))
    } else if now > details.expiration_time {
        Err(Error::InvalidCertificate(CertificateError::Expired))
    } else {
        Ok(())
    }
}

/// The names of a certificate, for the message that says none of them matched.
fn list(names: &[SubjectAltName]) -> Box<str> {
    const SHOWN: usize = 8;
    let mut text = String::new();
    for (position, name) in names.iter().take(SHOWN).enumerate() {
        let separator = if position == 0 { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}{}", name.text());
    }
    match names.len() {
        0 => text.push_str("none"),
        total if total > SHOWN => {
            let _ = write!(text, " and {} more", total - SHOWN);
        }
        _ => {}
    }
    text.into()
}

/// What went wrong with a chain, so that rustls sends the alert that fits.
fn untrusted(error: webpki::Error) -> Error {
    use webpki::Error as E;
    Error::InvalidCertificate(match error {
        E::CertExpired { .. } => CertificateError::Expired,
        E::CertNotValidYet { .. } => CertificateError::NotValidYet,
        E::UnknownIssuer => CertificateError::UnknownIssuer,
        E::CertRevoked => CertificateError::Revoked,
        E::CrlExpired { .. } => CertificateError::ExpiredRevocationList,
        E::UnknownRevocationStatus => CertificateError::UnknownRevocationStatus,
        E::BadDer | E::BadDerTime | E::TrailingData(_) => CertificateError::BadEncoding,
        E::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        E::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        other => return verify_failed(VerifyFailure::Untrusted(other.to_string().into())),
    })
}
