//! Why a TLS session failed.

use std::fmt;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, PeerIncompatible};
use telemetry::stats::{Counter, ssl};

/// Why a peer's certificate was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyFailure {
    /// A certificate was asked for and none came.
    #[error("the peer presented no certificate")]
    NoCertificate,
    /// No chain to a trusted root, expired, revoked, or not to be used like this.
    #[error("the certificate is not trusted: {0}")]
    Untrusted(Box<str>),
    /// No subject alternative name matches what is expected.
    #[error("no subject alternative name of the certificate matches: it has {0}")]
    SubjectAltName(Box<str>),
    /// Neither hash nor public key is one of those pinned.
    #[error("the certificate is not one of those pinned")]
    Pin,
}

/// Why a TLS session failed. It is over then; what was to be said to the peer is in the output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The peer does not speak TLS: these are the first bytes it sent. The commonest of mistakes in a mesh.
    #[error("the peer speaks plaintext, not TLS (it sent {0:?})")]
    Plaintext(Box<str>),
    /// The peer's certificate was not accepted.
    #[error("{0}")]
    Verify(VerifyFailure),
    /// The peer ended the session with this alert: its side knows why.
    #[error("the peer sent the alert {0}")]
    Alert(AlertName),
    /// Both sides share no version, cipher suite, group or signature scheme.
    #[error("no common parameters: {0}")]
    Incompatible(Box<str>),
    /// The peer broke the protocol, or a record was forged.
    #[error("{0}")]
    Protocol(Box<str>),
    /// Data was written before the handshake was done, or after the session ended.
    #[error("the session carries no data now")]
    NotEstablished,
}

impl TlsError {
    /// The `ssl.*` counter this failure belongs to.
    pub fn stat(&self) -> Counter {
        match self {
            TlsError::Verify(VerifyFailure::NoCertificate) => ssl::FAIL_VERIFY_NO_CERT,
            TlsError::Verify(VerifyFailure::Untrusted(_)) => ssl::FAIL_VERIFY_ERROR,
            TlsError::Verify(VerifyFailure::SubjectAltName(_)) => ssl::FAIL_VERIFY_SAN,
            TlsError::Verify(VerifyFailure::Pin) => ssl::FAIL_VERIFY_CERT_HASH,
            TlsError::Plaintext(_)
            | TlsError::Alert(_)
            | TlsError::Incompatible(_)
            | TlsError::Protocol(_)
            | TlsError::NotEstablished => ssl::CONNECTION_ERROR,
        }
    }

    pub(crate) fn protocol(what: &str) -> TlsError {
        TlsError::Protocol(what.into())
    }
}

/// A TLS alert by the name RFC 8446, section 6, gives it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AlertName(pub(crate) AlertDescription);

impl fmt::Debug for AlertName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for AlertName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // rustls names them `UnknownCA`; the RFC's names are `unknown_ca`.
        let name = format!("{:?}", self.0);
        let mut previous_lower = false;
        for character in name.chars() {
            if character.is_ascii_uppercase() && previous_lower {
                fmt::Write::write_char(formatter, '_')?;
            }
            previous_lower = character.is_ascii_lowercase();
            fmt::Write::write_char(formatter, character.to_ascii_lowercase())?;
        }
        Ok(())
    }
}

/// Carries a [`VerifyFailure`] out of rustls' verification.
pub(crate) fn verify_failed(failure: VerifyFailure) -> rustls::Error {
    let kind = match failure {
        VerifyFailure::NoCertificate => return rustls::Error::NoCertificatesPresented,
        other => CertificateError::Other(rustls::OtherError(Arc::new(other))),
    };
    rustls::Error::InvalidCertificate(kind)
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> TlsError {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(inner))) => {
                match inner.downcast_ref::<VerifyFailure>() {
                    Some(failure) => TlsError::Verify(failure.clone()),
                    None => TlsError::Verify(VerifyFailure::Untrusted(inner.to_string().into())),
                }
            }
            rustls::Error::InvalidCertificate(error) => {
                TlsError::Verify(VerifyFailure::Untrusted(error.to_string().into()))
            }
            rustls::Error::NoCertificatesPresented => TlsError::Verify(VerifyFailure::NoCertificate),
            rustls::Error::AlertReceived(alert) => TlsError::Alert(AlertName(alert)),
            rustls::Error::PeerIncompatible(PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon) => {
                TlsError::Incompatible("no signature scheme for the client certificate".into())
            }
            rustls::Error::PeerIncompatible(what) => TlsError::Incompatible(format!("{what:?}").into()),
            other => TlsError::Protocol(other.to_string().into()),
        }
    }
}

/// Why a context could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// A secret it refers to has not come yet: to be tried again when it has.
    #[error("the secret {0:?} has not been received yet")]
    NotReady(Arc<str>),
    /// A file could not be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// The file, as configured.
        path: Box<str>,
        /// What the system said.
        error: Box<str>,
    },
    /// What a secret, file or variable holds cannot be used.
    #[error("{0}")]
    Invalid(Box<str>),
}
