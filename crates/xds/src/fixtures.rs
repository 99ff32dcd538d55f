//! Resources for tests: a name, a revision, references and perhaps a fault, in a message of their own whose field 1 is the
//! name, as in real resources. Only the outermost shell of the real resource is made of them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use config::config_source::{ConfigSource, ConfigSourceSpecifier};
use config::{ExtensionConfig, ExtensionKind, Extensions, Reference, Rejected, Resource, ResourceType};
use xds_api::envoy::config::cluster::v3::Cluster;
use xds_api::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use xds_api::envoy::config::core::v3::{Address, SocketAddress, address, socket_address};
use xds_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
use xds_api::envoy::config::listener::v3::{FilterChain, Listener};
use xds_api::envoy::config::route::v3::{
    Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, route, route_action, route_match,
};
use xds_api::envoy::extensions::transport_sockets::tls::v3::Secret;
use xds_api::google::protobuf::{Any, BoolValue};
use xds_api::prost::Message;

use crate::decode::{DecodedResource, Decoder};
use crate::key::ResourceKey;

/// A resource as a test writes it.
#[derive(Clone, PartialEq, Message)]
#[prost(prost_path = "xds_api::prost")]
pub(crate) struct Fixture {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    /// Makes the content differ.
    #[prost(uint32, tag = "2")]
    pub(crate) revision: u32,
    /// `eds:name`, `sds:name`, `rds:name`, `cds:name`; `eds!name` waits for ever.
    #[prost(string, repeated, tag = "3")]
    pub(crate) references: Vec<String>,
    /// Refused for this reason.
    #[prost(string, tag = "4")]
    pub(crate) fault: String,
    /// A cluster with DNS names.
    #[prost(bool, tag = "5")]
    pub(crate) dns: bool,
    /// A table with a route to this cluster, which there has to be.
    #[prost(string, tag = "6")]
    pub(crate) routes_to: String,
}

/// A resource named `name` that refers to `references`.
pub(crate) fn fixture(name: &str, references: &[&str]) -> Fixture {
    Fixture {
        name: name.into(),
        references: references.iter().map(|r| (*r).into()).collect(),
        ..Default::default()
    }
}

impl Fixture {
    pub(crate) fn revision(mut self, revision: u32) -> Self {
        self.revision = revision;
        self
    }

    pub(crate) fn faulty(mut self, fault: &str) -> Self {
        self.fault = fault.into();
        self
    }

    pub(crate) fn any(&self, resource_type: ResourceType) -> Any {
        Any {
            type_url: resource_type.type_url().into(),
            value: self.encode_to_vec(),
        }
    }
}

/// `cds:name` and so on as a key.
pub(crate) fn key(text: &str) -> ResourceKey {
    let (short, name) = text.split_at(text.find([':', '!']).expect("type:name"));
    let of_type = |t: &ResourceType| t.short_name() == short;
    ResourceKey::new(
        ResourceType::ALL.into_iter().find(of_type).expect("a short name"),
        &name[1..],
    )
}

/// Decodes [`Fixture`]s.
#[derive(Debug, Default)]
pub(crate) struct FixtureDecoder;

impl Decoder for FixtureDecoder {
    fn decode(&self, resource_type: ResourceType, any: &Any) -> Result<DecodedResource, Vec<Rejected>> {
        let fixture = Fixture::decode(&*any.value).map_err(|error| vec![Rejected::new("", error.to_string())])?;
        if !fixture.fault.is_empty() {
            return Err(vec![Rejected::new("field", fixture.fault)]);
        }
        let references = fixture.references.iter().map(|reference| {
            let key = key(reference);
            let mut source = ConfigSource::ads();
            if reference.contains('!') {
                source.initial_fetch_timeout = Duration::ZERO;
            }
            debug_assert_eq!(source.specifier, ConfigSourceSpecifier::Ads);
            let source = (key.resource_type != ResourceType::Cluster).then(|| Arc::new(source));
            Reference {
                resource_type: key.resource_type,
                name: key.name,
                source,
            }
        });
        let references = references.collect();
        let resource = shell(resource_type, &fixture);
        Ok(DecodedResource {
            resource,
            references,
            without_effect: Vec::new(),
        })
    }
}

/// The least real resource of this name.
fn shell(resource_type: ResourceType, fixture: &Fixture) -> Resource {
    let name = fixture.name.clone();
    let bytes = match resource_type {
        ResourceType::Cluster => {
            let kind = if fixture.dns {
                DiscoveryType::StrictDns
            } else {
                DiscoveryType::Static
            };
            let kind = Some(ClusterDiscoveryType::Type(kind.into()));
            Cluster {
                name,
                cluster_discovery_type: kind,
                ..Default::default()
            }
            .encode_to_vec()
        }
        ResourceType::ClusterLoadAssignment => ClusterLoadAssignment {
            cluster_name: name,
            ..Default::default()
        }
        .encode_to_vec(),
        ResourceType::RouteConfiguration if !fixture.routes_to.is_empty() => {
            table(name, &fixture.routes_to).encode_to_vec()
        }
        ResourceType::RouteConfiguration => RouteConfiguration {
            name,
            ..Default::default()
        }
        .encode_to_vec(),
        ResourceType::Secret => Secret {
            name,
            ..Default::default()
        }
        .encode_to_vec(),
        ResourceType::Listener => listener(name).encode_to_vec(),
    };
    match Resource::parse(resource_type, &bytes, extensions()) {
        Ok(parsed) => parsed.value,
        Err(faults) => panic!("the least {resource_type} is refused: {faults:?}"),
    }
}

/// A table that says `validate_clusters: true`.
fn table(name: String, cluster: &str) -> RouteConfiguration {
    let prefix = route_match::PathSpecifier::Prefix("/".into());
    let to = route_action::ClusterSpecifier::Cluster(cluster.into());
    let route = Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(prefix),
            ..Default::default()
        }),
        action: Some(route::Action::Route(RouteAction {
            cluster_specifier: Some(to),
            ..Default::default()
        })),
        ..Default::default()
    };
    RouteConfiguration {
        name,
        virtual_hosts: vec![VirtualHost {
            name: "v".into(),
            domains: vec!["*".into()],
            routes: vec![route],
            ..Default::default()
        }],
        validate_clusters: Some(BoolValue { value: true }),
        ..Default::default()
    }
}

fn listener(name: String) -> Listener {
    let port = socket_address::PortSpecifier::PortValue(10_000);
    let socket = SocketAddress {
        address: "127.0.0.1".into(),
        port_specifier: Some(port),
        ..Default::default()
    };
    Listener {
        name,
        address: Some(Address {
            address: Some(address::Address::SocketAddress(socket)),
        }),
        // A chain without filters closes its connections, which is all that a shell needs.
        filter_chains: vec![FilterChain::default()],
        ..Default::default()
    }
}

/// Extensions under which the shells are valid.
fn extensions() -> &'static Extensions {
    #[derive(Debug)]
    struct Opaque;
    impl ExtensionConfig for Opaque {
        fn as_any(&self) -> &dyn std::any::Any {
            self
        }
    }
    static EXTENSIONS: OnceLock<Extensions> = OnceLock::new();
    EXTENSIONS.get_or_init(|| {
        let mut extensions = Extensions::new();
        extensions.register(
            ExtensionKind::Secret,
            "envoy.extensions.transport_sockets.tls.v3.Secret",
            |_, _| Ok(Arc::new(Opaque)),
        );
        extensions
    })
}
