//! Health checks, outlier detection, and the tables they make.

use super::*;

#[test]
fn eds_health_sets_and_clears_flags() {
    let mut scripted = Scripted::with(eds());
    let mut members = locality(0, 0, 0, &[1, 1, 1, 1]);
    for (endpoint, status) in members.endpoints.iter_mut().zip([
        HealthStatus::Healthy,
        HealthStatus::Unhealthy,
        HealthStatus::Draining,
        HealthStatus::Degraded,
    ]) {
        endpoint.health_status = status;
    }
    scripted.set_endpoints("c", vec![members.clone()]);
    let flags = |scripted: &Scripted, host: u8| {
        scripted
            .endpoint(&format!("10.0.0.{host}:80"))
            .health_flags()
            .to_string()
    };
    assert_eq!(flags(&scripted, 1), "healthy");
    assert_eq!(flags(&scripted, 2), "/failed_eds_health");
    assert_eq!(flags(&scripted, 3), "/failed_eds_health/eds_status_draining");
    assert_eq!(flags(&scripted, 4), "/degraded_eds_health");
    assert_eq!(scripted.healthy(), 1);
    members
        .endpoints
        .iter_mut()
        .for_each(|endpoint| endpoint.health_status = HealthStatus::Unknown);
    scripted.set_endpoints("c", vec![members]);
    assert_eq!(scripted.healthy(), 4);
}

#[test]
fn a_checked_cluster_is_warm_when_every_endpoint_was_checked_once() {
    let mut scripted = Scripted::with(checked(endpoints(3), testing::health_check(2, 2)));
    assert_eq!(scripted.healthy(), 0);
    assert!(!scripted.is_told_warm());
    let checks = scripted.checks();
    assert_eq!(checks.len(), 3, "the first checks are due at once");
    for (i, (address, token)) in checks.into_iter().enumerate() {
        assert!(!scripted.is_told_warm(), "{address}");
        let result = if i == 1 { CheckResult::NetworkFailure } else { SUCCESS };
        scripted.clusters.on_checked(token, result, None, scripted.now);
    }
    assert!(scripted.is_told_warm());
    assert_eq!(
        scripted.healthy(),
        2,
        "what was waited for is not delayed by the merge window"
    );
}

#[test]
fn an_endpoint_that_joins_a_checked_cluster_waits_for_its_first_check_and_its_neighbours_do_not() {
    let mut scripted = Scripted::with(checked(eds(), testing::health_check(2, 2)));
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1])]);
    assert_eq!(scripted.check(SUCCESS), 1);
    assert_eq!(scripted.healthy(), 1);
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1, 1])]);
    assert!(scripted.endpoint("10.0.0.1:80").is_usable());
    assert!(!scripted.endpoint("10.0.0.2:80").is_usable());
    let due: Vec<String> = scripted.checks().into_keys().collect();
    assert_eq!(due, ["10.0.0.2:80"]);
}

#[test]
fn changes_of_health_are_merged_over_the_window_and_the_first_is_not_delayed() {
    let mut scripted = Scripted::with(checked(endpoints(4), testing::health_check(1, 1)));
    let _connection = scripted.endpoint("10.0.0.1:80").start_connection();
    scripted.check(SUCCESS);
    scripted.advance(SECOND);
    scripted.advance(9 * SECOND);
    let checks = scripted.checks();
    let fail = |scripted: &mut Scripted, host: u8| {
        let token = checks[&format!("10.0.0.{host}:80")];
        scripted
            .clusters
            .on_checked(token, CheckResult::Failure, None, scripted.now);
    };
    fail(&mut scripted, 1);
    assert_eq!(scripted.healthy(), 3);
    scripted.now += SECOND / 2;
    fail(&mut scripted, 2);
    fail(&mut scripted, 3);
    assert_eq!(scripted.healthy(), 3);
    scripted.advance(SECOND / 2);
    assert_eq!(scripted.healthy(), 1);
}

#[test]
fn without_a_merge_window_every_change_makes_a_table() {
    let mut cluster = checked(endpoints(2), testing::health_check(1, 1));
    *Arc::make_mut(&mut cluster.common_lb_config) = CommonLbConfig {
        update_merge_window: Duration::ZERO,
        ..CommonLbConfig::default()
    };
    let mut scripted = Scripted::with(cluster);
    let tokens: Vec<Token> = scripted.checks().into_values().collect();
    scripted.clusters.on_checked(tokens[0], SUCCESS, None, scripted.now);
    assert_eq!(scripted.healthy(), 1);
    scripted.clusters.on_checked(tokens[1], SUCCESS, None, scripted.now);
    assert_eq!(scripted.healthy(), 2);
}

#[test]
fn health_and_schedule_survive_an_update_that_leaves_the_health_check_alone() {
    let mut cluster = checked(endpoints(1), testing::health_check(2, 2));
    let mut scripted = Scripted::with(cluster.clone());
    let _connection = scripted.endpoint("10.0.0.1:80").start_connection();
    scripted.check(SUCCESS);
    cluster.connect_timeout = SECOND;
    scripted.set(cluster);
    assert_eq!(scripted.healthy(), 1);
    assert!(scripted.checks().is_empty(), "the next check is not brought forward");
    scripted.advance(5 * SECOND);
    assert_eq!(scripted.check(CheckResult::Timeout), 1);
    assert_eq!(scripted.healthy(), 1, "one of two");
}

#[test]
fn another_health_check_starts_at_once_with_the_health_there_is() {
    let mut scripted = Scripted::with(checked(endpoints(1), testing::health_check(2, 2)));
    scripted.check(SUCCESS);
    scripted.set(checked(endpoints(1), testing::health_check(3, 3)));
    assert_eq!(scripted.healthy(), 1);
    assert_eq!(scripted.check(CheckResult::Failure), 1);
    scripted.advance(2 * SECOND);
    assert_eq!(scripted.healthy(), 0);
}

#[test]
fn endpoints_are_well_again_when_nobody_checks_them_any_more() {
    let mut scripted = Scripted::with(checked(endpoints(1), testing::health_check(1, 1)));
    scripted.check(CheckResult::Failure);
    assert_eq!(scripted.healthy(), 0);
    scripted.set(endpoints(1));
    assert_eq!(scripted.healthy(), 1);
    scripted.advance(100 * SECOND);
    assert!(scripted.checks().is_empty());
}

#[test]
fn a_result_for_an_endpoint_that_is_gone_changes_nothing() {
    let mut scripted = Scripted::with(checked(eds(), testing::health_check(1, 1)));
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1])]);
    let endpoint = scripted.endpoint("10.0.0.1:80");
    let token = scripted.checks()["10.0.0.1:80"];
    scripted.set_endpoints("c", vec![]);
    scripted.clusters.on_checked(token, SUCCESS, None, scripted.now);
    assert!(endpoint.is_removed() && !endpoint.is_usable());
    scripted.advance(100 * SECOND);
    assert!(scripted.checks().is_empty());
}

#[test]
fn ejection_by_a_worker_makes_a_table_and_the_sweep_ends_it() {
    let mut cluster = endpoints(2);
    let detection = OutlierDetection {
        max_ejection_percent: 50,
        ..OutlierDetection::default()
    };
    cluster.outlier_detection = Some(Arc::new(detection));
    let mut scripted = Scripted::with(cluster);
    let endpoint = scripted.endpoint("10.0.0.2:80");
    for _ in 0..5 {
        scripted
            .handle()
            .record_outcome(Shard::worker(0), &endpoint, Outcome::Response(503), scripted.now);
    }
    scripted.clusters.on_marked(scripted.now);
    assert_eq!(scripted.healthy(), 1);
    for _ in 0..3 {
        scripted.advance(10 * SECOND);
        scripted.clusters.on_marked(scripted.now);
    }
    assert_eq!(scripted.healthy(), 2);
}

#[test]
fn a_successful_health_check_ends_an_ejection() {
    let mut cluster = checked(endpoints(1), testing::health_check(1, 1));
    let detection = OutlierDetection {
        max_ejection_percent: 100,
        ..OutlierDetection::default()
    };
    cluster.outlier_detection = Some(Arc::new(detection));
    let mut scripted = Scripted::with(cluster);
    let endpoint = scripted.endpoint("10.0.0.1:80");
    let _connection = endpoint.start_connection();
    scripted.check(SUCCESS);
    for _ in 0..5 {
        scripted
            .handle()
            .record_outcome(Shard::worker(0), &endpoint, Outcome::Reset, scripted.now);
    }
    assert!(!endpoint.is_usable());
    scripted.advance(5 * SECOND);
    assert_eq!(scripted.check(SUCCESS), 1);
    assert!(endpoint.is_usable());
}

/// Envoy, "On eventually consistent service discovery": discovered and healthy, or not discovered and unhealthy, are
/// clear; an endpoint that is healthy though discovery lost it gets requests.
#[test]
fn an_endpoint_that_discovery_lost_stays_while_its_checks_pass() {
    let mut scripted = Scripted::with(checked(eds(), testing::health_check(1, 1)));
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1, 1])]);
    let lost = scripted.endpoint("10.0.0.2:80");
    let _connection = lost.start_connection();
    scripted.check(SUCCESS);
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1])]);
    assert_eq!(scripted.addresses(), ["10.0.0.1:80", "10.0.0.2:80"]);
    assert_eq!(lost.health_flags().to_string(), "/pending_dynamic_removal");
    assert!(lost.is_usable() && !lost.should_drain());

    scripted.set_endpoints("c", vec![]);
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1])]);
    assert!(lost.is_usable(), "however often discovery says so");
    scripted.advance(5 * SECOND);
    let token = scripted.checks()["10.0.0.2:80"];
    scripted
        .clusters
        .on_checked(token, CheckResult::NetworkFailure, None, scripted.now);
    assert_eq!(scripted.addresses(), ["10.0.0.1:80"]);
    assert!(lost.is_removed());
}

#[test]
fn an_endpoint_that_discovery_lost_and_found_is_an_ordinary_member() {
    let mut scripted = Scripted::with(checked(strict_dns(&["a"]), testing::health_check(1, 1)));
    scripted.resolve(&["10.1.0.1", "10.1.0.2"]);
    let endpoint = scripted.endpoint("10.1.0.2:80");
    let _connection = endpoint.start_connection();
    scripted.check(SUCCESS);
    scripted.now += 5 * SECOND;
    let tokens = scripted.due();
    scripted
        .clusters
        .on_resolved(tokens["a"], answer(&["10.1.0.1"]), scripted.now);
    assert_eq!(endpoint.health_flags(), HealthFlags::PENDING_DYNAMIC_REMOVAL);
    scripted.now += 5 * SECOND;
    let tokens = scripted.due();
    scripted
        .clusters
        .on_resolved(tokens["a"], answer(&["10.1.0.2"]), scripted.now);
    assert_eq!(endpoint.health_flags(), HealthFlags::NONE);
    assert_eq!(scripted.addresses(), ["10.1.0.1:80", "10.1.0.2:80"]);
}

#[test]
fn an_endpoint_that_discovery_lost_goes_at_once_if_its_health_shall_be_ignored() {
    let mut cluster = checked(eds(), testing::health_check(1, 1));
    cluster.ignore_health_on_host_removal = true;
    let mut scripted = Scripted::with(cluster);
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1, 1])]);
    scripted.check(SUCCESS);
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1])]);
    assert_eq!(scripted.addresses(), ["10.0.0.1:80"]);
}

#[test]
fn trap_repushing_an_endpoint_keeps_its_health_and_its_ejection() {
    let mut cluster = checked(eds(), testing::health_check(1, 1));
    let detection = OutlierDetection {
        max_ejection_percent: 50,
        ..OutlierDetection::default()
    };
    cluster.outlier_detection = Some(Arc::new(detection));
    let mut scripted = Scripted::with(cluster);
    let mut members = locality(0, 0, 0, &[1, 1, 1]);
    scripted.set_endpoints("c", vec![members.clone()]);
    for (address, token) in scripted.checks() {
        let result = if address == "10.0.0.1:80" {
            CheckResult::Failure
        } else {
            SUCCESS
        };
        scripted.clusters.on_checked(token, result, None, scripted.now);
    }
    let ejected = scripted.endpoint("10.0.0.2:80");
    for _ in 0..5 {
        scripted
            .handle()
            .record_outcome(Shard::worker(0), &ejected, Outcome::Response(503), scripted.now);
    }
    let flags = |scripted: &Scripted| {
        [1, 2, 3].map(|host| {
            let endpoint = scripted.endpoint(&format!("10.0.0.{host}:80"));
            endpoint.health_flags().to_string()
        })
    };
    let expected = ["/failed_active_hc", "/failed_outlier_check", "healthy"];
    assert_eq!(flags(&scripted), expected);
    scripted.clusters.on_marked(scripted.now);
    // The merge window passes.
    scripted.advance(2 * SECOND);
    // The same again, then with other weights: the endpoints are who they were.
    for weight in [1, 5, 7] {
        for endpoint in &mut members.endpoints {
            endpoint.load_balancing_weight = weight;
        }
        scripted.set_endpoints("c", vec![members.clone()]);
        assert_eq!(flags(&scripted), expected, "weight {weight}");
        assert_eq!(scripted.healthy(), 1);
        assert!(Arc::ptr_eq(&ejected, &scripted.endpoint("10.0.0.2:80")));
    }
}
