//! Session resumption: tickets a server hands out, sessions a client remembers.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::server::ProducesTickets;

/// How long a ticket is good for where nothing else is said (BoringSSL's default, two hours).
pub(crate) const DEFAULT_SESSION_TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60);

const KEY_ID: usize = 8;

/// Encrypts sessions into tickets, under a key of its own that changes every session timeout. A context
/// that was rebuilt (new certificates, new trust) has a new key: what was verified under the old trust is
/// not resumed.
pub(crate) struct Tickets {
    lifetime: Duration,
    keys: Mutex<Option<Keys>>,
}

struct Keys {
    current: Arc<Key>,
    previous: Option<Arc<Key>>,
    made: Instant,
}

struct Key {
    id: [u8; KEY_ID],
    key: RandomizedNonceKey,
}

impl Key {
    fn generate() -> Option<Arc<Key>> {
        let (mut id, mut bytes) = ([0; KEY_ID], [0; 32]);
        rand::fill(&mut id).ok()?;
        rand::fill(&mut bytes).ok()?;
        Some(Arc::new(Key {
            id,
            key: RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok()?,
        }))
    }
}

impl Tickets {
    pub(crate) fn new(lifetime: Duration) -> Tickets {
        // RFC 8446 4.6.1: at most seven days.
        Tickets {
            lifetime: lifetime.min(Duration::from_secs(7 * 24 * 60 * 60)),
            keys: Mutex::new(None),
        }
    }

    /// The key to encrypt with now, and the one before it.
    fn keys(&self, now: Instant) -> Option<(Arc<Key>, Option<Arc<Key>>)> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *keys {
            Some(keys) if now.duration_since(keys.made) >= self.lifetime => {
                // After two lifetimes without use even the current key is too old to decrypt with.
                let stale = now.duration_since(keys.made) >= 2 * self.lifetime;
                let previous = std::mem::replace(&mut keys.current, Key::generate()?);
                keys.previous = (!stale).then_some(previous);
                keys.made = now;
            }
            Some(_) => {}
            None => {
                *keys = Some(Keys {
                    current: Key::generate()?,
                    previous: None,
                    made: now,
                })
            }
        }
        keys.as_ref()
            .map(|keys| (Arc::clone(&keys.current), keys.previous.clone()))
    }

    fn encrypt_at(&self, plain: &[u8], now: Instant) -> Option<Vec<u8>> {
        let (key, _) = self.keys(now)?;
        let mut sealed = plain.to_vec();
        let nonce = key.key.seal_in_place_append_tag(Aad::from(key.id), &mut sealed).ok()?;
        let mut ticket = Vec::with_capacity(KEY_ID + NONCE_LEN + sealed.len());
        ticket.extend_from_slice(&key.id);
        ticket.extend_from_slice(nonce.as_ref());
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    fn decrypt_at(&self, ticket: &[u8], now: Instant) -> Option<Vec<u8>> {
        let (id, rest) = ticket.split_at_checked(KEY_ID)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let (current, previous) = self.keys(now)?;
        let key = [Some(current), previous]
            .into_iter()
            .flatten()
            .find(|key| key.id == *id)?;
        let mut plain = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let length = key.key.open_in_place(nonce, Aad::from(key.id), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tickets")
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.encrypt_at(plain, Instant::now())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.decrypt_at(cipher, Instant::now())
    }
}

/// Sessions of one client context, the newest at the back; memory is taken when the first is stored.
pub(crate) struct Sessions {
    limit: usize,
    stored: Mutex<Stored>,
}

#[derive(Default)]
struct Stored {
    tls13: VecDeque<(ServerName<'static>, Tls13ClientSessionValue)>,
    tls12: VecDeque<(ServerName<'static>, Tls12ClientSessionValue)>,
    groups: VecDeque<(ServerName<'static>, NamedGroup)>,
}

impl Sessions {
    /// A store that holds at most this many sessions of each version.
    pub(crate) fn new(limit: usize) -> Sessions {
        Sessions {
            limit,
            stored: Mutex::default(),
        }
    }

    fn with<T>(&self, use_stored: impl FnOnce(&mut Stored) -> T) -> T {
        use_stored(&mut self.stored.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Adds to the back, forgetting from the front.
fn push<T>(list: &mut VecDeque<T>, value: T, limit: usize) {
    if limit == 0 {
        return;
    }
    while list.len() >= limit {
        list.pop_front();
    }
    list.push_back(value);
}

impl fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Sessions")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.with(|stored| {
            stored.groups.retain(|(name, _)| *name != server_name);
            push(&mut stored.groups, (server_name, group), self.limit.max(1));
        });
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.with(|stored| {
            stored
                .groups
                .iter()
                .find(|(name, _)| name == server_name)
                .map(|(_, group)| *group)
        })
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.with(|stored| {
            stored.tls12.retain(|(name, _)| *name != server_name);
            push(&mut stored.tls12, (server_name, value), self.limit);
        });
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.with(|stored| {
            stored
                .tls12
                .iter()
                .find(|(name, _)| name == server_name)
                .map(|(_, value)| value.clone())
        })
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        self.with(|stored| stored.tls12.retain(|(name, _)| name != server_name));
    }

    fn insert_tls13_ticket(&self, server_name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.with(|stored| push(&mut stored.tls13, (server_name, value), self.limit));
    }

    fn take_tls13_ticket(&self, server_name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.with(|stored| {
            let newest = stored.tls13.iter().rposition(|(name, _)| name == server_name)?;
            stored.tls13.remove(newest).map(|(_, value)| value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_opens_under_the_current_key_and_the_one_before_but_not_later() {
        let tickets = Tickets::new(Duration::from_secs(100));
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let ticket = tickets.encrypt_at(b"session", start).unwrap();
        assert_eq!(tickets.decrypt_at(&ticket, after(99)).unwrap(), b"session");
        assert_eq!(tickets.decrypt_at(&ticket, after(150)).unwrap(), b"session");
        assert_eq!(tickets.decrypt_at(&ticket, after(260)), None);
        let late = tickets.encrypt_at(b"later", after(260)).unwrap();
        assert_eq!(
            tickets.decrypt_at(&late, after(600)),
            None,
            "nothing was encrypted for two lifetimes"
        );
    }

    #[test]
    fn a_forged_or_foreign_ticket_does_not_open() {
        let tickets = Tickets::new(DEFAULT_SESSION_TIMEOUT);
        let now = Instant::now();
        let ticket = tickets.encrypt_at(b"session", now).unwrap();
        for at in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[at] ^= 1;
            assert_eq!(tickets.decrypt_at(&forged, now), None);
            assert_eq!(tickets.decrypt_at(&ticket[..at], now), None);
        }
        assert_eq!(Tickets::new(DEFAULT_SESSION_TIMEOUT).decrypt_at(&ticket, now), None);
    }

    #[test]
    fn the_oldest_hint_is_forgotten_first() {
        let sessions = Sessions::new(2);
        for name in ["a.example", "b.example", "c.example"] {
            sessions.set_kx_hint(ServerName::try_from(name).unwrap(), NamedGroup::X25519);
        }
        assert_eq!(sessions.kx_hint(&ServerName::try_from("a.example").unwrap()), None);
        assert_eq!(
            sessions.kx_hint(&ServerName::try_from("c.example").unwrap()),
            Some(NamedGroup::X25519)
        );
    }
}
