use std::time::Duration;

use super::super::*;
use super::cluster;
use crate::testing::{refuse, without_effect};

fn policy(policies: &str) -> String {
    format!("name: c\nload_balancing_policy: {{policies: [{policies}]}}")
}

fn extension(name: &str, fields: &str) -> String {
    format!(
        "{{typed_extension_config: {{name: x, typed_config: {{'@type': \
         type.googleapis.com/envoy.extensions.load_balancing_policies.{name}{fields}}}}}}}"
    )
}

#[test]
fn a_balancer_may_be_an_extension() {
    let least = extension(
        "least_request.v3.LeastRequest",
        ", choice_count: 3, selection_method: FULL_SCAN",
    );
    let parsed = cluster(&policy(&least)).lb_policy.clone();
    let expected = LbPolicy::LeastRequest {
        choice_count: 3,
        active_request_bias: 1.0,
        slow_start: None,
        full_scan: true,
    };
    assert_eq!(parsed, expected);

    let inner = extension(
        "round_robin.v3.RoundRobin",
        ", slow_start_config: {slow_start_window: 10s}",
    );
    let localities = extension(
        "wrr_locality.v3.WrrLocality",
        &format!(", endpoint_picking_policy: {{policies: [{inner}]}}"),
    );
    let parsed = cluster(&policy(&localities));
    assert_eq!(parsed.common_lb_config.locality, LocalityConfig::LocalityWeighted);
    let slow_start = SlowStart {
        window: Duration::from_secs(10),
        aggression: 1.0,
        min_weight_percent: 10.0,
    };
    assert_eq!(
        parsed.lb_policy,
        LbPolicy::RoundRobin {
            slow_start: Some(slow_start)
        }
    );
}

#[test]
fn the_first_known_balancer_of_the_list_counts() {
    let unknown = extension("pick_first.v3.PickFirst", "");
    let random = extension("random.v3.Random", "");
    assert_eq!(
        cluster(&policy(&format!("{unknown}, {random}"))).lb_policy,
        LbPolicy::Random
    );
    assert_eq!(
        refuse(Cluster::parse, &policy(&unknown)),
        ["load_balancing_policy.policies: has none that is supported, only \
          envoy.extensions.load_balancing_policies.pick_first.v3.PickFirst"]
    );
    assert_eq!(
        cluster(&policy(&extension("maglev.v3.Maglev", ", table_size: 11"))).lb_policy,
        LbPolicy::Maglev {
            table_size: 11,
            consistent_hashing: ConsistentHashing::default()
        }
    );
}

#[test]
fn the_configuration_of_another_balancer_has_no_effect() {
    let text = "name: c\nlb_policy: ROUND_ROBIN\nleast_request_lb_config: {}";
    assert_eq!(without_effect(Cluster::parse, text), ["least_request_lb_config"]);
}

#[test]
fn zones_are_compared_as_the_extension_says() {
    let zones = "force_locality_direct_routing: true, min_cluster_size: 3, locality_basis: HEALTHY_HOSTS_WEIGHT";
    let random = extension(
        "random.v3.Random",
        &format!(", locality_lb_config: {{zone_aware_lb_config: {{{zones}}}}}"),
    );
    assert_eq!(
        cluster(&policy(&random)).common_lb_config.locality,
        LocalityConfig::ZoneAware {
            routing_enabled: 100.0,
            min_cluster_size: 3,
            fail_traffic_on_panic: false,
            force_local_zone: Some(1),
            basis: LocalityBasis::HealthyHostsWeight,
        }
    );
}
