//! Over real sockets, against a server in this process that does what a test tells it to.

mod bad_input;
mod failures;
mod fallback;
mod paused;
mod sources;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use config::ResourceType;
use config::config_source::{ApiConfigSource, ApiType, ConfigSource, GrpcService, GrpcTarget};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{Request, Response, Status, Streaming};
use xds_api::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use xds_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};

use xds_api::google::protobuf::Any;

use super::*;
use crate::assemble::tests::published;
use crate::client::{Client, Connecting, Handle, Io};
use crate::fixtures::{Fixture, FixtureDecoder, fixture};

const CDS: ResourceType = ResourceType::Cluster;
const EDS: ResourceType = ResourceType::ClusterLoadAssignment;
const LDS: ResourceType = ResourceType::Listener;

/// Everything in these tests happens at once or is broken.
const SOON: Duration = Duration::from_secs(10);

/// A request of either variant, as far as the tests look at it.
#[derive(Debug)]
struct Said {
    resource_type: ResourceType,
    names: BTreeSet<String>,
    versions: BTreeSet<String>,
    nonce: String,
    refusal: Option<String>,
    has_node: bool,
}

/// A stream at the server.
struct Conversation {
    variant: Delta,
    requests: mpsc::UnboundedReceiver<Said>,
    sotw: mpsc::UnboundedSender<Result<DiscoveryResponse, Status>>,
    delta: mpsc::UnboundedSender<Result<DeltaDiscoveryResponse, Status>>,
    nonce: u64,
}

/// Whether the delta protocol is spoken.
type Delta = bool;

/// What the test sends.
type Answers<T> = mpsc::UnboundedReceiver<Result<T, Status>>;

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Hands each new stream to the test.
struct Service {
    streams: mpsc::UnboundedSender<Conversation>,
    /// Read requests, and send headers, only after the first response was sent.
    late: bool,
}

impl Service {
    fn conversation<Q: Send + 'static>(
        &self,
        variant: Delta,
        mut requests: Streaming<Q>,
        read: fn(Q) -> Said,
    ) -> (Answers<DiscoveryResponse>, Answers<DeltaDiscoveryResponse>) {
        let (said, heard) = mpsc::unbounded_channel();
        let (sotw, sotw_responses) = mpsc::unbounded_channel();
        let (delta, delta_responses) = mpsc::unbounded_channel();
        if self.late {
            // Never read: what the client writes stays in the windows and buffers between.
            std::mem::forget(said);
            tokio::spawn(async move {
                let _requests = requests;
                std::future::pending::<()>().await;
            });
        } else {
            tokio::spawn(async move {
                while let Ok(Some(request)) = requests.message().await {
                    if said.send(read(request)).is_err() {
                        return;
                    }
                }
            });
        }
        let _ = self.streams.send(Conversation {
            variant,
            requests: heard,
            sotw,
            delta,
            nonce: 0,
        });
        (sotw_responses, delta_responses)
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let (responses, _) = self.conversation(false, request.into_inner(), |request| Said {
            resource_type: ResourceType::from_type_url(&request.type_url).expect("a known type"),
            names: request.resource_names.into_iter().collect(),
            versions: BTreeSet::from([request.version_info]),
            nonce: request.response_nonce,
            refusal: request.error_detail.map(|error| error.message),
            has_node: request.node.is_some(),
        });
        Ok(Response::new(self.answered(responses).await))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let (_, responses) = self.conversation(true, request.into_inner(), |request| Said {
            resource_type: ResourceType::from_type_url(&request.type_url).expect("a known type"),
            names: request.resource_names_subscribe.into_iter().collect(),
            versions: request
                .initial_resource_versions
                .into_iter()
                .map(|(name, version)| name + "=" + &version)
                .collect(),
            nonce: request.response_nonce,
            refusal: request.error_detail.map(|error| error.message),
            has_node: request.node.is_some(),
        });
        Ok(Response::new(self.answered(responses).await))
    }
}

impl Service {
    async fn answered<T: Send + 'static>(
        &self,
        mut responses: mpsc::UnboundedReceiver<Result<T, Status>>,
    ) -> Responses<T> {
        if !self.late {
            return Box::pin(UnboundedReceiverStream::new(responses));
        }
        let first = responses.recv().await;
        Box::pin(tokio_stream::iter(first).chain(UnboundedReceiverStream::new(responses)))
    }
}

impl Conversation {
    async fn request(&mut self) -> Said {
        tokio::time::timeout(SOON, self.requests.recv())
            .await
            .expect("a request in time")
            .expect("an open stream")
    }

    /// Reads requests until the first of a type; the two first ones come in a fixed order.
    async fn request_of(&mut self, resource_type: ResourceType) -> Said {
        loop {
            let said = self.request().await;
            if said.resource_type == resource_type {
                return said;
            }
        }
    }

    fn send(&mut self, resource_type: ResourceType, version: &str, fixtures: &[Fixture]) {
        let named = |fixture: &Fixture| (fixture.name.clone(), fixture.any(resource_type));
        self.send_anys(resource_type.type_url(), version, fixtures.iter().map(named).collect());
    }

    fn send_anys(&mut self, type_url: &str, version: &str, resources: Vec<(String, Any)>) {
        self.nonce += 1;
        let (nonce, type_url) = (self.nonce.to_string(), type_url.to_owned());
        if self.variant {
            let resource = |(name, any): (String, Any)| Resource {
                name,
                version: version.into(),
                resource: Some(any),
                ..Default::default()
            };
            let resources = resources.into_iter().map(resource).collect();
            let response = DeltaDiscoveryResponse {
                resources,
                nonce,
                type_url,
                ..Default::default()
            };
            let _ = self.delta.send(Ok(response));
        } else {
            let resources = resources.into_iter().map(|(_, any)| any).collect();
            let version_info = version.to_owned();
            let response = DiscoveryResponse {
                version_info,
                resources,
                nonce,
                type_url,
                ..Default::default()
            };
            let _ = self.sotw.send(Ok(response));
        }
    }

    fn fail(self, status: Status) {
        let _ = self.sotw.send(Err(status.clone()));
        let _ = self.delta.send(Err(status));
    }
}

struct Server {
    address: SocketAddr,
    streams: mpsc::UnboundedReceiver<Conversation>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        Self::at("127.0.0.1:0".parse().expect("an address"), false).await
    }

    async fn at(address: SocketAddr, late: bool) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let (streams, accepted) = mpsc::unbounded_channel();
        let service = AggregatedDiscoveryServiceServer::new(Service { streams, late });
        let serving = tonic::transport::Server::builder()
            .add_service(service.max_decoding_message_size(usize::MAX))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let task = tokio::spawn(async move { drop(serving.await) });
        Self {
            address,
            streams: accepted,
            task,
        }
    }

    async fn accept(&mut self) -> Conversation {
        tokio::time::timeout(SOON, self.streams.recv())
            .await
            .expect("a stream in time")
            .expect("a running server")
    }
}

/// Dials the address that stands for the name of the cluster.
struct Dial;

impl Connector for Dial {
    fn connect(&self, service: &GrpcService) -> Connecting<'_> {
        let GrpcTarget::EnvoyGrpc { cluster_name, .. } = &service.target else {
            panic!("not in these tests")
        };
        let address = cluster_name.to_string();
        Box::pin(async move { Ok(Box::new(TcpStream::connect(address).await?) as Box<dyn Io>) })
    }
}

fn options(delta: Delta, servers: &[SocketAddr]) -> Options {
    let service = |address: &SocketAddr| GrpcService {
        target: GrpcTarget::EnvoyGrpc {
            cluster_name: address.to_string().into(),
            authority: None,
            max_receive_message_length: None,
        },
        timeout: None,
        initial_metadata: Vec::new(),
    };
    Options {
        ads_config: Some(Arc::new(ApiConfigSource {
            api_type: if delta {
                ApiType::AggregatedDeltaGrpc
            } else {
                ApiType::AggregatedGrpc
            },
            grpc_services: servers.iter().map(service).collect(),
            set_node_on_first_message_only: true,
            request_timeout: None,
            rate_limit_settings: None,
        })),
        cds_config: Some(Arc::new(ConfigSource::ads())),
        lds_config: Some(Arc::new(ConfigSource::ads())),
        settings: Settings {
            backoff: (Duration::from_millis(1), Duration::from_millis(20)),
            ..Settings::default()
        },
        ..Options::default()
    }
}

fn start(options: Options) -> Handle {
    let client = Client::new(options, Arc::new(FixtureDecoder), Arc::new(Dial), &Registry::new(1));
    let handle = client.handle();
    tokio::spawn(client.run());
    handle
}

async fn until(handle: &Handle, expected: &str) -> Arc<Config> {
    let mut configs = handle.configs();
    tokio::time::timeout(SOON, async {
        loop {
            let config = configs.current();
            if published(&config) == expected {
                return config;
            }
            configs.next().await.expect("the client runs");
        }
    })
    .await
    .unwrap_or_else(|_| {
        panic!(
            "{expected:?} was not published, but {:?}",
            published(&handle.configs().current())
        )
    })
}

/// Runs a test for both protocols.
fn both<F: Future<Output = ()>>(test: impl Fn(Delta) -> F) {
    for delta in [false, true] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(test(delta));
    }
}

#[test]
fn a_mesh_is_fetched_over_a_real_stream_and_acknowledged() {
    both(|delta| async move {
        let mut server = Server::start().await;
        let handle = start(options(delta, &[server.address]));
        let mut stream = server.accept().await;
        let first = stream.request().await;
        assert_eq!((first.resource_type, first.has_node), (CDS, true));
        assert!(!stream.request_of(LDS).await.has_node);
        stream.send(CDS, "1", &[fixture("c", &["eds:e"])]);
        let acknowledged = stream.request_of(CDS).await;
        assert_eq!((acknowledged.nonce.as_str(), acknowledged.refusal), ("1", None));
        assert_eq!(stream.request_of(EDS).await.names, BTreeSet::from(["e".to_owned()]));
        stream.send(EDS, "1", &[fixture("e", &[])]);
        stream.send(LDS, "1", &[fixture("l", &["cds:c"]), fixture("bad", &[]).faulty("bad")]);
        assert!(
            stream
                .request_of(LDS)
                .await
                .refusal
                .is_some_and(|text| text.contains("bad"))
        );
        until(&handle, "cds:c eds:e lds:l").await;
        let mut readiness = handle.readiness();
        assert!(readiness.wait_for(|readiness| readiness.ready).await.is_ok());
        assert!(handle.status().streams[0].connected);
    });
}

#[test]
fn after_a_broken_stream_everything_is_asked_for_again_and_nothing_changes() {
    both(|delta| async move {
        let mut server = Server::start().await;
        let handle = start(options(delta, &[server.address]));
        let mut stream = server.accept().await;
        stream.send(CDS, "7", &[fixture("c", &["eds:e"])]);
        stream.request_of(EDS).await;
        stream.send(EDS, "8", &[fixture("e", &[])]);
        let before = until(&handle, "cds:c eds:e").await;
        while stream.request_of(EDS).await.nonce.is_empty() {}
        stream.fail(Status::unavailable("going away"));
        let mut stream = server.accept().await;
        let clusters = stream.request_of(CDS).await;
        let endpoints = stream.request_of(EDS).await;
        let claims =
            |delta, sotw: &str, of_delta: &str| BTreeSet::from([if delta { of_delta } else { sotw }.to_owned()]);
        assert!(clusters.has_node && clusters.nonce.is_empty());
        assert_eq!(
            (clusters.versions, endpoints.versions),
            (claims(delta, "7", "c=7"), claims(delta, "8", "e=8"))
        );
        assert_eq!(endpoints.names, BTreeSet::from(["e".to_owned()]));
        stream.send(CDS, "9", &[fixture("c", &["eds:e"]), fixture("d", &[])]);
        let after = until(&handle, "cds:c cds:d eds:e").await;
        assert!(Arc::ptr_eq(&before.clusters["c"], &after.clusters["c"]));
        assert!(Arc::ptr_eq(&before.endpoints["e"], &after.endpoints["e"]));
    });
}

#[test]
fn a_killed_control_plane_loses_nothing_and_is_found_again_at_its_address() {
    both(|delta| async move {
        let mut server = Server::start().await;
        let address = server.address;
        let handle = start(options(delta, &[address]));
        for round in 0..5u32 {
            let mut stream = server.accept().await;
            let names: Vec<_> = (0..=round).map(|index| fixture(&format!("c{index}"), &[])).collect();
            stream.send(CDS, &round.to_string(), &names);
            let expected: Vec<_> = (0..=round).map(|index| format!("cds:c{index}")).collect();
            until(&handle, &expected.join(" ")).await;
            server.task.abort();
            assert!(server.task.await.is_err_and(|error| error.is_cancelled()));
            drop(stream);
            assert_eq!(published(&handle.configs().current()), expected.join(" "));
            server = Server::at(address, false).await;
        }
    });
}

#[test]
fn a_response_larger_than_grpcs_default_limit_is_read() {
    both(|delta| async move {
        let mut server = Server::start().await;
        let handle = start(options(delta, &[server.address]));
        let mut stream = server.accept().await;
        let padding = format!("eds:{}", "x".repeat(8 << 20));
        stream.send(CDS, "1", &[fixture("huge", &[&padding]), fixture("small", &[])]);
        until(&handle, "cds:small").await;
    });
}

#[test]
fn a_response_above_the_limit_ends_the_stream_and_the_last_good_stays() {
    both(|delta| async move {
        let mut server = Server::start().await;
        let mut options = options(delta, &[server.address]);
        options.settings.maximum_message_size = 64 << 10;
        let handle = start(options);
        let mut stream = server.accept().await;
        stream.send(CDS, "1", &[fixture("c", &[])]);
        until(&handle, "cds:c").await;
        stream.send(CDS, "2", &[fixture("d", &[&format!("eds:{}", "x".repeat(100 << 10))])]);
        let _again = server.accept().await;
        assert_eq!(published(&handle.configs().current()), "cds:c");
        let error = handle.status().streams[0].last_error.clone();
        assert!(error.is_none_or(|error| error.contains("too large") || error.contains("larger")));
    });
}

#[test]
fn trap_both_sides_blocked_on_send() {
    both(|delta| async move {
        // The server reads nothing at all and sends without pause; the client has megabytes of names to say.
        let mut server = Server::at("127.0.0.1:0".parse().expect("an address"), true).await;
        let handle = start(options(delta, &[server.address]));
        let mut stream = server.accept().await;
        let name = "n".repeat(1000);
        let clusters: Vec<_> = (0..3000)
            .map(|index| fixture(&format!("c{index}"), &[&format!("eds:{name}{index}")]))
            .collect();
        stream.send(CDS, "1", &clusters);
        for version in 2..500 {
            stream.send(LDS, &version.to_string(), &[fixture("l", &[]).revision(version)]);
        }
        stream.send(LDS, "last", &[fixture("last", &[]), fixture("l", &[])]);
        until(&handle, "lds:l lds:last").await;
    });
}
