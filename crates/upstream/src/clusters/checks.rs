//! The health checks of one cluster's endpoints.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use config::cluster::HealthCheck;
use telemetry::stats::{self, Scope, Shard, cluster_health_check as stat};
use tracing::{debug, info};

use super::{Action, ClusterId, Job, Token, Work};
use crate::cluster::ClusterHandle;
use crate::endpoint::{EndpointAddress, EndpointKey, EndpointState};
use crate::health::state::{CheckResult, State, initial_delay};
use crate::health::{self, CheckRequest, IdleConnection};
use crate::health_flags::{Health, HealthFlags};
use crate::hosts::HostSet;

/// Who is checked, and how it went so far. Whether an endpoint is healthy is in its flags, not here.
#[derive(Debug)]
pub(super) struct Checks {
    cluster: ClusterId,
    settings: Arc<HealthCheck>,
    stats: Arc<stats::Block>,
    by_serial: HashMap<u64, Checked>,
    /// The serials of those that are checked.
    serials: HashMap<EndpointKey, u64>,
}

#[derive(Debug)]
struct Checked {
    endpoint: Arc<EndpointState>,
    address: EndpointAddress,
    authority: Arc<str>,
    state: State,
    connection: Option<IdleConnection>,
}

impl Checks {
    pub(super) fn new(
        cluster: ClusterId,
        stat_name: &str,
        settings: Arc<HealthCheck>,
        registry: &stats::Registry,
    ) -> Self {
        let stats = registry.block(Scope::Cluster(stat_name), &stat::TABLE);
        Self {
            cluster,
            settings,
            stats,
            by_serial: HashMap::new(),
            serials: HashMap::new(),
        }
    }

    /// Whether these are checks by `settings`.
    pub(super) fn are_by(&self, settings: &HealthCheck) -> bool {
        *self.settings == *settings
    }

    /// Checks exactly the members of `hosts`: new ones at once (but for `initial_jitter`), others as before.
    pub(super) fn set_hosts(&mut self, cluster: &Arc<str>, hosts: &HostSet, work: &mut Work, now: Instant) {
        let mut wanted = HashSet::new();
        for host in hosts.iter() {
            let config = hosts.endpoint(host).details().health_check_config.as_ref();
            if config.is_some_and(|config| config.disable_active_health_check) {
                continue;
            }
            let key = host.state.key();
            wanted.insert(key.clone());
            let address = health::address(&key.address, &self.settings, config);
            let authority = health::authority(cluster, &self.settings, config, &key.address);
            if let Some(checked) = self.serials.get(&key).and_then(|serial| self.by_serial.get_mut(serial)) {
                if checked.address != address {
                    checked.connection = None;
                    checked.address = address;
                }
                checked.authority = authority;
                continue;
            }
            let serial = work.serial();
            let delay = initial_delay(&self.settings, &mut work.random);
            work.timers.insert(now + delay, (self.cluster, Job::Check { serial }));
            let (endpoint, state) = (host.state.clone(), State::default());
            self.by_serial.insert(
                serial,
                Checked {
                    endpoint,
                    address,
                    authority,
                    state,
                    connection: None,
                },
            );
            self.serials.insert(key, serial);
        }
        self.serials.retain(|key, _| wanted.contains(key));
        self.by_serial
            .retain(|_, checked| wanted.contains(&checked.endpoint.key()));
    }

    /// An endpoint is due: asks for its check. A stale serial is ignored.
    pub(super) fn check(&mut self, serial: u64, handle: &ClusterHandle, work: &mut Work) {
        let Some(checked) = self.by_serial.get_mut(&serial) else {
            return;
        };
        self.stats.increment(Shard::CONTROL, stat::ATTEMPT);
        let request = CheckRequest {
            settings: self.settings.clone(),
            address: checked.address.clone(),
            authority: checked.authority.clone(),
            hostname: checked.endpoint.key().hostname,
            transport: handle.transport_for_check(&checked.endpoint, &self.settings).clone(),
            connection: checked.connection.take(),
            cluster: Arc::clone(checked.endpoint.cluster()),
        };
        let token = Token {
            cluster: self.cluster,
            serial,
        };
        work.actions.push_back(Action::Check {
            token,
            request: Box::new(request),
        });
    }

    /// Takes the result of a check. Returns the endpoint and whether its flags changed.
    pub(super) fn on_result(
        &mut self,
        serial: u64,
        result: CheckResult,
        connection: Option<IdleConnection>,
        work: &mut Work,
        now: Instant,
    ) -> Option<(&Arc<EndpointState>, bool)> {
        let checked = self.by_serial.get_mut(&serial)?;
        let Checked { endpoint, state, .. } = checked;
        checked.connection = connection;
        let has_traffic = endpoint.cluster().has_traffic();
        let flags = endpoint.health_flags();
        let verdict = state.on_result(result, flags, &self.settings, has_traffic, &mut work.random);
        work.timers
            .insert(now + verdict.next_check_in, (self.cluster, Job::Check { serial }));
        let counter = match result {
            CheckResult::Success { .. } => stat::SUCCESS,
            _ => stat::FAILURE,
        };
        self.stats.increment(Shard::CONTROL, counter);
        if matches!(result, CheckResult::NetworkFailure | CheckResult::Timeout) {
            self.stats.increment(Shard::CONTROL, stat::NETWORK_FAILURE);
        }
        if !matches!(result, CheckResult::Success { .. }) && self.settings.always_log_health_check_failures {
            info!(cluster = endpoint.cluster().name(), endpoint = %endpoint.address(), ?result, "health check failed");
        }
        let before = endpoint.update_health_quietly(verdict.set, verdict.clear);
        let after = endpoint.health_flags();
        if before == after {
            return Some((endpoint, false));
        }
        if (before.health() == Health::Unhealthy) != (after.health() == Health::Unhealthy) {
            info!(
                cluster = endpoint.cluster().name(),
                endpoint = %endpoint.address(),
                health = %after,
                ?result,
                "health check changed the endpoint's health"
            );
        } else {
            debug!(cluster = endpoint.cluster().name(), endpoint = %endpoint.address(), health = %after, ?result);
        }
        Some((endpoint, true))
    }

    /// Sets the gauges `health_check.healthy` and `health_check.degraded`.
    pub(super) fn publish_gauges(&self) {
        let count = |flag: HealthFlags, set: bool| {
            let has = |checked: &&Checked| checked.endpoint.health_flags().contains(flag) == set;
            self.by_serial.values().filter(has).count() as u64
        };
        self.stats.set(
            Shard::CONTROL,
            stat::HEALTHY,
            count(HealthFlags::FAILED_ACTIVE_HEALTH_CHECK, false),
        );
        self.stats.set(
            Shard::CONTROL,
            stat::DEGRADED,
            count(HealthFlags::DEGRADED_ACTIVE_HEALTH_CHECK, true),
        );
    }
}
