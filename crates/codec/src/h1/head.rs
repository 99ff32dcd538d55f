//! Complete heads and trailer sections to header blocks.

use super::{Config, HeaderKeyFormat, Refusal};
use crate::headers::hop_by_hop::{self, ConnectionOptions};
use crate::headers::{HeaderBlock, validate};
use crate::names::KnownName;
use httparse::{Header, ParserConfig, Status};
use std::mem::MaybeUninit;

/// Fields parsed without an allocation.
const FEW: usize = 128;

/// What a head says besides its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    /// HTTP/1.0 rather than 1.1.
    pub(super) is_http_10: bool,
    /// The sender will keep the connection open after this message (RFC 9112 section 9.3).
    pub(super) keep_alive: bool,
}

/// Parses a request head, which ends with its empty line, into `block` (cleared first). `lines` is the number of its
/// lines before that.
pub(super) fn request(head: &[u8], lines: usize, config: &Config, block: &mut HeaderBlock) -> Result<Parsed, Refusal> {
    block.clear();
    let fields = lines.saturating_sub(1);
    if fields <= FEW {
        request_with(head, &mut [const { MaybeUninit::uninit() }; FEW], config, block)
    } else {
        request_with(head, &mut vec![MaybeUninit::uninit(); fields], config, block)
    }
}

fn request_with<'b>(
    head: &'b [u8],
    headers: &mut [MaybeUninit<Header<'b>>],
    config: &Config,
    block: &mut HeaderBlock,
) -> Result<Parsed, Refusal> {
    let mut request = httparse::Request::new(&mut []);
    let parsed = ParserConfig::default().parse_request_with_uninit_headers(&mut request, head, headers);
    match parsed {
        Ok(Status::Complete(length)) if length == head.len() => {}
        // The empty line is there, so a parser that wants more has lost its place.
        Ok(_) => return Err(Refusal::RequestLine),
        Err(error) => return Err(request_refusal(head, error)),
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(Refusal::RequestLine);
    };
    let is_http_10 = minor == 0;
    if is_http_10 && !config.accept_http_10 {
        return Err(Refusal::Http10);
    }
    if !config.allow_custom_methods && !is_registered(method.as_bytes()) {
        return Err(Refusal::Method);
    }
    fields(request.headers, config, block);
    let options = hop_by_hop::connection_options(block);
    if options.names_an_address {
        return Err(Refusal::ConnectionOption);
    }
    if options.names_host {
        // As in Envoy: a request whose Host is for the next hop alone has none for us.
        block.remove(KnownName::Host);
    }
    block.set_method(method.as_bytes());
    target_and_host(method.as_bytes(), target.as_bytes(), is_http_10, config, block)?;
    Ok(Parsed {
        is_http_10,
        keep_alive: keep_alive(options, is_http_10),
    })
}

/// The methods that Envoy knows.
fn is_registered(method: &[u8]) -> bool {
    const LESS_USUAL: [&[u8]; 28] = [
        b"ACL",
        b"BIND",
        b"CHECKOUT",
        b"CONNECT",
        b"COPY",
        b"LINK",
        b"LOCK",
        b"MERGE",
        b"MKACTIVITY",
        b"MKCALENDAR",
        b"MKCOL",
        b"MOVE",
        b"MSEARCH",
        b"NOTIFY",
        b"PROPFIND",
        b"PROPPATCH",
        b"PURGE",
        b"REBIND",
        b"REPORT",
        b"SEARCH",
        b"SOURCE",
        b"SUBSCRIBE",
        b"TRACE",
        b"UNBIND",
        b"UNLINK",
        b"UNLOCK",
        b"UNSUBSCRIBE",
        b"OPTIONS",
    ];
    matches!(method, b"GET" | b"POST" | b"PUT" | b"DELETE" | b"PATCH" | b"HEAD") || LESS_USUAL.contains(&method)
}

/// Parses a response head; see [`request`].
pub(super) fn response(head: &[u8], lines: usize, config: &Config, block: &mut HeaderBlock) -> Result<Parsed, Refusal> {
    block.clear();
    let fields = lines.saturating_sub(1);
    if fields <= FEW {
        response_with(head, &mut [const { MaybeUninit::uninit() }; FEW], config, block)
    } else {
        response_with(head, &mut vec![MaybeUninit::uninit(); fields], config, block)
    }
}

fn response_with<'b>(
    head: &'b [u8],
    headers: &mut [MaybeUninit<Header<'b>>],
    config: &Config,
    block: &mut HeaderBlock,
) -> Result<Parsed, Refusal> {
    let mut response = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut response, head, headers);
    match parsed {
        Ok(Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(Refusal::StatusLine),
        Err(error) => {
            return Err(match error {
                httparse::Error::Version => version_refusal(head),
                httparse::Error::Status | httparse::Error::Token => Refusal::StatusLine,
                error => fields_refusal(head, error),
            });
        }
    }
    let (Some(status @ 100..), Some(minor)) = (response.code, response.version) else {
        return Err(Refusal::StatusLine);
    };
    fields(response.headers, config, block);
    block.set_status(status);
    let is_http_10 = minor == 0;
    Ok(Parsed {
        is_http_10,
        keep_alive: keep_alive(hop_by_hop::connection_options(block), is_http_10),
    })
}

/// Parses a trailer section, which ends with its empty line, into `block` (cleared first).
pub(super) fn trailers(section: &[u8], lines: usize, config: &Config, block: &mut HeaderBlock) -> Result<(), Refusal> {
    block.clear();
    let mut few = [httparse::EMPTY_HEADER; 16];
    let mut many = Vec::new();
    let headers = if lines <= few.len() {
        &mut few[..]
    } else {
        many.resize(lines, httparse::EMPTY_HEADER);
        &mut many[..]
    };
    match httparse::parse_headers(section, headers) {
        Ok(Status::Complete((length, headers))) if length == section.len() => fields(headers, config, block),
        Ok(_) => return Err(Refusal::HeaderName),
        Err(error) => return Err(fields_refusal(section, error)),
    }
    // RFC 9110 section 6.5.1: what decides about framing and routing has no place here, and a recipient that merged it
    // would be steered by it.
    const FORBIDDEN: [KnownName; 8] = [
        KnownName::ContentLength,
        KnownName::TransferEncoding,
        KnownName::Host,
        KnownName::Connection,
        KnownName::Trailer,
        KnownName::Te,
        KnownName::Upgrade,
        KnownName::Authorization,
    ];
    if FORBIDDEN.iter().any(|&name| block.contains(name)) {
        return Err(Refusal::ForbiddenTrailer);
    }
    Ok(())
}

fn fields(headers: &[Header<'_>], config: &Config, block: &mut HeaderBlock) {
    let keep_spelling = config.header_key_format == HeaderKeyFormat::PreserveCase;
    for header in headers {
        if keep_spelling {
            block.append_spelled(header.name.as_bytes(), header.value);
        } else {
            block.append_wire(header.name.as_bytes(), header.value);
        }
    }
}

fn keep_alive(options: ConnectionOptions, is_http_10: bool) -> bool {
    !options.close && (!is_http_10 || options.keep_alive)
}

/// Turns target and `host` into `:scheme`, `:authority` and `:path` (RFC 9112 section 3.2, 3.3).
fn target_and_host(
    method: &[u8],
    target: &[u8],
    is_http_10: bool,
    config: &Config,
    block: &mut HeaderBlock,
) -> Result<(), Refusal> {
    if !validate::has_only_visible_ascii(target) {
        return Err(Refusal::Target);
    }
    let mut hosts = block.get_all(&KnownName::Host);
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::DuplicateHost);
    }
    // Section 3.2: a missing one is refused whatever the form of the target.
    match host {
        None if !is_http_10 && config.require_host => return Err(Refusal::MissingHost),
        Some(host) if !validate::is_authority(host) => return Err(Refusal::InvalidHost),
        _ => {}
    }
    if method == b"CONNECT" {
        // Section 3.2.3: authority-form, port included.
        if !validate::is_target_authority(target) || !has_port(target) {
            return Err(Refusal::Target);
        }
        block.set_authority(target);
        block.remove(KnownName::Host);
        return Ok(());
    }
    if target.first() == Some(&b'/') || (target == b"*" && method == b"OPTIONS") {
        block.set_path(target);
        block.set_scheme(config.scheme);
    } else {
        if !config.allow_absolute_url {
            return Err(Refusal::Target);
        }
        // Section 3.2.2: the target's authority counts, Host does not.
        let separator = target
            .windows(3)
            .position(|window| window == b"://")
            .ok_or(Refusal::Target)?;
        let (scheme, rest) = (&target[..separator], &target[separator + 3..]);
        let end = rest
            .iter()
            .position(|byte| matches!(byte, b'/' | b'?' | b'#'))
            .unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let is_http = scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https");
        if !is_http || authority.is_empty() {
            return Err(Refusal::Target);
        }
        if !validate::is_target_authority(authority) {
            return Err(Refusal::InvalidHost);
        }
        block.set_scheme(if scheme.len() == 4 { b"http" } else { b"https" });
        block.set_authority(authority);
        match path.first() {
            // Section 3.2.4: OPTIONS without a path asks about the server.
            None if method == b"OPTIONS" => block.set_path(b"*"),
            None => block.set_path(b"/"),
            Some(b'/') => block.set_path(path),
            Some(_) => {
                let start = block.bytes.len();
                block.bytes.push(b'/');
                block.bytes.extend_from_slice(path);
                block.commit_pseudo(KnownName::Path, start, 0, false);
            }
        }
        block.remove(KnownName::Host);
        return Ok(());
    }
    if block.has(KnownName::Host) {
        block.take_as_authority(KnownName::Host);
    } else if let Some(host) = &config.default_host_for_http_10 {
        block.set_authority(host);
    }
    Ok(())
}

/// Whether an authority of a target has one: an IPv6 address is in brackets there.
fn has_port(authority: &[u8]) -> bool {
    let rest = authority.rsplit(|&byte| byte == b']').next().unwrap_or_default();
    rest.contains(&b':')
}

#[cold]
fn request_refusal(head: &[u8], error: httparse::Error) -> Refusal {
    if head.starts_with(b"PRI * HTTP/2.0\r\n") {
        return Refusal::Http2Preface;
    }
    match error {
        httparse::Error::Version => version_refusal(head),
        httparse::Error::Token | httparse::Error::Status => Refusal::RequestLine,
        error => fields_refusal(head, error),
    }
}

/// A version of another major number is told apart from what is none.
fn version_refusal(head: &[u8]) -> Refusal {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let is_version = |word: &[u8]| matches!(word, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit());
    let mut words = line.split(|&byte| byte == b' ');
    let version = words.find(|word| is_version(word));
    match version {
        Some(b"HTTP/1.0" | b"HTTP/1.1") | None => Refusal::Version,
        Some(_) => Refusal::VersionNotSupported,
    }
}

/// Names the fault in the lines of a section that the parser refused.
#[cold]
fn fields_refusal(section: &[u8], error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::TooManyHeaders,
        httparse::Error::HeaderValue => Refusal::HeaderValue,
        httparse::Error::NewLine => Refusal::BareCr,
        _ => {
            let has_space = section.split(|&byte| byte == b'\n').skip(1).any(|line| {
                line.iter()
                    .position(|&byte| byte == b':')
                    .is_some_and(|colon| colon > 0 && matches!(line[colon - 1], b' ' | b'\t'))
            });
            if has_space {
                Refusal::SpaceBeforeColon
            } else {
                Refusal::HeaderName
            }
        }
    }
}
