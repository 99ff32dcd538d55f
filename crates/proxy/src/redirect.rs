//! Where a redirect sends the caller.

use codec::headers::HeaderBlock;
use config::route::{RedirectAction, RedirectPathRewrite, Route, SchemeRewrite};

use crate::header_operations::{self, RequestHead};
use crate::request_headers::{matched_length, path_length};

/// The value of `location` (Envoy: RedirectAction).
pub(crate) fn location(target: &RequestHead<'_>, redirect: &RedirectAction, route: &Route) -> Vec<u8> {
    let request = &target.stream.request;
    let old_scheme = request.scheme().unwrap_or(b"http");
    let scheme: &[u8] = match &redirect.scheme_rewrite {
        Some(SchemeRewrite::Https) => b"https",
        Some(SchemeRewrite::Scheme(scheme)) => scheme.as_bytes(),
        None => old_scheme,
    };
    let authority = request.authority().unwrap_or_default();
    let mut location = Vec::with_capacity(64);
    location.extend_from_slice(scheme);
    location.extend_from_slice(b"://");
    match (&redirect.host_redirect, redirect.port_redirect) {
        (Some(host), None) => location.extend_from_slice(host.as_bytes()),
        (host, Some(port)) => {
            let host = host
                .as_ref()
                .map_or_else(|| without_port(authority), |host| host.as_bytes());
            location.extend_from_slice(host);
            let is_default = matches!((scheme, port), (b"http", 80) | (b"https", 443));
            if !is_default {
                location.extend_from_slice(format!(":{port}").as_bytes());
            }
        }
        // A scheme change takes the old scheme's default port off (Envoy does the same).
        (None, None) if redirect.scheme_rewrite.is_some() => match (old_scheme, port_of(authority)) {
            (b"http", Some(b"80")) | (b"https", Some(b"443")) => location.extend_from_slice(without_port(authority)),
            _ => location.extend_from_slice(authority),
        },
        (None, None) => location.extend_from_slice(authority),
    }
    path(&mut location, target, redirect, route);
    location
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
