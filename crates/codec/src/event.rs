//! The vocabulary both protocols share: what a connection reports, and the ids, codes and errors it uses.
//!
//! An [`Event`] borrows from the input and from the worker's [`Scratch`], never from the connection, so that whoever
//! handles it can write to any connection, including the one it came from.

use crate::headers::HeaderBlock;
use crate::stats::Stat;

/// Interim responses before a final one: far more than any use, far fewer than an attack. Nothing else bounds them: they
/// have no flow control.
pub(crate) const MAX_INFORMATIONAL: u8 = 100;

/// A stream's number. HTTP/2: as on the wire. HTTP/1.1: 1, 3, 5 ... for the requests of a connection in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct StreamId(pub u32);

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// An HTTP/2 error code (RFC 9113 section 7); unknown codes are kept as they are.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// Graceful shutdown.
    pub const NO_ERROR: Self = Self(0x0);
    /// A violation without a code of its own.
    pub const PROTOCOL_ERROR: Self = Self(0x1);
    /// Our own fault.
    pub const INTERNAL_ERROR: Self = Self(0x2);
    /// The peer overran a window.
    pub const FLOW_CONTROL_ERROR: Self = Self(0x3);
    /// SETTINGS not acknowledged in time.
    pub const SETTINGS_TIMEOUT: Self = Self(0x4);
    /// A frame for a stream that is half-closed or closed.
    pub const STREAM_CLOSED: Self = Self(0x5);
    /// A frame of an invalid size.
    pub const FRAME_SIZE_ERROR: Self = Self(0x6);
    /// The stream was not processed: safe to retry.
    pub const REFUSED_STREAM: Self = Self(0x7);
    /// The stream is no longer needed.
    pub const CANCEL: Self = Self(0x8);
    /// The compression state can't be kept.
    pub const COMPRESSION_ERROR: Self = Self(0x9);
    /// The TCP connection of a CONNECT failed.
    pub const CONNECT_ERROR: Self = Self(0xa);
    /// The peer's behaviour is too costly.
    pub const ENHANCE_YOUR_CALM: Self = Self(0xb);
    /// The transport is not safe enough.
    pub const INADEQUATE_SECURITY: Self = Self(0xc);
    /// HTTP/1.1 is required.
    pub const HTTP_1_1_REQUIRED: Self = Self(0xd);

    /// The code's name in the RFC.
    pub const fn name(self) -> &'static str {
        match self.0 {
            0x0 => "NO_ERROR",
            0x1 => "PROTOCOL_ERROR",
            0x2 => "INTERNAL_ERROR",
            0x3 => "FLOW_CONTROL_ERROR",
            0x4 => "SETTINGS_TIMEOUT",
            0x5 => "STREAM_CLOSED",
            0x6 => "FRAME_SIZE_ERROR",
            0x7 => "REFUSED_STREAM",
            0x8 => "CANCEL",
            0x9 => "COMPRESSION_ERROR",
            0xa => "CONNECT_ERROR",
            0xb => "ENHANCE_YOUR_CALM",
            0xc => "INADEQUATE_SECURITY",
            0xd => "HTTP_1_1_REQUIRED",
            _ => "unknown",
        }
    }
}

impl std::fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({:#x})", self.name(), self.0)
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// Why a stream ended before its messages were complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetReason {
    /// The code on the wire, or the one we sent.
    pub code: ErrorCode,
    /// True if the peer reset the stream, false if we found an error in it (RST_STREAM is already in the output).
    pub remote: bool,
    /// The peer provably did not process the request: it can be sent again elsewhere (RFC 9113 section 8.7).
    pub refused: bool,
    /// What was violated, with its section, where we found the error; for logs and response-code details.
    pub violation: Option<&'static str>,
}

/// What happened on a connection.
#[derive(Debug)]
pub enum Event<'a> {
    /// A request (at a server) or a final response (at a client). The block may be edited in place.
    Head {
        /// The stream; at a server a new one.
        stream: StreamId,
        /// Pseudo-headers and fields.
        head: &'a mut HeaderBlock,
        /// No data and no trailers follow.
        end_stream: bool,
    },
    /// An interim response: 1xx except 101.
    Informational {
        /// The stream.
        stream: StreamId,
        /// `:status` and fields.
        head: &'a mut HeaderBlock,
    },
    /// Part of the body, or of a tunnel after 101 or a successful CONNECT.
    Data {
        /// The stream.
        stream: StreamId,
        /// The bytes; may be empty with `end_stream`.
        data: &'a [u8],
        /// Flow-controlled bytes to give back by `release_credit` once `data` has been passed on; padding included.
        credit: u32,
        /// The message ends here, without trailers.
        end_stream: bool,
    },
    /// Trailers; they end the message.
    Trailers {
        /// The stream.
        stream: StreamId,
        /// Fields without pseudo-headers.
        trailers: &'a mut HeaderBlock,
    },
    /// The stream is gone, in both directions.
    Reset {
        /// The stream.
        stream: StreamId,
        /// By whom and why.
        reason: ResetReason,
    },
    /// Body bytes that `send_data` had to queue have left for the output: their source can be given credit.
    Sent {
        /// The stream they belong to.
        stream: StreamId,
        /// How many bytes.
        bytes: usize,
    },
    /// The peer accepts no streams above `last_stream`; those above it were not processed.
    Goaway {
        /// The last stream that was or might be processed.
        last_stream: StreamId,
        /// Why.
        code: ErrorCode,
        /// Opaque data for logs.
        debug: &'a [u8],
    },
    /// The peer's SETTINGS have been applied (and acknowledged in the output).
    Settings,
    /// A client connection that had no room for a stream has room again.
    StreamsAvailable,
    /// The peer answered our PING.
    PingAck {
        /// The payload we sent.
        payload: [u8; 8],
    },
    /// Nothing more will come in; once the output is flushed, the transport can be closed.
    Closed,
}

/// Decode buffers owned by a worker and lent to each `receive`.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The head or trailers of the event being handled.
    pub(crate) head: HeaderBlock,
    /// Bytes of an event that are no longer in the input.
    pub(crate) bytes: Vec<u8>,
}

impl Scratch {
    /// Empty buffers; they grow with use and are kept.
    pub fn new() -> Self {
        Self::default()
    }
}

/// The connection can't go on: the peer violated the protocol or a limit, or a deadline passed.
///
/// Everything in it is static: building one costs nothing and nothing in it came from the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionError {
    /// The HTTP/2 error code (already sent in a GOAWAY, at HTTP/2).
    pub code: ErrorCode,
    /// What was violated, with the RFC section or the limit's name.
    pub violation: &'static str,
    /// The statistic that counted it.
    pub stat: Stat,
    /// HTTP/1.1 server: the stream on which the refusal can be answered with `send_head`, and with what.
    pub answer: Option<Answer>,
}

/// How an HTTP/1.1 server can answer a message it refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The stream to answer on.
    pub stream: StreamId,
    /// The status that fits: 400, 408, 413, 426, 431, 501.
    pub status: u16,
}

impl std::fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.violation)
    }
}

impl std::error::Error for ConnectionError {}

/// Why no stream could be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The peer's limit on concurrent streams is reached (HTTP/1.1: a request is in progress).
    Busy,
    /// The peer or we have sent GOAWAY, or the connection won't be kept alive.
    Draining,
    /// All stream ids are used.
    IdsExhausted,
    /// The connection is closed.
    Closed,
    /// Servers don't open streams.
    Server,
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Busy => "no stream is available",
            Self::Draining => "the connection is draining",
            Self::IdsExhausted => "all stream ids are used",
            Self::Closed => "the connection is closed",
            Self::Server => "servers do not open streams",
        })
    }
}

impl std::error::Error for OpenError {}

/// Why something could not be sent on a stream. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The stream is unknown, reset or complete.
    StreamGone,
    /// Not in this order: data before the head, a second head, anything after the end.
    OutOfOrder,
    /// The head lacks what it needs, or holds what may not be sent.
    InvalidHead,
    /// The head is larger than the peer accepts (SETTINGS_MAX_HEADER_LIST_SIZE).
    HeadTooLarge,
    /// More or less body than `content-length` announced.
    LengthMismatch,
    /// The connection is closed.
    Closed,
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::StreamGone => "the stream is gone",
            Self::OutOfOrder => "not possible in this state of the stream",
            Self::InvalidHead => "the head can't be sent as it is",
            Self::HeadTooLarge => "the head is larger than the peer accepts",
            Self::LengthMismatch => "the body disagrees with content-length",
            Self::Closed => "the connection is closed",
        })
    }
}

impl std::error::Error for SendError {}
