//! How endpoints are chosen: the fields of the cluster. `load_balancing_policy` is in the sibling file.

use xds_api::envoy::config::cluster::v3 as pb;
use xds_api::envoy::config::cluster::v3::cluster;
use xds_api::envoy::config::core::v3 as core;
use xds_api::google::protobuf::{Duration as PbDuration, UInt32Value, UInt64Value};

use crate::cluster::{
    CommonLbConfig, ConsistentHashing, HashFunction, LbPolicy, LocalityBasis, LocalityConfig, SlowStart, Subset,
    SubsetFallback, SubsetSelector,
};
use crate::context::Context;
use crate::endpoint::HealthStatus;
use crate::metadata::parse_struct;
use crate::rejected::Reported;
use crate::shared_str::shared;

mod policy;

/// Envoy's largest ring, and its default for that.
const LARGEST_RING: u64 = 8 * 1024 * 1024;
/// Envoy's default for the smallest ring.
const SMALLEST_RING: u64 = 1024;
/// Envoy's default size of a Maglev table.
const MAGLEV_TABLE: u64 = 65537;
/// Envoy's largest Maglev table.
const LARGEST_MAGLEV_TABLE: u64 = 5_000_011;

pub(super) fn parse(context: &mut Context<'_>, message: &pb::Cluster) -> Result<(LbPolicy, CommonLbConfig), Reported> {
    use cluster::LbPolicy as Kind;
    let common = message.common_lb_config.as_ref();
    let common = context.optional("common_lb_config", common, |context, common| {
        let parsed = CommonLbConfig::parse(context, common)?;
        let strict_dns = cluster::ClusterDiscoveryType::Type(cluster::DiscoveryType::StrictDns.into());
        if parsed.consistent_hashing.use_hostname_for_hashing && message.cluster_discovery_type != Some(strict_dns) {
            let field = "consistent_hashing_lb_config.use_hostname_for_hashing";
            return Err(context.reject_field(field, "is for clusters of type STRICT_DNS alone, as in Envoy"));
        }
        Ok(parsed)
    });
    let kind = context.enumeration("lb_policy", message.lb_policy);
    if let Some(policy) = &message.load_balancing_policy {
        // It takes the place of lb_policy and its configuration.
        let policy = context.at("load_balancing_policy", |context| policy::parse(context, policy));
        let mut common = common?.unwrap_or_default();
        let policy = policy?;
        if let Some(locality) = policy.locality {
            common.locality = locality;
        }
        let policy = policy.lb_policy;
        check_fits(context, "load_balancing_policy", message, &policy)?;
        return Ok((policy, common));
    }
    let common = common?.unwrap_or_default();
    let config = message.lb_config.as_ref();
    let kind = kind?;
    note_other_config(context, kind, config);
    let policy = match kind {
        Kind::RoundRobin => parse_round_robin(context, config),
        Kind::LeastRequest => parse_least_request(context, config),
        Kind::Random => Ok(LbPolicy::Random),
        Kind::RingHash => parse_ring_hash(context, config, common.consistent_hashing),
        Kind::Maglev => parse_maglev(context, config, common.consistent_hashing),
        Kind::ClusterProvided => Ok(LbPolicy::ClusterProvided),
        Kind::LoadBalancingPolicyConfig => {
            let reason = "is LOAD_BALANCING_POLICY_CONFIG, yet there is no load_balancing_policy";
            Err(context.reject_field("lb_policy", reason))
        }
    }?;
    check_fits(context, "lb_policy", message, &policy)?;
    Ok((policy, common))
}

/// The configuration of another balancer than the chosen one changes nothing.
fn note_other_config(context: &mut Context<'_>, kind: cluster::LbPolicy, config: Option<&cluster::LbConfig>) {
    use cluster::LbConfig as Config;
    use cluster::LbPolicy as Kind;
    let (field, owner) = match config {
        None => return,
        Some(Config::RingHashLbConfig(_)) => ("ring_hash_lb_config", Kind::RingHash),
        Some(Config::MaglevLbConfig(_)) => ("maglev_lb_config", Kind::Maglev),
        Some(Config::OriginalDstLbConfig(_)) => ("original_dst_lb_config", Kind::ClusterProvided),
        Some(Config::LeastRequestLbConfig(_)) => ("least_request_lb_config", Kind::LeastRequest),
        Some(Config::RoundRobinLbConfig(_)) => ("round_robin_lb_config", Kind::RoundRobin),
    };
    if kind != owner {
        context.without_effect(field, "it is for another lb_policy");
    }
}

/// Original-destination clusters choose endpoints themselves, and only they do.
fn check_fits(
    context: &mut Context<'_>,
    field: &str,
    message: &pb::Cluster,
    policy: &LbPolicy,
) -> Result<(), Reported> {
    use cluster::{ClusterDiscoveryType, DiscoveryType};
    let original = i32::from(DiscoveryType::OriginalDst);
    let original = message.cluster_discovery_type == Some(ClusterDiscoveryType::Type(original));
    match (original, policy) {
        (true, LbPolicy::ClusterProvided) => Ok(()),
        (true, _) => Err(context.reject_field(field, "must be CLUSTER_PROVIDED for a cluster of type ORIGINAL_DST")),
        (false, LbPolicy::ClusterProvided) => Err(context.reject_field(
            field,
            "is CLUSTER_PROVIDED, which only a cluster of type ORIGINAL_DST can be",
        )),
        (false, _) => Ok(()),
    }
}

fn parse_round_robin(context: &mut Context<'_>, config: Option<&cluster::LbConfig>) -> Result<LbPolicy, Reported> {
    let Some(cluster::LbConfig::RoundRobinLbConfig(config)) = config else {
        return Ok(LbPolicy::default());
    };
    context.at("round_robin_lb_config", |context| {
        context.check(config);
        let slow_start = context.optional("slow_start_config", config.slow_start_config.as_ref(), SlowStart::parse)?;
        Ok(LbPolicy::RoundRobin {
            slow_start: slow_start.flatten(),
        })
    })
}

fn parse_least_request(context: &mut Context<'_>, config: Option<&cluster::LbConfig>) -> Result<LbPolicy, Reported> {
    let none = cluster::LeastRequestLbConfig::default();
    let config = match config {
        Some(cluster::LbConfig::LeastRequestLbConfig(config)) => config,
        _ => &none,
    };
    context.at("least_request_lb_config", |context| {
        context.check(config);
        let choice_count = parse_choice_count(context, config.choice_count.as_ref());
        let active_request_bias = parse_bias(context, config.active_request_bias.as_ref());
        let slow_start = context.optional("slow_start_config", config.slow_start_config.as_ref(), SlowStart::parse);
        Ok(LbPolicy::LeastRequest {
            choice_count: choice_count?,
            active_request_bias: active_request_bias?,
            slow_start: slow_start?.flatten(),
            full_scan: false,
        })
    })
}

fn parse_choice_count(context: &mut Context<'_>, count: Option<&UInt32Value>) -> Result<u32, Reported> {
    Ok(context.in_range("choice_count", count, 2..=u32::MAX)?.unwrap_or(2))
}

fn parse_bias(context: &mut Context<'_>, bias: Option<&core::RuntimeDouble>) -> Result<f64, Reported> {
    let bias = context.optional("active_request_bias", bias, |context, bias| {
        context.check(bias);
        match bias.default_value {
            value if value >= 0.0 => Ok(value),
            value => Err(context.reject_field("default_value", format!("is {value}, expected 0 or more"))),
        }
    })?;
    Ok(bias.unwrap_or(1.0))
}

fn parse_ring_hash(
    context: &mut Context<'_>,
    config: Option<&cluster::LbConfig>,
    consistent_hashing: ConsistentHashing,
) -> Result<LbPolicy, Reported> {
    use cluster::ring_hash_lb_config::HashFunction as Function;
    let none = cluster::RingHashLbConfig::default();
    let config = match config {
        Some(cluster::LbConfig::RingHashLbConfig(config)) => config,
        _ => &none,
    };
    context.at("ring_hash_lb_config", |context| {
        context.check(config);
        let sizes = parse_ring_sizes(
            context,
            config.minimum_ring_size.as_ref(),
            config.maximum_ring_size.as_ref(),
        );
        let hash_function = context
            .enumeration("hash_function", config.hash_function)
            .map(|function| match function {
                Function::XxHash => HashFunction::XxHash,
                Function::MurmurHash2 => HashFunction::MurmurHash2,
            });
        let (minimum_ring_size, maximum_ring_size) = sizes?;
        Ok(LbPolicy::RingHash {
            minimum_ring_size,
            maximum_ring_size,
            hash_function: hash_function?,
            consistent_hashing,
        })
    })
}

fn parse_ring_sizes(
    context: &mut Context<'_>,
    minimum: Option<&UInt64Value>,
    maximum: Option<&UInt64Value>,
) -> Result<(u64, u64), Reported> {
    let mut size = |field: &str, value: Option<&UInt64Value>, default| match value.map_or(default, |size| size.value) {
        size if size > LARGEST_RING => {
            Err(context.reject_field(field, format!("is {size}, expected at most {LARGEST_RING}")))
        }
        size => Ok(size),
    };
    let least = size("minimum_ring_size", minimum, SMALLEST_RING);
    let most = size("maximum_ring_size", maximum, LARGEST_RING);
    let (least, most) = (least?, most?);
    if least > most {
        let found = format!("is {least}, expected at most maximum_ring_size, {most}");
        return Err(context.reject_field("minimum_ring_size", found));
    }
    Ok((least, most))
}

fn parse_maglev(
    context: &mut Context<'_>,
    config: Option<&cluster::LbConfig>,
    consistent_hashing: ConsistentHashing,
) -> Result<LbPolicy, Reported> {
    let table_size = match config {
        Some(cluster::LbConfig::MaglevLbConfig(config)) => context.at("maglev_lb_config", |context| {
            context.check(config);
            parse_table_size(context, config.table_size.as_ref())
        })?,
        _ => MAGLEV_TABLE,
    };
    Ok(LbPolicy::Maglev {
        table_size,
        consistent_hashing,
    })
}

fn parse_table_size(context: &mut Context<'_>, size: Option<&UInt64Value>) -> Result<u64, Reported> {
    let size = size.map_or(MAGLEV_TABLE, |size| size.value);
    let is_prime = size > 1
        && (2..)
            .take_while(|factor| factor * factor <= size)
            .all(|factor| !size.is_multiple_of(factor));
    if size > LARGEST_MAGLEV_TABLE || !is_prime {
        let found = format!("is {size}, expected a prime of at most {LARGEST_MAGLEV_TABLE}");
        return Err(context.reject_field("table_size", found));
    }
    Ok(size)
}

impl SlowStart {
    /// Parses slow start; a window that is not set switches it off.
    fn parse(context: &mut Context<'_>, message: &cluster::SlowStartConfig) -> Result<Option<Self>, Reported> {
        context.check(message);
        Self::parse_fields(
            context,
            message.slow_start_window.as_ref(),
            message.aggression.as_ref(),
            message.min_weight_percent.as_ref(),
        )
    }

    fn parse_fields(
        context: &mut Context<'_>,
        window: Option<&PbDuration>,
        aggression: Option<&core::RuntimeDouble>,
        min_weight_percent: Option<&xds_api::envoy::r#type::v3::Percent>,
    ) -> Result<Option<Self>, Reported> {
        let window = context.timeout("slow_start_window", window, None);
        let aggression = context.optional("aggression", aggression, |context, aggression| {
            context.check(aggression);
            match aggression.default_value {
                value if value > 0.0 => Ok(value),
                value => Err(context.reject_field("default_value", format!("is {value}, expected more than 0"))),
            }
        });
        let min_weight_percent = context.percent("min_weight_percent", min_weight_percent, 10.0);
        let (aggression, min_weight_percent) = (aggression?.unwrap_or(1.0), min_weight_percent?);
        Ok(window?.map(|window| Self {
            window,
            aggression,
            min_weight_percent,
        }))
    }
}

impl CommonLbConfig {
    fn parse(context: &mut Context<'_>, message: &cluster::CommonLbConfig) -> Result<Self, Reported> {
        use cluster::common_lb_config::LocalityConfigSpecifier as Locality;
        context.check(message);
        let defaults = Self::default();
        let threshold = message.healthy_panic_threshold.as_ref();
        let threshold = context.percent("healthy_panic_threshold", threshold, defaults.healthy_panic_threshold);
        let window = context.duration("update_merge_window", message.update_merge_window.as_ref());
        let hashing = message.consistent_hashing_lb_config.as_ref();
        let hashing = context.optional("consistent_hashing_lb_config", hashing, |context, hashing| {
            context.check(hashing);
            parse_consistent_hashing(
                context,
                hashing.use_hostname_for_hashing,
                hashing.hash_balance_factor.as_ref(),
            )
        });
        let statuses = message.override_host_status.as_ref();
        let statuses = context.optional("override_host_status", statuses, |context, set| {
            context.each("statuses", &set.statuses, |context, status| {
                core::HealthStatus::try_from(*status)
                    .map(HealthStatus::from)
                    .map_err(|_| context.reject(format!("is {status}, which is no health status")))
            })
        });
        let locality = match &message.locality_config_specifier {
            None => Ok(LocalityConfig::None),
            Some(Locality::LocalityWeightedLbConfig(_)) => Ok(LocalityConfig::LocalityWeighted),
            Some(Locality::ZoneAwareLbConfig(config)) => context.at("zone_aware_lb_config", |context| {
                context.check(config);
                let enabled = context.percent("routing_enabled", config.routing_enabled.as_ref(), 100.0)?;
                Ok(LocalityConfig::ZoneAware {
                    routing_enabled: enabled,
                    min_cluster_size: config.min_cluster_size.map_or(6, |size| size.value),
                    fail_traffic_on_panic: config.fail_traffic_on_panic,
                    force_local_zone: None,
                    basis: LocalityBasis::default(),
                })
            }),
        };
        Ok(Self {
            healthy_panic_threshold: threshold?,
            update_merge_window: window?.unwrap_or(defaults.update_merge_window),
            ignore_new_hosts_until_first_hc: message.ignore_new_hosts_until_first_hc,
            close_connections_on_host_set_change: message.close_connections_on_host_set_change,
            locality: locality?,
            consistent_hashing: hashing?.unwrap_or_default(),
            override_host_status: statuses?,
        })
    }
}

fn parse_consistent_hashing(
    context: &mut Context<'_>,
    use_hostname_for_hashing: bool,
    factor: Option<&UInt32Value>,
) -> Result<ConsistentHashing, Reported> {
    let hash_balance_factor = context.in_range("hash_balance_factor", factor, 100..=u32::MAX)?;
    Ok(ConsistentHashing {
        use_hostname_for_hashing,
        hash_balance_factor,
    })
}

/// Parses subset balancing.
pub(super) fn parse_subset(context: &mut Context<'_>, message: &pb::Cluster) -> Result<Option<Subset>, Reported> {
    use cluster::lb_subset_config::{
        LbSubsetFallbackPolicy as Fallback, LbSubsetMetadataFallbackPolicy as MetadataFallback,
    };
    context
        .optional(
            "lb_subset_config",
            message.lb_subset_config.as_ref(),
            |context, subset| {
                context.check(subset);
                let fallback_policy = context
                    .enumeration("fallback_policy", subset.fallback_policy)
                    .map(|policy| match policy {
                        Fallback::NoFallback => SubsetFallback::NoFallback,
                        Fallback::AnyEndpoint => SubsetFallback::AnyEndpoint,
                        Fallback::DefaultSubset => SubsetFallback::DefaultSubset,
                    });
                let metadata_fallback = context
                    .enumeration::<MetadataFallback>("metadata_fallback_policy", subset.metadata_fallback_policy);
                let selectors = context.each("subset_selectors", &subset.subset_selectors, SubsetSelector::parse);
                let parsed = Subset {
                    fallback_policy: fallback_policy?,
                    default_subset: subset.default_subset.as_ref().map(parse_struct).unwrap_or_default(),
                    selectors: selectors?,
                    locality_weight_aware: subset.locality_weight_aware,
                    scale_locality_weight: subset.scale_locality_weight,
                    panic_mode_any: subset.panic_mode_any,
                    list_as_any: subset.list_as_any,
                    tries_fallback_list: metadata_fallback? == MetadataFallback::FallbackList,
                };
                // Envoy takes a configuration without selectors for none.
                Ok((!parsed.selectors.is_empty()).then_some(parsed))
            },
        )
        .map(Option::flatten)
}

impl SubsetSelector {
    fn parse(
        context: &mut Context<'_>,
        message: &cluster::lb_subset_config::LbSubsetSelector,
    ) -> Result<Self, Reported> {
        use cluster::lb_subset_config::lb_subset_selector::LbSubsetSelectorFallbackPolicy as Fallback;
        context.check(message);
        if message.keys.is_empty() {
            return Err(context.reject_field("keys", "is required and must not be empty"));
        }
        let mut keys: Vec<_> = message.keys.iter().map(|key| shared(key)).collect();
        keys.sort_unstable();
        keys.dedup();
        let fallback_policy = match context.enumeration("fallback_policy", message.fallback_policy)? {
            Fallback::NotDefined => None,
            Fallback::NoFallback => Some(SubsetFallback::NoFallback),
            Fallback::AnyEndpoint => Some(SubsetFallback::AnyEndpoint),
            Fallback::DefaultSubset => Some(SubsetFallback::DefaultSubset),
            Fallback::KeysSubset => {
                let subset: Vec<_> = message.fallback_keys_subset.iter().map(|key| shared(key)).collect();
                if subset.is_empty() || subset.len() >= keys.len() || !subset.iter().all(|key| keys.contains(key)) {
                    return Err(context.reject_field("fallback_keys_subset", "must be some, not all, of keys"));
                }
                Some(SubsetFallback::KeysSubset(subset))
            }
        };
        Ok(Self {
            keys,
            fallback_policy,
            single_host_per_subset: message.single_host_per_subset,
        })
    }
}
