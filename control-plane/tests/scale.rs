//! Two hundred proxies and two hundred services over real streams: an edit sends what
//! changed, and nothing else, to those it concerns, and to nobody else.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic in a test is its report"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use control_plane::model::MeshSettings;
use control_plane::serve::{Options, Running, start};
use control_plane::validate::ProxyValidator;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use xds_api::envoy::config::core::v3::Node;
use xds_api::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use xds_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use xds_api::prost::Message as _;

const NAMESPACES: usize = 20;
const PER_NAMESPACE: usize = 10;
const PATIENCE: Duration = Duration::from_secs(60);

const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const ROUTE: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// Removed with the test.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One namespace: ten Services, each with one Pod, all visible in the namespace alone.
fn namespace(namespace: usize, weight: u32, moved: bool) -> String {
    let mut text = String::new();
    for service in 0..PER_NAMESPACE {
        // The edit of endpoints moves the Pod behind the last Service.
        let host = if moved && service == PER_NAMESPACE - 1 {
            100 + service
        } else {
            service + 1
        };
        let _ = write!(
            text,
            "
---
apiVersion: v1
kind: Service
metadata: {{name: s{service}, namespace: n{namespace}, annotations: {{networking.istio.io/exportTo: .}}}}
spec: {{selector: {{app: s{service}}}, ports: [{{name: grpc, port: 50051}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: p{service}, namespace: n{namespace}, labels: {{app: s{service}}}}}
spec: {{serviceAccountName: a{service}, containers: []}}
status: {{podIP: 10.0.{namespace}.{host}}}
"
        );
    }
    let _ = write!(
        text,
        "
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {{name: r, namespace: n{namespace}}}
spec:
  parentRefs: [{{group: '', kind: Service, name: s0}}]
  rules:
    - backendRefs:
        - {{name: s0, port: 50051, weight: {weight}}}
        - {{name: s1, port: 50051, weight: {}}}
",
        100 - weight
    );
    text
}

async fn control_plane() -> (Running, Directory) {
    let directory = std::env::temp_dir().join(format!("remora-scale-{}", std::process::id()));
    std::fs::create_dir_all(directory.join("mesh")).unwrap();
    let directory = Directory(directory);
    for number in 0..NAMESPACES {
        save(&directory, number, &namespace(number, 90, false));
    }
    let options = Options {
        config: directory.0.join("mesh"),
        state: directory.0.join("state"),
        listen: "127.0.0.1:0".parse().unwrap(),
        status_listen: "127.0.0.1:0".parse().unwrap(),
        settings: MeshSettings::new("mesh.test"),
        certificate_lifetime: Duration::from_secs(3600),
    };
    let running = start(options, Arc::new(ProxyValidator::new())).await.unwrap();
    (running, directory)
}

fn save(directory: &Directory, number: usize, text: &str) {
    std::fs::write(directory.0.join(format!("mesh/n{number}.yaml")), text).unwrap();
}

/// What a proxy received.
#[derive(Debug)]
struct Received {
    proxy: usize,
    type_url: String,
    names: Vec<String>,
    removed: usize,
    bytes: usize,
}

/// A proxy that accepts everything, and asks for the endpoints of the clusters it gets.
async fn proxy(channel: Channel, number: usize, received: mpsc::UnboundedSender<Received>) {
    let (namespace, pod) = (number / PER_NAMESPACE, number % PER_NAMESPACE);
    let node = Node {
        id: format!(
            "sidecar~10.0.{namespace}.{}~p{pod}.n{namespace}~n{namespace}.svc.cluster.local",
            pod + 1
        ),
        ..Default::default()
    };
    let (requests, stream) = mpsc::channel(64);
    let ask = |type_url: &str, names: Vec<String>| DeltaDiscoveryRequest {
        type_url: type_url.to_owned(),
        resource_names_subscribe: names,
        ..Default::default()
    };
    let first = DeltaDiscoveryRequest {
        node: Some(node),
        ..ask(CLUSTER, Vec::new())
    };
    requests.send(first).await.unwrap();
    requests.send(ask(LISTENER, Vec::new())).await.unwrap();
    requests.send(ask(ROUTE, vec!["outbound".to_owned()])).await.unwrap();
    requests
        .send(ask(SECRET, vec!["default".to_owned(), "ROOTCA".to_owned()]))
        .await
        .unwrap();
    let mut client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(64 << 20);
    let mut responses = client
        .delta_aggregated_resources(ReceiverStream::new(stream))
        .await
        .unwrap()
        .into_inner();
    while let Some(Ok(response)) = responses.next().await {
        let answer = DeltaDiscoveryRequest {
            response_nonce: response.nonce.clone(),
            ..ask(&response.type_url, Vec::new())
        };
        requests.send(answer).await.unwrap();
        let what = describe(number, &response);
        if response.type_url == CLUSTER {
            let names = what
                .names
                .iter()
                .filter(|name| name.starts_with("outbound"))
                .cloned()
                .collect();
            requests.send(ask(ENDPOINTS, names)).await.unwrap();
        }
        if received.send(what).is_err() {
            return;
        }
    }
}

fn describe(proxy: usize, response: &DeltaDiscoveryResponse) -> Received {
    Received {
        proxy,
        type_url: response.type_url.clone(),
        names: response
            .resources
            .iter()
            .map(|resource| resource.name.clone())
            .collect(),
        removed: response.removed_resources.len(),
        bytes: response.encoded_len(),
    }
}

/// Collects until every proxy in `expected` has had something of the type, then takes what
/// else is on its way: a status report that says all are in sync ends it.
async fn collect(
    receiver: &mut mpsc::UnboundedReceiver<Received>,
    running: &Running,
    type_url: &str,
    expected: &BTreeSet<usize>,
) -> Vec<Received> {
    let mut all = Vec::new();
    let mut waiting = expected.clone();
    let came = tokio::time::timeout(PATIENCE, async {
        while !waiting.is_empty() {
            let received = receiver.recv().await.unwrap();
            if received.type_url == type_url {
                waiting.remove(&received.proxy);
            }
            all.push(received);
        }
        loop {
            let report = control_plane::status::client::fetch(running.status_address)
                .await
                .unwrap();
            assert!(
                report.faults.is_empty() && report.withheld.is_empty(),
                "{:?} {:?}",
                report.faults,
                report.withheld
            );
            let synced = report
                .proxies
                .iter()
                .filter(|proxy| proxy.is_synced() && proxy.types.len() == 5)
                .count();
            if synced == NAMESPACES * PER_NAMESPACE {
                break;
            }
            tokio::task::yield_now().await;
        }
        while let Ok(received) = receiver.try_recv() {
            all.push(received);
        }
    });
    assert!(came.await.is_ok(), "still waiting for {type_url} at {waiting:?}");
    all
}

fn bytes(received: &[Received]) -> usize {
    received.iter().map(|received| received.bytes).sum()
}

fn of_namespace(number: usize) -> BTreeSet<usize> {
    (number * PER_NAMESPACE..(number + 1) * PER_NAMESPACE).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_sends_only_what_changed_to_only_those_it_concerns() {
    let (running, directory) = control_plane().await;
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let endpoint = Endpoint::from_shared(format!("http://{}", running.ads_address)).unwrap();
    for number in 0..NAMESPACES * PER_NAMESPACE {
        // A connection each, as proxies have.
        tokio::spawn(proxy(endpoint.connect_lazy(), number, sender.clone()));
    }
    let everyone: BTreeSet<usize> = (0..NAMESPACES * PER_NAMESPACE).collect();
    let first = collect(&mut receiver, &running, ROUTE, &everyone).await;
    let mut clusters: BTreeMap<usize, usize> = BTreeMap::new();
    for received in first.iter().filter(|received| received.type_url == CLUSTER) {
        *clusters.entry(received.proxy).or_default() += received.names.len();
    }
    assert!(
        clusters.values().all(|count| *count == PER_NAMESPACE + 1),
        "its namespace's and its own: {clusters:?}"
    );
    let initial = bytes(&first);

    // The route of one namespace.
    let saved_at = Instant::now();
    save(&directory, 7, &namespace(7, 10, false));
    let second = collect(&mut receiver, &running, ROUTE, &of_namespace(7)).await;
    let took = saved_at.elapsed();
    let touched: BTreeSet<usize> = second.iter().map(|received| received.proxy).collect();
    assert_eq!(touched, of_namespace(7));
    assert_eq!(second.len(), PER_NAMESPACE, "one response each: {second:?}");
    for received in &second {
        assert_eq!(
            (received.type_url.as_str(), received.names.as_slice(), received.removed),
            (ROUTE, ["outbound".to_owned()].as_slice(), 0)
        );
    }
    assert!(bytes(&second) * 50 < initial, "{} of {initial} bytes", bytes(&second));
    assert!(took < Duration::from_secs(5), "{took:?}");

    // The address of one Pod: the endpoints of its Service, to those who call it.
    save(&directory, 3, &namespace(3, 90, true));
    let moved = 3 * PER_NAMESPACE + PER_NAMESPACE - 1;
    let mut callers = of_namespace(3);
    // The moved Pod itself still says it is at its old address, and is given nothing.
    callers.remove(&moved);
    let mut third = Vec::new();
    let mut waiting = callers.clone();
    let came = tokio::time::timeout(PATIENCE, async {
        while !waiting.is_empty() {
            let received = receiver.recv().await.unwrap();
            waiting.remove(&received.proxy);
            third.push(received);
        }
    });
    came.await.unwrap();
    assert_eq!(
        third.iter().map(|received| received.proxy).collect::<BTreeSet<_>>(),
        callers
    );
    for received in &third {
        assert_eq!(received.type_url, ENDPOINTS);
        assert_eq!(received.names, ["outbound|50051||s9.n3.svc.cluster.local"]);
    }
    assert!(bytes(&third) < callers.len() * 400, "{} bytes", bytes(&third));
    println!(
        "initial {initial} bytes to {} proxies; a route edit {} bytes to {}, seen after {took:?}; a moved pod {} bytes to {}",
        everyone.len(),
        bytes(&second),
        touched.len(),
        bytes(&third),
        callers.len()
    );
    running.shut_down().await;
}
