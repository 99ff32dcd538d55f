//! What one stream asked for of one type, what it was sent, and what it said to that.
//!
//! ```text
//!            due ── take() ──▶ in flight ── ACK ──▶ synced ──┐
//!             ▲                    │                         │ the view or the
//!             │                    └─ NACK ─▶ NACKed ────────┤ subscription changes
//!             └──────────────────────────────────────────────┘
//! ```
//! At most one response is in flight: what changes meanwhile is in the next one, so a slow
//! client costs no memory and never gets a state that is already past.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::message::Change;
use crate::compile::resource::{NodeResources, Resource, ResourceType, Version};

/// What the client knows of a name.
#[derive(Clone, Debug)]
enum Known {
    /// This version; without the resource if it is from an earlier stream.
    Has(Version, Option<Arc<Resource>>),
    /// A version of an earlier stream that is none of ours.
    Foreign,
    /// That it does not exist.
    Missing,
}

/// How the last response was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// None was sent, or it is not answered yet.
    None,
    /// Accepted.
    Acked,
    /// Refused.
    Nacked {
        /// The client's reason.
        reason: String,
    },
}

/// The part of a response that depends on the subscription.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Resources, each new to the client or changed; all of them if the type is complete.
    pub resources: Vec<Arc<Resource>>,
    /// Names that are gone or never were.
    pub removed: Vec<Arc<str>>,
    /// Names among `resources` that the client did not have in this version.
    pub changed: Vec<Arc<str>>,
}

/// One type on one stream.
#[derive(Debug)]
pub struct Subscription {
    kind: ResourceType,
    wildcard: bool,
    names: BTreeSet<Arc<str>>,
    /// Whether names were ever sent: only until then an empty list means all.
    named_before: bool,
    known: BTreeMap<Arc<str>, Known>,
    /// Names to send even if the client has them: it asked again.
    asked_again: BTreeSet<Arc<str>>,
    /// Whether to answer even if there is nothing to say: the client waits for it.
    must_answer: bool,
    /// The nonce of the last response.
    nonce: String,
    in_flight: bool,
    answer: Answer,
}

impl Subscription {
    /// Nothing asked for yet.
    pub fn new(kind: ResourceType) -> Self {
        Self {
            kind,
            wildcard: false,
            names: BTreeSet::new(),
            named_before: false,
            known: BTreeMap::new(),
            asked_again: BTreeSet::new(),
            must_answer: false,
            nonce: String::new(),
            in_flight: false,
            answer: Answer::None,
        }
    }

    /// Whether a response waits for its answer.
    pub fn is_in_flight(&self) -> bool {
        self.in_flight
    }

    /// How the last response was answered.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Whether the client asked for all there is.
    pub fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// Whether the client has, or was told to have, a resource of this name.
    pub fn knows(&self, name: &str) -> bool {
        matches!(self.known.get(name), Some(Known::Has(..)))
    }

    /// Makes the next response hold a resource even if the client has it.
    pub fn send_again(&mut self, name: &Arc<str>) {
        self.asked_again.insert(Arc::clone(name));
    }

    /// How many resources the client has.
    pub fn known_count(&self) -> usize {
        self.known
            .values()
            .filter(|known| matches!(known, Known::Has(..)))
            .count()
    }

    /// The version of all that the client has.
    pub fn known_version(&self) -> Version {
        Version::of_set(self.known.iter().filter_map(|(name, known)| match known {
            Known::Has(version, _) => Some((&**name, *version)),
            Known::Foreign | Known::Missing => None,
        }))
    }

    /// Takes in the first request of the type.
    pub fn begin(&mut self, change: Change) {
        let legacy_wildcard = self.kind.is_complete_in_sotw();
        match change {
            Change::Sotw { names } => {
                self.wildcard = names.is_empty() && legacy_wildcard;
                self.set_names(names);
                self.must_answer = self.kind.is_complete_in_sotw();
            }
            Change::Delta { subscribe, known, .. } => {
                for (name, version) in known {
                    let known = match Version::parse(&version) {
                        Some(version) => Known::Has(version, None),
                        None => Known::Foreign,
                    };
                    self.known.insert(name.into(), known);
                }
                self.wildcard = subscribe.is_empty() && legacy_wildcard;
                let is_reconnect = !self.known.is_empty();
                self.subscribe(subscribe);
                // What it says it has need not be sent again.
                self.asked_again.clear();
                self.must_answer = self.wildcard && !is_reconnect;
            }
        }
    }

    /// Takes in a later request; whether it was one to heed.
    pub fn request(&mut self, nonce: &str, error: Option<String>, change: Change) -> bool {
        let is_answer = self.in_flight && nonce == self.nonce;
        match change {
            // A client that answers an older response has not seen the last one: what it
            // asks for now it will ask for again (xDS protocol, "ACK and NACK semantics").
            Change::Sotw { .. } if !nonce.is_empty() && nonce != self.nonce => return false,
            Change::Sotw { names } => {
                if !names.is_empty() || self.named_before {
                    self.wildcard = false;
                    self.set_names(names);
                }
            }
            Change::Delta {
                subscribe, unsubscribe, ..
            } => {
                self.unsubscribe(unsubscribe);
                self.subscribe(subscribe);
            }
        }
        if is_answer {
            self.in_flight = false;
            self.answer = match error {
                Some(reason) => Answer::Nacked { reason },
                None => Answer::Acked,
            };
        }
        true
    }

    fn set_names(&mut self, names: Vec<String>) {
        let mut wanted = BTreeSet::new();
        for name in names {
            self.named_before = true;
            if name == "*" {
                self.wildcard = true;
            } else {
                wanted.insert(Arc::<str>::from(name));
            }
        }
        // A complete type is answered if anything is asked for anew.
        self.must_answer |= self.kind.is_complete_in_sotw() && wanted.iter().any(|name| !self.names.contains(name));
        // A name given up and asked for again later is sent again.
        if !self.wildcard {
            self.known.retain(|name, _| wanted.contains(name));
        }
        self.names = wanted;
    }

    fn subscribe(&mut self, names: Vec<String>) {
        for name in names {
            self.named_before = true;
            if name == "*" {
                self.must_answer |= !self.wildcard;
                self.wildcard = true;
                continue;
            }
            let name = Arc::<str>::from(name);
            // Asked for again, even if it was sent: the client may have dropped it.
            self.asked_again.insert(Arc::clone(&name));
            self.names.insert(name);
        }
    }

    fn unsubscribe(&mut self, names: Vec<String>) {
        for name in names {
            if name == "*" {
                self.wildcard = false;
                self.known.retain(|name, _| self.names.contains(name));
            } else if self.names.remove(&*name) && !self.wildcard {
                self.known.remove(&*name);
            }
            self.asked_again.remove(&*name);
        }
    }

    /// What the next response has to say, if anything; with `hold_removals` nothing is
    /// taken away yet.
    pub fn update(&self, view: &NodeResources, sotw: bool, hold_removals: bool) -> Option<Update> {
        let mut update = Update::default();
        let mut is_changed = false;
        let mut look_at = |resource: &Arc<Resource>| {
            let known = self.known.get(&resource.name);
            let has_it = matches!(known, Some(Known::Has(version, _)) if *version == resource.version);
            let is_due = !has_it || self.asked_again.contains(&resource.name);
            is_changed |= is_due;
            if !has_it {
                update.changed.push(Arc::clone(&resource.name));
            }
            if is_due || (sotw && self.kind.is_complete_in_sotw()) {
                update.resources.push(Arc::clone(resource));
            }
        };
        if self.wildcard {
            view.iter().for_each(&mut look_at);
        } else {
            self.names
                .iter()
                .filter_map(|name| view.get(name))
                .for_each(&mut look_at);
        }
        let wants = |name: &str| self.wildcard || self.names.contains(name);
        for (name, known) in &self.known {
            if matches!(known, Known::Missing) || (wants(name) && view.get(name).is_some()) {
                continue;
            }
            if hold_removals {
                // A full response without it would remove it.
                if let (true, Known::Has(_, Some(resource))) = (sotw, known) {
                    update.resources.push(Arc::clone(resource));
                }
                continue;
            }
            is_changed = true;
            update.removed.push(Arc::clone(name));
        }
        // Delta tells what does not exist; state-of-the-world has no words for it.
        for name in self.names.iter().filter(|name| !sotw && view.get(name).is_none()) {
            let must_tell = match self.known.get(name) {
                None => true,
                Some(Known::Missing) => self.asked_again.contains(name),
                Some(Known::Has(..) | Known::Foreign) => false,
            };
            if must_tell {
                is_changed = true;
                update.removed.push(Arc::clone(name));
            }
        }
        (is_changed || self.must_answer).then_some(update)
    }

    /// Takes note that a response was sent.
    pub fn sent(&mut self, nonce: String, update: &Update) {
        for resource in &update.resources {
            let known = Known::Has(resource.version, Some(Arc::clone(resource)));
            self.known.insert(Arc::clone(&resource.name), known);
        }
        for name in &update.removed {
            if self.names.contains(name) {
                self.known.insert(Arc::clone(name), Known::Missing);
            } else {
                self.known.remove(name);
            }
        }
        self.asked_again.clear();
        self.must_answer = false;
        self.nonce = nonce;
        self.in_flight = true;
        self.answer = Answer::None;
    }

    /// Takes note of an update that cannot be told in state-of-the-world: the absence of
    /// a resource whose type's responses are not complete.
    pub fn forget_removed(&mut self, update: &Update) {
        for name in &update.removed {
            self.known.remove(name);
        }
    }
}
