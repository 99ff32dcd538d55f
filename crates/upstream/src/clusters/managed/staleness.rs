//! Endpoints that are good for a time only (`ClusterLoadAssignment.Policy.endpoint_stale_after`).

use std::sync::Arc;
use std::time::Instant;

use config::cluster::Discovery;
use config::endpoint::ClusterLoadAssignment;
use telemetry::stats::{Shard, cluster_membership as stat};

use super::Managed;
use crate::clusters::members::no_endpoints;
use crate::clusters::{Job, Work};

/// Until when the endpoints of a cluster are good.
#[derive(Debug, Default)]
pub(super) struct Staleness {
    /// When they are good no longer. None for ever.
    at: Option<Instant>,
    /// Those that were good until then: until others come, there are none.
    stale: Option<Arc<ClusterLoadAssignment>>,
}

impl Staleness {
    /// Whether these endpoints are known to be stale.
    pub(super) fn is_of(&self, assignment: &Arc<ClusterLoadAssignment>) -> bool {
        self.stale.as_ref().is_some_and(|stale| Arc::ptr_eq(stale, assignment))
    }
}

impl Managed {
    /// Endpoints have come, the same again perhaps: the time that they are good for begins.
    pub(super) fn watch_staleness(&mut self, work: &mut Work, now: Instant) {
        self.staleness = Staleness::default();
        let is_told = matches!(self.handle.config().discovery, Discovery::Eds { .. });
        if let Some(time) = self.assignment.endpoint_stale_after.filter(|_| is_told) {
            self.staleness.at = Some(now + time);
            let stats = self.handle.state().membership_stats();
            stats.increment(Shard::CONTROL, stat::ASSIGNMENT_TIMEOUT_RECEIVED);
            work.timers.insert(now + time, (self.id, Job::Stale));
        }
    }

    /// The time of some endpoints is over: of those there are, or of others before them.
    pub(super) fn on_stale(&mut self, work: &mut Work, now: Instant) {
        if self.staleness.at.is_none_or(|at| at > now) {
            return;
        }
        let none = no_endpoints(&self.assignment.cluster_name);
        self.staleness = Staleness {
            at: None,
            stale: Some(std::mem::replace(&mut self.assignment, none)),
        };
        let stats = self.handle.state().membership_stats();
        stats.increment(Shard::CONTROL, stat::ASSIGNMENT_STALE);
        self.set_members(work, now);
    }
}
