//! The static table (RFC 7541 appendix A).

use crate::names::KnownName::{self, *};

/// How many entries it has; the dynamic table begins after them.
pub(super) const LEN: usize = ENTRIES.len();

/// Entry `i` has index `i + 1`.
pub(super) static ENTRIES: [(KnownName, &str); 61] = [
    (Authority, ""),
    (Method, "GET"),
    (Method, "POST"),
    (Path, "/"),
    (Path, "/index.html"),
    (Scheme, "http"),
    (Scheme, "https"),
    (Status, "200"),
    (Status, "204"),
    (Status, "206"),
    (Status, "304"),
    (Status, "400"),
    (Status, "404"),
    (Status, "500"),
    (AcceptCharset, ""),
    (AcceptEncoding, "gzip, deflate"),
    (AcceptLanguage, ""),
    (AcceptRanges, ""),
    (Accept, ""),
    (AccessControlAllowOrigin, ""),
    (Age, ""),
    (Allow, ""),
    (Authorization, ""),
    (CacheControl, ""),
    (ContentDisposition, ""),
    (ContentEncoding, ""),
    (ContentLanguage, ""),
    (ContentLength, ""),
    (ContentLocation, ""),
    (ContentRange, ""),
    (ContentType, ""),
    (Cookie, ""),
    (Date, ""),
    (Etag, ""),
    (Expect, ""),
    (Expires, ""),
    (From, ""),
    (Host, ""),
    (IfMatch, ""),
    (IfModifiedSince, ""),
    (IfNoneMatch, ""),
    (IfRange, ""),
    (IfUnmodifiedSince, ""),
    (LastModified, ""),
    (Link, ""),
    (Location, ""),
    (MaxForwards, ""),
    (ProxyAuthenticate, ""),
    (ProxyAuthorization, ""),
    (Range, ""),
    (Referer, ""),
    (Refresh, ""),
    (RetryAfter, ""),
    (Server, ""),
    (SetCookie, ""),
    (StrictTransportSecurity, ""),
    (TransferEncoding, ""),
    (UserAgent, ""),
    (Vary, ""),
    (Via, ""),
    (WwwAuthenticate, ""),
];

/// The first index with each known name; 0 for names the table doesn't have.
static NAME_INDEX: [u8; KnownName::COUNT] = name_index();

const fn name_index() -> [u8; KnownName::COUNT] {
    let mut indices = [0; KnownName::COUNT];
    let mut i = ENTRIES.len();
    while i > 0 {
        indices[ENTRIES[i - 1].0.index()] = i as u8;
        i -= 1;
    }
    indices
}

/// The first index with this name, if there is one.
#[inline]
pub(super) fn index_of_name(name: KnownName) -> Option<usize> {
    let index = NAME_INDEX[name.index()];
    (index != 0).then_some(index as usize)
}

/// The index of the entry with this name and value, if there is one. For `:status` see [`index_of_status`].
#[inline]
pub(super) fn index_of(name: KnownName, value: &[u8]) -> Option<usize> {
    match (name, value) {
        (Method, b"GET") => Some(2),
        (Method, b"POST") => Some(3),
        (Path, b"/") => Some(4),
        (Path, b"/index.html") => Some(5),
        (Scheme, b"http") => Some(6),
        (Scheme, b"https") => Some(7),
        (AcceptEncoding, b"gzip, deflate") => Some(16),
        (Method | Path | Scheme | AcceptEncoding, _) => None,
        (_, b"") => index_of_name(name),
        _ => None,
    }
}

/// The index of `:status` with this value, if there is one.
#[inline]
pub(super) fn index_of_status(status: u16) -> Option<usize> {
    Some(match status {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found_by_name_and_value() {
        for (i, &(name, value)) in ENTRIES.iter().enumerate() {
            if name == Status {
                assert_eq!(index_of_status(value.parse().unwrap()), Some(i + 1));
            } else {
                assert_eq!(index_of(name, value.as_bytes()), Some(i + 1), "{name} {value}");
                assert_eq!(index_of(name, b"something else"), None);
            }
            let first = ENTRIES.iter().position(|entry| entry.0 == name).unwrap();
            assert_eq!(index_of_name(name), Some(first + 1));
        }
        assert_eq!(index_of_name(GrpcStatus), None);
        assert_eq!(index_of(GrpcStatus, b""), None);
        assert_eq!(index_of_status(201), None);
    }
}
