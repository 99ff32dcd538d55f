//! What a cluster makes TLS connections with.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::SignatureScheme;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;

use crate::certificate::CertificateDetails;
use crate::error::{ContextError, TlsError};
use crate::loader::Material;
use crate::peers::Peers;
use crate::resumption::Sessions;
use crate::session::{Peer, Session};
use crate::settings::UpstreamTlsContext;
use crate::verifier::ServerVerifier;

/// Certificate, trust and parameters of a cluster, ready for use. Immutable: a new secret makes a new context;
/// sessions of the old one live on.
#[derive(Debug)]
pub struct ClientContext {
    pub(crate) config: Arc<ClientConfig>,
    sni: Option<ServerName<'static>>,
    auto_host_sni: bool,
    pub(crate) peers: Arc<Peers>,
    material: Material,
}

impl ClientContext {
    pub(crate) fn new(settings: &UpstreamTlsContext, material: Material) -> Result<ClientContext, ContextError> {
        let parameters = &settings.common.parameters;
        let builder = ClientConfig::builder_with_provider(Arc::clone(&parameters.provider))
            .with_protocol_versions(&parameters.versions)
            .map_err(|error| ContextError::Invalid(error.to_string().into()))?;
        // Without a validation context nothing is checked, as in Envoy.
        let validator = match &material.validation {
            Some(validation) => Arc::clone(&validation.validator),
            None => Material::accept_any(parameters),
        };
        let verified = validator.verifies();
        let verifier = ServerVerifier {
            validator,
            auto_sni_san_validation: settings.auto_sni_san_validation,
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match material.identities.first() {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(Presents(Arc::clone(&identity.certified)))),
            None => builder.with_no_client_auth(),
        };
        config.resumption = match settings.max_session_keys {
            0 => Resumption::disabled(),
            limit => Resumption::store(Arc::new(Sessions::new(limit))),
        };
        config.alpn_protocols = settings
            .common
            .alpn_protocols
            .iter()
            .map(|protocol| protocol.to_vec())
            .collect();
        // Our own record layer takes over after the handshake; the secrets don't leave this crate.
        config.enable_secret_extraction = true;
        Ok(ClientContext {
            config: Arc::new(config),
            sni: settings.sni.clone(),
            auto_host_sni: settings.auto_host_sni,
            peers: Peers::new(verified),
            material,
        })
    }

    /// The client's side of a connection that was just made. The first flight is appended to `output`.
    ///
    /// # Errors
    /// When no session can be begun with these parameters.
    pub fn connect(&self, peer: &Peer<'_>, output: &mut Vec<u8>) -> Result<Session, TlsError> {
        Session::connect(self, peer, output)
    }

    /// The certificate chain this context presents when asked, leaf first; empty without one.
    pub fn certificate_chain(&self) -> &[CertificateDetails] {
        self.material.identities.first().map_or(&[], |identity| &identity.chain)
    }

    /// The certificate this context presents when asked.
    pub(crate) fn leaf(&self) -> Option<&Arc<CertificateDetails>> {
        self.material.identities.first().map(|identity| &identity.leaf)
    }

    /// The authorities this context trusts.
    pub fn authorities(&self) -> &[CertificateDetails] {
        self.material.authorities()
    }

    /// The application protocols this context offers.
    pub fn alpn_protocols(&self) -> &[Vec<u8>] {
        &self.config.alpn_protocols
    }

    /// The name to ask for; the address where there is none, which is not sent but tells sessions apart.
    pub(crate) fn server_name(&self, peer: &Peer<'_>) -> ServerName<'static> {
        let host = peer.server_name.or(peer.host.filter(|_| self.auto_host_sni));
        let host = host.and_then(|host| ServerName::try_from(host.to_owned()).ok());
        match host.or_else(|| self.sni.clone()) {
            Some(name @ ServerName::DnsName(_)) => name,
            _ => ServerName::from(peer.address),
        }
    }
}

/// Presents the same certificate to whoever asks.
#[derive(Debug)]
struct Presents(Arc<CertifiedKey>);

impl ResolvesClientCert for Presents {
    fn resolve(&self, _root_hint_subjects: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.key.choose_scheme(schemes)?;
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
