//! What a connection to an endpoint counts in the statistics of its cluster.

use std::time::Instant;

use telemetry::stats::{Block, cluster as stat};
use upstream::outlier::Outcome;

use super::Upstream;
use crate::connection::Ending;
use crate::failure::Failure;

impl Upstream {
    /// Counts a connection of that protocol. As in Envoy one that cannot be made is counted too, where the cluster's
    /// protocol is known; the codec's statistics are shown from now on.
    pub(super) fn count_protocol(&self, is_http2: bool) {
        let total = if is_http2 {
            stat::UPSTREAM_CX_HTTP2_TOTAL
        } else {
            stat::UPSTREAM_CX_HTTP1_TOTAL
        };
        self.cluster.stats().local(self.shard).add(total, 1);
        self.codec_stats(is_http2);
    }

    /// Where its codec counts.
    pub(crate) fn codec_stats(&self, is_h2: bool) -> &Block {
        let state = self.cluster.state();
        if is_h2 {
            state.http2_stats()
        } else {
            state.http1_stats()
        }
    }

    pub(crate) fn count_received(&self, bytes: usize) {
        self.cluster
            .stats()
            .local(self.shard)
            .add(stat::UPSTREAM_CX_RX_BYTES_TOTAL, bytes as u64);
    }

    pub(crate) fn count_sent(&self, bytes: usize) {
        self.cluster
            .stats()
            .local(self.shard)
            .add(stat::UPSTREAM_CX_TX_BYTES_TOTAL, bytes as u64);
    }

    /// The connection is gone.
    pub(super) fn count_end(&self, ending: Ending) {
        let stats = self.cluster.stats().local(self.shard);
        stats.gauge_add(stat::UPSTREAM_CX_ACTIVE, -1);
        stats.add(stat::UPSTREAM_CX_DESTROY, 1);
        let (destroyed, with_requests) = if ending.by_peer {
            (
                stat::UPSTREAM_CX_DESTROY_REMOTE,
                stat::UPSTREAM_CX_DESTROY_REMOTE_WITH_ACTIVE_RQ,
            )
        } else {
            (
                stat::UPSTREAM_CX_DESTROY_LOCAL,
                stat::UPSTREAM_CX_DESTROY_LOCAL_WITH_ACTIVE_RQ,
            )
        };
        stats.add(destroyed, 1);
        if ending.cut_requests {
            stats.add(stat::UPSTREAM_CX_DESTROY_WITH_ACTIVE_RQ, 1);
            stats.add(with_requests, 1);
        }
    }

    /// The connection could not be made.
    pub(super) fn count_connect_failure(&self, failure: Failure, now: Instant) {
        let stats = self.cluster.stats().local(self.shard);
        stats.add(stat::UPSTREAM_CX_CONNECT_FAIL, 1);
        if failure == Failure::ConnectTimeout {
            stats.add(stat::UPSTREAM_CX_CONNECT_TIMEOUT, 1);
        }
        self.endpoint.record_connect_failure();
        self.cluster
            .record_outcome(self.shard, &self.endpoint, Outcome::ConnectFailure, now);
    }
}
