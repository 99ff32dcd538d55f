//! HTTPRoute to [`Route`]: every field is read, or named as not supported.

use gateway_api::experimental::httproutes as api;
use gateway_api::experimental::httproutes::HttpRoute;

use super::route::{
    Backend, Filters, HeaderChanges, Match, Mirror, PathMatch, PathRewrite, Redirect, Route, RouteKind, RouteRetry,
    Rule, StringMatch, ValueMatch,
};
use super::route_fields::{
    Fields, FilterFields, backend_ref, fraction, header_changes_of, header_name, parent, path_value, regex, weight,
};

/// Reads an HTTPRoute.
///
/// # Errors
/// Every field that is wrong or not supported, with its path.
pub(super) fn read(route: &HttpRoute) -> Result<Route, Vec<(String, String)>> {
    let mut fields = Fields::default();
    let spec = &route.spec;
    if spec.use_default_gateways.is_some() {
        fields.unsupported("spec.useDefaultGateways", "a mesh has no default Gateway");
    }
    let parents = parents(&mut fields, spec.parent_refs.as_deref().unwrap_or_default());
    let rules = spec.rules.as_deref().unwrap_or_default();
    let rules = rules
        .iter()
        .enumerate()
        .map(|(index, rule)| read_rule(&mut fields, &format!("spec.rules[{index}]"), rule));
    let rules = rules.collect();
    fields.finish(Route {
        kind: RouteKind::Http,
        created: route
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0.to_string()),
        parents,
        has_hostnames: spec.hostnames.as_ref().is_some_and(|names| !names.is_empty()),
        rules,
    })
}

fn parents(fields: &mut Fields, parents: &[api::HttpRouteParentRefs]) -> Vec<super::route::Parent> {
    let mut found = Vec::new();
    for (index, reference) in parents.iter().enumerate() {
        let path = format!("spec.parentRefs[{index}]");
        found.extend(parent(
            fields,
            path,
            (reference.group.as_deref(), reference.kind.as_deref()),
            (reference.namespace.as_deref(), &reference.name),
            reference.port,
            reference.section_name.as_deref(),
        ));
    }
    found
}

fn read_rule(fields: &mut Fields, path: &str, rule: &api::HttpRouteRules) -> Rule {
    if rule.session_persistence.is_some() {
        fields.unsupported(
            &format!("{path}.sessionPersistence"),
            "sessions are not pinned to endpoints",
        );
    }
    let matches = rule.matches.as_deref().unwrap_or_default();
    let matches: Vec<Match> = matches
        .iter()
        .enumerate()
        .map(|(index, condition)| read_match(fields, &format!("{path}.matches[{index}]"), condition))
        .collect();
    let (filters, redirect) = read_filters(
        fields,
        &format!("{path}.filters"),
        rule.filters.as_deref().unwrap_or_default(),
    );
    let replaces_prefix = |rewrite: &Option<PathRewrite>| matches!(rewrite, Some(PathRewrite::Prefix(_)));
    if (replaces_prefix(&filters.rewrite_path)
        || redirect
            .as_ref()
            .is_some_and(|redirect| replaces_prefix(&redirect.path)))
        && !matches
            .iter()
            .all(|condition| matches!(condition.path, PathMatch::Prefix(_)))
    {
        fields.wrong(
            &format!("{path}.filters"),
            "replacePrefixMatch needs every match of its rule to be a PathPrefix",
        );
    }
    let backends = rule.backend_refs.as_deref().unwrap_or_default();
    let backends: Vec<Backend> = backends
        .iter()
        .enumerate()
        .filter_map(|(index, backend)| read_backend(fields, format!("{path}.backendRefs[{index}]"), backend))
        .collect();
    if redirect.is_some() && !backends.is_empty() {
        fields.wrong(&format!("{path}.backendRefs"), "a rule that redirects has no backends");
    }
    let timeouts = rule.timeouts.clone().unwrap_or_default();
    let timeout = fields.duration(&format!("{path}.timeouts.request"), timeouts.request.as_deref());
    let backend_timeout = fields.duration(
        &format!("{path}.timeouts.backendRequest"),
        timeouts.backend_request.as_deref(),
    );
    if let (Some(whole), Some(each)) = (timeout, backend_timeout)
        && each > whole
        && !whole.is_zero()
    {
        fields.wrong(
            &format!("{path}.timeouts.backendRequest"),
            "longer than timeouts.request",
        );
    }
    Rule {
        matches,
        filters,
        backends,
        redirect,
        timeout,
        backend_timeout,
        retry: rule
            .retry
            .as_ref()
            .map(|retry| read_retry(fields, &format!("{path}.retry"), retry)),
    }
}

fn read_match(fields: &mut Fields, path: &str, condition: &api::HttpRouteRulesMatches) -> Match {
    use api::{HttpRouteRulesMatchesHeadersType as HeaderType, HttpRouteRulesMatchesPathType as PathType};
    let path_match = condition.path.clone().unwrap_or_default();
    let value = path_match.value.unwrap_or_else(|| "/".to_owned());
    let value_path = format!("{path}.path.value");
    let path_match = match path_match.r#type.unwrap_or(PathType::PathPrefix) {
        PathType::Exact => PathMatch::Exact(path_value(fields, &value_path, value)),
        PathType::PathPrefix => PathMatch::Prefix(path_value(fields, &value_path, value)),
        PathType::RegularExpression => match regex(fields, &value_path, &value) {
            Some(expression) => PathMatch::Regex(expression),
            None => PathMatch::Exact(value),
        },
    };
    let mut headers: Vec<ValueMatch> = Vec::new();
    for (index, header) in condition.headers.iter().flatten().enumerate() {
        let path = format!("{path}.headers[{index}]");
        let Some(name) = header_name(fields, &format!("{path}.name"), &header.name) else {
            continue;
        };
        let is_regex = matches!(header.r#type, Some(HeaderType::RegularExpression));
        // Of entries with one name only the first counts (HTTPHeaderMatch.name).
        if let Some(value) = string_match(fields, &format!("{path}.value"), is_regex, &header.value)
            && headers.iter().all(|earlier| earlier.name != name)
        {
            headers.push(ValueMatch { name, value });
        }
    }
    let mut query: Vec<ValueMatch> = Vec::new();
    for (index, parameter) in condition.query_params.iter().flatten().enumerate() {
        let is_regex = matches!(
            parameter.r#type,
            Some(api::HttpRouteRulesMatchesQueryParamsType::RegularExpression)
        );
        let path = format!("{path}.queryParams[{index}].value");
        if let Some(value) = string_match(fields, &path, is_regex, &parameter.value)
            && query.iter().all(|earlier| earlier.name != parameter.name)
        {
            query.push(ValueMatch {
                name: parameter.name.clone(),
                value,
            });
        }
    }
    Match {
        path: path_match,
        method: condition.method.as_ref().map(method_name).map(str::to_owned),
        headers,
        query,
    }
}

fn method_name(method: &api::HttpRouteRulesMatchesMethod) -> &'static str {
    use api::HttpRouteRulesMatchesMethod as Method;
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
    }
}

fn string_match(fields: &mut Fields, path: &str, is_regex: bool, value: &str) -> Option<StringMatch> {
    if is_regex {
        regex(fields, path, value).map(StringMatch::Regex)
    } else {
        Some(StringMatch::Exact(value.to_owned()))
    }
}

fn read_filters(
    fields: &mut Fields,
    path: &str,
    filters: &[api::HttpRouteRulesFilters],
) -> (Filters, Option<Redirect>) {
    use api::HttpRouteRulesFiltersType as Type;
    let mut found = Filters::default();
    let mut redirect = None;
    for (index, filter) in filters.iter().enumerate() {
        let mut filter_fields = FilterFields::new(fields, format!("{path}[{index}]"));
        match filter.r#type {
            Type::RequestHeaderModifier => {
                if let Some(changes) =
                    filter_fields.required("requestHeaderModifier", filter.request_header_modifier.as_ref())
                {
                    found.request_headers = header_changes_of!(filter_fields, changes, "requestHeaderModifier");
                }
            }
            Type::ResponseHeaderModifier => {
                if let Some(changes) =
                    filter_fields.required("responseHeaderModifier", filter.response_header_modifier.as_ref())
                {
                    found.response_headers = header_changes_of!(filter_fields, changes, "responseHeaderModifier");
                }
            }
            Type::RequestMirror => {
                if let Some(mirror) = filter_fields.required("requestMirror", filter.request_mirror.as_ref()) {
                    let path = filter_fields.path("requestMirror.backendRef");
                    let target = &mirror.backend_ref;
                    let kind = (target.group.as_deref(), target.kind.as_deref());
                    let name = (target.namespace.as_deref(), target.name.as_str());
                    let share = mirror
                        .fraction
                        .as_ref()
                        .map(|share| (share.numerator, share.denominator));
                    let fraction = fraction(filter_fields.fields, &path, share, mirror.percent);
                    if let Some(target) = backend_ref(filter_fields.fields, &path, kind, name, target.port) {
                        found.mirrors.push(Mirror { path, target, fraction });
                    }
                }
            }
            Type::UrlRewrite => {
                if let Some(rewrite) = filter_fields.required("urlRewrite", filter.url_rewrite.as_ref()) {
                    found.rewrite_host.clone_from(&rewrite.hostname);
                    found.rewrite_path = rewrite.path.as_ref().and_then(|path| {
                        filter_fields.path_rewrite(
                            "urlRewrite.path",
                            path.replace_full_path.as_ref(),
                            path.replace_prefix_match.as_ref(),
                        )
                    });
                }
            }
            Type::RequestRedirect => {
                if let Some(to) = filter_fields.required("requestRedirect", filter.request_redirect.as_ref()) {
                    redirect = Some(read_redirect(&mut filter_fields, to));
                }
            }
            Type::Cors => filter_fields.unsupported("cors"),
            Type::ExternalAuth => filter_fields.unsupported("externalAuth"),
            Type::ExtensionRef => filter_fields.unsupported("extensionRef"),
        }
    }
    (found, redirect)
}

fn read_redirect(fields: &mut FilterFields<'_>, redirect: &api::HttpRouteRulesFiltersRequestRedirect) -> Redirect {
    use api::HttpRouteRulesFiltersRequestRedirectScheme as Scheme;
    let status = redirect.status_code.unwrap_or(302);
    let status = match u16::try_from(status) {
        Ok(status @ (301 | 302 | 303 | 307 | 308)) => status,
        _ => {
            let reason = format!("found {status}, expected 301, 302, 303, 307 or 308");
            fields.wrong("requestRedirect.statusCode", &reason);
            302
        }
    };
    Redirect {
        scheme: redirect.scheme.as_ref().map(|scheme| match scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }),
        host: redirect.hostname.clone(),
        port: redirect.port.and_then(|port| fields.port("requestRedirect.port", port)),
        path: redirect.path.as_ref().and_then(|path| {
            fields.path_rewrite(
                "requestRedirect.path",
                path.replace_full_path.as_ref(),
                path.replace_prefix_match.as_ref(),
            )
        }),
        status,
    }
}

fn read_backend(fields: &mut Fields, path: String, backend: &api::HttpRouteRulesBackendRefs) -> Option<Backend> {
    use api::HttpRouteRulesBackendRefsFiltersType as Type;
    let mut request_headers = HeaderChanges::default();
    let mut response_headers = HeaderChanges::default();
    for (index, filter) in backend.filters.iter().flatten().enumerate() {
        let mut filter_fields = FilterFields::new(fields, format!("{path}.filters[{index}]"));
        match filter.r#type {
            Type::RequestHeaderModifier => {
                if let Some(changes) =
                    filter_fields.required("requestHeaderModifier", filter.request_header_modifier.as_ref())
                {
                    request_headers = header_changes_of!(filter_fields, changes, "requestHeaderModifier");
                }
            }
            Type::ResponseHeaderModifier => {
                if let Some(changes) =
                    filter_fields.required("responseHeaderModifier", filter.response_header_modifier.as_ref())
                {
                    response_headers = header_changes_of!(filter_fields, changes, "responseHeaderModifier");
                }
            }
            Type::RequestMirror => filter_fields.unsupported_at_backend("requestMirror"),
            Type::RequestRedirect => filter_fields.unsupported_at_backend("requestRedirect"),
            Type::UrlRewrite => filter_fields.unsupported_at_backend("urlRewrite"),
            Type::Cors => filter_fields.unsupported("cors"),
            Type::ExternalAuth => filter_fields.unsupported("externalAuth"),
            Type::ExtensionRef => filter_fields.unsupported("extensionRef"),
        }
    }
    let kind = (backend.group.as_deref(), backend.kind.as_deref());
    let name = (backend.namespace.as_deref(), backend.name.as_str());
    let target = backend_ref(fields, &path, kind, name, backend.port)?;
    let weight = weight(fields, &path, backend.weight)?;
    Some(Backend {
        path,
        target,
        weight,
        request_headers,
        response_headers,
    })
}

fn read_retry(fields: &mut Fields, path: &str, retry: &api::HttpRouteRulesRetry) -> RouteRetry {
    let mut codes = Vec::new();
    for (index, &code) in retry.codes.iter().flatten().enumerate() {
        match u32::try_from(code) {
            Ok(code @ 400..=599) => codes.push(code),
            _ => fields.wrong(
                &format!("{path}.codes[{index}]"),
                &format!("found {code}, expected 400 to 599"),
            ),
        }
    }
    let attempts = retry.attempts.and_then(|attempts| {
        let found = u32::try_from(attempts).ok();
        if found.is_none() {
            fields.wrong(
                &format!("{path}.attempts"),
                &format!("found {attempts}, expected 0 or more"),
            );
        }
        found
    });
    RouteRetry {
        codes,
        attempts,
        backoff: fields.duration(&format!("{path}.backoff"), retry.backoff.as_deref()),
    }
}
