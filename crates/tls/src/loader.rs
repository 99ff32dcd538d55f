//! From settings and secrets to contexts: reads files, parses certificates once, shares what is the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use aws_lc_rs::digest::{Context as Digest, SHA256};
use config::data_source::DataSource;
use config::secret::{SdsSecretConfig, Secret};

use crate::certificate::{CertificateDetails, Identity};
use crate::client::ClientContext;
use crate::error::ContextError;
use crate::parameters::{Parameters, default_provider};
use crate::server::ServerContext;
use crate::settings::{
    CertificateValidationContext, Certificates, CommonTlsContext, DownstreamTlsContext, SecretConfig, TlsCertificate,
    UpstreamTlsContext, Validation,
};
use crate::validation::{Roots, Validator, revocation_lists};

/// Secrets by name: what SDS delivered, or the bootstrap holds.
pub type Secrets<'a> = &'a dyn Fn(&str) -> Option<Arc<Secret>>;

/// Makes contexts. One per process, so that ten thousand clusters with one identity hold one parsed copy of it.
#[derive(Debug, Default)]
pub struct Loader {
    identities: Mutex<HashMap<[u8; 32], Weak<Identity>>>,
    roots: Mutex<HashMap<[u8; 32], Weak<Roots>>>,
}

/// What a context is made of, besides its settings.
#[derive(Debug)]
pub(crate) struct Material {
    pub(crate) identities: Vec<Arc<Identity>>,
    pub(crate) validation: Option<LoadedValidation>,
}

/// A validation context with its authorities read.
#[derive(Debug)]
pub(crate) struct LoadedValidation {
    pub(crate) validator: Arc<Validator>,
    pub(crate) suppress_client_ca_list: bool,
}

impl Material {
    pub(crate) fn authorities(&self) -> &[CertificateDetails] {
        let roots = self
            .validation
            .as_ref()
            .and_then(|validation| validation.validator.roots.as_ref());
        roots.map_or(&[], |roots| &roots.details)
    }

    /// A validator without conditions.
    pub(crate) fn accept_any(parameters: &Parameters) -> Arc<Validator> {
        Arc::new(Validator {
            provider: Arc::clone(&parameters.provider),
            roots: None,
            revocation_lists: Vec::new(),
            only_verify_leaf_cert_crl: false,
            max_verify_depth: None,
            san_matchers: Vec::new(),
            certificate_hashes: Vec::new(),
            spki_hashes: Vec::new(),
        })
    }
}

impl Loader {
    /// A loader that has read nothing yet.
    pub fn new() -> Arc<Loader> {
        Arc::default()
    }

    /// The context of a filter chain.
    ///
    /// # Errors
    /// [`ContextError::NotReady`] while a secret is missing; otherwise what cannot be used.
    pub fn server(
        &self,
        settings: &DownstreamTlsContext,
        secrets: Secrets<'_>,
    ) -> Result<Arc<ServerContext>, ContextError> {
        let material = self.material(&settings.common, secrets)?;
        ServerContext::new(settings, material).map(Arc::new)
    }

    /// The context of a cluster.
    ///
    /// # Errors
    /// [`ContextError::NotReady`] while a secret is missing; otherwise what cannot be used.
    pub fn client(
        &self,
        settings: &UpstreamTlsContext,
        secrets: Secrets<'_>,
    ) -> Result<Arc<ClientContext>, ContextError> {
        let material = self.material(&settings.common, secrets)?;
        ClientContext::new(settings, material).map(Arc::new)
    }

    fn material(&self, common: &CommonTlsContext, secrets: Secrets<'_>) -> Result<Material, ContextError> {
        let identities = match &common.certificates {
            Certificates::Inline(certificates) => certificates
                .iter()
                .map(|certificate| self.identity(certificate))
                .collect::<Result<Vec<_>, _>>()?,
            Certificates::Sds(references) => {
                let load = |reference: &SdsSecretConfig| {
                    let secret = find(reference, secrets)?;
                    match secret.config.get::<SecretConfig>() {
                        Some(SecretConfig::TlsCertificate(certificate)) => self.identity(certificate),
                        _ => Err(wrong_kind(reference, "a TLS certificate")),
                    }
                };
                references.iter().map(load).collect::<Result<Vec<_>, _>>()?
            }
        };
        let validation = match &common.validation {
            Validation::None => None,
            Validation::Inline(settings) => Some(self.validation(settings, None, &common.parameters)?),
            Validation::Sds(reference) => {
                let secret = find(reference, secrets)?;
                let settings = validation_of(&secret, reference)?;
                Some(self.validation(settings, None, &common.parameters)?)
            }
            Validation::Combined { default, sds } => {
                let secret = find(sds, secrets)?;
                let dynamic = validation_of(&secret, sds)?;
                Some(self.validation(default, Some(dynamic), &common.parameters)?)
            }
        };
        Ok(Material { identities, validation })
    }

    fn identity(&self, certificate: &TlsCertificate) -> Result<Arc<Identity>, ContextError> {
        let (chain, path) = read(&certificate.certificate_chain)?;
        let (key, _) = read(&certificate.private_key)?;
        shared(&self.identities, &[path.as_bytes(), &chain, &key], || {
            Identity::read(&chain, &path, &key, &default_provider())
        })
    }

    /// `dynamic` is what SDS adds to a combined validation context: merged as messages are merged, single values
    /// replaced and lists appended.
    fn validation(
        &self,
        settings: &CertificateValidationContext,
        dynamic: Option<&CertificateValidationContext>,
        parameters: &Parameters,
    ) -> Result<LoadedValidation, ContextError> {
        let both = || [Some(settings), dynamic].into_iter().flatten();
        let last = |field: fn(&CertificateValidationContext) -> Option<&DataSource>| both().rev().find_map(field);
        let roots = match last(|it| it.trusted_ca.as_ref()) {
            Some(source) => {
                let (pem, path) = read(source)?;
                Some(shared(&self.roots, &[path.as_bytes(), &pem], || {
                    Roots::read(&pem, &path)
                })?)
            }
            None => None,
        };
        let lists = match last(|it| it.crl.as_ref()) {
            Some(source) => {
                let (pem, path) = read(source)?;
                revocation_lists(&pem).map_err(|reason| at(&path, &reason))?
            }
            None => Vec::new(),
        };
        let validator = Validator {
            provider: Arc::clone(&parameters.provider),
            roots,
            revocation_lists: lists,
            only_verify_leaf_cert_crl: both().any(|it| it.only_verify_leaf_cert_crl),
            max_verify_depth: both().rev().find_map(|it| it.max_verify_depth),
            san_matchers: both().flat_map(|it| it.san_matchers.iter().cloned()).collect(),
            certificate_hashes: both()
                .flat_map(|it| it.verify_certificate_hash.iter().copied())
                .collect(),
            spki_hashes: both()
                .flat_map(|it| it.verify_certificate_spki.iter().copied())
                .collect(),
        };
        if validator.roots.is_none() && !validator.san_matchers.is_empty() {
            return Err(ContextError::Invalid(
                "subject alternative names are checked only together with a trusted_ca".into(),
            ));
        }
        Ok(LoadedValidation {
            validator: Arc::new(validator),
            suppress_client_ca_list: both().any(|it| it.suppress_client_ca_list),
        })
    }
}

/// What was made of the same bytes before and is still in use, or else what `make` makes.
fn shared<T>(
    cache: &Mutex<HashMap<[u8; 32], Weak<T>>>,
    parts: &[&[u8]],
    make: impl FnOnce() -> Result<T, String>,
) -> Result<Arc<T>, ContextError> {
    let mut digest = Digest::new(&SHA256);
    for part in parts {
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let mut key = [0; 32];
    key.copy_from_slice(digest.finish().as_ref());
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(existing) = cache.get(&key).and_then(Weak::upgrade) {
        return Ok(existing);
    }
    let path = parts
        .first()
        .map(|path| String::from_utf8_lossy(path))
        .unwrap_or_default();
    let made = Arc::new(make().map_err(|reason| at(&path, &reason))?);
    cache.retain(|_, value| value.strong_count() > 0);
    cache.insert(key, Arc::downgrade(&made));
    Ok(made)
}

fn at(path: &str, reason: &str) -> ContextError {
    ContextError::Invalid(format!("{path}: {reason}").into())
}

fn find(reference: &SdsSecretConfig, secrets: Secrets<'_>) -> Result<Arc<Secret>, ContextError> {
    secrets(&reference.name).ok_or_else(|| ContextError::NotReady(Arc::clone(&reference.name)))
}

fn validation_of<'s>(
    secret: &'s Secret,
    reference: &SdsSecretConfig,
) -> Result<&'s CertificateValidationContext, ContextError> {
    match secret.config.get::<SecretConfig>() {
        Some(SecretConfig::ValidationContext(settings)) => Ok(settings),
        _ => Err(wrong_kind(reference, "a validation context")),
    }
}

fn wrong_kind(reference: &SdsSecretConfig, wanted: &str) -> ContextError {
    ContextError::Invalid(format!("the secret {:?} is not {wanted}", reference.name).into())
}

/// The bytes, and how the source is called where certificates are shown.
fn read(source: &DataSource) -> Result<(Arc<[u8]>, Arc<str>), ContextError> {
    match source {
        DataSource::Inline(data) => Ok((Arc::clone(data), "<inline>".into())),
        DataSource::Filename { path, .. } => match std::fs::read(&**path) {
            Ok(data) => Ok((data.into(), Arc::clone(path))),
            Err(error) => Err(ContextError::Unreadable {
                path: (&**path).into(),
                error: error.to_string().into(),
            }),
        },
        DataSource::EnvironmentVariable(name) => match std::env::var(&**name) {
            Ok(value) => Ok((value.into_bytes().into(), format!("${name}").into())),
            Err(error) => Err(ContextError::Unreadable {
                path: format!("${name}").into(),
                error: error.to_string().into(),
            }),
        },
    }
}
