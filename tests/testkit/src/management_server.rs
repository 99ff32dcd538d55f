//! A management server that does what `xds_protocol.rst` says, in both protocols, aggregated and type by type, and writes
//! down what it is asked; and a server of load reports at the same address, a port or a Unix socket.
//!
//! It answers by itself from what a test says there is ([`ManagementServer::set`]); what it is sent it keeps as lines
//! ([`ManagementServer::transcript`]). It runs on a thread of its own and is gone, connections and all, when it is dropped.

mod delta;
mod loads;
mod services;
mod sotw;
mod transcript;
mod world;

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_stream::Stream;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::transport::server::Router;
use tonic::{Request, Response, Status, Streaming};
use xds_api::envoy::service::cluster::v3::cluster_discovery_service_server::ClusterDiscoveryServiceServer;
use xds_api::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use xds_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use xds_api::envoy::service::endpoint::v3::endpoint_discovery_service_server::EndpointDiscoveryServiceServer;
use xds_api::envoy::service::listener::v3::listener_discovery_service_server::ListenerDiscoveryServiceServer;
use xds_api::envoy::service::load_stats::v3::load_reporting_service_server::LoadReportingServiceServer;
use xds_api::envoy::service::load_stats::v3::{LoadStatsRequest, LoadStatsResponse};
use xds_api::envoy::service::route::v3::route_discovery_service_server::RouteDiscoveryServiceServer;
use xds_api::envoy::service::secret::v3::secret_discovery_service_server::SecretDiscoveryServiceServer;

use world::World;

/// A stream of responses.
type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A running server.
#[derive(Debug)]
pub struct ManagementServer {
    port: u16,
    shared: Arc<Shared>,
    /// None once it was dropped.
    runtime: Option<tokio::runtime::Runtime>,
}

/// What the streams of a server share.
#[derive(Debug)]
struct Shared {
    world: watch::Sender<World>,
    lines: Mutex<Vec<String>>,
    refusals: Mutex<Vec<String>>,
    reports: Mutex<Vec<LoadStatsRequest>>,
    /// What is asked of who reports loads.
    question: LoadStatsResponse,
}

impl ManagementServer {
    /// A server on a free port that has nothing.
    ///
    /// # Panics
    /// There is no port or no thread.
    #[must_use]
    pub fn start() -> Self {
        Self::at(0)
    }

    /// A server on a port of this machine that has nothing.
    ///
    /// # Panics
    /// The port is taken, or there is no thread.
    #[must_use]
    pub fn at(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
        let port = listener.local_addr().expect("it is bound").port();
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        Self::serve(port, |router| async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime takes the socket");
            router.serve_with_incoming(TcpListenerStream::new(listener)).await
        })
    }

    /// A server on a Unix socket that has nothing.
    ///
    /// # Panics
    /// There can be no such socket, or there is no thread.
    #[must_use]
    pub fn on_unix_socket(path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("there is nothing at the path");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        Self::serve(0, |router| async move {
            let listener = tokio::net::UnixListener::from_std(listener).expect("a runtime takes the socket");
            router.serve_with_incoming(UnixListenerStream::new(listener)).await
        })
    }

    fn serve<F>(port: u16, listen: impl FnOnce(Router) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), tonic::transport::Error>> + Send + 'static,
    {
        let shared = Arc::new(Shared {
            world: watch::Sender::new(World::default()),
            lines: Mutex::default(),
            refusals: Mutex::default(),
            reports: Mutex::default(),
            question: LoadStatsResponse {
                send_all_clusters: true,
                load_reporting_interval: Some(xds_api::google::protobuf::Duration {
                    seconds: 0,
                    nanos: 200_000_000,
                }),
                report_endpoint_granularity: true,
                ..LoadStatsResponse::default()
            },
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be had");
        let service = Service(Arc::clone(&shared));
        let loads = loads::Service(Arc::clone(&shared));
        let types = services::Service(Arc::clone(&shared));
        runtime.spawn(async move {
            let router = tonic::transport::Server::builder()
                .add_service(AggregatedDiscoveryServiceServer::new(service).max_decoding_message_size(usize::MAX))
                .add_service(LoadReportingServiceServer::new(loads))
                .add_service(ClusterDiscoveryServiceServer::new(types.clone()))
                .add_service(EndpointDiscoveryServiceServer::new(types.clone()))
                .add_service(ListenerDiscoveryServiceServer::new(types.clone()))
                .add_service(RouteDiscoveryServiceServer::new(types.clone()))
                .add_service(SecretDiscoveryServiceServer::new(types));
            drop(listen(router).await);
        });
        Self {
            port,
            shared,
            runtime: Some(runtime),
        }
    }

    /// Its port; 0 for one on a Unix socket.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Says what there is of a type from now on, as YAML documents, under a version. The streams learn of it at once.
    ///
    /// # Panics
    /// A document is no such resource.
    pub fn set(&self, type_url: &str, version: &str, documents: &[String]) {
        let resources = world::parse(type_url, documents);
        self.shared
            .world
            .send_modify(|world| world.set(type_url, version, resources));
    }

    /// What it was asked since the last call, a line for each request.
    #[must_use]
    pub fn transcript(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.shared.lines))
    }

    /// The errors of the NACKs since the last call.
    #[must_use]
    pub fn refusals(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.shared.refusals))
    }

    /// The reports it was sent since the last call.
    #[must_use]
    pub fn load_reports(&self) -> Vec<LoadStatsRequest> {
        std::mem::take(&mut *lock(&self.shared.reports))
    }
}

impl Drop for ManagementServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // All its sockets are closed when this returns.
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

impl Shared {
    /// Keeps what a request was, and what it says is wrong.
    fn heard(&self, line: String, error: Option<&xds_api::google::rpc::Status>) {
        lock(&self.refusals).extend(error.map(|error| error.message.clone()));
        lock(&self.lines).push(line);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The discovery service.
#[derive(Debug)]
struct Service(Arc<Shared>);

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Ok(Response::new(sotw::serve(Arc::clone(&self.0), request.into_inner())))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Ok(Response::new(delta::serve(Arc::clone(&self.0), request.into_inner())))
    }
}
