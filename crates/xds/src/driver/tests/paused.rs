//! Over tonic with paused time: what takes seconds and minutes takes as long as it should, and no test waits for it.
//!
//! The server is reached through memory. With no socket in the way, time passes only when everything waits for it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::DuplexStream;
use tokio::time::Instant;
use xds_api::prost::Message as _;

use super::*;

const RDS: ResourceType = ResourceType::RouteConfiguration;

/// How much is on its way at most in each direction of a connection.
const PIPE: usize = 64 << 10;

/// Connects to the server of the test, unless the line is cut.
#[derive(Clone)]
struct Line {
    connections: mpsc::UnboundedSender<io::Result<DuplexStream>>,
    is_cut: Arc<AtomicBool>,
    attempts: Arc<Mutex<Vec<Instant>>>,
}

impl Connector for Line {
    fn connect(&self, _: &GrpcService) -> Connecting<'_> {
        Box::pin(async {
            self.attempts.lock().expect("no panic").push(Instant::now());
            if self.is_cut.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (near, far) = tokio::io::duplex(PIPE);
            self.connections.send(Ok(far)).map_err(io::Error::other)?;
            Ok(Box::new(near) as Box<dyn Io>)
        })
    }
}

/// A client, the line it uses, and the streams as the server sees them.
struct Scene {
    handle: Handle,
    line: Line,
    streams: mpsc::UnboundedReceiver<Conversation>,
}

impl Scene {
    fn start(delta: Delta, is_cut: bool) -> Self {
        let (connections, incoming) = mpsc::unbounded_channel();
        let (streams, accepted) = mpsc::unbounded_channel();
        let service = AggregatedDiscoveryServiceServer::new(Service { streams, late: false });
        let serving = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(UnboundedReceiverStream::new(incoming));
        tokio::spawn(async move { drop(serving.await) });
        let line = Line {
            connections,
            is_cut: Arc::new(AtomicBool::new(is_cut)),
            attempts: Arc::default(),
        };
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let options = Options {
            settings: Settings::default(),
            ..options(delta, &[nowhere])
        };
        let client = Client::new(
            options,
            Arc::new(FixtureDecoder),
            Arc::new(line.clone()),
            &Registry::new(1),
        );
        let handle = client.handle();
        tokio::spawn(client.run());
        Self {
            handle,
            line,
            streams: accepted,
        }
    }

    async fn accept(&mut self) -> Conversation {
        self.streams.recv().await.expect("a running server")
    }

    /// How long it takes until this is published.
    async fn time_until(&self, expected: &str) -> Duration {
        let (begin, mut configs) = (Instant::now(), self.handle.configs());
        while published(&configs.current()) != expected {
            configs.next().await.expect("the client runs");
            assert!(
                begin.elapsed() < Duration::from_secs(3600),
                "{expected:?} is never published"
            );
        }
        begin.elapsed()
    }
}

/// Runs a test for both protocols. It ends in no time, or never.
fn paused<F: Future<Output = ()>>(test: impl Fn(Delta) -> F) {
    for delta in [false, true] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(test(delta));
    }
}

/// Timers have a granularity of a millisecond, and messages take turns.
fn is_about(duration: Duration, seconds: u64) -> bool {
    let exact = Duration::from_secs(seconds);
    (exact..exact + Duration::from_millis(50)).contains(&duration)
}

#[test]
fn first_answers_that_do_not_come_are_waited_for_as_long_as_initial_fetch_timeout_says() {
    paused(|delta| async move {
        let mut scene = Scene::start(delta, false);
        let begin = Instant::now();
        let _silent = scene.accept().await;
        let mut readiness = scene.handle.readiness();
        let ready = readiness.wait_for(|readiness| readiness.ready).await;
        assert!(ready.is_ok());
        assert!(is_about(begin.elapsed(), 15), "{:?}", begin.elapsed());
    });
}

#[test]
fn endpoints_that_are_not_sent_in_fifteen_seconds_do_not_exist() {
    paused(|delta| async move {
        let mut scene = Scene::start(delta, false);
        let mut stream = scene.accept().await;
        stream.send(CDS, "1", &[fixture("c", &["eds:e"])]);
        stream.send(LDS, "1", &[]);
        let waited = scene.time_until("cds:c").await;
        assert!(is_about(waited, 15), "{waited:?}");
    });
}

#[test]
fn a_route_table_waits_fifteen_seconds_for_a_cluster_that_does_not_come() {
    paused(|delta| async move {
        let mut scene = Scene::start(delta, false);
        let mut stream = scene.accept().await;
        stream.send(CDS, "1", &[]);
        stream.send(LDS, "1", &[fixture("l", &["rds:r"])]);
        stream.request_of(RDS).await;
        stream.send(RDS, "1", &[fixture("r", &["cds:missing"])]);
        let waited = scene.time_until("lds:l rds:r").await;
        assert!(is_about(waited, 15), "{waited:?}");
    });
}

#[test]
fn a_resource_goes_when_its_time_to_live_is_over() {
    paused(|delta| async move {
        let mut scene = Scene::start(delta, false);
        let mut stream = scene.accept().await;
        let mortal = Resource {
            name: "c".into(),
            version: "1".into(),
            resource: Some(fixture("c", &[]).any(CDS)),
            ttl: Some(xds_api::google::protobuf::Duration { seconds: 60, nanos: 0 }),
            ..Default::default()
        };
        let type_url = CDS.type_url().to_owned();
        if delta {
            let response = DeltaDiscoveryResponse {
                resources: vec![mortal],
                type_url,
                ..Default::default()
            };
            let _ = stream.delta.send(Ok(response));
        } else {
            let wrapped = Any {
                type_url: "type.googleapis.com/envoy.service.discovery.v3.Resource".into(),
                value: mortal.encode_to_vec(),
            };
            let response = DiscoveryResponse {
                resources: vec![wrapped],
                type_url,
                ..Default::default()
            };
            let _ = stream.sotw.send(Ok(response));
        }
        stream.send(LDS, "1", &[]);
        scene.time_until("cds:c").await;
        let lived = scene.time_until("").await;
        assert!(is_about(lived, 60), "{lived:?}");
    });
}

#[test]
fn a_server_that_is_away_is_tried_less_and_less_often_and_found_again() {
    paused(|delta| async move {
        let mut scene = Scene::start(delta, true);
        tokio::time::sleep(Duration::from_secs(600)).await;
        let attempts = std::mem::take(&mut *scene.line.attempts.lock().expect("no panic"));
        let waits: Vec<Duration> = attempts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (number, wait) in waits.iter().enumerate() {
            let ceiling = Duration::from_millis(500 << number.min(10)).min(Duration::from_secs(30));
            assert!(
                *wait <= ceiling + Duration::from_millis(5),
                "wait {number} of {waits:?}"
            );
        }
        assert!(
            (20..200).contains(&waits.len()),
            "{} attempts in ten minutes",
            waits.len()
        );

        scene.line.is_cut.store(false, Ordering::Relaxed);
        let begin = Instant::now();
        let mut stream = scene.accept().await;
        assert!(begin.elapsed() <= Duration::from_secs(31), "{:?}", begin.elapsed());
        stream.send(CDS, "1", &[fixture("c", &[])]);
        scene.time_until("cds:c").await;
        // It answered: after the next break the wait is short again.
        let begin = Instant::now();
        stream.fail(Status::unavailable("restarted"));
        let _stream = scene.accept().await;
        assert!(begin.elapsed() <= Duration::from_millis(505), "{:?}", begin.elapsed());
    });
}

#[test]
fn a_stream_that_stood_without_a_word_starts_the_back_off_over() {
    paused(|delta| async move {
        let mut scene = Scene::start(delta, true);
        tokio::time::sleep(Duration::from_secs(600)).await;
        scene.line.is_cut.store(false, Ordering::Relaxed);
        let mut stream = scene.accept().await;
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(6)).await;
            let begin = Instant::now();
            stream.fail(Status::unavailable("restarted"));
            stream = scene.accept().await;
            assert!(begin.elapsed() <= Duration::from_millis(505), "{:?}", begin.elapsed());
        }
    });
}
