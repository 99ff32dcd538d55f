//! Discovery by DNS.

use super::*;

#[test]
fn strict_dns_makes_every_address_an_endpoint_and_keeps_the_last_good() {
    let mut scripted = Scripted::with(strict_dns(&["svc.local"]));
    assert!(!scripted.is_told_warm());
    scripted.resolve(&["10.1.0.1", "10.1.0.2"]);
    assert!(scripted.is_told_warm());
    assert_eq!(scripted.addresses(), ["10.1.0.1:80", "10.1.0.2:80"]);
    assert_eq!(scripted.endpoint("10.1.0.1:80").hostname(), "svc.local");
    let kept = scripted.endpoint("10.1.0.2:80");

    scripted.now += 5 * SECOND;
    let token = scripted.resolutions()["svc.local"];
    scripted
        .clusters
        .on_resolved(token, Err(ResolveError("no answer".into())), scripted.now);
    assert_eq!(scripted.addresses(), ["10.1.0.1:80", "10.1.0.2:80"]);

    scripted.now += 5 * SECOND;
    scripted.resolve(&["10.1.0.3", "10.1.0.2"]);
    assert_eq!(scripted.addresses(), ["10.1.0.2:80", "10.1.0.3:80"]);
    assert!(Arc::ptr_eq(&kept, &scripted.endpoint("10.1.0.2:80")));
    let stats = scripted.handle().state().membership_stats();
    assert_eq!(stats.counter(stat::UPDATE_ATTEMPT), 3);
    assert_eq!(
        (stats.counter(stat::UPDATE_SUCCESS), stats.counter(stat::UPDATE_FAILURE)),
        (2, 1)
    );
}

#[test]
fn a_dns_cluster_is_warm_after_a_failure_too() {
    let mut scripted = Scripted::with(strict_dns(&["a", "b"]));
    let tokens = scripted.resolutions();
    scripted
        .clusters
        .on_resolved(tokens["a"], answer(&["10.1.0.1"]), scripted.now);
    assert!(!scripted.is_told_warm());
    scripted
        .clusters
        .on_resolved(tokens["b"], Err(ResolveError("no answer".into())), scripted.now);
    assert!(scripted.is_told_warm());
    assert_eq!(scripted.addresses(), ["10.1.0.1:80"]);
}

#[test]
fn addresses_in_a_dns_cluster_need_no_resolution() {
    let mut cluster = strict_dns(&["a"]);
    let mut members = locality(0, 0, 0, &[1]);
    members.endpoints[0] = endpoint("192.0.2.1:80".parse().unwrap(), 1);
    cluster.discovery = Discovery::StrictDns {
        endpoints: testing::assignment(vec![members]),
    };
    let mut scripted = Scripted::with(cluster);
    assert!(scripted.is_told_warm() && scripted.resolutions().is_empty());
    assert_eq!(scripted.addresses(), ["192.0.2.1:80"]);
}

#[test]
fn names_survive_an_update_and_only_new_ones_are_resolved() {
    let mut cluster = strict_dns(&["a"]);
    let mut scripted = Scripted::with(cluster.clone());
    scripted.resolve(&["10.1.0.1"]);
    cluster.discovery = Discovery::StrictDns {
        endpoints: named(&["a", "b"]),
    };
    scripted.set(cluster);
    assert_eq!(scripted.addresses(), ["10.1.0.1:80"]);
    let due: Vec<String> = scripted.resolutions().into_keys().collect();
    assert_eq!(due, ["b"]);
}

#[test]
fn other_dns_settings_resolve_at_once_and_old_answers_are_ignored() {
    let mut cluster = strict_dns(&["a"]);
    let mut scripted = Scripted::with(cluster.clone());
    let stale = scripted.resolutions()["a"];
    *Arc::make_mut(&mut cluster.dns) = DnsOptions {
        respect_dns_ttl: true,
        ..DnsOptions::default()
    };
    scripted.set(cluster);
    assert_eq!(scripted.resolutions().len(), 1);
    scripted
        .clusters
        .on_resolved(stale, answer(&["10.1.0.9"]), scripted.now);
    assert!(scripted.addresses().is_empty());
}

#[test]
fn logical_dns_uses_one_address_for_as_long_as_it_is_answered() {
    let mut scripted = Scripted::with(logical_dns("a"));
    scripted.resolve(&["10.1.0.1", "10.1.0.2"]);
    assert_eq!(scripted.addresses(), ["10.1.0.1:80"]);
    scripted.now += 5 * SECOND;
    scripted.resolve(&["10.1.0.2", "10.1.0.1"]);
    assert_eq!(scripted.addresses(), ["10.1.0.1:80"], "another order moves nobody");
    scripted.now += 5 * SECOND;
    scripted.resolve(&["10.1.0.3", "10.1.0.2"]);
    assert_eq!(scripted.addresses(), ["10.1.0.3:80"]);
}
