//! Names to addresses: when to resolve, and what to make of the answers.
//!
//! Envoy, "Service discovery" (strict DNS, logical DNS) and `Cluster.dns_refresh_rate` and its neighbours. Asking a name
//! server is behind [`Resolve`]; nothing here does I/O.

mod families;
mod hickory;

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use config::cluster::{DnsLookupFamily, DnsOptions, DnsResolver};
pub use hickory::HickoryResolver;

use crate::balancer::Random;

/// What resolves names. Scripted in tests.
pub trait Resolve: fmt::Debug + Send + Sync {
    /// All addresses of `host` in `family`. A name that exists without such addresses, or is known not to exist, is
    /// not an error: it has no addresses. `settings` are those of the cluster, where it has any.
    fn resolve(&self, host: Arc<str>, family: DnsLookupFamily, settings: Option<&DnsResolver>) -> Resolving;
}

/// A resolution under way.
pub type Resolving = Pin<Box<dyn Future<Output = Result<Resolution, ResolveError>> + Send>>;

/// What a name resolved to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// The addresses, without duplicates, in the order of the answer.
    pub addresses: Vec<IpAddr>,
    /// How long they are good for, where the source says so.
    pub ttl: Option<Duration>,
}

/// Why a name could not be resolved: no answer, or none that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveError(pub String);

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ResolveError {}

/// One name that a cluster needs resolved, again and again.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) host: Arc<str>,
    /// The last good answer; kept when a later attempt fails.
    addresses: Vec<IpAddr>,
    /// Whether an attempt has ended, well or not.
    pub(crate) attempted: bool,
    /// Failed attempts since the last good one.
    failures: u32,
}

/// What an answer changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    /// Whether the addresses are others than before.
    pub(crate) changed: bool,
    /// How long to wait before resolving the name again.
    pub(crate) next_in: Duration,
}

impl Name {
    pub(crate) fn new(host: Arc<str>) -> Self {
        Self {
            host,
            addresses: Vec::new(),
            attempted: false,
            failures: 0,
        }
    }

    pub(crate) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Takes the result of an attempt.
    pub(crate) fn on_result(
        &mut self,
        result: &Result<Resolution, ResolveError>,
        options: &DnsOptions,
        random: &mut Random,
    ) -> Answered {
        let first = !std::mem::replace(&mut self.attempted, true);
        match result {
            Ok(resolution) => {
                self.failures = 0;
                let ttl = resolution.ttl.filter(|ttl| options.respect_dns_ttl && !ttl.is_zero());
                let next_in = ttl.unwrap_or(options.refresh_rate) + random.duration_below(options.jitter);
                // The order of an answer rotates and means nothing; only the set counts.
                let (mut before, mut after) = (self.addresses.clone(), resolution.addresses.clone());
                before.sort_unstable();
                after.sort_unstable();
                after.dedup();
                let changed = first || before != after;
                if changed {
                    // In a fixed order where it was not given one, so that the same set makes the same table.
                    self.addresses.clone_from(&resolution.addresses);
                }
                Answered { changed, next_in }
            }
            Err(_) => {
                let next_in = match options.failure_refresh_rate {
                    None => options.refresh_rate,
                    Some((base, max)) => {
                        // Full jitter under a doubling bound, but never a tight loop.
                        let bound = base.saturating_mul(1 << self.failures.min(30)).min(max.max(base));
                        random.duration_below(bound).max(MIN_DELAY)
                    }
                };
                self.failures = self.failures.saturating_add(1);
                Answered {
                    changed: false,
                    next_in,
                }
            }
        }
    }
}

/// The shortest wait after a failure: jitter may draw next to nothing.
const MIN_DELAY: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn answer(addresses: &[&str], ttl: u64) -> Result<Resolution, ResolveError> {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        Ok(Resolution {
            addresses,
            ttl: Some(Duration::from_secs(ttl)),
        })
    }

    fn failure() -> Result<Resolution, ResolveError> {
        Err(ResolveError("no answer".into()))
    }

    #[test]
    fn a_failure_keeps_the_last_good_addresses() {
        let (mut name, options, mut random) = (Name::new("a".into()), DnsOptions::default(), Random::new(1));
        assert!(
            name.on_result(&answer(&["10.0.0.1"], 30), &options, &mut random)
                .changed
        );
        assert!(!name.on_result(&failure(), &options, &mut random).changed);
        assert_eq!(name.addresses(), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert!(
            name.on_result(&answer(&[], 30), &options, &mut random).changed,
            "an empty answer is an answer"
        );
        assert!(name.addresses().is_empty());
    }

    #[test]
    fn another_order_is_no_change() {
        let (mut name, options, mut random) = (Name::new("a".into()), DnsOptions::default(), Random::new(1));
        name.on_result(&answer(&["10.0.0.1", "10.0.0.2"], 30), &options, &mut random);
        assert!(
            !name
                .on_result(&answer(&["10.0.0.2", "10.0.0.1"], 30), &options, &mut random)
                .changed
        );
        assert!(
            name.on_result(&answer(&["10.0.0.2", "10.0.0.3"], 30), &options, &mut random)
                .changed
        );
    }

    #[test]
    fn the_first_answer_is_a_change_even_if_empty() {
        let (mut name, options, mut random) = (Name::new("a".into()), DnsOptions::default(), Random::new(1));
        assert!(name.on_result(&answer(&[], 0), &options, &mut random).changed);
        assert!(!name.on_result(&answer(&[], 0), &options, &mut random).changed);
    }

    #[test]
    fn the_refresh_rate_holds_unless_the_time_to_live_is_to_be_respected() {
        let (mut name, mut options, mut random) = (Name::new("a".into()), DnsOptions::default(), Random::new(1));
        let mut wait = |options: &DnsOptions, ttl| {
            name.on_result(&answer(&["10.0.0.1"], ttl), options, &mut random)
                .next_in
        };
        assert_eq!(wait(&options, 30), 5 * SECOND);
        options.respect_dns_ttl = true;
        assert_eq!(wait(&options, 30), 30 * SECOND);
        assert_eq!(wait(&options, 0), 5 * SECOND, "no time to live is none to respect");
        options.jitter = SECOND;
        let waits: Vec<Duration> = (0..50).map(|_| wait(&options, 30)).collect();
        assert!(waits.iter().all(|w| (30 * SECOND..31 * SECOND).contains(w)));
        assert!(waits.iter().any(|w| *w != waits[0]));
    }

    #[test]
    fn failures_back_off_with_jitter_up_to_the_maximum_and_a_success_forgets_them() {
        let (mut name, mut options, mut random) = (Name::new("a".into()), DnsOptions::default(), Random::new(1));
        assert_eq!(
            name.on_result(&failure(), &options, &mut random).next_in,
            options.refresh_rate
        );
        name.on_result(&answer(&["10.0.0.1"], 30), &options, &mut random);

        options.failure_refresh_rate = Some((SECOND, 8 * SECOND));
        for bound in [1, 2, 4, 8, 8, 8] {
            let wait = name.on_result(&failure(), &options, &mut random).next_in;
            assert!(wait >= MIN_DELAY && wait < bound * SECOND, "{wait:?} {bound}");
        }
        name.on_result(&answer(&["10.0.0.1"], 30), &options, &mut random);
        assert!(name.on_result(&failure(), &options, &mut random).next_in < SECOND);
    }
}
