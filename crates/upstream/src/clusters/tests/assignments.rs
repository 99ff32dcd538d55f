//! What comes with endpoints besides themselves: the time they are good for, what is to be dropped, further addresses.

use std::net::SocketAddr;

use config::endpoint::DropOverload;
use config::percent::FractionalPercent;

use super::*;

/// Gives the EDS cluster one endpoint that is good for `time`, as a server does that sends it (again).
fn send(scripted: &mut Scripted, time: Option<Duration>) {
    let mut assignment = ClusterLoadAssignment::clone(&testing::assignment(vec![locality(0, 1, 0, &[1])]));
    assignment.endpoint_stale_after = time;
    scripted.config.endpoints.insert("c".into(), Arc::new(assignment));
    scripted.reconcile();
}

#[test]
fn endpoints_that_are_good_for_a_time_go_when_it_is_over_unless_they_are_sent_again() {
    let mut scripted = Scripted::with(eds());
    send(&mut scripted, Some(10 * SECOND));
    assert_eq!(scripted.addresses().len(), 1);
    scripted.advance(9 * SECOND);
    send(&mut scripted, Some(10 * SECOND));
    scripted.advance(9 * SECOND);
    assert_eq!(scripted.addresses().len(), 1, "their time began again");
    scripted.advance(SECOND);
    assert!(scripted.addresses().is_empty());
    let stats = scripted.handle().state().membership_stats().clone();
    assert_eq!(stats.counter(stat::ASSIGNMENT_STALE), 1);
    assert_eq!(stats.counter(stat::ASSIGNMENT_TIMEOUT_RECEIVED), 2);

    scripted.reconcile();
    assert!(scripted.addresses().is_empty(), "the same ones stay stale");
    send(&mut scripted, None);
    scripted.advance(100 * SECOND);
    assert_eq!(scripted.addresses().len(), 1, "these are good for ever");
}

#[test]
fn a_change_of_the_set_of_endpoints_drains_connections_where_that_is_wanted() {
    for wanted in [false, true] {
        let mut cluster = eds();
        Arc::make_mut(&mut cluster.common_lb_config).close_connections_on_host_set_change = wanted;
        let mut scripted = Scripted::with(cluster);
        scripted.set_endpoints("c", vec![locality(0, 1, 0, &[1])]);
        let before = scripted.handle().state().host_set();
        scripted.set_endpoints("c", vec![locality(0, 1, 0, &[7])]);
        assert_eq!(
            scripted.handle().state().host_set(),
            before,
            "a weight is no other endpoint"
        );
        scripted.set_endpoints("c", vec![locality(0, 1, 0, &[1, 1])]);
        assert_eq!(scripted.handle().state().host_set() != before, wanted);
    }
}

#[test]
fn what_is_to_be_dropped_comes_and_goes_with_the_endpoints() {
    let mut scripted = Scripted::with(eds());
    let mut send = |percent: Option<u32>| {
        let mut assignment = ClusterLoadAssignment::clone(&testing::assignment(vec![locality(0, 1, 0, &[1])]));
        assignment.drop_overloads.extend(percent.map(|numerator| DropOverload {
            category: "lb".into(),
            drop_percentage: FractionalPercent {
                numerator,
                denominator: 100,
            },
        }));
        assignment.fingerprint = Fingerprint::of(format!("{percent:?}").as_bytes());
        scripted.config.endpoints.insert("c".into(), Arc::new(assignment));
        scripted.reconcile();
        scripted.handle().drop_overload()
    };
    assert_eq!(send(None), None);
    assert_eq!(send(Some(100)), Some(crate::drops::Dropped::All));
    assert_eq!(send(Some(0)), None);
    assert_eq!(send(None), None);
}

#[test]
fn further_addresses_are_those_of_the_configuration_or_what_else_a_logical_name_resolved_to() {
    let mut members = locality(0, 1, 0, &[1, 1]);
    members.endpoints[0].details_mut().additional_addresses = vec![Address::Socket("[::1]:80".parse().unwrap())];
    let scripted = Scripted::with(testing::cluster("c", vec![members]));
    let more = |scripted: &Scripted, address: &str| {
        let more = scripted.endpoint(address).more_addresses();
        more.map(|more| more.iter().map(SocketAddr::to_string).collect::<Vec<_>>())
    };
    assert_eq!(more(&scripted, "10.0.1.1:80"), Some(vec!["[::1]:80".to_owned()]));
    assert_eq!(more(&scripted, "10.0.1.2:80"), None);

    let mut scripted = Scripted::with(logical_dns("a"));
    scripted.resolve(&["10.1.0.2", "10.1.0.9", "10.1.0.1"]);
    assert_eq!(scripted.addresses(), ["10.1.0.2:80"]);
    let endpoint = scripted.endpoint("10.1.0.2:80");
    let expected = ["10.1.0.1:80", "10.1.0.9:80"].map(str::to_owned).to_vec();
    assert_eq!(more(&scripted, "10.1.0.2:80"), Some(expected));
    scripted.now += 5 * SECOND;
    scripted.resolve(&["10.1.0.3", "10.1.0.2"]);
    assert_eq!(more(&scripted, "10.1.0.2:80"), Some(vec!["10.1.0.3:80".to_owned()]));
    assert!(
        Arc::ptr_eq(&endpoint, &scripted.endpoint("10.1.0.2:80")),
        "the same endpoint"
    );
}
