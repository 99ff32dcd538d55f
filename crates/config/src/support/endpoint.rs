//! `envoy.config.endpoint.v3`.

use xds_api::envoy::config::endpoint::v3 as pb;

use crate::support;

support! {
    TABLES;

    message pb::ClusterLoadAssignment as "envoy.config.endpoint.v3.ClusterLoadAssignment" {
        cluster_name: supported,
        endpoints: supported,
        named_endpoints: supported,
        policy: supported,
    }

    message pb::cluster_load_assignment::Policy as "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy" {
        drop_overloads: supported,
        overprovisioning_factor: supported,
        endpoint_stale_after: supported,
        weighted_priority_health: supported,
    }

    message pb::cluster_load_assignment::policy::DropOverload
        as "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy.DropOverload" {
        category: supported,
        drop_percentage: supported,
    }

    message pb::LocalityLbEndpoints as "envoy.config.endpoint.v3.LocalityLbEndpoints" {
        locality: supported,
        metadata: supported,
        lb_endpoints: supported,
        load_balancing_weight: supported,
        priority: supported,
        proximity: without_effect("Envoy does not use it either"),
    }
    oneof lb_config: pb::locality_lb_endpoints::LbConfig {
        LoadBalancerEndpoints => load_balancer_endpoints: rejected("write lb_endpoints"),
        LedsClusterLocalityConfig => leds_cluster_locality_config: rejected("endpoints come with their cluster, not by LEDS"),
    }

    message pb::LbEndpoint as "envoy.config.endpoint.v3.LbEndpoint" {
        health_status: supported,
        metadata: supported,
        load_balancing_weight: supported,
    }
    oneof host_identifier: pb::lb_endpoint::HostIdentifier {
        Endpoint => endpoint: supported,
        EndpointName => endpoint_name: supported,
    }

    message pb::Endpoint as "envoy.config.endpoint.v3.Endpoint" {
        address: supported,
        health_check_config: supported,
        hostname: supported,
        additional_addresses: supported,
        observability_name: without_effect("endpoints are named by their address in statistics"),
    }

    message pb::endpoint::HealthCheckConfig as "envoy.config.endpoint.v3.Endpoint.HealthCheckConfig" {
        port_value: supported,
        hostname: supported,
        address: supported,
        disable_active_health_check: supported,
    }
}
