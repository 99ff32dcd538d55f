//! One cluster on the control thread: what its handle is made of, and what keeps that current.

use std::sync::Arc;
use std::time::Instant;

use config::cluster::{Cluster, Discovery};
use config::endpoint::ClusterLoadAssignment;
use config::secret::Secret;
use config::{Config, Fingerprint};
use telemetry::stats::{Scope, Shard, cluster_membership as stat, cluster_outlier_detection};
use tls::Loader;
use tracing::warn;

use super::checks::Checks;
use super::members::{self, Members};
use super::names::Names;
use super::secrets::{secrets, transports};
use super::{ClusterId, Event, Job, Token, Work};
use crate::balancer::{LbTable, Surroundings, TableSettings};
use crate::cluster::ClusterHandle;
use crate::dns::{Resolution, ResolveError};
use crate::endpoint::EndpointState;
use crate::health::IdleConnection;
use crate::health::state::CheckResult;
use crate::health_flags::HealthFlags;
use crate::hosts::HostSet;
use crate::outlier;
use crate::registry::StateRegistry;

mod staleness;
mod tables;

use staleness::Staleness;

/// What clusters are made with.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) registry: &'a StateRegistry,
    pub(super) loader: &'a Loader,
}

#[derive(Debug)]
pub(super) struct Managed {
    id: ClusterId,
    handle: Arc<ClusterHandle>,
    /// The secrets its transports were made with.
    secrets: Vec<(Arc<str>, Option<Arc<Secret>>)>,
    /// The members as configured; names are not resolved yet.
    assignment: Arc<ClusterLoadAssignment>,
    hosts: Arc<HostSet>,
    /// Boxed, as most clusters have neither.
    names: Option<Box<Names>>,
    checks: Option<Box<Checks>>,
    /// When a change of health last made a table: within the merge window the next ones wait.
    last_merge: Option<Instant>,
    rebuild_scheduled: bool,
    sweep_scheduled: bool,
    cleanup_scheduled: bool,
    staleness: Staleness,
    /// The content that was last reported as warm.
    announced: Option<Fingerprint>,
}

impl Managed {
    pub(super) fn new(
        id: ClusterId,
        cluster: &Arc<Cluster>,
        config: &Config,
        site: Site<'_>,
        work: &mut Work,
        now: Instant,
    ) -> Self {
        let state = site.registry.cluster(&cluster.name, cluster.stat_name());
        let assignment = members::assignment(cluster, config, &state);
        let hosts = Arc::new(HostSet::new(assignment.clone(), |_, _| Vec::new()));
        let place = state.place();
        let surroundings = Surroundings {
            now,
            own: &place.locality,
            local: None,
        };
        let settings = TableSettings::new(cluster, &assignment);
        let table = Arc::new(LbTable::new(hosts.clone(), &settings, &surroundings));
        let secrets = secrets(cluster, config);
        let handle = Arc::new(ClusterHandle::new(
            cluster.clone(),
            state,
            table,
            transports(cluster, &secrets, site.loader),
        ));
        let mut managed = Self {
            id,
            handle,
            secrets,
            assignment,
            hosts,
            names: None,
            checks: None,
            last_merge: None,
            rebuild_scheduled: false,
            sweep_scheduled: false,
            cleanup_scheduled: false,
            staleness: Staleness::default(),
            announced: None,
        };
        managed.watch_staleness(work, now);
        managed.apply(None, site, work, now);
        managed
    }

    /// Takes a new configuration of the same cluster: the cluster's own, its endpoints' or its secrets'.
    pub(super) fn update(
        &mut self,
        cluster: &Arc<Cluster>,
        config: &Config,
        site: Site<'_>,
        work: &mut Work,
        now: Instant,
    ) {
        let before = self.handle.clone();
        let same_content = self.is_for(cluster);
        let same_secrets = self.secrets.iter().all(|(name, secret)| {
            let current = config.secrets.get(name);
            secret.as_ref().map(Arc::as_ptr) == current.map(Arc::as_ptr)
        });
        if !same_content || !same_secrets {
            self.secrets = secrets(cluster, config);
            self.handle = Arc::new(ClusterHandle::new(
                cluster.clone(),
                before.state().clone(),
                before.table().clone(),
                transports(cluster, &self.secrets, site.loader),
            ));
        }
        let assignment = members::assignment(cluster, config, before.state());
        let arrived = !self.staleness.is_of(&assignment) && !Arc::ptr_eq(&assignment, &self.assignment);
        let same_assignment = !arrived || assignment.fingerprint == self.assignment.fingerprint;
        if arrived {
            self.assignment = assignment;
            self.watch_staleness(work, now);
        }
        if !same_content || !same_assignment {
            self.apply(Some(&before), site, work, now);
        }
    }

    /// Brings names, members, checks and table in line with the configuration.
    fn apply(&mut self, before: Option<&ClusterHandle>, site: Site<'_>, work: &mut Work, now: Instant) {
        let config = self.handle.config().clone();
        let before_names = self.names.take().map(|names| *names);
        let names = Names::new(self.id, &config, &self.assignment, before_names, work, now);
        self.names = names.map(Box::new);
        let state = self.handle.state();
        match config.health_checks.first() {
            Some(settings) if self.checks.as_ref().is_some_and(|checks| checks.are_by(settings)) => {}
            Some(settings) => {
                let checks = Checks::new(self.id, config.stat_name(), settings.clone(), site.registry.stats());
                self.checks = Some(Box::new(checks));
            }
            None if self.checks.take().is_some() => {
                // Nobody is left who could find these endpoints well again.
                for host in self.hosts.iter() {
                    host.state
                        .update_health_quietly(HealthFlags::NONE, HealthFlags::FROM_ACTIVE_HEALTH_CHECK);
                }
            }
            None => {}
        }
        match &config.outlier_detection {
            Some(detection) => {
                let scope = Scope::Cluster(config.stat_name());
                state.set_outlier_stats(|| site.registry.stats().block(scope, &cluster_outlier_detection::TABLE));
                if !std::mem::replace(&mut self.sweep_scheduled, true) {
                    work.timers
                        .insert(now + detection.interval, (self.id, Job::OutlierSweep));
                }
            }
            None if before.is_some_and(|before| before.config().outlier_detection.is_some()) => {
                for host in self.hosts.iter() {
                    outlier::uneject(&host.state);
                }
            }
            None => {}
        }
        if matches!(config.discovery, Discovery::OriginalDst(_))
            && !std::mem::replace(&mut self.cleanup_scheduled, true)
        {
            work.timers
                .insert(now + config.cleanup_interval, (self.id, Job::CleanUp));
        }
        self.set_members(work, now);
    }

    /// Members as configuration and DNS have them now; their health flags, their checks, and a table of them.
    fn set_members(&mut self, work: &mut Work, now: Instant) {
        let config = self.handle.config().clone();
        let members = Members {
            config: &config,
            state: self.handle.state(),
            names: self.names.as_deref(),
        };
        self.handle.state().set_drops(&self.assignment.drop_overloads);
        let discovered = members.hosts(self.assignment.clone());
        let lingering = match &self.checks {
            Some(_) => members.lingering(&self.hosts, &discovered),
            None => Vec::new(),
        };
        let hosts = if lingering.is_empty() {
            discovered
        } else {
            members.hosts(members::with_lingering(&self.assignment, &self.hosts, &lingering))
        };
        self.handle.state().set_more_addresses(members.more_addresses(&hosts));
        let before = std::mem::replace(&mut self.hosts, Arc::new(hosts));
        for host in self.hosts.iter() {
            members::set_flags(host, self.hosts.endpoint(host), self.checks.is_some(), now);
            let lingers = lingering
                .iter()
                .any(|lingering| Arc::ptr_eq(&lingering.state, &host.state));
            let pending = HealthFlags::PENDING_DYNAMIC_REMOVAL;
            let (set, clear) = if lingers {
                (pending, HealthFlags::NONE)
            } else {
                (HealthFlags::NONE, pending)
            };
            host.state.update_health_quietly(set, clear);
        }
        members::leave(&before);
        if !members::are_the_same(&before, &self.hosts) {
            self.handle
                .state()
                .membership_stats()
                .increment(Shard::CONTROL, stat::MEMBERSHIP_CHANGE);
            if config.common_lb_config.close_connections_on_host_set_change {
                self.handle.state().begin_host_set();
            }
        }
        if let Some(checks) = &mut self.checks {
            checks.set_hosts(&config.name, &self.hosts, work, now);
        }
        drop((before, lingering));
        self.handle.state().prune();
        self.rebuild(work, now);
        self.announce_if_warm(work);
    }

    pub(super) fn on_resolved(
        &mut self,
        token: Token,
        result: Result<Resolution, ResolveError>,
        work: &mut Work,
        now: Instant,
    ) {
        let Some(names) = &mut self.names else { return };
        let Some(changed) = names.on_result(token.serial, &result, work, now) else {
            return;
        };
        let stats = self.handle.state().membership_stats();
        match &result {
            // A name without addresses is a success like another, as in Envoy (`update_empty` is EDS's).
            Ok(_) => {
                stats.increment(Shard::CONTROL, stat::UPDATE_SUCCESS);
                if !changed {
                    stats.increment(Shard::CONTROL, stat::UPDATE_NO_REBUILD);
                }
            }
            Err(error) => {
                stats.increment(Shard::CONTROL, stat::UPDATE_FAILURE);
                warn!(cluster = self.handle.name(), %error, "a name could not be resolved; its last addresses stay");
            }
        }
        if changed {
            self.set_members(work, now);
        } else {
            let config = self.handle.config();
            let members = Members {
                config,
                state: self.handle.state(),
                names: self.names.as_deref(),
            };
            // A logical name keeps its first address for as long as it can; the others may be new ones.
            self.handle
                .state()
                .set_more_addresses(members.more_addresses(&self.hosts));
            self.announce_if_warm(work);
        }
    }

    pub(super) fn on_checked(
        &mut self,
        token: Token,
        result: CheckResult,
        connection: Option<IdleConnection>,
        work: &mut Work,
        now: Instant,
    ) {
        let Some(checks) = &mut self.checks else { return };
        let Some((endpoint, changed)) = checks.on_result(token.serial, result, connection, work, now) else {
            return;
        };
        let flags = endpoint.health_flags();
        let ends_ejection = matches!(result, CheckResult::Success { .. })
            && flags.contains(HealthFlags::FAILED_OUTLIER_CHECK)
            && !flags.contains(HealthFlags::FAILED_ACTIVE_HEALTH_CHECK)
            && self
                .handle
                .config()
                .outlier_detection
                .as_ref()
                .is_some_and(|o| o.successful_active_health_check_uneject_host);
        if ends_ejection {
            outlier::uneject(endpoint);
        }
        if flags.contains(HealthFlags::PENDING_DYNAMIC_REMOVAL | HealthFlags::FAILED_ACTIVE_HEALTH_CHECK) {
            // Only its health kept it.
            self.set_members(work, now);
            return;
        }
        if changed && matches!(result, CheckResult::Success { .. }) {
            endpoint.begin_slow_start(now);
        }
        if changed || ends_ejection {
            self.on_health_changed(work, now);
        }
    }

    /// Flags of its endpoints have changed: a new table, at once or together with others of the merge window.
    pub(super) fn on_health_changed(&mut self, work: &mut Work, now: Instant) {
        self.handle.state().clear_dirty();
        // What somebody waits for is not delayed.
        let becomes_warm = self.is_warm() && !self.is_announced();
        let window = self.handle.config().common_lb_config.update_merge_window;
        let next = self.last_merge.map_or(now, |last| last + window);
        if becomes_warm || next <= now {
            self.last_merge = Some(now);
            self.refresh(work, now);
        } else if !std::mem::replace(&mut self.rebuild_scheduled, true) {
            work.timers.insert(next, (self.id, Job::Rebuild));
        }
        self.announce_if_warm(work);
    }

    pub(super) fn on_job(&mut self, job: Job, work: &mut Work, now: Instant) {
        match job {
            Job::Resolve { serial } => {
                if self.names.as_ref().is_some_and(|names| names.resolve(serial, work)) {
                    self.handle
                        .state()
                        .membership_stats()
                        .increment(Shard::CONTROL, stat::UPDATE_ATTEMPT);
                }
            }
            Job::Check { serial } => {
                if let Some(checks) = &mut self.checks {
                    checks.check(serial, &self.handle, work);
                }
            }
            Job::Rebuild => {
                self.last_merge = Some(now);
                self.rebuild_scheduled = false;
                self.refresh(work, now);
            }
            Job::Stale => self.on_stale(work, now),
            Job::CleanUp => {
                self.cleanup_scheduled = false;
                let config = self.handle.config().clone();
                if !matches!(config.discovery, Discovery::OriginalDst(_)) {
                    return;
                }
                if self.handle.state().originals().sweep() {
                    self.refresh(work, now);
                }
                self.cleanup_scheduled = true;
                work.timers
                    .insert(now + config.cleanup_interval, (self.id, Job::CleanUp));
            }
            Job::OutlierSweep => {
                self.sweep_scheduled = false;
                let Some(detection) = self.handle.config().outlier_detection.clone() else {
                    return;
                };
                let endpoints: Vec<&EndpointState> = self.hosts.iter().map(|host| &*host.state).collect();
                outlier::sweep(&endpoints, &detection, now);
                self.sweep_scheduled = true;
                work.timers
                    .insert(now + detection.interval, (self.id, Job::OutlierSweep));
            }
        }
    }

    /// A table of the members as they are now, who for an ORIGINAL_DST cluster are those that were used.
    fn refresh(&mut self, work: &mut Work, now: Instant) {
        if matches!(self.handle.config().discovery, Discovery::OriginalDst(_)) {
            let assignment = members::originals(&self.handle.config().name, self.handle.state());
            if assignment.fingerprint != self.assignment.fingerprint {
                self.assignment = assignment;
                return self.set_members(work, now);
            }
        }
        self.rebuild(work, now);
    }

    /// Whether names were resolved once and endpoints checked once.
    pub(super) fn is_warm(&self) -> bool {
        if !self.handle.config().wait_for_warm_on_init {
            return true;
        }
        let pending = HealthFlags::PENDING_ACTIVE_HEALTH_CHECK;
        self.names.as_ref().is_none_or(|names| names.all_attempted())
            && (self.checks.is_none()
                || !self
                    .hosts
                    .iter()
                    .any(|host| host.state.health_flags().contains(pending)))
    }

    fn is_announced(&self) -> bool {
        self.announced == Some(self.handle.config().fingerprint)
    }

    fn announce_if_warm(&mut self, work: &mut Work) {
        if !self.is_announced() && self.is_warm() {
            let config = self.handle.config();
            self.announced = Some(config.fingerprint);
            work.events.push_back(Event::Warm {
                name: config.name.clone(),
                fingerprint: config.fingerprint,
            });
        }
    }

    pub(super) fn handle(&self) -> &Arc<ClusterHandle> {
        &self.handle
    }

    /// Whether `cluster` has the content it was made for.
    pub(super) fn is_for(&self, cluster: &Cluster) -> bool {
        self.handle.config().fingerprint == cluster.fingerprint
    }

    /// No configuration has it any more.
    pub(super) fn retire(self) {
        members::leave(&self.hosts);
        self.handle.state().notify_changed();
    }
}
