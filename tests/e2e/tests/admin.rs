//! The admin endpoint, path by path and parameter by parameter, under remora and under Envoy: status, content type and
//! what is in the answer.

use std::collections::BTreeMap;
use std::path::Path;

use e2e::differential::{Known, compare};
use e2e::proxy::{Kind, Proxy};
use serde_json::Value;
use testkit::certificates::{Authority, Identity};
use testkit::http1::{Client, Message};
use testkit::{Directory, ports};

/// What is asked, in this order: the last ones change something.
const REQUESTS: &[&str] = &[
    "GET /certs",
    "GET /clusters",
    "GET /clusters?filter=one",
    "GET /clusters?filter=(",
    "GET /clusters?format=json",
    "POST /clusters?format=json",
    "GET /config_dump",
    "GET /config_dump?include_eds",
    "GET /config_dump?mask=bootstrap.node.id",
    "GET /config_dump?mask=nope",
    "GET /config_dump?mask=static_clusters.cluster.name",
    "GET /config_dump?name_regex=(",
    "GET /config_dump?name_regex=one",
    "GET /config_dump?resource=bootstrap",
    "GET /config_dump?resource=dynamic_active_clusters",
    "GET /config_dump?resource=nope",
    "GET /config_dump?resource=static_clusters",
    "GET /config_dump?resource=static_clusters&mask=cluster.name",
    "GET /config_dump?resource=static_clusters&mask=nope",
    "GET /config_dump?resource=static_clusters&name_regex=two",
    "GET /config_dump?resource=static_endpoint_configs",
    "GET /config_dump?resource=static_listeners&mask=listener.name",
    "GET /config_dump?resource=static_route_configs",
    "GET /config_dump?resource=static_secrets",
    "GET /config_dump?resource=version_info",
    "GET /help",
    "GET /hot_restart_version",
    "GET /init_dump",
    "GET /init_dump?mask=listener",
    "GET /listeners",
    "GET /listeners?format=json",
    "GET /memory",
    "GET //ready",
    "GET /nothing-there",
    "GET /ready",
    "GET /ready/",
    "HEAD /ready",
    "PUT /ready",
    "GET /runtime",
    "GET /server_info",
    "GET /stats?filter=(",
    "GET /stats?filter=cluster.one.upstream_cx_(total|active)$&format=json",
    "GET /stats?filter=cluster.one.upstream_cx_total",
    "GET /stats?filter=^server.live$&format=prometheus",
    "GET /stats?format=json&type=Histograms&filter=cluster.one",
    "GET /stats?format=nope",
    "GET /stats?histogram_buckets=nope",
    "GET /stats?type=Gauges&filter=server.state",
    "GET /stats?type=counters",
    "GET /stats?type=nope",
    "GET /stats/prometheus?histogram_buckets=disjoint",
    "GET /stats/prometheus?usedonly&filter=server.live",
    "GET /drain_listeners",
    "GET /healthcheck/fail",
    "GET /logging",
    "GET /quitquitquit",
    "GET /reopen_logs",
    "GET /reset_counters",
    "POST /logging",
    "POST /logging?admin=debug",
    "POST /logging?group=a:debug",
    "POST /logging?level=",
    "POST /logging?level=info",
    "POST /logging?level=info&admin=debug",
    "POST /logging?level=nope",
    "POST /logging?nope=info",
    "POST /logging?paths=",
    "POST /logging?paths=admin",
    "POST /logging?paths=admin:debug,nope:info",
    "POST /logging?paths=admin:debug,upstream:error",
    "POST /logging?level=warning",
    "POST /drain_listeners?skip_exit",
    "POST /healthcheck/fail",
    "GET /ready?",
    "GET /server_info?",
    "POST /healthcheck/ok",
    "GET /ready??",
    "POST /reopen_logs",
    "POST /reset_counters",
    "POST /drain_listeners?inboundonly",
    "POST /drain_listeners",
    "GET /server_info??",
    "POST /quitquitquit",
];

/// Of these only status and content type count.
const ANY_BODY: &[(&str, &str)] = &[
    ("GET /help", "in words of our own, and some paths only one of them has"),
    ("GET /nothing-there", "as /help"),
    ("GET /ready/", "as /help"),
    ("GET /memory", "numbers"),
    (
        "GET /config_dump?name_regex=(",
        "what the two libraries say of a regular expression",
    ),
    (
        "GET /stats?filter=(",
        "what the two libraries say of a regular expression",
    ),
    ("GET /stats?format=nope", "the formats there are"),
    ("GET /stats?histogram_buckets=nope", "the forms there are"),
    (
        "GET /config_dump?resource=static_clusters&mask=nope",
        "Envoy writes a debugging form of the mask",
    ),
];

const KNOWN: &[Known] = &[Known {
    names: &["GET /config_dump?include_eds"],
    reason: "static endpoints are shown as configured: DRAINING and not UNHEALTHY",
}];

/// Fields that say who answers, when, or how it was started.
const OWN: &[&str] = &[
    "config_path",
    "extensions",
    "file_flush_min_size",
    "last_updated",
    "rq_pending_active",
    "socket_path",
    "uptime_all_epochs",
    "uptime_current_epoch",
    "user_agent_build_version",
    "user_agent_name",
    "version",
];

fn bootstrap(authority: &Path, certificate: &Path, key: &Path, listeners: [u16; 2]) -> String {
    include_str!("../src/admin.yaml")
        .replace("{authority}", &authority.display().to_string())
        .replace("{certificate}", &certificate.display().to_string())
        .replace("{key}", &key.display().to_string())
        .replace("{inbound}", &listeners[0].to_string())
        .replace("{outbound}", &listeners[1].to_string())
}

/// Everything in a fixed order, without what is a proxy's own.
fn normal(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(name, _)| !OWN.contains(&name.as_str()))
            .map(|(name, value)| (name, normal(value)))
            .collect(),
        Value::Array(values) => {
            let mut values: Vec<Value> = values.into_iter().map(normal).collect();
            // A metric of which nothing is left but its type.
            values.retain(|value| value["name"] != "rq_pending_active");
            values.sort_by_key(Value::to_string);
            values.into()
        }
        value => value,
    }
}

fn shown(request: &str, answer: &Message, ports: &[(u16, &str)]) -> String {
    let head = format!(
        "{} {:?} {:?} {:?}",
        answer.status(),
        answer.field("content-type"),
        answer.field("cache-control"),
        answer.field("x-content-type-options"),
    );
    if ANY_BODY.iter().any(|(other, _)| *other == request) {
        return head;
    }
    let mut body = String::from_utf8_lossy(&answer.body).into_owned();
    for (port, name) in ports {
        body = body.replace(&port.to_string(), name);
    }
    let body = match serde_json::from_str::<Value>(&body) {
        Ok(value) => normal(value).to_string(),
        // Clusters and loggers come in no order that means anything.
        Err(_) => {
            let mut lines: Vec<&str> = body
                .lines()
                .filter(|line| !line.contains("::rq_pending_active::"))
                .collect();
            lines.sort_unstable();
            let end = if body.ends_with('\n') { "\n" } else { "" };
            lines.join("\n") + end
        }
    };
    format!("{head} {body:?}")
}

fn answers(kind: Kind, directory: &Directory, authority: &Path, identity: &Identity) -> BTreeMap<String, String> {
    let listeners = [ports::free_port(), ports::free_port()];
    let text = bootstrap(authority, &identity.certificate, &identity.key, listeners);
    let proxy = Proxy::start(kind, directory, kind.name(), &text);
    let names = [(listeners[0], "11111"), (listeners[1], "22222"), (proxy.admin, "33333")];
    let mut answers = BTreeMap::new();
    for request in REQUESTS {
        let (method, target) = request.split_once(' ').expect("method and target");
        let mut client = Client::connect(proxy.admin);
        client.send(format!("{method} {target} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n").as_bytes());
        let answer = client.response(method).unwrap_or_else(|| panic!("{kind:?}: {request}"));
        answers.insert((*request).to_owned(), shown(request, &answer, &names));
    }
    answers
}

#[test]
fn every_path_of_the_admin_endpoint_answers_as_envoys() {
    let directory = Directory::new("admin");
    let authority = Authority::new(&directory, "authority");
    let identity = authority.issue("own", "spiffe://mesh/ns/demo/sa/own");
    let [envoy, remora] =
        [Kind::Envoy, Kind::Remora].map(|kind| answers(kind, &directory, &authority.certificate, &identity));
    compare("admin", &envoy, &remora, KNOWN).unwrap_or_else(|faults| panic!("{faults}"));
}
