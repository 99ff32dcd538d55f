//! How endpoints are chosen (`lb_policy`, `load_balancing_policy`, `common_lb_config`, `lb_subset_config`).

use std::sync::Arc;
use std::time::Duration;

use crate::endpoint::HealthStatus;
use crate::metadata::Struct;

/// The balancer.
#[derive(Debug, Clone, PartialEq)]
pub enum LbPolicy {
    /// Each in turn, by weight.
    RoundRobin {
        /// Less load for new endpoints.
        slow_start: Option<SlowStart>,
    },
    /// The one with the fewest requests out of a few chosen at random; by weight when weights differ.
    LeastRequest {
        /// How many are chosen. Envoy's default is 2.
        choice_count: u32,
        /// How strongly requests in flight lessen the weight of an endpoint. Envoy's default is 1.
        active_request_bias: f64,
        /// Less load for new endpoints.
        slow_start: Option<SlowStart>,
        /// Whether all are looked at.
        full_scan: bool,
    },
    /// At random, without regard to weights.
    Random,
    /// By a ring of hashes.
    RingHash {
        /// Entries at least. Envoy's default is 1024.
        minimum_ring_size: u64,
        /// Entries at most. Envoy's default is 8 Mi.
        maximum_ring_size: u64,
        /// The hash.
        hash_function: HashFunction,
        /// What consistent hashing has in common.
        consistent_hashing: ConsistentHashing,
    },
    /// By a Maglev table.
    Maglev {
        /// Entries: a prime. Envoy's default is 65537.
        table_size: u64,
        /// What consistent hashing has in common.
        consistent_hashing: ConsistentHashing,
    },
    /// The discovery itself (original destination).
    ClusterProvided,
}

impl Default for LbPolicy {
    fn default() -> Self {
        Self::RoundRobin { slow_start: None }
    }
}

/// Hash functions of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HashFunction {
    /// xxHash64.
    #[default]
    XxHash,
    /// MurmurHash2, as libstdc++ has it.
    MurmurHash2,
}

/// What ring and table have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConsistentHashing {
    /// Whether host names are hashed in place of addresses.
    pub use_hostname_for_hashing: bool,
    /// Percent of the average load that one endpoint takes at most. None without limit.
    pub hash_balance_factor: Option<u32>,
}

/// Less load for new endpoints.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlowStart {
    /// How long an endpoint is new.
    pub window: Duration,
    /// Exponent of the ramp; 1 is linear.
    pub aggression: f64,
    /// Percent of its weight that an endpoint has at the least. Envoy's default is 10.
    pub min_weight_percent: f64,
}

impl SlowStart {
    /// How often weights are raised while an endpoint is new: fifty times, but not more often than every tenth of a
    /// second.
    pub fn step(&self) -> Duration {
        (self.window / 50).max(Duration::from_millis(100))
    }
}

/// What all balancers have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct CommonLbConfig {
    /// Percent of healthy endpoints below which health is disregarded. Envoy's default is 50.
    pub healthy_panic_threshold: f64,
    /// How long changes of health, weight and metadata are gathered. Zero applies each at once.
    pub update_merge_window: Duration,
    /// Whether new endpoints are left out until their first health check.
    pub ignore_new_hosts_until_first_hc: bool,
    /// Whether connections to all endpoints are closed when the set of endpoints changes.
    pub close_connections_on_host_set_change: bool,
    /// How localities count.
    pub locality: LocalityConfig,
    /// What consistent hashing has in common.
    pub consistent_hashing: ConsistentHashing,
    /// Health statuses with which an endpoint chosen by a header is accepted. None: Envoy's default.
    pub override_host_status: Option<Vec<HealthStatus>>,
}

impl Default for CommonLbConfig {
    fn default() -> Self {
        Self {
            healthy_panic_threshold: 50.0,
            update_merge_window: Duration::from_secs(1),
            ignore_new_hosts_until_first_hc: false,
            close_connections_on_host_set_change: false,
            locality: LocalityConfig::None,
            consistent_hashing: ConsistentHashing::default(),
            override_host_status: None,
        }
    }
}

/// How localities count.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum LocalityConfig {
    /// Not at all.
    #[default]
    None,
    /// The proxy's own zone is preferred.
    ZoneAware {
        /// Percent of requests for which it is. Envoy's default is 100.
        routing_enabled: f64,
        /// Endpoints at least for it to be. Envoy's default is 6.
        min_cluster_size: u64,
        /// Whether requests fail when too few endpoints are healthy.
        fail_traffic_on_panic: bool,
        /// All requests stay in the own zone if it has this many healthy endpoints.
        force_local_zone: Option<u32>,
        /// What zones are compared by.
        basis: LocalityBasis,
    },
    /// By the localities' weights.
    LocalityWeighted,
}

/// What zones are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LocalityBasis {
    /// The number of healthy endpoints.
    #[default]
    HealthyHosts,
    /// Their weights.
    HealthyHostsWeight,
}

/// Choosing among the endpoints whose metadata fits the request's.
#[derive(Debug, Clone, PartialEq)]
pub struct Subset {
    /// What to choose from when no subset fits.
    pub fallback_policy: SubsetFallback,
    /// The metadata of the default subset.
    pub default_subset: Struct,
    /// By which keys there are subsets.
    pub selectors: Vec<SubsetSelector>,
    /// Whether locality weights count within a subset.
    pub locality_weight_aware: bool,
    /// Whether they are scaled by how much of a locality is in the subset.
    pub scale_locality_weight: bool,
    /// Whether all endpoints are chosen from when a subset has none that are healthy.
    pub panic_mode_any: bool,
    /// Whether an endpoint with a list belongs to the subsets of each of its elements.
    pub list_as_any: bool,
    /// Whether the variants in the route's `fallback_list` are tried one after the other
    /// (`metadata_fallback_policy: FALLBACK_LIST`).
    pub tries_fallback_list: bool,
}

/// What to choose from when no subset fits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SubsetFallback {
    /// Nothing.
    #[default]
    NoFallback,
    /// All endpoints.
    AnyEndpoint,
    /// The default subset.
    DefaultSubset,
    /// The subset by these keys alone.
    KeysSubset(Vec<Arc<str>>),
}

/// Keys that there are subsets by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubsetSelector {
    /// The keys, sorted.
    pub keys: Vec<Arc<str>>,
    /// What to choose from when none of its subsets fits; that of the whole when none.
    pub fallback_policy: Option<SubsetFallback>,
    /// Whether each subset has at most one endpoint.
    pub single_host_per_subset: bool,
}
