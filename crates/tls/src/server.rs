//! What a filter chain accepts TLS connections with.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ClientHello as RustlsHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::certificate::{CertificateDetails, Identity};
use crate::error::ContextError;
use crate::loader::Material;
use crate::peek::ClientHello;
use crate::peers::Peers;
use crate::resumption::{DEFAULT_SESSION_TIMEOUT, Tickets};
use crate::session::Session;
use crate::settings::DownstreamTlsContext;
use crate::subject_alt_name::SubjectAltName;
use crate::verifier::ClientVerifier;

/// Certificates, trust and parameters of a filter chain, ready for use. Immutable: a new secret makes a new
/// context; sessions of the old one live on.
#[derive(Debug)]
pub struct ServerContext {
    with_alpn: Arc<ServerConfig>,
    resolver: Arc<Resolver>,
    /// The same without application protocols, for clients that offer none of ours.
    without_alpn: Arc<ServerConfig>,
    pub(crate) peers: Arc<Peers>,
    material: Material,
}

impl ServerContext {
    pub(crate) fn new(settings: &DownstreamTlsContext, material: Material) -> Result<ServerContext, ContextError> {
        let invalid = |reason: &str| ContextError::Invalid(reason.into());
        if material.identities.is_empty() {
            return Err(invalid("a server needs a certificate, and none is configured"));
        }
        let parameters = &settings.common.parameters;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&parameters.provider))
            .with_protocol_versions(&parameters.versions)
            .map_err(|error| ContextError::Invalid(error.to_string().into()))?;
        let validation = material.validation.as_ref();
        let required =
            settings.require_client_certificate || validation.is_some_and(|it| it.validator.needs_certificate());
        let builder = match validation {
            Some(validation) => builder.with_client_cert_verifier(Arc::new(ClientVerifier {
                validator: Arc::clone(&validation.validator),
                required,
                send_authorities: !validation.suppress_client_ca_list,
            })),
            // Envoy takes any certificate when one is required and nothing says which.
            None if required => builder.with_client_cert_verifier(Arc::new(ClientVerifier {
                validator: Material::accept_any(parameters),
                required,
                send_authorities: false,
            })),
            None => builder.with_no_client_auth(),
        };
        let resolver = Arc::new(Resolver::new(
            &material.identities,
            settings.full_scan_certs_on_sni_mismatch,
        ));
        let mut config = builder.with_cert_resolver(Arc::clone(&resolver) as Arc<dyn ResolvesServerCert>);
        // Sessions are kept by the clients, in tickets.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if settings.disable_stateless_session_resumption {
            config.send_tls13_tickets = 0;
        } else {
            config.ticketer = Arc::new(Tickets::new(
                settings.session_timeout.unwrap_or(DEFAULT_SESSION_TIMEOUT),
            ));
            config.send_tls13_tickets = 1;
        }
        // Our own record layer takes over after the handshake; the secrets don't leave this crate.
        config.enable_secret_extraction = true;
        let without_alpn = Arc::new(config.clone());
        config.alpn_protocols = settings
            .common
            .alpn_protocols
            .iter()
            .map(|protocol| protocol.to_vec())
            .collect();
        let verified = validation.is_some_and(|it| it.validator.verifies());
        Ok(ServerContext {
            with_alpn: Arc::new(config),
            resolver,
            without_alpn,
            peers: Peers::new(verified),
            material,
        })
    }

    /// The server's side of a connection that was just accepted.
    pub fn accept(self: &Arc<Self>) -> Session {
        Session::accept(Arc::clone(self))
    }

    /// The certificates this context presents, each a chain with the leaf first.
    pub fn certificate_chains(&self) -> impl Iterator<Item = &[CertificateDetails]> {
        self.material.identities.iter().map(|identity| &*identity.chain)
    }

    /// The authorities this context trusts.
    pub fn authorities(&self) -> &[CertificateDetails] {
        self.material.authorities()
    }

    /// rustls refuses a client that offers only protocols we don't have (RFC 7301, section 3.2); Envoy goes on
    /// without one, and a mesh depends on it.
    pub(crate) fn config_for(&self, hello: &ClientHello) -> Arc<ServerConfig> {
        let overlap = self
            .with_alpn
            .alpn_protocols
            .iter()
            .any(|protocol| hello.offers(protocol));
        Arc::clone(if overlap { &self.with_alpn } else { &self.without_alpn })
    }
}

impl ServerContext {
    /// The certificate a client that asks for this name is shown.
    pub(crate) fn leaf_for(&self, server_name: Option<&str>) -> Option<&Arc<CertificateDetails>> {
        let named = server_name.and_then(|name| self.resolver.candidates(name)?.first());
        self.material
            .identities
            .get(named.copied().unwrap_or(0))
            .map(|identity| &identity.leaf)
    }
}

/// Chooses a certificate by the name the client asks for (Envoy: TLS > Certificate selection).
#[derive(Debug)]
struct Resolver {
    certificates: Vec<Arc<CertifiedKey>>,
    /// Names in lower case, wildcards as `*.example.com`.
    by_name: HashMap<Box<str>, Vec<usize>>,
    /// Without a match any certificate the client can check will do, not only the first.
    full_scan: bool,
}

impl Resolver {
    fn new(identities: &[Arc<Identity>], full_scan: bool) -> Resolver {
        let mut by_name: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        for (index, identity) in identities.iter().enumerate() {
            let Some(leaf) = identity.chain.first() else { continue };
            let dns = leaf.subject_alt_names.iter().filter_map(|name| match name {
                SubjectAltName::Dns(name) => Some(&**name),
                _ => None,
            });
            let mut names: Vec<&str> = dns.collect();
            if names.is_empty() {
                names.extend(leaf.common_name.as_deref());
            }
            for name in names {
                by_name.entry(name.to_ascii_lowercase().into()).or_default().push(index);
            }
        }
        let certificates = identities
            .iter()
            .map(|identity| Arc::clone(&identity.certified))
            .collect();
        Resolver {
            certificates,
            by_name,
            full_scan,
        }
    }

    fn candidates(&self, name: &str) -> Option<&Vec<usize>> {
        if let Some(exact) = self.by_name.get(name) {
            return Some(exact);
        }
        let (_, domain) = name.split_once('.')?;
        self.by_name.get(format!("*.{domain}").as_str())
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: RustlsHello<'_>) -> Option<Arc<CertifiedKey>> {
        let usable =
            |certificate: &&Arc<CertifiedKey>| certificate.key.choose_scheme(hello.signature_schemes()).is_some();
        let named = hello
            .server_name()
            .and_then(|name| self.candidates(&name.to_ascii_lowercase()));
        if let Some(named) = named
            && let Some(certificate) = named.iter().map(|index| &self.certificates[*index]).find(usable)
        {
            return Some(Arc::clone(certificate));
        }
        if self.full_scan
            && let Some(certificate) = self.certificates.iter().find(usable)
        {
            return Some(Arc::clone(certificate));
        }
        self.certificates.first().cloned()
    }
}
