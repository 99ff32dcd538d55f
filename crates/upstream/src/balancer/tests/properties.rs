//! What holds of every pick, whatever the endpoints.

use proptest::prelude::*;

use super::*;

prop_compose! {
    /// Priorities and localities of any shape, some endpoints unhealthy or degraded.
    fn members()(
        localities in prop::collection::vec(
            (0u32..3, 0u32..3, prop::collection::vec((1u32..5, 0u8..3), 0..6)),
            1..5,
        ),
    ) -> (Vec<Members>, Arc<ClusterState>, Vec<Arc<EndpointState>>) {
        let cluster = cluster();
        let mut kept: Vec<Arc<EndpointState>> = Vec::new();
        let members = localities
            .into_iter()
            .enumerate()
            .map(|(subnet, (priority, weight, hosts))| {
                let weights: Vec<u32> = hosts.iter().map(|h| h.0).collect();
                let members = locality(priority, subnet as u8, weight, &weights);
                for (host, (_, health)) in testing::hosts(&cluster, subnet as u8, &weights).iter().zip(hosts) {
                    let flags = match health {
                        0 => HealthFlags::NONE,
                        1 => HealthFlags::DEGRADED_EDS_HEALTH,
                        _ => HealthFlags::FAILED_OUTLIER_CHECK,
                    };
                    host.state.update_health(flags, HealthFlags::NONE);
                    kept.push(host.state.clone());
                }
                members
            })
            .collect();
        (members, cluster, kept)
    }
}

proptest! {
    /// Whatever the shape: there is an endpoint if the cluster has a usable one, it is usable unless the pick says it
    /// panicked, and it is a member.
    #[test]
    fn a_pick_is_usable_or_a_panic(
        (members, cluster, _kept) in members(),
        policy in prop::sample::select(vec![
            Policy::RoundRobin,
            Policy::Random,
            Policy::LeastRequest(LEAST_REQUEST),
        ]),
        locality_weighted in any::<bool>(),
        panic_threshold in prop::sample::select(vec![0.0, 50.0, 100.0]),
        seed in any::<u64>(),
    ) {
        let hosts = host_set(&cluster, members);
        let settings = TableSettings { locality_weighted, panic_threshold, ..settings(policy) };
        let table = table_of(hosts.clone(), settings);
        let mut worker = worker(seed);
        let usable = hosts.iter().filter(|h| h.state.is_usable()).count();
        for _ in 0..50 {
            let (result, notes) = table.pick(&PickContext::default(), &mut worker);
            match result {
                Ok(endpoint) => {
                    prop_assert!(endpoint.is_usable() || notes.contains(Note::Panic));
                    prop_assert!(hosts.iter().any(|h| Arc::ptr_eq(&h.state, endpoint)));
                }
                Err(NoEndpoint::Empty) => prop_assert!(hosts.is_empty()),
                Err(NoEndpoint::NoneHealthy) => prop_assert!(usable == 0),
            }
        }
    }

    /// Round robin among the healthy endpoints of one locality is in proportion to their weights.
    #[test]
    fn round_robin_is_proportional_among_the_healthy(
        hosts in prop::collection::vec((1u32..10, any::<bool>()), 1..10),
        seed in any::<u64>(),
    ) {
        prop_assume!(hosts.iter().any(|h| h.1));
        let cluster = cluster();
        let weights: Vec<u32> = hosts.iter().map(|h| h.0).collect();
        let set = one_locality(&cluster, &weights);
        fail(&set, hosts.iter().enumerate().filter(|(_, h)| !h.1).map(|(i, _)| i));
        let settings = TableSettings { panic_threshold: 0.0, ..settings(Policy::RoundRobin) };
        let table = table_of(set, settings);
        let total: u32 = hosts.iter().filter(|h| h.1).map(|h| h.0).sum();
        let counts = values(picks(&table, &mut worker(seed), total as usize * 4));
        for (&(weight, healthy), count) in hosts.iter().zip(counts) {
            let expected = if healthy { weight as usize * 4 } else { 0 };
            prop_assert!(count.abs_diff(expected) <= 1 + hosts.len() / 2);
        }
    }
}
