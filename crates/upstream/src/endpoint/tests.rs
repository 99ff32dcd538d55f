use super::*;
use crate::testing;

fn endpoint() -> Arc<EndpointState> {
    testing::hosts(&testing::cluster_of(&testing::registry(), "c"), 0, &[1])
        .remove(0)
        .state
}

#[test]
fn an_endpoint_without_traffic_is_small() {
    assert!(size_of::<EndpointState>() <= 56, "{}", size_of::<EndpointState>());
}

#[test]
fn an_active_request_counts_until_its_guard_drops() {
    let endpoint = endpoint();
    let limits = CircuitBreakers::default();
    let guard = endpoint.try_start_request(&limits, RoutingPriority::Default).unwrap();
    assert_eq!(endpoint.active_requests(), 1);
    assert_eq!(
        endpoint
            .cluster()
            .breaker()
            .in_use(Resource::Requests, RoutingPriority::Default),
        1
    );
    drop(guard);
    assert_eq!(endpoint.active_requests(), 0);
    assert_eq!(
        endpoint
            .cluster()
            .breaker()
            .in_use(Resource::Requests, RoutingPriority::Default),
        0
    );
    assert_eq!(endpoint.stats().rq_total, 1);
}

#[test]
fn outcomes_are_counted_by_kind() {
    let endpoint = endpoint();
    endpoint.count_outcome(Outcome::Response(200));
    endpoint.count_outcome(Outcome::Response(503));
    endpoint.count_outcome(Outcome::Reset);
    endpoint.count_outcome(Outcome::Timeout);
    let stats = endpoint.stats();
    assert_eq!((stats.rq_success, stats.rq_error, stats.rq_timeout), (1, 2, 1));
}

#[test]
fn a_connection_counts_and_marks_the_cluster_as_having_traffic() {
    let endpoint = endpoint();
    assert!(!endpoint.cluster().has_traffic());
    let connection = endpoint.start_connection();
    assert!(endpoint.cluster().has_traffic());
    assert_eq!(endpoint.stats().cx_active, 1);
    drop(connection);
    assert_eq!((endpoint.stats().cx_active, endpoint.stats().cx_total), (0, 1));
}

#[test]
fn removal_and_failed_health_checks_drain_but_ejection_only_diverts() {
    let endpoint = endpoint();
    assert!(endpoint.is_usable() && !endpoint.should_drain());
    endpoint.update_health(HealthFlags::FAILED_OUTLIER_CHECK, HealthFlags::NONE);
    assert!(!endpoint.is_usable() && !endpoint.should_drain());
    endpoint.update_health(HealthFlags::REMOVED, HealthFlags::FAILED_OUTLIER_CHECK);
    assert!(!endpoint.is_usable() && endpoint.should_drain() && endpoint.is_removed());
}
