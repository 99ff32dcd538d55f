//! Balancers: the fields of a cluster and the `envoy.extensions.load_balancing_policies`.

use xds_api::envoy::config::cluster::v3::cluster as pb;
use xds_api::envoy::extensions::load_balancing_policies::{
    common::v3 as common, least_request::v3 as least_request, maglev::v3 as maglev, random::v3 as random,
    ring_hash::v3 as ring_hash, round_robin::v3 as round_robin, wrr_locality::v3 as wrr_locality,
};

use crate::support;

const NO_OVERRIDE_HOST: &str = "no filter chooses an endpoint past the balancer (stateful_session)";
const IN_THE_ROUTE: &str = "write hash_policy in the route";

support! {
    TABLES;

    message pb::SlowStartConfig as "envoy.config.cluster.v3.Cluster.SlowStartConfig" {
        slow_start_window: supported,
        aggression: supported,
        min_weight_percent: supported,
    }

    message pb::RoundRobinLbConfig as "envoy.config.cluster.v3.Cluster.RoundRobinLbConfig" {
        slow_start_config: supported,
    }

    message pb::LeastRequestLbConfig as "envoy.config.cluster.v3.Cluster.LeastRequestLbConfig" {
        choice_count: supported,
        active_request_bias: supported,
        slow_start_config: supported,
    }

    message pb::RingHashLbConfig as "envoy.config.cluster.v3.Cluster.RingHashLbConfig" {
        minimum_ring_size: supported,
        hash_function: supported,
        maximum_ring_size: supported,
    }

    message pb::MaglevLbConfig as "envoy.config.cluster.v3.Cluster.MaglevLbConfig" {
        table_size: supported,
    }

    message pb::CommonLbConfig as "envoy.config.cluster.v3.Cluster.CommonLbConfig" {
        healthy_panic_threshold: supported,
        update_merge_window: supported,
        ignore_new_hosts_until_first_hc: supported,
        close_connections_on_host_set_change: supported,
        consistent_hashing_lb_config: supported,
        override_host_status: without_effect(NO_OVERRIDE_HOST),
    }
    oneof locality_config_specifier: pb::common_lb_config::LocalityConfigSpecifier {
        ZoneAwareLbConfig => zone_aware_lb_config: supported,
        LocalityWeightedLbConfig => locality_weighted_lb_config: supported,
    }

    message pb::common_lb_config::ZoneAwareLbConfig as "envoy.config.cluster.v3.Cluster.CommonLbConfig.ZoneAwareLbConfig" {
        routing_enabled: supported,
        min_cluster_size: supported,
        fail_traffic_on_panic: supported,
    }

    message pb::common_lb_config::ConsistentHashingLbConfig
        as "envoy.config.cluster.v3.Cluster.CommonLbConfig.ConsistentHashingLbConfig" {
        use_hostname_for_hashing: supported,
        hash_balance_factor: supported,
    }

    message pb::LbSubsetConfig as "envoy.config.cluster.v3.Cluster.LbSubsetConfig" {
        fallback_policy: supported,
        default_subset: supported,
        subset_selectors: supported,
        locality_weight_aware: supported,
        scale_locality_weight: supported,
        panic_mode_any: supported,
        list_as_any: supported,
        metadata_fallback_policy: supported,
    }

    message pb::lb_subset_config::LbSubsetSelector as "envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetSelector" {
        keys: supported,
        single_host_per_subset: supported,
        fallback_policy: supported,
        fallback_keys_subset: supported,
    }

    message common::SlowStartConfig as "envoy.extensions.load_balancing_policies.common.v3.SlowStartConfig" {
        slow_start_window: supported,
        aggression: supported,
        min_weight_percent: supported,
    }

    message common::LocalityLbConfig as "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig" {}
    oneof locality_config_specifier: common::locality_lb_config::LocalityConfigSpecifier {
        ZoneAwareLbConfig => zone_aware_lb_config: supported,
        LocalityWeightedLbConfig => locality_weighted_lb_config: supported,
    }

    message common::locality_lb_config::ZoneAwareLbConfig
        as "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig" {
        routing_enabled: supported,
        min_cluster_size: supported,
        fail_traffic_on_panic: supported,
        force_locality_direct_routing: supported,
        force_local_zone: supported,
        locality_basis: supported,
    }

    message common::locality_lb_config::zone_aware_lb_config::ForceLocalZone
        as "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig.ForceLocalZone" {
        min_size: supported,
    }

    message common::ConsistentHashingLbConfig
        as "envoy.extensions.load_balancing_policies.common.v3.ConsistentHashingLbConfig" {
        use_hostname_for_hashing: supported,
        hash_balance_factor: supported,
        hash_policy: rejected(IN_THE_ROUTE),
    }

    message round_robin::RoundRobin as "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin" {
        slow_start_config: supported,
        locality_lb_config: supported,
    }

    message least_request::LeastRequest as "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest" {
        choice_count: supported,
        active_request_bias: supported,
        slow_start_config: supported,
        locality_lb_config: supported,
        enable_full_scan: supported,
        selection_method: supported,
    }

    message random::Random as "envoy.extensions.load_balancing_policies.random.v3.Random" {
        locality_lb_config: supported,
    }

    message ring_hash::RingHash as "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash" {
        hash_function: supported,
        minimum_ring_size: supported,
        maximum_ring_size: supported,
        use_hostname_for_hashing: supported,
        hash_balance_factor: supported,
        consistent_hashing_lb_config: supported,
        locality_weighted_lb_config: supported,
    }

    message maglev::Maglev as "envoy.extensions.load_balancing_policies.maglev.v3.Maglev" {
        table_size: supported,
        consistent_hashing_lb_config: supported,
        locality_weighted_lb_config: supported,
    }

    message wrr_locality::WrrLocality as "envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality" {
        endpoint_picking_policy: supported,
    }
}
