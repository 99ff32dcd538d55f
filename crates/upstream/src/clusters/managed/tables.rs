//! The tables of a cluster: built of its members as they are, published with what is counted of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use config::cluster::LocalityConfig;
use telemetry::stats::{Shard, cluster_membership as stat, cluster_outlier_detection};

use super::Managed;
use crate::balancer::{LbTable, LocalZones, Surroundings, TableSettings};
use crate::clusters::{Job, Work};
use crate::hosts::HostSet;

impl Managed {
    /// A table of the members as healthy as they are now.
    pub(in crate::clusters) fn rebuild(&mut self, work: &mut Work, now: Instant) {
        let (config, state) = (self.handle.config().clone(), self.handle.state().clone());
        state.clear_dirty();
        let place = state.place();
        let settings = TableSettings::new(&config, &self.assignment);
        let surroundings = Surroundings {
            now,
            own: &place.locality,
            local: work.local_zones.as_ref(),
        };
        let table = LbTable::new(self.hosts.clone(), &settings, &surroundings);
        self.publish_subsets(&table);
        if let Some(slow_start) = settings.slow_start.filter(|_| table.is_warming_up())
            && !std::mem::replace(&mut self.rebuild_scheduled, true)
        {
            work.timers.insert(now + slow_start.step(), (self.id, Job::Rebuild));
        }
        if place.local_cluster.as_ref() == Some(&config.name) {
            let zones = LocalZones::of(&table, &place.locality, settings.panic_threshold);
            if work.local_zones.as_ref() != Some(&zones) {
                work.local_zones = Some(zones);
                work.local_zones_changed = true;
            }
        }
        let (membership, stats) = (table.membership(), state.membership_stats());
        let max_weight = self.hosts.iter().map(|host| host.weight).max().unwrap_or(0);
        stats.set(Shard::CONTROL, stat::MEMBERSHIP_TOTAL, membership.total);
        stats.set(Shard::CONTROL, stat::MEMBERSHIP_HEALTHY, membership.healthy);
        stats.set(Shard::CONTROL, stat::MEMBERSHIP_DEGRADED, membership.degraded);
        stats.set(Shard::CONTROL, stat::MEMBERSHIP_EXCLUDED, membership.excluded);
        stats.set(Shard::CONTROL, stat::MAX_HOST_WEIGHT, u64::from(max_weight));
        if let Some(stats) = state.outlier_stats() {
            let ejected = state.ejected().load(Ordering::Relaxed);
            stats.set(
                Shard::CONTROL,
                cluster_outlier_detection::EJECTIONS_ACTIVE,
                u64::from(ejected),
            );
        }
        if let Some(checks) = &self.checks {
            checks.publish_gauges();
        }
        self.handle.set_table(Arc::new(table));
        state.notify_changed();
    }

    /// Counts subsets and zones as they are in a new table.
    fn publish_subsets(&self, table: &LbTable) {
        let stats = self.handle.state().membership_stats();
        let (before, now) = (self.handle.table().subset_count(), table.subset_count());
        if before != now {
            stats.add(Shard::CONTROL, stat::LB_SUBSETS_CREATED, now.saturating_sub(before));
            stats.add(Shard::CONTROL, stat::LB_SUBSETS_REMOVED, before.saturating_sub(now));
            stats.set(Shard::CONTROL, stat::LB_SUBSETS_ACTIVE, now);
        }
        if let Some(note) = table.zone_note() {
            stats.increment(Shard::CONTROL, stat::LB_RECALCULATE_ZONE_STRUCTURES);
            if let Some(counter) = note {
                stats.increment(Shard::CONTROL, counter);
            }
        }
    }

    /// Whether its table depends on the local cluster's zones.
    pub(in crate::clusters) fn compares_zones(&self) -> bool {
        let several = |hosts: &HostSet| {
            hosts
                .priorities()
                .first()
                .is_some_and(|first| first.localities().len() > 1)
        };
        several(&self.hosts) && self.handle.config().common_lb_config.locality != LocalityConfig::LocalityWeighted
    }
}
