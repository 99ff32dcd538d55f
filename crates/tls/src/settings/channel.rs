//! TLS as a gRPC channel of its own speaks it: the name asked for is the name the certificate must carry.

use config::data_source::DataSource;
use rustls::pki_types::ServerName;

use super::{
    CertificateValidationContext, Certificates, CommonTlsContext, TlsCertificate, UpstreamTlsContext, Validation,
};
use crate::parameters::Parameters;

impl UpstreamTlsContext {
    /// TLS to a host whose certificate, for just that name, comes from one of `roots`, with HTTP/2 inside. None where the
    /// host is no name that a certificate can carry.
    pub fn of_channel(host: &str, roots: DataSource, certificate: Option<TlsCertificate>) -> Option<Self> {
        let sni = ServerName::try_from(host.to_owned()).ok()?;
        let validation = CertificateValidationContext {
            trusted_ca: Some(roots),
            ..CertificateValidationContext::default()
        };
        Some(Self {
            common: CommonTlsContext {
                parameters: Parameters::default(),
                certificates: Certificates::Inline(certificate.into_iter().collect()),
                validation: Validation::Inline(Box::new(validation)),
                alpn_protocols: vec![Box::from(&b"h2"[..])],
            },
            sni: Some(sni),
            auto_host_sni: false,
            auto_sni_san_validation: true,
            max_session_keys: 1,
        })
    }
}
