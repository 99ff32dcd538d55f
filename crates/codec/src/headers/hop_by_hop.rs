//! Removal of what belongs to one hop only (RFC 9110 section 7.6.1).

use super::{HeaderBlock, PRESENT_WORDS};
use crate::names::KnownName;

/// The fields HTTP/2 forbids (RFC 9113 section 8.2.2), as the bits of `HeaderBlock::present`.
pub(super) const CONNECTION_SPECIFIC: [u64; PRESENT_WORDS] = bits(&[
    KnownName::Connection,
    KnownName::KeepAlive,
    KnownName::ProxyConnection,
    KnownName::TransferEncoding,
    KnownName::Upgrade,
]);

const fn bits(names: &[KnownName]) -> [u64; PRESENT_WORDS] {
    let mut words = [0; PRESENT_WORDS];
    let mut at = 0;
    while at < names.len() {
        let index = names[at].index();
        words[index / 64] |= 1 << (index % 64);
        at += 1;
    }
    words
}

/// Removes `connection` and every field it names, and the fields that are hop-by-hop by definition: `keep-alive`,
/// `proxy-connection`, `transfer-encoding`, `upgrade`, `http2-settings`, and `te` unless it is exactly `trailers`.
///
/// `trailer` stays: it describes the message. An upgrade that is to be forwarded must be noted by the caller before
/// (see [`upgrade`]).
pub fn remove(block: &mut HeaderBlock) {
    if block.has(KnownName::Connection) {
        // Names are taken out one at a time because each removal changes the block; `Connection` rarely has two.
        let options: Vec<Vec<u8>> = block
            .get_all(&KnownName::Connection)
            .flat_map(|value| value.split(|&byte| byte == b','))
            .map(|option| option.trim_ascii().to_ascii_lowercase())
            .filter(|option| may_be_named(option))
            .collect();
        for option in options {
            block.remove(option.as_slice());
        }
        block.remove(KnownName::Connection);
    }
    for name in [
        KnownName::KeepAlive,
        KnownName::ProxyConnection,
        KnownName::TransferEncoding,
        KnownName::Upgrade,
        KnownName::Http2Settings,
    ] {
        block.remove(name);
    }
    if block.has(KnownName::Te) && !block.get(KnownName::Te).is_some_and(is_trailers) {
        block.remove(KnownName::Te);
    }
}

/// The protocol the message asks to upgrade to (or, in a 101, upgrades to): `upgrade` is present and `connection`
/// names it.
pub fn upgrade(block: &HeaderBlock) -> Option<&[u8]> {
    let protocol = block.get(KnownName::Upgrade)?;
    has_connection_option(block, b"upgrade").then_some(protocol)
}

/// True if a `connection` field lists `option` (lower case), compared without case.
pub fn has_connection_option(block: &HeaderBlock, option: &[u8]) -> bool {
    block.has(KnownName::Connection)
        && block
            .get_all(&KnownName::Connection)
            .flat_map(|value| value.split(|&byte| byte == b','))
            .any(|token| token.trim_ascii().eq_ignore_ascii_case(option))
}

/// What the `connection` fields of a message say about the connection itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// It is closed after this message.
    pub close: bool,
    /// It is kept, in HTTP/1.0.
    pub keep_alive: bool,
    /// They name `host`.
    pub names_host: bool,
    /// They name a pseudo-header, or one of the `x-forwarded-` fields that decisions rest on. A recipient that obeyed
    /// would forward another message.
    pub names_an_address: bool,
}

/// Reads them.
pub fn connection_options(block: &HeaderBlock) -> ConnectionOptions {
    let mut found = ConnectionOptions::default();
    if !block.has(KnownName::Connection) {
        return found;
    }
    let values = block.get_all(&KnownName::Connection);
    for option in values.flat_map(|value| value.split(|&byte| byte == b',')) {
        let option = option.trim_ascii();
        if option.eq_ignore_ascii_case(b"keep-alive") {
            found.keep_alive = true;
        } else if option.eq_ignore_ascii_case(b"close") {
            found.close = true;
        } else if option.eq_ignore_ascii_case(b"host") {
            found.names_host = true;
        } else {
            found.names_an_address |= is_address_field(option);
        }
    }
    found
}

fn is_address_field(option: &[u8]) -> bool {
    const FIELDS: [&[u8]; 3] = [b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"];
    option.starts_with(b":") || FIELDS.iter().any(|field| option.eq_ignore_ascii_case(field))
}

/// `te: trailers`, the only value HTTP/2 allows and the only one a proxy forwards.
fn is_trailers(value: &[u8]) -> bool {
    value.trim_ascii().eq_ignore_ascii_case(b"trailers")
}

/// `Connection` must not name what is meant for every recipient (RFC 9110 section 7.6.1): a sender could otherwise
/// make a proxy drop the fields its access decisions rest on.
fn may_be_named(option: &[u8]) -> bool {
    !option.is_empty()
        && !option.starts_with(b":")
        && !matches!(
            KnownName::from_bytes(option),
            Some(
                KnownName::Te
                    | KnownName::Host
                    | KnownName::Authorization
                    | KnownName::CacheControl
                    | KnownName::ContentLength
                    | KnownName::ContentType
                    | KnownName::Cookie
                    | KnownName::XForwardedFor
                    | KnownName::XForwardedHost
                    | KnownName::XForwardedProto
                    | KnownName::XForwardedClientCert
                    | KnownName::XRequestId
            )
        )
}
