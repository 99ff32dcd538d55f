//! Access logs: a format is compiled once, an entry is written into the worker's buffer and handed to a sink that
//! never makes a worker wait (Envoy: Access logging).
//!
//! ```
//! use telemetry::access_log::{Format, LogContext};
//! struct Request;
//! impl LogContext for Request {
//!     fn response_code(&self) -> Option<u16> { Some(200) }
//! }
//! let format = Format::text("%RESPONSE_CODE% %PROTOCOL%\n", false).unwrap();
//! let mut line = Vec::new();
//! format.write(&Request, &mut line);
//! assert_eq!(line, b"200 -\n");
//! ```

mod context;
mod flags;
mod format;
mod grpc;
mod operator;
mod sink;
mod timestamp;

pub use context::{
    Address, ByteCount, LogAddress, LogContext, MetadataSource, MetadataValue, Side, Text, TimePoint, TlsField,
};
pub use flags::{ResponseFlag, ResponseFlags};
pub use format::{Format, FormatError, JsonTemplate};
pub use sink::{FlushSettings, Sink, Writer};
pub use timestamp::iso_8601;

/// Envoy's default format.
pub const DEFAULT_FORMAT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
    %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \
    %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
    \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";
