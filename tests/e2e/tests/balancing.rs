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

/// Requests for each cluster whose shares are compared, and by how much a share may differ: four standard deviations of
/// a coin thrown so often.
const SHARED: usize = 400;
const TOLERANCE: f64 = 0.1;

/// Clusters by name: their fields and localities; in a locality its fields and endpoints, by number of the backend with
/// what else is said of it.
type Shared = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static [(usize, &'static str)])],
);

const SHARES: &[Shared] = &[
    (
        "localities",
        "common_lb_config: {locality_weighted_lb_config: {}}",
        &[
            ("locality: {zone: a}, load_balancing_weight: 3", &[(0, ""), (1, "")]),
            ("locality: {zone: b}, load_balancing_weight: 1", &[(2, ""), (3, "")]),
        ],
    ),
    (
        "locality-half-gone",
        "common_lb_config: {locality_weighted_lb_config: {}, healthy_panic_threshold: {value: 0}}",
        &[
            (
                "locality: {zone: a}, load_balancing_weight: 1",
                &[(0, ""), (1, "health_status: UNHEALTHY")],
            ),
            ("locality: {zone: b}, load_balancing_weight: 1", &[(2, ""), (3, "")]),
        ],
    ),
    (
        "priorities",
        "",
        &[
            ("priority: 0", &[(0, ""), (1, "health_status: UNHEALTHY")]),
            ("priority: 1", &[(2, ""), (3, "")]),
        ],
    ),
    (
        "priorities-by-weight",
        "{policy: {weighted_priority_health: true}}",
        &[
            (
                "priority: 0",
                &[
                    (0, "load_balancing_weight: 1"),
                    (1, "load_balancing_weight: 9, health_status: UNHEALTHY"),
                ],
            ),
            ("priority: 1", &[(2, ""), (3, "")]),
        ],
    ),
    (
        "overprovisioned",
        "{policy: {overprovisioning_factor: 200}}",
        &[
            ("priority: 0", &[(0, ""), (1, "health_status: UNHEALTHY")]),
            ("priority: 1", &[(2, ""), (3, "")]),
        ],
    ),
    (
        "panic",
        "",
        &[(
            "priority: 0",
            &[
                (0, ""),
                (1, "health_status: UNHEALTHY"),
                (2, "health_status: UNHEALTHY"),
                (3, "health_status: TIMEOUT"),
            ],
        )],
    ),
    (
        "never-panics",
        "common_lb_config: {healthy_panic_threshold: {value: 0}}",
        &[(
            "priority: 0",
            &[
                (0, ""),
                (1, "health_status: UNHEALTHY"),
                (2, "health_status: UNHEALTHY"),
                (3, "health_status: DRAINING"),
            ],
        )],
    ),
    (
        "fails-in-panic",
        "common_lb_config: {zone_aware_lb_config: {fail_traffic_on_panic: true}}",
        &[(
            "priority: 0",
            &[
                (0, ""),
                (1, "health_status: UNHEALTHY"),
                (2, "health_status: UNHEALTHY"),
                (3, ""),
            ],
        )],
    ),
    (
        "degraded",
        "",
        &[(
            "priority: 0",
            &[
                (0, ""),
                (1, "health_status: DEGRADED"),
                (2, "health_status: DEGRADED"),
                (3, "health_status: UNHEALTHY"),
            ],
        )],
    ),
    (
        "zones",
        "common_lb_config: {zone_aware_lb_config: {min_cluster_size: {value: 1}}}",
        &[
            ("locality: {zone: a}", &[(0, "")]),
            ("locality: {zone: b}", &[(1, ""), (2, "")]),
        ],
    ),
    (
        "zones-of-a-small-cluster",
        "",
        &[
            ("locality: {zone: a}", &[(0, "")]),
            ("locality: {zone: b}", &[(1, ""), (2, "")]),
        ],
    ),
    (
        "by-weight",
        "lb_policy: LEAST_REQUEST",
        &[(
            "priority: 0",
            &[
                (0, "load_balancing_weight: 5"),
                (1, "load_balancing_weight: 3"),
                (2, "load_balancing_weight: 2"),
            ],
        )],
    ),
    (
        "by-chance",
        "lb_policy: RANDOM",
        &[("priority: 0", &[(0, "load_balancing_weight: 5"), (1, ""), (2, "")])],
    ),
];

fn shares_bootstrap(listener: u16, backends: &[Backend]) -> String {
    let address = |port: u16| format!("{{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}");
    let (mut clusters, mut routes) = (String::new(), String::new());
    for (name, fields, localities) in SHARES {
        let places: Vec<String> = localities
            .iter()
            .map(|(place, members)| {
                let members: Vec<String> = members
                    .iter()
                    .map(|(at, more)| format!("{{endpoint: {{address: {}}}, {more}}}", address(backends[*at].port())))
                    .collect();
                format!("{{{place}, lb_endpoints: [{}]}}", members.join(", "))
            })
            .collect();
        // What is said of the endpoints as a whole stands in braces.
        let (own, policy) = match fields.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) {
            Some(policy) => (String::new(), format!("{policy}, ")),
            None if fields.is_empty() => (String::new(), String::new()),
            None => (format!("{fields}, "), String::new()),
        };
        let _ = writeln!(
            clusters,
            "  - {{name: {name}, connect_timeout: 1s, {own}load_assignment: {{cluster_name: {name}, {policy}endpoints: [{}]}}}}",
            places.join(", ")
        );
        let _ = writeln!(
            routes,
            "              - {{match: {{prefix: /{name}/}}, route: {{cluster: {name}}}}}"
        );
    }
    // Who the proxy is among: as many in its zone as in the other.
    let _ = writeln!(
        clusters,
        "  - {{name: local, connect_timeout: 1s, load_assignment: {{cluster_name: local, endpoints: [\
         {{locality: {{zone: a}}, lb_endpoints: [{{endpoint: {{address: {}}}}}]}}, \
         {{locality: {{zone: b}}, lb_endpoints: [{{endpoint: {{address: {}}}}}]}}]}}}}",
        address(1),
        address(2)
    );
    let text = include_str!("../src/clusters.yaml")
        .replace("{listener}", &listener.to_string())
        .replace("{routes}", &routes)
        .replace("{clusters}", &clusters);
    format!(
        "node: {{id: node, cluster: local, locality: {{zone: a}}}}\ncluster_manager: {{local_cluster_name: local}}\n{text}"
    )
}

#[test]
fn load_is_shared_as_envoy_shares_it() {
    let directory = Directory::new("balancing-shares");
    let backends: Vec<Backend> = (0..4).map(|at| Backend::start(&format!("b{at}"))).collect();
    let found = [Kind::Envoy, Kind::Remora].map(|kind| {
        let listener = ports::free_port();
        let proxy = Proxy::start(kind, &directory, kind.name(), &shares_bootstrap(listener, &backends));
        let mut client = Client::connect(listener);
        let mut shares: BTreeMap<(&str, String), f64> = BTreeMap::new();
        let mut counted: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for (name, _, _) in SHARES {
            for _ in 0..SHARED {
                let answer = call(&mut client, &format!("/{name}/"), "");
                *shares.entry((name, answer.trim().to_owned())).or_default() += 1.0 / SHARED as f64;
            }
            for stat in [
                "lb_healthy_panic",
                "lb_zone_cluster_too_small",
                "lb_zone_routing_sampled",
                "lb_zone_routing_cross_zone",
                "lb_zone_routing_all_directly",
                "membership_healthy",
                "membership_degraded",
                "membership_excluded",
                "upstream_cx_none_healthy",
            ] {
                counted.insert((name, stat), proxy.stat(&format!("cluster.{name}.{stat}")));
            }
        }
        (shares, counted)
    });
    let [(envoy, envoy_counted), (remora, remora_counted)] = found;
    let mut faults = String::new();
    let keys: std::collections::BTreeSet<_> = envoy.keys().chain(remora.keys()).collect();
    for key in keys {
        let share = |of: &BTreeMap<_, f64>| of.get(key).copied().unwrap_or(0.0);
        if (share(&envoy) - share(&remora)).abs() > TOLERANCE {
            let _ = writeln!(
                faults,
                "{key:?}: envoy {:.2}, remora {:.2}",
                share(&envoy),
                share(&remora)
            );
        }
    }
    for (key, theirs) in &envoy_counted {
        let ours = remora_counted[key];
        if (*theirs as f64 - ours as f64).abs() > TOLERANCE * SHARED as f64 {
            let _ = writeln!(faults, "{key:?}: envoy {theirs}, remora {ours}");
        }
    }
    assert!(faults.is_empty(), "{faults}");
}
