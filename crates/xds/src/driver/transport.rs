//! gRPC over a connection that the binary dialled.

use std::future::{Future, Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use config::ResourceType;
use config::config_source::{GrpcService, GrpcTarget};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{AsciiMetadataKey, BinaryMetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;
use xds_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use xds_api::prost::Message;

use super::stream::Servers;
use crate::client::{Connector, Io, Settings};
use crate::session::{Request, Response};

/// HTTP/2 windows: a push of a whole mesh is megabytes, and nothing else is on the connection.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// A connection to a management server.
pub(crate) struct Transport {
    channel: Channel,
    metadata: MetadataMap,
    /// Limit on the size of a response, in bytes.
    limit: usize,
}

impl Transport {
    /// Dials one of the servers of a stream.
    pub(super) async fn connect(
        connector: &dyn Connector,
        settings: &Settings,
        servers: &Servers,
        server: usize,
    ) -> Result<Self, String> {
        let service = servers
            .api
            .grpc_services
            .get(server)
            .ok_or("no gRPC service is configured")?;
        Self::dial(connector, settings, service).await
    }

    /// Dials a server.
    pub(crate) async fn dial(
        connector: &dyn Connector,
        settings: &Settings,
        service: &GrpcService,
    ) -> Result<Self, String> {
        let attempt = async {
            let io = connector
                .connect(service)
                .await
                .map_err(|error| format!("cannot connect: {error}"))?;
            let (interval, timeout) = settings.keepalive;
            let endpoint = Endpoint::from(uri(service))
                .http2_keep_alive_interval(interval)
                .keep_alive_timeout(timeout)
                .keep_alive_while_idle(true)
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW);
            let channel = endpoint.connect_with_connector(Dialled(Some(TokioIo::new(io)))).await;
            channel.map_err(|error| format!("cannot speak HTTP/2: {error}"))
        };
        let channel = tokio::time::timeout(settings.connect_timeout, attempt)
            .await
            .map_err(|_| format!("not connected within {:?}", settings.connect_timeout))??;
        Ok(Self {
            channel,
            metadata: metadata(service)?,
            limit: limit(service, settings),
        })
    }

    /// Opens the stream. Neither half waits for the server's headers: some servers send none before the first response.
    pub(super) fn open(self, servers: &Servers) -> (Writer, Reader) {
        let delta = servers.api.api_type.is_delta();
        let path = PathAndQuery::from_static(path(servers.only, delta));
        if delta {
            let (sender, reader) = self.call(path, Response::Delta);
            (Writer::Delta(sender), Reader::Delta(reader))
        } else {
            let (sender, reader) = self.call(path, Response::StateOfTheWorld);
            (Writer::StateOfTheWorld(sender), Reader::StateOfTheWorld(reader))
        }
    }

    /// Opens a stream of some method, whose responses are handed on as `wrap` makes them.
    pub(crate) fn call<Q, R, W>(self, path: PathAndQuery, wrap: fn(R) -> W) -> (mpsc::Sender<Q>, Incoming<R, W>)
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        // Room for one: a request is made when the last one has gone to the transport.
        let (sender, requests) = mpsc::channel(1);
        let mut request = tonic::Request::new(ReceiverStream::new(requests));
        *request.metadata_mut() = self.metadata;
        let mut client = Grpc::new(self.channel).max_decoding_message_size(self.limit);
        let opening = async move {
            client
                .ready()
                .await
                .map_err(|error| Status::unavailable(error.to_string()))?;
            let response = client.streaming(request, path, ProstCodec::default()).await?;
            Ok(response.into_inner())
        };
        (
            sender,
            Incoming {
                state: State::Opening(Box::pin(opening)),
                wrap,
            },
        )
    }
}

/// Where requests go.
pub(super) enum Writer {
    StateOfTheWorld(mpsc::Sender<DiscoveryRequest>),
    Delta(mpsc::Sender<DeltaDiscoveryRequest>),
}

/// Room for one request.
pub(super) enum Room<'a> {
    StateOfTheWorld(mpsc::Permit<'a, DiscoveryRequest>),
    Delta(mpsc::Permit<'a, DeltaDiscoveryRequest>),
}

impl Writer {
    /// Waits until the transport takes a request; none when it takes no more. May be dropped and called again.
    pub(super) async fn room(&self) -> Option<Room<'_>> {
        match self {
            Self::StateOfTheWorld(sender) => sender.reserve().await.ok().map(Room::StateOfTheWorld),
            Self::Delta(sender) => sender.reserve().await.ok().map(Room::Delta),
        }
    }
}

impl Room<'_> {
    /// Sends a request of the variant that the stream was opened for. A session makes no other.
    pub(super) fn send(self, request: Request) {
        match (self, request) {
            (Self::StateOfTheWorld(permit), Request::StateOfTheWorld(request)) => permit.send(request),
            (Self::Delta(permit), Request::Delta(request)) => permit.send(request),
            _ => debug_assert!(false, "a request of the other variant"),
        }
    }
}

/// Where responses come from.
pub(super) enum Reader {
    StateOfTheWorld(Incoming<DiscoveryResponse, Response>),
    Delta(Incoming<DeltaDiscoveryResponse, Response>),
}

impl Reader {
    /// The next response; none when the server ended the stream. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Result<Option<Response>, Status> {
        match self {
            Self::StateOfTheWorld(incoming) => incoming.next().await,
            Self::Delta(incoming) => incoming.next().await,
        }
    }
}

/// Responses of one kind.
pub(crate) struct Incoming<R, W> {
    state: State<R>,
    wrap: fn(R) -> W,
}

enum State<R> {
    Opening(Pin<Box<dyn Future<Output = Result<Streaming<R>, Status>> + Send>>),
    Open(Box<Streaming<R>>),
}

impl<R, W> Incoming<R, W> {
    /// The next response; none when the server ended the stream. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Result<Option<W>, Status> {
        loop {
            match &mut self.state {
                State::Opening(opening) => self.state = State::Open(Box::new(opening.await?)),
                State::Open(streaming) => return Ok(streaming.message().await?.map(self.wrap)),
            }
        }
    }
}

/// Gives tonic the one connection that was dialled. When that ends the stream ends; there is no second one behind it.
struct Dialled(Option<TokioIo<Box<dyn Io>>>);

impl Service<Uri> for Dialled {
    type Response = TokioIo<Box<dyn Io>>;
    type Error = io::Error;
    type Future = Ready<Result<Self::Response, io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.0.take().ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

/// `:authority` of the requests: as configured, or what Envoy takes, the name of the cluster.
fn uri(service: &GrpcService) -> Uri {
    let authority: &Arc<str> = match &service.target {
        GrpcTarget::EnvoyGrpc {
            authority: Some(authority),
            ..
        } => authority,
        GrpcTarget::EnvoyGrpc { cluster_name, .. } => cluster_name,
        GrpcTarget::GoogleGrpc { target_uri, .. } => target_uri,
    };
    // A target may have a scheme (`dns:///host:port`), a cluster's name may be no authority at all.
    let host = authority.rsplit('/').next().unwrap_or_default();
    let build = |host: &str| {
        Uri::builder()
            .scheme("http")
            .authority(host)
            .path_and_query("/")
            .build()
    };
    build(host).unwrap_or_else(|_| Uri::from_static("http://xds/"))
}

/// `max_receive_message_length`, or the setting.
fn limit(service: &GrpcService, settings: &Settings) -> usize {
    let configured = match &service.target {
        GrpcTarget::EnvoyGrpc {
            max_receive_message_length,
            ..
        } => *max_receive_message_length,
        GrpcTarget::GoogleGrpc { .. } => None,
    };
    configured
        .and_then(|length| usize::try_from(length).ok())
        .unwrap_or(settings.maximum_message_size)
}

/// `initial_metadata`.
fn metadata(service: &GrpcService) -> Result<MetadataMap, String> {
    let mut metadata = MetadataMap::new();
    for (name, value) in &service.initial_metadata {
        let refused = || format!("initial_metadata {name:?} cannot be sent as gRPC metadata");
        if name.ends_with("-bin") {
            let key = BinaryMetadataKey::from_bytes(name.as_bytes()).map_err(|_| refused())?;
            metadata.append_bin(key, MetadataValue::from_bytes(value));
        } else {
            let key = AsciiMetadataKey::from_bytes(name.as_bytes()).map_err(|_| refused())?;
            metadata.append(key, MetadataValue::try_from(&**value).map_err(|_| refused())?);
        }
    }
    Ok(metadata)
}

/// The method that carries a type, or all of them.
fn path(only: Option<ResourceType>, delta: bool) -> &'static str {
    match (only, delta) {
        (None, false) => "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
        (None, true) => "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
        (Some(ResourceType::Cluster), false) => "/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters",
        (Some(ResourceType::Cluster), true) => "/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters",
        (Some(ResourceType::ClusterLoadAssignment), false) => {
            "/envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints"
        }
        (Some(ResourceType::ClusterLoadAssignment), true) => {
            "/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints"
        }
        (Some(ResourceType::Listener), false) => "/envoy.service.listener.v3.ListenerDiscoveryService/StreamListeners",
        (Some(ResourceType::Listener), true) => "/envoy.service.listener.v3.ListenerDiscoveryService/DeltaListeners",
        (Some(ResourceType::RouteConfiguration), false) => "/envoy.service.route.v3.RouteDiscoveryService/StreamRoutes",
        (Some(ResourceType::RouteConfiguration), true) => "/envoy.service.route.v3.RouteDiscoveryService/DeltaRoutes",
        (Some(ResourceType::Secret), false) => "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets",
        (Some(ResourceType::Secret), true) => "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envoy_grpc(cluster_name: &str, authority: Option<&str>) -> GrpcService {
        GrpcService {
            target: GrpcTarget::EnvoyGrpc {
                cluster_name: cluster_name.into(),
                authority: authority.map(Arc::from),
                max_receive_message_length: None,
            },
            timeout: None,
            initial_metadata: vec![
                ("x-token".into(), Arc::from(&b"secret"[..])),
                ("x-bin".into(), Arc::from(&[0u8, 255][..])),
            ],
        }
    }

    #[test]
    fn the_authority_is_the_cluster_name_unless_configured() {
        assert_eq!(
            uri(&envoy_grpc("xds-grpc", None)).authority().map(|a| a.as_str()),
            Some("xds-grpc")
        );
        assert_eq!(
            uri(&envoy_grpc("xds-grpc", Some("istiod:15012"))).to_string(),
            "http://istiod:15012/"
        );
        assert_eq!(
            uri(&envoy_grpc("outbound|15010||istiod", None)).to_string(),
            "http://xds/"
        );
    }

    #[test]
    fn initial_metadata_is_sent_as_text_or_binary_by_its_name() {
        let metadata = metadata(&envoy_grpc("a", None)).expect("both are valid");
        assert_eq!(metadata.get("x-token").map(|v| v.as_bytes()), Some(&b"secret"[..]));
        assert!(metadata.get_bin("x-bin").is_some());
        let mut broken = envoy_grpc("a", None);
        broken
            .initial_metadata
            .push(("not a name".into(), Arc::from(&b"x"[..])));
        assert!(super::metadata(&broken).unwrap_err().contains("not a name"));
    }
}
