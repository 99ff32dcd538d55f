//! Zones, subsets and slow start.

use std::time::Duration;

use config::cluster::{LocalityBasis, SlowStart, Subset, SubsetFallback, SubsetSelector};
use config::metadata::{Metadata, Value};

use super::*;
use crate::balancer::table::ZoneAware;

fn own(zone: &str) -> Locality {
    Locality {
        zone: zone.into(),
        ..Locality::default()
    }
}

/// A table of `upstream` for a proxy in zone "0" whose cluster is `local`: endpoints by zone.
fn zoned(upstream: &[usize], local: &[usize], change: impl FnOnce(&mut ZoneAware)) -> (LbTable, Arc<HostSet>) {
    let cluster = cluster();
    let of = |cluster: &Arc<ClusterState>, zones: &[usize]| {
        let zones = zones.iter().enumerate();
        host_set(
            cluster,
            zones
                .map(|(zone, count)| locality(0, zone as u8, 0, &vec![1; *count]))
                .collect(),
        )
    };
    let own = own("0");
    let local = of(&testing::cluster_of(&testing::registry(), "local"), local);
    let local = LocalZones::of(&table_of(local, settings(Policy::RoundRobin)), &own, 50.0);
    let mut zone_aware = ZoneAware::default();
    change(&mut zone_aware);
    let settings = TableSettings {
        zone_aware: Some(zone_aware),
        ..settings(Policy::RoundRobin)
    };
    let surroundings = Surroundings {
        now: Instant::now(),
        own: &own,
        local: Some(&local),
    };
    let hosts = of(&cluster, upstream);
    (LbTable::new(hosts.clone(), &settings, &surroundings), hosts)
}

/// Percent of requests by zone.
fn by_zone(table: &LbTable, zones: usize) -> Vec<usize> {
    let mut counts = vec![0; zones];
    for (address, count) in picks(table, &mut worker(3), 10_000) {
        let zone: usize = address.split('.').nth(2).unwrap().parse().unwrap();
        counts[zone] += count;
    }
    counts.iter().map(|count| (count + 50) / 100).collect()
}

fn near(found: &[usize], expected: &[usize]) -> bool {
    found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| a.abs_diff(*b) <= 2)
}

/// The examples of Envoy's "Zone aware routing".
#[test]
fn the_own_zone_is_preferred_as_far_as_its_share_goes() {
    for (upstream, local, expected) in [
        // The own zone has at least the share of the local cluster: all stay.
        (&[5, 5][..], &[2, 2][..], &[100, 0][..]),
        (&[6, 4], &[3, 3], &[100, 0]),
        // The own zone has 20 % of the endpoints and 50 % of the callers: 40 % stay.
        (&[2, 8], &[5, 5], &[40, 60]),
        // Nothing upstream in the own zone; the others share by their room.
        (&[0, 4, 4], &[2, 1, 1], &[0, 50, 50]),
        (&[2, 6, 2], &[4, 2, 4], &[50, 50, 0]),
    ] {
        let (table, _hosts) = zoned(upstream, local, |_| {});
        let found = by_zone(&table, upstream.len());
        assert!(near(&found, expected), "{upstream:?} {local:?}: {found:?}");
    }
}

#[test]
fn zones_do_not_count_where_there_is_too_little_to_compare() {
    let even = |(table, _hosts): (LbTable, Arc<HostSet>)| near(&by_zone(&table, 2), &[50, 50]);
    assert!(even(zoned(&[2, 2], &[2, 2], |_| {})), "fewer than six endpoints");
    assert!(even(zoned(&[5, 5], &[0, 2], |_| {})), "no caller in the own zone");
    assert!(even(zoned(&[5, 5], &[2], |_| {})), "the local cluster has one zone");
    assert!(even(zoned(&[5, 5], &[2, 2], |zones| zones.routing_enabled = 0.0)));
    let (table, _hosts) = zoned(&[2, 2], &[2, 2], |zones| zones.min_cluster_size = 4);
    assert!(near(&by_zone(&table, 2), &[100, 0]));
    let (table, _hosts) = zoned(&[2, 8], &[5, 5], |zones| zones.force_local_zone = Some(2));
    assert!(near(&by_zone(&table, 2), &[100, 0]), "forced");
    let (table, _hosts) = zoned(&[2, 8], &[5, 5], |zones| zones.force_local_zone = Some(3));
    assert!(near(&by_zone(&table, 2), &[40, 60]), "too few to force");
    let (table, _hosts) = zoned(&[2, 8], &[5, 5], |zones| {
        zones.basis = LocalityBasis::HealthyHostsWeight
    });
    assert!(near(&by_zone(&table, 2), &[40, 60]));
}

/// Endpoints of one locality with metadata: `version`, `stage` and a list.
fn labelled(cluster: &Arc<ClusterState>, labels: &[(&str, &str)]) -> Arc<HostSet> {
    let mut members = locality(0, 0, 0, &vec![1; labels.len()]);
    for (endpoint, (version, stage)) in members.endpoints.iter_mut().zip(labels) {
        let text = |text: &str| Value::String(text.into());
        let tags = stage.split('+').map(text).collect();
        let fields = [
            ("version".into(), text(version)),
            ("stage".into(), text(stage)),
            ("tags".into(), Value::List(tags)),
        ];
        endpoint.details_mut().metadata.filter_metadata = [("envoy.lb".into(), fields.into())].into();
    }
    host_set(cluster, vec![members])
}

fn criteria(fields: &[(&str, &str)]) -> SubsetCriteria {
    let fields = fields
        .iter()
        .map(|(key, value)| ((*key).into(), Value::String((*value).into())));
    let metadata = Metadata {
        filter_metadata: [("envoy.lb".into(), fields.collect())].into(),
    };
    SubsetCriteria::new([&metadata]).unwrap()
}

fn selector(keys: &[&str], fallback_policy: Option<SubsetFallback>) -> SubsetSelector {
    SubsetSelector {
        keys: keys.iter().map(|key| (*key).into()).collect(),
        fallback_policy,
        single_host_per_subset: false,
    }
}

fn subset(fallback_policy: SubsetFallback, selectors: Vec<SubsetSelector>) -> Subset {
    Subset {
        fallback_policy,
        default_subset: [("version".into(), Value::String("1".into()))].into(),
        selectors,
        locality_weight_aware: false,
        scale_locality_weight: false,
        panic_mode_any: false,
        list_as_any: false,
        tries_fallback_list: false,
    }
}

/// Which endpoints (by the last byte of their address) are picked for criteria, and what is told of it.
fn chosen(hosts: &Arc<HostSet>, subset: Subset, wanted: &[(&str, &str)]) -> (Vec<u8>, Vec<Note>) {
    let settings = TableSettings {
        subsets: Some(Arc::new(subset)),
        ..settings(Policy::RoundRobin)
    };
    let (table, mut worker) = (table_of(hosts.clone(), settings), worker(1));
    let criteria = (!wanted.is_empty()).then(|| criteria(wanted));
    let context = PickContext {
        metadata: criteria.as_ref(),
        ..PickContext::default()
    };
    let (mut found, mut told) = (BTreeSet::new(), Vec::new());
    for _ in 0..40 {
        let (picked, notes) = table.pick(&context, &mut worker);
        told = notes.iter().collect();
        if let Ok(endpoint) = picked {
            let address = endpoint.address().to_string();
            let last = address.split(['.', ':']).nth(3).unwrap();
            found.insert(last.parse().unwrap());
        }
    }
    (found.into_iter().collect(), told)
}

#[test]
fn a_subset_has_the_endpoints_with_the_metadata_asked_for() {
    use SubsetFallback::{AnyEndpoint, DefaultSubset, KeysSubset, NoFallback};
    let cluster = cluster();
    let hosts = labelled(
        &cluster,
        &[("1", "prod"), ("1", "dev"), ("2", "prod"), ("2", "prod+dev")],
    );
    let both = || vec![selector(&["version"], None), selector(&["stage", "version"], None)];
    let nothing: (Vec<u8>, Vec<Note>) = (vec![], vec![]);
    assert_eq!(
        chosen(&hosts, subset(NoFallback, both()), &[("version", "2")]),
        (vec![3, 4], vec![Note::SubsetSelected])
    );
    let two = [("version", "1"), ("stage", "dev")];
    assert_eq!(chosen(&hosts, subset(NoFallback, both()), &two).0, [2]);
    assert_eq!(
        chosen(&hosts, subset(NoFallback, both()), &[("stage", "dev")]),
        nothing,
        "no such selector"
    );
    assert_eq!(chosen(&hosts, subset(NoFallback, both()), &[]), nothing);
    assert_eq!(
        chosen(&hosts, subset(AnyEndpoint, both()), &[("version", "9")]),
        (vec![1, 2, 3, 4], vec![Note::SubsetFallback])
    );
    assert_eq!(chosen(&hosts, subset(DefaultSubset, both()), &[]).0, [1, 2]);

    let own = |fallback| {
        vec![
            selector(&["version"], None),
            selector(&["stage", "version"], Some(fallback)),
        ]
    };
    let miss = [("version", "2"), ("stage", "dev")];
    assert_eq!(chosen(&hosts, subset(AnyEndpoint, own(NoFallback)), &miss), nothing);
    assert_eq!(
        chosen(&hosts, subset(NoFallback, own(AnyEndpoint)), &miss).0,
        [1, 2, 3, 4]
    );
    assert_eq!(chosen(&hosts, subset(NoFallback, own(DefaultSubset)), &miss).0, [1, 2]);
    let keys = KeysSubset(vec!["version".into()]);
    assert_eq!(chosen(&hosts, subset(NoFallback, own(keys)), &miss).0, [3, 4]);
}

#[test]
fn lists_single_endpoints_and_panic_are_as_configured() {
    let cluster = cluster();
    let hosts = labelled(
        &cluster,
        &[("1", "prod"), ("1", "dev"), ("2", "prod"), ("2", "prod+dev")],
    );
    let by_tag = || vec![selector(&["tags"], None)];
    let as_any = Subset {
        list_as_any: true,
        tries_fallback_list: false,
        ..subset(SubsetFallback::NoFallback, by_tag())
    };
    assert_eq!(chosen(&hosts, as_any, &[("tags", "dev")]).0, [2, 4]);
    let by_list = subset(SubsetFallback::NoFallback, by_tag());
    assert_eq!(chosen(&hosts, by_list, &[("tags", "dev")]).0, Vec::<u8>::new());

    let mut single = subset(SubsetFallback::NoFallback, vec![selector(&["version"], None)]);
    single.selectors[0].single_host_per_subset = true;
    assert_eq!(chosen(&hosts, single, &[("version", "2")]).0, [3]);

    let mut any = subset(SubsetFallback::DefaultSubset, vec![selector(&["version"], None)]);
    any.default_subset = [("version".into(), Value::String("nowhere".into()))].into();
    assert_eq!(chosen(&hosts, any.clone(), &[]).0, Vec::<u8>::new());
    any.panic_mode_any = true;
    assert_eq!(chosen(&hosts, any, &[]), (vec![1, 2, 3, 4], vec![Note::SubsetPanic]));
}

#[test]
fn health_counts_within_a_subset() {
    let cluster = cluster();
    let hosts = labelled(&cluster, &[("1", "a"), ("2", "a"), ("2", "a"), ("2", "a")]);
    let by_version = || subset(SubsetFallback::NoFallback, vec![selector(&["version"], None)]);
    fail(&hosts, [1]);
    assert_eq!(chosen(&hosts, by_version(), &[("version", "2")]).0, [3, 4]);
    fail(&hosts, [2]);
    let (found, notes) = chosen(&hosts, by_version(), &[("version", "2")]);
    assert_eq!(found, [2, 3, 4], "two of three are gone: panic");
    assert!(notes.contains(&Note::Panic));
}

/// Half way through its window a new endpoint has half its weight; at the end all of it.
#[test]
fn a_new_endpoint_gets_its_share_little_by_little() {
    let cluster = cluster();
    let hosts = one_locality(&cluster, &[1; 2]);
    let start = Instant::now();
    let states: Vec<_> = hosts.iter().map(|host| host.state.clone()).collect();
    states[0].begin_slow_start(start);
    states[1].begin_slow_start(start + Duration::from_secs(100));
    let share = |seconds: u64, aggression| {
        let slow_start = SlowStart {
            window: Duration::from_secs(60),
            aggression,
            min_weight_percent: 10.0,
        };
        let settings = TableSettings {
            slow_start: Some(slow_start),
            ..settings(Policy::RoundRobin)
        };
        let surroundings = Surroundings {
            now: start + Duration::from_secs(100 + seconds),
            own: &Locality::default(),
            local: None,
        };
        let table = LbTable::new(hosts.clone(), &settings, &surroundings);
        (values(picks(&table, &mut worker(1), 1_100))[1], table.is_warming_up())
    };
    let near = |found: (usize, bool), expected: usize, warming| {
        assert!(
            found.0.abs_diff(expected) <= 3 && found.1 == warming,
            "{found:?} {expected}"
        );
    };
    near(share(0, 1.0), 100, true);
    near(share(30, 1.0), 367, true);
    // The square root of one half is 0.707.
    near(share(30, 2.0), 456, true);
    near(share(60, 1.0), 550, false);
}

#[test]
fn variants_that_a_route_lists_are_tried_in_order_where_the_cluster_says_so() {
    let cluster = cluster();
    let hosts = labelled(&cluster, &[("1", "prod"), ("2", "dev")]);
    let selectors = || vec![selector(&["version"], None), selector(&["stage", "version"], None)];
    let subset = |tries| Subset {
        tries_fallback_list: tries,
        ..subset(SubsetFallback::NoFallback, selectors())
    };
    let entry = |fields: &[(&str, &str)]| {
        let fields = fields.iter();
        Value::Struct(
            fields
                .map(|(key, value)| ((*key).into(), Value::String((*value).into())))
                .collect(),
        )
    };
    let found = |tries: bool, list: Vec<Value>| {
        let fields = [
            ("version".into(), Value::String("1".into())),
            ("fallback_list".into(), Value::List(list)),
        ];
        let metadata = Metadata {
            filter_metadata: [("envoy.lb".into(), fields.into_iter().collect())].into(),
        };
        let criteria = SubsetCriteria::new([&metadata]);
        let settings = TableSettings {
            subsets: Some(Arc::new(subset(tries))),
            ..settings(Policy::RoundRobin)
        };
        let context = PickContext {
            metadata: criteria.as_ref(),
            ..PickContext::default()
        };
        let table = table_of(hosts.clone(), settings);
        let picked = table.pick(&context, &mut worker(1)).0.ok()?.address().to_string();
        Some(picked)
    };
    let (first, second) = (Some("10.0.0.1:80".to_owned()), Some("10.0.0.2:80".to_owned()));
    let absent = || entry(&[("version", "9")]);
    assert_eq!(found(true, vec![absent(), entry(&[("version", "2")])]), second);
    assert_eq!(
        found(true, vec![absent(), entry(&[("stage", "prod")])]),
        first,
        "merged with the route's own"
    );
    assert_eq!(found(true, vec![absent()]), None, "the route's own is no variant");
    assert_eq!(found(true, Vec::new()), first, "no variants at all");
    assert_eq!(found(false, vec![entry(&[("version", "2")])]), None, "one key too many");
}
