//! What field names, values and pseudo-headers may contain (RFC 9113 section 8.2 and 8.3, RFC 9110 section 5).
//!
//! All checks are one pass over the bytes with a table, or a comparison the compiler can vectorise.

use super::HeaderBlock;
use crate::names::KnownName;

/// Why a header block is malformed (RFC 9113 section 8.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A field name is empty, has upper-case letters, or bytes that are not token characters (section 8.2.1).
    Name,
    /// A field value has control characters, or white space at its ends (section 8.2.1).
    Value,
    /// `connection` or another connection-specific field, or `te` other than `trailers` (section 8.2.2).
    ConnectionSpecific,
    /// A pseudo-header that is not defined, or not for this kind of message (section 8.3).
    UnknownPseudo,
    /// A pseudo-header after a regular field (section 8.3).
    LatePseudo,
    /// The same pseudo-header twice (section 8.3).
    DuplicatePseudo,
    /// A required pseudo-header is missing, or one is present that this method forbids (sections 8.3.1, 8.3.2, 8.5).
    MissingPseudo,
    /// A pseudo-header in trailers (section 8.1).
    PseudoInTrailers,
    /// `:method` is not a token.
    Method,
    /// `:scheme` is not a scheme.
    Scheme,
    /// `:authority`, or `host`, has characters no authority has, or user information (section 8.3.1).
    Authority,
    /// `host` names another entity than `:authority` (section 8.3.1).
    HostMismatch,
    /// `:path` is empty, has spaces or control characters, or does not start with `/` (section 8.3.1).
    Path,
    /// `:status` is not three digits from 100, or is 101 (sections 8.3.2, 8.6).
    Status,
    /// `:protocol` without CONNECT, or where extended CONNECT was not offered (RFC 8441 section 4).
    Protocol,
    /// `content-length` is not one decimal number, or disagrees with the data (section 8.1.1).
    ContentLength,
}

impl Malformed {
    /// What was violated, with its section, for logs and response-code details.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "invalid field name (RFC 9113 section 8.2.1)",
            Self::Value => "invalid field value (RFC 9113 section 8.2.1)",
            Self::ConnectionSpecific => "connection-specific field (RFC 9113 section 8.2.2)",
            Self::UnknownPseudo => "undefined pseudo-header (RFC 9113 section 8.3)",
            Self::LatePseudo => "pseudo-header after a regular field (RFC 9113 section 8.3)",
            Self::DuplicatePseudo => "repeated pseudo-header (RFC 9113 section 8.3)",
            Self::MissingPseudo => "missing or forbidden pseudo-header (RFC 9113 section 8.3)",
            Self::PseudoInTrailers => "pseudo-header in trailers (RFC 9113 section 8.1)",
            Self::Method => "invalid :method (RFC 9110 section 9.1)",
            Self::Scheme => "invalid :scheme (RFC 3986 section 3.1)",
            Self::Authority => "invalid :authority or host (RFC 9113 section 8.3.1)",
            Self::HostMismatch => "host differs from :authority (RFC 9113 section 8.3.1)",
            Self::Path => "invalid :path (RFC 9113 section 8.3.1)",
            Self::Status => "invalid :status (RFC 9113 section 8.3.2)",
            Self::Protocol => "unexpected :protocol (RFC 8441 section 4)",
            Self::ContentLength => "invalid content-length (RFC 9113 section 8.1.1)",
        }
    }
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Malformed {}

/// Which rules a block is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request head. `extended_connect`: we offered SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 section 3).
    Request {
        /// Whether `:protocol` is allowed.
        extended_connect: bool,
    },
    /// A response head, interim or final.
    Response,
    /// Trailers, of either direction.
    Trailers,
}

const TOKEN: u8 = 1;
const UPPER: u8 = 2;
const AUTHORITY: u8 = 4;
const SCHEME: u8 = 8;
const PATH: u8 = 16;
const TARGET: u8 = 32;
const NAME: u8 = 64;

/// One byte of classes for each octet.
static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut i = 0;
    while i < 256 {
        let byte = i as u8;
        let alphanumeric = byte.is_ascii_alphanumeric();
        let mut class = 0;
        // RFC 9110 section 5.6.2.
        if alphanumeric
            || matches!(
                byte,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            )
        {
            class |= TOKEN;
        }
        if byte.is_ascii_uppercase() {
            class |= UPPER;
        }
        // RFC 3986 section 3.2 without user information: unreserved, sub-delims, percent, port and IP literals.
        if alphanumeric
            || matches!(
                byte,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
                    | b'%'
                    | b':'
                    | b'['
                    | b']'
            )
        {
            class |= AUTHORITY;
        }
        // RFC 3986 section 3.1.
        if alphanumeric || matches!(byte, b'+' | b'-' | b'.') {
            class |= SCHEME;
        }
        if byte > 0x20 && byte != 0x7f {
            class |= PATH;
            if byte.is_ascii() {
                class |= TARGET;
            }
        }
        if alphanumeric || matches!(byte, b'-' | b'.') {
            class |= NAME;
        }
        table[i] = class;
        i += 1;
    }
    table
}

#[inline]
fn all(bytes: &[u8], class: u8) -> bool {
    bytes.iter().fold(class, |seen, &byte| seen & CLASS[byte as usize]) == class
}

/// A lower-case field name that may go over HTTP/2: token characters only, no upper case, not empty.
#[inline]
pub fn is_field_name(name: &[u8]) -> bool {
    let mut every = TOKEN;
    let mut any = 0;
    for &byte in name {
        let class = CLASS[byte as usize];
        every &= class;
        any |= class;
    }
    !name.is_empty() && every & TOKEN != 0 && any & UPPER == 0
}

/// A method, or any other token (RFC 9110 section 5.6.2).
#[inline]
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(bytes, TOKEN)
}

/// A field value: no control characters but tab, no white space at either end. Empty is valid.
#[inline]
pub fn is_field_value(value: &[u8]) -> bool {
    let (Some(&first), Some(&last)) = (value.first(), value.last()) else {
        return true;
    };
    !matches!(first, b' ' | b'\t') && !matches!(last, b' ' | b'\t') && has_only_value_characters(value)
}

/// No control characters but tab (RFC 9110 section 5.5; other controls are invalid and as dangerous as NUL).
#[inline]
pub fn has_only_value_characters(value: &[u8]) -> bool {
    // No early exit and no table: this form is vectorised.
    value.iter().fold(0u8, |bad, &byte| {
        bad | u8::from(byte < 0x20 && byte != b'\t') | u8::from(byte == 0x7f)
    }) == 0
}

/// A host with optional port, without user information. Empty is valid here, and so is an IPv6 address without brackets.
#[inline]
pub fn is_authority(authority: &[u8]) -> bool {
    all(authority, AUTHORITY) && (!authority.iter().any(|byte| b":[]".contains(byte)) || has_host_and_port(authority))
}

/// The shape of an authority that has more than a name (RFC 3986 section 3.2).
fn has_host_and_port(authority: &[u8]) -> bool {
    let is_port = |port: &[u8]| port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
    let is_address = |host: &[u8]| host.iter().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte));
    if let Some(rest) = authority.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|&byte| byte == b']') else {
            return false;
        };
        let (host, rest) = (&rest[..end], &rest[end + 1..]);
        // RFC 6874 zones and RFC 3986's future addresses have other characters.
        let is_host = !host.is_empty() && !host.contains(&b'[');
        return is_host && (rest.is_empty() || rest.strip_prefix(b":").is_some_and(is_port));
    }
    if authority.iter().any(|byte| b"[]".contains(byte)) {
        return false;
    }
    match authority.iter().position(|&byte| byte == b':') {
        Some(colon) => {
            let port = &authority[colon + 1..];
            is_port(port) || (port.contains(&b':') && is_address(authority))
        }
        None => true,
    }
}

/// A host with optional port as it stands in a target: only what a name in DNS or an address is made of (RFC 952, RFC
/// 1123, RFC 3986 section 3.2.2), and a port that there can be.
pub fn is_target_authority(authority: &[u8]) -> bool {
    let (host, rest) = match authority.strip_prefix(b"[") {
        Some(literal) => {
            let Some(end) = literal.iter().position(|&byte| byte == b']') else {
                return false;
            };
            let (address, rest) = (&literal[..end], &literal[end + 1..]);
            let address = std::str::from_utf8(address).ok();
            (
                address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
                rest,
            )
        }
        None => {
            let end = authority
                .iter()
                .position(|&byte| byte == b':')
                .unwrap_or(authority.len());
            let (name, rest) = authority.split_at(end);
            (!name.is_empty() && all(name, NAME), rest)
        }
    };
    host && (rest.is_empty() || rest.strip_prefix(b":").is_some_and(is_port))
}

fn is_port(port: &[u8]) -> bool {
    let number = port.iter().try_fold(0_u32, |number, digit| {
        Some(number * 10 + char::from(*digit).to_digit(10)?)
    });
    (1..=5).contains(&port.len()) && number.is_some_and(|number| number <= u32::from(u16::MAX))
}

/// A URI scheme.
#[inline]
pub fn is_scheme(scheme: &[u8]) -> bool {
    scheme.first().is_some_and(u8::is_ascii_alphabetic) && all(scheme, SCHEME)
}

/// Characters a request target may have: visible ASCII and bytes above it, but no controls and no space.
#[inline]
pub fn has_only_target_characters(target: &[u8]) -> bool {
    all(target, PATH)
}

/// Characters a request target of HTTP/1.1 may have: visible ASCII (RFC 9112 section 3.2).
#[inline]
pub fn has_only_visible_ascii(target: &[u8]) -> bool {
    all(target, TARGET)
}

/// Three digits from 100.
#[inline]
pub fn status(value: &[u8]) -> Option<u16> {
    let &[hundreds @ b'1'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9'] = value else {
        return None;
    };
    Some(u16::from(hundreds - b'0') * 100 + u16::from(tens - b'0') * 10 + u16::from(ones - b'0'))
}

/// Digits only, at least one, that fit 64 bits.
pub fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |number, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            None
        } else {
            number.checked_mul(10)?.checked_add(u64::from(digit))
        }
    })
}

/// The rules for one field by itself (RFC 9113 sections 8.2.1, 8.2.2 and, for pseudo-headers, 8.3.1 and 8.3.2). `name`
/// counts only if `known` is `None`.
///
/// What holds for one use of a field holds for all, so HPACK's tables keep the answer.
pub fn field(known: Option<KnownName>, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
    let (is_valid, fault) = match known {
        None if !is_field_name(name) => {
            return Err(if name.starts_with(b":") {
                Malformed::UnknownPseudo
            } else {
                Malformed::Name
            });
        }
        Some(KnownName::Method) => (is_token(value), Malformed::Method),
        Some(KnownName::Scheme) => (is_scheme(value), Malformed::Scheme),
        Some(KnownName::Authority) => (is_authority(value), Malformed::Authority),
        Some(KnownName::Path) => {
            let is_rooted = value.first() == Some(&b'/') || value == b"*";
            (is_rooted && has_only_target_characters(value), Malformed::Path)
        }
        Some(KnownName::Protocol) => (is_token(value), Malformed::Protocol),
        Some(KnownName::Status) => (status(value).is_some(), Malformed::Status),
        Some(
            KnownName::Connection
            | KnownName::KeepAlive
            | KnownName::ProxyConnection
            | KnownName::TransferEncoding
            | KnownName::Upgrade,
        ) => return Err(Malformed::ConnectionSpecific),
        Some(KnownName::Te) => (value == b"trailers", Malformed::ConnectionSpecific),
        Some(_) | None => (is_field_value(value), Malformed::Value),
    };
    if is_valid { Ok(()) } else { Err(fault) }
}

/// All rules for a block: those of each [`field`], and those of [`structure`].
pub fn message(block: &mut HeaderBlock, kind: Kind) -> Result<(), Malformed> {
    for (name, value, ..) in block.pseudo_fields() {
        field(Some(name), b"", value)?;
    }
    for each in block.iter() {
        field(each.known, each.name, each.value)?;
    }
    structure(block, kind)
}

/// The rules for a block whose fields are valid one by one: which pseudo-headers must, may and must not be there, and
/// `content-length` (RFC 9113 sections 8.1.1, 8.3, 8.5; RFC 8441 section 4).
///
/// `host` is folded into `:authority`: it becomes the authority if there is none, must agree with it otherwise, and
/// is removed.
pub fn structure(block: &mut HeaderBlock, kind: Kind) -> Result<(), Malformed> {
    match kind {
        Kind::Request { extended_connect } => request(block, extended_connect)?,
        Kind::Response => match block.status() {
            None => return Err(Malformed::MissingPseudo),
            Some(101) => return Err(Malformed::Status),
            Some(_) => {}
        },
        Kind::Trailers => {}
    }
    match block.content_length() {
        Some(Err(_)) => Err(Malformed::ContentLength),
        _ => Ok(()),
    }
}

fn request(block: &mut HeaderBlock, extended_connect: bool) -> Result<(), Malformed> {
    fold_host(block)?;
    let method = block.method().ok_or(Malformed::MissingPseudo)?;
    let (scheme, path) = (block.scheme(), block.path());
    if method == b"CONNECT" || block.protocol().is_some() {
        if method != b"CONNECT" || (block.protocol().is_some() && !extended_connect) {
            return Err(Malformed::Protocol);
        }
        match block.authority() {
            None => return Err(Malformed::MissingPseudo),
            Some([]) => return Err(Malformed::Authority),
            Some(_) => {}
        }
        if block.protocol().is_none() {
            // Section 8.5: only :method and :authority.
            return if scheme.is_some() || path.is_some() {
                Err(Malformed::MissingPseudo)
            } else {
                Ok(())
            };
        }
    }
    match (scheme, path) {
        (None, _) | (_, None) => Err(Malformed::MissingPseudo),
        (_, Some(b"*")) if method != b"OPTIONS" => Err(Malformed::Path),
        _ => Ok(()),
    }
}

fn fold_host(block: &mut HeaderBlock) -> Result<(), Malformed> {
    if !block.has(KnownName::Host) {
        return Ok(());
    }
    let mut hosts = block.get_all(&KnownName::Host);
    let host = hosts.next().unwrap_or_default();
    if hosts.next().is_some() || !is_authority(host) {
        return Err(Malformed::Authority);
    }
    match block.authority() {
        Some(authority) if !authority.eq_ignore_ascii_case(host) => {
            return Err(Malformed::HostMismatch);
        }
        Some(_) => {}
        None => {
            let host = host.to_vec();
            block.set_authority(&host);
        }
    }
    block.remove(KnownName::Host);
    Ok(())
}
