//! What has been said about each resource: the accepted value beside the last rejection.
//!
//! The last good value is never erased by a bad one (gRFC A88). The store knows nothing of what is served; that is the
//! [assembler](crate::assemble)'s.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use config::{Fingerprint, Reference, Resource, ResourceType, WithoutEffect};

use crate::key::ResourceKey;
use crate::session::Held;
use crate::status::ClientStatus;

/// A resource as it was accepted. Shared by store, assembler and configuration.
#[derive(Debug)]
pub struct Value {
    /// The parsed resource.
    pub resource: Resource,
    /// What it needs.
    pub references: Arc<[Reference]>,
    /// The message as it was sent, for dumps and for recognising identical content.
    pub encoded: Arc<[u8]>,
    /// Identity of `encoded`.
    pub fingerprint: Fingerprint,
    /// Fields that change nothing.
    pub without_effect: Arc<[WithoutEffect]>,
}

impl Value {
    /// Whether both are the same content.
    pub fn is_same(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint && self.encoded == other.encoded
    }
}

/// All that is known of one resource.
#[derive(Debug)]
pub struct Entry {
    /// The value last accepted.
    pub accepted: Option<Accepted>,
    /// What was rejected since then.
    pub rejection: Option<Box<Rejection>>,
    /// How the search for it stands.
    pub client_status: ClientStatus,
    /// When the accepted value loses its validity.
    pub expires: Option<Instant>,
}

/// An accepted value.
#[derive(Debug)]
pub struct Accepted {
    /// The value.
    pub value: Arc<Value>,
    /// Its version; a server may send the same value with a new version.
    pub version: Arc<str>,
    /// Which of the source's servers sent it, by its place among them: a version means something to that one only.
    pub server: usize,
    /// When this version was accepted.
    pub at: SystemTime,
}

/// A value that was refused.
#[derive(Debug)]
pub struct Rejection {
    /// Its version.
    pub version: Arc<str>,
    /// All its faults.
    pub details: Arc<str>,
    /// The message as it was sent, where there was one that could be told by its name.
    pub encoded: Option<Arc<[u8]>>,
    /// Whether it is the server's own word that there is something wrong, and not ours.
    pub reported: bool,
    /// When it was refused.
    pub at: SystemTime,
}

/// Every dynamic resource by type and name.
#[derive(Debug, Default)]
pub struct Store {
    /// Boxed: a third of a table's places are empty.
    entries: [HashMap<Arc<str>, Box<Entry>>; ResourceType::ALL.len()],
    /// Rises with every change of an accepted value.
    changes: u64,
}

impl Store {
    /// A number that differs when an accepted value does.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// What is known of a resource.
    pub fn entry(&self, resource_type: ResourceType, name: &str) -> Option<&Entry> {
        self.entries[resource_type as usize].get(name).map(|entry| &**entry)
    }

    /// The accepted value of a resource.
    pub fn value(&self, resource_type: ResourceType, name: &str) -> Option<&Arc<Value>> {
        Some(&self.entry(resource_type, name)?.accepted.as_ref()?.value)
    }

    /// The version of the accepted value of a resource.
    pub fn accepted_version(&self, key: &ResourceKey) -> Option<Arc<str>> {
        let accepted = self.entry(key.resource_type, &key.name)?.accepted.as_ref()?;
        Some(Arc::clone(&accepted.version))
    }

    /// All resources of a type.
    pub fn entries(&self, resource_type: ResourceType) -> impl Iterator<Item = (&Arc<str>, &Entry)> {
        self.entries[resource_type as usize]
            .iter()
            .map(|(name, entry)| (name, &**entry))
    }

    /// A resource was asked for.
    pub fn request(&mut self, key: &ResourceKey) {
        self.entries[key.resource_type as usize]
            .entry(Arc::clone(&key.name))
            .or_insert_with(|| Box::new(Entry::requested()));
    }

    /// A value was accepted.
    pub fn accept(&mut self, key: &ResourceKey, accepted: Accepted) {
        self.changes += 1;
        let entry = self.entry_mut(key);
        entry.accepted = Some(accepted);
        entry.rejection = None;
        entry.client_status = ClientStatus::Acked;
    }

    /// A value was refused, or the server said that it has none to give; the accepted one stays.
    pub fn reject(&mut self, key: &ResourceKey, rejection: Rejection) {
        let entry = self.entry_mut(key);
        entry.client_status = if rejection.reported {
            ClientStatus::ReceivedError
        } else {
            ClientStatus::Nacked
        };
        entry.rejection = Some(Box::new(rejection));
    }

    /// The server says that the resource does not exist, or its time to live ran out: its version is not claimed again.
    pub fn remove(&mut self, key: &ResourceKey) {
        if let Some(entry) = self.entries[key.resource_type as usize].get_mut(&key.name) {
            self.changes += 1;
            entry.accepted = None;
            entry.expires = None;
            entry.client_status = ClientStatus::DoesNotExist;
        }
    }

    /// The wait for the resource is over. What has timed out may yet turn out not to exist.
    pub fn give_up(&mut self, key: &ResourceKey, client_status: ClientStatus) {
        if let Some(entry) = self.entries[key.resource_type as usize].get_mut(&key.name)
            && matches!(entry.client_status, ClientStatus::Requested | ClientStatus::Timeout)
        {
            entry.client_status = client_status;
        }
    }

    /// Sets when the accepted value expires; none lets it live until it is replaced. Returns the former time.
    pub fn set_expiry(&mut self, key: &ResourceKey, expires: Option<Instant>) -> Option<Instant> {
        let entry = self.entries[key.resource_type as usize].get_mut(&key.name)?;
        std::mem::replace(&mut entry.expires, expires)
    }

    /// Nobody wants the resource any more: its value and version are gone, so that neither can be claimed.
    pub fn forget(&mut self, key: &ResourceKey) {
        self.changes += 1;
        self.entries[key.resource_type as usize].remove(&key.name);
    }

    /// Forgets what of a type was only ever refused: on a new stream it is sent again if it is still there.
    pub fn forget_refused(&mut self, resource_type: ResourceType) {
        self.entries[resource_type as usize].retain(|_, entry| entry.accepted.is_some());
    }

    fn entry_mut(&mut self, key: &ResourceKey) -> &mut Entry {
        self.entries[key.resource_type as usize]
            .entry(Arc::clone(&key.name))
            .or_insert_with(|| Box::new(Entry::requested()))
    }
}

impl Held for Store {
    fn version(&self, resource_type: ResourceType, name: &str, server: usize) -> Option<Arc<str>> {
        let accepted = self.entry(resource_type, name)?.accepted.as_ref()?;
        Some(accepted.version_for(server))
    }

    fn versions(&self, resource_type: ResourceType, server: usize) -> Vec<(Arc<str>, Arc<str>)> {
        let accepted = |(name, entry): (&Arc<str>, &Entry)| {
            let accepted = entry.accepted.as_ref()?;
            Some((Arc::clone(name), accepted.version_for(server)))
        };
        self.entries(resource_type).filter_map(accepted).collect()
    }
}

impl Accepted {
    /// The version as it is claimed to a server. One that did not send the value is told of the name alone: it can say
    /// that there is no such resource, and an equal version by chance does not keep it from sending its own.
    fn version_for(&self, server: usize) -> Arc<str> {
        if self.server == server {
            Arc::clone(&self.version)
        } else {
            Arc::default()
        }
    }
}

impl Entry {
    fn requested() -> Self {
        Self {
            accepted: None,
            rejection: None,
            client_status: ClientStatus::Requested,
            expires: None,
        }
    }
}
