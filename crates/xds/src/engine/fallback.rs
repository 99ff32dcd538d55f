//! Several servers for one stream (gRFC A71): the first is preferred; a later one serves while it cannot be reached and
//! something that is asked for is held from nowhere; and the first has it back with its first answer.
//!
//! While a later server serves, an earlier one is asked on a stream beside, the *probe*. It has a session of its own with
//! the same subscriptions. Its first answer makes its session the stream's, and what the later server's stream has to say
//! after that is heard by nobody.
//!
//! In delta a server says of what is gone only where it was told that we have it. So an answer is of no use when more came
//! from the later server after the question: the earlier one is asked again.

use std::collections::HashSet;
use std::time::Instant;

use super::{Engine, stream_of};
use crate::session::{Request, Response, Unexpected};
use crate::source::SourceId;
use crate::status::ClientStatus;
use config::ResourceType;

impl Engine {
    /// Whether a stream asks for something of which nothing is known, not even that it does not exist: only then is it
    /// worth while to ask another server. What the last-good cache holds is not known to be true.
    pub fn has_uncached(&mut self, source: SourceId) -> bool {
        let Some(stream) = stream_of(&mut self.streams, source) else {
            return false;
        };
        stream.has_news = false;
        let (store, session) = (&self.store, &stream.session);
        let unanswered = |resource_type: ResourceType| {
            session.names(resource_type).any(|name| {
                store
                    .entry(resource_type, name)
                    .is_none_or(|entry| matches!(entry.client_status, ClientStatus::Requested | ClientStatus::Timeout))
            })
        };
        let initial = self.initial.iter().any(|initial| {
            session.wants_all(initial.resource_type) && !stream.answered_types[initial.resource_type as usize]
        });
        initial || self.from_cache || ResourceType::ALL.into_iter().any(unanswered)
    }

    /// A stream to a preferred server was opened beside the one in use.
    pub fn probe_opened(&mut self, source: SourceId, server: usize) {
        if let Some(stream) = stream_of(&mut self.streams, source) {
            let mut session = stream.session.fork();
            session.stream_opened(server);
            stream.probe = Some(session);
            stream.claims = Default::default();
        }
    }

    /// The stream beside is gone, or given up on.
    pub fn probe_closed(&mut self, source: SourceId) {
        if let Some(stream) = stream_of(&mut self.streams, source) {
            stream.probe = None;
            stream.claims = Default::default();
        }
    }

    /// The next request for the stream beside. It is opened as seldom as the back-off says, so that
    /// `rate_limit_settings` need not hold it back.
    pub fn next_probe_request(&mut self, source: SourceId, now: Instant) -> Option<Request> {
        let stream = stream_of(&mut self.streams, source)?;
        let request = stream.probe.as_mut()?.next_request(&self.store, now)?;
        if let Request::Delta(request) = &request
            && let Some(resource_type) = ResourceType::from_type_url(&request.type_url)
        {
            let names = || request.initial_resource_versions.keys().cloned();
            stream.claims[resource_type as usize].get_or_insert_with(|| names().collect::<HashSet<_>>());
        }
        Some(request)
    }

    /// Whether the stream beside has something to say.
    pub fn has_probe_request(&self, source: SourceId) -> bool {
        let stream = self.streams.get(source.0).and_then(Option::as_ref);
        stream.is_some_and(|stream| stream.probe.as_ref().is_some_and(crate::session::Session::has_request))
    }

    /// Whether the preferred server was told of everything that is held and that it would have to say is gone.
    pub fn is_probe_current(&self, source: SourceId) -> bool {
        let Some(stream) = self.streams.get(source.0).and_then(Option::as_ref) else {
            return false;
        };
        // What is asked for by name is sent or said not to exist, claimed or not.
        let of_all = ResourceType::ALL.into_iter().filter(|t| stream.session.wants_all(*t));
        of_all
            .filter_map(|t| Some((t, stream.claims[t as usize].as_ref()?)))
            .all(|(resource_type, claimed)| {
                let mut held = self
                    .store
                    .entries(resource_type)
                    .filter(|(_, entry)| entry.accepted.is_some());
                held.all(|(name, _)| claimed.contains(&**name))
            })
    }

    /// The preferred server answered: its stream is the one in use from now on.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn probe_answered(&mut self, source: SourceId, response: Response, now: Instant) -> Result<(), Unexpected> {
        if let Some(stream) = stream_of(&mut self.streams, source)
            && let Some(session) = stream.probe.take()
        {
            stream.claims = Default::default();
            stream.session = session;
            stream.connected(now);
            self.statistics.connected(source, true);
        }
        self.receive(source, response, now)
    }
}
