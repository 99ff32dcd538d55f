//! Scripts: the server says, the client says, the configuration is.

mod cached;
mod data_errors;
mod fallback;
mod model;
mod properties;
mod rules;
mod scale;
mod traps;

use std::collections::BTreeMap;

use config::ResourceMap;

use xds_api::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse, Resource};
use xds_api::google::protobuf::Any;

use super::*;
use crate::assemble::tests::published;
use crate::fixtures::{Fixture, FixtureDecoder, fixture};
use crate::session::Variant;
use crate::status::ResourceStatus;

const CDS: ResourceType = ResourceType::Cluster;
const EDS: ResourceType = ResourceType::ClusterLoadAssignment;
const LDS: ResourceType = ResourceType::Listener;
const RDS: ResourceType = ResourceType::RouteConfiguration;
const BOTH: [Variant; 2] = [Variant::StateOfTheWorld, Variant::Delta];

/// An engine on one aggregated stream, and a server that sends what a test tells it to.
struct Script {
    engine: Engine,
    variant: Variant,
    now: Instant,
    nonce: u64,
    /// The configuration as last published.
    config: Arc<Config>,
    /// How often a configuration was published.
    publications: usize,
}

fn ads(variant: Variant) -> Arc<ApiConfigSource> {
    use config::config_source::ApiType;
    Arc::new(ApiConfigSource {
        api_type: match variant {
            Variant::StateOfTheWorld => ApiType::AggregatedGrpc,
            Variant::Delta => ApiType::AggregatedDeltaGrpc,
        },
        grpc_services: Vec::new(),
        set_node_on_first_message_only: true,
        request_timeout: None,
        rate_limit_settings: None,
    })
}

fn options(variant: Variant) -> EngineOptions {
    EngineOptions {
        ads_config: Some(ads(variant)),
        cds_config: Some(Arc::new(ConfigSource::ads())),
        lds_config: Some(Arc::new(ConfigSource::ads())),
        cluster_wait: Duration::from_secs(15),
        does_not_exist_timeout: Some(Duration::from_secs(15)),
        ..EngineOptions::default()
    }
}

/// A script with an open stream on which clusters and listeners were asked for.
fn script(variant: Variant) -> Script {
    let mut script = with_options(variant, options(variant));
    script.opens();
    script.hears_requests();
    script
}

fn with_options(variant: Variant, options: EngineOptions) -> Script {
    let now = Instant::now();
    let engine = Engine::new(
        options,
        Arc::new(FixtureDecoder),
        &Registry::new(1),
        now,
        SystemTime::now(),
    );
    Script {
        engine,
        variant,
        now,
        nonce: 0,
        config: Arc::default(),
        publications: 0,
    }
}

impl Script {
    fn opens(&mut self) {
        self.engine.stream_opened(SourceId::ADS, 0, self.now);
    }

    fn breaks(&mut self) {
        self.engine.stream_closed(SourceId::ADS, "broken".into(), self.now);
    }

    /// A response with these resources, with the same version for each.
    fn sends(&mut self, resource_type: ResourceType, version: &str, resources: &[Fixture]) {
        let anys = resources
            .iter()
            .map(|fixture| (fixture.name.clone(), fixture.any(resource_type)));
        self.sends_any(resource_type, version, anys.collect(), &[]);
    }

    /// A delta response that only removes.
    fn removes(&mut self, resource_type: ResourceType, names: &[&str]) {
        self.sends_any(resource_type, "", Vec::new(), names);
    }

    fn sends_any(
        &mut self,
        resource_type: ResourceType,
        version: &str,
        resources: Vec<(String, Any)>,
        removed: &[&str],
    ) {
        self.nonce += 1;
        let nonce = self.nonce.to_string();
        let type_url = resource_type.type_url().to_owned();
        let response = match self.variant {
            Variant::StateOfTheWorld => Response::StateOfTheWorld(DiscoveryResponse {
                version_info: version.into(),
                resources: resources.into_iter().map(|(_, any)| any).collect(),
                type_url,
                nonce,
                ..Default::default()
            }),
            Variant::Delta => Response::Delta(DeltaDiscoveryResponse {
                system_version_info: version.into(),
                resources: resources
                    .into_iter()
                    .map(|(name, any)| Resource {
                        name,
                        version: version.into(),
                        resource: Some(any),
                        ..Default::default()
                    })
                    .collect(),
                removed_resources: removed.iter().map(|name| (*name).to_owned()).collect(),
                type_url,
                nonce,
                ..Default::default()
            }),
        };
        self.engine
            .receive(SourceId::ADS, response, self.now)
            .expect("a subscribed type");
        self.takes_config();
    }

    fn takes_config(&mut self) {
        if let Some(config) = self.engine.take_config() {
            self.config = config;
            self.publications += 1;
        }
    }

    /// All requests that are waiting, as lines: `eds [a, b]`, `eds +[a] -[b]`, `cds ACK`, `cds NACK <text>`.
    fn hears_requests(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(request) = self.engine.next_request(SourceId::ADS, self.now) {
            lines.push(line(&request));
        }
        lines
    }

    fn seconds(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.engine.on_deadline(self.now);
        self.takes_config();
    }

    fn is(&self, expected: &str) {
        assert_eq!(published(&self.config), expected);
    }

    fn client_status(&self, text: &str) -> ClientStatus {
        self.status(text).client_status
    }

    fn status(&self, text: &str) -> ResourceStatus {
        let key = crate::fixtures::key(text);
        let status = self.engine.status(self.now);
        status
            .resources
            .into_iter()
            .find(|resource| resource.key == key)
            .expect("a known resource")
    }
}

fn line(request: &Request) -> String {
    let short = |type_url: &str| {
        ResourceType::from_type_url(type_url)
            .expect("a known type")
            .short_name()
    };
    let (short, error, acknowledges, names) = match request {
        Request::StateOfTheWorld(r) => {
            let names = format!("{:?}", r.resource_names);
            (short(&r.type_url), &r.error_detail, !r.response_nonce.is_empty(), names)
        }
        Request::Delta(r) => {
            let names = format!("+{:?} -{:?}", r.resource_names_subscribe, r.resource_names_unsubscribe);
            (short(&r.type_url), &r.error_detail, !r.response_nonce.is_empty(), names)
        }
    };
    match error {
        Some(error) => format!("{short} NACK {}", error.message),
        None if acknowledges && matches!(request, Request::Delta(_)) => format!("{short} ACK"),
        None => format!("{short} {names}").replace('"', ""),
    }
}

/// The revision of every published resource does not show in a name, so compare the values themselves.
fn same_values(one: &Config, other: &Config) -> bool {
    fn same<V>(one: &ResourceMap<V>, other: &ResourceMap<V>) -> bool {
        one.changes_since(other).count() == 0
    }
    same(&one.clusters, &other.clusters)
        && same(&one.endpoints, &other.endpoints)
        && same(&one.listeners, &other.listeners)
        && same(&one.routes, &other.routes)
        && same(&one.secrets, &other.secrets)
}
