//! Looking at headers of requests as filters do.

use codec::headers::HeaderBlock;
use config::string_matcher::HeaderMatcher;

/// Whether a request has what a matcher asks for; pseudo-headers (`:path`) can be asked for too.
pub(super) fn matches(matcher: &HeaderMatcher, request: &HeaderBlock) -> bool {
    let name = &*matcher.name;
    // `host` is what HTTP/1.1 calls `:authority`.
    if name.starts_with(':') || name == "host" {
        let name = if name == "host" { ":authority" } else { name };
        return matcher.matches(request.get(name).into_iter());
    }
    matcher.matches(request.get_all(name))
}

/// A decimal number.
pub(super) fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}
