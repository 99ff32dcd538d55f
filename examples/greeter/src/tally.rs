//! What a client saw: calls by result and by backend, and how long they took.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tonic::Code;

/// How a call ended, as its caller saw it.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Answered in full.
    Answered {
        /// Version and name of the backend, e.g. `v1 greeter-v1-a`.
        backend: String,
        /// The caller's identity as the backend's proxy verified it, if any.
        caller: String,
    },
    /// Ended with a status other than OK.
    Failed {
        /// The gRPC status code.
        code: Code,
        /// The status message.
        message: String,
    },
}

/// Sub-buckets per power of two: each bucket is at most 1/16 wide.
const SUB_BUCKETS: usize = 16;

/// Counters over a run. Latencies are kept in buckets whose width is at most 6 % of
/// their value, so that a run of any length costs the same memory.
#[derive(Clone, Debug)]
pub struct Tally {
    requests: u64,
    by_code: BTreeMap<&'static str, u64>,
    by_backend: BTreeMap<String, u64>,
    callers: BTreeMap<String, u64>,
    last_failure: Option<String>,
    latency: Vec<u64>,
    slowest: Duration,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            requests: 0,
            by_code: BTreeMap::new(),
            by_backend: BTreeMap::new(),
            callers: BTreeMap::new(),
            last_failure: None,
            latency: vec![0; SUB_BUCKETS * 64],
            slowest: Duration::ZERO,
        }
    }
}

impl Tally {
    /// Counts one call that took `elapsed`.
    pub fn record(&mut self, outcome: Outcome, elapsed: Duration) {
        self.requests += 1;
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.latency[bucket(micros)] += 1;
        self.slowest = self.slowest.max(elapsed);
        match outcome {
            Outcome::Answered { backend, caller } => {
                *self.by_code.entry("OK").or_default() += 1;
                *self.by_backend.entry(backend).or_default() += 1;
                if !caller.is_empty() {
                    *self.callers.entry(caller).or_default() += 1;
                }
            }
            Outcome::Failed { code, message } => {
                *self.by_code.entry(code_name(code)).or_default() += 1;
                self.last_failure = Some(format!("{}: {message}", code_name(code)));
            }
        }
    }

    /// Calls that ended, in any way.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Calls that ended otherwise than OK.
    pub fn failures(&self) -> u64 {
        self.requests - self.by_code.get("OK").copied().unwrap_or(0)
    }

    /// The latency that this share (0 to 1) of the calls did not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        // A count fits an f64 exactly up to 2^53 calls.
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let rank = (self.requests as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.latency.iter().enumerate() {
            seen += count;
            if seen >= rank && *count > 0 {
                return Duration::from_micros(bucket_end(index)).min(self.slowest);
            }
        }
        Duration::ZERO
    }

    /// All of it as one JSON object; latencies in milliseconds.
    pub fn to_json(&self) -> Value {
        json!({
            "requests": self.requests,
            "failures": self.failures(),
            "by_code": self.by_code,
            "by_backend": self.by_backend,
            "callers": self.callers,
            "last_failure": self.last_failure,
            "p50_ms": milliseconds(self.quantile(0.5)),
            "p99_ms": milliseconds(self.quantile(0.99)),
            "max_ms": milliseconds(self.slowest),
        })
    }
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

/// Log-linear: values below 16 have a bucket each, then 16 buckets per power of two.
fn bucket(micros: u64) -> usize {
    if micros < SUB_BUCKETS as u64 {
        return usize::try_from(micros).unwrap_or(0);
    }
    let exponent = 63 - micros.leading_zeros() as usize;
    let shift = exponent - 4;
    let within = usize::try_from((micros >> shift) & 15).unwrap_or(0);
    (exponent - 3) * SUB_BUCKETS + within
}

/// The largest value that falls into a bucket.
fn bucket_end(index: usize) -> u64 {
    if index < SUB_BUCKETS {
        return index as u64;
    }
    let exponent = index / SUB_BUCKETS + 3;
    let within = (index % SUB_BUCKETS) as u64;
    let shift = exponent - 4;
    ((16 + within) << shift) + ((1 << shift) - 1)
}

/// The name of a status code as the gRPC specification writes it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered() -> Outcome {
        Outcome::Answered {
            backend: "v1 a".to_owned(),
            caller: String::new(),
        }
    }

    #[test]
    fn a_bucket_holds_its_own_end_and_the_next_value_falls_into_the_next() {
        for index in 0..SUB_BUCKETS * 40 {
            let end = bucket_end(index);
            assert_eq!(bucket(end), index);
            assert_eq!(bucket(end + 1), index + 1);
        }
    }

    #[test]
    fn quantiles_stay_within_a_sixteenth_of_the_truth() {
        let mut tally = Tally::default();
        for micros in 1..=10_000 {
            tally.record(answered(), Duration::from_micros(micros));
        }
        for (share, truth) in [(0.5, 5_000.0), (0.99, 9_900.0)] {
            let found = tally.quantile(share).as_secs_f64() * 1e6;
            assert!((found / truth - 1.0).abs() < 1.0 / 16.0, "{share}: {found}");
        }
    }

    #[test]
    fn failures_are_counted_by_their_code() {
        let mut tally = Tally::default();
        tally.record(answered(), Duration::from_millis(1));
        tally.record(
            Outcome::Failed {
                code: Code::Unavailable,
                message: "no healthy upstream".to_owned(),
            },
            Duration::from_millis(1),
        );
        assert_eq!((tally.requests(), tally.failures()), (2, 1));
        let json = tally.to_json();
        assert_eq!(json["by_code"]["UNAVAILABLE"], 1);
        assert_eq!(json["last_failure"], "UNAVAILABLE: no healthy upstream");
    }
}
