//! The sections of `/config_dump`, from the bootstrap and from what the xDS client knows.

use std::time::SystemTime;

use config::ResourceType;
use xds::status::{AcceptedStatus, ClientStatus, ErrorState, Origin, ResourceStatus, Status};
use xds_api::envoy::admin::v3 as admin;
use xds_api::envoy::config::bootstrap::v3::Bootstrap;
use xds_api::envoy::config::core::v3::HealthStatus;
use xds_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
use xds_api::envoy::config::listener::v3::Listener;
use xds_api::envoy::config::listener::v3::filter::ConfigType;
use xds_api::envoy::config::route::v3::RouteConfiguration;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager::RouteSpecifier,
};
use xds_api::google::protobuf::{Any, Timestamp, UInt32Value};
use xds_api::prost::{Message, Name};
use xds_api::{pack, type_name};

/// All sections in Envoy's order.
pub(crate) fn sections(bootstrap: &Bootstrap, started: SystemTime, status: &Status, include_eds: bool) -> Vec<Any> {
    let dump = Dump {
        bootstrap,
        started: Some(timestamp(started)),
        status,
    };
    let mut sections = vec![
        pack(&admin::BootstrapConfigDump {
            bootstrap: Some(bootstrap.clone()),
            last_updated: dump.started,
        }),
        pack(&dump.clusters()),
    ];
    if include_eds {
        sections.push(pack(&dump.endpoints()));
    }
    sections.push(pack(&dump.listeners()));
    sections.push(pack(&admin::ScopedRoutesConfigDump::default()));
    sections.push(pack(&dump.routes()));
    sections.push(pack(&dump.secrets()));
    sections
}

struct Dump<'a> {
    bootstrap: &'a Bootstrap,
    started: Option<Timestamp>,
    status: &'a Status,
}

impl Dump<'_> {
    /// The dynamic resources of a type, sorted by name.
    fn dynamic(&self, resource_type: ResourceType) -> Vec<&ResourceStatus> {
        let resources = self.status.resources.iter();
        let mut dynamic: Vec<_> = resources
            .filter(|status| status.origin == Origin::Dynamic && status.key.resource_type == resource_type)
            .collect();
        dynamic.sort_by(|a, b| a.key.name.cmp(&b.key.name));
        dynamic
    }

    /// The version of the last response of a type.
    fn version(&self, resource_type: ResourceType) -> String {
        let mut versions = self.status.streams.iter().flat_map(|stream| &stream.versions);
        versions
            .find(|(other, _)| *other == resource_type)
            .map(|(_, version)| version.clone())
            .unwrap_or_default()
    }

    fn clusters(&self) -> admin::ClustersConfigDump {
        let resources = self.bootstrap.static_resources.iter();
        let static_clusters = resources.flat_map(|resources| &resources.clusters).map(|cluster| {
            admin::clusters_config_dump::StaticCluster {
                cluster: Some(pack(cluster)),
                last_updated: self.started,
            }
        });
        let (active, warming): (Vec<_>, Vec<_>) = self
            .dynamic(ResourceType::Cluster)
            .into_iter()
            .partition(|status| status.active);
        let dynamic = |status: &ResourceStatus| admin::clusters_config_dump::DynamicCluster {
            version_info: version_of(status),
            cluster: value_of(status),
            last_updated: updated(status),
            error_state: error_state(status),
            client_status: client_status(status).into(),
        };
        admin::ClustersConfigDump {
            version_info: self.version(ResourceType::Cluster),
            static_clusters: static_clusters.collect(),
            dynamic_active_clusters: active.into_iter().map(dynamic).collect(),
            dynamic_warming_clusters: warming.into_iter().map(dynamic).collect(),
        }
    }

    fn endpoints(&self) -> admin::EndpointsConfigDump {
        let resources = self.bootstrap.static_resources.iter();
        let assignments = resources
            .flat_map(|resources| &resources.clusters)
            .filter_map(|cluster| cluster.load_assignment.as_ref());
        let static_endpoints = assignments.map(|assignment| admin::endpoints_config_dump::StaticEndpointConfig {
            endpoint_config: Some(pack(&as_in_force(assignment.clone()))),
            // Envoy says neither here nor for static secrets since when.
            last_updated: None,
        });
        let dynamic = |status: &ResourceStatus| admin::endpoints_config_dump::DynamicEndpointConfig {
            version_info: version_of(status),
            endpoint_config: value_of(status),
            last_updated: updated(status),
            error_state: error_state(status),
            client_status: client_status(status).into(),
        };
        let endpoints = self.dynamic(ResourceType::ClusterLoadAssignment);
        admin::EndpointsConfigDump {
            static_endpoint_configs: static_endpoints.collect(),
            dynamic_endpoint_configs: endpoints.into_iter().map(dynamic).collect(),
        }
    }

    fn listeners(&self) -> admin::ListenersConfigDump {
        use admin::listeners_config_dump::{DynamicListener, DynamicListenerState, StaticListener};
        let resources = self.bootstrap.static_resources.iter();
        let static_listeners = resources
            .flat_map(|resources| &resources.listeners)
            .map(|listener| StaticListener {
                listener: Some(pack(listener)),
                last_updated: self.started,
            });
        let dynamic = |status: &ResourceStatus| {
            let state = status.accepted.as_ref().map(|_| DynamicListenerState {
                version_info: version_of(status),
                listener: value_of(status),
                last_updated: updated(status),
            });
            let (active_state, warming_state) = if status.active { (state, None) } else { (None, state) };
            DynamicListener {
                name: status.key.name.to_string(),
                active_state,
                warming_state,
                draining_state: None,
                error_state: error_state(status),
                client_status: client_status(status).into(),
            }
        };
        admin::ListenersConfigDump {
            version_info: self.version(ResourceType::Listener),
            static_listeners: static_listeners.collect(),
            dynamic_listeners: self.dynamic(ResourceType::Listener).into_iter().map(dynamic).collect(),
        }
    }

    fn routes(&self) -> admin::RoutesConfigDump {
        use admin::routes_config_dump::{DynamicRouteConfig, StaticRouteConfig};
        let mut inline = Vec::new();
        for listener in self
            .bootstrap
            .static_resources
            .iter()
            .flat_map(|resources| &resources.listeners)
        {
            let tables = inline_tables(listener);
            inline.extend(tables.into_iter().map(|table| (table, self.started)));
        }
        for status in self.dynamic(ResourceType::Listener) {
            if let Some(accepted) = &status.accepted
                && let Ok(listener) = Listener::decode(&*accepted.encoded)
            {
                let tables = inline_tables(&listener);
                inline.extend(tables.into_iter().map(|table| (table, updated(status))));
            }
        }
        let static_routes = inline.into_iter().map(|(table, last_updated)| StaticRouteConfig {
            route_config: Some(pack(&table)),
            last_updated,
        });
        let dynamic = |status: &ResourceStatus| DynamicRouteConfig {
            version_info: version_of(status),
            route_config: value_of(status),
            last_updated: updated(status),
            error_state: error_state(status),
            client_status: client_status(status).into(),
        };
        admin::RoutesConfigDump {
            static_route_configs: static_routes.collect(),
            dynamic_route_configs: self
                .dynamic(ResourceType::RouteConfiguration)
                .into_iter()
                .map(dynamic)
                .collect(),
        }
    }

    fn secrets(&self) -> admin::SecretsConfigDump {
        use admin::secrets_config_dump::{DynamicSecret, StaticSecret};
        let resources = self.bootstrap.static_resources.iter();
        let static_secrets = resources
            .flat_map(|resources| &resources.secrets)
            .map(|secret| StaticSecret {
                name: secret.name.clone(),
                last_updated: None,
                secret: Some(pack(secret)),
            });
        let (active, warming): (Vec<_>, Vec<_>) = self
            .dynamic(ResourceType::Secret)
            .into_iter()
            .partition(|status| status.accepted.is_some());
        let dynamic = |status: &ResourceStatus| DynamicSecret {
            name: status.key.name.to_string(),
            version_info: version_of(status),
            last_updated: updated(status),
            secret: value_of(status),
            error_state: error_state(status),
            client_status: client_status(status).into(),
        };
        admin::SecretsConfigDump {
            static_secrets: static_secrets.collect(),
            dynamic_active_secrets: active.into_iter().map(dynamic).collect(),
            dynamic_warming_secrets: warming.into_iter().map(dynamic).collect(),
        }
    }
}

/// The route tables written in a listener's connection managers.
fn inline_tables(listener: &Listener) -> Vec<RouteConfiguration> {
    let chains = listener.filter_chains.iter().chain(&listener.default_filter_chain);
    let configs = chains
        .flat_map(|chain| &chain.filters)
        .filter_map(|filter| match &filter.config_type {
            Some(ConfigType::TypedConfig(any)) if type_name(&any.type_url) == HttpConnectionManager::full_name() => {
                HttpConnectionManager::decode(any.value.as_slice()).ok()
            }
            _ => None,
        });
    configs
        .filter_map(|manager| match manager.route_specifier {
            Some(RouteSpecifier::RouteConfig(table)) => Some(table),
            _ => None,
        })
        .collect()
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        // To the millisecond, as Envoy.
        nanos: i32::try_from(since.subsec_millis() * 1_000_000).unwrap_or(0),
    }
}

fn accepted(status: &ResourceStatus) -> Option<&AcceptedStatus> {
    status.accepted.as_ref()
}

fn version_of(status: &ResourceStatus) -> String {
    accepted(status)
        .map(|accepted| accepted.version.to_string())
        .unwrap_or_default()
}

fn value_of(status: &ResourceStatus) -> Option<Any> {
    let type_url = status.key.resource_type.type_url().to_owned();
    accepted(status).map(|accepted| Any {
        type_url,
        value: accepted.encoded.to_vec(),
    })
}

fn updated(status: &ResourceStatus) -> Option<Timestamp> {
    accepted(status).map(|accepted| timestamp(accepted.last_updated))
}

/// With the name of the resource: where there is no value, nothing else in the dump of a cluster, table or secret has it.
fn error_state(status: &ResourceStatus) -> Option<admin::UpdateFailureState> {
    status
        .error
        .as_ref()
        .map(|error: &ErrorState| admin::UpdateFailureState {
            failed_configuration: None,
            last_update_attempt: Some(timestamp(error.last_update_attempt)),
            details: format!("{}: {}", status.key, error.details),
            version_info: error.version.to_string(),
        })
}

fn client_status(status: &ResourceStatus) -> admin::ClientResourceStatus {
    match status.client_status {
        ClientStatus::Requested => admin::ClientResourceStatus::Requested,
        ClientStatus::DoesNotExist => admin::ClientResourceStatus::DoesNotExist,
        ClientStatus::Acked => admin::ClientResourceStatus::Acked,
        ClientStatus::Nacked => admin::ClientResourceStatus::Nacked,
        ClientStatus::Timeout => admin::ClientResourceStatus::Timeout,
        ClientStatus::ReceivedError => admin::ClientResourceStatus::ReceivedError,
    }
}
/// A static assignment as Envoy shows it: with what applies where nothing was said.
fn as_in_force(mut assignment: ClusterLoadAssignment) -> ClusterLoadAssignment {
    use xds_api::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
    let policy = assignment.policy.get_or_insert_default();
    policy.overprovisioning_factor.get_or_insert(UInt32Value {
        value: OVERPROVISIONING,
    });
    for locality in &mut assignment.endpoints {
        locality.locality.get_or_insert_default();
        locality.load_balancing_weight.get_or_insert_default();
        for endpoint in &mut locality.lb_endpoints {
            endpoint.load_balancing_weight.get_or_insert(UInt32Value { value: 1 });
            if endpoint.health_status == i32::from(HealthStatus::Unknown) {
                endpoint.health_status = HealthStatus::Healthy.into();
            }
            if let Some(HostIdentifier::Endpoint(endpoint)) = &mut endpoint.host_identifier {
                endpoint.health_check_config.get_or_insert_default();
            }
        }
    }
    assignment
}

/// Envoy's default overprovisioning factor, in percent.
const OVERPROVISIONING: u32 = 140;
