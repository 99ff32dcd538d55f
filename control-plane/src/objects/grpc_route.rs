//! GRPCRoute to [`Route`]: every field is read, or named as not supported.

use gateway_api::experimental::grpcroutes as api;
use gateway_api::experimental::grpcroutes::GrpcRoute;

use super::route::{
    Backend, Filters, GrpcMethod, HeaderChanges, Match, Mirror, Parent, PathMatch, Route, RouteKind, Rule, StringMatch,
    ValueMatch,
};
use super::route_fields::{
    Fields, FilterFields, backend_ref, fraction, header_changes_of, header_name, parent, regex, weight,
};

/// Reads a GRPCRoute.
///
/// # Errors
/// Every field that is wrong or not supported, with its path.
pub(super) fn read(route: &GrpcRoute) -> Result<Route, Vec<(String, String)>> {
    let mut fields = Fields::default();
    let spec = &route.spec;
    if spec.use_default_gateways.is_some() {
        fields.unsupported("spec.useDefaultGateways", "a mesh has no default Gateway");
    }
    let mut parents: Vec<Parent> = Vec::new();
    for (index, reference) in spec.parent_refs.iter().flatten().enumerate() {
        parents.extend(parent(
            &mut fields,
            format!("spec.parentRefs[{index}]"),
            (reference.group.as_deref(), reference.kind.as_deref()),
            (reference.namespace.as_deref(), &reference.name),
            reference.port,
            reference.section_name.as_deref(),
        ));
    }
    let rules = spec.rules.iter().flatten().enumerate();
    let rules = rules
        .map(|(index, rule)| read_rule(&mut fields, &format!("spec.rules[{index}]"), rule))
        .collect();
    fields.finish(Route {
        kind: RouteKind::Grpc,
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

fn read_rule(fields: &mut Fields, path: &str, rule: &api::GrpcRouteRules) -> Rule {
    if rule.session_persistence.is_some() {
        fields.unsupported(
            &format!("{path}.sessionPersistence"),
            "sessions are not pinned to endpoints",
        );
    }
    let matches = rule.matches.iter().flatten().enumerate();
    let matches = matches
        .map(|(index, condition)| read_match(fields, &format!("{path}.matches[{index}]"), condition))
        .collect();
    let filters = read_filters(
        fields,
        &format!("{path}.filters"),
        rule.filters.as_deref().unwrap_or_default(),
    );
    let backends = rule.backend_refs.iter().flatten().enumerate();
    let backends = backends
        .filter_map(|(index, backend)| read_backend(fields, format!("{path}.backendRefs[{index}]"), backend))
        .collect();
    Rule {
        matches,
        filters,
        backends,
        redirect: None,
        timeout: None,
        backend_timeout: None,
        retry: None,
    }
}

fn read_match(fields: &mut Fields, path: &str, condition: &api::GrpcRouteRulesMatches) -> Match {
    let mut method = GrpcMethod::default();
    if let Some(wanted) = &condition.method {
        method.regex = matches!(
            wanted.r#type,
            Some(api::GrpcRouteRulesMatchesMethodType::RegularExpression)
        );
        method.service.clone_from(&wanted.service);
        method.method.clone_from(&wanted.method);
        for (name, value) in [("service", &method.service), ("method", &method.method)] {
            let Some(value) = value else { continue };
            let path = format!("{path}.method.{name}");
            if method.regex {
                regex(fields, &path, value);
            } else if value.is_empty() || value.contains('/') {
                fields.wrong(&path, &format!("found \"{value}\", expected a name without \"/\""));
            }
        }
        if method.service.is_none() && method.method.is_none() {
            fields.wrong(&format!("{path}.method"), "one of service and method is needed");
        }
    }
    let mut headers: Vec<ValueMatch> = Vec::new();
    for (index, header) in condition.headers.iter().flatten().enumerate() {
        let path = format!("{path}.headers[{index}]");
        let Some(name) = header_name(fields, &format!("{path}.name"), &header.name) else {
            continue;
        };
        let value = match header.r#type {
            Some(api::GrpcRouteRulesMatchesHeadersType::RegularExpression) => {
                regex(fields, &format!("{path}.value"), &header.value).map(StringMatch::Regex)
            }
            _ => Some(StringMatch::Exact(header.value.clone())),
        };
        // Of entries with one name only the first counts (GRPCHeaderMatch.name).
        if let Some(value) = value
            && headers.iter().all(|earlier| earlier.name != name)
        {
            headers.push(ValueMatch { name, value });
        }
    }
    Match {
        path: PathMatch::Grpc(method),
        method: None,
        headers,
        query: Vec::new(),
    }
}

fn read_filters(fields: &mut Fields, path: &str, filters: &[api::GrpcRouteRulesFilters]) -> Filters {
    use api::GrpcRouteRulesFiltersType as Type;
    let mut found = Filters::default();
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
            Type::ExtensionRef => filter_fields.unsupported("extensionRef"),
        }
    }
    found
}

fn read_backend(fields: &mut Fields, path: String, backend: &api::GrpcRouteRulesBackendRefs) -> Option<Backend> {
    use api::GrpcRouteRulesBackendRefsFiltersType as Type;
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
