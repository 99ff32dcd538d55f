//! How long a body is (RFC 9112 section 6.3).

use super::Refusal;
use crate::headers::HeaderBlock;
use crate::names::KnownName;

/// The length of a message's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// No body, whatever the fields say.
    None,
    /// As many bytes.
    Length(u64),
    /// The chunked coding.
    Chunked,
    /// A response that ends with the connection.
    UntilClose,
    /// No longer HTTP.
    Tunnel,
}

/// What of a request decides about the response's body and the connection's future.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) is_head: bool,
    pub(super) is_connect: bool,
    /// `upgrade` named by `connection`.
    pub(super) is_upgrade: bool,
}

/// The framing of a received request. `block` has its `transfer-encoding` taken out: it belonged to this hop.
pub(super) fn request(block: &mut HeaderBlock, is_http_10: bool, asked: Asked) -> Result<Framing, Refusal> {
    let framing = explicit(block, is_http_10)?;
    if asked.is_connect && !matches!(framing, None | Some(Framing::Length(0))) {
        return Err(Refusal::ConnectBody);
    }
    Ok(framing.unwrap_or(Framing::Length(0)))
}

/// The framing of a received response with a status other than 1xx (101 aside). See [`request`].
pub(super) fn response(block: &mut HeaderBlock, is_http_10: bool, asked: Asked) -> Result<Framing, Refusal> {
    let status = block.status().unwrap_or_default();
    if asked.is_connect && (200..300).contains(&status) {
        // Section 6.3, rule 2: the fields are to be ignored.
        block.remove(KnownName::TransferEncoding);
        block.remove(KnownName::ContentLength);
        return Ok(Framing::Tunnel);
    }
    let framing = explicit(block, is_http_10)?;
    if status == 204 {
        // RFC 9110 section 8.6: it may not have one, and a recipient behind HTTP/2 would wait for it.
        block.remove(KnownName::ContentLength);
    }
    if asked.is_head || matches!(status, 204 | 304) {
        return Ok(Framing::None);
    }
    Ok(framing.unwrap_or(Framing::UntilClose))
}

/// What `transfer-encoding` or `content-length` say, if either is there.
fn explicit(block: &mut HeaderBlock, is_http_10: bool) -> Result<Option<Framing>, Refusal> {
    if block.has(KnownName::TransferEncoding) {
        if is_http_10 {
            return Err(Refusal::TransferEncodingInHttp10);
        }
        if block.has(KnownName::ContentLength) {
            return Err(Refusal::ContentLengthWithTransferEncoding);
        }
        let mut codings = block.get_all(&KnownName::TransferEncoding);
        let is_chunked = codings
            .next()
            .is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        if !is_chunked || codings.next().is_some() {
            return Err(Refusal::TransferEncoding);
        }
        block.remove(KnownName::TransferEncoding);
        return Ok(Some(Framing::Chunked));
    }
    match block.content_length() {
        None => Ok(None),
        Some(Ok(length)) => Ok(Some(Framing::Length(length))),
        Some(Err(_)) if block.get_all(&KnownName::ContentLength).nth(1).is_some() => {
            Err(Refusal::DuplicateContentLength)
        }
        Some(Err(_)) => Err(Refusal::ContentLength),
    }
}
