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
        let clusters = Clusters::new(Arc::new(testing::registry()), Random::new(1));
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

fn checked(cluster: Cluster, settings: HealthCheck) -> Cluster {
    Cluster {
        health_checks: vec![Arc::new(settings)],
        ..cluster
    }
}

fn named(names: &[&str]) -> Arc<ClusterLoadAssignment> {
    let mut members = locality(0, 0, 0, &vec![1; names.len()]);
    for (endpoint, name) in members.endpoints.iter_mut().zip(names) {
        endpoint.address = Address::Name {
            host: (*name).into(),
            port: 80,
        };
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

#[test]
fn a_static_cluster_is_warm_and_usable_at_once() {
    let mut scripted = Scripted::with(endpoints(2));
    assert!(scripted.is_told_warm());
    assert_eq!(scripted.addresses(), ["10.0.0.1:80", "10.0.0.2:80"]);
    assert!(scripted.pick().is_some_and(|endpoint| endpoint.is_usable()));
    let stats = scripted.handle().state().membership_stats();
    assert_eq!(
        (
            stats.gauge(stat::MEMBERSHIP_TOTAL),
            stats.gauge(stat::MEMBERSHIP_HEALTHY)
        ),
        (2, 2)
    );
}

#[test]
fn what_did_not_change_keeps_its_handle_and_its_table() {
    let mut scripted = Scripted::with(endpoints(2));
    let (handle, table) = (scripted.handle().clone(), scripted.handle().table().clone());
    scripted.events();
    scripted.set(endpoints(2));
    assert!(
        Arc::ptr_eq(&handle, scripted.handle()),
        "the same content in another allocation"
    );
    assert!(Arc::ptr_eq(&table, &scripted.handle().table()));
    let mut other = endpoints(1);
    other.name = "other".into();
    scripted.set(other);
    assert!(Arc::ptr_eq(&handle, scripted.handle()), "a neighbouring cluster");
    assert!(Arc::ptr_eq(&table, &scripted.handle().table()));
}

#[test]
fn new_endpoints_reach_the_same_handle() {
    let mut scripted = Scripted::with(eds());
    assert!(scripted.pick().is_none());
    let handle = scripted.handle().clone();
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1])]);
    assert!(Arc::ptr_eq(&handle, scripted.handle()));
    assert!(
        handle
            .pick(&PickContext::default(), &mut WorkerLb::new(Shard::CONTROL, 1))
            .is_ok()
    );
}

/// Thresholds, neighbours, weights: none of them touches what an endpoint has.
#[test]
fn state_survives_an_update_of_each_kind() {
    let mut cluster = eds();
    cluster.outlier_detection = Some(Arc::new(OutlierDetection::default()));
    let mut scripted = Scripted::with(cluster.clone());
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1, 1])]);
    let endpoint = scripted.endpoint("10.0.0.1:80");
    let request = endpoint
        .try_start_request(scripted.handle().limits(), RoutingPriority::Default)
        .unwrap();
    let connection = endpoint.start_connection();
    endpoint.update_health(HealthFlags::FAILED_OUTLIER_CHECK, HealthFlags::NONE);
    endpoint.count_outcome(Outcome::Response(200));
    let (flags, stats) = (endpoint.health_flags(), endpoint.stats());

    let same = |scripted: &Scripted, what: &str| {
        let now = scripted.endpoint("10.0.0.1:80");
        assert!(Arc::ptr_eq(&now, &endpoint), "{what}");
        assert_eq!((now.health_flags(), now.stats()), (flags, stats), "{what}");
        let breaker = scripted.handle().state().breaker();
        assert_eq!(
            breaker.in_use(Resource::Requests, RoutingPriority::Default),
            1,
            "{what}"
        );
    };
    cluster.circuit_breakers.default.max_requests = 5;
    scripted.set(cluster.clone());
    assert_eq!(scripted.handle().limits().default.max_requests, 5);
    same(&scripted, "a threshold");
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1, 1, 1])]);
    same(&scripted, "a neighbour that comes");
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1])]);
    same(&scripted, "a neighbour that goes");
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[7])]);
    same(&scripted, "its weight");
    scripted.set_endpoints("c", vec![locality(1, 0, 3, &[7])]);
    same(&scripted, "its priority");
    cluster.lb_policy = config::cluster::LbPolicy::Random;
    scripted.set(cluster);
    same(&scripted, "the policy");
    drop((request, connection));
    assert_eq!(endpoint.stats().rq_active, 0);
}

#[test]
fn a_removed_endpoint_is_told_to_its_pools_and_comes_back_as_new() {
    let mut scripted = Scripted::with(eds());
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1, 1])]);
    let endpoint = scripted.endpoint("10.0.0.2:80");
    let mut changes = scripted.handle().state().subscribe();
    endpoint.update_health(HealthFlags::FAILED_OUTLIER_CHECK, HealthFlags::NONE);
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1])]);
    assert!(changes.has_changed());
    assert!(endpoint.is_removed() && endpoint.should_drain() && !endpoint.is_usable());
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1, 1])]);
    assert!(
        Arc::ptr_eq(&endpoint, &scripted.endpoint("10.0.0.2:80")),
        "a pool still held it"
    );
    assert!(endpoint.is_usable() && changes.has_changed());
}

#[test]
fn a_removed_cluster_removes_its_endpoints_and_is_forgotten() {
    let mut scripted = Scripted::with(endpoints(1));
    let endpoint = scripted.endpoint("10.0.0.1:80");
    let mut changes = scripted.handle().state().subscribe();
    scripted.config.clusters.clear();
    scripted.reconcile();
    assert!(endpoint.is_removed() && changes.has_changed());
    assert!(scripted.map.is_empty() && scripted.clusters.view().active().is_empty());
    drop((endpoint, changes));
    scripted.clusters.registry().prune();
    assert!(scripted.clusters.registry().is_empty());
}

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
    cluster.common_lb_config = CommonLbConfig {
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
    cluster.dns = DnsOptions {
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

#[test]
fn overflow_is_counted_and_shown_as_open() {
    let mut cluster = endpoints(1);
    cluster.circuit_breakers.default.max_requests = 1;
    cluster.circuit_breakers.default.max_pending_requests = 0;
    cluster.circuit_breakers.default.max_connections = 1;
    cluster.circuit_breakers.default.track_remaining = true;
    let scripted = Scripted::with(cluster);
    let (handle, shard, priority) = (scripted.handle(), Shard::worker(0), RoutingPriority::Default);
    let endpoint = scripted.endpoint("10.0.0.1:80");
    let request = handle.try_start_request(shard, &endpoint, priority);
    assert!(request.is_some());
    assert!(handle.try_start_request(shard, &endpoint, priority).is_none());
    assert!(handle.try_acquire_pending(shard, priority).is_none());
    let _first = handle.try_acquire_connection(shard, priority, false).unwrap();
    assert!(handle.try_acquire_connection(shard, priority, false).is_none());
    assert!(handle.try_acquire_connection(shard, priority, true).is_some());
    let stats = handle.stats();
    use telemetry::stats::{cluster, cluster_circuit_breakers as breakers};
    assert_eq!(stats.counter(cluster::UPSTREAM_RQ_ACTIVE_OVERFLOW), 1);
    assert_eq!(stats.counter(cluster::UPSTREAM_RQ_PENDING_OVERFLOW), 1);
    assert_eq!(stats.counter(cluster::UPSTREAM_CX_OVERFLOW), 2);

    let view = scripted.clusters.view();
    let gauges = handle.state().breaker_stats();
    view.refresh_gauges();
    assert_eq!(
        (
            gauges.gauge(breakers::DEFAULT_RQ_OPEN),
            gauges.gauge(breakers::DEFAULT_REMAINING_RQ)
        ),
        (1, 0)
    );
    drop(request);
    view.refresh_gauges();
    assert_eq!(
        (
            gauges.gauge(breakers::DEFAULT_RQ_OPEN),
            gauges.gauge(breakers::DEFAULT_REMAINING_RQ)
        ),
        (0, 1)
    );
}

#[test]
fn the_listing_has_every_endpoint_with_its_state() {
    let mut scripted = Scripted::with(testing::cluster(
        "c",
        vec![locality(0, 0, 0, &[3]), locality(1, 1, 0, &[1])],
    ));
    let mut other = endpoints(1);
    other.name = "b".into();
    scripted.set(other);
    scripted
        .endpoint("10.0.1.1:80")
        .update_health(HealthFlags::FAILED_OUTLIER_CHECK, HealthFlags::NONE);
    let listing = scripted.clusters.view().listing();
    let names: Vec<&str> = listing.clusters.iter().map(|cluster| &*cluster.name).collect();
    assert_eq!(names, ["b", "c"]);
    let shown: Vec<String> = listing.clusters[1]
        .endpoints
        .iter()
        .map(|e| {
            format!(
                "{} {} {} {} {}",
                e.address, e.health_flags, e.weight, e.priority, e.locality.zone
            )
        })
        .collect();
    assert_eq!(
        shown,
        ["10.0.0.1:80 healthy 3 0 0", "10.0.1.1:80 /failed_outlier_check 1 1 1"]
    );
}
