//! Routes of every kind, one listener for each table: what Envoy answers and what remora answers.

use std::collections::BTreeMap;

use e2e::proxy::{Kind, Proxy};
use e2e::sections;
use testkit::http1::Client;
use testkit::{Directory, ports};

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

/// A route that answers with a body from somewhere, and a rule for answers made here with the same body.
fn with_body(listener: u16, body: &str, more: &str) -> String {
    let routes = format!(
        "              - {{match: {{prefix: /body}}, direct_response: {{status: 200, body: {{{body}}}}}}}\n              - \
         {{match: {{prefix: /none}}, route: {{cluster: none}}}}"
    );
    include_str!("../src/clusters.yaml")
        .replace("{listener}", &listener.to_string())
        .replace("{routes}", &routes)
        .replace(
            "{clusters}",
            "  - {name: none, type: STATIC, connect_timeout: 1s, load_assignment: {cluster_name: x}}",
        )
        .replace(
            "stat_prefix:",
            &format!(
                "local_reply_config: {{mappers: [{{filter: {{status_code_filter: {{comparison: {{op: EQ, value: \
                 {{default_value: 503, runtime_key: r}}}}}}}}, body: {{{body}}}}}]}}\n          stat_prefix:"
            ),
        )
        .replace("virtual_hosts:", &format!("{more}\n            virtual_hosts:"))
        .replace("{admin}", "0")
}

/// A body over the limit, or that cannot be read, is a fault of the configuration to both; one within it is served.
#[test]
fn bodies_from_files_are_read_with_the_configuration_and_bounded() {
    let directory = Directory::new("bodies");
    let whole = directory.write("whole", &"x".repeat(4096));
    let over = directory.write("over", &"x".repeat(4097));
    let file = |path: &std::path::Path| format!("filename: {}", path.display());
    let cases = [
        (file(&whole), "", true),
        (file(&over), "", false),
        (file(&over), "max_direct_response_body_size_bytes: 4097", true),
        (file(&whole), "max_direct_response_body_size_bytes: 4095", false),
        (file(&directory.path().join("missing")), "", false),
        ("environment_variable: REMORA_NO_SUCH_VARIABLE".to_owned(), "", false),
        ("environment_variable: PATH".to_owned(), "", true),
    ];
    for (body, more, is_good) in &cases {
        for kind in [Kind::Envoy, Kind::Remora] {
            let text = with_body(ports::free_port(), body, more);
            let path = directory.write("validated.yaml", &text);
            let output = std::process::Command::new(kind.binary())
                .args(["--mode", "validate", "-l", "error", "-c"])
                .arg(&path)
                .output()
                .expect("it runs");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.success(), *is_good, "{kind:?} {body} {more}: {said}");
        }
    }
    let served = [Kind::Envoy, Kind::Remora].map(|kind| {
        let listener = ports::free_port();
        let bootstrap = with_body(listener, &cases[0].0, "").replace("port_value: 0", "port_value: {admin}");
        let _proxy = Proxy::start(kind, &directory, kind.name(), &bootstrap);
        ["/body", "/none"].map(|path| {
            let answer = Client::get(listener, path).expect("an answer");
            (answer.status(), answer.body)
        })
    });
    assert_eq!(served[0], served[1]);
    assert_eq!(served[0][1], (503, vec![b'x'; 4096]));
}
