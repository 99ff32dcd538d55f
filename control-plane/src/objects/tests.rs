use super::parse::{FileObjects, parse_file};
use super::route::{PathMatch, Route, RouteKind, StringMatch};
use super::{Fault, Object};

fn good(text: &str) -> FileObjects {
    parse_file(text, "mesh.yaml").unwrap()
}

fn bad(text: &str) -> Vec<Fault> {
    parse_file(text, "mesh.yaml").unwrap_err()
}

fn only_fault(text: &str) -> String {
    let faults = bad(text);
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults[0].to_string()
}

fn route(text: &str) -> Route {
    match good(text).objects.remove(0).object {
        Object::Route(route) => (*route).clone(),
        other => panic!("{other:?}"),
    }
}

/// An HTTPRoute whose one rule is this.
fn http_rule(rule: &str) -> String {
    let rule = rule.trim_matches('\n').replace('\n', "\n      ");
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r}}\nspec:\n  parentRefs: \
         [{{group: '', kind: Service, name: s}}]\n  rules:\n    - {rule}\n"
    )
}

#[test]
fn every_document_of_a_file_and_every_item_of_a_list_is_an_object() {
    let text = "
# a comment alone is no object
---
apiVersion: v1
kind: Service
metadata: {name: a, namespace: demo}
---
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: ServiceAccount, metadata: {name: b}}
  - {apiVersion: v1, kind: Pod, metadata: {name: c}}
";
    let ids: Vec<String> = good(text).objects.iter().map(|object| object.id.to_string()).collect();
    assert_eq!(ids, ["Service demo/a", "ServiceAccount default/b", "Pod default/c"]);
}

#[test]
fn json_is_read_as_well() {
    let objects = good(r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}"#).objects;
    assert_eq!(objects[0].id.to_string(), "Service default/a");
}

#[test]
fn broken_yaml_is_named_with_its_line() {
    let fault = &bad("apiVersion: v1\nkind: Service\nmetadata: {name: a\n")[0];
    assert!(fault.line >= 3, "{fault}");
}

#[test]
fn an_unknown_field_is_named_with_path_and_line() {
    let text = "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\nspec:\n  ports:\n    - port: 80\n      tragetPort: 8080\n";
    let expected = "mesh.yaml:8: Service a: spec.ports[0].tragetPort: unknown field";
    assert_eq!(only_fault(text), expected);
}

#[test]
fn every_unknown_field_is_told_not_only_the_first() {
    let text = "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  nmae: b\nspce: {}\n";
    let paths: Vec<String> = bad(text).into_iter().map(|fault| fault.path).collect();
    assert_eq!(paths, ["metadata.nmae", "spce"]);
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_path_and_line_in_the_second_document() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Service\nmetadata:\n  name: \
                b\nspec:\n  ports:\n    - name: x\n      port: eighty\n";
    let fault = only_fault(text);
    assert!(
        fault.starts_with("mesh.yaml:12: Service b: spec.ports[0].port: "),
        "{fault}"
    );
    assert!(fault.contains("eighty"), "{fault}");
}

#[test]
fn a_wrong_api_version_is_a_fault_and_another_kind_a_note() {
    let fault = only_fault("apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: HTTPRoute\nmetadata: {name: a}\n");
    assert!(
        fault.contains(":1: HTTPRoute: apiVersion: found \"gateway.networking.k8s.io/v1alpha2\""),
        "{fault}"
    );
    let read = good("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {anything: goes}\n");
    assert!(read.objects.is_empty());
    assert!(
        read.notes[0].reason.contains("apps/v1 Deployment is not read"),
        "{}",
        read.notes[0]
    );
}

#[test]
fn a_scalar_that_yaml_takes_for_something_else_is_explained() {
    let fault = only_fault("apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {fast: y}}\n");
    assert_eq!(
        fault,
        "mesh.yaml:3: Service a: metadata.labels.fast: found the boolean y, expected a string: put it in quotes to mean the text"
    );
    assert!(
        only_fault("apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {v: 120}}\n").contains("the number 120")
    );
}

#[test]
fn an_object_without_a_name_is_a_fault() {
    assert!(only_fault("apiVersion: v1\nkind: Service\nmetadata: {}\n").contains("metadata.name: missing"));
    assert!(only_fault("- 1\n").contains("expected an object"));
    assert!(only_fault("{name: a}\n").contains("apiVersion and kind"));
}

#[test]
fn what_a_service_asks_for_and_does_not_get_is_a_note() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  sessionAffinity: ClientIP\n";
    assert_eq!(
        good(text).notes[0].to_string(),
        "mesh.yaml:5: Service default/a: spec.sessionAffinity: without effect: sessions are not pinned to endpoints"
    );
}

#[test]
fn every_condition_of_an_http_match_is_read() {
    let text = http_rule(
        "
matches:
  - path: {type: Exact, value: /a}
    method: POST
    headers:
      - {name: X-Env, value: prod}
      - {name: x-env, value: shadowed by the first}
      - {name: x-id, type: RegularExpression, value: '[0-9]+'}
    queryParams: [{name: q, value: '1'}]
",
    );
    let route = route(&text);
    let condition = &route.rules[0].matches[0];
    assert_eq!(route.kind, RouteKind::Http);
    assert!(matches!(&condition.path, PathMatch::Exact(path) if path == "/a"));
    assert_eq!(condition.method.as_deref(), Some("POST"));
    let names: Vec<&str> = condition.headers.iter().map(|header| header.name.as_str()).collect();
    assert_eq!(names, ["x-env", "x-id"]);
    assert!(matches!(&condition.headers[0].value, StringMatch::Exact(value) if value == "prod"));
    assert!(matches!(&condition.headers[1].value, StringMatch::Regex(_)));
    assert_eq!(condition.query.len(), 1);
}

#[test]
fn a_match_without_a_path_matches_every_path() {
    let route = route(&http_rule("matches: [{method: GET}]"));
    assert!(matches!(&route.rules[0].matches[0].path, PathMatch::Prefix(prefix) if prefix == "/"));
}

#[test]
fn what_is_not_supported_is_named_never_ignored() {
    for (rule, path, word) in [
        (
            "filters: [{type: CORS, cors: {allowOrigins: ['*']}}]",
            "spec.rules[0].filters[0].cors",
            "cors",
        ),
        (
            "filters: [{type: ExtensionRef, extensionRef: {group: a, kind: B, name: c}}]",
            "spec.rules[0].filters[0].extensionRef",
            "extensionRef",
        ),
        (
            "sessionPersistence: {sessionName: a}",
            "spec.rules[0].sessionPersistence",
            "sessions",
        ),
        (
            "backendRefs: [{name: s, port: 80, filters: [{type: URLRewrite, urlRewrite: {hostname: h}}]}]",
            "spec.rules[0].backendRefs[0].filters[0].urlRewrite",
            "urlRewrite",
        ),
        (
            "backendRefs: [{group: example.com, kind: Bucket, name: s, port: 80}]",
            "spec.rules[0].backendRefs[0].kind",
            "example.com/Bucket",
        ),
    ] {
        let fault = &bad(&http_rule(rule))[0];
        assert_eq!(fault.path, path);
        assert!(
            fault.reason.starts_with("not supported: ") && fault.reason.contains(word),
            "{fault}"
        );
        assert_eq!(fault.line, 7, "{fault}");
    }
}

#[test]
fn values_that_no_proxy_could_take_are_refused_with_what_is_expected() {
    for (rule, path, expected) in [
        (
            "matches: [{path: {value: a}}]",
            "matches[0].path.value",
            "starts with \"/\"",
        ),
        (
            "matches: [{path: {type: RegularExpression, value: '('}}]",
            "matches[0].path.value",
            "not a regular expression",
        ),
        (
            "matches: [{headers: [{name: 'a b', value: c}]}]",
            "matches[0].headers[0].name",
            "header field name",
        ),
        ("timeouts: {request: 10}", "timeouts.request", "string"),
        ("timeouts: {request: 10s5x}", "timeouts.request", "GEP-2257"),
        (
            "timeouts: {request: 1s, backendRequest: 2s}",
            "timeouts.backendRequest",
            "longer than",
        ),
        ("backendRefs: [{name: s}]", "backendRefs[0].port", "with its port"),
        (
            "backendRefs: [{name: s, port: 70000}]",
            "backendRefs[0].port",
            "1 to 65535",
        ),
        (
            "backendRefs: [{name: s, port: 80, weight: -1}]",
            "backendRefs[0].weight",
            "0 to 1000000",
        ),
        (
            "filters: [{type: RequestMirror}]",
            "filters[0].requestMirror",
            "missing",
        ),
        (
            "filters: [{type: RequestRedirect, requestRedirect: {statusCode: 200}}]",
            "filters[0].requestRedirect.statusCode",
            "301, 302",
        ),
        ("retry: {codes: [200]}", "retry.codes[0]", "400 to 599"),
    ] {
        let fault = &bad(&http_rule(rule))[0];
        assert_eq!(fault.path, format!("spec.rules[0].{path}"), "{fault}");
        assert!(fault.reason.contains(expected), "{fault}");
    }
}

#[test]
fn replacing_a_prefix_needs_a_prefix_match() {
    let filters =
        "filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}]";
    let exact = format!("matches: [{{path: {{type: Exact, value: /a}}}}]\n{filters}");
    assert!(only_fault(&http_rule(&exact)).contains("PathPrefix"));
    let prefix = format!("matches: [{{path: {{value: /a}}}}]\n{filters}");
    assert!(route(&http_rule(&prefix)).rules[0].filters.rewrite_path.is_some());
}

#[test]
fn a_gateway_parent_is_passed_over_and_a_service_parent_kept() {
    let text = "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {name: r}\nspec:\n  parentRefs:\n    - \
                {name: gateway}\n    - {group: '', kind: Service, name: s, port: 80}\n";
    let route = route(text);
    assert_eq!(route.kind, RouteKind::Grpc);
    let parents: Vec<(&str, Option<u16>)> = route
        .parents
        .iter()
        .map(|parent| (&*parent.name, parent.port))
        .collect();
    assert_eq!(parents, [("s", Some(80))]);
}

#[test]
fn a_policy_is_checked_beyond_its_types() {
    let policy = |spec: &str| {
        format!("apiVersion: policy.remora.dev/v1alpha1\nkind: ServicePolicy\nmetadata: {{name: p}}\nspec:\n  {spec}\n")
    };
    for (spec, path, expected) in [
        ("targetRefs: []", "spec.targetRefs", "at least one"),
        (
            "targetRefs: [{kind: Pod, name: a}]",
            "spec.targetRefs[0]",
            "expected a Service",
        ),
        (
            "{targetRefs: [{name: a}], healthCheck: {}}",
            "spec.healthCheck",
            "exactly one of",
        ),
        (
            "{targetRefs: [{name: a}], healthCheck: {grpc: {}, interval: 0s}}",
            "spec.healthCheck.interval",
            "found 0",
        ),
        (
            "{targetRefs: [{name: a}], retry: {attempts: 1, on: [sometimes]}}",
            "spec.retry.on[0]",
            "connect-failure",
        ),
        (
            "{targetRefs: [{name: a}], mtls: {mode: Maybe}}",
            "spec.mtls.mode",
            "Strict",
        ),
        (
            "{targetRefs: [{name: a}], outlierDetection: {maxEjectionPercent: 101}}",
            "spec.outlierDetection.maxEjectionPercent",
            "0 to 100",
        ),
        (
            "{targetRefs: [{name: a}], circuitBreaker: {maxRequest: 1}}",
            "spec.circuitBreaker.maxRequest",
            "unknown field",
        ),
    ] {
        let fault = &bad(&policy(spec))[0];
        assert_eq!(fault.path, path, "{fault}");
        assert!(fault.reason.contains(expected), "{fault}");
    }
    good(&policy(
        "{targetRefs: [{name: a}], retry: {attempts: 2, on: [unavailable], perTryTimeout: 250ms}}",
    ));
}
