//! Which rule of HTTP/2 was broken: what it is signalled as, which text says so, which statistic counts it.

use crate::event::{ConnectionError, ErrorCode};
use crate::stats::Stat;

macro_rules! violations {
    ($($variant:ident: $code:ident, $source:literal, $stat:ident, $text:literal;)*) => {
        /// A rule the peer broke, or a limit it ran into.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Violation {
            $($variant,)*
        }

        impl Violation {
            /// The error code it is signalled with.
            pub(crate) const fn code(self) -> ErrorCode {
                match self { $(Violation::$variant => ErrorCode::$code,)* }
            }

            /// What happened and the section or advisory that forbids it; GOAWAY carries it as debug data.
            pub(crate) const fn text(self) -> &'static str {
                match self { $(Violation::$variant => concat!($text, " (", $source, ")"),)* }
            }

            /// The statistic that counts it.
            pub(crate) const fn stat(self) -> Stat {
                match self { $(Violation::$variant => Stat::$stat,)* }
            }
        }
    };
}

violations! {
    Preface: PROTOCOL_ERROR, "RFC 9113 section 3.4", RxMessagingError, "invalid connection preface";
    FirstFrame: PROTOCOL_ERROR, "RFC 9113 section 3.4", RxMessagingError, "first frame is not SETTINGS";
    FrameTooLarge: FRAME_SIZE_ERROR, "RFC 9113 section 4.2", RxMessagingError, "frame exceeds SETTINGS_MAX_FRAME_SIZE";
    FrameLength: FRAME_SIZE_ERROR, "RFC 9113 section 4.2", RxMessagingError, "frame length does not fit the frame type";
    HeaderCompression: COMPRESSION_ERROR, "RFC 9113 section 4.3", HpackError, "header block can't be decoded";
    BlockInterrupted: PROTOCOL_ERROR, "RFC 9113 section 4.3", RxMessagingError, "frame inside a header block";
    StreamIdentifier: PROTOCOL_ERROR, "RFC 9113 section 5.1.1", RxMessagingError, "unexpected stream identifier";
    StreamZero: PROTOCOL_ERROR, "RFC 9113 section 6", RxMessagingError, "frame on stream 0 that belongs to a stream";
    StreamNotZero: PROTOCOL_ERROR, "RFC 9113 section 6", RxMessagingError, "connection frame on a stream";
    IdleStream: PROTOCOL_ERROR, "RFC 9113 section 5.1", RxMessagingError, "frame on an idle stream";
    HalfClosedRemote: STREAM_CLOSED, "RFC 9113 section 5.1", RxMessagingError, "frame after END_STREAM";
    ClosedStream: STREAM_CLOSED, "RFC 9113 section 5.1", RxMessagingError, "frame on a closed stream";
    TooManyStreams: REFUSED_STREAM, "RFC 9113 section 5.1.2", StreamRefusedErrors, "more streams than SETTINGS_MAX_CONCURRENT_STREAMS";
    Padding: PROTOCOL_ERROR, "RFC 9113 section 6.1", RxMessagingError, "padding exceeds the payload";
    PriorityLength: FRAME_SIZE_ERROR, "RFC 9113 section 6.3", RxMessagingError, "PRIORITY is not 5 octets";
    SelfDependency: PROTOCOL_ERROR, "RFC 7540 section 5.3.1", RxMessagingError, "stream depends on itself";
    SettingsLength: FRAME_SIZE_ERROR, "RFC 9113 section 6.5", RxMessagingError, "SETTINGS length is not a multiple of 6, or not 0 in an acknowledgment";
    SettingsAck: PROTOCOL_ERROR, "RFC 9113 section 6.5.3", RxMessagingError, "acknowledgment of settings that were not sent";
    SettingsEnablePush: PROTOCOL_ERROR, "RFC 9113 section 6.5.2", RxMessagingError, "invalid SETTINGS_ENABLE_PUSH";
    SettingsInitialWindow: FLOW_CONTROL_ERROR, "RFC 9113 section 6.5.2", RxMessagingError, "SETTINGS_INITIAL_WINDOW_SIZE over 2^31-1";
    SettingsMaxFrameSize: PROTOCOL_ERROR, "RFC 9113 section 6.5.2", RxMessagingError, "SETTINGS_MAX_FRAME_SIZE out of range";
    SettingsEnableConnect: PROTOCOL_ERROR, "RFC 8441 section 3", RxMessagingError, "invalid SETTINGS_ENABLE_CONNECT_PROTOCOL";
    SettingsTooMany: ENHANCE_YOUR_CALM, "CVE-2019-9515", InboundSettingsFlood, "too many parameters in SETTINGS";
    SettingsNotAcknowledged: SETTINGS_TIMEOUT, "RFC 9113 section 6.5.3", SettingsTimeout, "SETTINGS not acknowledged in time";
    PushPromise: PROTOCOL_ERROR, "RFC 9113 section 8.4", RxMessagingError, "PUSH_PROMISE although push is disabled";
    WindowUpdateZero: PROTOCOL_ERROR, "RFC 9113 section 6.9", RxMessagingError, "WINDOW_UPDATE by 0";
    WindowOverflow: FLOW_CONTROL_ERROR, "RFC 9113 section 6.9.1", RxMessagingError, "flow-control window over 2^31-1";
    WindowExceeded: FLOW_CONTROL_ERROR, "RFC 9113 section 6.9.1", RxMessagingError, "DATA beyond the flow-control window";
    Continuation: PROTOCOL_ERROR, "RFC 9113 section 6.10", RxMessagingError, "CONTINUATION without a header block before it";
    MalformedField: PROTOCOL_ERROR, "RFC 9113 section 8.2.1", RxMessagingError, "invalid character in a field name or value";
    ConnectionSpecificField: PROTOCOL_ERROR, "RFC 9113 section 8.2.2", RxMessagingError, "connection-specific field";
    PseudoHeader: PROTOCOL_ERROR, "RFC 9113 section 8.3", RxMessagingError, "pseudo-header field unknown, repeated or out of place";
    RequestPseudoHeaders: PROTOCOL_ERROR, "RFC 9113 section 8.3.1", RxMessagingError, "request without its mandatory pseudo-header fields, or with invalid ones";
    HostMismatch: PROTOCOL_ERROR, "RFC 9113 section 8.3.1", RxMessagingError, "host differs from :authority";
    ResponseStatus: PROTOCOL_ERROR, "RFC 9113 section 8.3.2", RxMessagingError, "response without a valid :status";
    ExtendedConnect: PROTOCOL_ERROR, "RFC 8441 section 4", RxMessagingError, ":protocol without SETTINGS_ENABLE_CONNECT_PROTOCOL or CONNECT";
    ContentLengthField: PROTOCOL_ERROR, "RFC 9113 section 8.1.1", RxMessagingError, "invalid or repeated content-length";
    ContentLength: PROTOCOL_ERROR, "RFC 9113 section 8.1.1", RxMessagingError, "content differs from content-length";
    NoContent: PROTOCOL_ERROR, "RFC 9113 section 8.1.1", RxMessagingError, "content in a response that can't have any";
    InformationalEnd: PROTOCOL_ERROR, "RFC 9113 section 8.1", RxMessagingError, "informational response ends the stream";
    TooManyInformational: ENHANCE_YOUR_CALM, "RFC 9110 section 15.2", RxMessagingError, "too many interim responses";
    TrailersWithoutEnd: PROTOCOL_ERROR, "RFC 9113 section 8.1", RxMessagingError, "trailers without END_STREAM";
    DataBeforeHead: PROTOCOL_ERROR, "RFC 9113 section 8.1", RxMessagingError, "DATA before the header section";
    HeaderList: ENHANCE_YOUR_CALM, "RFC 9113 section 10.5.1", HeaderOverflow, "header list too large";
    HeaderBlock: ENHANCE_YOUR_CALM, "RFC 9113 section 10.5.1", HeaderOverflow, "split header block too large";
    ContinuationFlood: ENHANCE_YOUR_CALM, "CVE-2024-27316", InboundContinuationFlood, "too many CONTINUATION frames";
    EmptyFrames: ENHANCE_YOUR_CALM, "CVE-2019-9518", InboundEmptyFramesFlood, "too many empty frames";
    PriorityFlood: ENHANCE_YOUR_CALM, "CVE-2019-9513", InboundPriorityFramesFlood, "too many PRIORITY frames";
    WindowUpdateFlood: ENHANCE_YOUR_CALM, "CVE-2019-9517", InboundWindowUpdateFramesFlood, "too many WINDOW_UPDATE frames";
    SettingsFlood: ENHANCE_YOUR_CALM, "CVE-2019-9515", InboundSettingsFlood, "too many SETTINGS frames";
    PingFlood: ENHANCE_YOUR_CALM, "CVE-2019-9512", InboundPingFlood, "too many PING frames";
    UselessFrames: ENHANCE_YOUR_CALM, "RFC 9113 section 10.5", InboundUselessFramesFlood, "too many frames without use";
    ResetFlood: ENHANCE_YOUR_CALM, "CVE-2023-44487", InboundResetFlood, "too many RST_STREAM frames";
    RapidReset: ENHANCE_YOUR_CALM, "CVE-2023-44487", RapidReset, "most streams were reset prematurely";
    MadeYouReset: ENHANCE_YOUR_CALM, "CVE-2025-8671", MadeYouReset, "too many stream errors";
    OutboundFlood: ENHANCE_YOUR_CALM, "CVE-2019-9517", OutboundFlood, "too much output is not being read";
    OutboundControlFlood: ENHANCE_YOUR_CALM, "CVE-2019-9514", OutboundControlFlood, "too many control frames are not being read";
    SlowHeaders: ENHANCE_YOUR_CALM, "RFC 9113 section 10.5", HeadersTimeout, "frame or header block not completed in time";
    StalledStream: CANCEL, "CVE-2019-9517", TxFlushTimeout, "stream window stays closed with data waiting";
    StalledConnection: ENHANCE_YOUR_CALM, "CVE-2019-9517", TxFlushTimeout, "output is not being read";
    TransportClosed: CANCEL, "RFC 9113 section 5.4.3", RxMessagingError, "transport closed";
    KeepaliveTimeout: NO_ERROR, "RFC 9113 section 6.7", KeepaliveTimeout, "no answer to PING";
}

impl From<Violation> for ConnectionError {
    fn from(violation: Violation) -> Self {
        Self {
            code: violation.code(),
            violation: violation.text(),
            stat: violation.stat(),
            answer: None,
        }
    }
}
