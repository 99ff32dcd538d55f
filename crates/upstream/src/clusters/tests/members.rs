//! What configuration makes of members and their state.

use super::*;

#[test]
fn a_static_cluster_is_warm_and_usable_at_once() {
    let mut scripted = Scripted::with(endpoints(2));
    assert!(scripted.is_told_warm());
    assert_eq!(scripted.addresses(), ["10.0.0.1:80", "10.0.0.2:80"]);
    assert!(scripted.pick().is_some_and(|endpoint| endpoint.is_usable()));
    let stats = scripted.handle().state().membership_stats();
    assert_eq!(
        (
            stats.gauge(stat::MEMBERSHIP_TOTAL),
            stats.gauge(stat::MEMBERSHIP_HEALTHY)
        ),
        (2, 2)
    );
}

#[test]
fn what_did_not_change_keeps_its_handle_and_its_table() {
    let mut scripted = Scripted::with(endpoints(2));
    let (handle, table) = (scripted.handle().clone(), scripted.handle().table().clone());
    scripted.events();
    scripted.set(endpoints(2));
    assert!(
        Arc::ptr_eq(&handle, scripted.handle()),
        "the same content in another allocation"
    );
    assert!(Arc::ptr_eq(&table, &scripted.handle().table()));
    let mut other = endpoints(1);
    other.name = "other".into();
    scripted.set(other);
    assert!(Arc::ptr_eq(&handle, scripted.handle()), "a neighbouring cluster");
    assert!(Arc::ptr_eq(&table, &scripted.handle().table()));
}

#[test]
fn new_endpoints_reach_the_same_handle() {
    let mut scripted = Scripted::with(eds());
    assert!(scripted.pick().is_none());
    let handle = scripted.handle().clone();
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1])]);
    assert!(Arc::ptr_eq(&handle, scripted.handle()));
    assert!(
        handle
            .pick(&PickContext::default(), &mut WorkerLb::new(Shard::CONTROL, 1))
            .is_ok()
    );
}

/// Thresholds, neighbours, weights: none of them touches what an endpoint has.
#[test]
fn state_survives_an_update_of_each_kind() {
    let mut cluster = eds();
    cluster.outlier_detection = Some(Arc::new(OutlierDetection::default()));
    let mut scripted = Scripted::with(cluster.clone());
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1, 1])]);
    let endpoint = scripted.endpoint("10.0.0.1:80");
    let request = endpoint
        .try_start_request(scripted.handle().limits(), RoutingPriority::Default)
        .unwrap();
    let connection = endpoint.start_connection();
    endpoint.update_health(HealthFlags::FAILED_OUTLIER_CHECK, HealthFlags::NONE);
    endpoint.count_outcome(Outcome::Response(200));
    let (flags, stats) = (endpoint.health_flags(), endpoint.stats());

    let same = |scripted: &Scripted, what: &str| {
        let now = scripted.endpoint("10.0.0.1:80");
        assert!(Arc::ptr_eq(&now, &endpoint), "{what}");
        assert_eq!((now.health_flags(), now.stats()), (flags, stats), "{what}");
        let breaker = scripted.handle().state().breaker();
        assert_eq!(
            breaker.in_use(Resource::Requests, RoutingPriority::Default),
            1,
            "{what}"
        );
    };
    cluster.circuit_breakers.default.max_requests = 5;
    scripted.set(cluster.clone());
    assert_eq!(scripted.handle().limits().default.max_requests, 5);
    same(&scripted, "a threshold");
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1, 1, 1])]);
    same(&scripted, "a neighbour that comes");
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1])]);
    same(&scripted, "a neighbour that goes");
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[7])]);
    same(&scripted, "its weight");
    scripted.set_endpoints("c", vec![locality(1, 0, 3, &[7])]);
    same(&scripted, "its priority");
    cluster.lb_policy = config::cluster::LbPolicy::Random;
    scripted.set(cluster);
    same(&scripted, "the policy");
    drop((request, connection));
    assert_eq!(endpoint.stats().rq_active, 0);
}

#[test]
fn a_removed_endpoint_is_told_to_its_pools_and_comes_back_as_new() {
    let mut scripted = Scripted::with(eds());
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1, 1])]);
    let endpoint = scripted.endpoint("10.0.0.2:80");
    let mut changes = scripted.handle().state().subscribe();
    endpoint.update_health(HealthFlags::FAILED_OUTLIER_CHECK, HealthFlags::NONE);
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1])]);
    assert!(changes.has_changed());
    assert!(endpoint.is_removed() && endpoint.should_drain() && !endpoint.is_usable());
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1, 1])]);
    assert!(
        Arc::ptr_eq(&endpoint, &scripted.endpoint("10.0.0.2:80")),
        "a pool still held it"
    );
    assert!(endpoint.is_usable() && changes.has_changed());
}

#[test]
fn a_removed_cluster_removes_its_endpoints_and_is_forgotten() {
    let mut scripted = Scripted::with(endpoints(1));
    let endpoint = scripted.endpoint("10.0.0.1:80");
    let mut changes = scripted.handle().state().subscribe();
    scripted.config.clusters.clear();
    scripted.reconcile();
    assert!(endpoint.is_removed() && changes.has_changed());
    assert!(scripted.map.is_empty() && scripted.clusters.view().active().is_empty());
    drop((endpoint, changes));
    scripted.clusters.registry().prune();
    assert!(scripted.clusters.registry().is_empty());
}
