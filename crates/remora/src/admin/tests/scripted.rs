//! A proxy as the admin endpoint may find it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use config::bootstrap::RuntimeLayer;
use config::metadata::Value;
use telemetry::stats::Registry;
use xds_api::envoy::admin::v3 as admin;
use xds_api::envoy::config::cluster::v3::{CircuitBreakers, Cluster, circuit_breakers};
use xds_api::envoy::config::core::v3::{self as core, Node};
use xds_api::google::protobuf::{Any, UInt32Value};
use xds_api::pack;

use super::super::*;

pub(super) struct Scripted {
    pub(super) state: Mutex<ServerState>,
    pub(super) serves_last_good: bool,
    stats: Arc<Registry>,
    layers: Vec<RuntimeLayer>,
    asked: Mutex<Vec<String>>,
}

impl Scripted {
    pub(super) fn new() -> Self {
        let nested = [(Arc::from("b"), Value::Number(5.0))].into_iter().collect();
        let values = [(Arc::from("a"), Value::Struct(nested))].into_iter().collect();
        Self {
            state: Mutex::new(ServerState::Live),
            serves_last_good: false,
            stats: Registry::new(1),
            layers: vec![RuntimeLayer {
                name: "static".into(),
                values: Some(values),
            }],
            asked: Mutex::default(),
        }
    }

    fn note(&self, what: String) {
        self.asked.lock().expect("no panic").push(what);
    }

    /// What it was asked to do.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn socket(port: u32) -> Option<core::Address> {
    Some(core::Address {
        address: Some(core::address::Address::SocketAddress(core::SocketAddress {
            address: "127.0.0.1".into(),
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port)),
            ..core::SocketAddress::default()
        })),
    })
}

impl AdminSource for Scripted {
    fn state(&self) -> ServerState {
        *self.state.lock().expect("no panic")
    }

    fn serves_last_good(&self) -> bool {
        self.serves_last_good
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(2900)
    }

    fn node(&self) -> Node {
        Node {
            id: "sidecar".into(),
            cluster: "greeter".into(),
            ..Node::default()
        }
    }

    fn command_line_options(&self) -> admin::CommandLineOptions {
        admin::CommandLineOptions {
            concurrency: 2,
            ..admin::CommandLineOptions::default()
        }
    }

    fn stats(&self) -> &Registry {
        &self.stats
    }

    fn clusters(&self) -> Vec<admin::ClusterStatus> {
        let limit = |value| Some(UInt32Value { value });
        let thresholds = |priority| circuit_breakers::Thresholds {
            priority,
            max_connections: limit(1024),
            max_pending_requests: limit(1024),
            max_requests: limit(1024),
            max_retries: limit(3),
            ..circuit_breakers::Thresholds::default()
        };
        let metric = |name: &str, value| admin::SimpleMetric {
            name: name.into(),
            value,
            r#type: 0,
        };
        vec![admin::ClusterStatus {
            name: "greeter".into(),
            observability_name: "greeter".into(),
            circuit_breakers: Some(CircuitBreakers {
                thresholds: vec![thresholds(0), thresholds(1)],
                ..CircuitBreakers::default()
            }),
            host_statuses: vec![admin::HostStatus {
                address: socket(18081),
                stats: vec![metric("rq_total", 7), metric("cx_total", 2)],
                health_status: Some(admin::HostHealthStatus {
                    failed_active_health_check: true,
                    active_hc_timeout: true,
                    eds_health_status: 1,
                    ..admin::HostHealthStatus::default()
                }),
                weight: 1,
                hostname: "foo".into(),
                locality: Some(core::Locality {
                    region: "r".into(),
                    zone: "z".into(),
                    sub_zone: String::new(),
                }),
                ..admin::HostStatus::default()
            }],
            ..admin::ClusterStatus::default()
        }]
    }

    fn listeners(&self) -> Vec<admin::ListenerStatus> {
        vec![admin::ListenerStatus {
            name: "ingress".into(),
            local_address: socket(18080),
            additional_local_addresses: Vec::new(),
        }]
    }

    fn config_dump(&self, include_eds: bool) -> Vec<Any> {
        let cluster = |name: &str| admin::clusters_config_dump::StaticCluster {
            cluster: Some(pack(&Cluster {
                name: name.into(),
                alt_stat_name: "stat".into(),
                ..Cluster::default()
            })),
            last_updated: None,
        };
        let bootstrap = xds_api::envoy::config::bootstrap::v3::Bootstrap {
            node: Some(self.node()),
            ..Default::default()
        };
        let mut sections = vec![
            pack(&admin::BootstrapConfigDump {
                bootstrap: Some(bootstrap),
                last_updated: None,
            }),
            pack(&admin::ClustersConfigDump {
                version_info: "7".into(),
                static_clusters: vec![cluster("greeter"), cluster("other")],
                ..admin::ClustersConfigDump::default()
            }),
        ];
        if include_eds {
            sections.push(pack(&admin::EndpointsConfigDump::default()));
        }
        sections
    }

    fn without_effect(&self) -> Vec<Ineffective> {
        vec![Ineffective {
            resource: "bootstrap".into(),
            path: "watchdogs".into(),
            reason: "none watches",
        }]
    }

    fn certificates(&self) -> Vec<admin::Certificate> {
        Vec::new()
    }

    fn unready_targets(&self) -> Vec<(&'static str, admin::UnreadyTargetsDumps)> {
        let dump = admin::unready_targets_dumps::UnreadyTargetsDump {
            name: "ingress".into(),
            target_names: vec!["RouteConfiguration \"local\"".into()],
        };
        vec![(
            "listener",
            admin::UnreadyTargetsDumps {
                unready_targets_dumps: vec![dump],
            },
        )]
    }

    fn runtime_layers(&self) -> &[RuntimeLayer] {
        &self.layers
    }

    fn set_health_check_failed(&self, failed: bool) {
        self.note(format!("health check failed: {failed}"));
    }

    fn drain_listeners(&self, request: DrainRequest) {
        self.note(format!("{request:?}"));
    }

    fn quit(&self) {
        self.note("quit".into());
    }

    fn reopen_logs(&self) {
        self.note("reopen logs".into());
    }
}
