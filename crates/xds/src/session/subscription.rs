//! What is asked for of one type, and what of that the server has been told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// The name that stands for all resources of a type.
pub(super) const WILDCARD: &str = "*";

/// The subscription to one type on one session.
#[derive(Debug, Clone, Default)]
pub(super) struct Subscription {
    /// Whether all resources of the type are asked for.
    wildcard: bool,
    /// Names asked for.
    names: BTreeMap<Arc<str>, NameState>,
    /// Names asked for since the last request of this stream. A name may be in both sets: dropped and wanted again
    /// before the server heard of the first. What it had was forgotten, so it must be sent again.
    gained: BTreeSet<Arc<str>>,
    /// Names given up since the last request of this stream.
    lost: BTreeSet<Arc<str>>,
    /// Names in the request just made, whose timers are to be started.
    just_sent: Vec<Arc<str>>,
    /// Whether a request of this type was sent on this stream.
    open: bool,
    /// Whether a name was ever sent on this stream: from then on an empty list unsubscribes instead of asking for all.
    named: bool,
    /// Whether a name was ever given up on this stream: the server may believe that we have it. State of the world only.
    gave_up: bool,
    /// The latest nonce received on this stream. State of the world only.
    pub(super) nonce: String,
    /// The version last accepted; outlives the stream. State of the world only.
    pub(super) version: String,
}

/// How far the search for a named resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NameState {
    /// Never asked for on a connected stream, or the stream broke before an answer.
    Unasked,
    /// Asked for; taken not to exist at the deadline, where there is one.
    Asked(Option<Instant>),
    /// Sent, refused, removed or timed out. No timer runs for it again.
    Answered,
}

impl Subscription {
    pub(super) fn subscribe_all(&mut self) {
        self.wildcard = true;
    }

    pub(super) fn subscribe(&mut self, name: &Arc<str>) {
        if self.names.contains_key(name) {
            return;
        }
        self.names.insert(Arc::clone(name), NameState::Unasked);
        if self.open {
            self.gained.insert(Arc::clone(name));
        }
    }

    pub(super) fn unsubscribe(&mut self, name: &Arc<str>) {
        if self.names.remove(name).is_none() || !self.open {
            return;
        }
        if !self.gained.remove(name) {
            self.lost.insert(Arc::clone(name));
        }
    }

    pub(super) fn stream_closed(&mut self) {
        self.open = false;
        self.named = false;
        self.gave_up = false;
        self.nonce.clear();
        self.gained.clear();
        self.lost.clear();
        for state in self.names.values_mut() {
            if matches!(state, NameState::Asked(_)) {
                *state = NameState::Unasked;
            }
        }
    }

    pub(super) fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains_key(name)
    }

    /// Whether responses of this type make sense.
    pub(super) fn is_wanted(&self) -> bool {
        self.wildcard || self.open || !self.names.is_empty()
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Whether the server has yet to hear something.
    pub(super) fn is_pending(&self) -> bool {
        if self.open {
            !self.gained.is_empty() || !self.lost.is_empty()
        } else {
            self.wildcard || !self.names.is_empty()
        }
    }

    pub(super) fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.keys()
    }

    /// Names in the next state-of-the-world request that the server may believe us to have although it was not asked for
    /// them a moment ago: all in the first of a stream; later those added, once a name was given up on the stream.
    ///
    /// A server keeps what it has sent for what we have, under the version that we acknowledged, also when we asked for
    /// it no longer; and many read an empty list as asking for all, and send it.
    pub(super) fn names_in_doubt(&self) -> impl Iterator<Item = &Arc<str>> {
        let added = self
            .gained
            .iter()
            .filter(move |name| self.gave_up && !self.lost.contains(*name));
        let all = self.names.keys().filter(move |_| !self.open);
        all.chain(added)
    }

    /// Marks the names of the request just made as asked for until `deadline`, and returns those that wait for an answer
    /// for the first time.
    pub(super) fn asked(&mut self, deadline: Option<Instant>) -> Vec<Arc<str>> {
        let mut started = std::mem::take(&mut self.just_sent);
        started.retain(|name| match self.names.get_mut(name) {
            Some(state) if *state == NameState::Unasked => {
                *state = NameState::Asked(deadline);
                true
            }
            _ => false,
        });
        started
    }

    pub(super) fn answered(&mut self, name: &str) {
        if let Some(state) = self.names.get_mut(name) {
            *state = NameState::Answered;
        }
    }

    /// Ends the wait for a name if it is the one that began with this deadline.
    pub(super) fn time_out(&mut self, name: &str, deadline: Instant) -> bool {
        match self.names.get_mut(name) {
            Some(state) if *state == NameState::Asked(Some(deadline)) => {
                *state = NameState::Answered;
                true
            }
            _ => false,
        }
    }

    /// Names a state-of-the-world acknowledgement must repeat: those the server already knows of.
    pub(super) fn list_as_sent(&self) -> Vec<String> {
        let kept = self.names.keys().filter(|name| !self.gained.contains(*name));
        let mut list: Vec<&Arc<str>> = kept.chain(&self.lost).collect();
        list.sort_unstable();
        self.wire_list(list.into_iter(), self.named)
    }

    /// Names for the next state-of-the-world subscription request, which are sent with this call.
    ///
    /// A name both lost and gained is left out first and sent with the request after, or the server would see no change
    /// and not send it again.
    pub(super) fn list_to_send(&mut self) -> Vec<String> {
        let again: BTreeSet<_> = self.gained.intersection(&self.lost).cloned().collect();
        let now = self.names.keys().filter(|name| !again.contains(*name));
        let list = self.wire_list(now, self.named);
        self.just_sent = if self.open {
            self.gained.difference(&again).cloned().collect()
        } else {
            self.names.keys().cloned().collect()
        };
        self.open = true;
        self.named |= !list.is_empty();
        self.gave_up |= !self.lost.is_empty();
        self.lost.clear();
        self.gained = again;
        list
    }

    /// A list as the wildcard rules of `xds_protocol.rst` want it: empty means everything only while no name was sent.
    fn wire_list<'a>(&self, names: impl Iterator<Item = &'a Arc<str>>, named: bool) -> Vec<String> {
        let mut list: Vec<String> = names.map(|name| name.to_string()).collect();
        if self.wildcard && (named || !list.is_empty()) {
            list.insert(0, WILDCARD.to_owned());
        }
        list
    }

    /// Names to subscribe to and to unsubscribe from in the next delta request, which are sent with this call.
    pub(super) fn changes_to_send(&mut self) -> (Vec<String>, Vec<String>) {
        let text = |names: BTreeSet<Arc<str>>| names.into_iter().map(|name| name.to_string()).collect();
        if std::mem::replace(&mut self.open, true) {
            let (gained, mut lost) = (std::mem::take(&mut self.gained), std::mem::take(&mut self.lost));
            // A server answers every name in `resource_names_subscribe`, known to it or not.
            lost.retain(|name| !gained.contains(name));
            self.just_sent = gained.iter().cloned().collect();
            return (text(gained), text(lost));
        }
        self.just_sent = self.names.keys().cloned().collect();
        (self.wire_list(self.names.keys(), false), Vec::new())
    }
}
