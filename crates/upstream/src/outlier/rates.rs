//! The detectors that compare endpoints over an interval: success rate and failure percentage.
//!
//! Envoy, "Outlier detection": "Success rate" and "Failure percentage"; run by the control thread's sweep.

use std::sync::atomic::{AtomicU32, Ordering};

use config::cluster::OutlierDetection;

/// How many attempts of the running interval there were, and how many of them succeeded.
#[derive(Debug, Default)]
pub(super) struct Tally {
    total: AtomicU32,
    successes: AtomicU32,
}

impl Tally {
    pub(super) fn count(&self, success: bool) {
        self.total.fetch_add(1, Ordering::Relaxed);
        if success {
            self.successes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted since the last call. An attempt that ends meanwhile may be split between two intervals.
    pub(super) fn take(&self) -> Volume {
        let successes = self.successes.swap(0, Ordering::Relaxed);
        let total = self.total.swap(0, Ordering::Relaxed).max(successes);
        Volume { total, successes }
    }
}

/// The attempts of one endpoint in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) total: u32,
    pub(super) successes: u32,
}

impl Volume {
    /// In percent; `None` below `volume` attempts: too few to judge by.
    fn success_rate(self, volume: u32) -> Option<f64> {
        let enough = self.total > 0 && self.total >= volume;
        enough.then(|| 100.0 * f64::from(self.successes) / f64::from(self.total))
    }
}

/// Which of the endpoints succeed so much less often than the others that they are outliers.
pub(super) fn below_success_rate(volumes: &[Volume], settings: &OutlierDetection) -> Vec<usize> {
    let rates = rates(volumes, settings.success_rate_request_volume);
    if rates.is_empty() || rates.len() < settings.success_rate_minimum_hosts as usize {
        return Vec::new();
    }
    let n = rates.len() as f64;
    let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / n;
    let variance = rates.iter().map(|(_, rate)| (rate - mean).powi(2)).sum::<f64>() / n;
    let threshold = mean - variance.sqrt() * f64::from(settings.success_rate_stdev_factor) / 1000.0;
    rates
        .into_iter()
        .filter(|(_, rate)| *rate < threshold)
        .map(|(at, _)| at)
        .collect()
}

/// Which of the endpoints fail at least as often as is allowed.
pub(super) fn above_failure_percentage(volumes: &[Volume], settings: &OutlierDetection) -> Vec<usize> {
    let rates = rates(volumes, settings.failure_percentage_request_volume);
    if rates.is_empty() || rates.len() < settings.failure_percentage_minimum_hosts as usize {
        return Vec::new();
    }
    let threshold = f64::from(settings.failure_percentage_threshold);
    rates
        .into_iter()
        .filter(|(_, rate)| 100.0 - rate >= threshold)
        .map(|(at, _)| at)
        .collect()
}

/// The success rates of those that had enough attempts.
fn rates(volumes: &[Volume], volume: u32) -> Vec<(usize, f64)> {
    volumes
        .iter()
        .enumerate()
        .filter_map(|(at, v)| Some((at, v.success_rate(volume)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volumes(successes_of_100: &[u32]) -> Vec<Volume> {
        successes_of_100
            .iter()
            .map(|&successes| Volume { total: 100, successes })
            .collect()
    }

    #[test]
    fn one_that_fails_more_than_the_rest_is_an_outlier() {
        let settings = OutlierDetection::default();
        assert_eq!(below_success_rate(&volumes(&[99, 98, 100, 50, 99]), &settings), [3]);
        assert!(
            below_success_rate(&volumes(&[50; 5]), &settings).is_empty(),
            "all alike"
        );
        assert!(
            below_success_rate(&volumes(&[99, 98, 100, 97, 99]), &settings).is_empty(),
            "within the deviation"
        );
    }

    #[test]
    fn the_deviation_that_is_tolerated_is_configured() {
        // Mean 80, standard deviation 40: the threshold is 80 - 40 * factor.
        let volumes = volumes(&[100, 100, 100, 100, 0]);
        let settings = |factor| OutlierDetection {
            success_rate_stdev_factor: factor,
            ..OutlierDetection::default()
        };
        assert_eq!(below_success_rate(&volumes, &settings(1_900)), [4]);
        assert!(below_success_rate(&volumes, &settings(2_000)).is_empty());
    }

    #[test]
    fn few_endpoints_or_few_requests_prove_nothing() {
        let settings = OutlierDetection::default();
        assert!(
            below_success_rate(&volumes(&[100, 100, 100, 0]), &settings).is_empty(),
            "four of five"
        );
        let mut volumes = volumes(&[100, 100, 100, 100, 100, 0]);
        volumes[5].total = 99;
        assert!(below_success_rate(&volumes, &settings).is_empty(), "99 of 100 requests");
    }

    #[test]
    fn a_failure_percentage_is_absolute() {
        let settings = OutlierDetection::default();
        assert_eq!(
            above_failure_percentage(&volumes(&[15, 15, 16, 100, 0]), &settings),
            [0, 1, 4]
        );
        assert!(
            above_failure_percentage(&volumes(&[0; 4]), &settings).is_empty(),
            "four of five"
        );
        let few = [Volume {
            total: 49,
            successes: 0,
        }; 5];
        assert!(
            above_failure_percentage(&few, &settings).is_empty(),
            "49 of 50 requests"
        );
    }

    #[test]
    fn a_tally_begins_anew_with_each_interval() {
        let tally = Tally::default();
        tally.count(true);
        tally.count(false);
        assert_eq!(tally.take(), Volume { total: 2, successes: 1 });
        assert_eq!(tally.take(), Volume { total: 0, successes: 0 });
    }
}
