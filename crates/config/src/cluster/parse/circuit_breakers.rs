//! Limits.

use xds_api::envoy::config::cluster::v3 as pb;
use xds_api::envoy::config::core::v3::RoutingPriority;

use crate::cluster::{CircuitBreakers, RetryBudget, Thresholds};
use crate::context::Context;
use crate::rejected::Reported;
use crate::scalars::u32_or;

impl CircuitBreakers {
    pub(super) fn parse(context: &mut Context<'_>, message: &pb::CircuitBreakers) -> Result<Self, Reported> {
        context.check(message);
        let (mut default, mut high) = (None, None);
        let thresholds: Result<Vec<()>, _> = context.each("thresholds", &message.thresholds, |context, entry| {
            let (priority, thresholds) = Thresholds::parse(context, entry)?;
            let slot = match priority {
                RoutingPriority::Default => &mut default,
                RoutingPriority::High => &mut high,
            };
            if slot.is_some() {
                context.without_effect("", "the first entry of a priority counts, as in Envoy");
            } else {
                *slot = Some(thresholds);
            }
            Ok(())
        });
        let mut per_host_max_connections = None;
        let per_host: Result<Vec<()>, _> =
            context.each("per_host_thresholds", &message.per_host_thresholds, |context, entry| {
                let only_connections = pb::circuit_breakers::Thresholds {
                    max_connections: entry.max_connections,
                    priority: entry.priority,
                    ..Default::default()
                };
                if *entry != only_connections {
                    return Err(
                        context.reject("has more than max_connections, which is all an endpoint can be limited in")
                    );
                }
                if entry.priority == RoutingPriority::Default as i32 && per_host_max_connections.is_none() {
                    per_host_max_connections = entry.max_connections.map(|most| most.value);
                } else {
                    context.without_effect("", "the first entry of the priority DEFAULT counts, as in Envoy");
                }
                Ok(())
            });
        thresholds?;
        per_host?;
        Ok(Self {
            default: default.unwrap_or_default(),
            high: high.unwrap_or_default(),
            per_host_max_connections,
        })
    }
}

impl Thresholds {
    fn parse(
        context: &mut Context<'_>,
        message: &pb::circuit_breakers::Thresholds,
    ) -> Result<(RoutingPriority, Self), Reported> {
        context.check(message);
        let priority = context.enumeration("priority", message.priority);
        let budget = context.optional("retry_budget", message.retry_budget.as_ref(), |context, budget| {
            context.check(budget);
            let percent = context.percent("budget_percent", budget.budget_percent.as_ref(), 20.0);
            let interval = context.timeout("budget_interval", budget.budget_interval.as_ref(), None);
            Ok(RetryBudget {
                budget_percent: percent?,
                budget_interval: interval?,
                min_retry_concurrency: u32_or(budget.min_retry_concurrency.as_ref(), 3),
            })
        });
        let defaults = Self::default();
        let thresholds = Self {
            max_connections: u32_or(message.max_connections.as_ref(), defaults.max_connections),
            max_pending_requests: u32_or(message.max_pending_requests.as_ref(), defaults.max_pending_requests),
            max_requests: u32_or(message.max_requests.as_ref(), defaults.max_requests),
            max_retries: u32_or(message.max_retries.as_ref(), defaults.max_retries),
            retry_budget: budget?,
            max_connection_pools: message.max_connection_pools.map(|most| most.value),
            track_remaining: message.track_remaining,
        };
        Ok((priority?, thresholds))
    }
}
