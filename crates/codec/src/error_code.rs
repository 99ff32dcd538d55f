//! HTTP/2 error codes, shared by the events of both protocols.

use std::fmt;

/// An HTTP/2 error code (RFC 9113 section 7). Codes nobody registered are kept as they came: they mean
/// `INTERNAL_ERROR` to whoever asks, but are forwarded unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCode(pub u32);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: ErrorCode = ErrorCode($value);)*

            /// The registered name (RFC 9113 section 7), or `None` for a code nobody registered.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// The end of a stream or connection without an error.
    NO_ERROR = 0x0;
    /// A protocol error that no other code describes better.
    PROTOCOL_ERROR = 0x1;
    /// The endpoint met an unexpected internal error.
    INTERNAL_ERROR = 0x2;
    /// The peer violated flow control.
    FLOW_CONTROL_ERROR = 0x3;
    /// The peer did not acknowledge SETTINGS in time.
    SETTINGS_TIMEOUT = 0x4;
    /// A frame arrived on a stream that was half-closed or closed.
    STREAM_CLOSED = 0x5;
    /// A frame had an invalid size.
    FRAME_SIZE_ERROR = 0x6;
    /// The stream was refused before any processing: safe to retry (RFC 9113 section 8.7).
    REFUSED_STREAM = 0x7;
    /// The stream is no longer wanted.
    CANCEL = 0x8;
    /// The field compression context can't be kept.
    COMPRESSION_ERROR = 0x9;
    /// The connection made by CONNECT was reset or closed abnormally.
    CONNECT_ERROR = 0xa;
    /// The peer generates excessive load.
    ENHANCE_YOUR_CALM = 0xb;
    /// The transport does not meet minimum security requirements.
    INADEQUATE_SECURITY = 0xc;
    /// HTTP/1.1 is required instead.
    HTTP_1_1_REQUIRED = 0xd;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => formatter.write_str(name),
            None => write!(formatter, "{:#x}", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
