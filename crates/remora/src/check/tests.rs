use std::path::PathBuf;

use super::*;

/// A file in the test's own folder under the build's.
fn file(name: &str, text: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/check-tests");
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a file");
    path
}

fn check(path: &Path, format: CheckFormat) -> Report {
    run(&CheckOptions {
        file: path.display().to_string(),
        format,
        allow_unknown_static_fields: false,
        service_node: None,
        service_cluster: None,
    })
}

#[test]
fn faults_come_with_field_and_line_in_the_order_of_the_text() {
    let path = file(
        "faults.yaml",
        "static_resources:\n  clusters:\n  - name: a\n    connect_timeout: 250ms\n  - name: b\n    lb_policy: ROUND\n",
    );
    let report = check(&path, CheckFormat::Text);
    assert_eq!(report.status, 1);
    let lines: Vec<&str> = report.text.lines().collect();
    assert_eq!(lines[0], format!("{}: rejected, 2 faults", path.display()));
    assert!(
        lines[1].starts_with("  line 4: static_resources.clusters[0].connect_timeout: is string \"250ms\""),
        "{}",
        report.text
    );
    assert!(
        lines[2].starts_with("  line 6: static_resources.clusters[1].lb_policy: is string \"ROUND\""),
        "{}",
        report.text
    );
}

#[test]
fn faults_of_the_meaning_have_lines_as_well() {
    let path = file("meaning.yaml", "stats_flush_interval: 1s\nflags_path: /x\n");
    let report = check(&path, CheckFormat::Text);
    assert_eq!(report.status, 1);
    assert!(
        report
            .text
            .contains("rejected, 1 fault\n  line 2: flags_path: is not supported"),
        "{}",
        report.text
    );
}

#[test]
fn what_has_no_effect_is_listed_after_acceptance() {
    let path = file(
        "accepted.yaml",
        "node: {id: a}\nwatchdogs: {main_thread_watchdog: {miss_timeout: 1s}}\n",
    );
    let report = check(&path, CheckFormat::Text);
    assert_eq!(report.status, 0);
    let expected = "accepted\naccepted without effect:\n  line 2: watchdogs: no watchdog watches the threads\n";
    assert!(report.text.ends_with(expected), "{}", report.text);
}

#[test]
fn the_same_can_be_had_as_json() {
    let path = file("json.yaml", "flags_path: /x\n");
    let report = check(&path, CheckFormat::Json);
    assert_eq!(report.status, 1);
    let json: Value = serde_json::from_str(&report.text).expect("JSON");
    assert_eq!(json["result"], "rejected");
    assert_eq!(json["rejected"][0]["path"], "flags_path");
    assert_eq!(json["rejected"][0]["line"], 1);
    assert_eq!(json["error"], Value::Null);
}

#[test]
fn what_cannot_be_read_ends_with_2() {
    let report = check(Path::new("/nonexistent/bootstrap.yaml"), CheckFormat::Text);
    assert_eq!(report.status, 2);
    assert!(
        report.text.contains("unable to read file: /nonexistent/bootstrap.yaml"),
        "{}",
        report.text
    );
    let path = file("syntax.json", "{\"node\": }");
    let report = check(&path, CheckFormat::Json);
    assert_eq!(report.status, 2);
    let json: Value = serde_json::from_str(&report.text).expect("JSON");
    assert_eq!(json["result"], "unreadable");
    assert!(
        json["error"]
            .as_str()
            .expect("text")
            .contains("syntax.json:1:10: found '}', expected a value"),
        "{json}"
    );
}

#[test]
fn unknown_fields_are_faults_or_listed() {
    let path = file("unknown.yaml", "node: {idd: a}\n");
    assert_eq!(check(&path, CheckFormat::Text).status, 1);
    let report = run(&CheckOptions {
        file: path.display().to_string(),
        format: CheckFormat::Text,
        allow_unknown_static_fields: true,
        service_node: None,
        service_cluster: None,
    });
    assert_eq!(report.status, 0);
    assert!(
        report
            .text
            .contains("unknown fields, allowed:\n  line 1: node: is field `idd`"),
        "{}",
        report.text
    );
}

#[test]
fn what_is_accepted_but_doubtful_is_said() {
    let listener = |name: &str| {
        format!(
            "  - {{name: {name}, address: {{socket_address: {{address: 127.0.0.1, port_value: 80}}}}, filter_chains: [{{filters: [\
             {{name: t, typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, \
             stat_prefix: x, route_config: {{}}, http_filters: [{{name: r, typed_config: {{'@type': \
             type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}]}}}}]}}]}}\n"
        )
    };
    let path = file(
        "doubtful.yaml",
        &format!("static_resources:\n  listeners:\n{}{}", listener("a"), listener("b")),
    );
    let report = check(&path, CheckFormat::Text);
    assert_eq!(report.status, 0, "{}", report.text);
    assert!(
        report
            .text
            .contains("accepted, but doubtful:\n  listeners \"a\" and \"b\" listen on the same address, 127.0.0.1:80"),
        "{}",
        report.text
    );
}
