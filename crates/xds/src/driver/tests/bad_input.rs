//! Servers that send what they should not: a clear error, the last good serving, bounded memory.

use std::convert::Infallible;
use std::task::{Context, Poll};

use tonic::codegen::{Service as HttpService, http};
use tonic::server::NamedService;
use xds_api::google::protobuf::Any;

use super::*;

/// A client whose server has sent the cluster `c` and the listener `l`, and heard that they are fine.
async fn served(delta: Delta) -> (Handle, Server, Conversation) {
    let mut server = Server::start().await;
    let handle = start(options(delta, &[server.address]));
    let mut stream = server.accept().await;
    stream.send(CDS, "1", &[fixture("c", &[])]);
    stream.send(LDS, "1", &[fixture("l", &["cds:c"])]);
    until(&handle, "cds:c lds:l").await;
    while stream.request_of(LDS).await.nonce.is_empty() {}
    (handle, server, stream)
}

async fn refusal(stream: &mut Conversation, resource_type: ResourceType) -> String {
    loop {
        if let Some(text) = stream.request_of(resource_type).await.refusal {
            return text;
        }
    }
}

#[test]
fn a_resource_that_is_cut_short_is_refused_by_name_and_its_last_good_value_serves() {
    both(|delta| async move {
        let (handle, _server, mut stream) = served(delta).await;
        let mut cut = fixture("c", &["eds:somewhere"]).any(CDS);
        cut.value.truncate(cut.value.len() - 3);
        let good = fixture("d", &[]).any(CDS);
        stream.send_anys(CDS.type_url(), "2", vec![("c".into(), cut), ("d".into(), good)]);
        let text = refusal(&mut stream, CDS).await;
        assert!(text.contains(r#"Cluster "c""#), "{text}");
        until(&handle, "cds:c cds:d lds:l").await;
    });
}

/// Answers every call with a gRPC message that is no protobuf.
#[derive(Clone)]
struct NoProtobuf;

impl NamedService for NoProtobuf {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl HttpService<http::Request<tonic::body::Body>> for NoProtobuf {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<tonic::body::Body>) -> Self::Future {
        // A field of 32 bytes of which one is there.
        let message = http_body_util::Full::from(&[0, 0, 0, 0, 3, 0x0a, 0x20, b'x'][..]);
        let response = http::Response::builder()
            .header("content-type", "application/grpc")
            .body(tonic::body::Body::new(message));
        std::future::ready(Ok(response.expect("a valid response")))
    }
}

#[test]
fn a_response_that_is_no_protobuf_ends_the_stream_with_an_error_that_says_so() {
    both(|delta| async move {
        let (handle, server, stream) = served(delta).await;
        let address = server.address;
        server.task.abort();
        let _ = server.task.await;
        drop(stream);
        let listener = TcpListener::bind(address).await.expect("the port is free again");
        let serving = tonic::transport::Server::builder()
            .add_service(NoProtobuf)
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(async move { drop(serving.await) });
        let error = || handle.status().streams[0].last_error.clone().unwrap_or_default();
        tokio::time::timeout(SOON, async {
            while !error().contains("decode") {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("the error says: {}", error()));
        assert_eq!(published(&handle.configs().current()), "cds:c lds:l");
    });
}

#[test]
fn responses_of_unknown_types_are_ignored_and_the_stream_goes_on() {
    both(|delta| async move {
        let (handle, _server, mut stream) = served(delta).await;
        let any = Any {
            type_url: "type.googleapis.com/some.Thing".into(),
            value: vec![1, 2, 3],
        };
        for type_url in ["type.googleapis.com/some.Thing", "", "nonsense"] {
            stream.send_anys(type_url, "9", vec![("x".into(), any.clone())]);
        }
        // In a response of a known type it is a fault.
        stream.send_anys(CDS.type_url(), "2", vec![("c".into(), any.clone())]);
        assert!(refusal(&mut stream, CDS).await.contains("some.Thing"));
        stream.send(CDS, "3", &[fixture("c", &[]), fixture("d", &[])]);
        until(&handle, "cds:c cds:d lds:l").await;
    });
}

#[test]
fn types_that_are_not_supported_are_never_asked_for_and_ignored_when_sent() {
    both(|delta| async move {
        let (handle, _server, mut stream) = served(delta).await;
        for name in [
            "envoy.config.route.v3.VirtualHost",
            "envoy.config.route.v3.ScopedRouteConfiguration",
            "envoy.config.core.v3.TypedExtensionConfig",
            "envoy.service.runtime.v3.Runtime",
        ] {
            let type_url = format!("type.googleapis.com/{name}");
            let any = Any {
                type_url: type_url.clone(),
                value: Vec::new(),
            };
            stream.send_anys(&type_url, "1", vec![("x".into(), any)]);
        }
        stream.send(CDS, "2", &[fixture("c", &[]), fixture("d", &[])]);
        until(&handle, "cds:c cds:d lds:l").await;
        assert!(stream.request_of(CDS).await.refusal.is_none());
    });
}

#[test]
fn a_name_that_is_sent_twice_is_refused_and_what_it_had_serves() {
    both(|delta| async move {
        let (handle, _server, mut stream) = served(delta).await;
        let before = until(&handle, "cds:c lds:l").await;
        stream.send(
            CDS,
            "2",
            &[fixture("c", &[]).revision(1), fixture("c", &[]).revision(2)],
        );
        assert!(refusal(&mut stream, CDS).await.contains("more than once"));
        assert!(Arc::ptr_eq(
            &before.clusters["c"],
            &handle.configs().current().clusters["c"]
        ));
    });
}

#[test]
fn a_hundred_thousand_names_that_nobody_asked_for_leave_nothing_behind() {
    both(|delta| async move {
        let (handle, _server, mut stream) = served(delta).await;
        stream.send(CDS, "2", &[fixture("c", &["eds:e"])]);
        stream.request_of(EDS).await;
        let mut endpoints: Vec<_> = (0..100_000).map(|i| fixture(&format!("unasked-{i}"), &[])).collect();
        endpoints.push(fixture("e", &[]));
        stream.send(EDS, "2", &endpoints);
        until(&handle, "cds:c eds:e lds:l").await;
        assert_eq!(handle.status().resources.len(), 3);
    });
}

#[test]
fn a_response_of_64_mib_is_read_and_what_is_wrong_in_it_is_told_and_kept_in_bounded_size() {
    both(|delta| async move {
        let (handle, _server, mut stream) = served(delta).await;
        let huge = fixture("huge", &[]).faulty(&"x".repeat(64 << 20));
        stream.send(CDS, "2", &[huge, fixture("c", &[]), fixture("d", &[])]);
        let text = refusal(&mut stream, CDS).await;
        assert!(text.contains("huge") && text.len() < 32 << 10, "{}", text.len());
        until(&handle, "cds:c cds:d lds:l").await;
        let status = handle.status();
        let of_huge = status.resources.iter().find(|resource| &*resource.key.name == "huge");
        let error = of_huge
            .and_then(|resource| resource.error.as_ref())
            .expect("the error is shown");
        assert!(
            error.details.len() < 32 << 10 && error.encoded.is_none(),
            "{}",
            error.details.len()
        );
    });
}

#[test]
fn a_server_that_never_answers_is_waited_for_as_long_as_the_configuration_says() {
    both(|delta| async move {
        let mut server = Server::start().await;
        let mut options = options(delta, &[server.address]);
        let source = Some(Arc::new(ConfigSource {
            initial_fetch_timeout: Duration::from_millis(50),
            ..ConfigSource::ads()
        }));
        (options.cds_config, options.lds_config) = (source.clone(), source);
        let handle = start(options);
        let mut stream = server.accept().await;
        stream.request_of(LDS).await;
        let mut readiness = handle.readiness();
        let ready = tokio::time::timeout(SOON, readiness.wait_for(|readiness| readiness.ready)).await;
        let ready = *ready.expect("given up on").expect("the client runs");
        assert_eq!(ready.clusters, crate::status::InitialFetch::TimedOut);
        assert!(handle.status().streams[0].connected, "and still listened to");
        stream.send(CDS, "1", &[fixture("c", &[])]);
        until(&handle, "cds:c").await;
    });
}

#[test]
fn a_flood_ends_at_what_was_sent_last_and_keeps_nothing_of_the_rest() {
    both(|delta| async move {
        let (handle, _server, mut stream) = served(delta).await;
        for version in 0..3000 {
            stream.send(
                CDS,
                &version.to_string(),
                &[fixture("c", &[]).revision(version), fixture("bad", &[]).faulty("bad")],
            );
        }
        stream.send(CDS, "last", &[fixture("c", &[]), fixture("last", &[])]);
        until(&handle, "cds:c cds:last lds:l").await;
        // In delta the bad one is still what was said last of it.
        assert_eq!(handle.status().resources.len(), if delta { 4 } else { 3 });
    });
}

#[test]
fn a_server_that_ends_every_stream_at_once_takes_nothing_away() {
    both(|delta| async move {
        let (handle, mut server, stream) = served(delta).await;
        drop(stream);
        for _ in 0..5 {
            drop(server.accept().await);
            assert_eq!(published(&handle.configs().current()), "cds:c lds:l");
        }
        let mut stream = server.accept().await;
        stream.send(CDS, "2", &[fixture("c", &[]), fixture("d", &[])]);
        until(&handle, "cds:c cds:d lds:l").await;
    });
}

#[test]
fn versions_that_go_backwards_are_taken_as_they_come() {
    both(|delta| async move {
        let (handle, _server, mut stream) = served(delta).await;
        for (version, name) in [("9", "nine"), ("3", "three"), ("", "none")] {
            stream.send(LDS, version, &[fixture("l", &["cds:c"]), fixture(name, &[])]);
            let mut configs = handle.configs();
            while !configs.current().listeners.contains_key(name) {
                configs.next().await.expect("the client runs");
            }
        }
    });
}
