use std::net::SocketAddr;

use super::*;
use crate::testing::{accept, refuse_each, without_effect};

fn assignment(text: &str) -> ClusterLoadAssignment {
    accept(ClusterLoadAssignment::parse, text)
}

const ADDRESS: &str = "address: {socket_address: {address: 127.0.0.1, port_value: 80}}";

#[test]
fn endpoints_have_their_locality_priority_weight_health_and_metadata() {
    let assignment = assignment(&format!(
        "cluster_name: s
policy: {{overprovisioning_factor: 100, drop_overloads: [{{category: d, drop_percentage: {{numerator: 5}}}}]}}
endpoints:
- locality: {{region: r, zone: z, sub_zone: s}}
  load_balancing_weight: 7
  lb_endpoints:
  - endpoint: {{{ADDRESS}, hostname: h, health_check_config: {{port_value: 81}}}}
    health_status: DRAINING
    load_balancing_weight: 3
    metadata: {{filter_metadata: {{envoy.lb: {{canary: true}}}}}}
- priority: 1
  lb_endpoints: [{{endpoint: {{address: {{pipe: {{path: /run/s}}}}}}}}]"
    ));
    assert_eq!((assignment.len(), assignment.overprovisioning_factor), (2, 100));
    assert_eq!(
        assignment.drop_overloads[0].drop_percentage,
        FractionalPercent {
            numerator: 5,
            denominator: 100
        }
    );
    let [first, second] = assignment.endpoints.as_slice() else {
        panic!("{assignment:?}")
    };
    let locality = Locality {
        region: "r".into(),
        zone: "z".into(),
        sub_zone: "s".into(),
    };
    assert_eq!(
        (&*first.locality, first.priority, first.load_balancing_weight),
        (&locality, 0, Some(7))
    );
    let endpoint = &first.endpoints[0];
    assert_eq!(
        endpoint.address(),
        Address::Socket(SocketAddr::from(([127, 0, 0, 1], 80)))
    );
    assert_eq!(
        (endpoint.details().hostname.as_deref(), endpoint.load_balancing_weight),
        (Some("h"), 3)
    );
    assert_eq!(endpoint.health_status, HealthStatus::Draining);
    assert_eq!(
        endpoint.metadata().value("envoy.lb", &["canary"]),
        Some(&crate::metadata::Value::Bool(true))
    );
    assert_eq!(
        endpoint.details().health_check_config.as_ref().unwrap().port_value,
        Some(81)
    );
    let endpoint = &second.endpoints[0];
    assert_eq!((second.priority, endpoint.load_balancing_weight), (1, 1));
    assert_eq!(endpoint.address().to_string(), "/run/s");
    assert!(*endpoint.details() == EndpointDetails::default());
}

#[test]
fn an_endpoint_is_small_and_shares_what_it_has_in_common_with_the_one_before() {
    assert!(size_of::<Endpoint>() <= 32, "{}", size_of::<Endpoint>());
    let endpoint = |workload: &str| {
        format!("{{endpoint: {{{ADDRESS}}}, metadata: {{filter_metadata: {{istio: {{workload: {workload}}}}}}}}}")
    };
    let assignment = assignment(&format!(
        "cluster_name: s\nendpoints: [{{lb_endpoints: [{}, {}, {}]}}]",
        endpoint("a"),
        endpoint("a"),
        endpoint("b")
    ));
    let [first, second, third] = assignment.endpoints[0].endpoints.as_slice() else {
        panic!("{assignment:?}")
    };
    assert!(std::ptr::eq(first.details(), second.details()));
    assert_ne!(second.details(), third.details());
}

#[test]
fn an_address_is_given_back_as_it_came() {
    let addresses = [
        Address::Socket(SocketAddr::from(([127, 0, 0, 1], 80))),
        Address::Socket(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 80))),
        Address::Name {
            host: "a".into(),
            port: 1,
        },
        Address::Pipe {
            path: "/run/s".into(),
            mode: 0,
        },
    ];
    for address in addresses {
        let mut endpoint = Endpoint::new(address.clone());
        assert_eq!(endpoint.address(), address);
        endpoint.set_address(address.clone());
        assert_eq!(endpoint.address(), address);
    }
}

#[test]
fn an_assignment_without_endpoints_is_accepted() {
    let assignment = assignment("cluster_name: s");
    assert!(assignment.is_empty());
    assert_eq!(assignment.overprovisioning_factor, 140);
}

#[test]
fn priorities_may_have_gaps() {
    let assignment = assignment("cluster_name: s\nendpoints: [{priority: 2}]");
    assert_eq!(assignment.endpoints[0].priority, 2);
}

#[test]
fn an_endpoint_may_be_named() {
    let assignment = assignment(&format!(
        "cluster_name: s\nnamed_endpoints: {{a: {{{ADDRESS}}}}}\nendpoints: [{{lb_endpoints: [{{endpoint_name: a}}]}}]"
    ));
    assert_eq!(assignment.endpoints[0].endpoints[0].address().port(), Some(80));
}

#[test]
fn what_is_refused_of_endpoints_is_named_with_its_path() {
    let endpoint = format!("endpoint: {{{ADDRESS}}}");
    let at = |rest: &str| format!("endpoints[0].lb_endpoints[0]{rest}");
    let cases = [
        ("endpoints: [{priority: 129}]".to_owned(), "endpoints[0].priority: is 129, expected at most 128".to_owned()),
        (
            "endpoints: [{load_balancing_weight: 4294967295}, {load_balancing_weight: 1}]".to_owned(),
            "endpoints: has weights of priority 0 that add up to more than 4294967295".to_owned(),
        ),
        ("endpoints: [{lb_endpoints: [{}]}]".to_owned(), at(".endpoint: is required")),
        ("endpoints: [{lb_endpoints: [{endpoint: {}}]}]".to_owned(), at(".endpoint.address: is required")),
        (
            "endpoints: [{lb_endpoints: [{endpoint_name: x}]}]".to_owned(),
            at(".endpoint_name: is \"x\", which named_endpoints has not"),
        ),
        (
            format!("endpoints: [{{lb_endpoints: [{{{endpoint}, load_balancing_weight: 0}}]}}]"),
            at(".load_balancing_weight: is 0, expected at least 1"),
        ),
        (
            "endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 1.2.3.4, port_value: 70000}}}}]}]"
                .to_owned(),
            at(".endpoint.address.socket_address.port_value: is 70000, expected a port up to 65535"),
        ),
        (
            "endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 1.2.3.4, port_value: 1, protocol: \
             UDP}}}}]}]"
                .to_owned(),
            at(".endpoint.address.socket_address.protocol: is UDP, only TCP is supported"),
        ),
        (
            "endpoints: [{leds_cluster_locality_config: {leds_collection_name: x}}]".to_owned(),
            "endpoints[0].leds_cluster_locality_config: is not supported: endpoints come with their cluster, not by LEDS"
                .to_owned(),
        ),
        (
            "policy: {overprovisioning_factor: 0}".to_owned(),
            "policy.overprovisioning_factor: is 0, expected at least 1".to_owned(),
        ),
        (
            "policy: {drop_overloads: [{category: c}]}".to_owned(),
            "policy.drop_overloads[0].drop_percentage: is required".to_owned(),
        ),
    ];
    let cases: Vec<_> = cases
        .iter()
        .map(|(added, fault)| (added.as_str(), fault.as_str()))
        .collect();
    refuse_each(ClusterLoadAssignment::parse, "cluster_name: s", &cases);
    refuse_each(
        ClusterLoadAssignment::parse,
        "",
        &[("{}", "cluster_name: is required and must not be empty")],
    );
}

#[test]
fn what_has_no_effect_in_endpoints_is_listed() {
    let text = format!(
        "cluster_name: s\nendpoints: [{{proximity: 1, lb_endpoints: [{{endpoint: {{{ADDRESS}, observability_name: o}}, \
         metadata: {{typed_filter_metadata: {{x: {{'@type': type.googleapis.com/google.protobuf.BoolValue, value: true}}}}}}}}]}}]"
    );
    assert_eq!(
        without_effect(ClusterLoadAssignment::parse, &text),
        [
            "endpoints[0].proximity",
            "endpoints[0].lb_endpoints[0].metadata.typed_filter_metadata",
            "endpoints[0].lb_endpoints[0].endpoint.observability_name",
        ]
    );
}
