//! The scripted control plane: sends a mesh over ADS, delta or state of the world, and changes to it when told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use xds_api::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use xds_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use xds_api::google::protobuf::Any;

use crate::mesh::Shape;

/// Responses that wait to be written; the sender of changes waits when the proxy does not keep up.
const QUEUE: usize = 64;

const PREFIX: &str = "type.googleapis.com/";
const CDS: &str = "envoy.config.cluster.v3.Cluster";
const EDS: &str = "envoy.config.endpoint.v3.ClusterLoadAssignment";
const LDS: &str = "envoy.config.listener.v3.Listener";
const RDS: &str = "envoy.config.route.v3.RouteConfiguration";

/// What the control plane has, by type and name.
type Resources = HashMap<&'static str, BTreeMap<String, Any>>;

/// What all streams share.
#[derive(Debug)]
struct Shared {
    resources: Mutex<Resources>,
    version: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    /// The stream of the one proxy that is measured.
    stream: Mutex<Option<mpsc::Sender<Push>>>,
}

/// What is to be sent to the proxy.
#[derive(Clone, Debug)]
enum Push {
    /// These resources changed.
    Some(&'static str, Vec<String>),
    /// Everything, unchanged, under a new version.
    Everything,
}

/// The running control plane.
#[derive(Clone, Debug)]
pub(crate) struct ControlPlane {
    shared: Arc<Shared>,
    shape: Shape,
}

impl ControlPlane {
    /// Serves `shape` on a thread of its own.
    pub(crate) fn start(shape: Shape, listener: std::net::TcpListener) -> Self {
        let mut resources = Resources::new();
        resources.insert(CDS, shape.clusters().into_iter().collect());
        resources.insert(
            EDS,
            (0..shape.clusters).map(|index| shape.endpoints(index, 0)).collect(),
        );
        resources.insert(RDS, [shape.routes()].into());
        resources.insert(LDS, [shape.listener()].into());
        let shared = Arc::new(Shared {
            resources: Mutex::new(resources),
            version: AtomicU64::new(1),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            stream: Mutex::new(None),
        });
        let service = Service(Arc::clone(&shared));
        std::thread::spawn(move || serve(listener, service));
        Self { shared, shape }
    }

    /// Moves the healthy endpoint of a cluster to one of the backends and tells the proxy.
    pub(crate) async fn move_endpoint(&self, cluster: usize, backend: usize) {
        let (name, resource) = self.shape.endpoints(cluster, backend);
        self.shared
            .lock()
            .entry(EDS)
            .or_default()
            .insert(name.clone(), resource);
        self.push(Push::Some(EDS, vec![name])).await;
    }

    /// Sends the whole mesh again.
    pub(crate) async fn resend(&self) {
        self.push(Push::Everything).await;
    }

    /// Responses the proxy accepted and refused so far.
    pub(crate) fn answers(&self) -> (u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.shared.accepted), read(&self.shared.refused))
    }

    async fn push(&self, push: Push) {
        let stream = self
            .shared
            .stream
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(stream) = stream {
            // A stream that has gone gets everything when it comes back.
            let _ = stream.send(push).await;
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Resources> {
        self.resources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_version(&self) -> String {
        self.version.fetch_add(1, Ordering::Relaxed).to_string()
    }

    fn count(&self, nonce: &str, refused: bool) {
        if refused {
            self.refused.fetch_add(1, Ordering::Relaxed);
        } else if !nonce.is_empty() {
            self.accepted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn serve(listener: std::net::TcpListener, service: Service) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return;
    };
    runtime.block_on(async move {
        if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
            let server = AggregatedDiscoveryServiceServer::new(service).max_decoding_message_size(usize::MAX);
            let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
            let router = tonic::transport::Server::builder().add_service(server);
            // It ends with the process.
            let _ = router.serve_with_incoming(incoming).await;
        }
    });
}

/// Binds the port the control plane listens on.
///
/// # Errors
/// What the system says.
pub(crate) fn bind() -> std::io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

struct Service(Arc<Shared>);

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Type of a request, as the constants have it.
fn known(type_url: &str) -> Option<&'static str> {
    let name = type_url.strip_prefix(PREFIX)?;
    [CDS, EDS, LDS, RDS].into_iter().find(|known| *known == name)
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = Responses<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let (sender, responses) = mpsc::channel(QUEUE);
        let pushes = self.begin();
        tokio::spawn(state_of_the_world(
            Arc::clone(&self.0),
            request.into_inner(),
            pushes,
            sender,
        ));
        Ok(Response::new(Box::pin(ReceiverStream::new(responses))))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let (sender, responses) = mpsc::channel(QUEUE);
        let pushes = self.begin();
        tokio::spawn(delta(Arc::clone(&self.0), request.into_inner(), pushes, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(responses))))
    }
}

impl Service {
    fn begin(&self) -> mpsc::Receiver<Push> {
        let (sender, pushes) = mpsc::channel(QUEUE);
        *self.0.stream.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        pushes
    }
}

async fn delta(
    shared: Arc<Shared>,
    mut requests: Streaming<DeltaDiscoveryRequest>,
    mut pushes: mpsc::Receiver<Push>,
    responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
) {
    let mut subscribed: HashMap<&'static str, BTreeSet<String>> = HashMap::new();
    loop {
        let due: Vec<(&'static str, Vec<String>)> = tokio::select! {
            request = requests.next() => {
                let Some(Ok(request)) = request else { return };
                let Some(kind) = known(&request.type_url) else { continue };
                shared.count(&request.response_nonce, request.error_detail.is_some());
                let first = !subscribed.contains_key(kind);
                let names = subscribed.entry(kind).or_default();
                for name in &request.resource_names_unsubscribe {
                    names.remove(name);
                }
                let wildcard = first && request.resource_names_subscribe.is_empty();
                let mut wanted: Vec<String> = request.resource_names_subscribe;
                if wildcard || wanted.iter().any(|name| name == "*") {
                    wanted = shared.lock().get(kind).map(|all| all.keys().cloned().collect()).unwrap_or_default();
                }
                let new: Vec<String> = wanted.into_iter().filter(|name| names.insert(name.clone())).collect();
                if new.is_empty() { continue }
                vec![(kind, new)]
            }
            push = pushes.recv() => match push {
                None => return,
                Some(Push::Some(kind, names)) => vec![(kind, names)],
                Some(Push::Everything) => [CDS, EDS, LDS, RDS]
                    .into_iter()
                    .map(|kind| (kind, subscribed.get(kind).into_iter().flatten().cloned().collect()))
                    .collect(),
            },
        };
        for (kind, names) in due {
            let version = shared.next_version();
            let resources = {
                let all = shared.lock();
                let of_kind = all.get(kind);
                let found = names.iter().filter_map(|name| of_kind?.get_key_value(name));
                found
                    .map(|(name, resource)| Resource {
                        name: name.clone(),
                        version: version.clone(),
                        resource: Some(resource.clone()),
                        ..Default::default()
                    })
                    .collect()
            };
            let response = DeltaDiscoveryResponse {
                type_url: format!("{PREFIX}{kind}"),
                nonce: version.clone(),
                system_version_info: version,
                resources,
                ..Default::default()
            };
            if responses.send(Ok(response)).await.is_err() {
                return;
            }
        }
    }
}

async fn state_of_the_world(
    shared: Arc<Shared>,
    mut requests: Streaming<DiscoveryRequest>,
    mut pushes: mpsc::Receiver<Push>,
    responses: mpsc::Sender<Result<DiscoveryResponse, Status>>,
) {
    let mut subscribed: HashMap<&'static str, BTreeSet<String>> = HashMap::new();
    loop {
        let due: Vec<(&'static str, Option<Vec<String>>)> = tokio::select! {
            request = requests.next() => {
                let Some(Ok(request)) = request else { return };
                let Some(kind) = known(&request.type_url) else { continue };
                shared.count(&request.response_nonce, request.error_detail.is_some());
                let names: BTreeSet<String> = request.resource_names.into_iter().collect();
                let same = subscribed.get(kind) == Some(&names);
                subscribed.insert(kind, names);
                if same { continue }
                vec![(kind, None)]
            }
            push = pushes.recv() => match push {
                None => return,
                Some(Push::Some(kind, names)) => vec![(kind, Some(names))],
                Some(Push::Everything) => [CDS, EDS, LDS, RDS].into_iter().map(|kind| (kind, None)).collect(),
            },
        };
        for (kind, names) in due {
            let version = shared.next_version();
            let resources = {
                let all = shared.lock();
                let wanted = subscribed.get(kind);
                let is_wanted = |name: &String| match &names {
                    Some(names) => names.contains(name),
                    None => wanted.is_none_or(|wanted| wanted.is_empty() || wanted.contains(name)),
                };
                let of_kind = all.get(kind).into_iter().flatten();
                of_kind
                    .filter(|(name, _)| is_wanted(name))
                    .map(|(_, resource)| resource.clone())
                    .collect()
            };
            let response = DiscoveryResponse {
                type_url: format!("{PREFIX}{kind}"),
                nonce: version.clone(),
                version_info: version,
                resources,
                ..Default::default()
            };
            if responses.send(Ok(response)).await.is_err() {
                return;
            }
        }
    }
}
