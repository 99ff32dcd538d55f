//! The right sides are what Envoy 1.39.3 answered, but for what is our own: versions, `server`, the list of paths.

mod scripted;

use config::string_matcher::{StringMatcher, StringPattern};
use http::Method;

use super::*;
use scripted::Scripted;

fn ask(source: &Scripted, method: &Method, target: &str) -> (u16, &'static str, String) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let answer = routes::answer(source, &[], method, path, query, None);
    (
        answer.status.as_u16(),
        answer.content_type,
        String::from_utf8(answer.body).expect("UTF-8"),
    )
}

fn get(target: &str) -> (u16, &'static str, String) {
    ask(&Scripted::new(), &Method::GET, target)
}

fn post(target: &str) -> (u16, &'static str, String) {
    ask(&Scripted::new(), &Method::POST, target)
}

#[test]
fn readiness_follows_the_state() {
    assert_eq!(get("/ready"), (200, TEXT, "LIVE\n".into()));
    assert_eq!(get("//ready"), (200, TEXT, "LIVE\n".into()));
    assert_eq!(post("/ready").0, 200);
    let source = Scripted::new();
    for (state, word) in [
        (ServerState::Draining, "DRAINING\n"),
        (ServerState::PreInitializing, "PRE_INITIALIZING\n"),
        (ServerState::Initializing, "INITIALIZING\n"),
    ] {
        *source.state.lock().expect("no panic") = state;
        assert_eq!(ask(&source, &Method::GET, "/ready"), (503, TEXT, word.into()));
    }
}

#[test]
fn what_changes_something_wants_post() {
    for path in [
        "/quitquitquit",
        "/drain_listeners",
        "/healthcheck/fail",
        "/healthcheck/ok",
        "/logging",
        "/reopen_logs",
    ] {
        let source = Scripted::new();
        assert_eq!(
            ask(&source, &Method::GET, path),
            (405, TEXT, "Method GET not allowed, POST required.".into()),
            "{path}"
        );
        assert_eq!(ask(&source, &Method::DELETE, path).0, 405, "{path}");
        assert!(source.asked().is_empty(), "{path}");
    }
    let source = Scripted::new();
    for path in [
        "/healthcheck/fail",
        "/healthcheck/ok",
        "/reopen_logs",
        "/quitquitquit",
        "/reset_counters",
    ] {
        assert_eq!(ask(&source, &Method::POST, path), (200, TEXT, "OK\n".into()), "{path}");
    }
    assert_eq!(
        source.asked(),
        [
            "health check failed: true",
            "health check failed: false",
            "reopen logs",
            "quit"
        ]
    );
}

#[test]
fn draining_takes_pilot_agents_parameters() {
    let source = Scripted::new();
    let answer = ask(
        &source,
        &Method::POST,
        "/drain_listeners?inboundonly&graceful&skip_exit",
    );
    assert_eq!(answer, (200, TEXT, "OK\n".into()));
    assert_eq!(
        source.asked(),
        ["DrainRequest { inbound_only: true, graceful: true, skip_exit: true }"]
    );
    assert_eq!(
        post("/drain_listeners?skip_exit"),
        (400, TEXT, "skip_exit requires graceful\n".into())
    );
}

#[test]
fn clusters_are_shown_line_by_line() {
    let expected = "\
greeter::observability_name::greeter
greeter::default_priority::max_connections::1024
greeter::default_priority::max_pending_requests::1024
greeter::default_priority::max_requests::1024
greeter::default_priority::max_retries::3
greeter::high_priority::max_connections::1024
greeter::high_priority::max_pending_requests::1024
greeter::high_priority::max_requests::1024
greeter::high_priority::max_retries::3
greeter::added_via_api::false
greeter::127.0.0.1:18081::cx_total::2
greeter::127.0.0.1:18081::rq_total::7
greeter::127.0.0.1:18081::hostname::foo
greeter::127.0.0.1:18081::health_flags::/failed_active_hc/active_hc_timeout
greeter::127.0.0.1:18081::weight::1
greeter::127.0.0.1:18081::region::r
greeter::127.0.0.1:18081::zone::z
greeter::127.0.0.1:18081::sub_zone::
greeter::127.0.0.1:18081::canary::false
greeter::127.0.0.1:18081::priority::0
greeter::127.0.0.1:18081::success_rate::-1
greeter::127.0.0.1:18081::local_origin_success_rate::-1
";
    assert_eq!(get("/clusters"), (200, TEXT, expected.into()));
    assert_eq!(get("/clusters?filter=zzz"), (200, TEXT, String::new()));
    assert_eq!(get("/clusters?filter=("), (400, TEXT, "Invalid re2 regex".into()));
    let (status, content_type, body) = get("/clusters?format=json");
    assert_eq!((status, content_type), (200, JSON));
    assert!(
        body.starts_with("{\n \"cluster_statuses\": [\n  {\n   \"name\": \"greeter\",\n   \"host_statuses\": ["),
        "{body}"
    );
    assert!(body.contains("\"eds_health_status\": \"HEALTHY\""), "{body}");
    assert!(body.contains("\"failed_active_health_check\": true"), "{body}");
}

#[test]
fn listeners_are_shown_with_their_addresses() {
    assert_eq!(get("/listeners"), (200, TEXT, "ingress::127.0.0.1:18080\n".into()));
    assert_eq!(get("/listeners?format=bogus").2, "ingress::127.0.0.1:18080\n");
    let expected = concat!(
        "{\n \"listener_statuses\": [\n  {\n   \"name\": \"ingress\",\n   \"local_address\": {\n    \"socket_address\": {\n",
        "     \"address\": \"127.0.0.1\",\n     \"port_value\": 18080\n    }\n   }\n  }\n ]\n}\n"
    );
    assert_eq!(get("/listeners?format=json"), (200, JSON, expected.into()));
}

#[test]
fn a_configuration_from_the_last_good_cache_is_named() {
    let mut source = Scripted::new();
    source.serves_last_good = true;
    let (status, _, body) = ask(&source, &Method::GET, "/ready");
    assert_eq!(
        (status, body.as_str()),
        (
            200,
            "LIVE\nconfiguration: from the last-good cache, not confirmed by a control plane\n"
        )
    );
    let (_, _, info) = ask(&source, &Method::GET, "/server_info");
    assert!(
        info.contains("\"remora.configuration\": \"from the last-good cache, not confirmed by a control plane\""),
        "{info}"
    );
    assert!(!get("/server_info").2.contains("remora.configuration"));
}

#[test]
fn the_server_describes_itself_with_every_field() {
    let (status, content_type, body) = get("/server_info");
    assert_eq!((status, content_type), (200, JSON));
    for part in [
        "\"state\": \"LIVE\"",
        "\"uptime_current_epoch\": \"2s\"",
        "\"hot_restart_version\": \"disabled\"",
        "\"config_path\": \"\"",
        "\"concurrency\": 2",
        "\"mode\": \"Serve\"",
        "\"drain_strategy\": \"Gradual\"",
        "\"disabled_extensions\": []",
        "\"id\": \"sidecar\"",
    ] {
        assert!(body.contains(part), "{part} is missing in {body}");
    }
    assert_eq!(get("/certs"), (200, JSON, "{\n \"certificates\": []\n}\n".into()));
    assert_eq!(get("/hot_restart_version"), (200, TEXT, "disabled".into()));
}

#[test]
fn runtime_values_are_shown_by_layer() {
    let expected = concat!(
        "{\n \"entries\": {\n  \"a.b\": {\n   \"final_value\": \"5\",\n   \"layer_values\": [\n    \"5\"\n   ]\n  }\n },\n",
        " \"layers\": [\n  \"static\"\n ]\n}\n"
    );
    assert_eq!(get("/runtime"), (200, JSON, expected.into()));
}

#[test]
fn what_is_waited_for_is_shown_by_component() {
    assert!(get("/init_dump").2.contains("RouteConfiguration \\\"local\\\""));
    assert!(get("/init_dump?mask=listener").2.contains("ingress"));
    assert_eq!(get("/init_dump?mask=bogus"), (200, JSON, "{}\n".into()));
}

#[test]
fn the_configuration_is_dumped_whole() {
    let (status, content_type, body) = get("/config_dump");
    assert_eq!((status, content_type), (200, JSON));
    assert!(
        body.starts_with(
            "{\n \"configs\": [\n  {\n   \"@type\": \"type.googleapis.com/envoy.admin.v3.BootstrapConfigDump\","
        ),
        "{body}"
    );
    assert!(
        body.contains("\"@type\": \"type.googleapis.com/envoy.config.cluster.v3.Cluster\""),
        "{body}"
    );
    assert!(!body.contains("EndpointsConfigDump"));
    assert!(get("/config_dump?include_eds").2.contains("EndpointsConfigDump"));
}

#[test]
fn the_dump_is_narrowed_by_resource_mask_and_name() {
    let greeter = concat!(
        "{\n \"configs\": [\n  {\n   \"@type\": \"type.googleapis.com/envoy.admin.v3.ClustersConfigDump.StaticCluster\",\n",
        "   \"cluster\": {\n    \"@type\": \"type.googleapis.com/envoy.config.cluster.v3.Cluster\",\n    \"name\": \"greeter\"\n",
        "   }\n  }\n ]\n}\n"
    );
    assert_eq!(
        get("/config_dump?resource=static_clusters&mask=cluster.name&name_regex=^gre"),
        (200, JSON, greeter.into())
    );
    let all = get("/config_dump?resource=static_clusters").2;
    assert!(
        all.contains("\"other\"") && all.contains("\"greeter\"") && !all.contains("Bootstrap"),
        "{all}"
    );
    assert_eq!(
        get("/config_dump?resource=static_clusters&name_regex=nope"),
        (200, JSON, "{}\n".into())
    );
    assert_eq!(
        get("/config_dump?resource=dynamic_active_clusters"),
        (200, JSON, "{}\n".into())
    );

    let id = concat!(
        "{\n \"configs\": [\n  {\n   \"@type\": \"type.googleapis.com/envoy.admin.v3.BootstrapConfigDump\",\n   \"bootstrap\": {\n",
        "    \"node\": {\n     \"id\": \"sidecar\"\n    }\n   }\n  }\n ]\n}\n"
    );
    assert_eq!(get("/config_dump?mask=bootstrap.node.id"), (200, JSON, id.into()));

    let plain = "text/plain";
    let bad = |target: &str| get(target);
    assert_eq!(
        bad("/config_dump?resource=foo"),
        (404, plain, "foo not found in config dump".into())
    );
    let text = "bootstrap is not a repeated field. Use ?mask=bootstrap to get only this field";
    assert_eq!(
        bad("/config_dump?resource=bootstrap&mask=node.id"),
        (400, plain, text.into())
    );
    for mask in ["bogus", "static_clusters.cluster"] {
        let text = format!("FieldMask {mask} could not be successfully applied to any configs.");
        assert_eq!(bad(&format!("/config_dump?mask={mask}")), (400, plain, text));
    }
    assert_eq!(bad("/config_dump?resource=static_clusters&mask=bogus").0, 400);
    let text = "Error while parsing name_regex from (: unclosed group";
    assert_eq!(bad("/config_dump?name_regex=("), (400, plain, text.into()));
}

#[test]
fn what_has_no_effect_is_listed() {
    assert_eq!(
        get("/without_effect"),
        (200, TEXT, "bootstrap: watchdogs: none watches\n".into())
    );
    assert!(get("/without_effect?format=json").2.contains("\"path\": \"watchdogs\""));
}

#[test]
fn statistics_are_served_in_each_format() {
    assert_eq!(get("/stats?filter=nope").0, 200);
    assert_eq!(get("/stats?format=json").1, JSON);
    assert_eq!(get("/stats/prometheus").0, 200);
    assert_eq!(get("/stats?format=foo").0, 400);
    assert!(get("/stats?filter=(").2.starts_with("Invalid re2 regex: "));
}

#[test]
fn unknown_paths_are_answered_with_the_list() {
    for path in ["/nonexistent", "/ready/", "/stats/"] {
        let (status, content_type, body) = get(path);
        assert_eq!((status, content_type), (404, TEXT), "{path}");
        assert!(
            body.starts_with("invalid path. admin commands are:\n  /: Admin home page\n"),
            "{body}"
        );
    }
    let (_, _, help) = get("/help");
    assert!(help.contains("  /quitquitquit (POST): exit the server\n"), "{help}");
    assert!(help.contains("      skip_exit: "), "{help}");
    let (status, content_type, page) = get("/");
    assert_eq!((status, content_type), (200, HTML));
    assert!(
        page.contains("<a href='ready'>") && page.contains("<form action='quitquitquit' method='post'>"),
        "{page}"
    );
}

#[test]
fn only_allowed_paths_are_served() {
    let allowed = [StringMatcher {
        pattern: StringPattern::Exact("/ready".into()),
        ignore_case: false,
    }];
    let ask = |path: &str| routes::answer(&Scripted::new(), &allowed, &Method::GET, path, "", None);
    assert_eq!(ask("/ready").status, 200);
    assert_eq!(
        ask("/stats"),
        Answer::text(StatusCode::FORBIDDEN, "request to path /stats not allowed")
    );
}

#[test]
fn log_levels_are_shown_and_changed() {
    let (status, _, body) = post("/logging");
    assert_eq!(status, 200);
    assert!(body.starts_with("active loggers:\n  a2a: "), "{body}");
    assert!(body.ends_with("\n\n"), "{body}");
    // Levels are the process's: this is the only test that changes them.
    assert!(
        post("/logging?paths=upstream:debug,main:error")
            .2
            .contains("\n  upstream: debug\n")
    );
    assert!(post("/logging?upstream=warning").2.contains("\n  upstream: warning\n"));
    let answer = routes::answer(
        &Scripted::new(),
        &[],
        &Method::POST,
        "/logging",
        "",
        Some("level=trace"),
    );
    assert!(
        String::from_utf8(answer.body)
            .expect("UTF-8")
            .contains("\n  main: trace\n")
    );
    for (query, error) in [
        (
            "level=bogus",
            "error: unknown logger level\n\nusage: /logging?<name>=<level> (change single level)\n",
        ),
        ("paths=upstream", "error: empty logger name or empty logger level\n"),
        (
            "group=x:info",
            "error: group parameter requires fine-grain logging to be enabled\n",
        ),
        ("bogus=debug", "error: unknown logger name\n"),
        ("paths=upstream:debug,b:info", "error: unknown logger name\n"),
        ("level=info&x=y", "error: invalid number of parameters\n"),
    ] {
        let (status, _, body) = post(&format!("/logging?{query}"));
        assert_eq!(status, 400, "{query}");
        assert!(body.starts_with(error), "{query}: {body}");
    }
    assert_eq!(post("/logging?level=").0, 200, "nothing is asked for");
    assert!(
        post("/logging").2.contains("\n  upstream: trace\n"),
        "a change that is refused changes nothing"
    );
    post("/logging?level=info");
}
