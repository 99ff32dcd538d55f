//! Identities of peers, shared between the connections of one workload.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustls::pki_types::CertificateDer;

use crate::identity::{PeerIdentity, fingerprint};

/// Identities seen by one context and still held by a connection.
#[derive(Debug)]
pub(crate) struct Peers {
    verified: bool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_fingerprint: HashMap<[u8; 32], Weak<PeerIdentity>>,
    prune_at: usize,
}

const FIRST_PRUNE: usize = 64;

impl Peers {
    /// `verified`: whether the context checks what its peers present.
    pub(crate) fn new(verified: bool) -> Arc<Peers> {
        Arc::new(Peers {
            verified,
            known: Mutex::default(),
        })
    }

    /// The identity in this chain, leaf first.
    pub(crate) fn identity(&self, chain: &[CertificateDer<'_>]) -> Option<Arc<PeerIdentity>> {
        let key = fingerprint(chain.first()?);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(identity) = known.by_fingerprint.get(&key).and_then(Weak::upgrade) {
            return Some(identity);
        }
        let identity = Arc::new(PeerIdentity::read(chain, self.verified)?);
        if known.by_fingerprint.len() >= known.prune_at {
            known.by_fingerprint.retain(|_, identity| identity.strong_count() > 0);
            known.prune_at = (known.by_fingerprint.len() * 2).max(FIRST_PRUNE);
        }
        known.by_fingerprint.insert(key, Arc::downgrade(&identity));
        Some(identity)
    }
}
