use std::time::Duration;

use super::*;
use crate::data_source::DataSource;
use crate::header_mutation::HeaderAppendAction;
use crate::percent::FractionalPercent;
use crate::testing::{accept, refuse, refuse_each, without_effect};

mod following;
mod retries;

fn table(text: &str) -> RouteConfiguration {
    accept(RouteConfiguration::parse, text)
}

fn with_routes(routes: &str) -> String {
    format!("name: r\nvirtual_hosts: [{{name: v, domains: ['*'], routes: [{routes}]}}]")
}

fn route(text: &str) -> Route {
    let table = table(&with_routes(&format!("{{{text}}}")));
    Route::clone(&table.virtual_hosts[0].routes[0])
}

/// The action of a route to a cluster with these fields.
fn action(text: &str) -> RouteAction {
    match route(&format!("match: {{prefix: /}}, route: {{cluster: c, {text}}}")).action {
        Action::Route(action) => *action,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_route_has_envoys_defaults() {
    let action = action("");
    assert_eq!(action.timeout, Some(Duration::from_secs(15)));
    assert_eq!(
        (action.idle_timeout, action.max_stream_duration, action.max_grpc_timeout),
        (None, None, None)
    );
    assert_eq!(action.cluster_not_found_response_code.status(), 503);
    assert!(action.retry_policy.is_none() && action.path_rewrite.is_none() && action.host_rewrite.is_none());
    assert_eq!(action.priority, RoutingPriority::Default);
}

#[test]
fn a_timeout_of_zero_is_none() {
    let action = action(
        "timeout: 0s, idle_timeout: 0s, max_grpc_timeout: 0s, max_stream_duration: {max_stream_duration: 0s, \
         grpc_timeout_header_max: 5s, grpc_timeout_header_offset: 1s}",
    );
    assert_eq!(
        (action.timeout, action.idle_timeout, action.max_grpc_timeout),
        (None, Some(None), Some(None))
    );
    let duration = action.max_stream_duration.unwrap();
    assert_eq!(duration.max_stream_duration, Some(None));
    assert_eq!(duration.grpc_timeout_header_max, Some(Some(Duration::from_secs(5))));
    assert_eq!(duration.grpc_timeout_header_offset, Duration::from_secs(1));
}

#[test]
fn a_route_has_its_fields() {
    let route = route(
        "name: m, match: {path_separated_prefix: /a, case_sensitive: false, grpc: {}, \
         runtime_fraction: {default_value: {numerator: 1, denominator: MILLION}, runtime_key: k}, \
         headers: [{name: X-A, string_match: {exact: b}}], query_parameters: [{name: q, present_match: false}]}, \
         route: {cluster_header: X-Cluster}, decorator: {operation: o, propagate: false}, stat_prefix: s, \
         request_headers_to_add: [{header: {key: X-B, value: '%DOWNSTREAM_REMOTE_ADDRESS%'}, append_action: ADD_IF_ABSENT}], \
         request_headers_to_remove: [X-C], response_headers_to_add: [{header: {key: d, value: e}, append: false}], \
         per_request_buffer_limit_bytes: 5, metadata: {filter_metadata: {f: {g: 1}}}, \
         typed_per_filter_config: {cors: {'@type': type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy}, \
         other: {'@type': type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true}}",
    );
    assert_eq!(route.route_match.path, PathSpecifier::PathSeparatedPrefix("/a".into()));
    assert!(route.route_match.grpc && !route.route_match.case_sensitive);
    let fraction = route.route_match.runtime_fraction.as_ref().unwrap();
    assert_eq!(
        fraction.default_value,
        FractionalPercent {
            numerator: 1,
            denominator: 1_000_000
        }
    );
    assert_eq!(&*route.route_match.headers[0].name, "x-a");
    let Action::Route(action) = &route.action else { panic!() };
    assert_eq!(action.cluster, ClusterSpecifier::ClusterHeader("x-cluster".into()));
    assert_eq!(
        route.decorator,
        Some(Decorator {
            operation: "o".into(),
            propagate: false
        })
    );
    let added = &route.request_headers.add[0];
    assert_eq!(
        (&*added.name, added.append_action),
        ("x-b", HeaderAppendAction::AddIfAbsent)
    );
    assert!(!added.is_literal());
    assert_eq!(*route.request_headers.remove, ["x-c".into()]);
    assert_eq!(
        route.response_headers.add[0].append_action,
        HeaderAppendAction::OverwriteIfExistsOrAdd
    );
    assert_eq!(route.per_request_buffer_limit_bytes, Some(5));
    assert!(route.typed_per_filter_config.get("cors").unwrap().config.is_some());
    assert_eq!(route.typed_per_filter_config.get("other").unwrap().disabled, Some(true));
}

#[test]
fn clusters_are_weighted() {
    let Action::Route(action) = route(
        "match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: a, weight: 9}, {name: b, weight: 1, \
         host_rewrite_literal: h}, {name: z, weight: 0}]}}",
    )
    .action
    else {
        panic!()
    };
    let ClusterSpecifier::WeightedClusters(clusters) = &action.cluster else {
        panic!("{action:?}")
    };
    let picked: String = (0..20)
        .map(|random| clusters.pick(random).name.as_ref().unwrap().to_string())
        .collect();
    assert_eq!(picked, "aaaaaaaaabaaaaaaaaab");
    assert_eq!(clusters.clusters[1].host_rewrite_literal.as_deref(), Some("h"));
}

#[test]
fn a_redirect_has_its_fields() {
    let Action::Redirect(redirect) = route(
        "match: {prefix: /}, redirect: {https_redirect: true, host_redirect: h, port_redirect: 8443, prefix_rewrite: /b, \
         response_code: PERMANENT_REDIRECT, strip_query: true}",
    )
    .action
    else {
        panic!()
    };
    let expected = RedirectAction {
        scheme_rewrite: Some(SchemeRewrite::Https),
        host_redirect: Some("h".into()),
        port_redirect: Some(8443),
        path_rewrite: Some(RedirectPathRewrite::Prefix("/b".into())),
        response_code: 308,
        strip_query: true,
    };
    assert_eq!(*redirect, expected);
}

#[test]
fn a_direct_response_has_a_body_of_bounded_length() {
    let Action::DirectResponse(response) =
        route("match: {prefix: /}, direct_response: {status: 418, body: {inline_string: tea}}").action
    else {
        panic!()
    };
    assert_eq!(response.status, 418);
    assert_eq!(response.body, Some(DataSource::Inline(b"tea".as_slice().into())));
    let text = with_routes("{match: {prefix: /}, direct_response: {status: 200, body: {inline_string: tea}}}");
    assert_eq!(
        refuse(
            RouteConfiguration::parse,
            &format!("{text}\nmax_direct_response_body_size_bytes: 2")
        ),
        [
            "virtual_hosts[0].routes[0].direct_response.body: has 3 bytes, expected at most 2 \
          (max_direct_response_body_size_bytes)"
        ]
    );
}

#[test]
fn hash_policies_mirrors_and_upgrades_have_their_fields() {
    let action = action(
        "hash_policy: [{header: {header_name: X-U, regex_rewrite: {pattern: {regex: '^(.).*'}, substitution: '\\1'}}, \
         terminal: true}, {cookie: {name: s, ttl: 0s, path: /}}, {connection_properties: {source_ip: true}}, \
         {query_parameter: {name: q}}], request_mirror_policies: [{cluster: m, runtime_fraction: {default_value: {numerator: \
         1}}}], upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}], prefix_rewrite: /x, \
         auto_host_rewrite: true, priority: HIGH, internal_redirect_policy: {}, hedge_policy: {hedge_on_per_try_timeout: true}",
    );
    assert!(action.hash_policy[0].terminal);
    let HashPolicySpecifier::Header {
        header_name,
        regex_rewrite,
    } = &action.hash_policy[0].specifier
    else {
        panic!()
    };
    let mut first = Vec::new();
    regex_rewrite.as_ref().unwrap().rewrite(b"user", &mut first);
    assert_eq!((&**header_name, first.as_slice()), ("x-u", b"u".as_slice()));
    assert_eq!(action.hash_policy[2].specifier, HashPolicySpecifier::SourceIp);
    assert_eq!(
        action.request_mirror_policies[0].cluster,
        MirrorCluster::Name("m".into())
    );
    assert!(action.upgrade_configs[0].connect_config.is_some());
    assert_eq!(action.path_rewrite, Some(PathRewrite::Prefix("/x".into())));
    assert_eq!(
        (action.host_rewrite.clone(), action.priority),
        (Some(HostRewrite::Auto), RoutingPriority::High)
    );
    assert_eq!(
        action.internal_redirect_policy.clone().unwrap().redirect_response_codes,
        [302]
    );
    assert!(action.hedge_policy.unwrap().hedge_on_per_try_timeout);
}

#[test]
fn a_table_needs_every_cluster_that_it_names() {
    let table = table(
        "name: r
request_mirror_policies: [{cluster: m0}]
virtual_hosts:
- name: v
  domains: ['*']
  request_mirror_policies: [{cluster: m1}]
  routes:
  - {match: {prefix: /a}, route: {cluster: a, request_mirror_policies: [{cluster: m2}]}}
  - {match: {prefix: /b}, route: {weighted_clusters: {clusters: [{name: a, weight: 1}, {name: b, weight: 0}, {cluster_header: \
         x, weight: 1}]}}}
  - {match: {prefix: /c}, route: {cluster_header: x}}
  - {match: {prefix: /d}, redirect: {}}",
    );
    let references = table.references();
    let names: Vec<_> = references
        .names(crate::ResourceType::Cluster)
        .map(|name| &**name)
        .collect();
    assert_eq!(names, ["m0", "m1", "m2", "a", "b"]);
}

#[test]
fn what_is_refused_of_a_table_is_named_with_its_path() {
    refuse_each(
        RouteConfiguration::parse,
        "name: r",
        &[
            (
                "vhds: {}",
                "vhds: is not supported: virtual hosts cannot be discovered one by one (VHDS)",
            ),
            (
                "virtual_hosts: [{domains: [a]}]",
                "virtual_hosts[0].name: is required and must not be empty",
            ),
            (
                "virtual_hosts: [{name: v}]",
                "virtual_hosts[0].domains: is required and must not be empty",
            ),
            (
                "virtual_hosts: [{name: v, domains: [a.b]}, {name: w, domains: [c, A.b]}]",
                "virtual_hosts[1].domains[1]: is \"a.b\", which virtual_hosts[0] has",
            ),
            (
                "virtual_hosts: [{name: v, domains: [a, a]}]",
                "virtual_hosts[0].domains[1]: is \"a\", which virtual_hosts[0] has",
            ),
            (
                "virtual_hosts: [{name: v, domains: [a], cors: {}}]",
                "virtual_hosts[0].cors: is not supported: configure the filter envoy.filters.http.cors (typed_per_filter_config)",
            ),
            (
                "request_headers_to_remove: ['a b']",
                "request_headers_to_remove[0]: is \"a b\", expected the name of a header",
            ),
            (
                "request_headers_to_remove: [Host]",
                "request_headers_to_remove[0]: is \"host\": pseudo-headers and host may not be removed",
            ),
            (
                "response_headers_to_add: [{header: {key: ':status', value: x}}]",
                "response_headers_to_add[0].header.key: is \":status\": pseudo-headers and host may not be modified this way",
            ),
            (
                "response_headers_to_add: [{header: {key: a, value: \"b\\r\\nc: d\"}}]",
                "response_headers_to_add[0].header.value: holds a line break or a NUL",
            ),
            (
                "response_headers_to_add: [{}]",
                "response_headers_to_add[0].header: is required",
            ),
            (
                "response_headers_to_add: [{header: {key: a}, append: true, append_action: ADD_IF_ABSENT}]",
                "response_headers_to_add[0].append: and append_action may not both be set",
            ),
            (
                "typed_per_filter_config: {x: {'@type': type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors}}",
                "typed_per_filter_config[\"x\"]: per-route filter configuration \
                 \"envoy.extensions.filters.http.cors.v3.Cors\" is not supported",
            ),
            (
                "typed_per_filter_config: {x: {'@type': type.googleapis.com/envoy.config.route.v3.FilterConfig}}",
                "typed_per_filter_config[\"x\"].config: is required unless disabled is set",
            ),
        ],
    );
}

#[test]
fn what_is_refused_of_a_route_is_named_with_its_path() {
    let match_all = "match: {prefix: /}";
    let cases = [
        ("route: {cluster: c}".to_owned(), "match: is required"),
        (match_all.to_owned(), "has no route, redirect or direct_response"),
        ("match: {}, redirect: {}".to_owned(), "match: has no prefix, path, path_separated_prefix or safe_regex"),
        (
            "match: {path_separated_prefix: /a/}, redirect: {}".to_owned(),
            "match.path_separated_prefix: is \"/a/\", expected a path without query, fragment and final slash",
        ),
        (
            "match: {safe_regex: {regex: '('}}, redirect: {}".to_owned(),
            "match.safe_regex.regex: is not a valid regular expression: unclosed group",
        ),
        (
            "match: {safe_regex: {regex: '(.{1000}){1000}'}}, redirect: {}".to_owned(),
            "match.safe_regex.regex: regular expression is too large (over 1048576 bytes compiled)",
        ),
        (
            "match: {prefix: /, headers: [{name: a, string_match: {}}]}, redirect: {}".to_owned(),
            "match.headers[0].string_match: has no exact, prefix, suffix, contains or safe_regex",
        ),
        (
            "match: {prefix: /, headers: [{name: a, string_match: {safe_regex: {regex: a}, ignore_case: true}}]}, redirect: {}"
                .to_owned(),
            "match.headers[0].string_match.ignore_case: has no meaning for safe_regex: write (?i) in the expression",
        ),
        (
            "match: {prefix: /, query_parameters: [{}]}, redirect: {}".to_owned(),
            "match.query_parameters[0].name: is required and must not be empty",
        ),
        (
            "match: {prefix: /, filter_state: [{key: k, string_match: {exact: a}}]}, redirect: {}".to_owned(),
            "match.filter_state: is not supported: routes cannot depend on filter state",
        ),
        (
            "match: {prefix: /, dynamic_metadata: [{filter: f, value: {string_match: {exact: a}}}]}, redirect: {}".to_owned(),
            "match.dynamic_metadata[0].path: is required and must not be empty",
        ),
        (
            "match: {prefix: /, cookies: [{name: c}]}, redirect: {}".to_owned(),
            "match.cookies[0].string_match: is required",
        ),
        (format!("{match_all}, route: {{}}"), "route: has no cluster, cluster_header or weighted_clusters"),
        (
            format!("{match_all}, route: {{weighted_clusters: {{clusters: [{{name: a, weight: 0}}]}}}}"),
            "route.weighted_clusters.clusters: has weights that add up to 0, expected more",
        ),
        (
            format!("{match_all}, route: {{weighted_clusters: {{clusters: [{{name: a}}]}}}}"),
            "route.weighted_clusters.clusters[0].weight: is required",
        ),
        (
            format!("{match_all}, route: {{weighted_clusters: {{clusters: [{{name: a, cluster_header: b, weight: 1}}]}}}}"),
            "route.weighted_clusters.clusters[0].name: and cluster_header may not both be set",
        ),
        (
            format!("{match_all}, route: {{cluster: c, prefix_rewrite: /, regex_rewrite: {{pattern: {{regex: a}}}}}}"),
            "route.prefix_rewrite: and regex_rewrite may not both be set",
        ),
        (
            format!("{match_all}, route: {{cluster: c, regex_rewrite: {{pattern: {{regex: a}}, substitution: '\\1'}}}}"),
            "route.regex_rewrite: substitution \"\\\\1\" names capture 1, the pattern has 0",
        ),
        (
            format!("{match_all}, route: {{cluster: c, retry_policy: {{retry_back_off: {{}}}}}}"),
            "route.retry_policy.retry_back_off.base_interval: is required",
        ),
        (
            format!(
                "{match_all}, route: {{cluster: c, retry_policy: {{retry_back_off: {{base_interval: 2s, max_interval: 1s}}}}}}"
            ),
            "route.retry_policy.retry_back_off.max_interval: is 1s, expected at least base_interval, 2s",
        ),
        (
            format!("{match_all}, route: {{cluster: c, retry_policy: {{retry_host_predicate: [{{name: x}}]}}}}"),
            "route.retry_policy.retry_host_predicate[0].typed_config: is required",
        ),
        (
            format!("{match_all}, route: {{cluster: c, retry_policy: {{retry_priority: {{name: x}}}}}}"),
            "route.retry_policy.retry_priority.typed_config: is required",
        ),
        (
            format!(
                "{match_all}, route: {{cluster: c, retry_policy: {{retry_priority: {{name: x, typed_config: {{'@type': \
                 type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig}}}}}}}}"
            ),
            "route.retry_policy.retry_priority.typed_config.update_frequency: is 0, expected at least 1",
        ),
        (
            format!("{match_all}, route: {{cluster: c, hash_policy: [{{}}]}}"),
            "route.hash_policy[0]: has nothing to hash",
        ),
        (
            format!("{match_all}, route: {{cluster: c, upgrade_configs: [{{upgrade_type: websocket, connect_config: {{}}}}]}}"),
            "route.upgrade_configs[0].connect_config: has a meaning for the upgrade type CONNECT only",
        ),
        (
            format!("{match_all}, route: {{cluster: c, rate_limits: [{{actions: [{{remote_address: {{}}}}]}}]}}"),
            "route.rate_limits: is not supported: there is no rate limit filter",
        ),
        (format!("{match_all}, direct_response: {{status: 100}}"), "direct_response.status: is 100, expected 200 to 599"),
        (
            format!("{match_all}, redirect: {{port_redirect: 70000}}"),
            "redirect.port_redirect: is 70000, expected a port up to 65535",
        ),
    ];
    for (route, fault) in cases {
        let colon = if fault.starts_with("has no") { ": " } else { "." };
        assert_eq!(
            refuse(RouteConfiguration::parse, &with_routes(&format!("{{{route}}}"))),
            [format!("virtual_hosts[0].routes[0]{colon}{fault}")]
        );
    }
}

/// What Envoy accepts and what means nothing is no fault here either.
#[test]
fn what_envoy_passes_over_is_passed_over() {
    let routes = "{match: {prefix: /}, route: {cluster: c, internal_redirect_policy: {redirect_response_codes: [200, 303]}, \
                  hash_policy: [{connection_properties: {}}], retry_policy: {retriable_status_codes: [999, 70000]}}}, {match: \
                  {prefix: /}, redirect: {path_redirect: '/a?b', strip_query: true}}";
    let text = format!("virtual_hosts: [{{name: v, domains: ['', 'a.*.b', '*a*'], routes: [{routes}]}}]");
    let table = table(&text);
    let Action::Route(action) = &table.virtual_hosts[0].routes[0].action else {
        panic!()
    };
    assert_eq!(
        action
            .internal_redirect_policy
            .as_ref()
            .unwrap()
            .redirect_response_codes,
        [303]
    );
    assert!(action.hash_policy.is_empty());
    assert_eq!(action.retry_policy.as_ref().unwrap().retriable_status_codes, [999]);
    assert_eq!(
        without_effect(RouteConfiguration::parse, &text),
        [
            "virtual_hosts[0].domains[1]",
            "virtual_hosts[0].domains[2]",
            "virtual_hosts[0].routes[0].route.internal_redirect_policy.redirect_response_codes[0]",
        ]
    );
}

#[test]
fn what_has_no_effect_in_a_table_is_listed() {
    let text = "virtual_hosts: [{name: v, domains: [a], routes: [{match: {safe_regex: {regex: a, \
                google_re2: {max_program_size: 5}}}, tracing: {}, route: {weighted_clusters: {total_weight: 1, clusters: [{name: \
                c, weight: 1}]}}}]}]";
    assert_eq!(
        without_effect(RouteConfiguration::parse, text),
        [
            "virtual_hosts[0].routes[0].tracing",
            "virtual_hosts[0].routes[0].match.safe_regex.google_re2.max_program_size",
            "virtual_hosts[0].routes[0].route.weighted_clusters.total_weight",
        ]
    );
}
