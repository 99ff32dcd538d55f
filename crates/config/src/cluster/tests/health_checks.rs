use std::time::Duration;

use super::super::*;
use super::cluster;
use crate::testing::refuse;

const CHECK: &str = "timeout: 1s, interval: 5s, unhealthy_threshold: 2, healthy_threshold: 3";

#[test]
fn a_grpc_health_check_needs_http2() {
    let check = format!("health_checks: [{{{CHECK}, grpc_health_check: {{service_name: s, authority: a}}}}]");
    assert_eq!(
        refuse(Cluster::parse, &format!("name: c\n{check}")),
        ["health_checks[0].grpc_health_check: needs a cluster that speaks HTTP/2 (http2_protocol_options)"]
    );
    let cluster = cluster(&format!("name: c\nhttp2_protocol_options: {{}}\n{check}"));
    let check = &cluster.health_checks[0];
    assert_eq!(
        (check.timeout, check.interval),
        (Duration::from_secs(1), Duration::from_secs(5))
    );
    assert_eq!((check.unhealthy_threshold, check.healthy_threshold), (2, 3));
    assert_eq!(check.no_traffic_interval, Duration::from_secs(60));
    let HealthChecker::Grpc(grpc) = &check.checker else {
        panic!("{check:?}")
    };
    assert_eq!((&*grpc.service_name, grpc.authority.as_deref()), ("s", Some("a")));
}

#[test]
fn http_and_tcp_health_checks_have_their_fields() {
    let cluster = cluster(&format!(
        "name: c\nhealth_checks:\n- {{{CHECK}, http_health_check: {{path: /ready, host: h, expected_statuses: [{{start: 200, \
         end: 300}}], codec_client_type: HTTP2, method: HEAD}}}}\n- {{{CHECK}, tcp_health_check: {{send: {{text: 0a0B}}, \
         receive: [{{binary: AQI=}}]}}}}"
    ));
    let HealthChecker::Http(http) = &cluster.health_checks[0].checker else {
        panic!()
    };
    assert_eq!(
        (&*http.path, http.host.as_deref(), http.method, http.http2),
        ("/ready", Some("h"), "HEAD", true)
    );
    assert_eq!(http.expected_statuses, [StatusRange { start: 200, end: 300 }]);
    let HealthChecker::Tcp(tcp) = &cluster.health_checks[1].checker else {
        panic!()
    };
    assert_eq!(
        (tcp.send.as_deref(), &*tcp.receive[0]),
        (Some([10, 11].as_slice()), [1, 2].as_slice())
    );
}

#[test]
fn what_is_refused_of_a_health_check_is_named_with_its_path() {
    let cases = [
        ("{}", "has no grpc_health_check, http_health_check or tcp_health_check"),
        (
            "http_health_check: {}",
            ".http_health_check.path: is required and must not be empty",
        ),
        (
            "http_health_check: {path: /, method: CONNECT}",
            ".http_health_check.method: is CONNECT, which checks nothing",
        ),
        (
            "http_health_check: {path: /, expected_statuses: [{start: 200, end: 200}]}",
            ".http_health_check.expected_statuses[0]: is from 200 to 200, expected start below end, from 100 to 600",
        ),
        (
            "tcp_health_check: {send: {text: abc}}",
            ".tcp_health_check.send.text: is \"abc\", expected bytes in hexadecimal",
        ),
        (
            "custom_health_check: {name: x}",
            ".custom_health_check: is not supported: write http_health_check, tcp_health_check or grpc_health_check",
        ),
    ];
    for (checker, fault) in cases {
        let checker = if checker == "{}" {
            String::new()
        } else {
            format!(", {checker}")
        };
        let colon = if fault.starts_with('.') { "" } else { ": " };
        assert_eq!(
            refuse(
                Cluster::parse,
                &format!("name: c\nhealth_checks: [{{{CHECK}{checker}}}]")
            ),
            [format!("health_checks[0]{colon}{fault}")]
        );
    }
}

#[test]
fn the_longest_ejection_is_never_shorter_than_the_first() {
    let outlier = |text: &str| {
        cluster(&format!("name: c\noutlier_detection: {{{text}}}"))
            .outlier_detection
            .clone()
            .unwrap()
    };
    assert_eq!(*outlier(""), OutlierDetection::default());
    assert_eq!(
        outlier("base_ejection_time: 400s").max_ejection_time,
        Duration::from_secs(400)
    );
    assert_eq!(
        outlier("max_ejection_time: 40s").max_ejection_time,
        Duration::from_secs(40)
    );
}
