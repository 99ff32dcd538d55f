//! What the engine keeps of one stream.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::Instant;

use config::ResourceType;

use super::Transport;
use crate::key::ResourceKey;
use crate::rate_limit::RateLimit;
use crate::session::Session;
use crate::source::SourceId;
use crate::status::StreamStatus;

/// So many different texts are remembered, so that a server that alternates between them does not fill the log.
const REMEMBERED: usize = 16;

/// Texts that were logged, by their hashes.
#[derive(Debug, Default)]
pub(super) struct Logged(VecDeque<u64>);

impl Logged {
    /// Whether the text was not logged yet; it is taken for logged from now on.
    fn is_new(&mut self, text: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        hasher.write(text.as_bytes());
        let hash = hasher.finish();
        if self.0.contains(&hash) {
            return false;
        }
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(hash);
        true
    }
}

/// One discovery stream across reconnects.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) session: Session,
    /// The session with a preferred server while another one serves, see [`fallback`](super::fallback).
    pub(super) probe: Option<Session>,
    /// What the preferred server was told in delta that we have, of the types it was asked for.
    pub(super) claims: [Option<HashSet<String>>; ResourceType::ALL.len()],
    /// Whether something new is asked for while there is no connection.
    pub(super) has_news: bool,
    /// Types that were answered at all.
    pub(super) answered_types: [bool; ResourceType::ALL.len()],
    /// What the servers are called, by their places.
    names: Vec<String>,
    pub(super) name: String,
    pub(super) since: Instant,
    pub(super) control_plane: String,
    pub(super) last_error: Option<String>,
    /// Whether a server ever sent anything.
    pub(super) answered: bool,
    pub(super) rate_limit: Option<RateLimit>,
    /// Until when requests wait for a token.
    pub(super) held_back: Option<Instant>,
    /// Per type the version last accepted, for display.
    pub(super) versions: [Arc<str>; ResourceType::ALL.len()],
    /// Per type the refusals logged since something was accepted: the same text is logged once.
    pub(super) refusals: [Logged; ResourceType::ALL.len()],
}

impl Stream {
    pub(super) fn new(session: Session, source: SourceId, transport: &Transport, now: Instant) -> Self {
        let settings = match transport {
            Transport::Grpc { api, .. } => api.rate_limit_settings,
            Transport::File { .. } => None,
        };
        let names = crate::source::describe(source, transport);
        Self {
            session,
            probe: None,
            claims: Default::default(),
            has_news: false,
            answered_types: Default::default(),
            name: names.first().cloned().unwrap_or_default(),
            names,
            since: now,
            control_plane: String::new(),
            last_error: None,
            answered: false,
            rate_limit: settings.map(|settings| RateLimit::new(settings, now)),
            held_back: None,
            versions: Default::default(),
            refusals: Default::default(),
        }
    }

    /// Its session has a connection.
    pub(super) fn connected(&mut self, now: Instant) {
        self.since = now;
        self.last_error = None;
        self.has_news = false;
        if let Some(name) = self.names.get(self.session.server()) {
            self.name.clone_from(name);
        }
    }

    /// Asks for a resource, also of a preferred server that is tried.
    pub(super) fn subscribe(&mut self, key: &ResourceKey) {
        self.session.subscribe(key);
        self.has_news |= !self.session.is_open();
        if let Some(probe) = &mut self.probe {
            probe.subscribe(key);
        }
    }

    /// Asks no longer for a resource.
    pub(super) fn unsubscribe(&mut self, key: &ResourceKey) {
        self.session.unsubscribe(key);
        if let Some(probe) = &mut self.probe {
            probe.unsubscribe(key);
        }
    }

    /// Remembers what came of a response, and logs a refusal unless it says what the last one said.
    pub(super) fn note(&mut self, receipt: &crate::session::Receipt, refusal: Option<&str>) {
        let slot = receipt.resource_type as usize;
        match refusal {
            None => {
                self.versions[slot] = Arc::clone(&receipt.version);
                self.refusals[slot] = Logged::default();
            }
            Some(refusal) if self.refusals[slot].is_new(refusal) => {
                tracing::warn!(
                    stream = self.name,
                    version = &*receipt.version,
                    "configuration refused: {refusal}"
                );
            }
            Some(_) => tracing::debug!(
                stream = self.name,
                "configuration refused for the same reason as before"
            ),
        }
    }

    pub(super) fn status(&self, now: Instant) -> StreamStatus {
        let version = |resource_type: ResourceType| (resource_type, self.versions[resource_type as usize].to_string());
        StreamStatus {
            source: self.name.clone(),
            connected: self.session.is_open(),
            control_plane: self.control_plane.clone(),
            last_error: self.last_error.clone(),
            versions: ResourceType::ALL
                .into_iter()
                .map(version)
                .filter(|(_, version)| !version.is_empty())
                .collect(),
            since: now.saturating_duration_since(self.since),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_logged_once_also_when_two_alternate() {
        let mut logged = Logged::default();
        let new = ["a", "b", "a", "b", "a"].map(|text| logged.is_new(text));
        assert_eq!(new, [true, true, false, false, false]);
        for index in 0..1000 {
            logged.is_new(&index.to_string());
        }
        assert_eq!(logged.0.len(), REMEMBERED, "what is remembered is bounded");
    }
}
