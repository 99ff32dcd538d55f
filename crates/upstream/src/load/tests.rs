use std::time::Instant;

use config::Config;
use tls::Loader;

use super::*;
use crate::balancer::Random;
use crate::breaker::{CircuitBreakers, RoutingPriority};
use crate::clusters::Clusters;
use crate::endpoint::ActiveRequest;
use crate::outlier::Outcome;
use crate::testing::{self, locality};

struct Mesh {
    clusters: Clusters,
    config: Config,
}

impl Mesh {
    fn new() -> Self {
        let registry = Arc::new(testing::registry());
        Self {
            clusters: Clusters::new(registry, Loader::new(), Random::new(1)),
            config: Config::default(),
        }
    }

    fn set(&mut self, name: &str, localities: Vec<testing::Members>) {
        let mut cluster = testing::cluster(name, localities);
        let content = format!("{:?}", cluster.discovery);
        cluster.fingerprint = config::Fingerprint::of(content.as_bytes());
        self.config.clusters.insert(name.into(), Arc::new(cluster));
        self.clusters.reconcile(&self.config, Instant::now());
    }

    fn remove(&mut self, name: &str) {
        self.config.clusters.remove(name);
        self.clusters.reconcile(&self.config, Instant::now());
    }

    fn endpoint(&self, cluster: &str, address: &str) -> Arc<EndpointState> {
        let active = self.clusters.view().active();
        let table = active[cluster].table();
        let host = table
            .hosts()
            .iter()
            .find(|host| host.state.address().to_string() == address);
        Arc::clone(&host.expect("a member").state)
    }
}

fn start(endpoint: &Arc<EndpointState>) -> ActiveRequest {
    let request = endpoint.try_start_request(&CircuitBreakers::default(), RoutingPriority::Default);
    request.expect("below the limit")
}

fn call(endpoint: &Arc<EndpointState>, outcome: Outcome) {
    let request = start(endpoint);
    endpoint.count_outcome(outcome);
    drop(request);
}

/// `address zone/priority issued+succeeded+failed+in progress`.
fn lines(loads: &[ClusterLoad]) -> Vec<String> {
    let line = |cluster: &ClusterLoad, endpoint: &EndpointLoad| {
        let Load {
            issued,
            succeeded,
            failed,
            in_progress,
        } = endpoint.load;
        format!(
            "{} {} {}/{} {issued}+{succeeded}+{failed}+{in_progress}",
            cluster.cluster, endpoint.address, endpoint.locality.zone, endpoint.priority
        )
    };
    loads
        .iter()
        .flat_map(|cluster| cluster.endpoints.iter().map(move |endpoint| line(cluster, endpoint)))
        .collect()
}

#[test]
fn a_report_is_what_happened_since_the_one_before() {
    let mut mesh = Mesh::new();
    mesh.set("c", vec![locality(0, 1, 0, &[1, 1]), locality(1, 2, 0, &[1])]);
    let (one, far) = (mesh.endpoint("c", "10.0.1.1:80"), mesh.endpoint("c", "10.0.2.1:80"));
    call(&one, Outcome::Response(200));
    let mut meter = LoadMeter::new(mesh.clusters.view());
    meter.select(|_| true);
    assert!(
        lines(&meter.take(|_| true)).is_empty(),
        "what was before nobody asked is not told"
    );
    call(&one, Outcome::Response(200));
    call(&one, Outcome::Response(503));
    call(&one, Outcome::Timeout);
    let running = start(&far);
    assert_eq!(
        lines(&meter.take(|_| true)),
        ["c 10.0.1.1:80 1/0 3+1+2+0", "c 10.0.2.1:80 2/1 1+0+0+1"]
    );
    far.count_outcome(Outcome::Response(200));
    drop(running);
    assert_eq!(lines(&meter.take(|_| true)), ["c 10.0.2.1:80 2/1 0+1+0+0"]);
    assert!(lines(&meter.take(|_| true)).is_empty());
}

#[test]
fn a_cluster_that_goes_on_being_selected_loses_nothing_and_another_starts_from_nothing() {
    let mut mesh = Mesh::new();
    mesh.set("a", vec![locality(0, 1, 0, &[1])]);
    mesh.set("b", vec![locality(0, 2, 0, &[1])]);
    let (a, b) = (mesh.endpoint("a", "10.0.1.1:80"), mesh.endpoint("b", "10.0.2.1:80"));
    let mut meter = LoadMeter::new(mesh.clusters.view());
    meter.select(|name| name == "a");
    call(&a, Outcome::Response(200));
    call(&b, Outcome::Response(200));
    meter.select(|_| true);
    call(&b, Outcome::Response(200));
    assert_eq!(
        lines(&meter.take(|_| true)),
        ["a 10.0.1.1:80 1/0 1+1+0+0", "b 10.0.2.1:80 2/0 1+1+0+0"]
    );
}

#[test]
fn a_cluster_that_comes_later_is_metered_from_its_beginning_and_one_that_goes_to_its_end() {
    let mut mesh = Mesh::new();
    let mut meter = LoadMeter::new(mesh.clusters.view());
    meter.select(|_| true);
    mesh.set("c", vec![locality(0, 1, 0, &[1])]);
    let endpoint = mesh.endpoint("c", "10.0.1.1:80");
    call(&endpoint, Outcome::Response(200));
    assert_eq!(lines(&meter.take(|_| true)), ["c 10.0.1.1:80 1/0 1+1+0+0"]);
    call(&endpoint, Outcome::Response(200));
    drop(endpoint);
    mesh.remove("c");
    assert_eq!(lines(&meter.take(|_| true)), ["c 10.0.1.1:80 1/0 1+1+0+0"]);
    assert!(meter.take(|_| true).is_empty());
    assert!(meter.metered.is_empty(), "nothing is kept of what is gone");
}

#[test]
fn an_endpoint_that_is_removed_and_returns_is_counted_once() {
    let mut mesh = Mesh::new();
    mesh.set("c", vec![locality(0, 1, 0, &[1, 1])]);
    let mut meter = LoadMeter::new(mesh.clusters.view());
    meter.select(|_| true);
    let endpoint = mesh.endpoint("c", "10.0.1.2:80");
    call(&endpoint, Outcome::Response(200));
    mesh.set("c", vec![locality(0, 1, 0, &[1])]);
    // A pool still holds it.
    call(&endpoint, Outcome::Response(200));
    assert_eq!(lines(&meter.take(|_| true)), ["c 10.0.1.2:80 1/0 2+2+0+0"]);
    mesh.set("c", vec![locality(0, 3, 0, &[1]), locality(0, 1, 0, &[1, 1])]);
    call(&endpoint, Outcome::Response(200));
    assert_eq!(lines(&meter.take(|_| true)), ["c 10.0.1.2:80 1/0 1+1+0+0"]);
}

#[test]
fn what_categories_drop_is_told_beside_all_that_was_dropped() {
    let mut mesh = Mesh::new();
    mesh.set("c", vec![locality(0, 1, 0, &[1])]);
    let handle = mesh.clusters.view().active()["c"].clone();
    let drops = |percent| {
        [config::endpoint::DropOverload {
            category: "lb".into(),
            drop_percentage: config::percent::FractionalPercent {
                numerator: percent,
                denominator: 100,
            },
        }]
    };
    let drop_one = || {
        assert!(handle.drop_overload().is_some());
        handle.count_dropped();
    };
    handle.state().drops().set(&drops(100));
    drop_one();
    let mut meter = LoadMeter::new(mesh.clusters.view());
    meter.select(|_| true);
    let mut told = || {
        let load = meter.take(|_| true).remove(0);
        let drops: Vec<_> = load
            .drops
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        (load.dropped, drops)
    };
    assert_eq!(told(), (0, vec![]), "what was before nobody asked is not told");
    drop_one();
    drop_one();
    handle.count_dropped();
    assert_eq!(told(), (3, vec!["lb 2".to_owned()]), "an open breaker drops, too");
    drop_one();
    handle.state().drops().set(&[]);
    assert_eq!(
        told(),
        (1, vec!["lb 1".to_owned()]),
        "a category that is gone has its last word"
    );
    assert_eq!(told(), (0, vec![]));
}
