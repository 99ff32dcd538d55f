//! The network filter that bounds a filter chain's connections
//! (`envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit`).

use std::sync::Arc;
use std::time::Duration;

use xds_api::envoy::extensions::filters::network::connection_limit::v3 as pb;

use crate::context::Context;
use crate::rejected::Reported;

/// How many connections a filter chain may have at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimit {
    /// Prefix of its statistics.
    pub stat_prefix: Arc<str>,
    /// The most connections, at least 1.
    pub max_connections: u64,
    /// How long a connection beyond them is held before it is closed.
    pub delay: Option<Duration>,
}

impl ConnectionLimit {
    pub(crate) fn parse(context: &mut Context<'_>, message: &pb::ConnectionLimit) -> Result<Self, Reported> {
        context.check(message);
        let stat_prefix = context.text("stat_prefix", &message.stat_prefix);
        let max_connections = match message.max_connections.map(|limit| limit.value) {
            None => Err(context.reject_field("max_connections", "is required")),
            Some(0) => Err(context.reject_field("max_connections", "is 0, expected at least 1")),
            Some(limit) => Ok(limit),
        };
        let delay = context.duration("delay", message.delay.as_ref());
        Ok(Self {
            stat_prefix: stat_prefix?,
            max_connections: max_connections?,
            delay: delay?.filter(|delay| !delay.is_zero()),
        })
    }
}
