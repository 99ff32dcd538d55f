use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use config::address::Address;
use config::cluster::{Cluster, Discovery, DnsLookupFamily, DnsResolver};
use tls::Loader;

use super::*;
use crate::balancer::Random;
use crate::dns::Resolving;
use crate::health::{CheckRequest, Checking};
use crate::testing::{self, locality};

const SUCCESS: CheckResult = CheckResult::Success { degraded: false };

/// Answers from a script: addresses by name, results by address; what is not in it never answers.
#[derive(Clone, Debug, Default)]
struct Script {
    names: Arc<Mutex<HashMap<&'static str, Vec<&'static str>>>>,
    results: Arc<Mutex<HashMap<&'static str, CheckResult>>>,
    panics: Arc<Mutex<bool>>,
}

impl Resolve for Script {
    fn resolve(&self, host: Arc<str>, _: DnsLookupFamily, _: Option<&DnsResolver>) -> Resolving {
        let addresses = self.names.lock().unwrap().get(&*host).cloned();
        Box::pin(async move {
            match addresses {
                Some(addresses) => {
                    let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
                    Ok(Resolution { addresses, ttl: None })
                }
                None => std::future::pending().await,
            }
        })
    }
}

impl Check for Script {
    fn check(&self, request: CheckRequest) -> Checking {
        let result = self.results.lock().unwrap().get(&*request.address.to_string()).copied();
        let panics = *self.panics.lock().unwrap();
        Box::pin(async move {
            assert!(!panics, "as the test wants it");
            match result {
                Some(result) => (result, None),
                None => std::future::pending().await,
            }
        })
    }
}

fn driver(script: &Script) -> Driver {
    let clusters = Clusters::new(Arc::new(testing::registry()), Loader::new(), Random::new(1));
    Driver::new(clusters, Arc::new(script.clone()), Arc::new(script.clone()))
}

fn config(cluster: Cluster) -> Config {
    let mut config = Config::default();
    config.clusters.insert(cluster.name.clone(), Arc::new(cluster));
    config
}

fn healthy(map: &ClusterMap) -> Vec<String> {
    let table = map["c"].table();
    let usable = table.hosts().iter().filter(|host| host.state.is_usable());
    usable.map(|host| host.state.address().to_string()).collect()
}

/// Lets the driver work for `time`; the clock is paused, so it takes none.
async fn run(driver: &mut Driver, time: Duration) {
    let _ = tokio::time::timeout(time, async {
        loop {
            driver.next().await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn names_are_resolved_and_their_endpoints_checked_until_the_cluster_is_warm_and_ever_after() {
    let script = Script::default();
    script.names.lock().unwrap().insert("svc", vec!["10.1.0.1", "10.1.0.2"]);
    script
        .results
        .lock()
        .unwrap()
        .extend([("10.1.0.1:80", SUCCESS), ("10.1.0.2:80", CheckResult::Timeout)]);
    let mut members = locality(0, 0, 0, &[1]);
    members.endpoints[0].set_address(Address::Name {
        host: "svc".into(),
        port: 80,
    });
    let mut cluster = testing::cluster("c", Vec::new());
    cluster.discovery = Discovery::StrictDns {
        endpoints: testing::assignment(vec![members]),
    };
    cluster.health_checks = vec![Arc::new(testing::health_check(1, 1))];
    let mut driver = driver(&script);
    let map = driver.reconcile(&config(cluster));

    let Event::Warm { name, .. } = driver.next().await;
    assert_eq!(&*name, "c");
    assert_eq!(healthy(&map), ["10.1.0.1:80"]);
    // What discovery loses stays for as long as it is well.
    script
        .results
        .lock()
        .unwrap()
        .extend([("10.1.0.2:80", SUCCESS), ("10.1.0.1:80", CheckResult::Failure)]);
    script.names.lock().unwrap().insert("svc", vec!["10.1.0.2"]);
    run(&mut driver, Duration::from_secs(65)).await;
    assert_eq!(healthy(&map), ["10.1.0.2:80"]);
}

#[tokio::test(start_paused = true)]
async fn a_change_by_another_thread_wakes_the_driver() {
    let mut driver = driver(&Script::default());
    let map = driver.reconcile(&config(testing::cluster("c", vec![locality(0, 0, 0, &[1, 1])])));
    driver.next().await;
    let endpoint = map["c"].table().hosts().iter().next().unwrap().state.clone();
    let ejecting = std::thread::spawn(move || {
        use crate::health_flags::HealthFlags;
        endpoint.update_health(HealthFlags::FAILED_OUTLIER_CHECK, HealthFlags::NONE);
    });
    ejecting.join().unwrap();
    run(&mut driver, Duration::from_secs(2)).await;
    assert_eq!(map["c"].table().membership().healthy, 1);
}

#[tokio::test(start_paused = true)]
async fn giving_up_waiting_loses_nothing() {
    let script = Script::default();
    script.results.lock().unwrap().insert("10.0.0.1:80", SUCCESS);
    let mut cluster = testing::cluster("c", vec![locality(0, 0, 0, &[1])]);
    cluster.health_checks = vec![Arc::new(testing::health_check(1, 1))];
    let mut driver = driver(&script);
    driver.reconcile(&config(cluster));
    let mut warm = false;
    for _ in 0..100 {
        tokio::select! {
            biased;
            event = driver.next() => {
                assert!(matches!(event, Event::Warm { .. }));
                warm = true;
                break;
            }
            () = tokio::task::yield_now() => {}
        }
    }
    assert!(warm);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_panics_is_a_failure_and_is_made_again() {
    let script = Script::default();
    script.results.lock().unwrap().insert("10.0.0.1:80", SUCCESS);
    *script.panics.lock().unwrap() = true;
    let mut cluster = testing::cluster("c", vec![locality(0, 0, 0, &[1])]);
    cluster.health_checks = vec![Arc::new(testing::health_check(1, 1))];
    let mut driver = driver(&script);
    let map = driver.reconcile(&config(cluster));
    driver.next().await;
    assert!(healthy(&map).is_empty());
    *script.panics.lock().unwrap() = false;
    run(&mut driver, Duration::from_secs(65)).await;
    assert_eq!(healthy(&map), ["10.0.0.1:80"]);
}

/// The binary may run it on a runtime that moves tasks between threads.
#[test]
fn the_driver_can_be_moved_to_another_thread() {
    fn assert_send<T: Send>(value: T) -> T {
        value
    }
    let mut driver = assert_send(driver(&Script::default()));
    drop(assert_send(driver.next()));
}
