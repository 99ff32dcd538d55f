//! Log-linear histograms: ninety bins per decade, two significant digits, as Envoy's libcircllhist has.
//!
//! A record is one increment; decades are allocated when their first value comes. Integers below 100
//! are exact, larger ones are off by at most 5 %.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Decades above the units: 10..100, 100..1000, up to 10^13. Larger values count in the last bin.
const DECADES: usize = 12;
const PER_DECADE: usize = 90;
const LARGEST: u64 = 10_u64.pow(DECADES as u32 + 1) - 1;

/// The percentiles Envoy prints, as fractions and as it writes them.
pub(crate) const PERCENTILES: [(f64, &str); 10] = [
    (0.0, "0"),
    (0.25, "25"),
    (0.5, "50"),
    (0.75, "75"),
    (0.9, "90"),
    (0.95, "95"),
    (0.99, "99"),
    (0.995, "99.5"),
    (0.999, "99.9"),
    (1.0, "100"),
];

/// Envoy's default upper bounds of buckets, in milliseconds for durations.
pub(crate) const DEFAULT_BOUNDS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1_000.0,
    2_500.0,
    5_000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// What one shard recorded.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    sum: AtomicU64,
    units: [AtomicU64; 10],
    decades: [OnceLock<Box<[AtomicU64; PER_DECADE]>>; DECADES],
}

impl Recorder {
    /// Counts one value. `shared` when more than one thread may write this shard.
    pub(crate) fn record(&self, value: u64, shared: bool) {
        let value = value.min(LARGEST);
        let bin = if value < 10 {
            &self.units[value as usize]
        } else {
            let decade = value.ilog10() as usize - 1;
            let slot = value / 10_u64.pow(decade as u32) - 10;
            &self.decades[decade].get_or_init(|| Box::new([const { AtomicU64::new(0) }; PER_DECADE]))[slot as usize]
        };
        if shared {
            bin.fetch_add(1, Relaxed);
            self.sum.fetch_add(value, Relaxed);
        } else {
            bin.store(bin.load(Relaxed) + 1, Relaxed);
            self.sum.store(self.sum.load(Relaxed).wrapping_add(value), Relaxed);
        }
    }

    /// Adds this shard's counts to `distribution`.
    pub(crate) fn merge_into(&self, distribution: &mut Distribution) {
        distribution.sum = distribution.sum.wrapping_add(self.sum.load(Relaxed));
        for (value, bin) in self.units.iter().enumerate() {
            distribution.add(value as u16, bin.load(Relaxed));
        }
        for (decade, bins) in self.decades.iter().enumerate() {
            for (slot, bin) in bins.get().into_iter().flat_map(|bins| bins.iter()).enumerate() {
                distribution.add((10 + decade * PER_DECADE + slot) as u16, bin.load(Relaxed));
            }
        }
    }
}

/// A merged histogram: bins in ascending order, without the empty ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Distribution {
    bins: Vec<(u16, u64)>,
    sum: u64,
}

impl Distribution {
    fn add(&mut self, bin: u16, count: u64) {
        if count == 0 {
            return;
        }
        match self.bins.binary_search_by_key(&bin, |(existing, _)| *existing) {
            Ok(at) => self.bins[at].1 += count,
            Err(at) => self.bins.insert(at, (bin, count)),
        }
    }

    /// What was recorded since `earlier` was taken of the same histogram.
    pub(crate) fn since(&self, earlier: &Distribution) -> Distribution {
        let mut difference = Distribution {
            bins: Vec::new(),
            sum: self.sum.wrapping_sub(earlier.sum),
        };
        for &(bin, count) in &self.bins {
            let before = earlier.bins.binary_search_by_key(&bin, |(existing, _)| *existing);
            difference.add(bin, count - before.map_or(0, |at| earlier.bins[at].1.min(count)));
        }
        difference
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bins.is_empty()
    }

    pub(crate) fn count(&self) -> u64 {
        self.bins.iter().map(|(_, count)| count).sum()
    }

    /// The exact sum of what was recorded. (Envoy estimates it from the bins.)
    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }

    /// Lower bound, width and count of each bin in use.
    pub(crate) fn bins(&self) -> impl Iterator<Item = (f64, f64, u64)> + '_ {
        self.bins.iter().map(|&(bin, count)| {
            let (lower, width) = bounds(bin);
            (lower, width, count)
        })
    }

    /// Values at `PERCENTILES`: the sample of rank `ceil(q * n)`, spread evenly inside its bin. `None`
    /// without samples.
    pub(crate) fn percentiles(&self) -> Option<[f64; PERCENTILES.len()]> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        let mut values = [0.0; PERCENTILES.len()];
        let mut bins = self.bins();
        let (mut bin, mut below) = (bins.next()?, 0);
        for (value, (quantile, _)) in values.iter_mut().zip(PERCENTILES) {
            let rank = ((quantile * total as f64).ceil() as u64).max(1);
            while below + bin.2 < rank {
                match bins.next() {
                    Some(next) => {
                        below += bin.2;
                        bin = next;
                    }
                    None => break,
                }
            }
            *value = bin.0 + bin.1 * (rank - below) as f64 / (bin.2 + 1) as f64;
        }
        Some(values)
    }

    /// How many samples are at most `bound`, as far as the bins tell: a bin counts when it starts there
    /// or below.
    pub(crate) fn count_to(&self, bound: f64) -> u64 {
        self.bins()
            .take_while(|(lower, _, _)| *lower <= bound)
            .map(|(_, _, count)| count)
            .sum()
    }
}

/// Lower bound and width of a bin. Units are a tenth wide, as two significant digits make them; zero
/// has no width.
fn bounds(bin: u16) -> (f64, f64) {
    match bin {
        0 => (0.0, 0.0),
        1..10 => (f64::from(bin), 0.1),
        _ => {
            let (decade, slot) = ((bin as usize - 10) / PER_DECADE, (bin as usize - 10) % PER_DECADE);
            let width = 10_f64.powi(decade as i32);
            ((slot + 10) as f64 * width, width)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(values: &[u64]) -> Distribution {
        let recorder = Recorder::default();
        values.iter().for_each(|value| recorder.record(*value, false));
        let mut merged = Distribution::default();
        recorder.merge_into(&mut merged);
        merged
    }

    #[test]
    fn percentiles_are_those_envoy_printed_for_the_same_values() {
        let merged = distribution(&[0, 1, 1, 1, 1, 1, 2, 2]);
        let percentiles = merged.percentiles().unwrap();
        assert_eq!(percentiles[0], 0.0);
        assert_eq!(percentiles[1].to_string(), "1.0166666666666666");
        assert_eq!(percentiles[2], 1.05);
        assert_eq!(percentiles[3].to_string(), "1.0833333333333333");
        assert_eq!(percentiles[9].to_string(), "2.066666666666667");
        assert_eq!(distribution(&[12]).percentiles().unwrap()[0], 12.5);
        assert_eq!(
            distribution(&[5, 5, 5, 5, 5, 5, 5, 517]).percentiles().unwrap()[9],
            515.0
        );
    }

    #[test]
    fn buckets_count_whole_bins_that_start_at_the_bound_or_below() {
        let merged = distribution(&[0, 1, 1, 1, 1, 1, 2, 2, 254, 4_000_000]);
        let counts: Vec<u64> = DEFAULT_BOUNDS.iter().map(|bound| merged.count_to(*bound)).collect();
        assert_eq!(counts[..3], [1, 6, 8]);
        assert_eq!(counts[6], 8, "254 is above 100");
        assert_eq!(counts[7], 9, "254 is in the bin that starts at 250");
        assert_eq!(counts[18], 9);
        assert_eq!((merged.count(), merged.sum()), (10, 4_000_263));
    }

    #[test]
    fn a_value_stays_within_five_percent_and_huge_ones_count_in_the_last_bin() {
        for value in [10, 99, 100, 101, 999, 1_000, 123_456, 999_999_999_999] {
            let merged = distribution(&[value]);
            let (lower, width, count) = merged.bins().next().unwrap();
            assert!(
                lower <= value as f64 && (value as f64) < lower + width,
                "{value} in {lower}+{width}"
            );
            assert!(width <= lower / 10.0);
            assert_eq!(count, 1);
        }
        assert_eq!(distribution(&[u64::MAX]).count(), 1);
    }

    #[test]
    fn the_difference_of_two_readings_is_the_interval() {
        let earlier = distribution(&[1, 1, 20]);
        let later = distribution(&[1, 1, 20, 1, 300]);
        let interval = later.since(&earlier);
        assert_eq!(interval.count(), 2);
        assert_eq!(interval.sum(), 301);
        assert!(later.since(&later).is_empty());
    }
}
