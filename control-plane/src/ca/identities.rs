//! Certificates in use, each renewed at about half its life.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use xds_api::envoy::config::core::v3::DataSource;
use xds_api::envoy::config::core::v3::data_source::Specifier;
use xds_api::envoy::extensions::transport_sockets::tls::v3 as tls;
use xds_api::envoy::extensions::transport_sockets::tls::v3::secret::Type;

use super::CaError;
use super::root::Authority;
use crate::compile::resource::{Resource, ResourceSet, ResourceType, Version};
use crate::compile::{IDENTITY_SECRET, ROOT_SECRET};
use crate::model::{MeshSettings, Name};

/// A certificate that could not be renewed is tried again after this.
const RETRY: Duration = Duration::from_secs(5);

/// The certificates of service accounts, as secrets.
pub struct Identities {
    authority: Authority,
    settings: MeshSettings,
    lifetime: Duration,
    root: Arc<Resource>,
    issued: Mutex<BTreeMap<Name, Issued>>,
    renewals: watch::Sender<u64>,
    /// The time of the next renewal may be earlier than it was.
    rescheduled: Notify,
}

struct Issued {
    secret: Arc<Resource>,
    renew_at: SystemTime,
    /// Whether anybody asked since it was issued; what nobody asks for is not renewed.
    is_used: bool,
}

impl Identities {
    /// Certificates of a mesh, each valid for `lifetime`.
    pub fn new(authority: Authority, settings: MeshSettings, lifetime: Duration) -> Self {
        let root = tls::Secret {
            name: ROOT_SECRET.to_owned(),
            r#type: Some(Type::ValidationContext(tls::CertificateValidationContext {
                trusted_ca: Some(inline(authority.root_pem())),
                ..Default::default()
            })),
        };
        Self {
            root: Arc::new(Resource::new(ResourceType::Secret, ROOT_SECRET, &root)),
            authority,
            settings,
            lifetime,
            issued: Mutex::default(),
            renewals: watch::Sender::new(0),
            rescheduled: Notify::new(),
        }
    }

    /// The secrets of an account's sidecars: its certificate and the root.
    ///
    /// # Errors
    /// A certificate cannot be issued.
    pub fn secrets(&self, account: &Name, now: SystemTime) -> Result<ResourceSet, CaError> {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        let secret = match issued.get_mut(account) {
            Some(issued) => {
                issued.is_used = true;
                Arc::clone(&issued.secret)
            }
            None => {
                let new = self.issue(account, now)?;
                let secret = Arc::clone(&new.secret);
                issued.insert(account.clone(), new);
                self.rescheduled.notify_one();
                secret
            }
        };
        Ok([secret, Arc::clone(&self.root)]
            .into_iter()
            .map(|secret| (Arc::clone(&secret.name), secret))
            .collect())
    }

    /// When [`renew`](Self::renew) has something to do.
    pub fn next_renewal(&self) -> Option<SystemTime> {
        let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        issued.values().map(|issued| issued.renew_at).min()
    }

    /// Renews the certificates that are due and in use, and forgets those that are not.
    pub fn renew(&self, now: SystemTime) {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        issued.retain(|account, issued| {
            if issued.renew_at > now {
                return true;
            }
            if !issued.is_used {
                return false;
            }
            match self.issue(account, now) {
                Ok(new) => {
                    tracing::info!(account = %account, "certificate renewed");
                    *issued = Issued { is_used: false, ..new };
                }
                Err(error) => {
                    tracing::error!(account = %account, %error, "certificate not renewed");
                    issued.renew_at = now + RETRY;
                }
            }
            true
        });
        drop(issued);
        self.renewals.send_modify(|renewals| *renewals += 1);
    }

    /// Told whenever certificates were renewed.
    pub fn renewals(&self) -> watch::Receiver<u64> {
        self.renewals.subscribe()
    }

    /// Renews for ever.
    pub async fn keep_renewed(self: Arc<Self>) {
        loop {
            let wait = self
                .next_renewal()
                .map(|at| at.duration_since(SystemTime::now()).unwrap_or_default());
            tokio::select! {
                () = sleep(wait) => self.renew(SystemTime::now()),
                () = self.rescheduled.notified() => {}
            }
        }
    }

    fn issue(&self, account: &Name, now: SystemTime) -> Result<Issued, CaError> {
        let issued = self
            .authority
            .issue(&self.settings.spiffe_id(account), self.lifetime, now)?;
        let secret = tls::Secret {
            name: IDENTITY_SECRET.to_owned(),
            r#type: Some(Type::TlsCertificate(tls::TlsCertificate {
                certificate_chain: Some(inline(&issued.certificate_pem)),
                private_key: Some(inline(&issued.key_pem)),
                ..Default::default()
            })),
        };
        let secret = Resource::new(ResourceType::Secret, IDENTITY_SECRET, &secret);
        Ok(Issued {
            renew_at: issued.issued_at + self.lifetime / 2 + spread(secret.version, self.lifetime / 10),
            secret: Arc::new(secret),
            is_used: true,
        })
    }
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

/// A part of `most` that differs from certificate to certificate, so that a mesh that
/// started at once does not renew at once. The version is a hash: it needs no other die.
fn spread(version: Version, most: Duration) -> Duration {
    most * u32::from(version.low_byte()) / u32::from(u8::MAX)
}

fn inline(pem: &str) -> DataSource {
    DataSource {
        specifier: Some(Specifier::InlineString(pem.to_owned())),
        ..Default::default()
    }
}
