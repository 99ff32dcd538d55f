//! `load_balancing_policy`: balancers as extensions.

use xds_api::envoy::config::cluster::v3 as pb;
use xds_api::envoy::extensions::load_balancing_policies::{
    common::v3 as common, least_request::v3 as least_request, maglev::v3 as maglev, random::v3 as random,
    ring_hash::v3 as ring_hash, round_robin::v3 as round_robin, wrr_locality::v3 as wrr_locality,
};
use xds_api::google::protobuf::Any;

use super::{parse_bias, parse_choice_count, parse_consistent_hashing, parse_ring_sizes, parse_table_size};
use crate::cluster::{ConsistentHashing, HashFunction, LbPolicy, LocalityBasis, LocalityConfig, SlowStart};
use crate::context::Context;
use crate::extensions::message_name;
use crate::rejected::Reported;

const ROUND_ROBIN: &str = "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin";
const LEAST_REQUEST: &str = "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest";
const RANDOM: &str = "envoy.extensions.load_balancing_policies.random.v3.Random";
const RING_HASH: &str = "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash";
const MAGLEV: &str = "envoy.extensions.load_balancing_policies.maglev.v3.Maglev";
const WRR_LOCALITY: &str = "envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality";
const CLUSTER_PROVIDED: &str = "envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided";

const KNOWN: [&str; 7] = [
    ROUND_ROBIN,
    LEAST_REQUEST,
    RANDOM,
    RING_HASH,
    MAGLEV,
    WRR_LOCALITY,
    CLUSTER_PROVIDED,
];

/// A balancer and what it says of localities.
pub(super) struct Policy {
    pub(super) lb_policy: LbPolicy,
    pub(super) locality: Option<LocalityConfig>,
}

/// Parses the first policy of the list that is known; the others are for proxies that do not know it.
pub(super) fn parse(context: &mut Context<'_>, message: &pb::LoadBalancingPolicy) -> Result<Policy, Reported> {
    parse_list(context, message, false)
}

fn parse_list(
    context: &mut Context<'_>,
    message: &pb::LoadBalancingPolicy,
    within_localities: bool,
) -> Result<Policy, Reported> {
    let mut chosen = None;
    let mut names = Vec::new();
    let policies: Vec<()> = context.each("policies", &message.policies, |context, policy| {
        context.required(
            "typed_extension_config",
            policy.typed_extension_config.as_ref(),
            |context, config| {
                context.check(config);
                context.required("typed_config", config.typed_config.as_ref(), |context, any| {
                    let any = context.unwrap_any(any)?;
                    let name = message_name(&any.type_url);
                    names.push(name.to_owned());
                    if chosen.is_none() && KNOWN.contains(&name) {
                        chosen = Some(parse_policy(context, &any, within_localities)?);
                    }
                    Ok(())
                })
            },
        )
    })?;
    match chosen {
        Some(policy) => Ok(policy),
        None if policies.is_empty() => Err(context.reject_field("policies", "is required and must not be empty")),
        None => Err(context.reject_field(
            "policies",
            format!("has none that is supported, only {}", names.join(", ")),
        )),
    }
}

fn parse_policy(context: &mut Context<'_>, any: &Any, within_localities: bool) -> Result<Policy, Reported> {
    match message_name(&any.type_url) {
        ROUND_ROBIN => {
            let message: round_robin::RoundRobin = context.decode(&any.value)?;
            context.check(&message);
            let slow_start = parse_slow_start(context, message.slow_start_config.as_ref());
            let locality = parse_locality(context, message.locality_lb_config.as_ref());
            Ok(Policy {
                lb_policy: LbPolicy::RoundRobin {
                    slow_start: slow_start?,
                },
                locality: locality?,
            })
        }
        LEAST_REQUEST => parse_least_request(context, any),
        RANDOM => {
            let message: random::Random = context.decode(&any.value)?;
            context.check(&message);
            let locality = parse_locality(context, message.locality_lb_config.as_ref());
            Ok(Policy {
                lb_policy: LbPolicy::Random,
                locality: locality?,
            })
        }
        RING_HASH => parse_ring_hash(context, any),
        MAGLEV => {
            let message: maglev::Maglev = context.decode(&any.value)?;
            context.check(&message);
            let table_size = parse_table_size(context, message.table_size.as_ref());
            let hashing = message.consistent_hashing_lb_config.as_ref();
            let consistent_hashing = parse_hashing(context, hashing);
            let lb_policy = LbPolicy::Maglev {
                table_size: table_size?,
                consistent_hashing: consistent_hashing?.unwrap_or_default(),
            };
            let locality = message
                .locality_weighted_lb_config
                .map(|_| LocalityConfig::LocalityWeighted);
            Ok(Policy { lb_policy, locality })
        }
        WRR_LOCALITY if within_localities => Err(context.reject("may not be within another one of its kind")),
        WRR_LOCALITY => {
            let message: wrr_locality::WrrLocality = context.decode(&any.value)?;
            context.check(&message);
            let picking = message.endpoint_picking_policy.as_ref();
            let inner = context.required("endpoint_picking_policy", picking, |context, policy| {
                parse_list(context, policy, true)
            })?;
            Ok(Policy {
                lb_policy: inner.lb_policy,
                locality: Some(LocalityConfig::LocalityWeighted),
            })
        }
        // `CLUSTER_PROVIDED`: it has no fields.
        _ => Ok(Policy {
            lb_policy: LbPolicy::ClusterProvided,
            locality: None,
        }),
    }
}

fn parse_least_request(context: &mut Context<'_>, any: &Any) -> Result<Policy, Reported> {
    use least_request::least_request::SelectionMethod;
    let message: least_request::LeastRequest = context.decode(&any.value)?;
    context.check(&message);
    let choice_count = parse_choice_count(context, message.choice_count.as_ref());
    let active_request_bias = parse_bias(context, message.active_request_bias.as_ref());
    let slow_start = parse_slow_start(context, message.slow_start_config.as_ref());
    let locality = parse_locality(context, message.locality_lb_config.as_ref());
    let method: Result<SelectionMethod, _> = context.enumeration("selection_method", message.selection_method);
    let full_scan = message.enable_full_scan.is_some_and(|flag| flag.value) || method? == SelectionMethod::FullScan;
    let lb_policy = LbPolicy::LeastRequest {
        choice_count: choice_count?,
        active_request_bias: active_request_bias?,
        slow_start: slow_start?,
        full_scan,
    };
    Ok(Policy {
        lb_policy,
        locality: locality?,
    })
}

fn parse_ring_hash(context: &mut Context<'_>, any: &Any) -> Result<Policy, Reported> {
    use ring_hash::ring_hash::HashFunction as Function;
    let message: ring_hash::RingHash = context.decode(&any.value)?;
    context.check(&message);
    let sizes = parse_ring_sizes(
        context,
        message.minimum_ring_size.as_ref(),
        message.maximum_ring_size.as_ref(),
    );
    let function = context
        .enumeration("hash_function", message.hash_function)
        .map(|function| match function {
            Function::DefaultHash | Function::XxHash => HashFunction::XxHash,
            Function::MurmurHash2 => HashFunction::MurmurHash2,
        });
    let older = parse_consistent_hashing(
        context,
        message.use_hostname_for_hashing,
        message.hash_balance_factor.as_ref(),
    );
    let newer = parse_hashing(context, message.consistent_hashing_lb_config.as_ref());
    let (minimum_ring_size, maximum_ring_size) = sizes?;
    let older = older?;
    let lb_policy = LbPolicy::RingHash {
        minimum_ring_size,
        maximum_ring_size,
        hash_function: function?,
        consistent_hashing: newer?.unwrap_or(older),
    };
    let locality = message
        .locality_weighted_lb_config
        .map(|_| LocalityConfig::LocalityWeighted);
    Ok(Policy { lb_policy, locality })
}

fn parse_hashing(
    context: &mut Context<'_>,
    message: Option<&common::ConsistentHashingLbConfig>,
) -> Result<Option<ConsistentHashing>, Reported> {
    context.optional("consistent_hashing_lb_config", message, |context, hashing| {
        context.check(hashing);
        parse_consistent_hashing(
            context,
            hashing.use_hostname_for_hashing,
            hashing.hash_balance_factor.as_ref(),
        )
    })
}

fn parse_slow_start(
    context: &mut Context<'_>,
    message: Option<&common::SlowStartConfig>,
) -> Result<Option<SlowStart>, Reported> {
    let slow_start = context.optional("slow_start_config", message, |context, message| {
        context.check(message);
        SlowStart::parse_fields(
            context,
            message.slow_start_window.as_ref(),
            message.aggression.as_ref(),
            message.min_weight_percent.as_ref(),
        )
    })?;
    Ok(slow_start.flatten())
}

fn parse_locality(
    context: &mut Context<'_>,
    message: Option<&common::LocalityLbConfig>,
) -> Result<Option<LocalityConfig>, Reported> {
    use common::locality_lb_config::LocalityConfigSpecifier as Specifier;
    use common::locality_lb_config::zone_aware_lb_config::LocalityBasis as Basis;
    context.optional("locality_lb_config", message, |context, message| {
        context.check(message);
        match &message.locality_config_specifier {
            Some(Specifier::LocalityWeightedLbConfig(_)) => Ok(LocalityConfig::LocalityWeighted),
            Some(Specifier::ZoneAwareLbConfig(config)) => context.at("zone_aware_lb_config", |context| {
                context.check(config);
                let enabled = context.percent("routing_enabled", config.routing_enabled.as_ref(), 100.0)?;
                let basis = match context.enumeration("locality_basis", config.locality_basis)? {
                    Basis::HealthyHostsNum => LocalityBasis::HealthyHosts,
                    Basis::HealthyHostsWeight => LocalityBasis::HealthyHostsWeight,
                };
                // The older flag stands for the newer message with its default of one endpoint.
                let force = config.force_local_zone.as_ref().map(|force| {
                    context.at("force_local_zone", |context| context.check(force));
                    force.min_size.map_or(1, |size| size.value)
                });
                Ok(LocalityConfig::ZoneAware {
                    routing_enabled: enabled,
                    min_cluster_size: config.min_cluster_size.map_or(6, |size| size.value),
                    fail_traffic_on_panic: config.fail_traffic_on_panic,
                    force_local_zone: force.or(config.force_locality_direct_routing.then_some(1)),
                    basis,
                })
            }),
            None => Err(context.reject("has no zone_aware_lb_config or locality_weighted_lb_config")),
        }
    })
}
