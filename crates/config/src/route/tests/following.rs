//! Templates, redirects that are followed, and what is attached to requests.

use super::*;

#[test]
fn templates_match_and_rewrite_paths() {
    const MATCH: &str =
        "'@type': type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig";
    const REWRITE: &str =
        "'@type': type.googleapis.com/envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig";
    let with = |path: &str, rewrite: &str| {
        format!(
            "{{match: {{{path}}}, route: {{cluster: c, path_rewrite_policy: {{name: r, typed_config: {{{REWRITE}, \
             path_template_rewrite: '{rewrite}'}}}}}}}}"
        )
    };
    let template = format!("path_match_policy: {{name: m, typed_config: {{{MATCH}, path_template: '/a/{{b}}/**'}}}}");
    let table = table(&with_routes(&with(&template, "/{b}")));
    let route = &table.virtual_hosts[0].routes[0];
    let PathSpecifier::Template(template_of_route) = &route.route_match.path else {
        panic!("{route:?}")
    };
    assert!(template_of_route.is_match(b"/a/x/y/z") && !template_of_route.is_match(b"/a/x"));
    let Action::Route(action) = &route.action else { panic!() };
    assert!(matches!(action.path_rewrite, Some(PathRewrite::Regex(_))));
    let path = "virtual_hosts[0].routes[0].route.path_rewrite_policy.typed_config";
    assert_eq!(
        refuse(RouteConfiguration::parse, &with_routes(&with("prefix: /", "/{b}"))),
        [format!("{path}: needs a path_match_policy with a template")]
    );
    assert_eq!(
        refuse(RouteConfiguration::parse, &with_routes(&with(&template, "/{c}"))),
        [format!(
            "{path}.path_template_rewrite: is \"/{{c}}\": names the variable \"c\", which the route's match does not have"
        )]
    );
}

#[test]
fn what_a_redirect_must_be_like_to_be_followed_is_read() {
    const AT: &str = "'@type': type.googleapis.com/envoy.extensions.internal_redirect";
    let with = |more: &str| {
        format!(
            "internal_redirect_policy: {{max_internal_redirects: 3, allow_cross_scheme_redirect: true, \
             response_headers_to_copy: [X-A{more}], predicates: [\
             {{name: a, typed_config: {{{AT}.previous_routes.v3.PreviousRoutesConfig}}}}, \
             {{name: b, typed_config: {{{AT}.allow_listed_routes.v3.AllowListedRoutesConfig, allowed_route_names: [r]}}}}, \
             {{name: c, typed_config: {{{AT}.safe_cross_scheme.v3.SafeCrossSchemeConfig}}}}]}}"
        )
    };
    let policy = action(&with("")).internal_redirect_policy.clone().unwrap();
    assert_eq!(
        policy.predicates,
        [
            InternalRedirectPredicate::PreviousRoutes,
            InternalRedirectPredicate::AllowListedRoutes(vec!["r".into()]),
            InternalRedirectPredicate::SafeCrossScheme
        ]
    );
    let at = "virtual_hosts[0].routes[0].route.internal_redirect_policy";
    let refused = |action: &str| {
        let text = with_routes(&format!("{{match: {{prefix: /}}, route: {{cluster: c, {action}}}}}"));
        refuse(RouteConfiguration::parse, &text)
    };
    assert_eq!(
        refused(&with(", x-a")),
        [format!(
            "{at}.response_headers_to_copy[1]: is \"x-a\", which is there already"
        )]
    );
    assert_eq!(
        refused(&with(", ':path'")),
        [format!(
            "{at}.response_headers_to_copy[1]: is \":path\": pseudo-headers are not copied"
        )]
    );
}

#[test]
fn metadata_that_nobody_attaches_matches_what_asks_for_none() {
    let needs = |matcher: &str| {
        route(&format!(
            "match: {{prefix: /, dynamic_metadata: [{{filter: f, path: [{{key: k}}], {matcher}}}]}}, redirect: {{}}"
        ))
        .route_match
        .needs_metadata
    };
    assert!(needs("value: {string_match: {exact: a}}"));
    assert!(!needs("value: {string_match: {exact: a}}, invert: true"));
    assert!(needs(
        "value: {or_match: {value_matchers: [{bool_match: true}, {present_match: true}]}}"
    ));
}
