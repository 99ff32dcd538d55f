//! Load balancing and clusters beside Envoy's: the same backends, the same bootstrap, the same requests.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use e2e::proxy::{Kind, Proxy};
use testkit::backend::Backend;
use testkit::http1::Client;
use testkit::{Directory, ports};

const KEYS: usize = 60;

/// Clusters by name: what is written below `name` and `connect_timeout`, with `{endpoints}` for all backends.
const CLUSTERS: &[(&str, &str)] = &[
    ("ring", "lb_policy: RING_HASH"),
    (
        "ring-extension",
        "load_balancing_policy: {policies: [{typed_extension_config: {name: r, typed_config: {'@type': \
         type.googleapis.com/envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash, minimum_ring_size: 50}}}]}",
    ),
    ("maglev", "lb_policy: MAGLEV, maglev_lb_config: {table_size: 1009}"),
    (
        "maglev-extension",
        "load_balancing_policy: {policies: [{typed_extension_config: {name: m, typed_config: {'@type': \
         type.googleapis.com/envoy.extensions.load_balancing_policies.maglev.v3.Maglev}}}]}",
    ),
    ("in-turn", "lb_policy: ROUND_ROBIN"),
    (
        "original",
        "type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, original_dst_lb_config: {use_http_header: true}",
    ),
    (
        "bound",
        "upstream_bind_config: {source_address: {address: 127.0.0.6, port_value: 0}}",
    ),
];

fn bootstrap(listener: u16, backends: &[Backend]) -> String {
    let (mut clusters, mut routes) = (String::new(), String::new());
    for (name, fields) in CLUSTERS {
        let endpoints: Vec<String> = backends
            .iter()
            .enumerate()
            .map(|(at, backend)| {
                format!(
                    "{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}}}, \
                     load_balancing_weight: {}}}",
                    backend.port(),
                    at + 1
                )
            })
            .collect();
        let members = if *name == "original" {
            String::new()
        } else {
            let endpoints = endpoints.join(", ");
            format!(", load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: [{endpoints}]}}]}}")
        };
        let _ = writeln!(clusters, "  - {{name: {name}, connect_timeout: 1s, {fields}{members}}}");
        let _ = writeln!(
            routes,
            "              - {{match: {{prefix: /{name}/}}, route: {{cluster: {name}, hash_policy: [{{header: \
             {{header_name: x-key}}}}]}}}}"
        );
    }
    format!(
        "admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {{admin}}}}}}}}
static_resources:
  listeners:
  - name: l
    address: {{socket_address: {{address: 127.0.0.1, port_value: {listener}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: h
          route_config:
            virtual_hosts:
            - name: all
              domains: ['*']
              routes:
{routes}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
{clusters}"
    )
}

/// A proxy and the port of its listener.
fn start(kind: Kind, directory: &Directory, backends: &[Backend]) -> (Proxy, u16) {
    let listener = ports::free_port();
    let bootstrap = bootstrap(listener, backends);
    (Proxy::start(kind, directory, kind.name(), &bootstrap), listener)
}

/// What answered a request: status and body.
fn call(client: &mut Client, path: &str, fields: &str) -> String {
    assert!(client.send(format!("GET {path} HTTP/1.1\r\nhost: h\r\n{fields}\r\n").as_bytes()));
    let answer = client.response("GET").expect("an answer");
    format!("{} {}", answer.status(), String::from_utf8_lossy(&answer.body))
}

#[test]
fn the_same_keys_go_to_the_same_endpoints() {
    let directory = Directory::new("balancing");
    let backends: Vec<Backend> = (0..4).map(|at| Backend::start(&format!("b{at}"))).collect();
    let sides = [
        start(Kind::Envoy, &directory, &backends),
        start(Kind::Remora, &directory, &backends),
    ];
    let found = sides.each_ref().map(|(_, port)| {
        let mut client = Client::connect(*port);
        let mut found = BTreeMap::new();
        for name in ["ring", "ring-extension", "maglev", "maglev-extension"] {
            for key in 0..KEYS {
                let answer = call(&mut client, &format!("/{name}/"), &format!("x-key: key {key}\r\n"));
                found.insert(format!("{name} {key}"), answer);
            }
        }
        // Which endpoint comes first is chance; how often each one's turn comes is not.
        let mut turns: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..40 {
            *turns.entry(call(&mut client, "/in-turn/", "")).or_default() += 1;
        }
        found.insert("in turn".to_owned(), format!("{turns:?}"));
        for (at, backend) in backends.iter().enumerate() {
            let to = format!("x-envoy-original-dst-host: 127.0.0.1:{}\r\n", backend.port());
            found.insert(format!("original {at}"), call(&mut client, "/original/", &to));
        }
        found.insert("original nowhere".to_owned(), call(&mut client, "/original/", ""));
        found.insert(
            "original nonsense".to_owned(),
            call(&mut client, "/original/", "x-envoy-original-dst-host: b1\r\n"),
        );
        found.insert("bound".to_owned(), call(&mut client, "/bound/", "").len().to_string());
        found
    });
    let [envoy, remora] = &found;
    for (name, theirs) in envoy {
        assert_eq!(remora.get(name), Some(theirs), "{name}");
    }
    let endpoints: std::collections::BTreeSet<&String> = envoy.values().collect();
    assert!(endpoints.len() >= 4, "all backends were used: {endpoints:?}");
}
