//! What a pick has to tell the statistics.

use telemetry::stats::{Shard, cluster, cluster_membership};

use crate::cluster_state::ClusterState;

/// Something that happened during a pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// Health was disregarded.
    Panic,
    /// The local cluster cannot say how zones compare.
    LocalClusterNotOk,
    /// The request stays in the own zone, as all do.
    ZoneDirect,
    /// The request stays in the own zone, as a share does.
    ZoneSampled,
    /// The request leaves the own zone.
    ZoneCross,
    /// No zone has capacity left: any was taken.
    ZoneNoCapacity,
    /// A subset was found.
    SubsetSelected,
    /// No subset was found, and the fallback used.
    SubsetFallback,
    /// Neither a subset nor the fallback had an endpoint, and all were tried.
    SubsetPanic,
}

impl Note {
    const ALL: [Self; 9] = [
        Self::Panic,
        Self::LocalClusterNotOk,
        Self::ZoneDirect,
        Self::ZoneSampled,
        Self::ZoneCross,
        Self::ZoneNoCapacity,
        Self::SubsetSelected,
        Self::SubsetFallback,
        Self::SubsetPanic,
    ];

    /// Counts it.
    pub(crate) fn count(self, state: &ClusterState, shard: Shard) {
        let counter = match self {
            // The control thread counts this too, when it compares zones.
            Self::LocalClusterNotOk => {
                let counter = cluster_membership::LB_LOCAL_CLUSTER_NOT_OK;
                return state.membership_stats().increment(shard, counter);
            }
            Self::Panic => cluster::LB_HEALTHY_PANIC,
            Self::ZoneDirect => cluster::LB_ZONE_ROUTING_ALL_DIRECTLY,
            Self::ZoneSampled => cluster::LB_ZONE_ROUTING_SAMPLED,
            Self::ZoneCross => cluster::LB_ZONE_ROUTING_CROSS_ZONE,
            Self::ZoneNoCapacity => cluster::LB_ZONE_NO_CAPACITY_LEFT,
            Self::SubsetSelected => cluster::LB_SUBSETS_SELECTED,
            Self::SubsetFallback => cluster::LB_SUBSETS_FALLBACK,
            Self::SubsetPanic => cluster::LB_SUBSETS_FALLBACK_PANIC,
        };
        state.stats().increment(shard, counter);
    }
}

/// A set of [`Note`]s; nearly always empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notes(u16);

impl Notes {
    /// Whether nothing is to be told.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `note` is among them.
    pub fn contains(self, note: Note) -> bool {
        self.0 & (1 << note as u16) != 0
    }

    /// What is to be told.
    pub fn iter(self) -> impl Iterator<Item = Note> {
        Note::ALL.into_iter().filter(move |note| self.contains(*note))
    }

    pub(super) fn add(&mut self, note: Note) {
        self.0 |= 1 << note as u16;
    }
}
