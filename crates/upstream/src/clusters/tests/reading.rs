//! What the admin endpoint reads.

use super::*;

#[test]
fn overflow_is_counted_and_shown_as_open() {
    let mut cluster = endpoints(1);
    Arc::make_mut(&mut cluster.circuit_breakers).default.max_requests = 1;
    Arc::make_mut(&mut cluster.circuit_breakers)
        .default
        .max_pending_requests = 0;
    Arc::make_mut(&mut cluster.circuit_breakers).default.max_connections = 1;
    Arc::make_mut(&mut cluster.circuit_breakers).default.track_remaining = true;
    let scripted = Scripted::with(cluster);
    let (handle, shard, priority) = (scripted.handle(), Shard::worker(0), RoutingPriority::Default);
    let endpoint = scripted.endpoint("10.0.0.1:80");
    let request = handle.try_start_request(shard, &endpoint, priority);
    assert!(request.is_some());
    assert!(handle.try_start_request(shard, &endpoint, priority).is_none());
    assert!(handle.try_acquire_pending(shard, priority).is_none());
    let _first = handle.try_acquire_connection(shard, priority, false).unwrap();
    assert!(handle.try_acquire_connection(shard, priority, false).is_none());
    assert!(handle.try_acquire_connection(shard, priority, true).is_some());
    let stats = handle.stats();
    use telemetry::stats::{cluster, cluster_circuit_breakers as breakers};
    assert_eq!(stats.counter(cluster::UPSTREAM_RQ_ACTIVE_OVERFLOW), 1);
    assert_eq!(stats.counter(cluster::UPSTREAM_RQ_PENDING_OVERFLOW), 1);
    assert_eq!(stats.counter(cluster::UPSTREAM_CX_OVERFLOW), 2);

    let view = scripted.clusters.view();
    let gauges = handle.state().breaker_stats();
    view.refresh_gauges();
    assert_eq!(
        (
            gauges.gauge(breakers::DEFAULT_RQ_OPEN),
            gauges.gauge(breakers::DEFAULT_REMAINING_RQ)
        ),
        (1, 0)
    );
    drop(request);
    view.refresh_gauges();
    assert_eq!(
        (
            gauges.gauge(breakers::DEFAULT_RQ_OPEN),
            gauges.gauge(breakers::DEFAULT_REMAINING_RQ)
        ),
        (0, 1)
    );
}

#[test]
fn the_listing_has_every_endpoint_with_its_state() {
    let mut scripted = Scripted::with(testing::cluster(
        "c",
        vec![locality(0, 0, 0, &[3]), locality(1, 1, 0, &[1])],
    ));
    let mut other = endpoints(1);
    other.name = "b".into();
    scripted.set(other);
    scripted
        .endpoint("10.0.1.1:80")
        .update_health(HealthFlags::FAILED_OUTLIER_CHECK, HealthFlags::NONE);
    let listing = scripted.clusters.view().listing();
    let names: Vec<&str> = listing.clusters.iter().map(|cluster| &*cluster.name).collect();
    assert_eq!(names, ["b", "c"]);
    let shown: Vec<String> = listing.clusters[1]
        .endpoints
        .iter()
        .map(|e| {
            format!(
                "{} {} {} {} {}",
                e.address, e.health_flags, e.weight, e.priority, e.locality.zone
            )
        })
        .collect();
    assert_eq!(
        shown,
        ["10.0.0.1:80 healthy 3 0 0", "10.0.1.1:80 /failed_outlier_check 1 1 1"]
    );
}
