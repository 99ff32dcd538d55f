//! The path and the host that a route makes of those of a request.

use codec::headers::HeaderBlock;
use codec::headers::validate::has_only_value_characters;
use codec::names::KnownName;
use config::route::{HostRewrite, PathRewrite, PathSpecifier, Route, RouteAction};
use telemetry::access_log::Format;

use crate::header_operations::{self, RequestHead, Target};
use crate::request_headers::{ORIGINAL_HOST, append_to_list};

/// How many bytes of a path its route matched, for a prefix rewrite.
pub(crate) fn matched_length(route: &Route, path: &[u8]) -> usize {
    match &route.route_match.path {
        PathSpecifier::Prefix(text) | PathSpecifier::PathSeparatedPrefix(text) | PathSpecifier::Path(text) => {
            text.len()
        }
        PathSpecifier::SafeRegex(_) | PathSpecifier::ConnectMatcher | PathSpecifier::Template(_) => path_length(path),
    }
}

/// Length of a path without its query.
pub(crate) fn path_length(path: &[u8]) -> usize {
    path.iter()
        .position(|byte| matches!(byte, b'?' | b'#'))
        .unwrap_or(path.len())
}

/// The path that the route makes of a request's, query included; `None` where that stays.
pub(crate) fn new_path(target: &RequestHead<'_>, route: &Route, rewrite: &PathRewrite) -> Option<Vec<u8>> {
    let original = target.stream.request.path()?;
    let (path, query) = original.split_at(path_length(original));
    let mut rewritten = Vec::with_capacity(original.len() + 16);
    match rewrite {
        PathRewrite::Prefix(prefix) => {
            rewritten.extend_from_slice(prefix.as_bytes());
            rewritten.extend_from_slice(&path[matched_length(route, path).min(path.len())..]);
        }
        PathRewrite::Regex(rewrite) => rewrite.rewrite(path, &mut rewritten),
        PathRewrite::Format(text) => rewritten = header_operations::text_of(target, text)?,
    }
    rewritten.extend_from_slice(query);
    Some(rewritten)
}

/// The host that the route makes of a request's; `None` where that stays.
pub(crate) fn new_host(target: &RequestHead<'_>, action: &RouteAction, format: Option<&Format>) -> Option<Vec<u8>> {
    let request = &target.stream.request;
    match &action.host_rewrite {
        Some(HostRewrite::Literal(literal)) => Some(literal.as_bytes().to_vec()),
        Some(HostRewrite::Header(name)) => {
            let value = request.get(name.as_bytes()).filter(|value| !value.is_empty());
            value.map(<[u8]>::to_vec)
        }
        Some(HostRewrite::PathRegex(rewrite)) => {
            let path = request.path().unwrap_or_default();
            let mut host = Vec::new();
            rewrite.rewrite(&path[..path_length(path)], &mut host);
            Some(host)
        }
        Some(HostRewrite::Format(text)) => {
            let mut host = Vec::new();
            match format {
                Some(format) => target.evaluate(format, &mut host),
                None => host.extend_from_slice(text.text.as_bytes()),
            }
            Some(host).filter(|host| !host.is_empty() && has_only_value_characters(host))
        }
        // `Auto` waits for the endpoint.
        Some(HostRewrite::Auto) | None => None,
    }
}

/// Replaces the host, keeping the original in `x-forwarded-host` where that is asked for, and in
/// `x-envoy-original-host` if `tells`.
pub(crate) fn set_host(request: &mut HeaderBlock, host: &[u8], keep_original: bool, tells: bool) {
    if let Some(original) = request.authority().filter(|_| keep_original || tells) {
        let original = original.to_vec();
        let is_last = request
            .get(KnownName::XForwardedHost)
            .and_then(|list| list.rsplit(|byte| *byte == b',').next())
            .is_some_and(|last| last == original);
        if keep_original && !is_last {
            append_to_list(request, KnownName::XForwardedHost, &original, b",");
        }
        if tells {
            request.set(ORIGINAL_HOST, &original);
        }
    }
    request.set_authority(host);
}
