//! TLS settings as parsed: `DownstreamTlsContext`, `UpstreamTlsContext`, secrets
//! (`envoy.extensions.transport_sockets.tls.v3`).

mod channel;
mod parse;
mod support;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use config::data_source::DataSource;
use config::secret::SdsSecretConfig;
use config::{ExtensionConfig, References, ResourceType};
use rustls::pki_types::ServerName;

use crate::parameters::Parameters;
use crate::subject_alt_name::SanMatcher;

pub use parse::register;
pub use support::TABLES;

/// What both sides have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct CommonTlsContext {
    /// Versions, suites and groups.
    pub parameters: Parameters,
    /// What is presented to the peer.
    pub certificates: Certificates,
    /// What the peer must present.
    pub validation: Validation,
    /// Application protocols, most wanted first.
    pub alpn_protocols: Vec<Box<[u8]>>,
}

/// Where certificates come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Certificates {
    /// The settings themselves; none is possible for a client.
    Inline(Vec<TlsCertificate>),
    /// Secrets.
    Sds(Vec<SdsSecretConfig>),
}

/// Where the conditions on the peer's certificate come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Validation {
    /// There are none: the peer's certificate is not looked at.
    None,
    /// The settings themselves.
    Inline(Box<CertificateValidationContext>),
    /// A secret.
    Sds(SdsSecretConfig),
    /// A secret (trust) merged into the settings (names).
    Combined {
        /// What the secret is merged into.
        default: Box<CertificateValidationContext>,
        /// The secret.
        sds: SdsSecretConfig,
    },
}

/// A certificate chain and its key, in PEM.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsCertificate {
    /// The chain, leaf first.
    pub certificate_chain: DataSource,
    /// The key of the leaf.
    pub private_key: DataSource,
}

/// Conditions on a peer's certificate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CertificateValidationContext {
    /// Authorities, in PEM. Without them no chain is checked.
    pub trusted_ca: Option<DataSource>,
    /// Revocation lists, in PEM.
    pub crl: Option<DataSource>,
    /// Whether only the leaf is looked up in them.
    pub only_verify_leaf_cert_crl: bool,
    /// How many certificates may be above the leaf, the authority included.
    pub max_verify_depth: Option<u32>,
    /// Names, of which any will do; every name when empty.
    pub san_matchers: Vec<SanMatcher>,
    /// SHA-256 of the leaf in DER; any will do, also one of the next.
    pub verify_certificate_hash: Vec<[u8; 32]>,
    /// SHA-256 of the leaf's public key in DER.
    pub verify_certificate_spki: Vec<[u8; 32]>,
    /// Whether clients are not told which authorities are trusted.
    pub suppress_client_ca_list: bool,
}

/// TLS towards downstream: the transport socket of a filter chain.
#[derive(Clone, Debug, PartialEq)]
pub struct DownstreamTlsContext {
    /// What both sides have in common.
    pub common: CommonTlsContext,
    /// Whether a client without a certificate is refused.
    pub require_client_certificate: bool,
    /// Whether no tickets are given out.
    pub disable_stateless_session_resumption: bool,
    /// How long a session can be resumed.
    pub session_timeout: Option<Duration>,
    /// Whether every certificate is considered when none has the name asked for.
    pub full_scan_certs_on_sni_mismatch: bool,
}

/// TLS towards upstream: the transport socket of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamTlsContext {
    /// What both sides have in common.
    pub common: CommonTlsContext,
    /// The name to ask for.
    pub sni: Option<ServerName<'static>>,
    /// Whether the endpoint's host name, where it has one, is asked for instead.
    pub auto_host_sni: bool,
    /// Whether the certificate must carry the name asked for, instead of the configured names.
    pub auto_sni_san_validation: bool,
    /// How many sessions are remembered for resumption.
    pub max_session_keys: usize,
}

/// No TLS: `envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawBuffer;

/// What a secret holds.
#[derive(Clone, Debug, PartialEq)]
pub enum SecretConfig {
    /// A certificate and its key.
    TlsCertificate(TlsCertificate),
    /// Conditions on the peer's certificate.
    ValidationContext(Box<CertificateValidationContext>),
}

impl CommonTlsContext {
    fn references(&self, references: &mut References) {
        let mut add = |secret: &SdsSecretConfig| {
            references.add(ResourceType::Secret, &secret.name, secret.sds_config.as_ref());
        };
        if let Certificates::Sds(secrets) = &self.certificates {
            secrets.iter().for_each(&mut add);
        }
        if let Validation::Sds(sds) | Validation::Combined { sds, .. } = &self.validation {
            add(sds);
        }
    }

    /// Files the contexts of these settings are read from: when one changes, so does the context.
    pub fn files(&self) -> Vec<Arc<str>> {
        let mut files = Vec::new();
        if let Certificates::Inline(certificates) = &self.certificates {
            certificates
                .iter()
                .for_each(|certificate| certificate.files(&mut files));
        }
        if let Validation::Inline(validation)
        | Validation::Combined {
            default: validation, ..
        } = &self.validation
        {
            validation.files(&mut files);
        }
        files
    }
}

impl SecretConfig {
    /// Files the secret is read from: when one changes, so does the secret.
    pub fn files(&self) -> Vec<Arc<str>> {
        let mut files = Vec::new();
        match self {
            SecretConfig::TlsCertificate(certificate) => certificate.files(&mut files),
            SecretConfig::ValidationContext(validation) => validation.files(&mut files),
        }
        files
    }
}

impl TlsCertificate {
    fn files(&self, files: &mut Vec<Arc<str>>) {
        add_file(Some(&self.certificate_chain), files);
        add_file(Some(&self.private_key), files);
    }
}

impl CertificateValidationContext {
    fn files(&self, files: &mut Vec<Arc<str>>) {
        add_file(self.trusted_ca.as_ref(), files);
        add_file(self.crl.as_ref(), files);
    }
}

/// The directory that is watched for the file where there is one, or else the file.
fn add_file(source: Option<&DataSource>, files: &mut Vec<Arc<str>>) {
    if let Some(DataSource::Filename {
        path,
        watched_directory,
    }) = source
    {
        files.push(Arc::clone(watched_directory.as_ref().unwrap_or(path)));
    }
}

impl ExtensionConfig for DownstreamTlsContext {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn references(&self, references: &mut References) {
        self.common.references(references);
    }
}

impl ExtensionConfig for UpstreamTlsContext {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn references(&self, references: &mut References) {
        self.common.references(references);
    }
}

impl ExtensionConfig for RawBuffer {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl ExtensionConfig for SecretConfig {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests;
