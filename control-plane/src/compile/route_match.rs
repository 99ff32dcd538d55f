//! Conditions of a match as Envoy has them.

use xds_api::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use xds_api::envoy::config::route::v3::query_parameter_matcher::QueryParameterMatchSpecifier;
use xds_api::envoy::config::route::v3::route_match::PathSpecifier;
use xds_api::envoy::config::route::v3::{HeaderMatcher, QueryParameterMatcher, RouteMatch};
use xds_api::envoy::r#type::matcher::v3::StringMatcher;
use xds_api::envoy::r#type::matcher::v3::string_matcher::MatchPattern;

use super::route::regex_matcher;
use crate::objects::route::{GrpcMethod, Match, PathMatch, StringMatch};

/// A match.
pub(super) fn route_match(condition: &Match) -> RouteMatch {
    let mut headers: Vec<HeaderMatcher> = Vec::new();
    if let Some(method) = &condition.method {
        headers.push(header(":method", &StringMatch::Exact(method.clone())));
    }
    headers.extend(
        condition
            .headers
            .iter()
            .map(|wanted| header(&wanted.name, &wanted.value)),
    );
    let query_parameters = condition.query.iter().map(|wanted| QueryParameterMatcher {
        name: wanted.name.clone(),
        query_parameter_match_specifier: Some(QueryParameterMatchSpecifier::StringMatch(string(&wanted.value))),
    });
    RouteMatch {
        path_specifier: Some(path(&condition.path)),
        headers,
        query_parameters: query_parameters.collect(),
        ..Default::default()
    }
}

fn path(condition: &PathMatch) -> PathSpecifier {
    match condition {
        PathMatch::Exact(path) => PathSpecifier::Path(path.clone()),
        PathMatch::Prefix(prefix) => match prefix.trim_end_matches('/') {
            "" => PathSpecifier::Prefix("/".to_owned()),
            prefix => PathSpecifier::PathSeparatedPrefix(prefix.to_owned()),
        },
        PathMatch::Regex(expression) => PathSpecifier::SafeRegex(regex_matcher(expression.as_str().to_owned())),
        PathMatch::Grpc(method) => grpc_path(method),
    }
}

/// A gRPC call's path is `/service/method` (gRPC over HTTP/2).
fn grpc_path(wanted: &GrpcMethod) -> PathSpecifier {
    match (wanted.regex, &wanted.service, &wanted.method) {
        (_, None, None) => PathSpecifier::Prefix("/".to_owned()),
        (false, Some(service), Some(method)) => PathSpecifier::Path(format!("/{service}/{method}")),
        (false, Some(service), None) => PathSpecifier::Prefix(format!("/{service}/")),
        (false, None, Some(method)) => {
            PathSpecifier::SafeRegex(regex_matcher(format!("/[^/]+/{}", regex::escape(method))))
        }
        (true, service, method) => {
            let any = "[^/]+";
            let service = service.as_deref().unwrap_or(any);
            let method = method.as_deref().unwrap_or(any);
            PathSpecifier::SafeRegex(regex_matcher(format!("/(?:{service})/(?:{method})")))
        }
    }
}

fn header(name: &str, value: &StringMatch) -> HeaderMatcher {
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(string(value))),
        ..Default::default()
    }
}

fn string(value: &StringMatch) -> StringMatcher {
    let pattern = match value {
        StringMatch::Exact(text) => MatchPattern::Exact(text.clone()),
        StringMatch::Regex(expression) => MatchPattern::SafeRegex(regex_matcher(expression.as_str().to_owned())),
    };
    StringMatcher {
        match_pattern: Some(pattern),
        ..Default::default()
    }
}
