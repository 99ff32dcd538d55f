mod assignments;
mod health;
mod members;
mod names;
mod original_destination;
mod reading;
mod warming;

use std::time::Duration;

use config::address::Address;
use config::cluster::{CommonLbConfig, Discovery, DnsOptions, HealthCheck, OutlierDetection};
use config::config_source::ConfigSource;
use config::endpoint::{ClusterLoadAssignment, HealthStatus, LocalityEndpoints};
use telemetry::stats::{Shard, cluster_membership as stat};

use super::*;
use crate::balancer::{PickContext, WorkerLb};
use crate::breaker::{Resource, RoutingPriority};
use crate::endpoint::EndpointState;
use crate::health_flags::HealthFlags;
use crate::outlier::Outcome;
use crate::testing::{self, endpoint, locality};

const SECOND: Duration = Duration::from_secs(1);
const SUCCESS: CheckResult = CheckResult::Success { degraded: false };

/// Clusters with a clock and a script: what they ask for is answered by the test.
struct Scripted {
    clusters: Clusters,
    config: Config,
    map: Arc<ClusterMap>,
    now: Instant,
}

impl Scripted {
    fn new() -> Self {
        let clusters = Clusters::new(Arc::new(testing::registry()), Loader::new(), Random::new(1));
        Self {
            clusters,
            config: Config::default(),
            map: Arc::default(),
            now: Instant::now(),
        }
    }

    fn with(cluster: Cluster) -> Self {
        let mut scripted = Self::new();
        scripted.set(cluster);
        scripted
    }

    /// Puts `cluster` into the configuration and the configuration into force.
    fn set(&mut self, cluster: Cluster) {
        self.config
            .clusters
            .insert(cluster.name.clone(), Arc::new(content(cluster)));
        self.reconcile();
    }

    fn set_endpoints(&mut self, name: &str, localities: Vec<LocalityEndpoints>) {
        self.config
            .endpoints
            .insert(name.into(), testing::assignment(localities));
        self.reconcile();
    }

    fn reconcile(&mut self) {
        self.map = self.clusters.reconcile(&self.config, self.now);
    }

    fn handle(&self) -> &Arc<ClusterHandle> {
        &self.map["c"]
    }

    fn endpoint(&self, address: &str) -> Arc<EndpointState> {
        let table = self.handle().table();
        let found = table
            .hosts()
            .iter()
            .find(|host| host.state.address().to_string() == address);
        found
            .unwrap_or_else(|| panic!("{address} is no member of {:?}", self.addresses()))
            .state
            .clone()
    }

    /// All members, sorted.
    fn addresses(&self) -> Vec<String> {
        let table = self.handle().table();
        let mut addresses: Vec<String> = table
            .hosts()
            .iter()
            .map(|host| host.state.address().to_string())
            .collect();
        addresses.sort();
        addresses
    }

    /// How many of the members the table takes for healthy.
    fn healthy(&self) -> u64 {
        self.handle().table().membership().healthy
    }

    fn advance(&mut self, by: Duration) {
        self.now += by;
        self.clusters.on_deadline(self.now);
    }

    /// What is to be resolved now, by name.
    fn resolutions(&mut self) -> HashMap<String, Token> {
        self.clusters.on_deadline(self.now);
        let mut resolutions = HashMap::new();
        while let Some(action) = self.clusters.poll_action() {
            let Action::Resolve { token, host, .. } = action else {
                panic!("{action:?}")
            };
            resolutions.insert(host.to_string(), token);
        }
        resolutions
    }

    /// What is to be done now, of either kind, by name or address.
    fn due(&mut self) -> HashMap<String, Token> {
        self.clusters.on_deadline(self.now);
        let named = |action| match action {
            Action::Resolve { token, host, .. } => (host.to_string(), token),
            Action::Check { token, request } => (request.address.to_string(), token),
        };
        std::iter::from_fn(|| self.clusters.poll_action()).map(named).collect()
    }

    fn resolve(&mut self, addresses: &[&str]) {
        let tokens = self.resolutions();
        assert_eq!(tokens.len(), 1, "one name is due");
        for token in tokens.into_values() {
            self.clusters.on_resolved(token, answer(addresses), self.now);
        }
    }

    /// What is to be checked now, by address.
    fn checks(&mut self) -> HashMap<String, Token> {
        self.clusters.on_deadline(self.now);
        let mut checks = HashMap::new();
        while let Some(action) = self.clusters.poll_action() {
            let Action::Check { token, request } = action else {
                panic!("{action:?}")
            };
            checks.insert(request.address.to_string(), token);
        }
        checks
    }

    /// Answers all checks that are due.
    fn check(&mut self, result: CheckResult) -> usize {
        let tokens = self.checks();
        for token in tokens.values() {
            self.clusters.on_checked(*token, result, None, self.now);
        }
        tokens.len()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.clusters.poll_event()).collect()
    }

    fn is_told_warm(&mut self) -> bool {
        let events = self.events();
        assert!(events.len() <= 1, "{events:?}");
        !events.is_empty()
    }

    fn pick(&self) -> Option<Arc<EndpointState>> {
        let mut worker = WorkerLb::new(Shard::CONTROL, 1);
        self.handle().pick(&PickContext::default(), &mut worker).ok()
    }
}

/// Gives a cluster the fingerprint of its content, as parsing does.
fn content(mut cluster: Cluster) -> Cluster {
    cluster.fingerprint = Fingerprint::of(b"");
    cluster.fingerprint = Fingerprint::of(format!("{cluster:?}").as_bytes());
    cluster
}

fn answer(addresses: &[&str]) -> Result<Resolution, ResolveError> {
    Ok(Resolution {
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        ttl: None,
    })
}

fn endpoints(n: usize) -> Cluster {
    testing::cluster("c", vec![locality(0, 0, 0, &vec![1; n])])
}

fn eds() -> Cluster {
    let source = Arc::new(ConfigSource::ads());
    Cluster {
        discovery: Discovery::Eds {
            service_name: "c".into(),
            source,
        },
        ..endpoints(0)
    }
}

fn checked(mut cluster: Cluster, settings: HealthCheck) -> Cluster {
    cluster.health_checks = vec![Arc::new(settings)];
    cluster
}

fn named(names: &[&str]) -> Arc<ClusterLoadAssignment> {
    let mut members = locality(0, 0, 0, &vec![1; names.len()]);
    for (endpoint, name) in members.endpoints.iter_mut().zip(names) {
        endpoint.set_address(Address::Name {
            host: (*name).into(),
            port: 80,
        });
    }
    testing::assignment(vec![members])
}

fn strict_dns(names: &[&str]) -> Cluster {
    Cluster {
        discovery: Discovery::StrictDns {
            endpoints: named(names),
        },
        ..endpoints(0)
    }
}

fn logical_dns(name: &str) -> Cluster {
    Cluster {
        discovery: Discovery::LogicalDns {
            endpoints: named(&[name]),
        },
        ..endpoints(0)
    }
}
