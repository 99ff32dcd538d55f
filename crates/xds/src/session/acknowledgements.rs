//! Acknowledgements that wait for the transport to have room.

use std::collections::VecDeque;

use config::ResourceType;

/// At most so many acknowledgements of one type wait in the delta protocol. A server that sends more without reading
/// loses the oldest plain acknowledgements: it has newer ones to go by, and memory stays bounded.
const MAXIMUM_WAITING: usize = 64;

/// An answer to a response.
#[derive(Debug)]
pub(super) struct Acknowledgement {
    pub(super) resource_type: ResourceType,
    pub(super) nonce: String,
    /// What is wrong with the response; none accepts it.
    pub(super) refusal: Option<String>,
}

/// In the order in which the responses came.
#[derive(Debug, Default)]
pub(super) struct Acknowledgements(VecDeque<Acknowledgement>);

impl Acknowledgements {
    /// Adds one. With `newest_only`, which state of the world allows, an earlier one of the same type is dropped: only
    /// the latest nonce counts.
    pub(super) fn push(&mut self, acknowledgement: Acknowledgement, newest_only: bool) {
        let same_type = |waiting: &Acknowledgement| waiting.resource_type == acknowledgement.resource_type;
        if newest_only {
            self.0.retain(|waiting| !same_type(waiting));
        } else if self.0.iter().filter(|waiting| same_type(waiting)).count() >= MAXIMUM_WAITING {
            let accepted = self
                .0
                .iter()
                .position(|waiting| same_type(waiting) && waiting.refusal.is_none());
            let oldest = accepted.or_else(|| self.0.iter().position(same_type));
            oldest.map(|at| self.0.remove(at));
        }
        self.0.push_back(acknowledgement);
    }

    /// The first whose type's subscription is open on this stream.
    pub(super) fn pop(&mut self, opened: impl Fn(ResourceType) -> bool) -> Option<Acknowledgement> {
        let at = self.0.iter().position(|waiting| opened(waiting.resource_type))?;
        self.0.remove(at)
    }

    /// Whether [`pop`](Self::pop) would find one.
    pub(super) fn any(&self, opened: impl Fn(ResourceType) -> bool) -> bool {
        self.0.iter().any(|waiting| opened(waiting.resource_type))
    }

    /// Forgets all: nonces die with the stream.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
