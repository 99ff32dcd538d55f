//! What the assembler keeps about one resource.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use config::ResourceType;
use config::config_source::ConfigSource;

use crate::key::ResourceKey;
use crate::store::Value;

/// One resource, known or only referred to.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// The value last accepted. None before the first, and after a removal.
    pub(super) target: Option<Arc<Value>>,
    /// The value in the configuration.
    pub(super) published: Option<Arc<Value>>,
    /// From the bootstrap.
    pub(super) fixed: bool,
    /// Its time to live ran out: not kept for what refers to it.
    pub(super) expired: bool,
    /// How many targets refer to it. Not counted for clusters, which are not asked for by name.
    pub(super) wanted: u32,
    /// How many published values refer to it.
    pub(super) used: u32,
    /// Where it comes from, as the first that referred to it says.
    pub(super) source: Option<Arc<ConfigSource>>,
    /// Whether it is being asked for.
    pub(super) subscribed: bool,
    /// What stands for the value while there is none.
    pub(super) answer: Answer,
    /// That wait ended without what was waited for. Until the next publication.
    pub(super) wait_over: bool,
    /// The data plane is done with this new cluster.
    pub(super) data_plane_warm: bool,
    /// Its waits and those for it, and what else is rare: in a mesh at rest there is none.
    waits: Option<Box<Waits>>,
}

/// The waits of a resource and those for it, and what else is rare.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// When the wait for a first value ends (`initial_fetch_timeout`).
    pub(super) fetch_deadline: Option<Instant>,
    /// When its own wait for clusters or for the data plane ends.
    pub(super) wait_deadline: Option<Instant>,
    /// What it waits for.
    pub(super) waits_for: BTreeSet<ResourceKey>,
    /// Who waits for it.
    pub(super) waiters: BTreeSet<ResourceKey>,
    /// How many of the published values that refer to it are clusters that were removed and serve for a while yet.
    pub(super) used_by_removed: u32,
}

impl Waits {
    const NONE: &'static Self = &Self {
        fetch_deadline: None,
        wait_deadline: None,
        waits_for: BTreeSet::new(),
        waiters: BTreeSet::new(),
        used_by_removed: 0,
    };

    fn is_empty(&self) -> bool {
        let deadlines = self.fetch_deadline.is_some() || self.wait_deadline.is_some();
        !deadlines && self.waits_for.is_empty() && self.waiters.is_empty() && self.used_by_removed == 0
    }
}

/// What is known of a resource without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Answer {
    /// Nothing yet.
    #[default]
    Awaited,
    /// It does not exist.
    Absent,
    /// It was not sent in time.
    TimedOut,
    /// It was sent and refused.
    Rejected,
}

impl Node {
    /// Its waits and those for it.
    pub(super) fn waits(&self) -> &Waits {
        self.waits.as_deref().unwrap_or(Waits::NONE)
    }

    /// Changes its waits or those for it.
    pub(super) fn change_waits<T>(&mut self, change: impl FnOnce(&mut Waits) -> T) -> T {
        let waits = self.waits.get_or_insert_default();
        let result = change(waits);
        if waits.is_empty() {
            self.waits = None;
        }
        result
    }

    /// Whether what is published is what was last accepted.
    pub(super) fn is_settled(&self) -> bool {
        match (&self.target, &self.published) {
            (None, None) => true,
            (Some(target), Some(published)) => Arc::ptr_eq(target, published),
            _ => false,
        }
    }

    /// Whether anything refers to it.
    pub(super) fn is_referenced(&self) -> bool {
        self.wanted > 0 || self.used > 0
    }

    /// Whether it is to be asked for: anything refers to it but clusters that the server has removed.
    pub(super) fn is_needed(&self) -> bool {
        self.wanted > 0 || self.used > self.waits().used_by_removed
    }

    /// Whether something that refers to it need not wait for it: it is published, or there is nothing to wait for.
    /// `replaces` says that the one that refers to it would replace a published value, which then goes on serving.
    pub(super) fn is_available(&self, replaces: bool) -> bool {
        if self.published.is_some() {
            return true;
        }
        self.target.is_none()
            && match self.answer {
                Answer::Awaited => false,
                Answer::Absent | Answer::TimedOut => true,
                Answer::Rejected => !replaces,
            }
    }

    /// Whether nothing at all is known or asked about it.
    pub(super) fn is_empty(&self) -> bool {
        let unknown = self.target.is_none() && self.published.is_none();
        // One that still waits is known to those it waits for.
        let waits = !self.waits().waits_for.is_empty() || self.waits().wait_deadline.is_some();
        unknown && !waits && !self.fixed && !self.subscribed && !self.is_referenced() && self.waits().waiters.is_empty()
    }
}

/// All nodes by type and name. Boxed: a third of a table's places are empty.
#[derive(Debug, Default)]
pub(super) struct Nodes([HashMap<Arc<str>, Box<Node>>; ResourceType::ALL.len()]);

impl Nodes {
    pub(super) fn find(&self, resource_type: ResourceType, name: &str) -> Option<&Node> {
        self.0[resource_type as usize].get(name).map(|node| &**node)
    }

    pub(super) fn get(&self, key: &ResourceKey) -> Option<&Node> {
        self.find(key.resource_type, &key.name)
    }

    pub(super) fn get_mut(&mut self, key: &ResourceKey) -> Option<&mut Node> {
        self.0[key.resource_type as usize]
            .get_mut(&key.name)
            .map(|node| &mut **node)
    }

    pub(super) fn entry(&mut self, key: &ResourceKey) -> &mut Node {
        self.0[key.resource_type as usize]
            .entry(Arc::clone(&key.name))
            .or_default()
    }

    /// Forgets a resource about which nothing is known.
    pub(super) fn drop_if_empty(&mut self, key: &ResourceKey) {
        if self.get(key).is_some_and(Node::is_empty) {
            self.0[key.resource_type as usize].remove(&key.name);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ResourceKey, &Node)> {
        ResourceType::ALL.into_iter().flat_map(|resource_type| {
            let nodes = self.0[resource_type as usize].iter();
            nodes.map(move |(name, node)| {
                (
                    ResourceKey {
                        resource_type,
                        name: Arc::clone(name),
                    },
                    &**node,
                )
            })
        })
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(HashMap::len).sum()
    }
}
