//! Listener filters: what looks at a connection's first bytes before a filter chain is chosen. One file each; they
//! take the bytes received so far and say what they are, so none of them waits or touches a socket.

use std::sync::Arc;

use config::listener_filters::{ListenerFilter, ListenerFilterConfig, ListenerFilterPredicate};
use telemetry::stats::{Registry, Shard};

use crate::accepted::Accepted;

mod http_inspector;
pub(crate) mod original_dst;
mod proxy_protocol;
mod tls_inspector;

/// What a filter makes of the bytes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// It has seen enough: that many bytes were for it alone, the rest is handed on.
    Done {
        /// Bytes to take away, of those shown.
        consumed: usize,
    },
    /// It needs more of them. Said only below the filter's own limit, so that what is kept is bounded.
    More,
    /// The connection is refused.
    Close,
}

impl Look {
    /// Enough seen, everything handed on.
    const PEEKED: Look = Look::Done { consumed: 0 };
}

/// A filter that looks at bytes.
pub(crate) trait Inspector: std::fmt::Debug + Send + Sync {
    /// Whether it has anything to find out about this connection.
    fn wants(&self, accepted: &Accepted) -> bool {
        let _ = accepted;
        true
    }

    /// Looks at all bytes received and not consumed so far.
    fn look(&self, received: &[u8], accepted: &mut Accepted, shard: Shard) -> Look;
}

/// A listener filter compiled for execution.
#[derive(Debug)]
pub(crate) struct CompiledFilter {
    pub(crate) kind: Kind,
    disabled: Option<ListenerFilterPredicate>,
}

/// What a listener filter needs.
#[derive(Debug)]
pub(crate) enum Kind {
    /// The first bytes.
    Inspector(Box<dyn Inspector>),
    /// The socket.
    OriginalDst,
}

impl CompiledFilter {
    fn new(filter: &ListenerFilter, stats: &Arc<Registry>) -> Self {
        let kind = match &filter.config {
            ListenerFilterConfig::TlsInspector(settings) => {
                Kind::Inspector(Box::new(tls_inspector::TlsInspector::new(*settings, stats)))
            }
            ListenerFilterConfig::HttpInspector => Kind::Inspector(Box::new(http_inspector::HttpInspector::new(stats))),
            ListenerFilterConfig::ProxyProtocol(settings) => {
                Kind::Inspector(Box::new(proxy_protocol::ProxyProtocol::new(settings, stats)))
            }
            ListenerFilterConfig::OriginalDst => Kind::OriginalDst,
        };
        CompiledFilter {
            kind,
            disabled: filter.filter_disabled.clone(),
        }
    }

    /// Whether it leaves a connection alone. The destination is the one known when its turn comes: restored, where a
    /// filter before it did so.
    pub(crate) fn is_disabled(&self, accepted: &Accepted) -> bool {
        let port = accepted.local.map(|address| address.port());
        self.disabled.as_ref().is_some_and(|disabled| disabled.matches(port))
    }
}

/// The filters of a listener. As in Envoy, `use_original_dst` restores the destination after all of them.
pub(crate) fn compile(
    filters: &[ListenerFilter],
    use_original_dst: bool,
    stats: &Arc<Registry>,
) -> Box<[CompiledFilter]> {
    let implied = use_original_dst.then_some(CompiledFilter {
        kind: Kind::OriginalDst,
        disabled: None,
    });
    filters
        .iter()
        .map(|filter| CompiledFilter::new(filter, stats))
        .chain(implied)
        .collect()
}
