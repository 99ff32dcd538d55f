//! Routes of the outbound listener: virtual hosts by authority.

use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use xds_api::envoy::config::route::v3 as route;
use xds_api::envoy::config::route::v3::route::Action;
use xds_api::envoy::config::route::v3::route_action::{
    ClusterSpecifier, HostRewriteSpecifier, MaxStreamDuration, RequestMirrorPolicy,
};
use xds_api::envoy::config::route::v3::{
    DirectResponseAction, RedirectAction, RetryPolicy, Route, RouteAction, RouteMatch, WeightedCluster,
    redirect_action, retry_policy, route_match, weighted_cluster,
};
use xds_api::envoy::r#type::matcher::v3::{RegexMatchAndSubstitute, RegexMatcher};
use xds_api::envoy::r#type::v3::FractionalPercent;
use xds_api::envoy::r#type::v3::fractional_percent::DenominatorType;

use super::{names, parts, route_match as matches};
use crate::model::{MeshSettings, PortRef, ResolvedMirror, ResolvedRule, ServicePort, TableEntry};
use crate::objects::route::{HeaderChanges, Match, PathMatch, PathRewrite, Redirect};
use crate::objects::service_policy::{Retry, ServicePolicySpec};

/// The status of an answer to a request whose rule has nowhere to send it (Gateway API,
/// `HTTPRouteRule.backendRefs`).
const NO_BACKEND: u32 = 500;

/// The routes of a port, for callers whose rules these are.
pub(super) fn routes(
    settings: &MeshSettings,
    policy: &ServicePolicySpec,
    reference: &PortRef,
    rules: Option<&[TableEntry]>,
) -> Vec<Route> {
    match rules {
        None => vec![Route {
            name: "default".to_owned(),
            r#match: Some(everything()),
            action: Some(Action::Route(RouteAction {
                cluster_specifier: Some(ClusterSpecifier::Cluster(names::outbound_cluster(settings, reference))),
                retry_policy: policy.retry.as_ref().map(policy_retry),
                ..forward()
            })),
            ..Default::default()
        }],
        Some(rules) => rules.iter().map(|entry| routed(settings, policy, entry)).collect(),
    }
}

/// The routes to an application beside its sidecar.
pub(super) fn inbound_routes(app_port: u16) -> Vec<Route> {
    vec![Route {
        name: "default".to_owned(),
        r#match: Some(everything()),
        action: Some(Action::Route(RouteAction {
            cluster_specifier: Some(ClusterSpecifier::Cluster(names::inbound_cluster(app_port))),
            ..forward()
        })),
        ..Default::default()
    }]
}

/// Whether a port's routes may send requests nowhere, for which there is a cluster.
pub(super) fn leads_nowhere(port: &ServicePort) -> bool {
    let tables = port.producer_rules.iter().chain(port.consumer_rules.values());
    tables
        .flatten()
        .any(|entry| entry.rule.backends.iter().any(|backend| backend.target.is_none()))
}

fn everything() -> RouteMatch {
    RouteMatch {
        path_specifier: Some(route_match::PathSpecifier::Prefix("/".to_owned())),
        ..Default::default()
    }
}

/// What every forwarding route has: no time limit of the proxy's own, and the caller's
/// (`grpc-timeout`) kept. Envoy's default would end each stream after 15 s.
fn forward() -> RouteAction {
    RouteAction {
        timeout: Some(parts::duration(std::time::Duration::ZERO)),
        max_stream_duration: Some(MaxStreamDuration {
            grpc_timeout_header_max: Some(parts::duration(std::time::Duration::ZERO)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn routed(settings: &MeshSettings, policy: &ServicePolicySpec, entry: &TableEntry) -> Route {
    let rule = &*entry.rule;
    let action = if let Some(redirect) = &rule.redirect {
        Action::Redirect(redirected(redirect, &entry.condition))
    } else if rule.backends.iter().all(|backend| backend.target.is_none()) {
        Action::DirectResponse(DirectResponseAction {
            status: NO_BACKEND,
            ..Default::default()
        })
    } else {
        Action::Route(forwarded(settings, policy, rule, &entry.condition))
    };
    let mut built = Route {
        name: entry.name.clone(),
        r#match: Some(matches::route_match(&entry.condition)),
        action: Some(action),
        ..Default::default()
    };
    (built.request_headers_to_add, built.request_headers_to_remove) = header_options(&rule.filters.request_headers);
    (built.response_headers_to_add, built.response_headers_to_remove) = header_options(&rule.filters.response_headers);
    built
}

fn forwarded(
    settings: &MeshSettings,
    policy: &ServicePolicySpec,
    rule: &ResolvedRule,
    condition: &Match,
) -> RouteAction {
    let mut action = RouteAction {
        cluster_specifier: Some(cluster_specifier(settings, rule)),
        host_rewrite_specifier: rule
            .filters
            .rewrite_host
            .clone()
            .map(HostRewriteSpecifier::HostRewriteLiteral),
        request_mirror_policies: rule.mirrors.iter().map(|mirror| mirrored(settings, mirror)).collect(),
        retry_policy: retry(policy, rule),
        ..forward()
    };
    match &rule.filters.rewrite_path {
        None => {}
        Some(PathRewrite::Full(path)) => action.regex_rewrite = Some(whole_path(path)),
        Some(PathRewrite::Prefix(replacement)) => match prefix_replacement(condition, replacement) {
            PrefixReplacement::Prefix(prefix) => action.prefix_rewrite = prefix,
            PrefixReplacement::Regex(rewrite) => action.regex_rewrite = Some(rewrite),
        },
    }
    let limits = [rule.timeout, rule.backend_timeout];
    let limits = limits.into_iter().flatten().filter(|limit| !limit.is_zero());
    // Without retries there is one attempt, and the shorter limit ends it.
    let limit = if action.retry_policy.is_some() {
        rule.timeout.filter(|limit| !limit.is_zero())
    } else {
        limits.min()
    };
    if let Some(limit) = limit {
        action.timeout = Some(parts::duration(limit));
    }
    action
}

fn cluster_specifier(settings: &MeshSettings, rule: &ResolvedRule) -> ClusterSpecifier {
    let name = |target: &Option<PortRef>| match target {
        Some(target) => names::outbound_cluster(settings, target),
        None => names::NOWHERE_CLUSTER.to_owned(),
    };
    if let [only] = rule.backends.as_slice()
        && only.request_headers.is_empty()
        && only.response_headers.is_empty()
    {
        return ClusterSpecifier::Cluster(name(&only.target));
    }
    let clusters = rule.backends.iter().map(|backend| {
        let (request_headers_to_add, request_headers_to_remove) = header_options(&backend.request_headers);
        let (response_headers_to_add, response_headers_to_remove) = header_options(&backend.response_headers);
        weighted_cluster::ClusterWeight {
            name: name(&backend.target),
            weight: Some(parts::number(backend.weight)),
            request_headers_to_add,
            request_headers_to_remove,
            response_headers_to_add,
            response_headers_to_remove,
            ..Default::default()
        }
    });
    ClusterSpecifier::WeightedClusters(WeightedCluster {
        clusters: clusters.collect(),
        ..Default::default()
    })
}

fn mirrored(settings: &MeshSettings, mirror: &ResolvedMirror) -> RequestMirrorPolicy {
    let (numerator, denominator) = mirror.fraction;
    // Envoy knows hundredths, ten thousandths and millionths.
    let millionths = u64::from(numerator) * 1_000_000 / u64::from(denominator.max(1));
    RequestMirrorPolicy {
        cluster: names::outbound_cluster(settings, &mirror.target),
        runtime_fraction: (numerator < denominator).then(|| core::RuntimeFractionalPercent {
            default_value: Some(FractionalPercent {
                numerator: u32::try_from(millionths).unwrap_or(1_000_000),
                denominator: DenominatorType::Million.into(),
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A rule's retries, or the policy's where the rule says nothing.
fn retry(policy: &ServicePolicySpec, rule: &ResolvedRule) -> Option<RetryPolicy> {
    let per_try = rule
        .backend_timeout
        .filter(|limit| !limit.is_zero())
        .map(parts::duration);
    let mut built = match &rule.retry {
        None => policy.retry.as_ref().map(policy_retry)?,
        Some(retry) => {
            let mut conditions = vec!["connect-failure", "refused-stream"];
            if !retry.codes.is_empty() {
                conditions.push("retriable-status-codes");
            }
            RetryPolicy {
                retry_on: conditions.join(","),
                num_retries: retry.attempts.map(parts::number),
                retriable_status_codes: retry.codes.clone(),
                retry_back_off: retry.backoff.map(|backoff| retry_policy::RetryBackOff {
                    base_interval: Some(parts::duration(backoff)),
                    ..Default::default()
                }),
                ..Default::default()
            }
        }
    };
    if per_try.is_some() {
        built.per_try_timeout = per_try;
    }
    Some(built)
}

fn policy_retry(retry: &Retry) -> RetryPolicy {
    let conditions = match &retry.on {
        Some(conditions) => conditions.join(","),
        None => "connect-failure,refused-stream".to_owned(),
    };
    RetryPolicy {
        retry_on: conditions,
        num_retries: Some(parts::number(retry.attempts)),
        per_try_timeout: retry.per_try_timeout.map(|timeout| parts::duration(timeout.0)),
        retry_back_off: retry.base_interval.map(|base| retry_policy::RetryBackOff {
            base_interval: Some(parts::duration(base.0)),
            max_interval: retry.max_interval.map(|max| parts::duration(max.0)),
        }),
        ..Default::default()
    }
}

fn redirected(redirect: &Redirect, condition: &Match) -> RedirectAction {
    use redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
    let code = match redirect.status {
        301 => RedirectResponseCode::MovedPermanently,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => RedirectResponseCode::Found,
    };
    let path = redirect.path.as_ref().map(|path| match path {
        PathRewrite::Full(path) => PathRewriteSpecifier::PathRedirect(path.clone()),
        PathRewrite::Prefix(replacement) => match prefix_replacement(condition, replacement) {
            PrefixReplacement::Prefix(prefix) => PathRewriteSpecifier::PrefixRewrite(prefix),
            PrefixReplacement::Regex(rewrite) => PathRewriteSpecifier::RegexRewrite(rewrite),
        },
    });
    RedirectAction {
        host_redirect: redirect.host.clone().unwrap_or_default(),
        port_redirect: redirect.port.map_or(0, u32::from),
        response_code: code.into(),
        scheme_rewrite_specifier: redirect
            .scheme
            .map(|scheme| SchemeRewriteSpecifier::SchemeRedirect(scheme.to_owned())),
        path_rewrite_specifier: path,
        ..Default::default()
    }
}

enum PrefixReplacement {
    Prefix(String),
    Regex(RegexMatchAndSubstitute),
}

/// A replacement of whole path elements (HTTPPathModifier) by a replacement of characters:
/// the slash between what is replaced and what stays must be there once.
fn prefix_replacement(condition: &Match, replacement: &str) -> PrefixReplacement {
    let matched = match &condition.path {
        PathMatch::Prefix(prefix) => prefix.trim_end_matches('/'),
        _ => "",
    };
    let replacement = replacement.trim_end_matches('/');
    match (matched.is_empty(), replacement.is_empty()) {
        // `/` before `/x` becomes `/new/` before `/new/x`.
        (true, _) => PrefixReplacement::Prefix(format!("{replacement}/")),
        (false, false) => PrefixReplacement::Prefix(replacement.to_owned()),
        // `/old` and `/old/` become `/`, and `/old/x` becomes `/x`.
        (false, true) => PrefixReplacement::Regex(RegexMatchAndSubstitute {
            pattern: Some(regex_matcher(format!("^{}/*", regex::escape(matched)))),
            substitution: "/".to_owned(),
        }),
    }
}

fn whole_path(path: &str) -> RegexMatchAndSubstitute {
    RegexMatchAndSubstitute {
        pattern: Some(regex_matcher("^.*$".to_owned())),
        // A backslash starts a reference to a group (RE2's rewrite syntax).
        substitution: path.replace('\\', "\\\\"),
    }
}

/// A regular expression in RE2's syntax.
pub(super) fn regex_matcher(regex: String) -> RegexMatcher {
    RegexMatcher {
        regex,
        ..Default::default()
    }
}

fn header_options(changes: &HeaderChanges) -> (Vec<core::HeaderValueOption>, Vec<String>) {
    let option = |(name, value): &(String, String), action: HeaderAppendAction| core::HeaderValueOption {
        header: Some(core::HeaderValue {
            key: name.clone(),
            // `%` starts a command operator in Envoy; in the Gateway API it is itself.
            value: value.replace('%', "%%"),
            ..Default::default()
        }),
        append_action: action.into(),
        ..Default::default()
    };
    let set = changes
        .set
        .iter()
        .map(|field| option(field, HeaderAppendAction::OverwriteIfExistsOrAdd));
    let add = changes
        .add
        .iter()
        .map(|field| option(field, HeaderAppendAction::AppendIfExistsOrAdd));
    (set.chain(add).collect(), changes.remove.clone())
}

/// A virtual host.
pub(super) fn virtual_host(name: String, domains: Vec<String>, routes: Vec<Route>) -> route::VirtualHost {
    route::VirtualHost {
        name,
        domains,
        routes,
        ..Default::default()
    }
}
