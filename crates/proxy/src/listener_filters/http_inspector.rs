//! `http_inspector`: whether a connection begins with HTTP, and which (Envoy: Listener filters > HTTP inspector).
//!
//! Seen on Envoy 1.39: any method and a bare line feed will do; the line has to be complete; every version that is not
//! 1.1, and none at all, counts as HTTP/1.0.

use std::sync::Arc;

use telemetry::stats::{Block, Registry, Scope, Shard, http_inspector as stat};

use super::{Inspector, Look};
use crate::accepted::Accepted;
use crate::downstream::HTTP2_PREFACE;

/// Longest request line that is waited for.
const MAX_REQUEST_LINE: usize = 64 * 1024;

/// The filter.
#[derive(Debug)]
pub(super) struct HttpInspector {
    stats: Arc<Block>,
}

impl HttpInspector {
    pub(super) fn new(stats: &Arc<Registry>) -> Self {
        HttpInspector {
            stats: stats.block(Scope::Process("http_inspector."), &stat::TABLE),
        }
    }
}

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Http10,
    Http11,
    Http2,
    NotHttp,
    Incomplete,
}

impl Inspector for HttpInspector {
    fn wants(&self, accepted: &Accepted) -> bool {
        // What is inside TLS cannot be seen.
        !accepted.is_tls
    }

    fn look(&self, received: &[u8], accepted: &mut Accepted, shard: Shard) -> Look {
        let stats = self.stats.local(shard);
        let (counter, protocol) = match inspect(received) {
            Found::Incomplete => return Look::More,
            Found::Http10 => (stat::HTTP10_FOUND, "http/1.0"),
            Found::Http11 => (stat::HTTP11_FOUND, "http/1.1"),
            Found::Http2 => (stat::HTTP2_FOUND, "h2c"),
            Found::NotHttp => {
                stats.add(stat::HTTP_NOT_FOUND, 1);
                return Look::PEEKED;
            }
        };
        stats.add(counter, 1);
        accepted.application_protocols = vec![protocol.into()];
        Look::PEEKED
    }
}

fn inspect(received: &[u8]) -> Found {
    let length = received.len().min(HTTP2_PREFACE.len());
    if received[..length] == HTTP2_PREFACE[..length] {
        return if length == HTTP2_PREFACE.len() {
            Found::Http2
        } else {
            Found::Incomplete
        };
    }
    // A server may ignore empty lines before the request line (RFC 9112 section 2.2).
    let start = received.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    let Some(received) = start.map(|start| &received[start..]) else {
        return if received.len() > MAX_REQUEST_LINE {
            Found::NotHttp
        } else {
            Found::Incomplete
        };
    };
    let end = received.iter().position(|byte| *byte == b'\n');
    let line = end.map_or(received, |end| &received[..end]);
    let method = line.iter().position(|byte| *byte == b' ');
    if !method
        .map_or(line, |end| &line[..end])
        .iter()
        .all(|byte| is_token(*byte))
        || method == Some(0)
    {
        // A carriage return ends a line that has no space, which is no request.
        return Found::NotHttp;
    }
    if end.is_none() {
        return if line.len() > MAX_REQUEST_LINE {
            Found::NotHttp
        } else {
            Found::Incomplete
        };
    }
    let mut parts = line.strip_suffix(b"\r").unwrap_or(line).split(|byte| *byte == b' ');
    let (_method, target, version, more) = (parts.next(), parts.next(), parts.next(), parts.next());
    match (target, version, more) {
        (Some(target), None, None) if !target.is_empty() => Found::Http10,
        (Some(_), Some(b"HTTP/1.1"), None) => Found::Http11,
        (Some(_), Some(version), None) if is_version(version) => Found::Http10,
        _ => Found::NotHttp,
    }
}

/// `HTTP/` digit `.` digit.
fn is_version(version: &[u8]) -> bool {
    matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_envoy_takes_for_http_is_http() {
        let cases: [(&[u8], Found); 17] = [
            (b"GET / HTTP/1.1\r\nhost: a\r\n", Found::Http11),
            (b"\r\nGET / HTTP/1.1\r\n", Found::Http11),
            (b"FOO / HTTP/1.1\n", Found::Http11),
            (b"get / HTTP/1.1\r\n", Found::Http11),
            (b"GET / HTTP/1.0\r\n", Found::Http10),
            (b"GET / HTTP/1.2\r\n", Found::Http10),
            (b"GET / HTTP/2.0\r\n", Found::Http10),
            (b"GET /\r\n", Found::Http10),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Found::Http2),
            (b"PRI * HTTP/2", Found::Incomplete),
            (b"GET / HTTP/1.1", Found::Incomplete),
            (b"GE", Found::Incomplete),
            (b"", Found::Incomplete),
            (b"hello world this is not http\r\n\r\n", Found::NotHttp),
            (b"\x16\x03\x01\x00\x05hello", Found::NotHttp),
            (b" / HTTP/1.1\r\n", Found::NotHttp),
            (b"GET\r\n", Found::NotHttp),
        ];
        for (received, found) in cases {
            assert_eq!(inspect(received), found, "{:?}", String::from_utf8_lossy(received));
        }
    }

    #[test]
    fn a_line_without_end_is_not_waited_for_without_end() {
        let long = [b"GET /".as_slice(), &vec![b'a'; MAX_REQUEST_LINE]].concat();
        assert_eq!(inspect(&long), Found::NotHttp);
        assert_eq!(inspect(&vec![b'\r'; MAX_REQUEST_LINE + 1]), Found::NotHttp);
    }
}
