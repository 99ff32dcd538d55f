//! Circuit breaking: thresholds from the configuration, counters that outlive it.
//!
//! Envoy, "Circuit breaking" (arch_overview/upstream/circuit_breaking). The limits are process-wide and exact: two
//! workers never get the last permit both, which Envoy allows for a moment.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

pub use config::cluster::{CircuitBreakers, RetryBudget, Thresholds};
pub use config::route::RoutingPriority;

use crate::cluster_state::ClusterState;

mod request_window;

use request_window::RequestWindow;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Open upstream connections, and those being opened.
    Connections,
    /// Requests that wait for a connection.
    PendingRequests,
    /// Requests in flight.
    Requests,
    /// Retries in flight.
    Retries,
    /// Connection pools, where `max_connection_pools` limits them.
    ConnectionPools,
}

/// The counters of one cluster. High priority is rare, and so are budgets by time: what these need is made when first
/// used.
#[derive(Debug, Default)]
pub struct Breaker {
    default: Counters,
    rare: OnceLock<Box<Rare>>,
}

#[derive(Debug, Default)]
struct Rare {
    high: Counters,
    /// The requests of late of each priority, where a retry budget goes by them.
    of_late: [OnceLock<Box<RequestWindow>>; 2],
}

/// Small enough for one cache line, and not aligned to one: a mesh has thousands of clusters and uses few.
#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU32,
    pending_requests: AtomicU32,
    requests: AtomicU32,
    retries: AtomicU32,
    connection_pools: AtomicU32,
}

impl Counters {
    fn of(&self, resource: Resource) -> &AtomicU32 {
        match resource {
            Resource::Connections => &self.connections,
            Resource::PendingRequests => &self.pending_requests,
            Resource::Requests => &self.requests,
            Resource::Retries => &self.retries,
            Resource::ConnectionPools => &self.connection_pools,
        }
    }
}

impl Breaker {
    /// How many of `resource` are in use.
    pub fn in_use(&self, resource: Resource, priority: RoutingPriority) -> u32 {
        match priority {
            RoutingPriority::Default => self.default.of(resource).load(Ordering::Relaxed),
            RoutingPriority::High => self
                .rare
                .get()
                .map_or(0, |rare| rare.high.of(resource).load(Ordering::Relaxed)),
        }
    }

    /// How many of `resource` may be in use at this moment.
    pub fn limit(&self, resource: Resource, limits: &CircuitBreakers, priority: RoutingPriority) -> u32 {
        let thresholds = limits.thresholds(priority);
        match resource {
            Resource::Connections => thresholds.max_connections,
            Resource::PendingRequests => thresholds.max_pending_requests,
            Resource::Requests => thresholds.max_requests,
            Resource::ConnectionPools => thresholds.max_connection_pools.unwrap_or(u32::MAX),
            Resource::Retries => match thresholds.retry_budget {
                None => thresholds.max_retries,
                Some(budget) => {
                    let requests = match budget.budget_interval {
                        None => {
                            u64::from(self.in_use(Resource::Requests, priority))
                                + u64::from(self.in_use(Resource::PendingRequests, priority))
                        }
                        Some(interval) => self
                            .rare
                            .get()
                            .and_then(|rare| rare.of_late[priority as usize].get())
                            .map_or(0, |window| window.sum(Instant::now(), interval)),
                    };
                    let share = (requests as f64 * budget.budget_percent / 100.0) as u32;
                    share.max(budget.min_retry_concurrency)
                }
            },
        }
    }

    /// Whether the breaker is open: nothing more of `resource` is let through.
    pub fn is_open(&self, resource: Resource, limits: &CircuitBreakers, priority: RoutingPriority) -> bool {
        self.in_use(resource, priority) >= self.limit(resource, limits, priority)
    }

    /// Takes one of `resource` if the limit allows it. The caller owes a [`release`](Self::release).
    pub(crate) fn try_acquire(&self, resource: Resource, limits: &CircuitBreakers, priority: RoutingPriority) -> bool {
        let limit = self.limit(resource, limits, priority);
        let take = |used: u32| (used < limit).then_some(used + 1);
        let counters = self.counters(priority);
        let taken = counters
            .of(resource)
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, take)
            .is_ok();
        if taken
            && resource == Resource::Requests
            && let Some(budget) = &limits.thresholds(priority).retry_budget
            && let Some(interval) = budget.budget_interval
        {
            let rare = self.rare.get_or_init(Box::default);
            let window = rare.of_late[priority as usize].get_or_init(Box::default);
            window.count(Instant::now(), interval);
        }
        taken
    }

    /// Takes one of `resource` whatever the limit says.
    pub(crate) fn acquire(&self, resource: Resource, priority: RoutingPriority) {
        self.counters(priority).of(resource).fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn release(&self, resource: Resource, priority: RoutingPriority) {
        let before = self.counters(priority).of(resource).fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before > 0, "{resource:?} released more often than acquired");
    }

    fn counters(&self, priority: RoutingPriority) -> &Counters {
        match priority {
            RoutingPriority::Default => &self.default,
            RoutingPriority::High => &self.rare.get_or_init(Box::default).high,
        }
    }
}

/// One connection, waiting request or retry that counts against its cluster's limit until it drops.
///
/// Requests in flight are counted together with their endpoint's load:
/// [`EndpointState::try_start_request`](crate::endpoint::EndpointState::try_start_request).
#[derive(Debug)]
#[must_use = "dropping it at once gives the permit back"]
pub struct Permit {
    cluster: Arc<ClusterState>,
    resource: Resource,
    priority: RoutingPriority,
}

impl Permit {
    /// Takes one of `resource` if `limits` allow it.
    pub fn try_acquire(
        cluster: &Arc<ClusterState>,
        resource: Resource,
        limits: &CircuitBreakers,
        priority: RoutingPriority,
    ) -> Option<Self> {
        cluster.breaker().try_acquire(resource, limits, priority).then(|| Self {
            cluster: cluster.clone(),
            resource,
            priority,
        })
    }

    /// Takes one of `resource` whatever the limits say: the connection of a worker that has none.
    pub fn acquire(cluster: &Arc<ClusterState>, resource: Resource, priority: RoutingPriority) -> Self {
        cluster.breaker().acquire(resource, priority);
        Self {
            cluster: cluster.clone(),
            resource,
            priority,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.cluster.breaker().release(self.resource, self.priority);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    fn cluster() -> Arc<ClusterState> {
        testing::cluster_of(&testing::registry(), "c")
    }

    fn limits(max: u32) -> CircuitBreakers {
        let thresholds = Thresholds {
            max_connections: max,
            max_pending_requests: max,
            max_requests: max,
            max_retries: max,
            ..Thresholds::default()
        };
        CircuitBreakers {
            default: thresholds,
            high: thresholds,
            per_host_max_connections: None,
        }
    }

    #[test]
    fn defaults_are_envoys() {
        let thresholds = CircuitBreakers::default().default;
        assert_eq!(
            (
                thresholds.max_connections,
                thresholds.max_pending_requests,
                thresholds.max_requests,
                thresholds.max_retries
            ),
            (1024, 1024, 1024, 3)
        );
    }

    #[test]
    fn a_permit_is_given_back_on_drop() {
        let cluster = cluster();
        let take = || {
            Permit::try_acquire(
                &cluster,
                Resource::PendingRequests,
                &limits(1),
                RoutingPriority::Default,
            )
        };
        let first = take();
        assert!(first.is_some());
        assert!(take().is_none());
        assert!(
            cluster
                .breaker()
                .is_open(Resource::PendingRequests, &limits(1), RoutingPriority::Default)
        );
        drop(first);
        assert!(take().is_some());
    }

    #[test]
    fn priorities_and_resources_have_counters_of_their_own() {
        let cluster = cluster();
        let _default = Permit::try_acquire(&cluster, Resource::Retries, &limits(1), RoutingPriority::Default).unwrap();
        let _high = Permit::try_acquire(&cluster, Resource::Retries, &limits(1), RoutingPriority::High).unwrap();
        let _pending = Permit::try_acquire(
            &cluster,
            Resource::PendingRequests,
            &limits(1),
            RoutingPriority::Default,
        )
        .unwrap();
        assert_eq!(cluster.breaker().in_use(Resource::Retries, RoutingPriority::Default), 1);
        assert_eq!(cluster.breaker().in_use(Resource::Retries, RoutingPriority::High), 1);
    }

    #[test]
    fn a_worker_without_a_connection_may_open_one_above_the_limit() {
        let cluster = cluster();
        let limits = limits(1);
        let _first = Permit::try_acquire(&cluster, Resource::Connections, &limits, RoutingPriority::Default).unwrap();
        let _second = Permit::acquire(&cluster, Resource::Connections, RoutingPriority::Default);
        assert_eq!(
            cluster
                .breaker()
                .in_use(Resource::Connections, RoutingPriority::Default),
            2
        );
        assert!(Permit::try_acquire(&cluster, Resource::Connections, &limits, RoutingPriority::Default).is_none());
    }

    #[test]
    fn a_lowered_limit_lets_nothing_through_until_enough_ended() {
        let cluster = cluster();
        let take = |max| Permit::try_acquire(&cluster, Resource::Retries, &limits(max), RoutingPriority::Default);
        let mut held = vec![take(3).unwrap(), take(3).unwrap(), take(3).unwrap()];
        assert!(take(2).is_none());
        held.pop();
        assert!(take(2).is_none());
        held.pop();
        assert!(take(2).is_some());
    }

    #[test]
    fn a_retry_budget_follows_the_requests_in_flight() {
        let cluster = cluster();
        let mut limits = limits(1000);
        limits.default.retry_budget = Some(RetryBudget {
            budget_percent: 20.0,
            budget_interval: None,
            min_retry_concurrency: 3,
        });
        let limit = || {
            cluster
                .breaker()
                .limit(Resource::Retries, &limits, RoutingPriority::Default)
        };
        assert_eq!(limit(), 3);
        let _pending: Vec<Permit> = (0..100)
            .map(|_| Permit::acquire(&cluster, Resource::PendingRequests, RoutingPriority::Default))
            .collect();
        assert_eq!(limit(), 20);
    }

    #[test]
    fn the_limit_is_exact_across_threads_and_nothing_leaks() {
        let cluster = cluster();
        let limits = limits(5);
        let exceeded = AtomicBool::new(false);
        let inside = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        let permit =
                            Permit::try_acquire(&cluster, Resource::Requests, &limits, RoutingPriority::Default);
                        if let Some(permit) = permit {
                            if inside.fetch_add(1, Ordering::SeqCst) >= 5 {
                                exceeded.store(true, Ordering::SeqCst);
                            }
                            inside.fetch_sub(1, Ordering::SeqCst);
                            drop(permit);
                        }
                    }
                });
            }
        });
        assert!(!exceeded.into_inner());
        assert_eq!(
            cluster.breaker().in_use(Resource::Requests, RoutingPriority::Default),
            0
        );
    }

    proptest! {
        /// Permits dropped in any order, at any point, leave nothing behind, and never more are out than the limit.
        #[test]
        fn permits_never_leak(steps in prop::collection::vec((any::<bool>(), 0usize..8), 1..200), max in 0u32..6) {
            let cluster = cluster();
            let limits = limits(max);
            let mut held = Vec::new();
            for (take, at) in steps {
                if take {
                    let permit =
                        Permit::try_acquire(&cluster, Resource::Requests, &limits, RoutingPriority::Default);
                    prop_assert_eq!(permit.is_some(), (held.len() as u32) < max);
                    held.extend(permit);
                } else if at < held.len() {
                    drop(held.swap_remove(at));
                }
                let in_use = cluster.breaker().in_use(Resource::Requests, RoutingPriority::Default);
                prop_assert_eq!(in_use as usize, held.len());
            }
            drop(held);
            prop_assert_eq!(cluster.breaker().in_use(Resource::Requests, RoutingPriority::Default), 0);
        }
    }
}
