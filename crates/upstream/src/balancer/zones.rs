//! Preferring the proxy's own zone, as far as that leaves no zone with more than its share.
//!
//! Envoy, "Zone aware routing" (arch_overview/upstream/load_balancing/zone_aware), with the integers of its
//! `ZoneAwareLoadBalancerBase`.

use std::collections::BTreeMap;

use config::cluster::LocalityBasis;
use config::endpoint::Locality;
use telemetry::stats::{Counter, cluster_membership as stat};

use super::table::{LbTable, ZoneAware};
use super::{Note, Notes, Random};
use crate::hosts::HostSet;

/// Parts that shares are counted in.
const WHOLE: u64 = 10_000;

/// Where the proxies of the local cluster are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalZones {
    zones: Vec<Zone>,
    /// Whether the own locality has endpoints.
    has_own: bool,
    /// Whether too few endpoints are healthy to go by.
    in_panic: bool,
}

/// Healthy endpoints of one locality.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Zone {
    locality: Locality,
    count: u64,
    weight: u64,
}

/// Why zones are not compared, where statistics tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoZones {
    /// There is nothing to compare.
    OneZone,
    /// The local cluster has no endpoints in the own zone.
    LocalClusterNotOk,
    /// There are too few healthy endpoints.
    TooSmall,
}

/// How requests are spread over zones.
#[derive(Debug)]
pub(super) struct ZoneRouting {
    /// Percent of requests for which zones count at all.
    enabled: f64,
    /// Whether the local cluster can be gone by.
    local_in_panic: bool,
    /// By zone, the own one first if it has endpoints.
    sources: Box<[usize]>,
    spread: Spread,
}

#[derive(Debug)]
enum Spread {
    /// All to the own zone.
    Direct,
    /// A part to the own zone, the rest to those that have room, in proportion to it.
    Residual {
        /// Of [`WHOLE`].
        own: u64,
        /// Room, summed up from zone to zone.
        room: Box<[u64]>,
    },
}

impl NoZones {
    /// What counts it.
    pub(super) fn counter(self) -> Option<Counter> {
        match self {
            Self::OneZone => None,
            Self::LocalClusterNotOk => Some(stat::LB_LOCAL_CLUSTER_NOT_OK),
            Self::TooSmall => Some(stat::LB_ZONE_CLUSTER_TOO_SMALL),
        }
    }
}

impl LocalZones {
    /// The zones of the local cluster's table, for a proxy at `own`.
    pub(crate) fn of(table: &LbTable, own: &Locality, panic_threshold: f64) -> Self {
        let hosts = table.hosts();
        let healthy = table.healthy_of_first_priority();
        let members: Vec<u32> = (0..healthy.len() as u32).collect();
        let (zones, has_own) = zones_of(hosts, &members, own, |position| healthy[position as usize]);
        let percent = match healthy.len() {
            0 => 0.0,
            total => 100.0 * healthy.iter().filter(|healthy| **healthy).count() as f64 / total as f64,
        };
        Self {
            zones: zones.into_iter().map(|(zone, _)| zone).collect(),
            has_own,
            in_panic: percent < panic_threshold,
        }
    }
}

/// The localities of a first priority with their healthy endpoints: the own one first if it has any endpoints, the
/// others in order.
fn zones_of(
    hosts: &HostSet,
    members: &[u32],
    own: &Locality,
    healthy: impl Fn(u32) -> bool,
) -> (Vec<(Zone, Vec<u32>)>, bool) {
    let mut zones: BTreeMap<Locality, (Zone, Vec<u32>, bool)> = Default::default();
    let Some(priority) = hosts.priorities().first() else {
        return (Vec::new(), false);
    };
    for part in priority.localities() {
        let locality: &Locality = &hosts.locality(part).locality;
        let (zone, positions, any) = zones.entry(locality.clone()).or_insert_with(|| {
            let zone = Zone {
                locality: locality.clone(),
                count: 0,
                weight: 0,
            };
            (zone, Vec::new(), false)
        });
        for position in members
            .iter()
            .copied()
            .filter(|at| part.range.contains(&(*at as usize)))
        {
            *any = true;
            if healthy(position) {
                zone.count += 1;
                zone.weight += u64::from(priority.hosts()[position as usize].weight);
                positions.push(position);
            }
        }
    }
    let first = zones.remove(own);
    let has_own = first.as_ref().is_some_and(|(_, _, any)| *any);
    let zones = first
        .into_iter()
        .chain(zones.into_values())
        .map(|(zone, positions, _)| (zone, positions));
    (zones.collect(), has_own)
}

impl ZoneRouting {
    /// How requests to the healthy ones of `members` are spread. `source` makes a source of positions and says which.
    pub(super) fn new(
        settings: &ZoneAware,
        own: &Locality,
        local: &LocalZones,
        hosts: &HostSet,
        members: &[u32],
        healthy: impl Fn(u32) -> bool,
        source: impl FnMut(Vec<u32>) -> usize,
    ) -> Result<Self, NoZones> {
        let (zones, has_own) = zones_of(hosts, members, own, healthy);
        if zones.len() < 2 || local.zones.len() < 2 {
            return Err(NoZones::OneZone);
        }
        if !local.has_own {
            return Err(NoZones::LocalClusterNotOk);
        }
        let total: u64 = zones.iter().map(|(zone, _)| zone.count).sum();
        if total < settings.min_cluster_size {
            return Err(NoZones::TooSmall);
        }
        let (zones, positions): (Vec<Zone>, Vec<Vec<u32>>) = zones.into_iter().unzip();
        Ok(Self {
            enabled: settings.routing_enabled,
            local_in_panic: local.in_panic,
            sources: positions.into_iter().map(source).collect(),
            spread: Spread::new(settings, &zones, has_own, &local.zones),
        })
    }

    /// The source for one request; `all` where zones do not count for it, `None` if it is to fail.
    pub(super) fn choose(
        &self,
        random: &mut Random,
        fail_traffic_on_panic: bool,
        all: usize,
        notes: &mut Notes,
    ) -> Option<usize> {
        if self.enabled < 100.0 && random.unit() * 100.0 >= self.enabled {
            return Some(all);
        }
        if self.local_in_panic {
            notes.add(Note::LocalClusterNotOk);
            return (!fail_traffic_on_panic).then_some(all);
        }
        let zone = match &self.spread {
            Spread::Direct => {
                notes.add(Note::ZoneDirect);
                0
            }
            Spread::Residual { own, .. } if random.next_u64() % WHOLE < *own => {
                notes.add(Note::ZoneSampled);
                0
            }
            Spread::Residual { room, .. } => {
                notes.add(Note::ZoneCross);
                match room.last() {
                    None | Some(0) => {
                        notes.add(Note::ZoneNoCapacity);
                        random.below(self.sources.len() as u32) as usize
                    }
                    Some(all) => {
                        let drawn = random.next_u64() % all;
                        // Envoy goes by `sum < drawn`, and so once in a while to a zone without room or endpoints.
                        room.partition_point(|sum| *sum <= drawn)
                    }
                }
            }
        };
        Some(self.sources[zone])
    }
}

impl Spread {
    fn new(settings: &ZoneAware, upstream: &[Zone], has_own: bool, local: &[Zone]) -> Self {
        let worth = |zone: &Zone| match settings.basis {
            LocalityBasis::HealthyHosts => zone.count,
            LocalityBasis::HealthyHostsWeight => zone.weight,
        };
        let share = |part: u64, zones: &[Zone]| match zones.iter().map(worth).sum::<u64>() {
            0 => 0,
            total => WHOLE * part / total,
        };
        let shares: Vec<(u64, u64)> = upstream
            .iter()
            .map(|zone| {
                let same = local.iter().find(|other| other.locality == zone.locality);
                (share(same.map_or(0, worth), local), share(worth(zone), upstream))
            })
            .collect();
        if has_own {
            let forced = settings
                .force_local_zone
                .is_some_and(|least| upstream[0].count >= u64::from(least));
            let (of_local, of_upstream) = shares[0];
            if forced || (of_upstream > 0 && of_upstream >= of_local) {
                return Self::Direct;
            }
        }
        let own = match shares[0] {
            (of_local, of_upstream) if has_own && of_local > 0 => of_upstream * WHOLE / of_local,
            _ => 0,
        };
        let mut sum = 0;
        let room = shares.iter().enumerate().map(|(at, (of_local, of_upstream))| {
            // The own zone has what it can take already.
            if !(at == 0 && has_own) {
                sum += of_upstream.saturating_sub(*of_local);
            }
            sum
        });
        Self::Residual {
            own,
            room: room.collect(),
        }
    }
}
