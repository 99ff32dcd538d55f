//! What a connection counts: abuse limits and refusals, by Envoy's names where Envoy has one.
//!
//! A connection keeps small counters of its own; the driver adds them to the process's statistics.

macro_rules! stats {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)*) => {
        /// One statistic of a connection.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Stat {
            $($(#[doc = $doc])+ $variant,)*
        }

        impl Stat {
            /// Every statistic, in the order of their ids.
            pub const ALL: &'static [Stat] = &[$(Stat::$variant,)*];

            /// The name below `http2.` or `http1.`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Stat::$variant => $name,)*
                }
            }
        }
    };
}

stats! {
    /// The peer broke the protocol.
    RxMessagingError = "rx_messaging_error",
    /// A header block or head above the limit of size or count.
    HeaderOverflow = "header_overflow",
    /// RST_STREAM received.
    RxReset = "rx_reset",
    /// RST_STREAM sent.
    TxReset = "tx_reset",
    /// Streams refused because of our limit on concurrency.
    StreamRefusedErrors = "stream_refused_errors",
    /// GOAWAY sent.
    GoawaySent = "goaway_sent",
    /// First GOAWAY of a graceful drain sent.
    GoawayGracefulSent = "goaway_graceful_sent",
    /// Trailers received.
    Trailers = "trailers",
    /// A header block received for a stream that is closed.
    HeadersCbNoStream = "headers_cb_no_stream",
    /// Header compression out of step.
    HpackError = "hpack_error",
    /// SETTINGS not acknowledged in time.
    SettingsTimeout = "settings_timeout",
    /// Too many frames without use: unknown types, late frames on closed streams.
    InboundUselessFramesFlood = "inbound_useless_frames_flood",
    /// A keepalive ping was not answered.
    KeepaliveTimeout = "keepalive_timeout",
    /// The peer left a stream's window closed for too long.
    TxFlushTimeout = "tx_flush_timeout",
    /// The peer does not read: too many frames wait for it.
    OutboundFlood = "outbound_flood",
    /// The peer does not read the answers to its PING, SETTINGS and faulty streams.
    OutboundControlFlood = "outbound_control_flood",
    /// Too many consecutive frames without payload and END_STREAM.
    InboundEmptyFramesFlood = "inbound_empty_frames_flood",
    /// Too many PRIORITY frames.
    InboundPriorityFramesFlood = "inbound_priority_frames_flood",
    /// Too many WINDOW_UPDATE frames.
    InboundWindowUpdateFramesFlood = "inbound_window_update_frames_flood",
    /// Too many SETTINGS frames.
    InboundSettingsFlood = "inbound_settings_flood",
    /// Too many PING frames.
    InboundPingFlood = "inbound_ping_flood",
    /// A header block of too many frames (CVE-2024-27316).
    InboundContinuationFlood = "inbound_continuation_flood",
    /// Too many RST_STREAM frames.
    InboundResetFlood = "inbound_reset_flood",
    /// Too many streams opened and reset by the peer (CVE-2023-44487).
    RapidReset = "rapid_reset",
    /// Too many streams we were made to reset (CVE-2025-8671).
    MadeYouReset = "made_you_reset",
    /// The head did not arrive in time.
    HeadersTimeout = "headers_timeout",
    /// A request in a protocol version that is not served (HTTP/1.0 unless accepted, HTTP/2 preface, TLS).
    VersionRefused = "version_refused",
    /// Framing that could hide a second request: lengths, codings, line ends.
    AmbiguousFraming = "ambiguous_framing",
    /// Bytes after the end of a response, or before any request.
    UnsolicitedResponse = "unsolicited_response",
    /// The connection ended within a message.
    IncompleteMessage = "incomplete_message",
}

/// How many different statistics there are.
const COUNT: usize = Stat::ALL.len();

/// The counters of one connection.
#[derive(Clone, Debug)]
pub struct Stats {
    counts: [u32; COUNT],
}

impl Default for Stats {
    fn default() -> Self {
        Self { counts: [0; COUNT] }
    }
}

impl Stats {
    /// Adds one.
    #[inline]
    pub fn count(&mut self, stat: Stat) {
        self.counts[stat as usize] = self.counts[stat as usize].saturating_add(1);
    }

    /// The count so far.
    #[inline]
    pub fn value(&self, stat: Stat) -> u32 {
        self.counts[stat as usize]
    }

    /// The statistics that are not zero.
    pub fn iter(&self) -> impl Iterator<Item = (Stat, u32)> {
        Stat::ALL
            .iter()
            .copied()
            .zip(self.counts)
            .filter(|&(_, count)| count != 0)
    }
}
