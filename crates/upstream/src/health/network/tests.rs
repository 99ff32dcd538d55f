//! Health checks against servers of other make on loopback: the `h2` crate for HTTP/2, plain text for the rest.

mod server;

use std::sync::Arc;
use std::time::Duration;

use config::cluster::{HttpHealthCheck, StatusRange};
use config::data_source::DataSource;
use config::header_mutation::{HeaderAppendAction, HeaderMutations, HeaderValueOption};
use server::{Answer, NOT_SERVING, SERVING, Server, scripted, tls_server};
use telemetry::stats::ssl as stats;
use tls::{
    CertificateValidationContext, Certificates, CommonTlsContext, Loader, Parameters, UpstreamTlsContext, Validation,
};
use tokio::net::{TcpListener, UnixListener};

use super::*;
use crate::balancer::Random;
use crate::clusters::{Clusters, Driver};
use crate::dns::HickoryResolver;
use crate::endpoint::EndpointAddress;
use crate::testing;

const SUCCESS: CheckResult = CheckResult::Success { degraded: false };

fn grpc_check() -> HealthCheck {
    testing::health_check(3, 1)
}

fn http_check(http2: bool) -> HealthCheck {
    let checker = HealthChecker::Http(Box::new(HttpHealthCheck {
        host: None,
        path: "/healthz".into(),
        method: "GET",
        http2,
        request_headers: HeaderMutations::default(),
        expected_statuses: vec![StatusRange { start: 200, end: 300 }],
        retriable_statuses: vec![StatusRange { start: 503, end: 504 }],
        receive: Vec::new(),
        response_buffer_size: 1024,
        service_name_matcher: None,
    }));
    HealthCheck {
        checker,
        ..grpc_check()
    }
}

fn tcp_check(send: Option<&str>, receive: &[&str]) -> HealthCheck {
    let checker = HealthChecker::Tcp(TcpHealthCheck {
        send: send.map(|text| text.as_bytes().into()),
        receive: receive.iter().map(|text| text.as_bytes().into()).collect(),
    });
    HealthCheck {
        checker,
        ..grpc_check()
    }
}

fn request(address: &EndpointAddress, settings: &HealthCheck) -> CheckRequest {
    CheckRequest {
        settings: Arc::new(settings.clone()),
        address: address.clone(),
        authority: "cart".into(),
        hostname: "".into(),
        transport: Transport::RawBuffer,
        connection: None,
        cluster: testing::cluster_of(&testing::registry(), "cart"),
    }
}

async fn check(address: &EndpointAddress, settings: &HealthCheck) -> CheckResult {
    NetworkChecker.check(request(address, settings)).await.0
}

#[tokio::test]
async fn a_serving_endpoint_is_well_and_one_that_is_not_fails() {
    let server = Server::new(SERVING);
    let address = server.listen().await;
    assert_eq!(check(&address, &grpc_check()).await, SUCCESS);
    server.answer(NOT_SERVING);
    assert_eq!(check(&address, &grpc_check()).await, CheckResult::Failure);
    server.answer(Answer::GrpcStatus("12"));
    assert_eq!(check(&address, &grpc_check()).await, CheckResult::Failure);
    server.answer(Answer::Http(404, ""));
    assert_eq!(check(&address, &grpc_check()).await, CheckResult::Failure);
}

#[tokio::test]
async fn the_service_and_the_authority_are_asked_for() {
    let server = Server::new(SERVING);
    let address = server.listen().await;
    let mut settings = grpc_check();
    let grpc = GrpcHealthCheck {
        service_name: "shop.Cart".into(),
        ..GrpcHealthCheck::default()
    };
    settings.checker = HealthChecker::Grpc(grpc);
    assert_eq!(check(&address, &settings).await, SUCCESS);
    let seen = server.seen.lock().unwrap().clone();
    assert!(
        seen.starts_with("POST http://cart/grpc.health.v1.Health/Check "),
        "{seen}"
    );
    assert!(seen.ends_with("shop.Cart"), "{seen}");
}

#[tokio::test]
async fn a_connection_serves_many_checks_unless_it_shall_not() {
    let server = Server::new(SERVING);
    let address = server.listen().await;
    let mut settings = grpc_check();
    let mut kept = None;
    for _ in 0..3 {
        let request = CheckRequest {
            connection: kept.take(),
            ..request(&address, &settings)
        };
        let (result, connection) = NetworkChecker.check(request).await;
        assert_eq!(result, SUCCESS);
        kept = connection;
    }
    assert_eq!(server.connections(), 1);
    settings.reuse_connection = false;
    assert!(NetworkChecker.check(request(&address, &settings)).await.1.is_none());
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_made_anew_and_is_no_failure() {
    let server = Server::new(Answer::ServingAndGoAway);
    let address = server.listen().await;
    let settings = grpc_check();
    let (result, connection) = NetworkChecker.check(request(&address, &settings)).await;
    assert_eq!(result, SUCCESS);
    let (result, _) = NetworkChecker
        .check(CheckRequest {
            connection,
            ..request(&address, &settings)
        })
        .await;
    assert_eq!(result, SUCCESS);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn no_answer_in_time_is_a_timeout() {
    let server = Server::new(Answer::Silence);
    let address = server.listen().await;
    let settings = HealthCheck {
        timeout: Duration::from_millis(30),
        ..grpc_check()
    };
    assert_eq!(check(&address, &settings).await, CheckResult::Timeout);
}

#[tokio::test]
async fn a_reset_a_refused_connection_and_another_protocol_are_network_failures() {
    let server = Server::new(Answer::Reset);
    let address = server.listen().await;
    assert_eq!(check(&address, &grpc_check()).await, CheckResult::NetworkFailure);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refusing: EndpointAddress = listener.local_addr().unwrap().into();
    drop(listener);
    assert_eq!(check(&refusing, &grpc_check()).await, CheckResult::NetworkFailure);

    let http1 = scripted("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(check(&http1, &grpc_check()).await, CheckResult::NetworkFailure);
}

#[tokio::test]
async fn an_http_check_goes_by_the_status() {
    let server = Server::new(Answer::Http(204, ""));
    let address = server.listen().await;
    assert_eq!(check(&address, &http_check(true)).await, SUCCESS);
    let seen = server.seen.lock().unwrap().clone();
    assert!(seen.starts_with("GET http://cart/healthz"), "{seen}");
    server.answer(Answer::Http(503, "starting"));
    assert_eq!(check(&address, &http_check(true)).await, CheckResult::RetriableFailure);
    server.answer(Answer::Http(500, ""));
    assert_eq!(check(&address, &http_check(true)).await, CheckResult::Failure);
}

#[tokio::test]
async fn an_http1_check_reads_bodies_of_every_framing() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nready",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nready\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nready",
    ] {
        let mut settings = http_check(false);
        let HealthChecker::Http(http) = &mut settings.checker else {
            unreachable!("made so")
        };
        http.receive = vec![b"ready"[..].into()];
        http.request_headers.add = Box::new([HeaderValueOption {
            name: "x-probe".into(),
            value: "1".into(),
            format: Default::default(),
            append_action: HeaderAppendAction::AppendIfExistsOrAdd,
            keep_empty_value: false,
        }]);
        assert_eq!(check(&scripted(answer).await, &settings).await, SUCCESS, "{answer}");
    }
    let cut_off = scripted("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nrea").await;
    assert_eq!(check(&cut_off, &http_check(false)).await, CheckResult::NetworkFailure);
}

#[tokio::test]
async fn a_tcp_check_connects_and_compares() {
    let address = scripted("+PONG\r\n").await;
    assert_eq!(check(&address, &tcp_check(None, &[])).await, SUCCESS);
    assert_eq!(check(&address, &tcp_check(Some("PING\r\n"), &["PONG"])).await, SUCCESS);
    assert_eq!(
        check(&address, &tcp_check(Some("PING\r\n"), &["READY"])).await,
        CheckResult::Failure
    );
}

#[tokio::test]
async fn a_unix_socket_is_checked_like_any_other() {
    let directory = std::env::temp_dir().join(format!("remora-health-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("socket");
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let server = Server::new(SERVING);
    let serving = server.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serving.clone().serve_http2(stream));
        }
    });
    let address = EndpointAddress::Pipe(path.to_str().unwrap().into());
    assert_eq!(check(&address, &grpc_check()).await, SUCCESS);
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(check(&address, &grpc_check()).await, CheckResult::NetworkFailure);
}

fn client(trusted_ca: &str) -> Transport {
    let validation = CertificateValidationContext {
        trusted_ca: Some(DataSource::Inline(trusted_ca.as_bytes().into())),
        ..CertificateValidationContext::default()
    };
    let settings = UpstreamTlsContext {
        common: CommonTlsContext {
            parameters: Parameters::default(),
            certificates: Certificates::Inline(Vec::new()),
            validation: Validation::Inline(Box::new(validation)),
            alpn_protocols: Vec::new(),
        },
        sni: Some("cart.test".try_into().unwrap()),
        auto_host_sni: false,
        auto_sni_san_validation: false,
        max_session_keys: 1,
    };
    Transport::Tls(Loader::new().client(&settings, &|_| None).unwrap())
}

#[tokio::test]
async fn a_check_is_secured_as_the_cluster_is() {
    let server = Server::new(SERVING);
    let (address, ca) = tls_server(&server).await;
    let secured = |transport| CheckRequest {
        transport,
        ..request(&address.into(), &grpc_check())
    };
    let (result, connection) = NetworkChecker.check(secured(client(&ca))).await;
    assert_eq!(result, SUCCESS);
    let (result, _) = NetworkChecker
        .check(CheckRequest {
            connection,
            ..secured(client(&ca))
        })
        .await;
    assert_eq!((result, server.connections()), (SUCCESS, 1));

    let counted = request(&address.into(), &grpc_check());
    let cluster = Arc::clone(&counted.cluster);
    NetworkChecker
        .check(CheckRequest {
            transport: client(&ca),
            ..counted
        })
        .await;
    let ssl = cluster.ssl_stats();
    let counts = (ssl.counter(stats::HANDSHAKE), ssl.counter(stats::VERSIONS_TLSV1_3));
    assert_eq!(counts, (1, 1), "it counts as any other connection");

    let (_, other_ca) = tls_server(&server).await;
    let untrusted = secured(client(&other_ca));
    let cluster = Arc::clone(&untrusted.cluster);
    assert_eq!(NetworkChecker.check(untrusted).await.0, CheckResult::NetworkFailure);
    assert_eq!(cluster.ssl_stats().counter(stats::FAIL_VERIFY_ERROR), 1);
    let not_ready = Transport::NotReady {
        reason: "no secret".into(),
    };
    assert_eq!(
        NetworkChecker.check(secured(not_ready)).await.0,
        CheckResult::NetworkFailure
    );
    assert_eq!(
        check(&address.into(), &grpc_check()).await,
        CheckResult::NetworkFailure,
        "plaintext to TLS"
    );
}

/// Everything together: a cluster's driver, its checks over the network, and the table that requests are balanced by.
#[tokio::test]
async fn a_cluster_follows_what_its_endpoints_say_of_themselves() {
    let (well, ill) = (Server::new(SERVING), Server::new(NOT_SERVING));
    let mut members = testing::locality(0, 0, 0, &[1, 1]);
    for (endpoint, server) in members.endpoints.iter_mut().zip([&well, &ill]) {
        let EndpointAddress::Socket(address) = server.listen().await else {
            unreachable!("it is TCP")
        };
        endpoint.set_address(config::address::Address::Socket(address));
    }
    let mut cluster = testing::cluster("c", vec![members]);
    let often = Duration::from_millis(5);
    let settings = HealthCheck {
        interval: often,
        no_traffic_interval: often,
        ..grpc_check()
    };
    cluster.health_checks = vec![Arc::new(settings)];
    Arc::make_mut(&mut cluster.common_lb_config).update_merge_window = Duration::ZERO;
    let mut config = config::Config::default();
    config.clusters.insert("c".into(), Arc::new(cluster));

    let clusters = Clusters::new(Arc::new(testing::registry()), Loader::new(), Random::new(1));
    let mut driver = Driver::new(
        clusters,
        Arc::new(HickoryResolver::from_system()),
        Arc::new(NetworkChecker),
    );
    let map = driver.reconcile(&config);
    let mut changes = map["c"].state().subscribe();
    for (answer, healthy) in [
        (NOT_SERVING, 1),
        (SERVING, 2),
        (Answer::GrpcStatus("14"), 1),
        (SERVING, 2),
    ] {
        ill.answer(answer);
        let settled = async {
            while map["c"].table().membership().healthy != healthy {
                tokio::select! {
                    _ = driver.next() => {}
                    () = changes.changed() => {}
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), settled).await.unwrap();
    }
    assert_eq!((well.connections(), ill.connections()), (1, 1), "one connection each");
}
