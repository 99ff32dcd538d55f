//! Which connections a workload's sidecar takes, by its ports and the policies of the Services that lead to them.

use xds_api::envoy::config::listener::v3::{FilterChain, filter};
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;

use super::*;

/// The greeter with a second port, under the policies of `modes` (of `greeter`, and of `greeter-web` for the second port).
fn listener(modes: [&str; 2]) -> Listener {
    let web = "
---
apiVersion: v1
kind: Service
metadata: {name: greeter-web, namespace: demo}
spec:
  selector: {app: greeter}
  ports: [{name: http, port: 80, targetPort: 8080}]
";
    let policy = |name: &str, targets: &str, mode: &str| {
        let targets = targets
            .split(' ')
            .map(|target| format!("{{name: {target}}}"))
            .collect::<Vec<_>>();
        format!(
            "\n---\napiVersion: policy.remora.dev/v1alpha1\nkind: ServicePolicy\nmetadata: {{name: {name}, namespace: demo}}\n\
             spec: {{targetRefs: [{}], mtls: {{mode: {mode}}}}}\n",
            targets.join(", ")
        )
    };
    let policies = [
        policy("p", "greeter greeter-v1 greeter-v2", modes[0]),
        policy("web", "greeter-web", modes[1]),
    ];
    let text = format!("{GREETER}{web}{}{}", policies[0], policies[1]);
    decoded(
        &view(&snapshot(&text), "greeter-v1-a"),
        ResourceType::Listener,
        "inbound",
    )
}

/// A chain in a line: which connections, whether they are TLS, and where their requests go by which hosts.
fn line(chain: &FilterChain) -> String {
    let criteria = chain.filter_chain_match.clone().unwrap_or_default();
    let Some(filter::ConfigType::TypedConfig(config)) = &chain.filters[0].config_type else {
        panic!("{chain:?}");
    };
    let manager = HttpConnectionManager::decode(config.value.as_slice()).unwrap();
    let Some(RouteSpecifier::RouteConfig(table)) = manager.route_specifier else {
        panic!("{manager:?}");
    };
    let hosts = table.virtual_hosts.iter().map(|host| {
        let domains = match host.domains.len() {
            0..=2 => host.domains.join(" "),
            more => format!("{} and {} more", host.domains[0], more - 1),
        };
        format!("{domains} -> {}", host.name)
    });
    format!(
        "{} {} {:?} {}: {}",
        criteria.destination_port.map_or(0, |port| port.value),
        criteria.transport_protocol,
        criteria.server_names,
        if chain.transport_socket.is_some() {
            "TLS"
        } else {
            "cleartext"
        },
        hosts.collect::<Vec<_>>().join(", ")
    )
}

fn lines(listener: &Listener) -> Vec<String> {
    listener.filter_chains.iter().map(line).collect()
}

fn listener_filters(listener: &Listener) -> Vec<&str> {
    let names = listener.listener_filters.iter().map(|filter| filter.name.as_str());
    names.map(|name| name.rsplit('.').next().unwrap()).collect()
}

const WEB: &str = r#"["outbound_.80_._.greeter-web.demo.svc.cluster.local"]"#;
const GRPC: &str =
    r#"["outbound_.50051_._.greeter.demo.svc.cluster.local", "outbound_.50051_._.greeter-v1.demo.svc.cluster.local"]"#;

#[test]
fn permissive_ports_take_tls_and_cleartext_wherever_a_connection_was_going() {
    let listener = listener(["Permissive", "Permissive"]);
    assert_eq!(listener_filters(&listener), ["original_dst", "tls_inspector"]);
    assert_eq!(
        lines(&listener),
        [
            format!("15006 tls {WEB} TLS: * -> inbound|8080||"),
            format!("15006 tls {GRPC} TLS: * -> inbound|50051||"),
            "15006 raw_buffer [] cleartext: greeter-web:80 and 7 more -> inbound|8080||, greeter:50051 and 15 more -> \
             inbound|50051||"
                .to_owned(),
            "8080 tls [] TLS: * -> inbound|8080||".to_owned(),
            "8080 raw_buffer [] cleartext: * -> inbound|8080||".to_owned(),
            "50051 tls [] TLS: * -> inbound|50051||".to_owned(),
            "50051 raw_buffer [] cleartext: * -> inbound|50051||".to_owned(),
        ]
    );
}

#[test]
fn cleartext_reaches_no_port_that_asks_for_mutual_tls() {
    let listener = listener(["Strict", "Permissive"]);
    assert_eq!(
        lines(&listener),
        [
            format!("15006 tls {WEB} TLS: * -> inbound|8080||"),
            format!("15006 tls {GRPC} TLS: * -> inbound|50051||"),
            "15006 raw_buffer [] cleartext: * -> inbound|8080||".to_owned(),
            "8080 tls [] TLS: * -> inbound|8080||".to_owned(),
            "8080 raw_buffer [] cleartext: * -> inbound|8080||".to_owned(),
            "50051 tls [] TLS: * -> inbound|50051||".to_owned(),
        ]
    );
}

#[test]
fn without_tls_nobody_looks_for_it() {
    let listener = listener(["Disable", "Disable"]);
    assert_eq!(listener_filters(&listener), ["original_dst"]);
    assert_eq!(
        lines(&listener)[1..],
        [
            "8080  [] cleartext: * -> inbound|8080||",
            "50051  [] cleartext: * -> inbound|50051||",
        ]
    );
}
