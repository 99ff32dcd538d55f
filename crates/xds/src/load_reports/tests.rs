//! The session by script, and the reporter over real sockets.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use config::config_source::{ApiConfigSource, ApiType, GrpcService, GrpcTarget};
use telemetry::stats::{Registry, Scope, load_reporter};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{Request, Response, Status, Streaming};
use xds_api::envoy::config::core::v3::Node;
use xds_api::envoy::service::load_stats::v3::load_reporting_service_server::{
    LoadReportingService, LoadReportingServiceServer,
};
use xds_api::envoy::service::load_stats::v3::{LoadStatsRequest, LoadStatsResponse};

use super::session::Session;
use super::*;
use crate::client::{Connecting, Connector, Io, Settings};

const SOON: Duration = Duration::from_secs(10);

/// Says what a test put in, and remembers what was selected.
#[derive(Clone, Default)]
struct Loads(Arc<Mutex<Asked>>);

/// What was asked for, and the answers still to give.
type Asked = (Vec<Selection>, VecDeque<Vec<ClusterLoad>>);

impl LoadSource for Loads {
    fn select(&mut self, selection: &Selection) {
        self.0.lock().expect("no panic").0.push(selection.clone());
    }

    fn take(&mut self) -> Vec<ClusterLoad> {
        self.0.lock().expect("no panic").1.pop_front().unwrap_or_default()
    }
}

fn load(cluster: &str, issued: u64) -> ClusterLoad {
    let load = Load {
        issued,
        succeeded: issued - 1,
        failed: 1,
        in_progress: 2,
    };
    ClusterLoad {
        cluster: cluster.into(),
        service: "service".into(),
        dropped: 5,
        drops: vec![("lb".into(), 3)],
        localities: vec![LocalityLoad {
            region: "r".into(),
            zone: "z".into(),
            sub_zone: "s".into(),
            priority: 1,
            load,
            endpoints: vec![EndpointLoad {
                address: EndpointAddress::Socket(([10, 0, 0, 1], 80).into()),
                load,
            }],
        }],
    }
}

fn asks(clusters: &[&str], seconds: i64, per_endpoint: bool) -> LoadStatsResponse {
    LoadStatsResponse {
        clusters: clusters.iter().map(|name| (*name).to_owned()).collect(),
        send_all_clusters: clusters.is_empty(),
        load_reporting_interval: Some(xds_api::google::protobuf::Duration { seconds, nanos: 0 }),
        report_endpoint_granularity: per_endpoint,
    }
}

fn session() -> Session {
    Session::new(Node {
        id: "n".into(),
        ..Node::default()
    })
}

/// `cluster issued interval-in-seconds endpoints`.
fn lines(report: &LoadStatsRequest) -> Vec<String> {
    report
        .cluster_stats
        .iter()
        .map(|cluster| {
            let place = &cluster.upstream_locality_stats[0];
            format!(
                "{} {} {} {}",
                cluster.cluster_name,
                place.total_issued_requests,
                cluster
                    .load_report_interval
                    .as_ref()
                    .map_or(0, |interval| interval.seconds),
                place.upstream_endpoint_stats.len()
            )
        })
        .collect()
}

#[test]
fn the_first_message_says_who_reports_and_that_all_clusters_may_be_asked_for() {
    let first = session().opened();
    let node = first.node.expect("the node");
    assert_eq!(node.id, "n");
    assert_eq!(node.client_features, ["envoy.lrs.supports_send_all_clusters"]);
    assert!(first.cluster_stats.is_empty());
}

#[test]
fn nothing_is_reported_before_the_server_asks_and_then_once_an_interval() {
    let (mut session, mut loads, start) = (session(), Loads::default(), Instant::now());
    session.opened();
    assert_eq!(session.deadline(), None);
    assert!(session.report(&mut loads, start).is_none());
    session.receive(asks(&["c"], 3, false), &mut loads, start);
    assert_eq!(
        loads.0.lock().expect("no panic").0,
        [Selection::Named(BTreeSet::from(["c".to_owned()]))]
    );
    let due = start + Duration::from_secs(3);
    assert_eq!(session.deadline(), Some(due));
    loads.0.lock().expect("no panic").1 = VecDeque::from([vec![load("c", 7)], vec![load("c", 8)]]);
    let report = session.report(&mut loads, due).expect("a report");
    assert_eq!(lines(&report), ["c 7 3 0"]);
    let cluster = &report.cluster_stats[0];
    assert_eq!(
        (cluster.cluster_service_name.as_str(), cluster.total_dropped_requests),
        ("service", 5)
    );
    let drops: Vec<_> = cluster
        .dropped_requests
        .iter()
        .map(|drop| (&*drop.category, drop.dropped_count))
        .collect();
    assert_eq!(drops, [("lb", 3)]);
    let place = &cluster.upstream_locality_stats[0];
    assert_eq!(
        (
            place.total_successful_requests,
            place.total_error_requests,
            place.total_requests_in_progress
        ),
        (6, 1, 2)
    );
    assert_eq!(
        place
            .locality
            .as_ref()
            .map(|l| format!("{}/{}/{}", l.region, l.zone, l.sub_zone)),
        Some("r/z/s".into())
    );
    assert_eq!(place.priority, 1);
    // Late, and so the interval told is longer.
    let report = session
        .report(&mut loads, due + Duration::from_secs(5))
        .expect("a report");
    assert_eq!(lines(&report), ["c 8 5 0"]);
}

#[test]
fn a_changed_question_keeps_the_time_of_clusters_that_stay_and_starts_that_of_others() {
    let (mut session, mut loads, start) = (session(), Loads::default(), Instant::now());
    let seconds = |seconds| start + Duration::from_secs(seconds);
    session.opened();
    session.receive(asks(&["a", "b"], 10, false), &mut loads, start);
    loads.0.lock().expect("no panic").1 =
        VecDeque::from([vec![load("a", 1), load("b", 1)], vec![load("a", 2), load("c", 2)]]);
    session.report(&mut loads, seconds(10));
    session.receive(asks(&[], 2, true), &mut loads, seconds(14));
    let report = session.report(&mut loads, seconds(16)).expect("a report");
    assert_eq!(lines(&report), ["a 2 6 1", "c 2 2 1"]);
    let address = &report.cluster_stats[0].upstream_locality_stats[0].upstream_endpoint_stats[0].address;
    assert!(format!("{address:?}").contains("10.0.0.1"), "{address:?}");
}

#[test]
fn an_interval_of_nothing_is_no_flood() {
    let (mut session, mut loads, start) = (session(), Loads::default(), Instant::now());
    session.opened();
    session.receive(asks(&[], 0, false), &mut loads, start);
    assert!(
        session
            .deadline()
            .is_some_and(|due| due >= start + Duration::from_millis(50))
    );
    session.receive(asks(&[], -1, false), &mut loads, start);
    assert_eq!(
        session.deadline(),
        Some(start + Duration::from_secs(10)),
        "as if none was given"
    );
}

#[test]
fn another_stream_begins_without_questions() {
    let (mut session, mut loads) = (session(), Loads::default());
    session.opened();
    session.receive(asks(&[], 1, false), &mut loads, Instant::now());
    session.opened();
    assert_eq!(session.deadline(), None);
}

type Reports = mpsc::UnboundedReceiver<LoadStatsRequest>;
type Questions = mpsc::UnboundedSender<Result<LoadStatsResponse, Status>>;

/// Hands each new stream to the test.
struct Service(mpsc::UnboundedSender<(Reports, Questions)>);

#[tonic::async_trait]
impl LoadReportingService for Service {
    type StreamLoadStatsStream = Pin<Box<dyn Stream<Item = Result<LoadStatsResponse, Status>> + Send>>;

    async fn stream_load_stats(
        &self,
        request: Request<Streaming<LoadStatsRequest>>,
    ) -> Result<Response<Self::StreamLoadStatsStream>, Status> {
        let (told, reports) = mpsc::unbounded_channel();
        let (questions, asked) = mpsc::unbounded_channel();
        let mut requests = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                if told.send(request).is_err() {
                    return;
                }
            }
        });
        let _ = self.0.send((reports, questions));
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(asked))))
    }
}

struct Dial(std::net::SocketAddr);

impl Connector for Dial {
    fn connect(&self, _: &GrpcService) -> Connecting<'_> {
        Box::pin(async { Ok(Box::new(TcpStream::connect(self.0).await?) as Box<dyn Io>) })
    }
}

async fn soon<T>(receiver: &mut mpsc::UnboundedReceiver<T>) -> T {
    let received = tokio::time::timeout(SOON, receiver.recv()).await;
    received.expect("in time").expect("an open channel")
}

#[tokio::test]
async fn reports_go_over_a_real_stream_and_over_the_next_one_when_it_breaks() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (streams, mut accepted) = mpsc::unbounded_channel();
    let serving = tonic::transport::Server::builder()
        .add_service(LoadReportingServiceServer::new(Service(streams)))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(async move { drop(serving.await) });
    let loads = Loads::default();
    loads.0.lock().expect("no panic").1 = VecDeque::from([vec![load("a", 1)], vec![load("a", 2)], vec![load("a", 3)]]);
    let servers = ApiConfigSource {
        api_type: ApiType::Grpc,
        grpc_services: vec![GrpcService {
            target: GrpcTarget::EnvoyGrpc {
                cluster_name: "lrs".into(),
                authority: None,
                max_receive_message_length: None,
            },
            timeout: None,
            initial_metadata: Vec::new(),
        }],
        set_node_on_first_message_only: false,
        request_timeout: None,
        rate_limit_settings: None,
    };
    let settings = Settings {
        backoff: (Duration::from_millis(1), Duration::from_millis(20)),
        ..Settings::default()
    };
    let registry = Registry::new(1);
    let reporter = LoadReporter::new(
        Arc::new(servers),
        Node::default(),
        Arc::new(Dial(address)),
        settings,
        Box::new(loads.clone()),
        &registry,
    );
    tokio::spawn(reporter.run());
    let question = || LoadStatsResponse {
        load_reporting_interval: Some(xds_api::google::protobuf::Duration {
            seconds: 0,
            nanos: 60_000_000,
        }),
        ..asks(&[], 0, false)
    };
    for round in 0..2 {
        let (mut reports, questions) = soon(&mut accepted).await;
        assert!(soon(&mut reports).await.node.is_some());
        questions.send(Ok(question())).expect("an open stream");
        let report = soon(&mut reports).await;
        let issued = report.cluster_stats[0].upstream_locality_stats[0].total_issued_requests;
        assert_eq!(issued, round + 1);
        questions
            .send(Err(Status::unavailable("going away")))
            .expect("an open stream");
    }
    let statistics = registry.block(Scope::Process("load_reporter."), &load_reporter::TABLE);
    assert!(statistics.counter(load_reporter::RETRIES) >= 1);
    assert_eq!(statistics.counter(load_reporter::REQUESTS), 2);
}
