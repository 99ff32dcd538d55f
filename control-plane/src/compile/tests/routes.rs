//! What becomes of a rule.

use xds_api::envoy::config::route::v3::Route;
use xds_api::envoy::config::route::v3::route::Action;
use xds_api::envoy::config::route::v3::route_action::ClusterSpecifier;
use xds_api::envoy::config::route::v3::route_match::PathSpecifier;

use super::{V1, V2, action, view, virtual_host};
use crate::compile::names;
use crate::compile::resource::ResourceType;
use crate::testing::{GREETER, snapshot, split};

/// The one route of an HTTPRoute with this rule, for callers in `demo`.
fn http_route(rule: &str) -> Route {
    let route = format!(
        "{GREETER}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r, namespace: \
         demo}}\nspec:\n  parentRefs: [{{group: '', kind: Service, name: greeter}}]\n  rules: [{rule}]\n"
    );
    let mut host = virtual_host(&view(&snapshot(&route), "frontend"), "greeter.");
    host.routes.remove(0)
}

#[test]
fn a_split_has_its_weights_and_no_time_limit_of_its_own() {
    let view = view(&snapshot(&format!("{GREETER}{}", split(90, 10))), "frontend");
    let host = virtual_host(&view, "greeter.");
    let action = action(&host.routes[0]);
    let Some(ClusterSpecifier::WeightedClusters(split)) = &action.cluster_specifier else {
        panic!("{action:?}");
    };
    let weights: Vec<_> = split
        .clusters
        .iter()
        .map(|cluster| (cluster.name.as_str(), cluster.weight.unwrap().value))
        .collect();
    assert_eq!(weights, [(V1, 90), (V2, 10)]);
    assert_eq!(action.timeout.unwrap().seconds, 0);
    assert!(
        action
            .max_stream_duration
            .as_ref()
            .unwrap()
            .grpc_timeout_header_max
            .is_some()
    );
}

#[test]
fn a_weight_of_nothing_gets_nothing() {
    let view = view(&snapshot(&format!("{GREETER}{}", split(0, 100))), "frontend");
    let host = virtual_host(&view, "greeter.");
    assert_eq!(
        action(&host.routes[0]).cluster_specifier,
        Some(ClusterSpecifier::Cluster(V2.to_owned()))
    );
}

#[test]
fn a_rule_without_a_backend_answers_500_and_a_part_without_one_leads_nowhere() {
    let missing = http_route("{backendRefs: [{name: x, port: 80}]}");
    let Some(Action::DirectResponse(answer)) = missing.action else {
        panic!("{missing:?}");
    };
    assert_eq!(answer.status, 500);
    let text =
        format!("{GREETER}{}", split(1, 1)).replace("name: greeter-v2, port: 50051, w", "name: gone, port: 50051, w");
    let view = view(&snapshot(&text), "frontend");
    assert!(view.of(ResourceType::Cluster).get(names::NOWHERE_CLUSTER).is_some());
    let host = virtual_host(&view, "greeter.");
    let Some(ClusterSpecifier::WeightedClusters(split)) = &action(&host.routes[0]).cluster_specifier else {
        panic!("{host:?}");
    };
    assert_eq!(split.clusters[1].name, names::NOWHERE_CLUSTER);
}

#[test]
fn prefixes_match_whole_path_elements() {
    let backend = "backendRefs: [{name: greeter-v1, port: 50051}]";
    for (value, expected) in [
        ("/", PathSpecifier::Prefix("/".to_owned())),
        ("/a", PathSpecifier::PathSeparatedPrefix("/a".to_owned())),
        ("/a/", PathSpecifier::PathSeparatedPrefix("/a".to_owned())),
    ] {
        let route = http_route(&format!("{{matches: [{{path: {{value: {value}}}}}], {backend}}}"));
        assert_eq!(route.r#match.unwrap().path_specifier, Some(expected));
    }
}

#[test]
fn a_prefix_is_replaced_with_the_slash_between_kept_once() {
    let rewrite = |from: &str, to: &str| {
        let route = http_route(&format!(
            "{{matches: [{{path: {{value: {from}}}}}], filters: [{{type: URLRewrite, urlRewrite: {{path: {{type: \
             ReplacePrefixMatch, replacePrefixMatch: '{to}'}}}}}}], backendRefs: [{{name: greeter-v1, port: 50051}}]}}"
        ));
        let action = action(&route).clone();
        let regex = action
            .regex_rewrite
            .map(|rewrite| (rewrite.pattern.unwrap().regex, rewrite.substitution));
        (action.prefix_rewrite, regex)
    };
    assert_eq!(rewrite("/a", "/b"), ("/b".to_owned(), None));
    assert_eq!(rewrite("/a/", "/b/"), ("/b".to_owned(), None));
    assert_eq!(rewrite("/", "/b"), ("/b/".to_owned(), None));
    let (prefix, regex) = rewrite("/a.b", "/");
    let (pattern, substitution) = regex.unwrap();
    let pattern = regex::Regex::new(&pattern).unwrap();
    assert!(prefix.is_empty());
    for (path, expected) in [("/a.b", "/"), ("/a.b/", "/"), ("/a.b/x", "/x"), ("/a.b//x", "/x")] {
        assert_eq!(pattern.replace(path, substitution.as_str()), expected);
    }
}

#[test]
fn header_values_are_taken_literally() {
    let route = http_route(
        "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: A, value: '100%'}], add: [{name: b, \
         value: c}], remove: [D]}}], backendRefs: [{name: greeter-v1, port: 50051}]}",
    );
    let header = |index: usize| route.request_headers_to_add[index].header.clone().unwrap();
    assert_eq!((header(0).key.as_str(), header(0).value.as_str()), ("a", "100%%"));
    assert_eq!(header(1).key, "b");
    assert_eq!(route.request_headers_to_remove, ["d"]);
    assert_ne!(
        route.request_headers_to_add[0].append_action,
        route.request_headers_to_add[1].append_action
    );
}

#[test]
fn timeouts_without_retries_end_at_the_shorter() {
    let timeout = |timeouts: &str| {
        let route = http_route(&format!(
            "{{timeouts: {timeouts}, backendRefs: [{{name: greeter-v1, port: 50051}}]}}"
        ));
        let timeout = action(&route).timeout.unwrap();
        (timeout.seconds, timeout.nanos)
    };
    assert_eq!(timeout("{request: 10s}"), (10, 0));
    assert_eq!(timeout("{request: 10s, backendRequest: 250ms}"), (0, 250_000_000));
    assert_eq!(timeout("{request: 0s, backendRequest: 2s}"), (2, 0));
    assert_eq!(timeout("{request: 0s}"), (0, 0));
}

#[test]
fn a_rules_retries_have_their_codes_and_their_time_for_each_try() {
    let route = http_route(
        "{timeouts: {request: 10s, backendRequest: 2s}, retry: {codes: [503], attempts: 3, backoff: 100ms}, backendRefs: \
         [{name: greeter-v1, port: 50051}]}",
    );
    let action = action(&route);
    let retry = action.retry_policy.as_ref().unwrap();
    assert_eq!(retry.retry_on, "connect-failure,refused-stream,retriable-status-codes");
    assert_eq!(
        (retry.num_retries.unwrap().value, retry.per_try_timeout.unwrap().seconds),
        (3, 2)
    );
    assert_eq!(
        (retry.retriable_status_codes.clone(), action.timeout.unwrap().seconds),
        (vec![503], 10)
    );
}
