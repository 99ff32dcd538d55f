//! The validator in the two shapes rustls asks for.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::validation::{Purpose, Validator};

/// Checks servers, for a client context.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    pub(crate) validator: Arc<Validator>,
    /// The certificate must carry the name that was asked for.
    pub(crate) auto_sni_san_validation: bool,
}

/// Checks clients, for a server context.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    pub(crate) validator: Arc<Validator>,
    pub(crate) required: bool,
    /// Whether to name the trusted authorities to the client.
    pub(crate) send_authorities: bool,
}

macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.validator.provider.signature_verification_algorithms;
            verify_tls12_signature(message, certificate, signature, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.validator.provider.signature_verification_algorithms;
            verify_tls13_signature(message, certificate, signature, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.validator
                .provider
                .signature_verification_algorithms
                .supported_schemes()
        }
    };
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // An address is no SNI: rustls is given one when nothing was asked for.
        let host = match server_name {
            ServerName::DnsName(name) if self.auto_sni_san_validation => Some(name.as_ref()),
            _ => None,
        };
        self.validator
            .verify(end_entity, intermediates, Purpose::Server, host, now)?;
        Ok(ServerCertVerified::assertion())
    }

    signatures!();
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        if self.send_authorities {
            self.validator.root_subjects()
        } else {
            &[]
        }
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.validator
            .verify(end_entity, intermediates, Purpose::Client, None, now)?;
        Ok(ClientCertVerified::assertion())
    }

    signatures!();
}
