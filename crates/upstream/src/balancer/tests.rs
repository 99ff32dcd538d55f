use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use config::endpoint::Locality;

use super::*;
use crate::breaker::{CircuitBreakers, RoutingPriority};
use crate::cluster_state::ClusterState;
use crate::health_flags::HealthFlags;
use crate::hosts::HostSet;
use crate::testing::{self, Members, host_set, locality};

mod hashing;
mod peeking;
mod properties;
mod spreading;

fn settings(policy: Policy) -> TableSettings {
    TableSettings {
        policy,
        ..TableSettings::default()
    }
}

fn table_of(hosts: Arc<HostSet>, settings: TableSettings) -> LbTable {
    let surroundings = Surroundings {
        now: Instant::now(),
        own: &Locality::default(),
        local: None,
    };
    LbTable::new(hosts, &settings, &surroundings)
}

const LEAST_REQUEST: LeastRequest = LeastRequest {
    choice_count: 2,
    active_request_bias: 1.0,
    full_scan: false,
};

fn worker(seed: u64) -> WorkerLb {
    WorkerLb::new(Shard::CONTROL, seed)
}

fn cluster() -> Arc<ClusterState> {
    testing::cluster_of(&testing::registry(), "c")
}

fn one_locality(cluster: &Arc<ClusterState>, weights: &[u32]) -> Arc<HostSet> {
    host_set(cluster, vec![locality(0, 0, 0, weights)])
}

/// How often each endpoint was picked, by address.
fn picks(table: &LbTable, worker: &mut WorkerLb, n: usize) -> BTreeMap<String, usize> {
    let mut counts: BTreeMap<String, usize> = table
        .hosts()
        .iter()
        .map(|host| (host.state.address().to_string(), 0))
        .collect();
    for _ in 0..n {
        let endpoint = table.pick(&PickContext::default(), worker).0.unwrap();
        *counts.get_mut(&endpoint.address().to_string()).unwrap() += 1;
    }
    counts
}

fn values(counts: BTreeMap<String, usize>) -> Vec<usize> {
    counts.into_values().collect()
}

fn fail(hosts: &HostSet, indices: impl IntoIterator<Item = usize>) {
    let all: Vec<_> = hosts.iter().collect();
    for i in indices {
        all[i]
            .state
            .update_health(HealthFlags::FAILED_ACTIVE_HEALTH_CHECK, HealthFlags::NONE);
    }
}

#[test]
fn round_robin_gives_each_endpoint_its_turn() {
    let cluster = cluster();
    let table = table_of(one_locality(&cluster, &[1; 5]), settings(Policy::RoundRobin));
    assert_eq!(values(picks(&table, &mut worker(1), 50)), [10; 5]);
}

#[test]
fn weighted_round_robin_follows_the_weights() {
    let cluster = cluster();
    let table = table_of(one_locality(&cluster, &[1, 3, 6]), settings(Policy::RoundRobin));
    let counts = values(picks(&table, &mut worker(1), 1000));
    for (count, expected) in counts.iter().zip([100usize, 300, 600]) {
        assert!(count.abs_diff(expected) <= 2, "{counts:?}");
    }
}

#[test]
fn random_ignores_weights() {
    let cluster = cluster();
    let table = table_of(one_locality(&cluster, &[1, 100]), settings(Policy::Random));
    let counts = values(picks(&table, &mut worker(1), 10_000));
    assert!(counts.iter().all(|&n| (4_800..5_200).contains(&n)), "{counts:?}");
}

/// With one busy endpoint among n, power of two picks it only when both draws hit it: 1 in n².
#[test]
fn least_request_avoids_the_busy_endpoint() {
    let cluster = cluster();
    let hosts = one_locality(&cluster, &[1; 4]);
    let busy = hosts.iter().next().unwrap().state.clone();
    let _requests: Vec<_> = (0..10)
        .map(|_| {
            busy.try_start_request(&CircuitBreakers::default(), RoutingPriority::Default)
                .unwrap()
        })
        .collect();
    let table = table_of(hosts, settings(Policy::LeastRequest(LEAST_REQUEST)));
    let counts = values(picks(&table, &mut worker(1), 16_000));
    assert!((850..1150).contains(&counts[0]), "{counts:?}");
    assert!(counts[1..].iter().all(|&n| (4_700..5_300).contains(&n)), "{counts:?}");
}

#[test]
fn least_request_with_a_full_scan_finds_the_least_loaded_and_shares_among_equals() {
    let cluster = cluster();
    let hosts = one_locality(&cluster, &[1; 3]);
    let busy = hosts.iter().next().unwrap().state.clone();
    let _request = busy
        .try_start_request(&CircuitBreakers::default(), RoutingPriority::Default)
        .unwrap();
    let policy = Policy::LeastRequest(LeastRequest {
        full_scan: true,
        ..LEAST_REQUEST
    });
    let counts = values(picks(&table_of(hosts, settings(policy)), &mut worker(1), 3_000));
    assert_eq!(counts[0], 0);
    assert!(counts[1] > 800 && counts[2] > 800, "{counts:?}");
}

/// `weight / (active + 1)`: 6 / (2 + 1) equals 2 / (0 + 1).
#[test]
fn weighted_least_request_lowers_a_weight_by_its_load() {
    let cluster = cluster();
    let hosts = one_locality(&cluster, &[6, 2]);
    let busy = hosts.iter().next().unwrap().state.clone();
    let _requests: Vec<_> = (0..2)
        .map(|_| {
            busy.try_start_request(&CircuitBreakers::default(), RoutingPriority::Default)
                .unwrap()
        })
        .collect();
    let pick = |bias| {
        let least_request = LeastRequest {
            active_request_bias: bias,
            ..LEAST_REQUEST
        };
        let table = table_of(hosts.clone(), settings(Policy::LeastRequest(least_request)));
        values(picks(&table, &mut worker(1), 1000))
    };
    assert!(pick(1.0)[0].abs_diff(500) <= 2);
    assert!(
        pick(0.0)[0].abs_diff(750) <= 2,
        "without a bias it is weighted round robin"
    );
}

#[test]
fn unhealthy_endpoints_get_nothing() {
    let cluster = cluster();
    let hosts = one_locality(&cluster, &[1; 4]);
    fail(&hosts, [2]);
    for policy in [Policy::RoundRobin, Policy::Random, Policy::LeastRequest(LEAST_REQUEST)] {
        let counts = values(picks(&table_of(hosts.clone(), settings(policy)), &mut worker(1), 400));
        assert_eq!(counts[2], 0);
        assert!(counts.iter().enumerate().all(|(i, &n)| i == 2 || n > 80), "{counts:?}");
    }
}

#[test]
fn below_the_panic_threshold_everyone_gets_requests() {
    let cluster = cluster();
    let hosts = one_locality(&cluster, &[1; 4]);
    fail(&hosts, [0, 1, 2]);
    let table = table_of(hosts.clone(), settings(Policy::RoundRobin));
    assert_eq!(values(picks(&table, &mut worker(1), 40)), [10; 4]);
    assert_eq!(
        table
            .pick(&PickContext::default(), &mut worker(1))
            .1
            .iter()
            .collect::<Vec<_>>(),
        [Note::Panic]
    );

    let no_panic = TableSettings {
        panic_threshold: 0.0,
        ..settings(Policy::RoundRobin)
    };
    assert_eq!(
        values(picks(&table_of(hosts.clone(), no_panic), &mut worker(1), 40)),
        [0, 0, 0, 40]
    );

    let failing = TableSettings {
        fail_traffic_on_panic: true,
        ..settings(Policy::RoundRobin)
    };
    let table = table_of(hosts, failing);
    let (result, notes) = table.pick(&PickContext::default(), &mut worker(1));
    assert_eq!(result.err(), Some(NoEndpoint::NoneHealthy));
    assert!(notes.contains(Note::Panic));
}

#[test]
fn nothing_to_pick_is_said_to_be_empty_or_unhealthy() {
    let cluster = cluster();
    let pick = |hosts: Arc<HostSet>| {
        let settings = TableSettings {
            panic_threshold: 0.0,
            ..settings(Policy::RoundRobin)
        };
        table_of(hosts, settings)
            .pick(&PickContext::default(), &mut worker(1))
            .0
            .err()
    };
    assert_eq!(pick(host_set(&cluster, vec![])), Some(NoEndpoint::Empty));
    assert_eq!(pick(one_locality(&cluster, &[])), Some(NoEndpoint::Empty));
    let hosts = one_locality(&cluster, &[1; 2]);
    fail(&hosts, [0, 1]);
    assert_eq!(pick(hosts), Some(NoEndpoint::NoneHealthy));
}

#[test]
fn load_spills_over_to_the_next_priority() {
    let cluster = cluster();
    let hosts = host_set(&cluster, vec![locality(0, 0, 0, &[1; 4]), locality(1, 1, 0, &[1; 4])]);
    fail(&hosts, [0, 1]);
    let table = table_of(hosts, settings(Policy::RoundRobin));
    let counts = values(picks(&table, &mut worker(1), 10_000));
    let first: usize = counts[..4].iter().sum();
    assert_eq!(counts[..2], [0, 0]);
    assert!((6_850..7_150).contains(&first), "50 % healthy take 70 %: {counts:?}");
}

#[test]
fn degraded_endpoints_are_used_when_the_healthy_do_not_suffice() {
    let cluster = cluster();
    let hosts = one_locality(&cluster, &[1; 4]);
    for host in hosts.iter().skip(1) {
        host.state
            .update_health(HealthFlags::DEGRADED_EDS_HEALTH, HealthFlags::NONE);
    }
    let table = table_of(hosts, settings(Policy::RoundRobin));
    let counts = values(picks(&table, &mut worker(1), 10_000));
    assert!(
        (3_350..3_650).contains(&counts[0]),
        "25 % healthy take 35 %: {counts:?}"
    );
    assert_eq!(
        table.membership(),
        Membership {
            total: 4,
            healthy: 1,
            degraded: 3,
            excluded: 0
        }
    );
}

/// The table of Envoy's "Locality weighted load balancing": X has weight 1, Y has weight 2 and is healthy.
#[test]
fn localities_share_load_by_weight_and_availability() {
    for (healthy_of_100, percent_to_x) in [(100, 33.3), (70, 32.9), (50, 25.9), (25, 14.9), (0, 0.0)] {
        let cluster = cluster();
        let hosts = host_set(
            &cluster,
            vec![locality(0, 0, 1, &[1; 100]), locality(0, 1, 2, &[1; 100])],
        );
        fail(&hosts, healthy_of_100..100);
        let settings = TableSettings {
            locality_weighted: true,
            ..settings(Policy::RoundRobin)
        };
        let counts = values(picks(&table_of(hosts, settings), &mut worker(1), 10_000));
        let x = counts[..100].iter().sum::<usize>() as f64 / 100.0;
        assert!(
            (x - percent_to_x).abs() < 0.5,
            "{healthy_of_100} healthy: {x} instead of {percent_to_x}"
        );
    }
}

#[test]
fn a_locality_without_a_weight_gets_nothing_unless_none_has_one() {
    let cluster = cluster();
    let pick = |weight| {
        let hosts = host_set(&cluster, vec![locality(0, 0, 0, &[1]), locality(0, 1, weight, &[1])]);
        let settings = TableSettings {
            locality_weighted: true,
            ..settings(Policy::RoundRobin)
        };
        values(picks(&table_of(hosts, settings), &mut worker(1), 10))
    };
    assert_eq!(pick(1), [0, 10]);
    assert_eq!(pick(0), [5, 5]);
}

#[test]
fn endpoints_may_count_for_nothing_until_their_first_health_check() {
    let cluster = cluster();
    let hosts = one_locality(&cluster, &[1; 4]);
    let new = HealthFlags::FAILED_ACTIVE_HEALTH_CHECK | HealthFlags::PENDING_ACTIVE_HEALTH_CHECK;
    for host in hosts.iter().skip(1) {
        host.state.update_health(new, HealthFlags::NONE);
    }
    let ignore = TableSettings {
        ignore_new_hosts_until_first_health_check: true,
        ..settings(Policy::RoundRobin)
    };
    let table = table_of(hosts.clone(), ignore);
    assert_eq!(values(picks(&table, &mut worker(1), 10)), [10, 0, 0, 0]);
    assert_eq!(table.membership().excluded, 3);
    let panicking = table_of(hosts, settings(Policy::RoundRobin));
    assert!(values(picks(&panicking, &mut worker(1), 40)).iter().all(|&n| n == 10));
}

/// Envoy 1.39 counts them as `membership_excluded`: a rollout that drains most of a service is no reason to panic.
#[test]
fn endpoints_that_the_control_plane_drains_do_not_make_the_rest_panic() {
    let cluster = cluster();
    let hosts = one_locality(&cluster, &[1; 4]);
    for host in hosts.iter().skip(1) {
        host.state
            .update_health(HealthFlags::EDS_STATUS_DRAINING, HealthFlags::NONE);
    }
    let table = table_of(hosts, settings(Policy::RoundRobin));
    assert_eq!(values(picks(&table, &mut worker(1), 10)), [10, 0, 0, 0]);
    assert_eq!((table.membership().healthy, table.membership().excluded), (1, 3));
}

#[test]
fn a_retry_avoids_the_endpoint_it_had() {
    let cluster = cluster();
    let hosts = one_locality(&cluster, &[1; 3]);
    let table = table_of(hosts, settings(Policy::Random));
    let mut worker = worker(1);
    let avoid = [table.pick(&PickContext::default(), &mut worker).0.unwrap().clone()];
    let again = |reselections, worker: &mut WorkerLb| {
        let context = PickContext {
            avoid: &avoid,
            reselections,
            ..PickContext::default()
        };
        (0..3_000)
            .filter(|_| Arc::ptr_eq(table.pick(&context, worker).0.unwrap(), &avoid[0]))
            .count()
    };
    assert!((900..1_100).contains(&again(0, &mut worker)));
    assert!((280..390).contains(&again(1, &mut worker)), "one in nine");
    assert_eq!(again(30, &mut worker), 0);
}

#[test]
fn a_retry_with_nowhere_else_to_go_returns_to_the_same_endpoint() {
    let cluster = cluster();
    let table = table_of(one_locality(&cluster, &[1]), settings(Policy::RoundRobin));
    let mut worker = worker(1);
    let avoid = [table.pick(&PickContext::default(), &mut worker).0.unwrap().clone()];
    let context = PickContext {
        avoid: &avoid,
        reselections: 3,
        ..PickContext::default()
    };
    assert!(table.pick(&context, &mut worker).0.is_ok());
}

#[test]
fn a_new_table_does_not_send_every_worker_back_to_the_first_endpoint() {
    let cluster = cluster();
    let hosts = one_locality(&cluster, &[1; 8]);
    let mut worker = worker(1);
    let seen: BTreeSet<String> = (0..8)
        .map(|_| {
            let table = table_of(hosts.clone(), settings(Policy::RoundRobin));
            table
                .pick(&PickContext::default(), &mut worker)
                .0
                .unwrap()
                .address()
                .to_string()
        })
        .collect();
    assert_eq!(seen.len(), 8);
}

#[test]
fn workers_start_at_different_endpoints() {
    let cluster = cluster();
    let table = table_of(one_locality(&cluster, &[1; 8]), settings(Policy::RoundRobin));
    let first: BTreeSet<String> = (0..20)
        .map(|seed| {
            table
                .pick(&PickContext::default(), &mut worker(seed))
                .0
                .unwrap()
                .address()
                .to_string()
        })
        .collect();
    assert!(first.len() > 4, "{first:?}");
}

#[test]
fn an_endpoint_listed_twice_counts_once() {
    let cluster = cluster();
    let hosts = host_set(&cluster, vec![locality(0, 0, 0, &[1, 1]), locality(0, 0, 0, &[1, 1])]);
    assert_eq!(hosts.len(), 2);
}
