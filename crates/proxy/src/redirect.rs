//! Where a redirect sends the caller.

use codec::headers::HeaderBlock;
use codec::names::KnownName;
use config::route::{RedirectAction, RedirectPathRewrite, Route, SchemeRewrite};

use crate::header_operations::{self, RequestHead};
use crate::route_rewrites::{matched_length, path_length};

/// The value of `location` (Envoy: RedirectAction).
pub(crate) fn location(target: &RequestHead<'_>, redirect: &RedirectAction, route: &Route) -> Vec<u8> {
    let request = &target.stream.request;
    let scheme: &[u8] = match &redirect.scheme_rewrite {
        Some(SchemeRewrite::Https) => b"https",
        Some(SchemeRewrite::Scheme(scheme)) => scheme.as_bytes(),
        None => request.scheme().unwrap_or(b"http"),
    };
    let mut location = Vec::with_capacity(64);
    location.extend_from_slice(scheme);
    location.extend_from_slice(b"://");
    match &redirect.host_redirect {
        Some(host) => location.extend_from_slice(host.as_bytes()),
        None => location.extend_from_slice(old_host(request, scheme, redirect.port_redirect.is_some())),
    }
    if let Some(port) = redirect.port_redirect {
        location.extend_from_slice(format!(":{port}").as_bytes());
    }
    path(&mut location, target, redirect, route);
    location
}

/// The host of a request for another scheme: without its port where there is a new one, or where that was the default
/// port of the scheme by which the request came.
fn old_host<'a>(request: &'a HeaderBlock, scheme: &[u8], has_new_port: bool) -> &'a [u8] {
    let authority = request.authority().unwrap_or_default();
    let came_by = request.get(KnownName::XForwardedProto).unwrap_or_default();
    let was_default = match port_of(authority) {
        Some(b"443") => came_by == b"https",
        Some(b"80") => came_by == b"http",
        _ => false,
    };
    if has_new_port || (scheme != came_by && was_default) {
        without_port(authority)
    } else {
        authority
    }
}

/// The same place over TLS, for a virtual host that requires it.
pub(crate) fn to_tls(request: &HeaderBlock) -> Vec<u8> {
    let (authority, path) = (request.authority().unwrap_or_default(), request.path().unwrap_or(b"/"));
    [b"https://", authority, path].concat()
}

fn path(location: &mut Vec<u8>, target: &RequestHead<'_>, redirect: &RedirectAction, route: &Route) {
    let path = target.stream.request.path().unwrap_or(b"/");
    let length = path_length(path);
    let query: &[u8] = if redirect.strip_query { b"" } else { &path[length..] };
    match &redirect.path_rewrite {
        // A query in the new path takes the place of the request's.
        Some(RedirectPathRewrite::Path(new)) if new.contains('?') => location.extend_from_slice(new.as_bytes()),
        Some(RedirectPathRewrite::Path(new)) => {
            location.extend_from_slice(new.as_bytes());
            location.extend_from_slice(query);
        }
        Some(RedirectPathRewrite::Prefix(new)) => {
            location.extend_from_slice(new.as_bytes());
            location.extend_from_slice(&path[matched_length(route, path).min(length)..length]);
            location.extend_from_slice(query);
        }
        Some(RedirectPathRewrite::Regex(rewrite)) => {
            rewrite.rewrite(&path[..length], location);
            location.extend_from_slice(query);
        }
        Some(RedirectPathRewrite::Format(text)) => {
            let new = header_operations::text_of(target, text);
            let new = new.as_deref().unwrap_or(&path[..length]);
            location.extend_from_slice(new);
            if !new.contains(&b'?') {
                location.extend_from_slice(query);
            }
        }
        None => {
            location.extend_from_slice(&path[..length]);
            location.extend_from_slice(query);
        }
    }
}

fn port_of(authority: &[u8]) -> Option<&[u8]> {
    let colon = authority.iter().rposition(|byte| *byte == b':')?;
    let port = &authority[colon + 1..];
    (!port.is_empty() && port.iter().all(u8::is_ascii_digit)).then_some(port)
}

fn without_port(authority: &[u8]) -> &[u8] {
    match port_of(authority) {
        Some(port) => &authority[..authority.len() - port.len() - 1],
        None => authority,
    }
}
