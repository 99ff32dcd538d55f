//! The proxy as the admin endpoint sees it: views that the control thread keeps current.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use config::bootstrap::RuntimeLayer;
use config::cluster::Discovery;
use config::{Config, WithoutEffect};
use proxy::server::{ConnectionCount, ListenerStatus};
use telemetry::stats::{Block, Query, Registry, Shard, server};
use tls::ServerContext;
use upstream::clusters::{ClusterListing, ClustersView, EndpointListing};
use upstream::endpoint::EndpointAddress;
use upstream::health_flags::HealthFlags;
use upstream::transport::Transport;
use xds_api::envoy::admin::v3 as admin;
use xds_api::envoy::config::cluster::v3::{CircuitBreakers, circuit_breakers};
use xds_api::envoy::config::core::v3::{self as core, HealthStatus, Node};
use xds_api::google::protobuf::{Any, UInt32Value};
use xds_api::prost::Message as _;

use crate::admin::{AdminSource, DrainRequest, Ineffective, ServerState, memory};
use crate::lifecycle::{self, Command, Lifecycle};
use crate::{certificates, config_dump, init_dump, version};

/// What the admin endpoint reads, and where its commands go.
#[derive(Debug)]
pub(crate) struct ProxyView {
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) options: admin::CommandLineOptions,
    pub(crate) node: Node,
    /// The bootstrap message, encoded: it is shown now and then and would take much more room decoded.
    pub(crate) bootstrap: Box<[u8]>,
    /// What of the bootstrap has no effect.
    pub(crate) without_effect: Box<[WithoutEffect]>,
    pub(crate) started: SystemTime,
    pub(crate) stats: Arc<Registry>,
    pub(crate) server_stats: Arc<Block>,
    /// Whether histograms take in what was recorded when they are asked for, and not at an interval.
    pub(crate) flush_on_admin: bool,
    pub(crate) clusters: ClustersView,
    pub(crate) static_clusters: HashSet<Arc<str>>,
    pub(crate) connections: ConnectionCount,
    pub(crate) xds: xds::Handle,
    pub(crate) layers: Vec<RuntimeLayer>,
    /// The configuration in force.
    pub(crate) config: ArcSwap<Config>,
    /// What is listened on.
    pub(crate) listeners: ArcSwap<Vec<ListenerStatus>>,
    /// What the listeners present and trust.
    pub(crate) tls_contexts: ArcSwap<Vec<Arc<ServerContext>>>,
}

impl ProxyView {
    /// Brings the statistics of the process up to date.
    pub(crate) fn refresh_stats(&self) {
        let memory = memory();
        let gauges = [
            (server::UPTIME, self.lifecycle.uptime().as_secs()),
            (server::LIVE, u64::from(self.lifecycle.state() == ServerState::Live)),
            (server::STATE, lifecycle::number(self.lifecycle.state()).into()),
            (server::TOTAL_CONNECTIONS, self.connections.current()),
            (server::DAYS_UNTIL_FIRST_CERT_EXPIRING, self.days_until_first_expiry()),
            (server::MEMORY_ALLOCATED, memory.allocated),
            (server::MEMORY_HEAP_SIZE, memory.heap_size),
            (server::MEMORY_PHYSICAL_SIZE, memory.total_physical_bytes),
        ];
        for (gauge, value) in gauges {
            self.server_stats.set(Shard::CONTROL, gauge, value);
        }
        self.clusters.refresh_gauges();
    }
}

impl ProxyView {
    /// Days until the first certificate in use ends; Envoy's number for never where there is none.
    fn days_until_first_expiry(&self) -> u64 {
        let shown = self.certificates();
        let details = shown
            .iter()
            .flat_map(|certificate| certificate.cert_chain.iter().chain(&certificate.ca_cert));
        details
            .map(|details| details.days_until_expiration)
            .min()
            .unwrap_or(u32::MAX.into())
    }
}

impl AdminSource for ProxyView {
    fn state(&self) -> ServerState {
        self.lifecycle.state()
    }

    fn uptime(&self) -> Duration {
        self.lifecycle.uptime()
    }

    fn node(&self) -> Node {
        self.node.clone()
    }

    fn command_line_options(&self) -> admin::CommandLineOptions {
        self.options.clone()
    }

    fn stats(&self) -> &Registry {
        &self.stats
    }

    fn render_stats(&self, query: &Query) -> String {
        self.refresh_stats();
        if self.flush_on_admin {
            self.stats.flush();
        }
        self.stats.render(query)
    }

    fn clusters(&self) -> Vec<admin::ClusterStatus> {
        let config = self.config.load();
        let listing = self.clusters.listing();
        listing
            .clusters
            .iter()
            .map(|cluster| self.cluster_status(&config, cluster))
            .collect()
    }

    fn listeners(&self) -> Vec<admin::ListenerStatus> {
        let listeners = self.listeners.load();
        let status = |listener: &ListenerStatus| {
            let mut addresses = listener.addresses.iter().map(socket_address);
            admin::ListenerStatus {
                name: listener.name.to_string(),
                local_address: addresses.next(),
                additional_local_addresses: addresses.collect(),
            }
        };
        listeners.iter().map(status).collect()
    }

    fn config_dump(&self, include_eds: bool) -> Vec<Any> {
        // The bytes are our own encoding.
        let mut bootstrap =
            xds_api::envoy::config::bootstrap::v3::Bootstrap::decode(&*self.bootstrap).unwrap_or_default();
        bootstrap.node = Some(self.node.clone());
        config_dump::sections(&bootstrap, self.started, &self.xds.status(), include_eds)
    }

    fn without_effect(&self) -> Vec<Ineffective> {
        let field = |resource: &str, note: &WithoutEffect| Ineffective {
            resource: resource.to_owned(),
            path: note.path.to_string(),
            reason: note.reason,
        };
        let mut fields: Vec<_> = self
            .without_effect
            .iter()
            .map(|note| field("bootstrap", note))
            .collect();
        for status in &self.xds.status().resources {
            let resource = status.key.to_string();
            let notes = status.accepted.iter().flat_map(|accepted| &*accepted.without_effect);
            fields.extend(notes.map(|note| field(&resource, note)));
        }
        fields
    }

    fn certificates(&self) -> Vec<admin::Certificate> {
        let mut seen = HashSet::new();
        let mut certificates = Vec::new();
        for context in self.tls_contexts.load().iter() {
            for chain in context.certificate_chains() {
                certificates.push(certificates::shown(context.authorities(), chain));
            }
        }
        for cluster in self.clusters.active().values() {
            for host in cluster.table().hosts().iter() {
                if let Transport::Tls(context) = cluster.transport(&host.state)
                    && seen.insert(Arc::as_ptr(context))
                {
                    certificates.push(certificates::shown(context.authorities(), context.certificate_chain()));
                }
            }
        }
        certificates
    }

    fn unready_targets(&self) -> Vec<(&'static str, admin::UnreadyTargetsDumps)> {
        init_dump::unready_targets(&self.xds.status())
    }

    fn runtime_layers(&self) -> &[RuntimeLayer] {
        &self.layers
    }

    fn set_health_check_failed(&self, failed: bool) {
        self.lifecycle.set_health_check_failed(failed);
    }

    fn drain_listeners(&self, request: DrainRequest) {
        self.lifecycle.command(Command::Drain(request));
    }

    fn quit(&self) {
        self.lifecycle.command(Command::Quit);
    }

    fn xds_client(&self) -> Option<xds::Handle> {
        Some(self.xds.clone())
    }

    fn reopen_logs(&self) {
        self.lifecycle.command(Command::ReopenLogs);
    }
}

impl ProxyView {
    fn cluster_status(&self, config: &Config, listing: &ClusterListing) -> admin::ClusterStatus {
        let configured = config.clusters.get(&listing.name);
        let eds_service_name = match configured.map(|cluster| &cluster.discovery) {
            Some(Discovery::Eds { service_name, .. }) => service_name.to_string(),
            _ => String::new(),
        };
        let limit = |value: u32| Some(UInt32Value { value });
        let breakers = &listing.circuit_breakers;
        let thresholds =
            [(0, &breakers.default), (1, &breakers.high)].map(|(priority, thresholds)| circuit_breakers::Thresholds {
                priority,
                max_connections: limit(thresholds.max_connections),
                max_pending_requests: limit(thresholds.max_pending_requests),
                max_requests: limit(thresholds.max_requests),
                max_retries: limit(thresholds.max_retries),
                ..circuit_breakers::Thresholds::default()
            });
        admin::ClusterStatus {
            name: listing.name.to_string(),
            added_via_api: !self.static_clusters.contains(&listing.name),
            host_statuses: listing.endpoints.iter().map(host_status).collect(),
            circuit_breakers: Some(CircuitBreakers {
                thresholds: thresholds.into(),
                ..CircuitBreakers::default()
            }),
            observability_name: configured
                .map_or(&listing.name, |cluster| cluster.stat_name())
                .to_string(),
            eds_service_name,
            ..admin::ClusterStatus::default()
        }
    }
}

fn host_status(endpoint: &EndpointListing) -> admin::HostStatus {
    let flags = endpoint.health_flags;
    let has = |flag: HealthFlags| flags.contains(flag);
    let eds = if has(HealthFlags::EDS_STATUS_DRAINING) {
        HealthStatus::Draining
    } else if has(HealthFlags::FAILED_EDS_HEALTH) {
        HealthStatus::Unhealthy
    } else if has(HealthFlags::DEGRADED_EDS_HEALTH) {
        HealthStatus::Degraded
    } else {
        HealthStatus::Healthy
    };
    let mut stats: Vec<admin::SimpleMetric> = endpoint
        .stats
        .named()
        .into_iter()
        .map(|(name, value)| admin::SimpleMetric {
            r#type: i32::from(name.ends_with("_active")),
            value,
            name: name.to_owned(),
        })
        .collect();
    // As Envoy: counters before gauges.
    stats.sort_by_key(|metric| metric.r#type);
    admin::HostStatus {
        address: Some(socket_address(&endpoint.address)),
        stats,
        health_status: Some(admin::HostHealthStatus {
            failed_active_health_check: has(HealthFlags::FAILED_ACTIVE_HEALTH_CHECK),
            failed_outlier_check: has(HealthFlags::FAILED_OUTLIER_CHECK),
            failed_active_degraded_check: has(HealthFlags::DEGRADED_ACTIVE_HEALTH_CHECK),
            pending_dynamic_removal: has(HealthFlags::PENDING_DYNAMIC_REMOVAL),
            pending_active_hc: has(HealthFlags::PENDING_ACTIVE_HEALTH_CHECK),
            excluded_via_immediate_hc_fail: has(HealthFlags::EXCLUDED_BY_IMMEDIATE_HEALTH_CHECK_FAIL),
            active_hc_timeout: has(HealthFlags::ACTIVE_HEALTH_CHECK_TIMEOUT),
            eds_health_status: eds.into(),
            ..admin::HostHealthStatus::default()
        }),
        weight: endpoint.weight,
        hostname: endpoint.hostname.to_string(),
        priority: endpoint.priority,
        locality: Some(core::Locality {
            region: endpoint.locality.region.to_string(),
            zone: endpoint.locality.zone.to_string(),
            sub_zone: endpoint.locality.sub_zone.to_string(),
        }),
        ..admin::HostStatus::default()
    }
}

fn socket_address(address: &EndpointAddress) -> core::Address {
    use core::address::Address as Kind;
    let address = match address {
        EndpointAddress::Socket(address) => Kind::SocketAddress(core::SocketAddress {
            address: address.ip().to_string(),
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(address.port().into())),
            ..core::SocketAddress::default()
        }),
        EndpointAddress::Pipe(path) => Kind::Pipe(core::Pipe {
            path: path.to_string(),
            mode: 0,
        }),
    };
    core::Address { address: Some(address) }
}

/// The node as management servers are told: the bootstrap's, and who we are.
pub(crate) fn node(mut node: Node) -> Node {
    use core::node::UserAgentVersionType;
    if node.user_agent_name.is_empty() {
        node.user_agent_name = "remora".to_owned();
    }
    if node.user_agent_version_type.is_none() {
        let (major_number, minor_number, patch) = version::numbers();
        let version = xds_api::envoy::r#type::v3::SemanticVersion {
            major_number,
            minor_number,
            patch,
        };
        node.user_agent_version_type = Some(UserAgentVersionType::UserAgentBuildVersion(core::BuildVersion {
            version: Some(version),
            metadata: None,
        }));
    }
    node
}
