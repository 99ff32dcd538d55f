//! Heads, trailers and chunks to bytes.
//!
//! Every name and value is checked on its way out, whoever made it: nothing that ends a line can get into one.

use super::framing::{Asked, Framing};
use super::{Config, HeaderKeyFormat};
use crate::event::SendError;
use crate::headers::{FieldRef, HeaderBlock, hop_by_hop, validate};
use crate::names::KnownName;

/// What `connection` is to say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Connection {
    pub(super) close: bool,
    /// To an HTTP/1.0 client, for which closing is the default.
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
}

/// Appends a request head and returns the framing it announces.
pub(super) fn request(
    head: &HeaderBlock,
    end_stream: bool,
    config: &Config,
    close: bool,
    output: &mut Vec<u8>,
) -> Result<(Framing, Asked), SendError> {
    let method = head
        .method()
        .filter(|method| validate::is_token(method))
        .ok_or(SendError::InvalidHead)?;
    let authority = head.authority().unwrap_or_default();
    if !validate::is_authority(authority) {
        return Err(SendError::InvalidHead);
    }
    // An extended CONNECT (RFC 8441) is HTTP/1.1's upgrade.
    let extended = head
        .protocol()
        .filter(|protocol| validate::has_only_value_characters(protocol));
    let asked = Asked {
        is_head: method == b"HEAD",
        is_connect: method == b"CONNECT" && extended.is_none(),
        is_upgrade: extended.is_some() || hop_by_hop::upgrade(head).is_some(),
    };
    let method = if extended.is_some() { b"GET" } else { method };
    output.extend_from_slice(method);
    output.push(b' ');
    if asked.is_connect {
        if authority.is_empty() {
            return Err(SendError::InvalidHead);
        }
        output.extend_from_slice(authority);
    } else {
        let path = head
            .path()
            .filter(|path| !path.is_empty() && validate::has_only_target_characters(path));
        let path = path.ok_or(SendError::InvalidHead)?;
        if config.send_fully_qualified_url && path.starts_with(b"/") {
            let scheme = head
                .scheme()
                .filter(|scheme| validate::is_scheme(scheme))
                .unwrap_or(b"http");
            output.extend_from_slice(scheme);
            output.extend_from_slice(b"://");
            output.extend_from_slice(authority);
        }
        output.extend_from_slice(path);
    }
    output.extend_from_slice(b" HTTP/1.1\r\n");
    // RFC 9112 section 3.2: Host is always sent, and first.
    if head.authority().is_some() || !head.has(KnownName::Host) {
        name(KnownName::Host.as_bytes(), None, config, output);
        output.extend_from_slice(authority);
        output.extend_from_slice(b"\r\n");
    }
    let framing = if asked.is_connect {
        // No body of its own; what follows is the tunnel's if the server agrees.
        Framing::Tunnel
    } else {
        request_framing(head, end_stream, asked)?
    };
    fields(head, head.authority().is_some(), config, output)?;
    if let Some(protocol) = extended {
        line(KnownName::Upgrade, protocol, config, output);
    } else if let Some(protocol) = hop_by_hop::upgrade(head) {
        checked_line(KnownName::Upgrade, protocol, config, output)?;
    }
    framing_line(framing, has_length(head, method), config, output);
    let is_te = head.has(KnownName::Te);
    connection_line(
        Connection {
            close,
            keep_alive: false,
            upgrade: asked.is_upgrade,
        },
        is_te,
        config,
        output,
    );
    output.extend_from_slice(b"\r\n");
    Ok((framing, asked))
}

/// RFC 9110 section 8.6: methods that anticipate no content send no length of 0.
fn has_length(head: &HeaderBlock, method: &[u8]) -> bool {
    head.has(KnownName::ContentLength) || !matches!(method, b"GET" | b"HEAD" | b"DELETE" | b"OPTIONS" | b"TRACE")
}

fn request_framing(head: &HeaderBlock, end_stream: bool, asked: Asked) -> Result<Framing, SendError> {
    match (head.content_length(), end_stream) {
        // A request that only asks; what follows is the tunnel's.
        (None, false) if asked.is_upgrade => Ok(Framing::Tunnel),
        (Some(Err(_)), _) => Err(SendError::InvalidHead),
        (Some(Ok(0)) | None, true) => Ok(Framing::Length(0)),
        (Some(Ok(_)), true) => Err(SendError::LengthMismatch),
        (Some(Ok(length)), false) => Ok(Framing::Length(length)),
        (None, false) => Ok(Framing::Chunked),
    }
}

/// Appends a final response head, or a 101, and returns the framing it announces. `to_http_10`: the client speaks
/// HTTP/1.0, so there are no chunks.
pub(super) fn response(
    head: &HeaderBlock,
    end_stream: bool,
    asked: Asked,
    to_http_10: bool,
    config: &Config,
    connection: Connection,
    output: &mut Vec<u8>,
) -> Result<Framing, SendError> {
    let status = head
        .status()
        .filter(|&status| status >= 200 || status == 101)
        .ok_or(SendError::InvalidHead)?;
    let framing = response_framing(head, status, end_stream, asked, to_http_10)?;
    status_line(status, output);
    fields(head, true, config, output)?;
    if status == 101
        && let Some(protocol) = head.get(KnownName::Upgrade)
    {
        checked_line(KnownName::Upgrade, protocol, config, output)?;
    }
    match framing {
        // RFC 9110 section 8.6: to HEAD and in a 304, the length the body would have had; never in a 204.
        Framing::None if status != 204 => {
            if let Some(Ok(length)) = head.content_length() {
                length_line(length, config, output);
            }
        }
        framing => framing_line(framing, true, config, output),
    }
    let close = connection.close || framing == Framing::UntilClose;
    connection_line(Connection { close, ..connection }, false, config, output);
    output.extend_from_slice(b"\r\n");
    Ok(framing)
}

fn response_framing(
    head: &HeaderBlock,
    status: u16,
    end_stream: bool,
    asked: Asked,
    to_http_10: bool,
) -> Result<Framing, SendError> {
    if status == 101 {
        return if asked.is_upgrade && !to_http_10 && !end_stream {
            Ok(Framing::Tunnel)
        } else {
            Err(SendError::InvalidHead)
        };
    }
    if asked.is_connect && (200..300).contains(&status) {
        return Ok(Framing::Tunnel);
    }
    let length = match head.content_length() {
        Some(Err(_)) => return Err(SendError::InvalidHead),
        Some(Ok(length)) => Some(length),
        None => None,
    };
    if asked.is_head || matches!(status, 204 | 304) {
        return Ok(Framing::None);
    }
    match (length, end_stream) {
        (Some(0) | None, true) => Ok(Framing::Length(0)),
        (Some(_), true) => Err(SendError::LengthMismatch),
        (Some(length), false) => Ok(Framing::Length(length)),
        (None, false) if to_http_10 => Ok(Framing::UntilClose),
        (None, false) => Ok(Framing::Chunked),
    }
}

/// Appends an interim response (RFC 9110 section 15.2), which has no framing and says nothing about the connection.
pub(super) fn informational(head: &HeaderBlock, config: &Config, output: &mut Vec<u8>) -> Result<(), SendError> {
    let status = head
        .status()
        .filter(|&status| status < 200 && status != 101)
        .ok_or(SendError::InvalidHead)?;
    status_line(status, output);
    fields(head, true, config, output)?;
    output.extend_from_slice(b"\r\n");
    Ok(())
}

/// Appends one chunk.
pub(super) fn chunk(data: &[u8], output: &mut Vec<u8>) {
    if data.is_empty() {
        return;
    }
    output.reserve(data.len() + 20);
    let mut digits = [0; 16];
    let mut start = digits.len();
    let mut length = data.len();
    while length > 0 {
        start -= 1;
        digits[start] = b"0123456789abcdef"[length & 15];
        length >>= 4;
    }
    output.extend_from_slice(&digits[start..]);
    output.extend_from_slice(b"\r\n");
    output.extend_from_slice(data);
    output.extend_from_slice(b"\r\n");
}

/// Appends the last chunk and the trailers.
pub(super) fn last_chunk(
    trailers: Option<&HeaderBlock>,
    config: &Config,
    output: &mut Vec<u8>,
) -> Result<(), SendError> {
    output.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        fields(trailers, true, config, output)?;
    }
    output.extend_from_slice(b"\r\n");
    Ok(())
}

/// The fields that are not this hop's business; cookies in one line.
fn fields(head: &HeaderBlock, skip_host: bool, config: &Config, output: &mut Vec<u8>) -> Result<(), SendError> {
    let mut cookies = 0;
    for field in head {
        match field.known {
            Some(
                KnownName::Connection
                | KnownName::KeepAlive
                | KnownName::ProxyConnection
                | KnownName::TransferEncoding
                | KnownName::ContentLength
                | KnownName::Upgrade
                | KnownName::Http2Settings,
            ) => continue,
            Some(KnownName::Host) if skip_host => continue,
            Some(KnownName::Cookie) => {
                cookies += 1;
                if cookies > 1 {
                    continue;
                }
            }
            Some(_) => {}
            None if validate::is_field_name(field.name) => {}
            None => return Err(SendError::InvalidHead),
        }
        check(field.value)?;
        field_name(&field, config, output);
        output.extend_from_slice(field.value);
        if field.known == Some(KnownName::Cookie) {
            // RFC 9113 section 8.2.3: HTTP/2 may have split it.
            for more in head.get_all(&KnownName::Cookie).skip(1) {
                check(more)?;
                output.extend_from_slice(b"; ");
                output.extend_from_slice(more);
            }
        }
        output.extend_from_slice(b"\r\n");
    }
    Ok(())
}

fn check(value: &[u8]) -> Result<(), SendError> {
    if validate::has_only_value_characters(value) {
        Ok(())
    } else {
        Err(SendError::InvalidHead)
    }
}

fn field_name(field: &FieldRef<'_>, config: &Config, output: &mut Vec<u8>) {
    name(field.name, field.spelling, config, output);
}

/// `name: ` in the configured case.
fn name(lower: &[u8], spelling: Option<&[u8]>, config: &Config, output: &mut Vec<u8>) {
    let start = output.len();
    match (config.header_key_format, spelling) {
        (HeaderKeyFormat::PreserveCase, Some(spelling)) => output.extend_from_slice(spelling),
        (HeaderKeyFormat::ProperCaseWords, _) => {
            output.extend_from_slice(lower);
            let mut at_start = true;
            for byte in &mut output[start..] {
                if at_start {
                    byte.make_ascii_uppercase();
                }
                at_start = !byte.is_ascii_alphanumeric();
            }
        }
        _ => output.extend_from_slice(lower),
    }
    output.extend_from_slice(b": ");
}

fn line(known: KnownName, value: &[u8], config: &Config, output: &mut Vec<u8>) {
    name(known.as_bytes(), None, config, output);
    output.extend_from_slice(value);
    output.extend_from_slice(b"\r\n");
}

fn checked_line(known: KnownName, value: &[u8], config: &Config, output: &mut Vec<u8>) -> Result<(), SendError> {
    check(value)?;
    line(known, value, config, output);
    Ok(())
}

fn framing_line(framing: Framing, with_zero: bool, config: &Config, output: &mut Vec<u8>) {
    match framing {
        Framing::Length(length) if length > 0 || with_zero => length_line(length, config, output),
        Framing::Chunked => line(KnownName::TransferEncoding, b"chunked", config, output),
        Framing::None | Framing::Length(_) | Framing::UntilClose | Framing::Tunnel => {}
    }
}

fn length_line(length: u64, config: &Config, output: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut rest = length;
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    line(KnownName::ContentLength, &digits[start..], config, output);
}

fn connection_line(connection: Connection, te: bool, config: &Config, output: &mut Vec<u8>) {
    // RFC 9110 section 10.1.4: a sender of TE says that it is for this hop.
    let options: [(bool, &[u8]); 4] = [
        (connection.upgrade, b"upgrade"),
        (te, b"te"),
        (connection.close, b"close"),
        (connection.keep_alive && !connection.close, b"keep-alive"),
    ];
    if options.iter().all(|(present, _)| !present) {
        return;
    }
    name(KnownName::Connection.as_bytes(), None, config, output);
    let mut separator: &[u8] = b"";
    for (_, option) in options.iter().filter(|(present, _)| *present) {
        output.extend_from_slice(separator);
        output.extend_from_slice(option);
        separator = b", ";
    }
    output.extend_from_slice(b"\r\n");
}

fn status_line(status: u16, output: &mut Vec<u8>) {
    let digits = [status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
    output.extend_from_slice(b"HTTP/1.1 ");
    output.extend_from_slice(&digits);
    output.push(b' ');
    output.extend_from_slice(reason(status));
    output.extend_from_slice(b"\r\n");
}

/// The reason phrase of RFC 9110 section 15; for other codes Envoy's.
fn reason(status: u16) -> &'static [u8] {
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Unknown")
        .as_bytes()
}
