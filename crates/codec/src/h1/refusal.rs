//! Everything HTTP/1.1 input can be refused for.

use crate::event::{ConnectionError, ErrorCode};
use crate::stats::Stat;

macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $variant:ident => $status:literal, $stat:ident, $text:literal;)*) => {
        /// Why a message was refused. The connection can't be used for another one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Refusal {
            $($(#[doc = $doc])+ $variant,)*
        }

        impl Refusal {
            /// Every refusal.
            pub const ALL: &'static [Refusal] = &[$(Refusal::$variant,)*];

            /// The status a server answers with.
            pub const fn status(self) -> u16 {
                match self {
                    $(Refusal::$variant => $status,)*
                }
            }

            /// The statistic it is counted in.
            pub const fn stat(self) -> Stat {
                match self {
                    $(Refusal::$variant => Stat::$stat,)*
                }
            }

            /// What was violated, with its section, for logs and response-code details.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Refusal::$variant => $text,)*
                }
            }
        }
    };
}

refusals! {
    /// The first bytes are a TLS record: the peer speaks TLS to a port without it.
    TlsRecord => 400, VersionRefused, "a TLS record where HTTP/1.1 was expected";
    /// The connection preface of HTTP/2, or a frame: the peer speaks HTTP/2 to a port of HTTP/1.1.
    Http2Preface => 400, VersionRefused, "HTTP/2 where HTTP/1.1 was expected (RFC 9113 section 3.4)";
    /// The request line has not three parts, or white space where none may be.
    RequestLine => 400, RxMessagingError, "invalid request line (RFC 9112 section 3)";
    /// A method that is not among the known ones, where others are not allowed.
    Method => 400, RxMessagingError, "unknown method (RFC 9110 section 9.1)";
    /// The target is not in a form its method allows.
    Target => 400, RxMessagingError, "invalid request target (RFC 9112 section 3.2)";
    /// The status line is not one.
    StatusLine => 502, RxMessagingError, "invalid status line (RFC 9112 section 4)";
    /// The version is not written as one.
    Version => 400, RxMessagingError, "invalid HTTP version (RFC 9112 section 2.3)";
    /// A version that is neither 1.0 nor 1.1. Envoy answers as it does to HTTP/1.0, without a 505.
    VersionNotSupported => 426, VersionRefused, "HTTP version not supported (RFC 9110 section 15.5.22)";
    /// HTTP/1.0, which is not accepted.
    Http10 => 426, VersionRefused, "HTTP/1.0 is not accepted (RFC 9110 section 15.5.22)";
    /// LF without CR.
    BareLf => 400, AmbiguousFraming, "LF without CR (RFC 9112 section 2.2)";
    /// CR without LF.
    BareCr => 400, AmbiguousFraming, "CR without LF (RFC 9112 section 2.2)";
    /// A line that begins with white space.
    ObsFold => 400, AmbiguousFraming, "folded line (RFC 9112 section 5.2)";
    /// White space between a name and its colon.
    SpaceBeforeColon => 400, AmbiguousFraming, "white space before colon (RFC 9112 section 5.1)";
    /// A name with other than token characters, or a line without colon.
    HeaderName => 400, RxMessagingError, "invalid field name (RFC 9110 section 5.1)";
    /// A value with control characters.
    HeaderValue => 400, RxMessagingError, "invalid field value (RFC 9110 section 5.5)";
    /// The head is too long.
    HeadersTooLarge => 431, HeaderOverflow, "head over max_headers_bytes";
    /// The head has too many fields.
    TooManyHeaders => 431, HeaderOverflow, "fields over max_headers_count";
    /// The head did not arrive in time.
    HeadersTimeout => 408, HeadersTimeout, "head not complete within request_headers_timeout";
    /// No `host` in an HTTP/1.1 request.
    MissingHost => 400, RxMessagingError, "no Host (RFC 9112 section 3.2)";
    /// More than one `host`.
    DuplicateHost => 400, AmbiguousFraming, "more than one Host (RFC 9112 section 3.2)";
    /// `host`, or the target's authority, is not a host with optional port.
    InvalidHost => 400, RxMessagingError, "invalid Host (RFC 9112 section 3.2)";
    /// `connection` names a field that says where the message goes or whence it comes.
    ConnectionOption => 400, AmbiguousFraming, "Connection names what is for every recipient (RFC 9110 section 7.6.1)";
    /// `content-length` is not one decimal number that fits 64 bits.
    ContentLength => 400, AmbiguousFraming, "invalid Content-Length (RFC 9112 section 6.3)";
    /// Several `content-length` fields, even if equal.
    DuplicateContentLength => 400, AmbiguousFraming, "more than one Content-Length (RFC 9112 section 6.3)";
    /// `content-length` beside `transfer-encoding`.
    ContentLengthWithTransferEncoding => 400, AmbiguousFraming,
        "Content-Length beside Transfer-Encoding (RFC 9112 section 6.1)";
    /// Any coding but a single `chunked`.
    TransferEncoding => 501, AmbiguousFraming, "Transfer-Encoding other than chunked (RFC 9112 section 6.1)";
    /// `transfer-encoding` in HTTP/1.0.
    TransferEncodingInHttp10 => 400, AmbiguousFraming, "Transfer-Encoding in HTTP/1.0 (RFC 9112 section 6.1)";
    /// A CONNECT with a body.
    ConnectBody => 400, AmbiguousFraming, "CONNECT with a body (RFC 9110 section 9.3.6)";
    /// A chunk size that is not hexadecimal digits, or too many of them.
    ChunkSize => 400, AmbiguousFraming, "invalid chunk size (RFC 9112 section 7.1)";
    /// Something else than CR LF after a chunk's data.
    ChunkEnd => 400, AmbiguousFraming, "chunk data not followed by CR LF (RFC 9112 section 7.1)";
    /// Control characters in a chunk extension.
    ChunkExtension => 400, AmbiguousFraming, "invalid chunk extension (RFC 9112 section 7.1.1)";
    /// Chunk extensions are too long in sum.
    ChunkExtensionsTooLarge => 400, HeaderOverflow, "chunk extensions over max_chunk_extension_bytes";
    /// A trailer field that decides about framing or routing.
    ForbiddenTrailer => 400, AmbiguousFraming, "trailer field not allowed (RFC 9110 section 6.5.1)";
    /// Bytes from the server without a request.
    UnsolicitedResponse => 502, UnsolicitedResponse, "response without a request (RFC 9112 section 9.2)";
    /// A 101 that was not asked for, or a wrong interim response.
    UnexpectedUpgrade => 502, RxMessagingError, "101 without an Upgrade request (RFC 9110 section 15.2.2)";
    /// Interim responses without end.
    TooManyInformational => 502, RxMessagingError, "too many interim responses";
}

impl Refusal {
    /// The error the caller of `receive` gets.
    pub(super) const fn error(self) -> ConnectionError {
        ConnectionError {
            code: match self {
                Self::HeadersTooLarge | Self::TooManyHeaders | Self::ChunkExtensionsTooLarge => {
                    ErrorCode::ENHANCE_YOUR_CALM
                }
                Self::HeadersTimeout => ErrorCode::CANCEL,
                _ => ErrorCode::PROTOCOL_ERROR,
            },
            violation: self.as_str(),
            stat: self.stat(),
            answer: None,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Refusal {}
