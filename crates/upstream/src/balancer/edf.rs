//! Earliest deadline first: weighted round robin that interleaves.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::random::Random;

/// Weighted round robin as Envoy does it (`EdfScheduler`): every entry has a deadline, the earliest is picked and put
/// back `1 / weight` later. Over any stretch of time an entry is picked in proportion to its weight, and never in
/// bursts. A pick costs O(log n).
///
/// Weights may change from pick to pick (weighted LEAST_REQUEST uses that), so each pick asks for the current one.
#[derive(Debug)]
pub(super) struct Edf {
    queue: BinaryHeap<Entry>,
    /// Breaks ties first in, first out; without it entries of equal weight would not rotate.
    next_order: u64,
}

#[derive(Debug)]
struct Entry {
    deadline: f64,
    order: u64,
    index: u32,
}

impl Edf {
    /// A schedule of entries `0..len`, entered at a random point of its cycle so that workers don't pick in step.
    ///
    /// Weights must be above zero; one that is not counts as the smallest weight there is.
    pub(super) fn new(len: u32, weight: impl Fn(u32) -> f64, random: &mut Random) -> Self {
        let smallest = (0..len).map(&weight).fold(f64::INFINITY, f64::min);
        // One cycle lasts until the lightest entry was picked once.
        let start = if smallest.is_finite() && smallest > 0.0 {
            random.unit() / smallest
        } else {
            0.0
        };
        let queue = (0..len)
            .map(|index| {
                let weight = positive(weight(index));
                // The first pick of this entry after `start`, had the schedule run since time 0.
                let deadline = ((start * weight).floor() + 1.0) / weight;
                Entry {
                    deadline,
                    order: u64::from(index),
                    index,
                }
            })
            .collect();
        Self {
            queue,
            next_order: u64::from(len),
        }
    }

    /// The entry whose turn it is; `weight` gives its current weight, which decides when it comes again.
    pub(super) fn pick(&mut self, weight: impl FnOnce(u32) -> f64) -> Option<u32> {
        let order = self.next_order;
        let mut first = self.queue.peek_mut()?;
        self.next_order += 1;
        first.deadline += 1.0 / positive(weight(first.index));
        first.order = order;
        Some(first.index)
    }
}

/// Keeps a zero or negative weight from making a deadline infinite: such an entry would never come back.
fn positive(weight: f64) -> f64 {
    weight.max(f64::MIN_POSITIVE.sqrt())
}

impl Ord for Entry {
    /// Reversed: `BinaryHeap` gives the greatest first, and the greatest is to be the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .deadline
            .total_cmp(&self.deadline)
            .then(other.order.cmp(&self.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(weights: &[u32], picks: usize, seed: u64) -> Vec<u32> {
        let weight = |i: u32| f64::from(weights[i as usize]);
        let mut edf = Edf::new(weights.len() as u32, weight, &mut Random::new(seed));
        let mut counts = vec![0; weights.len()];
        for _ in 0..picks {
            counts[edf.pick(weight).unwrap() as usize] += 1;
        }
        counts
    }

    #[test]
    fn an_empty_schedule_picks_nothing() {
        assert_eq!(Edf::new(0, |_| 1.0, &mut Random::new(1)).pick(|_| 1.0), None);
    }

    #[test]
    fn weights_are_interleaved_not_bursted() {
        let weights = [1u32, 3];
        let weight = |i: u32| f64::from(weights[i as usize]);
        let mut edf = Edf::new(2, weight, &mut Random::new(1));
        let picks: Vec<u32> = (0..40).map(|_| edf.pick(weight).unwrap()).collect();
        // Between two picks of the light entry the heavy one is picked three times: never more.
        let longest = picks.split(|&i| i == 0).map(<[u32]>::len).max().unwrap();
        assert!(longest <= 4, "{picks:?}");
        assert!(
            (9..=11).contains(&picks.iter().filter(|&&i| i == 0).count()),
            "{picks:?}"
        );
    }

    #[test]
    fn equal_weights_rotate() {
        let mut edf = Edf::new(3, |_| 2.0, &mut Random::new(9));
        let picks: Vec<u32> = (0..9).map(|_| edf.pick(|_| 2.0).unwrap()).collect();
        assert_eq!(picks[..3], picks[3..6]);
        assert_eq!(picks[3..6], picks[6..9]);
    }

    #[test]
    fn workers_with_different_seeds_start_at_different_points() {
        let weights = [1u32, 2, 3, 4, 5];
        let weight = |i: u32| f64::from(weights[i as usize]);
        let first: std::collections::HashSet<u32> = (0..50)
            .map(|seed| Edf::new(5, weight, &mut Random::new(seed)).pick(weight).unwrap())
            .collect();
        assert!(first.len() > 1, "{first:?}");
    }

    proptest! {
        /// Whatever the weights and wherever it starts, after k cycles every entry was picked k times its weight,
        /// give or take what is cut off at the two ends.
        #[test]
        fn picks_are_in_proportion_to_weights(
            weights in prop::collection::vec(1u32..=20, 1..12),
            seed in any::<u64>(),
        ) {
            let cycles = 5;
            let total: u32 = weights.iter().sum();
            let counts = counts(&weights, (total * cycles) as usize, seed);
            for (count, weight) in counts.iter().zip(&weights) {
                let expected = weight * cycles;
                prop_assert!(count.abs_diff(expected) <= 1 + weights.len() as u32 / 2, "{weights:?} {counts:?}");
            }
        }
    }
}
