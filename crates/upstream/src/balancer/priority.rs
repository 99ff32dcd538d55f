//! How load is shared among priorities, and when health is disregarded.
//!
//! Envoy, "Priority levels", "Degraded endpoints" and "Panic threshold" (arch_overview/upstream/load_balancing), with
//! the integer arithmetic of its `LoadBalancerBase`, so that the same endpoints give the same percentages.

/// How many endpoints of one priority are in which condition. With `weighted_priority_health` these are sums of
/// weights instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Endpoints that take part: all but those that are excluded until their first health check.
    pub(super) total: u64,
    /// Endpoints that are healthy.
    pub(super) healthy: u64,
    /// Endpoints that are degraded: used when the healthy ones don't suffice.
    pub(super) degraded: u64,
}

/// What each priority gets. Healthy and degraded percentages add up to 100 over all priorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loads {
    per_priority: Box<[Load]>,
}

/// The share of one priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Percent of all requests that go to its healthy endpoints.
    pub(super) healthy: u32,
    /// Percent of all requests that go to its degraded endpoints.
    pub(super) degraded: u32,
    /// Whether health is disregarded: requests go to all its endpoints, or to none with `fail_traffic_on_panic`.
    pub(super) panic: bool,
    /// How many of its requests its healthy endpoints alone could take, in percent, and its degraded ones.
    available: [u8; 2],
}

/// Which endpoints of a priority a pick is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Availability {
    /// The healthy ones.
    Healthy,
    /// The degraded ones.
    Degraded,
}

impl Loads {
    /// Shares the load. `overprovisioning` is in percent (140 by default), `panic_threshold` in percent.
    pub(super) fn new(counts: &[Counts], overprovisioning: u64, panic_threshold: f64) -> Self {
        let availability = |part: u64, priority: usize| match counts[priority].total {
            0 => 0,
            total => (overprovisioning * part / total).min(100) as u32,
        };
        let healthy: Vec<u32> = (0..counts.len()).map(|p| availability(counts[p].healthy, p)).collect();
        let degraded: Vec<u32> = (0..counts.len()).map(|p| availability(counts[p].degraded, p)).collect();
        let normalized = healthy.iter().chain(&degraded).sum::<u32>().min(100);
        let available = |p: usize| [healthy[p] as u8, degraded[p] as u8];
        let mut loads: Vec<Load> = (0..counts.len())
            .map(|p| Load {
                available: available(p),
                ..Load::default()
            })
            .collect();
        if loads.is_empty() {
            return Self {
                per_priority: loads.into(),
            };
        }
        if normalized > 0 {
            distribute(&mut loads, &healthy, &degraded, normalized);
        }
        if normalized < 100 {
            for (load, counts) in loads.iter_mut().zip(counts) {
                load.panic = counts.in_panic(panic_threshold);
            }
        }
        if loads.iter().all(|load| load.panic) {
            distribute_in_total_panic(&mut loads, counts);
        } else if normalized == 0 {
            // Panic is disabled and nobody is available: the first priority finds no endpoint and says so.
            loads[0].healthy = 100;
        }
        Self {
            per_priority: loads.into(),
        }
    }

    /// The shares when some priorities get nothing; `None` if no other has an endpoint that is available. Panic is as
    /// before.
    pub(super) fn without(&self, excluded: &[bool]) -> Option<Self> {
        let left = |of: usize| -> Vec<u32> {
            let available = |(at, load): (usize, &Load)| match excluded.get(at) {
                Some(true) => 0,
                _ => u32::from(load.available[of]),
            };
            self.per_priority.iter().enumerate().map(available).collect()
        };
        let (healthy, degraded) = (left(0), left(1));
        let normalized = healthy.iter().chain(&degraded).sum::<u32>().min(100);
        if normalized == 0 {
            return None;
        }
        let mut loads = self.per_priority.clone();
        distribute(&mut loads, &healthy, &degraded, normalized);
        Some(Self { per_priority: loads })
    }

    /// The priority that request number `hash` goes to, and which of its endpoints.
    pub(super) fn choose(&self, hash: u64) -> (usize, Availability) {
        // Nearly every cluster has one priority, and all its load is on the healthy endpoints.
        if let [Load { healthy: 100, .. }] = *self.per_priority {
            return (0, Availability::Healthy);
        }
        let point = (hash % 100) as u32;
        let mut covered = 0;
        for (priority, load) in self.per_priority.iter().enumerate() {
            covered += load.healthy;
            if point < covered {
                return (priority, Availability::Healthy);
            }
        }
        for (priority, load) in self.per_priority.iter().enumerate() {
            covered += load.degraded;
            if point < covered {
                return (priority, Availability::Degraded);
            }
        }
        (0, Availability::Healthy)
    }

    /// Whether `priority` disregards health.
    pub(super) fn in_panic(&self, priority: usize) -> bool {
        self.per_priority[priority].panic
    }

    /// The shares, by priority.
    #[cfg(test)]
    pub(super) fn per_priority(&self) -> &[Load] {
        &self.per_priority
    }
}

impl Counts {
    fn in_panic(self, panic_threshold: f64) -> bool {
        let percent = |part: u64| {
            if self.total == 0 {
                0.0
            } else {
                100.0 * part as f64 / self.total as f64
            }
        };
        percent(self.healthy) + percent(self.degraded) < panic_threshold
    }
}

/// As much as possible to the healthy endpoints in order of priority, then to the degraded; what integer division
/// left over goes to the first priority that has any.
fn distribute(loads: &mut [Load], healthy: &[u32], degraded: &[u32], normalized: u32) {
    let mut remaining = 100;
    for (load, availability) in loads.iter_mut().zip(healthy) {
        load.healthy = remaining.min(availability * 100 / normalized);
        remaining -= load.healthy;
    }
    for (load, availability) in loads.iter_mut().zip(degraded) {
        load.degraded = remaining.min(availability * 100 / normalized);
        remaining -= load.degraded;
    }
    if let Some(first) = healthy.iter().position(|&h| h > 0) {
        loads[first].healthy += remaining;
    } else if let Some(first) = degraded.iter().position(|&d| d > 0) {
        loads[first].degraded += remaining;
    }
}

/// Every priority is in panic: each gets what its number of endpoints is worth.
fn distribute_in_total_panic(loads: &mut [Load], counts: &[Counts]) {
    let total: u64 = counts.iter().map(|c| c.total).sum();
    let mut remaining = 100;
    for (load, counts) in loads.iter_mut().zip(counts) {
        load.degraded = 0;
        load.healthy = (100 * counts.total).checked_div(total).unwrap_or(0) as u32;
        remaining -= load.healthy;
    }
    let first = counts.iter().position(|c| c.total > 0).unwrap_or(0);
    loads[first].healthy += remaining;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn percent(healthy: u64) -> Counts {
        Counts {
            total: 100,
            healthy,
            degraded: 0,
        }
    }

    fn loads(counts: &[Counts]) -> Loads {
        Loads::new(counts, 140, 50.0)
    }

    fn healthy(counts: &[Counts]) -> Vec<u32> {
        loads(counts).per_priority().iter().map(|l| l.healthy).collect()
    }

    /// The tables of Envoy's "Priority levels".
    #[test]
    fn load_spills_over_as_envoy_documents() {
        for (endpoints, expected) in [
            (vec![100, 100], vec![100, 0]),
            (vec![72, 72], vec![100, 0]),
            (vec![71, 71], vec![99, 1]),
            (vec![50, 50], vec![70, 30]),
            (vec![25, 100], vec![35, 65]),
            (vec![25, 25], vec![50, 50]),
            (vec![0, 100], vec![0, 100]),
            (vec![100, 100, 100], vec![100, 0, 0]),
            (vec![71, 71, 100], vec![99, 1, 0]),
            (vec![25, 25, 100], vec![35, 35, 30]),
            // The page says 36, 36, 28; Envoy's code rounds each down and gives the rest to the first.
            (vec![25, 25, 20], vec![37, 35, 28]),
        ] {
            let counts: Vec<Counts> = endpoints.iter().map(|&h| percent(h)).collect();
            // The page looks at spill-over alone: the last row would panic.
            let loads = Loads::new(&counts, 140, 0.0);
            let shares: Vec<u32> = loads.per_priority().iter().map(|load| load.healthy).collect();
            assert_eq!(shares, expected, "{endpoints:?}");
        }
    }

    #[test]
    fn priorities_that_are_left_out_leave_their_load_to_the_others() {
        let loads = loads(&[percent(100), percent(50), percent(20), percent(0)]);
        let without = |excluded: &[bool]| {
            let loads = loads.without(excluded)?;
            Some(loads.per_priority().iter().map(|load| load.healthy).collect::<Vec<_>>())
        };
        assert_eq!(without(&[]), Some(vec![100, 0, 0, 0]));
        assert_eq!(without(&[true]), Some(vec![0, 72, 28, 0]));
        assert_eq!(without(&[true, true]), Some(vec![0, 0, 100, 0]));
        assert_eq!(without(&[true, true, true]), None);
    }

    /// The tables of Envoy's "Panic threshold".
    #[test]
    fn panic_starts_when_total_health_is_short_and_the_priority_is_below_its_threshold() {
        let panic = |a, b| {
            let loads = loads(&[percent(a), percent(b)]);
            (loads.in_panic(0), loads.in_panic(1))
        };
        assert_eq!(panic(0, 100), (false, false), "the other priority carries everything");
        assert_eq!(panic(25, 100), (false, false));
        assert_eq!(panic(25, 25), (true, true));
        assert_eq!(panic(5, 65), (true, false));
        assert_eq!(
            healthy(&[percent(5), percent(65)]),
            [8, 92],
            "91/98 rounds down; the rest goes to the first"
        );
    }

    /// The table of Envoy's "Degraded endpoints".
    #[test]
    fn degraded_endpoints_take_what_the_healthy_ones_cannot() {
        let load = |healthy, degraded| {
            let loads = loads(&[Counts {
                total: 100,
                healthy,
                degraded,
            }]);
            let load = loads.per_priority()[0];
            (load.healthy, load.degraded)
        };
        assert_eq!(load(100, 0), (100, 0));
        assert_eq!(load(71, 0), (100, 0));
        assert_eq!(load(71, 29), (99, 1));
        assert_eq!(load(25, 65), (35, 65));
        assert_eq!(load(5, 0), (100, 0));
    }

    #[test]
    fn total_panic_shares_by_number_of_endpoints() {
        let counts = [
            Counts {
                total: 10,
                healthy: 0,
                degraded: 0,
            },
            Counts {
                total: 30,
                healthy: 0,
                degraded: 0,
            },
        ];
        assert_eq!(healthy(&counts), [25, 75]);
        assert!(loads(&counts).in_panic(0) && loads(&counts).in_panic(1));
        let empty_first = [
            Counts::default(),
            Counts {
                total: 3,
                healthy: 0,
                degraded: 0,
            },
        ];
        assert_eq!(healthy(&empty_first), [0, 100]);
    }

    #[test]
    fn without_a_panic_threshold_nobody_panics() {
        let loads = Loads::new(&[percent(0), percent(0)], 140, 0.0);
        assert_eq!(loads.choose(57), (0, Availability::Healthy));
        assert!(!loads.in_panic(0) && !loads.in_panic(1));
    }

    #[test]
    fn choose_follows_the_percentages() {
        let loads = Loads::new(
            &[
                Counts {
                    total: 100,
                    healthy: 25,
                    degraded: 25,
                },
                percent(20),
            ],
            140,
            50.0,
        );
        let mut seen = std::collections::BTreeMap::<(usize, bool), u32>::new();
        for hash in 0..100 {
            let (priority, availability) = loads.choose(hash);
            *seen
                .entry((priority, availability == Availability::Degraded))
                .or_default() += 1;
        }
        let expected: std::collections::BTreeMap<_, _> = [((0, false), 37), ((1, false), 28), ((0, true), 35)].into();
        assert_eq!(seen, expected);
    }

    proptest! {
        #[test]
        fn shares_always_add_up_to_a_hundred(
            parts in prop::collection::vec((0u64..50, 0u64..50, 0u64..50), 1..6),
            threshold in 0.0f64..=100.0,
        ) {
            let counts: Vec<Counts> = parts
                .iter()
                .map(|&(healthy, degraded, bad)| Counts { total: healthy + degraded + bad, healthy, degraded })
                .collect();
            let loads = Loads::new(&counts, 140, threshold);
            let sum: u32 = loads.per_priority().iter().map(|l| l.healthy + l.degraded).sum();
            prop_assert_eq!(sum, 100);
            for hash in 0..100 {
                prop_assert!(loads.choose(hash).0 < counts.len());
            }
        }

        /// A priority is only asked for endpoints that it has, unless health is disregarded or nobody has any.
        #[test]
        fn load_goes_where_endpoints_are(parts in prop::collection::vec((0u64..9, 0u64..9, 0u64..9), 1..5)) {
            let counts: Vec<Counts> = parts
                .iter()
                .map(|&(healthy, degraded, bad)| Counts { total: healthy + degraded + bad, healthy, degraded })
                .collect();
            prop_assume!(counts.iter().any(|c| c.healthy > 0));
            let loads = Loads::new(&counts, 140, 50.0);
            for (load, counts) in loads.per_priority().iter().zip(&counts) {
                prop_assert!(load.healthy == 0 || counts.healthy > 0 || load.panic);
                prop_assert!(load.degraded == 0 || counts.degraded > 0 || load.panic);
            }
        }
    }
}
