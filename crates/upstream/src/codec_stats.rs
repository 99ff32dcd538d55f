//! What codecs count, added to the statistics that Envoy has for it.

use codec::stats::{Stat, Stats};
use telemetry::stats::{Counter, Local, http2 as stat};

/// Adds the counts of one connection to `http2.` or `http1.`. HTTP/1.1 has none of them: Envoy's counters there are of
/// options that do not exist here.
pub fn add(counted: &Stats, is_h2: bool, stats: Local<'_>) {
    if !is_h2 {
        return;
    }
    for (counted, count) in counted.iter() {
        if let Some(counter) = of_http2(counted) {
            stats.add(counter, u64::from(count));
        }
    }
}

/// The counter of the same thing: Envoy's, where it has one.
fn of_http2(counted: Stat) -> Option<Counter> {
    Some(match counted {
        Stat::RxMessagingError | Stat::AmbiguousFraming => stat::RX_MESSAGING_ERROR,
        Stat::HeaderOverflow => stat::HEADER_OVERFLOW,
        Stat::RxReset => stat::RX_RESET,
        Stat::TxReset => stat::TX_RESET,
        Stat::StreamRefusedErrors => stat::STREAM_REFUSED_ERRORS,
        Stat::GoawaySent => stat::GOAWAY_SENT,
        Stat::Trailers => stat::TRAILERS,
        Stat::HeadersCbNoStream => stat::HEADERS_CB_NO_STREAM,
        Stat::KeepaliveTimeout => stat::KEEPALIVE_TIMEOUT,
        Stat::TxFlushTimeout => stat::TX_FLUSH_TIMEOUT,
        Stat::OutboundFlood => stat::OUTBOUND_FLOOD,
        Stat::OutboundControlFlood => stat::OUTBOUND_CONTROL_FLOOD,
        Stat::InboundEmptyFramesFlood => stat::INBOUND_EMPTY_FRAMES_FLOOD,
        Stat::InboundPriorityFramesFlood => stat::INBOUND_PRIORITY_FRAMES_FLOOD,
        Stat::InboundWindowUpdateFramesFlood => stat::INBOUND_WINDOW_UPDATE_FRAMES_FLOOD,
        Stat::GoawayGracefulSent => stat::GOAWAY_GRACEFUL_SENT,
        Stat::HpackError => stat::HPACK_ERROR,
        Stat::SettingsTimeout => stat::SETTINGS_TIMEOUT,
        Stat::InboundUselessFramesFlood => stat::INBOUND_USELESS_FRAMES_FLOOD,
        Stat::InboundSettingsFlood => stat::INBOUND_SETTINGS_FLOOD,
        Stat::InboundPingFlood => stat::INBOUND_PING_FLOOD,
        Stat::InboundContinuationFlood => stat::INBOUND_CONTINUATION_FLOOD,
        Stat::InboundResetFlood => stat::INBOUND_RESET_FLOOD,
        Stat::RapidReset => stat::RAPID_RESET,
        Stat::MadeYouReset => stat::MADE_YOU_RESET,
        Stat::HeadersTimeout => stat::HEADERS_TIMEOUT,
        Stat::VersionRefused | Stat::UnsolicitedResponse | Stat::IncompleteMessage => return None,
    })
}
