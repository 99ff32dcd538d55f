//! Routes of every kind, one listener for each table: what Envoy answers and what remora answers.

use std::collections::BTreeMap;

use e2e::proxy::Proxy;
use e2e::sections;
use testkit::http1::Client;

/// Statistics that tell of routes, by the beginning of their names.
const COUNTED: &[&str] = &[
    "vhost.",
    "cluster.stable.retry.",
    "cluster.two.retry.",
    "cluster.stable.upstream_internal_redirect",
    "cluster.dead.upstream_rq_",
    "http.redirected.downstream_rq_",
    "http.redirected.passthrough_internal_redirect",
    "http.redirected.rq_",
    "http.counted.downstream_rq_",
    "http.direct.rq_",
    "http.redirects.rq_",
    "http.byheader.no_cluster",
];

fn counted(proxy: &Proxy) -> BTreeMap<String, String> {
    let answer = Client::get(proxy.admin, "/stats?type=Counters").expect("the admin endpoint answers");
    String::from_utf8_lossy(&answer.body)
        .lines()
        .filter(|line| COUNTED.iter().any(|name| line.starts_with(name)))
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn a_route_table_means_what_it_means_to_envoy() {
    let [envoy, remora] = sections::compare("routing", include_str!("../src/routing.txt"));
    let [theirs, ours] = [counted(&envoy), counted(&remora)];
    assert!(theirs.len() > 60, "hardly anything was counted: {theirs:?}");
    assert_eq!(theirs, ours);
}
