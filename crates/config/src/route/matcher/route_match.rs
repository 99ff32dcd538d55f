//! Whether one route matches a request.

use super::{PeerCertificate, RequestView};
use crate::route::{
    CookieMatcher, PathSpecifier, QueryParameterMatchSpecifier, QueryParameterMatcher, RouteMatch, TlsContextMatch,
};
use crate::string_matcher::HeaderMatcher;

impl RouteMatch {
    /// Whether a request matches. `path` is its path without query (and parameters, where they are ignored).
    pub(super) fn matches(&self, path: &[u8], request: &impl RequestView, random: u64) -> bool {
        self.path_matches(path, request)
            && self
                .runtime_fraction
                .as_ref()
                .is_none_or(|fraction| fraction.default_value.includes(random))
            && (!self.grpc || is_grpc(request))
            && !self.needs_metadata
            && self
                .tls_context
                .is_none_or(|tls| tls.matches(request.peer_certificate()))
            && self.headers.iter().all(|matcher| header_matches(matcher, request))
            && self
                .query_parameters
                .iter()
                .all(|matcher| query_matches(matcher, query(request.path())))
            && self.cookies.iter().all(|matcher| cookie_matches(matcher, request))
    }

    fn path_matches(&self, path: &[u8], request: &impl RequestView) -> bool {
        if path.is_empty() {
            // Only a CONNECT request has no path, and only a CONNECT matcher is for it.
            return self.path == PathSpecifier::ConnectMatcher && request.method() == b"CONNECT";
        }
        let equal = |a: &[u8], b: &[u8]| {
            if self.case_sensitive {
                a == b
            } else {
                a.eq_ignore_ascii_case(b)
            }
        };
        let starts_with = |prefix: &[u8]| path.get(..prefix.len()).is_some_and(|start| equal(start, prefix));
        match &self.path {
            PathSpecifier::Prefix(prefix) => starts_with(prefix.as_bytes()),
            PathSpecifier::Path(whole) => equal(path, whole.as_bytes()),
            PathSpecifier::PathSeparatedPrefix(prefix) => {
                starts_with(prefix.as_bytes()) && matches!(path.get(prefix.len()), None | Some(b'/'))
            }
            PathSpecifier::SafeRegex(regex) => regex.is_match(path),
            PathSpecifier::ConnectMatcher => request.method() == b"CONNECT",
            PathSpecifier::Template(template) => template.is_match(path),
        }
    }
}

impl TlsContextMatch {
    fn matches(self, certificate: PeerCertificate) -> bool {
        self.presented.is_none_or(|wanted| wanted == certificate.presented)
            && self.validated.is_none_or(|wanted| wanted == certificate.validated)
    }
}

/// A path without query and fragment.
pub(super) fn without_query(path: &[u8]) -> &[u8] {
    until(path, |byte| matches!(byte, b'?' | b'#'))
}

/// A path whose segments end before their first semicolon.
pub(super) fn without_parameters(path: &[u8]) -> Vec<u8> {
    let mut stripped = Vec::with_capacity(path.len());
    for (index, segment) in path.split(|byte| *byte == b'/').enumerate() {
        if index > 0 {
            stripped.push(b'/');
        }
        stripped.extend_from_slice(until(segment, |byte| byte == b';'));
    }
    stripped
}

fn until(text: &[u8], end: impl Fn(u8) -> bool) -> &[u8] {
    let length = text.iter().position(|byte| end(*byte)).unwrap_or(text.len());
    &text[..length]
}

/// The query of a path, without fragment.
fn query(path: &[u8]) -> &[u8] {
    let path = until(path, |byte| byte == b'#');
    path.iter()
        .position(|byte| *byte == b'?')
        .map_or(b"", |mark| &path[mark + 1..])
}

/// Whether the content type is `application/grpc` or begins with it and a plus sign.
fn is_grpc(request: &impl RequestView) -> bool {
    request
        .header("content-type")
        .next()
        .and_then(|value| value.strip_prefix(b"application/grpc"))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+')))
}

fn header_matches(matcher: &HeaderMatcher, request: &impl RequestView) -> bool {
    let pseudo = match &*matcher.name {
        ":path" => request.path(),
        ":method" => request.method(),
        ":authority" | "host" => request.authority(),
        ":scheme" => request.scheme(),
        name => return matcher.matches(request.header(name)),
    };
    matcher.matches((!pseudo.is_empty()).then_some(pseudo).into_iter())
}

/// The first value of a query parameter of a path, as it stands there; empty where it has none.
pub fn query_parameter<'p>(path: &'p [u8], name: &str) -> Option<&'p [u8]> {
    parameter_of(query(path), name)
}

fn parameter_of<'q>(query: &'q [u8], wanted: &str) -> Option<&'q [u8]> {
    query.split(|byte| *byte == b'&').find_map(|parameter| {
        let name = until(parameter, |byte| byte == b'=');
        (name == wanted.as_bytes()).then(|| parameter.get(name.len() + 1..).unwrap_or_default())
    })
}

fn query_matches(matcher: &QueryParameterMatcher, query: &[u8]) -> bool {
    let value = parameter_of(query, &matcher.name);
    match &matcher.specifier {
        QueryParameterMatchSpecifier::String(string) => value.is_some_and(|value| string.matches(value)),
        QueryParameterMatchSpecifier::Present(present) => value.is_some() == *present,
    }
}

fn cookie_matches(matcher: &CookieMatcher, request: &impl RequestView) -> bool {
    let value = request
        .header("cookie")
        .find_map(|line| cookie_of(line, matcher.name.as_bytes()));
    value.is_some_and(|value| matcher.string.matches(value)) != matcher.invert_match
}

/// The first value of a cookie in a line of them, without the quotes it may stand in.
fn cookie_of<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    line.split(|byte| *byte == b';').find_map(|cookie| {
        let cookie = cookie.trim_ascii_start();
        let (found, value) = cookie.split_at(cookie.iter().position(|byte| *byte == b'=')?);
        let value = &value[1..];
        let bare = match value {
            [b'"', inner @ .., b'"'] => inner,
            _ => value,
        };
        (found == name).then_some(bare)
    })
}
