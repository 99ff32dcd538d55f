//! Retries that leave the priorities alone which were tried before (`envoy.retry_priorities.previous_priorities`).

use std::cell::Cell;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::LbTable;
use super::priority::{Availability, Loads};
use crate::endpoint::EndpointState;

/// The priorities that one request tried. After every `update_frequency` tries those tried until then get no more of its
/// requests, and the others share the load among them; when none is left it begins anew.
#[derive(Debug)]
pub struct PreviousPriorities {
    update_frequency: NonZeroU32,
    /// Priorities of the endpoints tried since the beginning.
    tried: Vec<usize>,
    /// By priority. Not what was tried since the last update.
    excluded: Vec<bool>,
    /// A pick found no other priority.
    is_exhausted: Cell<bool>,
}

impl PreviousPriorities {
    /// Those of a request that has tried nothing.
    pub fn new(update_frequency: NonZeroU32) -> Self {
        Self {
            update_frequency,
            tried: Vec::new(),
            excluded: Vec::new(),
            is_exhausted: Cell::new(false),
        }
    }

    /// Notes that an endpoint of `table` is tried.
    pub fn note(&mut self, table: &LbTable, endpoint: &Arc<EndpointState>) {
        if self.is_exhausted.take() {
            self.tried.clear();
            self.excluded.clear();
        }
        let of_endpoint = |priority: &crate::hosts::PriorityHosts| {
            let mut hosts = priority.hosts().iter();
            hosts.any(|host| Arc::ptr_eq(&host.state, endpoint))
        };
        if let Some(priority) = table.hosts().priorities().iter().position(of_endpoint) {
            self.tried.push(priority);
        }
    }

    /// Excludes what was tried, if it is time to: to be called before each pick for a retry.
    pub fn update(&mut self) {
        let frequency = self.update_frequency.get() as usize;
        if self.tried.is_empty() || !self.tried.len().is_multiple_of(frequency) {
            return;
        }
        for &priority in &self.tried {
            if self.excluded.len() <= priority {
                self.excluded.resize(priority + 1, false);
            }
            self.excluded[priority] = true;
        }
    }

    /// The priority that a retry goes to, and which of its endpoints; `draw` is random.
    pub(super) fn choose(&self, loads: &Loads, draw: u64) -> (usize, Availability) {
        if !self.excluded.contains(&true) {
            return loads.choose(draw);
        }
        match loads.without(&self.excluded) {
            Some(others) => others.choose(draw),
            None => {
                self.is_exhausted.set(true);
                loads.choose(draw)
            }
        }
    }
}
