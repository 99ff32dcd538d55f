//! What configuration makes of members and their state.

use config::cluster::TransportSocketMatch;
use config::listener::TransportSocket;
use config::metadata::{Metadata, Value};
use config::secret::{SdsSecretConfig, Secret};
use tls::{
    CertificateValidationContext, Certificates, CommonTlsContext, Parameters, SecretConfig, UpstreamTlsContext,
    Validation,
};

use super::*;
use crate::transport::Transport;

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
    Arc::make_mut(&mut cluster.circuit_breakers).default.max_requests = 5;
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
    let generation = scripted.clusters.registry().generation();
    endpoint.update_health(HealthFlags::FAILED_OUTLIER_CHECK, HealthFlags::NONE);
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1])]);
    assert!(changes.has_changed());
    assert_ne!(scripted.clusters.registry().generation(), generation);
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

/// `reconcile` looks only at what changed: everything that can change a cluster has to be seen to have changed.
#[test]
fn endpoints_that_come_go_and_move_to_another_name_are_noticed() {
    let mut scripted = Scripted::with(eds());
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1])]);
    assert_eq!(scripted.addresses(), ["10.0.0.1:80"]);
    scripted.set_endpoints("elsewhere", vec![locality(0, 7, 0, &[1])]);
    let table = scripted.handle().table().clone();
    assert!(Arc::ptr_eq(&table, &scripted.handle().table()), "not its own");
    let mut moved = eds();
    let source = Arc::new(ConfigSource::ads());
    moved.discovery = Discovery::Eds {
        service_name: "elsewhere".into(),
        source,
    };
    scripted.set(moved);
    assert_eq!(scripted.addresses(), ["10.0.7.1:80"]);
    scripted.set_endpoints("c", vec![locality(0, 0, 0, &[1, 1])]);
    assert_eq!(scripted.addresses(), ["10.0.7.1:80"], "no longer its own");
    scripted.config.endpoints.remove("elsewhere");
    scripted.reconcile();
    assert!(scripted.addresses().is_empty());
}

#[test]
fn nothing_changed_gives_the_very_same_map() {
    let mut scripted = Scripted::with(endpoints(1));
    let before = scripted.map.clone();
    scripted.reconcile();
    assert!(Arc::ptr_eq(&before, &scripted.map));
}

#[test]
fn a_new_secret_makes_a_new_handle_with_the_same_members() {
    let mut scripted = Scripted::with(tls_with_secret("identity"));
    let (before, endpoint) = (scripted.handle().clone(), scripted.endpoint("10.0.0.1:80"));
    assert!(
        matches!(before.transport(&endpoint), Transport::NotReady { .. }),
        "never plaintext"
    );
    let secret = |pem: &str| {
        let context = CertificateValidationContext {
            verify_certificate_spki: vec![[pem.len() as u8; 32]],
            ..CertificateValidationContext::default()
        };
        let config = Arc::new(SecretConfig::ValidationContext(Box::new(context)));
        Arc::new(Secret {
            name: "identity".into(),
            config,
            fingerprint: Fingerprint::of(pem.as_bytes()),
        })
    };
    scripted.config.secrets.insert("identity".into(), secret("one"));
    scripted.reconcile();
    assert!(!Arc::ptr_eq(&before, scripted.handle()));
    assert!(matches!(scripted.handle().transport(&endpoint), Transport::Tls(_)));
    assert!(Arc::ptr_eq(&endpoint, &scripted.endpoint("10.0.0.1:80")));
    let with_one = scripted.handle().clone();
    scripted.config.secrets.insert("another".into(), secret("other"));
    scripted.reconcile();
    assert!(Arc::ptr_eq(&with_one, scripted.handle()), "not its own");
}

fn tls_with_secret(name: &str) -> Cluster {
    let sds = SdsSecretConfig {
        name: name.into(),
        sds_config: None,
    };
    let settings = UpstreamTlsContext {
        common: CommonTlsContext {
            parameters: Parameters::default(),
            certificates: Certificates::Inline(Vec::new()),
            validation: Validation::Sds(sds),
            alpn_protocols: Vec::new(),
        },
        sni: None,
        auto_host_sni: false,
        auto_sni_san_validation: false,
        max_session_keys: 1,
    };
    let socket = TransportSocket {
        name: "tls".into(),
        config: Arc::new(settings),
        fingerprint: Fingerprint::of(name.as_bytes()),
    };
    Cluster {
        transport_socket: Some(socket),
        ..endpoints(1)
    }
}

/// The same address over TLS is another endpoint: other connections, other health.
#[test]
fn endpoints_choose_their_transport_by_metadata() {
    let mut cluster = tls_with_secret("identity");
    let entry = |name: &str, value: &str, transport_socket| TransportSocketMatch {
        name: name.into(),
        criteria: [("tlsMode".into(), Value::String(value.into()))].into(),
        transport_socket,
    };
    cluster.transport_socket_matches = vec![
        entry("mesh", "istio", cluster.transport_socket.take()),
        entry("none", "disabled", None),
    ];
    let mut members = locality(0, 0, 0, &[1, 1]);
    let metadata = |value: &str| {
        let fields = [("tlsMode".into(), Value::String(value.into()))].into();
        let filter_metadata = [(TransportSocketMatch::METADATA.into(), fields)].into();
        Metadata { filter_metadata }
    };
    members.endpoints[0].details_mut().metadata = metadata("istio");
    cluster.discovery = Discovery::Static {
        endpoints: testing::assignment(vec![members.clone()]),
    };
    let mut scripted = Scripted::with(cluster.clone());
    let secured = scripted.endpoint("10.0.0.1:80");
    assert_eq!(secured.transport(), "mesh");
    assert!(matches!(
        scripted.handle().transport(&secured),
        Transport::NotReady { .. }
    ));
    let plain = scripted.endpoint("10.0.0.2:80");
    assert!(matches!(scripted.handle().transport(&plain), Transport::RawBuffer));

    members.endpoints[0].details_mut().metadata = metadata("disabled");
    cluster.discovery = Discovery::Static {
        endpoints: testing::assignment(vec![members]),
    };
    scripted.set(cluster);
    let now_plain = scripted.endpoint("10.0.0.1:80");
    assert!(!Arc::ptr_eq(&secured, &now_plain) && secured.is_removed());
    assert!(matches!(scripted.handle().transport(&now_plain), Transport::RawBuffer));
}
