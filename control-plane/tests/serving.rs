//! A running control plane, seen by scripted clients over real streams.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use control_plane::model::MeshSettings;
use control_plane::serve::{Options, Running, ServeError, start};
use control_plane::status::client::fetch;
use control_plane::status::report::{ProxyReport, Report, TypeState};
use control_plane::validate::ProxyValidator;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;
use xds_api::envoy::config::core::v3::Node;
use xds_api::envoy::config::route::v3::RouteConfiguration;
use xds_api::envoy::config::route::v3::route::Action;
use xds_api::envoy::config::route::v3::route_action::ClusterSpecifier;
use xds_api::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use xds_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use xds_api::google::rpc;
use xds_api::prost::Message as _;

const PATIENCE: Duration = Duration::from_secs(20);
const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const ROUTE: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// A copy of the demo's mesh with a state directory beside it, removed with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("remora-serving-{}-{number}", std::process::id()));
        std::fs::create_dir_all(directory.join("mesh")).unwrap();
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/mesh");
        for file in std::fs::read_dir(demo).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), directory.join("mesh").join(file.file_name())).unwrap();
        }
        Self(directory)
    }

    fn routes(&self) -> PathBuf {
        self.0.join("mesh/routes.yaml")
    }

    fn split(&self, first: u32, second: u32) {
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/mesh/routes.yaml");
        let text = std::fs::read_to_string(demo).unwrap();
        let text = text
            .replace("weight: 90", &format!("weight: {first}"))
            .replace("weight: 10\n", &format!("weight: {second}\n"));
        std::fs::write(self.routes(), text).unwrap();
    }

    fn options(&self) -> Options {
        Options {
            config: self.0.join("mesh"),
            state: self.0.join("state"),
            listen: "127.0.0.1:0".parse().unwrap(),
            status_listen: "127.0.0.1:0".parse().unwrap(),
            settings: MeshSettings::new("mesh.test"),
            certificate_lifetime: Duration::from_secs(3600),
        }
    }

    async fn serve(&self) -> Running {
        start(self.options(), Arc::new(ProxyValidator::new())).await.unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const FRONTEND: &str = "sidecar~127.0.1.1~frontend.demo~demo.svc.cluster.local";

fn node(id: &str) -> Option<Node> {
    Some(Node {
        id: id.to_owned(),
        ..Default::default()
    })
}

async fn client(address: SocketAddr) -> AggregatedDiscoveryServiceClient<tonic::transport::Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    AggregatedDiscoveryServiceClient::new(endpoint.connect().await.unwrap())
}

/// A delta client that says what the test tells it to.
struct Delta {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Delta {
    async fn connect(address: SocketAddr, first: DeltaDiscoveryRequest) -> Result<Self, tonic::Status> {
        let (requests, stream) = mpsc::channel(16);
        requests.send(first).await.unwrap();
        let responses = client(address)
            .await
            .delta_aggregated_resources(ReceiverStream::new(stream))
            .await?;
        Ok(Self {
            requests,
            responses: responses.into_inner(),
        })
    }

    async fn ask(&self, type_url: &str, names: &[&str]) {
        self.requests.send(ask(type_url, names)).await.unwrap();
    }

    async fn next(&mut self) -> DeltaDiscoveryResponse {
        let next = tokio::time::timeout(PATIENCE, self.responses.message());
        next.await
            .expect("a response comes")
            .unwrap()
            .expect("the stream goes on")
    }

    async fn answer(&self, response: &DeltaDiscoveryResponse, refusal: Option<&str>) {
        let answer = DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: refusal.map(|reason| rpc::Status {
                code: 3,
                message: reason.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        };
        self.requests.send(answer).await.unwrap();
    }
}

fn ask(type_url: &str, names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: type_url.to_owned(),
        resource_names_subscribe: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    }
}

fn first(id: &str, type_url: &str, names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: node(id),
        ..ask(type_url, names)
    }
}

/// The weights of the greeter's split.
fn weights(table: &[u8]) -> Vec<u32> {
    let table = RouteConfiguration::decode(table).unwrap();
    let host = table
        .virtual_hosts
        .iter()
        .find(|host| host.name.starts_with("greeter.demo"))
        .unwrap();
    let Some(Action::Route(action)) = &host.routes[0].action else {
        panic!("{host:?}");
    };
    match &action.cluster_specifier {
        Some(ClusterSpecifier::WeightedClusters(split)) => split
            .clusters
            .iter()
            .map(|cluster| cluster.weight.unwrap().value)
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn body(response: &DeltaDiscoveryResponse) -> &[u8] {
    &response.resources[0].resource.as_ref().unwrap().value
}

/// Asks for the status until it is as wanted.
async fn status(running: &Running, wanted: impl Fn(&Report) -> bool) -> Report {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let report = fetch(running.status_address).await.unwrap();
        if wanted(&report) {
            return report;
        }
        assert!(Instant::now() < deadline, "{report:#?}");
        tokio::task::yield_now().await;
    }
}

fn state_of<'a>(proxy: &'a ProxyReport, service: &str) -> Option<&'a TypeState> {
    proxy
        .types
        .iter()
        .find(|kind| kind.service == service)
        .map(|kind| &kind.state)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_edit_is_pushed_within_200_ms() {
    let directory = Directory::new();
    let running = directory.serve().await;
    let mut proxy = Delta::connect(running.ads_address, first(FRONTEND, ROUTE, &["outbound"]))
        .await
        .unwrap();
    let response = proxy.next().await;
    assert_eq!(weights(body(&response)), [90, 10]);
    proxy.answer(&response, None).await;
    let mut times = Vec::new();
    for weight in 1..=9 {
        let saved = Instant::now();
        directory.split(weight, 100 - weight);
        let response = proxy.next().await;
        times.push(saved.elapsed());
        assert_eq!(weights(body(&response)), [weight, 100 - weight]);
        proxy.answer(&response, None).await;
    }
    times.sort();
    // The median, so that another process's burst does not fail the test.
    assert!(times[4] < Duration::from_millis(200), "{times:?}");
    running.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_the_world_client_is_served_too() {
    let directory = Directory::new();
    let running = directory.serve().await;
    let (requests, stream) = mpsc::channel(16);
    let request = |names: &[&str], answered: Option<&DiscoveryResponse>| DiscoveryRequest {
        node: node(FRONTEND),
        type_url: if names.is_empty() { CLUSTER } else { ROUTE }.to_owned(),
        resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
        response_nonce: answered.map(|response| response.nonce.clone()).unwrap_or_default(),
        version_info: answered
            .map(|response| response.version_info.clone())
            .unwrap_or_default(),
        ..Default::default()
    };
    requests.send(request(&[], None)).await.unwrap();
    let mut client = client(running.ads_address).await;
    let responses = client.stream_aggregated_resources(ReceiverStream::new(stream));
    let mut responses = responses.await.unwrap().into_inner();
    let clusters = responses.message().await.unwrap().unwrap();
    assert_eq!((clusters.type_url.as_str(), clusters.resources.len()), (CLUSTER, 4));
    requests.send(request(&[], Some(&clusters))).await.unwrap();
    requests.send(request(&["outbound"], None)).await.unwrap();
    let routes = responses.message().await.unwrap().unwrap();
    requests.send(request(&["outbound"], Some(&routes))).await.unwrap();
    directory.split(1, 99);
    let edited = responses.message().await.unwrap().unwrap();
    assert_eq!(edited.type_url, ROUTE);
    assert_ne!(edited.version_info, routes.version_info);
    assert_eq!(weights(&edited.resources[0].value), [1, 99]);
    running.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_in_the_status_until_a_later_version_is_accepted() {
    let directory = Directory::new();
    let running = directory.serve().await;
    let mut proxy = Delta::connect(running.ads_address, first(FRONTEND, ROUTE, &["outbound"]))
        .await
        .unwrap();
    let response = proxy.next().await;
    proxy.answer(&response, Some("virtual_hosts[0]: not like this")).await;
    let refused = TypeState::Nacked {
        reason: "virtual_hosts[0]: not like this".to_owned(),
    };
    let report = status(&running, |report| {
        report
            .proxies
            .iter()
            .any(|proxy| state_of(proxy, "RDS") == Some(&refused))
    })
    .await;
    assert_eq!(
        (report.proxies[0].node.as_str(), report.proxies[0].variant.as_str()),
        (FRONTEND, "delta")
    );
    directory.split(50, 50);
    let response = proxy.next().await;
    proxy.answer(&response, None).await;
    let report = status(&running, |report| report.proxies.iter().all(ProxyReport::is_synced)).await;
    let routes = &report.proxies[0].types[0];
    assert_eq!((routes.version.len(), routes.resources), (16, 1));
    assert!(
        routes.changed_at.starts_with("20") && routes.changed_at.ends_with('Z'),
        "{}",
        routes.changed_at
    );
    drop(proxy);
    status(&running, |report| report.proxies.is_empty()).await;
    running.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_is_in_the_status_and_changes_nothing_until_it_is_good() {
    let directory = Directory::new();
    let running = directory.serve().await;
    let mut proxy = Delta::connect(running.ads_address, first(FRONTEND, ROUTE, &["outbound"]))
        .await
        .unwrap();
    let response = proxy.next().await;
    proxy.answer(&response, None).await;
    let good = std::fs::read_to_string(directory.routes()).unwrap();
    std::fs::write(directory.routes(), good.replace("weight: 90", "weigth: 5")).unwrap();
    let report = status(&running, |report| !report.faults.is_empty()).await;
    let fault = &report.faults[0];
    let line = good.lines().position(|line| line.contains("weight: 90")).unwrap() + 1;
    assert_eq!((fault.file.as_str(), fault.line as usize), ("routes.yaml", line));
    assert_eq!(fault.path, "spec.rules[0].backendRefs[0].weigth");
    assert!(report.proxies.iter().all(ProxyReport::is_synced));
    directory.split(20, 80);
    let response = proxy.next().await;
    assert_eq!(weights(body(&response)), [20, 80], "the first thing that comes");
    status(&running, |report| report.faults.is_empty()).await;
    running.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_a_proxy_that_says_what_it_has_is_sent_nothing_but_a_new_certificate() {
    let directory = Directory::new();
    let running = directory.serve().await;
    let mut proxy = Delta::connect(running.ads_address, first(FRONTEND, CLUSTER, &[]))
        .await
        .unwrap();
    let clusters = proxy.next().await;
    proxy.ask(SECRET, &["default", "ROOTCA"]).await;
    let secrets = proxy.next().await;
    running.shut_down().await;

    let running = directory.serve().await;
    let known = |response: &DeltaDiscoveryResponse| {
        response
            .resources
            .iter()
            .map(|resource| (resource.name.clone(), resource.version.clone()))
            .collect()
    };
    let again = DeltaDiscoveryRequest {
        initial_resource_versions: known(&clusters),
        ..first(FRONTEND, CLUSTER, &[])
    };
    let mut proxy = Delta::connect(running.ads_address, again).await.unwrap();
    let again = DeltaDiscoveryRequest {
        initial_resource_versions: known(&secrets),
        ..ask(SECRET, &["default", "ROOTCA"])
    };
    proxy.requests.send(again).await.unwrap();
    let response = proxy.next().await;
    let names: Vec<&str> = response
        .resources
        .iter()
        .map(|resource| resource.name.as_str())
        .collect();
    assert_eq!(
        (response.type_url.as_str(), names),
        (SECRET, vec!["default"]),
        "same root, same clusters"
    );
    running.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_on_the_stream() {
    let directory = Directory::new();
    let options = Options {
        certificate_lifetime: Duration::from_secs(1),
        ..directory.options()
    };
    let running = start(options, Arc::new(ProxyValidator::new())).await.unwrap();
    let mut proxy = Delta::connect(running.ads_address, first(FRONTEND, SECRET, &["default", "ROOTCA"]))
        .await
        .unwrap();
    let mut versions = Vec::new();
    for _ in 0..3 {
        let response = proxy.next().await;
        let identity = response
            .resources
            .iter()
            .find(|resource| resource.name == "default")
            .unwrap();
        versions.push(identity.version.clone());
        assert_eq!(
            response.resources.len(),
            if versions.len() == 1 { 2 } else { 1 },
            "the root stays"
        );
        proxy.answer(&response, None).await;
    }
    versions.dedup();
    assert_eq!(versions.len(), 3);
    running.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_pod_appears_later_is_served_then() {
    let directory = Directory::new();
    let running = directory.serve().await;
    let late = "sidecar~127.0.1.9~late.demo~demo.svc.cluster.local";
    let mut proxy = Delta::connect(running.ads_address, first(late, ROUTE, &["outbound"]))
        .await
        .unwrap();
    let report = status(&running, |report| {
        report.proxies.iter().any(|proxy| proxy.trouble.is_some())
    })
    .await;
    assert!(
        report.proxies[0]
            .trouble
            .as_ref()
            .unwrap()
            .contains("there is no Pod demo/late")
    );
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: late, namespace: demo}\nstatus: {podIP: 127.0.1.9}\n";
    std::fs::write(directory.0.join("mesh/late.yaml"), pod).unwrap();
    assert_eq!(weights(body(&proxy.next().await)), [90, 10]);
    let impostor = "sidecar~127.0.1.8~late.demo~demo.svc.cluster.local";
    let _impostor = Delta::connect(running.ads_address, first(impostor, SECRET, &["default"]))
        .await
        .unwrap();
    let is_told = |report: &Report| {
        report.proxies.iter().any(|proxy| {
            proxy
                .trouble
                .as_ref()
                .is_some_and(|trouble| trouble.contains("is at 127.0.1.9"))
        })
    };
    status(&running, is_told).await;
    running.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_does_not_say_who_it_is_ends_with_what_is_expected() {
    let directory = Directory::new();
    let running = directory.serve().await;
    for (request, expected) in [
        (first("me", CLUSTER, &[]), "sidecar~IP~POD.NAMESPACE"),
        (ask(CLUSTER, &[]), "node: missing"),
        (
            first(FRONTEND, "type.googleapis.com/envoy.service.runtime.v3.Runtime", &[]),
            "type_url: found",
        ),
    ] {
        let mut stream = Delta::connect(running.ads_address, request).await.unwrap();
        let status = tokio::time::timeout(PATIENCE, stream.responses.message())
            .await
            .unwrap()
            .unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert!(status.message().contains(expected), "{status}");
    }
    running.shut_down().await;
}

#[tokio::test]
async fn an_address_that_others_could_reach_is_refused() {
    let directory = Directory::new();
    for address in ["0.0.0.0:0", "192.0.2.1:15010"] {
        let options = Options {
            listen: address.parse().unwrap(),
            ..directory.options()
        };
        let error = start(options, Arc::new(ProxyValidator::new())).await.unwrap_err();
        assert!(matches!(error, ServeError::NotLoopback(_)), "{error}");
        assert!(error.to_string().contains("not authenticated"), "{error}");
    }
}
