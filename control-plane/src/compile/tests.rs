mod inbound;
mod routes;

use std::sync::Arc;

use xds_api::envoy::config::cluster::v3::Cluster;
use xds_api::envoy::config::core::v3::TransportSocket;
use xds_api::envoy::config::core::v3::address::Address;
use xds_api::envoy::config::core::v3::socket_address::PortSpecifier;
use xds_api::envoy::config::core::v3::transport_socket::ConfigType;
use xds_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
use xds_api::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use xds_api::envoy::config::listener::v3::Listener;
use xds_api::envoy::config::route::v3::route::Action;
use xds_api::envoy::config::route::v3::{Route, RouteAction, RouteConfiguration, VirtualHost};
use xds_api::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use xds_api::envoy::extensions::transport_sockets::tls::v3::{DownstreamTlsContext, UpstreamTlsContext};
use xds_api::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use xds_api::prost::Message;

use super::resource::{Resource, ResourceType, View};
use super::{Snapshot, names};
use crate::testing::{GREETER, Lenient, mesh, snapshot, snapshot_after, split, workload};
use crate::validate::Validator;

fn view(snapshot: &Snapshot, pod: &str) -> View {
    snapshot.sidecar_view(&workload(snapshot, pod)).0
}

fn decoded<M: Message + Default>(view: &View, kind: ResourceType, name: &str) -> M {
    let resource = view.of(kind).get(name).unwrap_or_else(|| panic!("no {kind} {name}"));
    M::decode(resource.body.value.as_slice()).unwrap()
}

fn names_of(view: &View, kind: ResourceType) -> Vec<String> {
    view.of(kind).iter().map(|resource| resource.name.to_string()).collect()
}

const V1: &str = "outbound|50051||greeter-v1.demo.svc.cluster.local";
const V2: &str = "outbound|50051||greeter-v2.demo.svc.cluster.local";

fn typed<M: Message + Default>(socket: &TransportSocket) -> M {
    let Some(ConfigType::TypedConfig(config)) = &socket.config_type else {
        panic!("{socket:?}");
    };
    M::decode(config.value.as_slice()).unwrap()
}

fn exact_sans(context: &UpstreamTlsContext) -> Vec<String> {
    let common = context.common_tls_context.as_ref().unwrap();
    let Some(ValidationContextType::CombinedValidationContext(validation)) = &common.validation_context_type else {
        panic!("{common:?}");
    };
    let sans = &validation
        .default_validation_context
        .as_ref()
        .unwrap()
        .match_typed_subject_alt_names;
    let exact = sans.iter().map(
        |san| match san.matcher.as_ref().unwrap().match_pattern.as_ref().unwrap() {
            MatchPattern::Exact(san) => san.clone(),
            other => panic!("{other:?}"),
        },
    );
    exact.collect()
}

fn addresses(assignment: &ClusterLoadAssignment) -> Vec<String> {
    let endpoints = assignment.endpoints.iter().flat_map(|locality| &locality.lb_endpoints);
    let addresses = endpoints.map(|endpoint| {
        let Some(HostIdentifier::Endpoint(endpoint)) = &endpoint.host_identifier else {
            panic!("{endpoint:?}");
        };
        match endpoint.address.as_ref().unwrap().address.as_ref().unwrap() {
            Address::SocketAddress(address) => match address.port_specifier {
                Some(PortSpecifier::PortValue(port)) => format!("{}:{port}", address.address),
                _ => panic!("{address:?}"),
            },
            other => panic!("{other:?}"),
        }
    });
    addresses.collect()
}

fn virtual_host(view: &View, name: &str) -> VirtualHost {
    let table: RouteConfiguration = decoded(view, ResourceType::Route, names::OUTBOUND_ROUTES);
    table
        .virtual_hosts
        .into_iter()
        .find(|host| host.name.starts_with(name))
        .unwrap()
}

fn action(route: &Route) -> &RouteAction {
    match route.action.as_ref().unwrap() {
        Action::Route(action) => action,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sidecar_gets_its_listeners_and_a_cluster_for_its_application() {
    let view = view(&snapshot(GREETER), "greeter-v2-a");
    assert_eq!(names_of(&view, ResourceType::Listener), ["inbound", "outbound"]);
    let inbound: Listener = decoded(&view, ResourceType::Listener, "inbound");
    let context: DownstreamTlsContext = typed(inbound.filter_chains[0].transport_socket.as_ref().unwrap());
    assert!(context.require_client_certificate.unwrap().value);
    assert!(inbound.filter_chains[0].filter_chain_match.is_none() && inbound.listener_filters.is_empty());
    let own: Cluster = decoded(&view, ResourceType::Cluster, "inbound|50051||");
    assert_eq!(addresses(&own.load_assignment.unwrap()), ["127.0.1.4:50051"]);
}

#[test]
fn a_workload_that_serves_nothing_has_no_inbound_listener() {
    assert_eq!(
        names_of(&view(&snapshot(GREETER), "frontend"), ResourceType::Listener),
        ["outbound"]
    );
}

#[test]
fn a_cluster_trusts_exactly_the_accounts_that_serve_it() {
    let view = view(&snapshot(GREETER), "frontend");
    let all: Cluster = decoded(
        &view,
        ResourceType::Cluster,
        "outbound|50051||greeter.demo.svc.cluster.local",
    );
    let context: UpstreamTlsContext = typed(all.transport_socket.as_ref().unwrap());
    let expected = [
        "spiffe://mesh.test/ns/demo/sa/greeter",
        "spiffe://mesh.test/ns/demo/sa/greeter-two",
    ];
    assert_eq!(exact_sans(&context), expected);
    assert_eq!(context.sni, "outbound_.50051_._.greeter.demo.svc.cluster.local");
    assert_eq!(context.common_tls_context.unwrap().alpn_protocols, ["h2"]);
    let second: Cluster = decoded(&view, ResourceType::Cluster, V2);
    assert_eq!(
        exact_sans(&typed(second.transport_socket.as_ref().unwrap())),
        expected[1..]
    );
}

#[test]
fn endpoints_lead_to_sidecars_and_to_applications_that_have_none() {
    let text = GREETER.replace(
        "labels: {app: greeter, version: v2}",
        "labels: {app: greeter, version: v2, sidecar.istio.io/inject: 'false'}",
    );
    let view = view(&snapshot(&text), "frontend");
    let all: ClusterLoadAssignment = decoded(
        &view,
        ResourceType::Endpoints,
        "outbound|50051||greeter.demo.svc.cluster.local",
    );
    assert_eq!(
        addresses(&all),
        ["127.0.1.2:15006", "127.0.1.3:15006", "127.0.1.4:50051"]
    );
    let marked: Vec<bool> = all.endpoints[0]
        .lb_endpoints
        .iter()
        .map(|endpoint| endpoint.metadata.is_some())
        .collect();
    assert_eq!(marked, [true, true, false]);
    let mixed: Cluster = decoded(
        &view,
        ResourceType::Cluster,
        "outbound|50051||greeter.demo.svc.cluster.local",
    );
    assert!(mixed.transport_socket.is_none());
    assert_eq!(mixed.transport_socket_matches.len(), 2);
    let bare: Cluster = decoded(&view, ResourceType::Cluster, V2);
    assert!(bare.transport_socket.is_none() && bare.transport_socket_matches.is_empty());
}

#[test]
fn a_cluster_without_endpoints_still_speaks_tls() {
    let text = GREETER.replace("version: v2}\n  ports", "version: v9}\n  ports");
    let cluster: Cluster = decoded(&view(&snapshot(&text), "frontend"), ResourceType::Cluster, V2);
    assert!(cluster.transport_socket.is_some());
}

#[test]
fn a_service_answers_to_all_its_names_with_and_without_port() {
    let domains = virtual_host(&view(&snapshot(GREETER), "frontend"), "greeter.").domains;
    for expected in [
        "greeter",
        "greeter:50051",
        "greeter.demo",
        "greeter.demo.svc:50051",
        "greeter.demo.svc.cluster.local",
        "greeter.demo.svc.cluster.local:50051",
    ] {
        assert!(
            domains.iter().any(|domain| domain == expected),
            "{expected} in {domains:?}"
        );
    }
}

#[test]
fn callers_of_other_namespaces_have_no_short_name() {
    let text = format!(
        "{GREETER}\n---\napiVersion: v1\nkind: Pod\nmetadata: {{name: far, namespace: demo2}}\nstatus: {{podIP: 127.0.1.9}}\n"
    );
    let snapshot = snapshot(&text);
    let far = snapshot.workload(&crate::model::Name::new("demo2", "far")).unwrap();
    let domains = virtual_host(&snapshot.sidecar_view(far).0, "greeter.").domains;
    assert!(!domains.contains(&"greeter".to_owned()));
    assert!(domains.contains(&"greeter.demo".to_owned()));
}

#[test]
fn of_several_ports_the_bare_name_means_80_and_each_is_named() {
    let text = "
apiVersion: v1
kind: Service
metadata: {name: a, namespace: demo}
spec: {clusterIP: 10.1.0.1, ports: [{name: grpc, port: 70}, {name: http, port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: frontend, namespace: demo}
status: {podIP: 127.0.1.1}
";
    let view = view(&snapshot(text), "frontend");
    let low = virtual_host(&view, "a.demo.svc.cluster.local:70").domains;
    let high = virtual_host(&view, "a.demo.svc.cluster.local:80").domains;
    assert!(low.contains(&"a:70".to_owned()) && !low.contains(&"a".to_owned()));
    assert!(
        high.contains(&"a".to_owned())
            && high.contains(&"10.1.0.1".to_owned())
            && high.contains(&"10.1.0.1:80".to_owned())
    );
}

#[test]
fn two_services_with_one_address_make_no_table_that_a_proxy_refuses() {
    let text = GREETER.replace(
        "spec:\n  selector: {app: greeter",
        "spec:\n  clusterIP: 10.1.0.1\n  selector: {app: greeter",
    );
    let table: RouteConfiguration = decoded(&view(&snapshot(&text), "frontend"), ResourceType::Route, "outbound");
    let mut domains: Vec<&String> = table.virtual_hosts.iter().flat_map(|host| &host.domains).collect();
    let all = domains.len();
    domains.sort();
    domains.dedup();
    assert_eq!(domains.len(), all);
}

#[test]
fn application_ports_are_told_apart_by_server_name() {
    let text = GREETER.replacen(
        "ports: [{name: grpc, port: 50051}]",
        "ports: [{name: grpc, port: 50051}, {name: http, port: 80, targetPort: 8080}]",
        1,
    );
    let listener: Listener = decoded(
        &view(&snapshot(&text), "greeter-v1-a"),
        ResourceType::Listener,
        "inbound",
    );
    let names: Vec<Vec<String>> = listener
        .filter_chains
        .iter()
        .map(|chain| chain.filter_chain_match.clone().unwrap().server_names)
        .collect();
    assert_eq!(names[0], ["outbound_.80_._.greeter.demo.svc.cluster.local"]);
    assert_eq!(names[1].len(), 2);
    assert_eq!(listener.listener_filters.len(), 1);
}

#[test]
fn what_a_policy_says_is_in_the_cluster() {
    let policy = "
---
apiVersion: policy.remora.dev/v1alpha1
kind: ServicePolicy
metadata: {name: p, namespace: demo}
spec:
  targetRefs: [{name: greeter-v1}]
  connectTimeout: 2s
  loadBalancing: {algorithm: Random}
  healthCheck: {grpc: {service: greeter.v1.Greeter}, interval: 3s}
  circuitBreaker: {maxRequests: 7}
  outlierDetection: {consecutive5xx: 0, consecutiveGatewayErrors: 3}
";
    let view = view(&snapshot(&format!("{GREETER}{policy}")), "frontend");
    let cluster: Cluster = decoded(&view, ResourceType::Cluster, V1);
    assert_eq!(cluster.connect_timeout.unwrap().seconds, 2);
    assert_eq!(
        cluster.circuit_breakers.unwrap().thresholds[0]
            .max_requests
            .unwrap()
            .value,
        7
    );
    assert_eq!(cluster.health_checks[0].interval.unwrap().seconds, 3);
    let outlier = cluster.outlier_detection.unwrap();
    assert_eq!(outlier.enforcing_consecutive_5xx.unwrap().value, 0);
    assert_eq!(outlier.consecutive_gateway_failure.unwrap().value, 3);
    let other: Cluster = decoded(&view, ResourceType::Cluster, V2);
    assert!(other.health_checks.is_empty() && other.circuit_breakers.is_none());
}

#[test]
fn a_grpc_client_gets_listeners_by_name_and_applications_without_tls() {
    let view = snapshot(GREETER).proxyless_view("demo");
    assert!(
        view.of(ResourceType::Listener)
            .get("greeter.demo.svc.cluster.local:50051")
            .is_some()
    );
    assert!(view.of(ResourceType::Listener).get("greeter.demo:50051").is_some());
    let cluster: Cluster = decoded(&view, ResourceType::Cluster, V1);
    assert!(cluster.transport_socket.is_none());
    let assignment: ClusterLoadAssignment = decoded(&view, ResourceType::Endpoints, V1);
    assert_eq!(addresses(&assignment), ["127.0.1.2:50051", "127.0.1.3:50051"]);
}

#[test]
fn a_namespace_sees_what_is_exported_to_it_and_what_its_routes_lead_to() {
    let text = format!("{GREETER}{}", split(1, 1)).replace(
        "metadata: {name: greeter-v2, namespace: demo}",
        "metadata: {name: greeter-v2, namespace: demo, annotations: {networking.istio.io/exportTo: x}}",
    );
    let view = view(&snapshot(&text), "frontend");
    let table: RouteConfiguration = decoded(&view, ResourceType::Route, "outbound");
    assert!(
        !table
            .virtual_hosts
            .iter()
            .any(|host| host.name.starts_with("greeter-v2"))
    );
    assert!(
        view.of(ResourceType::Cluster).get(V2).is_some(),
        "the route of greeter leads to it"
    );
}

#[test]
fn the_same_mesh_makes_the_same_bytes_and_an_edit_changes_only_what_it_is_about() {
    let text = format!("{GREETER}{}", split(90, 10));
    let before = snapshot(&text);
    let again = snapshot(&text);
    for kind in ResourceType::ALL {
        let versions = |snapshot: &Snapshot| -> Vec<_> {
            view(snapshot, "frontend")
                .of(kind)
                .iter()
                .map(|resource| (resource.name.clone(), resource.version))
                .collect()
        };
        assert_eq!(versions(&before), versions(&again));
    }
    let first = view(&before, "frontend");
    let edited = snapshot_after(&format!("{GREETER}{}", split(80, 20)), Some(&before));
    let second = view(&edited, "frontend");
    let changed = ResourceType::ALL.map(|kind| !first.of(kind).is_same(second.of(kind)));
    assert_eq!(changed, [false, false, false, true, false]);
}

/// Refuses what has this in its name.
struct Refuses(&'static str);

impl Validator for Refuses {
    fn validate(&self, resource: &Resource) -> Result<(), Vec<String>> {
        if resource.name.contains(self.0) {
            Err(vec!["no".to_owned()])
        } else {
            Ok(())
        }
    }
}

#[test]
fn a_resource_the_proxy_would_refuse_keeps_its_last_good_form_and_holds_nothing_else_up() {
    let good = snapshot(GREETER);
    let slower = GREETER.replacen("port: 50051}]", "port: 50051}, {name: http, port: 81}]", 1)
        + "
---
apiVersion: policy.remora.dev/v1alpha1
kind: ServicePolicy
metadata: {name: p, namespace: demo}
spec: {targetRefs: [{name: greeter-v1}, {name: greeter-v2}], connectTimeout: 9s}
";
    let edited = Snapshot::new(Arc::new(mesh(&slower)), Arc::new(Refuses("greeter-v1")), Some(&good));
    let timeout = |name: &str| -> i64 {
        let cluster: Cluster = decoded(&view(&edited, "frontend"), ResourceType::Cluster, name);
        cluster.connect_timeout.unwrap().seconds
    };
    assert_eq!((timeout(V1), timeout(V2)), (5, 9));
    let withheld: Vec<String> = edited.withheld().iter().map(ToString::to_string).collect();
    assert!(withheld.contains(&format!("CDS {V1}: no")), "{withheld:?}");
    let fresh = Snapshot::new(Arc::new(mesh(GREETER)), Arc::new(Refuses("greeter-v1")), None);
    assert!(view(&fresh, "frontend").of(ResourceType::Cluster).get(V1).is_none());
    assert!(
        Lenient
            .validate(view(&edited, "frontend").of(ResourceType::Cluster).get(V1).unwrap())
            .is_ok()
    );
}

#[test]
fn a_resource_of_a_nodes_own_that_the_proxy_would_refuse_is_left_out_and_named() {
    let snapshot = Snapshot::new(Arc::new(mesh(GREETER)), Arc::new(Refuses("inbound")), None);
    let (view, withheld) = snapshot.sidecar_view(&workload(&snapshot, "greeter-v2-a"));
    assert_eq!(names_of(&view, ResourceType::Listener), ["outbound"]);
    let named: Vec<String> = withheld.iter().map(ToString::to_string).collect();
    assert_eq!(named, ["LDS inbound: no", "CDS inbound|50051||: no"]);
}
