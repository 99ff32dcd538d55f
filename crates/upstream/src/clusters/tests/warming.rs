//! Clusters that are made ready before they are used.

use super::*;

#[test]
fn a_warming_cluster_is_checked_before_it_is_active_and_keeps_what_it_learned() {
    let mut scripted = Scripted::new();
    let cluster = Arc::new(content(checked(endpoints(2), testing::health_check(1, 1))));
    let mut candidates = Config::default();
    candidates.clusters.insert("c".into(), cluster.clone());
    scripted.clusters.warm(&candidates, scripted.now);
    scripted.reconcile();
    assert!(scripted.map.is_empty() && !scripted.clusters.is_warm(&cluster));
    assert_eq!(scripted.check(SUCCESS), 2);
    assert!(scripted.is_told_warm() && scripted.clusters.is_warm(&cluster));

    scripted.config = candidates;
    scripted.reconcile();
    scripted.clusters.warm(&Config::default(), scripted.now);
    assert_eq!(scripted.healthy(), 2);
    assert!(!scripted.is_told_warm(), "once is enough");
    assert!(scripted.checks().is_empty());
}

#[test]
fn an_updated_cluster_warms_beside_the_old_one_and_shared_endpoints_stay_members() {
    let mut scripted = Scripted::with(endpoints(2));
    scripted.events();
    let endpoint = scripted.endpoint("10.0.0.1:80");
    let next = content(checked(endpoints(3), testing::health_check(1, 1)));
    let mut candidates = Config::default();
    candidates.clusters.insert("c".into(), Arc::new(next));
    scripted.clusters.warm(&candidates, scripted.now);
    assert_eq!(scripted.addresses().len(), 2, "the old one serves");
    assert!(endpoint.is_usable(), "a known endpoint is not doubted");
    assert_eq!(scripted.check(SUCCESS), 3);
    assert!(scripted.is_told_warm());
    scripted.config = candidates;
    scripted.reconcile();
    assert_eq!(scripted.healthy(), 3);
    assert!(Arc::ptr_eq(&endpoint, &scripted.endpoint("10.0.0.1:80")) && endpoint.is_usable());
}

#[test]
fn a_candidate_that_is_dropped_leaves_nothing_behind() {
    let mut scripted = Scripted::with(endpoints(1));
    let endpoint = scripted.endpoint("10.0.0.1:80");
    let mut candidates = Config::default();
    candidates.clusters.insert(
        "c".into(),
        Arc::new(content(checked(endpoints(1), testing::health_check(1, 1)))),
    );
    scripted.clusters.warm(&candidates, scripted.now);
    scripted.clusters.warm(&Config::default(), scripted.now);
    scripted.advance(10 * SECOND);
    assert!(scripted.checks().is_empty());
    assert!(endpoint.is_usable() && !endpoint.is_removed());
}

#[test]
fn a_candidate_that_is_active_and_ready_is_told_to_be() {
    let mut scripted = Scripted::with(endpoints(1));
    assert!(scripted.is_told_warm());
    let (candidates, handle) = (scripted.config.clone(), scripted.handle().clone());
    scripted.clusters.warm(&candidates, scripted.now);
    assert!(scripted.is_told_warm());
    scripted.reconcile();
    assert!(Arc::ptr_eq(&handle, scripted.handle()));
}
