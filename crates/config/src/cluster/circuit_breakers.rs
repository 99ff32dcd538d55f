//! Limits of a cluster (`envoy.config.cluster.v3.CircuitBreakers`).

use std::time::Duration;

use crate::route::RoutingPriority;

/// Limits by priority.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CircuitBreakers {
    /// For usual requests.
    pub default: Thresholds,
    /// For requests on a route of high priority.
    pub high: Thresholds,
    /// For each endpoint: connections only.
    pub per_host_max_connections: Option<u32>,
}

impl CircuitBreakers {
    /// The limits for a priority.
    pub fn thresholds(&self, priority: RoutingPriority) -> &Thresholds {
        match priority {
            RoutingPriority::Default => &self.default,
            RoutingPriority::High => &self.high,
        }
    }
}

/// Limits of one priority.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Connections.
    pub max_connections: u32,
    /// Requests that wait for a connection.
    pub max_pending_requests: u32,
    /// Requests in flight.
    pub max_requests: u32,
    /// Retries in flight; the budget takes its place when there is one.
    pub max_retries: u32,
    /// Retries in proportion to requests.
    pub retry_budget: Option<RetryBudget>,
    /// Connection pools; without limit when none.
    pub max_connection_pools: Option<u32>,
    /// Whether statistics tell what is left.
    pub track_remaining: bool,
}

impl Default for Thresholds {
    /// Envoy's: 1024 connections, pending requests and requests, 3 retries.
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_pending_requests: 1024,
            max_requests: 1024,
            max_retries: 3,
            retry_budget: None,
            max_connection_pools: None,
            track_remaining: false,
        }
    }
}

/// Retries in proportion to requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryBudget {
    /// Percent of active and pending requests. Envoy's default is 20.
    pub budget_percent: f64,
    /// Requests of this long ago count as active; none for those in flight alone.
    pub budget_interval: Option<Duration>,
    /// This many are always allowed. Envoy's default is 3.
    pub min_retry_concurrency: u32,
}
