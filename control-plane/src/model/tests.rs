use std::net::IpAddr;

use super::{Mesh, Name, PortRef, Protocol, RuleTable, Service};
use crate::objects::route::PathMatch;
use crate::testing::{GREETER, mesh, split};

fn service<'a>(mesh: &'a Mesh, name: &str) -> &'a Service {
    &mesh.services[&Name::new("demo", name)]
}

fn notes(mesh: &Mesh) -> Vec<String> {
    mesh.notes.iter().map(ToString::to_string).collect()
}

fn endpoints(mesh: &Mesh, name: &str, port: u16) -> Vec<String> {
    let port = &service(mesh, name).ports[&port];
    port.endpoints
        .iter()
        .map(|endpoint| format!("{}:{}", endpoint.ip, endpoint.port))
        .collect()
}

/// A Service `a` with port 80 and what else is given.
fn with_service(rest: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: a, namespace: demo}}\nspec: {{ports: [{{name: http, port: \
         80}}]}}\n---\n{}",
        rest.trim_start()
    )
}

fn http_route(namespace: &str, name: &str, rules: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}, namespace: \
         {namespace}}}\nspec:\n  parentRefs: [{{group: '', kind: Service, name: a, namespace: demo}}]\n  rules: {rules}\n"
    )
}

#[test]
fn a_service_without_slices_has_the_ready_pods_its_selector_picks() {
    let text = GREETER.replacen(
        "status: {podIP: 127.0.1.3}",
        "status: {podIP: 127.0.1.3, conditions: [{type: Ready, status: 'False'}]}",
        1,
    );
    assert_eq!(
        endpoints(&mesh(&text), "greeter", 50051),
        ["127.0.1.2:50051", "127.0.1.4:50051"]
    );
}

#[test]
fn a_service_with_slices_has_their_endpoints_with_zone_and_pod() {
    let slice = "
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: s, namespace: demo, labels: {kubernetes.io/service-name: greeter}}
addressType: IPv4
ports: [{name: grpc, port: 9000}]
endpoints:
  - {addresses: [127.0.1.2], zone: z1}
  - {addresses: [10.0.0.9], zone: z2, conditions: {ready: true}}
  - {addresses: [10.0.0.10], conditions: {ready: false}}
  - {addresses: [10.0.0.11], conditions: {ready: false, serving: true, terminating: true}}
";
    let mesh = mesh(&format!("{GREETER}{slice}"));
    assert_eq!(
        endpoints(&mesh, "greeter", 50051),
        ["10.0.0.9:9000", "10.0.0.11:9000", "127.0.1.2:9000"]
    );
    let found = &service(&mesh, "greeter").ports[&50051].endpoints;
    assert_eq!(&*found[0].locality.zone, "z2");
    assert!(found[0].identity.is_none() && found[1].draining && !found[0].draining);
    assert_eq!(
        found[2].identity.as_ref().unwrap().pod,
        Name::new("demo", "greeter-v1-a")
    );
    assert!(
        mesh.workloads[&Name::new("demo", "greeter-v1-a")]
            .app_ports
            .contains_key(&9000)
    );
}

#[test]
fn a_named_target_port_is_looked_up_in_each_pod() {
    let text = "
apiVersion: v1
kind: Service
metadata: {name: a, namespace: demo}
spec: {selector: {app: a}, ports: [{name: http, port: 80, targetPort: web}]}
---
apiVersion: v1
kind: Pod
metadata: {name: one, namespace: demo, labels: {app: a}}
spec: {containers: [{name: c, ports: [{name: web, containerPort: 8080}]}]}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: two, namespace: demo, labels: {app: a}}
spec: {containers: [{name: c, ports: [{name: web, containerPort: 9090}]}]}
status: {podIP: 10.0.0.2}
";
    assert_eq!(endpoints(&mesh(text), "a", 80), ["10.0.0.1:8080", "10.0.0.2:9090"]);
}

#[test]
fn a_ports_protocol_comes_from_its_app_protocol_or_its_name() {
    for (port, expected) in [
        ("{port: 80}", Some(Protocol::Http1)),
        ("{port: 80, name: web}", Some(Protocol::Http1)),
        ("{port: 80, name: grpc}", Some(Protocol::Http2)),
        ("{port: 80, name: grpc-web-api}", Some(Protocol::Http2)),
        ("{port: 80, name: http2-x}", Some(Protocol::Http2)),
        (
            "{port: 80, name: x, appProtocol: kubernetes.io/h2c}",
            Some(Protocol::Http2),
        ),
        ("{port: 80, name: grpc, appProtocol: http}", Some(Protocol::Http1)),
        ("{port: 80, name: tcp-x}", None),
        ("{port: 80, protocol: UDP}", None),
        ("{port: 80, appProtocol: example.com/own}", None),
    ] {
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: a, namespace: demo}}\nspec: {{ports: [{port}]}}\n"
        );
        let mesh = mesh(&text);
        let found = service(&mesh, "a").ports.get(&80).map(|port| port.protocol);
        assert_eq!(found, expected, "{port}");
        assert_eq!(mesh.notes.is_empty(), expected.is_some(), "{port}");
    }
}

#[test]
fn a_workload_knows_its_account_and_the_ports_that_lead_to_it() {
    let mesh = mesh(GREETER);
    let workload = &mesh.workloads[&Name::new("demo", "greeter-v2-a")];
    assert_eq!(workload.identity.account(), Name::new("demo", "greeter-two"));
    assert_eq!(workload.identity.ip, "127.0.1.4".parse::<IpAddr>().unwrap());
    let leads: Vec<String> = workload.app_ports[&50051]
        .services
        .iter()
        .map(|lead| lead.service.to_string())
        .collect();
    assert_eq!(leads, ["demo/greeter", "demo/greeter-v2"]);
    assert!(mesh.workloads[&Name::new("demo", "frontend")].app_ports.is_empty());
}

#[test]
fn a_route_that_refers_to_nothing_is_a_note_with_a_line() {
    let mesh = mesh(
        &format!("{GREETER}{}", split(1, 1))
            .replace("name: greeter-v2, port: 50051, w", "name: greeter-v3, port: 50051, w"),
    );
    let notes = notes(&mesh);
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].contains("GRPCRoute demo/greeter: spec.rules[0].backendRefs[1]: there is no Service demo/greeter-v3"),
        "{notes:?}"
    );
    let table = service(&mesh, "greeter").ports[&50051].producer_rules.as_ref().unwrap();
    let targets: Vec<bool> = table[0]
        .rule
        .backends
        .iter()
        .map(|backend| backend.target.is_some())
        .collect();
    assert_eq!(targets, [true, false]);
}

#[test]
fn a_backend_in_another_namespace_needs_a_grant() {
    let route = http_route("demo", "r", "[{backendRefs: [{name: b, namespace: other, port: 80}]}]");
    let other = "
---
apiVersion: v1
kind: Service
metadata: {name: b, namespace: other}
spec: {ports: [{name: http, port: 80}]}
";
    let grant = |name: &str| {
        format!(
            "---\napiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {{name: g, namespace: \
             other}}\nspec:\n  from: [{{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: demo}}]\n  to: \
             [{{group: '', kind: Service{name}}}]\n"
        )
    };
    let target = |grant: &str| {
        let mesh = mesh(&with_service(&format!("{route}{other}{grant}")));
        let table = service(&mesh, "a").ports[&80].producer_rules.clone().unwrap();
        (table[0].rule.backends[0].target.clone(), notes(&mesh))
    };
    let (refused, notes) = target("");
    assert!(
        refused.is_none() && notes[0].contains("no ReferenceGrant in other"),
        "{notes:?}"
    );
    let expected = PortRef {
        service: Name::new("other", "b"),
        port: 80,
    };
    assert_eq!(target(&grant("")).0, Some(expected.clone()));
    assert_eq!(target(&grant(", name: b")).0, Some(expected));
    assert_eq!(target(&grant(", name: c")).0, None);
}

#[test]
fn a_route_of_another_namespace_holds_for_callers_there_alone() {
    let producer = http_route("demo", "p", "[{backendRefs: [{name: a, port: 80}]}]");
    let consumer = http_route(
        "client",
        "c",
        "[{filters: [{type: RequestRedirect, requestRedirect: {hostname: h}}]}]",
    );
    let mesh = mesh(&with_service(&format!("{producer}{consumer}")));
    let port = &service(&mesh, "a").ports[&80];
    assert!(port.rules_for("client").unwrap()[0].rule.redirect.is_some());
    assert!(port.rules_for("demo").unwrap()[0].rule.redirect.is_none());
    assert!(port.rules_for("elsewhere").unwrap()[0].rule.redirect.is_none());
}

#[test]
fn grpc_routes_are_followed_where_http_routes_are_attached_too() {
    let http = http_route("demo", "h", "[{}]");
    let grpc = http_route("demo", "g", "[{}]").replace("HTTPRoute", "GRPCRoute");
    let mesh = mesh(&with_service(&format!("{http}{grpc}")));
    let table = service(&mesh, "a").ports[&80].producer_rules.as_ref().unwrap();
    assert!(
        table
            .iter()
            .all(|entry| matches!(entry.condition.path, PathMatch::Grpc(_)))
    );
    assert!(notes(&mesh)[0].contains("HTTPRoute demo/h"), "{:?}", notes(&mesh));
}

#[test]
fn hostnames_and_missing_parents_are_notes() {
    let route = http_route("demo", "r", "[{}]").replace("  rules", "  hostnames: [a.example]\n  rules");
    assert!(notes(&mesh(&with_service(&route)))[0].contains("spec.hostnames: without effect"));
    let route = route.replace("name: a,", "name: b,");
    assert!(
        notes(&mesh(&with_service(&route)))
            .iter()
            .any(|note| note.contains("there is no Service demo/b"))
    );
}

#[test]
fn the_first_policy_of_a_service_is_in_force() {
    let policy = |name: &str, requests: u32| {
        format!(
            "---\napiVersion: policy.remora.dev/v1alpha1\nkind: ServicePolicy\nmetadata: {{name: {name}, namespace: \
             demo}}\nspec: {{targetRefs: [{{name: a}}], circuitBreaker: {{maxRequests: {requests}}}}}\n"
        )
    };
    let mesh = mesh(&with_service(&format!("{}{}", policy("q", 2), policy("p", 1))));
    assert_eq!(
        service(&mesh, "a").policy.circuit_breaker.unwrap().max_requests,
        Some(1)
    );
    assert!(
        notes(&mesh)[0].contains("ServicePolicy demo/q: spec.targetRefs[0]: without effect"),
        "{:?}",
        notes(&mesh)
    );
}

#[test]
fn a_strict_service_leaves_endpoints_without_a_sidecar_out() {
    let policy = "
---
apiVersion: policy.remora.dev/v1alpha1
kind: ServicePolicy
metadata: {name: p, namespace: demo}
spec: {targetRefs: [{name: greeter}], mtls: {mode: Strict}}
";
    let text = GREETER.replace(
        "labels: {app: greeter, version: v2}",
        "labels: {app: greeter, version: v2, sidecar.istio.io/inject: 'false'}",
    );
    assert_eq!(endpoints(&mesh(&text), "greeter", 50051).len(), 3);
    let mesh = mesh(&format!("{text}{policy}"));
    assert_eq!(
        endpoints(&mesh, "greeter", 50051),
        ["127.0.1.2:50051", "127.0.1.3:50051"]
    );
    assert!(
        notes(&mesh)[0].contains("1 endpoints have no sidecar"),
        "{:?}",
        notes(&mesh)
    );
}

#[test]
fn export_to_limits_who_sees_a_service() {
    for (annotation, sees) in [
        ("'*'", [true, true, true]),
        ("'.'", [true, false, false]),
        ("'., x'", [true, true, false]),
        ("'~'", [false, false, false]),
    ] {
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: a, namespace: demo, annotations: \
             {{networking.istio.io/exportTo: {annotation}}}}}\n"
        );
        let mesh = mesh(&text);
        let exported = &service(&mesh, "a").exported_to;
        assert_eq!(
            ["demo", "x", "y"].map(|namespace| exported.includes(namespace)),
            sees,
            "{annotation}"
        );
    }
}

fn order(rules: &[&str]) -> Vec<String> {
    let rules: Vec<String> = rules.iter().map(|rule| format!("{{matches: [{rule}]}}")).collect();
    let mesh = mesh(&with_service(&http_route(
        "demo",
        "r",
        &format!("[{}]", rules.join(", ")),
    )));
    names(service(&mesh, "a").ports[&80].producer_rules.as_ref().unwrap())
}

fn names(table: &RuleTable) -> Vec<String> {
    table.iter().map(|entry| entry.name.clone()).collect()
}

/// The rules' numbers, in the order in which they are tried.
fn ranks(rules: &[&str]) -> Vec<usize> {
    order(rules)
        .iter()
        .map(|name| name.split(' ').nth(3).unwrap().parse().unwrap())
        .collect()
}

#[test]
fn exact_paths_go_before_expressions_and_these_before_prefixes_the_longest_first() {
    let rules = [
        "{path: {value: /}}",
        "{path: {value: /a/b}}",
        "{path: {type: RegularExpression, value: '/a.*'}}",
        "{path: {type: Exact, value: /a}}",
        "{path: {value: /a}}",
    ];
    assert_eq!(ranks(&rules), [3, 2, 1, 4, 0]);
}

#[test]
fn of_equal_paths_a_method_goes_before_headers_and_these_before_query_parameters() {
    let rules = [
        "{}",
        "{queryParams: [{name: a, value: b}, {name: c, value: d}]}",
        "{headers: [{name: a, value: b}]}",
        "{headers: [{name: a, value: b}, {name: c, value: d}]}",
        "{method: GET}",
        "{method: GET, headers: [{name: a, value: b}]}",
    ];
    assert_eq!(ranks(&rules), [5, 4, 3, 2, 1, 0]);
}

#[test]
fn of_equal_matches_the_older_route_goes_first_then_the_first_by_name_then_as_written() {
    let dated = |name: &str, date: &str| {
        http_route("demo", name, "[{}]").replace(
            "namespace: demo}\nspec",
            &format!("namespace: demo, creationTimestamp: '{date}'}}\nspec"),
        )
    };
    let text = [
        http_route("demo", "b", "[{}, {}]"),
        http_route("demo", "a", "[{}]"),
        dated("yy", "2024-05-01T00:00:00Z"),
        dated("zz", "2023-05-01T00:00:00Z"),
    ];
    let mesh = mesh(&with_service(&text.concat()));
    let table = service(&mesh, "a").ports[&80].producer_rules.as_ref().unwrap();
    let expected = [
        "HTTPRoute demo/zz rule 0 match 0",
        "HTTPRoute demo/yy rule 0 match 0",
        "HTTPRoute demo/a rule 0 match 0",
        "HTTPRoute demo/b rule 0 match 0",
        "HTTPRoute demo/b rule 1 match 0",
    ];
    assert_eq!(names(table), expected);
}

#[test]
fn grpc_matches_go_by_service_then_method_then_headers() {
    let rules = "[{}, {matches: [{method: {method: M}}]}, {matches: [{method: {service: pkg.S}}]}, {matches: [{method: \
                 {service: pkg.S, method: M}}]}, {matches: [{method: {service: pkg.S, method: M}, headers: [{name: a, \
                 value: b}]}]}, {matches: [{method: {type: RegularExpression, service: 'pkg.S'}}]}]";
    let route = http_route("demo", "g", rules).replace("HTTPRoute", "GRPCRoute");
    let mesh = mesh(&with_service(&route));
    let table = service(&mesh, "a").ports[&80].producer_rules.as_ref().unwrap();
    let ranks: Vec<&str> = table
        .iter()
        .map(|entry| entry.name.split(' ').nth(3).unwrap())
        .collect();
    assert_eq!(ranks, ["4", "3", "2", "5", "1", "0"]);
}
