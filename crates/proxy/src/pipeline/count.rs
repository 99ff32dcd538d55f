//! What is counted of a request that has ended, by the connection manager, the listener and the cluster.

use std::time::Duration;

use telemetry::stats::{
    Shard, cluster as cluster_stat, cluster_origin as origin_stat, http as stat, listener_http as listener_stat,
};
use upstream::cluster::ClusterHandle;

use crate::chain::Chain;
use crate::failure::Failure;
use crate::route_stats::RouteStats;
use crate::stream::{Record, Stream};
use crate::worker::Worker;

/// A copy of a request has ended: its cluster counts the answer.
pub(super) fn count_mirror(worker: &Worker, copy: &Stream) {
    if let Some(cluster) = &copy.cluster
        && copy.record.status != 0
    {
        let duration = worker.now.saturating_duration_since(copy.record.started);
        count_response(cluster, worker.shard, &copy.record, None, duration, true);
    }
}

/// Counts a failure where the connection manager has a name for it.
pub(super) fn count_failure(stream: &Stream, failure: Failure, shard: Shard) {
    let stats = stream.manager.stats.local(shard);
    match failure {
        Failure::NoRoute => stats.add(stat::NO_ROUTE, 1),
        Failure::NoCluster => stats.add(stat::NO_CLUSTER, 1),
        Failure::StreamIdle => stats.add(stat::DOWNSTREAM_RQ_IDLE_TIMEOUT, 1),
        Failure::RequestTimeout => stats.add(stat::DOWNSTREAM_RQ_TIMEOUT, 1),
        Failure::PathNotNormal => stats.add(stat::DOWNSTREAM_RQ_FAILED_PATH_NORMALIZATION, 1),
        Failure::PathNotAbsolute => stats.add(stat::DOWNSTREAM_RQ_NON_RELATIVE_PATH, 1),
        Failure::DownstreamMaxDuration => stats.add(stat::DOWNSTREAM_RQ_MAX_DURATION_REACHED, 1),
        Failure::Overflow | Failure::DropOverload | Failure::UnconditionalDropOverload => {
            if let Some(cluster) = &stream.cluster {
                cluster.count_dropped();
            }
        }
        _ => {}
    }
}

/// The listener's share of what became of a request.
pub(crate) fn count_for_listener(chain: &Chain, shard: Shard, status: u16) {
    let Some(stats) = &chain.listener_http_stats else {
        return;
    };
    let stats = stats.local(shard);
    stats.add(listener_stat::DOWNSTREAM_RQ_COMPLETED, 1);
    match status / 100 {
        0 => {}
        1 => stats.add(listener_stat::DOWNSTREAM_RQ_1XX, 1),
        2 => stats.add(listener_stat::DOWNSTREAM_RQ_2XX, 1),
        3 => stats.add(listener_stat::DOWNSTREAM_RQ_3XX, 1),
        4 => stats.add(listener_stat::DOWNSTREAM_RQ_4XX, 1),
        _ => stats.add(listener_stat::DOWNSTREAM_RQ_5XX, 1),
    }
}

/// The cluster's share of what became of a request; answers made here count, as in Envoy.
pub(super) fn count_response(
    cluster: &ClusterHandle,
    shard: Shard,
    record: &Record,
    route: Option<&RouteStats>,
    duration: Duration,
    is_internal: bool,
) {
    let status = if record.local_reply {
        record.counted_status
    } else {
        record.status
    };
    let (stats, times) = (cluster.stats().local(shard), record.counted_times);
    let milliseconds = duration.as_millis() as u64;
    if let Some(route) = route {
        let of_endpoint = (!record.local_reply).then_some(milliseconds);
        route.count_answer(shard, status, times, of_endpoint);
    }
    let (class, origin_class) = match status / 100 {
        1 => (cluster_stat::UPSTREAM_RQ_1XX, origin_stat::UPSTREAM_RQ_1XX),
        2 => (cluster_stat::UPSTREAM_RQ_2XX, origin_stat::UPSTREAM_RQ_2XX),
        3 => (cluster_stat::UPSTREAM_RQ_3XX, origin_stat::UPSTREAM_RQ_3XX),
        4 => (cluster_stat::UPSTREAM_RQ_4XX, origin_stat::UPSTREAM_RQ_4XX),
        _ => (cluster_stat::UPSTREAM_RQ_5XX, origin_stat::UPSTREAM_RQ_5XX),
    };
    let origin = cluster.state().origin_stats(is_internal).local(shard);
    stats.add(cluster_stat::UPSTREAM_RQ_COMPLETED, times);
    origin.add(origin_stat::UPSTREAM_RQ_COMPLETED, times);
    origin.add(origin_class, times);
    for _ in 0..times {
        origin.count_code(origin_stat::UPSTREAM_RQ_CODE, status);
    }
    // As in Envoy: it is hidden in the cluster's own statistics alone.
    if !record.hides_status {
        stats.add(class, times);
        for _ in 0..times {
            stats.count_code(cluster_stat::UPSTREAM_RQ_CODE, status);
        }
    }
    if !record.local_reply {
        stats.record(cluster_stat::UPSTREAM_RQ_TIME, milliseconds);
        origin.record(origin_stat::UPSTREAM_RQ_TIME, milliseconds);
    }
}

/// The connection manager's count of answers of this class.
pub(super) fn status_class(status: u16) -> telemetry::stats::Counter {
    match status / 100 {
        1 => stat::DOWNSTREAM_RQ_1XX,
        2 => stat::DOWNSTREAM_RQ_2XX,
        3 => stat::DOWNSTREAM_RQ_3XX,
        4 => stat::DOWNSTREAM_RQ_4XX,
        _ => stat::DOWNSTREAM_RQ_5XX,
    }
}
