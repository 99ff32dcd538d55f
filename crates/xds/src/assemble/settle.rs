//! Moving what is published towards what was accepted.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Instant;

use config::cluster::Discovery;
use config::{Config, Reference, Resource, ResourceType};

use super::node::{Answer, Node};
use super::{Assembler, Interest};
use crate::key::ResourceKey;
use crate::store::Value;

/// The order in which resources are looked at: what others depend on first, so that a table that waits for a thousand
/// clusters is looked at once after all of them.
const LAYERS: [ResourceType; ResourceType::ALL.len()] = [
    ResourceType::Secret,
    ResourceType::ClusterLoadAssignment,
    ResourceType::Cluster,
    ResourceType::RouteConfiguration,
    ResourceType::Listener,
];

impl Assembler {
    /// Ends the waits whose time is over.
    pub(super) fn end_waits(&mut self, now: Instant) {
        while self.deadlines.first().is_some_and(|(deadline, _)| *deadline <= now) {
            let Some((deadline, key)) = self.deadlines.pop_first() else {
                return;
            };
            let Some(node) = self.nodes.get_mut(&key) else { continue };
            if node.waits().fetch_deadline == Some(deadline) {
                node.change_waits(|waits| waits.fetch_deadline = None);
                if node.answer == Answer::Awaited {
                    self.answer(&key, Answer::TimedOut);
                    self.timed_out.push(key.clone());
                }
            }
            let Some(node) = self.nodes.get_mut(&key) else { continue };
            if node.waits().wait_deadline == Some(deadline) {
                node.change_waits(|waits| waits.wait_deadline = None);
                node.wait_over = true;
                self.mark(&key);
            }
        }
    }

    /// Looks at everything that was marked, and at what that marks. It ends: publishing goes up the layers, taking away
    /// goes down, and neither undoes the other.
    pub(super) fn settle_until_stable(&mut self, now: Instant) {
        while let Some(layer) = LAYERS.into_iter().find(|layer| !self.dirty[*layer as usize].is_empty()) {
            if let Some(name) = self.dirty[layer as usize].pop() {
                self.evaluate(
                    &ResourceKey {
                        resource_type: layer,
                        name,
                    },
                    now,
                );
            }
        }
    }

    /// Turns changed references into subscriptions.
    pub(super) fn settle_interest(&mut self, now: Instant) -> Vec<Interest> {
        let mut interest = Vec::new();
        for key in std::mem::take(&mut self.touched) {
            let Some(node) = self.nodes.get_mut(&key) else { continue };
            let needed = node.is_needed();
            if let Some(source) = node.source.clone().filter(|_| needed != node.subscribed && !node.fixed) {
                node.subscribed = needed;
                if needed {
                    let timeout = source.initial_fetch_timeout;
                    if !timeout.is_zero() && node.target.is_none() {
                        node.change_waits(|waits| waits.fetch_deadline = Some(now + timeout));
                        self.deadlines.insert((now + timeout, key.clone()));
                    }
                    interest.push(Interest::Gained(key.clone(), source));
                } else {
                    interest.push(Interest::Lost(key.clone(), source));
                }
            }
            self.nodes.drop_if_empty(&key);
        }
        interest
    }

    fn evaluate(&mut self, key: &ResourceKey, now: Instant) {
        let by_reference = !matches!(key.resource_type, ResourceType::Cluster | ResourceType::Listener);
        let Some(node) = self.nodes.get_mut(key) else { return };
        if by_reference && !node.fixed && !node.is_referenced() {
            // Nobody refers to it: it goes, target and all.
            if let Some(target) = node.target.take() {
                target
                    .references
                    .iter()
                    .for_each(|reference| self.release_want(reference));
            }
            return self.unpublish(key);
        }
        if node.is_settled() {
            self.stop_waiting(key);
            return self.nodes.drop_if_empty(key);
        }
        match (node.target.clone(), node.expired) {
            (Some(target), _) => self.advance(key, target, now),
            (None, true) => self.unpublish(key),
            (None, false) => {
                let kept = match key.resource_type {
                    ResourceType::Listener => false,
                    ResourceType::Cluster => node.used > 0,
                    _ => true,
                };
                if kept {
                    self.stop_waiting(key)
                } else {
                    self.unpublish(key)
                }
            }
        }
    }

    /// Publishes the target, or waits for what it lacks.
    fn advance(&mut self, key: &ResourceKey, target: Arc<Value>, now: Instant) {
        let (missing, bounded) = self.missing(key, &target);
        if missing.is_empty() && !bounded {
            return self.publish(key, target);
        }
        self.wait(key, missing, bounded.then(|| now + self.options.cluster_wait));
    }

    /// What the target lacks, and whether part of that is waited for only so long. Clusters for which the wait is over,
    /// or that were refused, are not in it.
    fn missing(&self, key: &ResourceKey, target: &Value) -> (BTreeSet<ResourceKey>, bool) {
        let Some(node) = self.nodes.get(key) else {
            return Default::default();
        };
        let replaces = node.published.is_some();
        let mut missing = BTreeSet::new();
        let mut clusters = BTreeSet::new();
        for reference in target.references.iter() {
            let dependency = self.nodes.find(reference.resource_type, &reference.name);
            let is_cluster = reference.resource_type == ResourceType::Cluster;
            let available = dependency.is_some_and(|node| {
                if is_cluster {
                    node.published.is_some()
                } else {
                    node.is_available(replaces)
                }
            });
            let refused = is_cluster && self.refused.contains(&reference.name);
            if !available && !refused {
                let needed = ResourceKey {
                    resource_type: reference.resource_type,
                    name: Arc::clone(&reference.name),
                };
                if needed != *key {
                    (if is_cluster { &mut clusters } else { &mut missing }).insert(needed);
                }
            }
        }
        if node.wait_over || self.options.cluster_wait.is_zero() {
            return (missing, false);
        }
        if !self.dynamic_clusters {
            clusters.retain(|cluster| self.nodes.get(cluster).is_some_and(|node| node.target.is_some()));
        }
        if let Some(published) = node.published.as_ref().filter(|_| !clusters.is_empty()) {
            let given_up: HashSet<&str> = cluster_names(&published.references).collect();
            clusters.retain(|cluster| !given_up.contains(&*cluster.name));
        }
        let bounded = !clusters.is_empty() || (missing.is_empty() && self.awaits_data_plane(node, target));
        missing.append(&mut clusters);
        (missing, bounded)
    }

    /// Whether a cluster is new and the data plane has something to find out before it is used.
    fn awaits_data_plane(&self, node: &Node, target: &Value) -> bool {
        let Resource::Cluster(cluster) = &target.resource else {
            return false;
        };
        let by_name = matches!(
            cluster.discovery,
            Discovery::StrictDns { .. } | Discovery::LogicalDns { .. }
        );
        self.options.await_data_plane
            && node.published.is_none()
            && !node.data_plane_warm
            && (by_name || !cluster.health_checks.is_empty())
    }

    fn wait(&mut self, key: &ResourceKey, missing: BTreeSet<ResourceKey>, until: Option<Instant>) {
        self.stop_waiting_for(key);
        for needed in &missing {
            let needed = self.nodes.entry(needed);
            needed.change_waits(|waits| waits.waiters.insert(key.clone()));
        }
        if key.resource_type == ResourceType::Cluster {
            self.data_plane_changed |= if missing.is_empty() {
                // Also when it was waiting already: what is to be tried may be another value now.
                self.awaiting_data_plane.insert(Arc::clone(&key.name));
                true
            } else {
                self.awaiting_data_plane.remove(&key.name)
            };
        }
        let Some(node) = self.nodes.get_mut(key) else { return };
        node.change_waits(|waits| waits.waits_for = missing);
        // A new value does not start the wait over: what keeps changing is still published in time.
        if let Some(until) = until
            && node.waits().wait_deadline.is_none()
        {
            node.change_waits(|waits| waits.wait_deadline = Some(until));
            self.deadlines.insert((until, key.clone()));
        }
        self.waiting_of[key.resource_type as usize] += usize::from(self.waiting.insert(key.clone()));
    }

    /// Nothing is waited for: it is as it should be, or gone.
    fn stop_waiting(&mut self, key: &ResourceKey) {
        self.stop_waiting_for(key);
        if let Some(node) = self.nodes.get_mut(key) {
            node.wait_over = false;
            if let Some(deadline) = node.change_waits(|waits| waits.wait_deadline.take()) {
                self.deadlines.remove(&(deadline, key.clone()));
            }
            if node.target.is_some()
                && let Some(deadline) = node.change_waits(|waits| waits.fetch_deadline.take())
            {
                self.deadlines.remove(&(deadline, key.clone()));
            }
        }
        self.waiting_of[key.resource_type as usize] -= usize::from(self.waiting.remove(key));
        if key.resource_type == ResourceType::Cluster {
            self.data_plane_changed |= self.awaiting_data_plane.remove(&key.name);
        }
        if let Some(initial) = &mut self.initial {
            initial.remove(key);
        }
    }

    fn stop_waiting_for(&mut self, key: &ResourceKey) {
        let waits_for = self
            .nodes
            .get_mut(key)
            .map(|node| node.change_waits(|waits| std::mem::take(&mut waits.waits_for)))
            .unwrap_or_default();
        for needed in waits_for {
            if let Some(node) = self.nodes.get_mut(&needed) {
                node.change_waits(|waits| waits.waiters.remove(key));
            }
            self.nodes.drop_if_empty(&needed);
        }
    }

    /// Tells those who wait for a resource that they need not any more.
    pub(super) fn wake(&mut self, key: &ResourceKey) {
        let waiters = self
            .nodes
            .get_mut(key)
            .map(|node| node.change_waits(|waits| std::mem::take(&mut waits.waiters)))
            .unwrap_or_default();
        for waiter in waiters {
            if let Some(node) = self.nodes.get_mut(&waiter) {
                node.change_waits(|waits| waits.waits_for.remove(key));
                if node.waits().waits_for.is_empty() {
                    self.mark(&waiter);
                }
            }
        }
    }

    /// Endpoints and secrets of a cluster that waits for the data plane are part of what it tries.
    fn retry_data_plane(&mut self, key: &ResourceKey) {
        self.data_plane_changed |= !self.awaiting_data_plane.is_empty()
            && matches!(
                key.resource_type,
                ResourceType::ClusterLoadAssignment | ResourceType::Secret
            );
    }

    fn publish(&mut self, key: &ResourceKey, value: Arc<Value>) {
        let Some(node) = self.nodes.get_mut(key) else { return };
        let old = node.published.replace(Arc::clone(&value));
        let counts = &mut self.counts[key.resource_type as usize];
        *(if old.is_some() {
            &mut counts.modified
        } else {
            &mut counts.added
        }) += 1;
        insert(&mut self.config, &value.resource);
        self.changed = true;
        self.retry_data_plane(key);
        // New uses first: what both need never looks unused.
        for reference in value.references.iter() {
            self.acquire_use(key, reference);
        }
        for reference in old.iter().flat_map(|old| old.references.iter()) {
            self.release_use(key, reference);
        }
        self.stop_waiting(key);
        self.wake(key);
    }

    fn unpublish(&mut self, key: &ResourceKey) {
        self.stop_waiting(key);
        // What goes has no target: until now it counted as removed.
        self.change_uses_by_removed(key, |uses| uses.saturating_sub(1));
        if let Some(old) = self.nodes.get_mut(key).and_then(|node| node.published.take()) {
            self.counts[key.resource_type as usize].removed += 1;
            remove(&mut self.config, key);
            self.changed = true;
            for reference in old.references.iter() {
                self.release_use(key, reference);
            }
        }
        if let Some(node) = self.nodes.get_mut(key) {
            // A cluster that comes back under this name is new.
            node.data_plane_warm = false;
            if !node.is_referenced() {
                node.answer = Answer::Awaited;
                node.expired = false;
            }
        }
        self.nodes.drop_if_empty(key);
    }

    fn acquire_use(&mut self, user: &ResourceKey, reference: &Reference) {
        let key = ResourceKey {
            resource_type: reference.resource_type,
            name: Arc::clone(&reference.name),
        };
        if key != *user {
            self.nodes.entry(&key).used += 1;
            self.touch(key);
        }
    }

    fn release_use(&mut self, user: &ResourceKey, reference: &Reference) {
        let key = ResourceKey {
            resource_type: reference.resource_type,
            name: Arc::clone(&reference.name),
        };
        if key == *user {
            return;
        }
        if let Some(node) = self.nodes.get_mut(&key) {
            node.used = node.used.saturating_sub(1);
            if node.used == 0 {
                self.mark(&key);
            }
            self.touch(key);
        }
    }

    fn touch(&mut self, key: ResourceKey) {
        self.touched.insert(key);
    }
}

fn cluster_names(references: &[Reference]) -> impl Iterator<Item = &str> {
    references
        .iter()
        .filter(|r| r.resource_type == ResourceType::Cluster)
        .map(|reference| &*reference.name)
}

pub(super) fn insert(config: &mut Config, resource: &Resource) {
    let name = Arc::clone(resource.name());
    match resource {
        Resource::Cluster(cluster) => drop(config.clusters.insert(name, Arc::clone(cluster))),
        Resource::ClusterLoadAssignment(endpoints) => drop(config.endpoints.insert(name, Arc::clone(endpoints))),
        Resource::Listener(listener) => drop(config.listeners.insert(name, Arc::clone(listener))),
        Resource::RouteConfiguration(routes) => drop(config.routes.insert(name, Arc::clone(routes))),
        Resource::Secret(secret) => drop(config.secrets.insert(name, Arc::clone(secret))),
    }
}

fn remove(config: &mut Config, key: &ResourceKey) {
    match key.resource_type {
        ResourceType::Cluster => drop(config.clusters.remove(&key.name)),
        ResourceType::ClusterLoadAssignment => drop(config.endpoints.remove(&key.name)),
        ResourceType::Listener => drop(config.listeners.remove(&key.name)),
        ResourceType::RouteConfiguration => drop(config.routes.remove(&key.name)),
        ResourceType::Secret => drop(config.secrets.remove(&key.name)),
    }
}
