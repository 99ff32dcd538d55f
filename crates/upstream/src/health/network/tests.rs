//! Health checks against servers of other make on loopback: the `h2` crate for HTTP/2, plain text for the rest.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use config::cluster::{HttpHealthCheck, StatusRange};
use config::data_source::DataSource;
use config::header_mutation::{HeaderAppendAction, HeaderMutations, HeaderValueOption};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tls::{
    CertificateValidationContext, Certificates, CommonTlsContext, Loader, Parameters, UpstreamTlsContext, Validation,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

use super::*;
use crate::endpoint::EndpointAddress;
use crate::testing;

const SUCCESS: CheckResult = CheckResult::Success { degraded: false };

/// What a server does with a health check.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    /// gRPC: status 0 and this serving status.
    Serving(u8),
    /// gRPC: this status, without a message.
    GrpcStatus(&'static str),
    /// HTTP: this status and body.
    Http(u16, &'static str),
    Reset,
    Silence,
    /// As `Serving(1)`, and then no more on this connection.
    ServingAndGoAway,
}

const SERVING: Answer = Answer::Serving(1);
const NOT_SERVING: Answer = Answer::Serving(2);

/// A server whose answer the test chooses.
#[derive(Clone)]
struct Server {
    answer: Arc<Mutex<Answer>>,
    connections: Arc<AtomicUsize>,
    /// Method, path, authority and body of the last request.
    seen: Arc<Mutex<String>>,
}

impl Server {
    fn new(answer: Answer) -> Self {
        let (answer, seen) = (Arc::new(Mutex::new(answer)), Arc::default());
        Self {
            answer,
            connections: Arc::default(),
            seen,
        }
    }

    fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    async fn listen(&self) -> EndpointAddress {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (server, address) = (self.clone(), listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                server.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(server.clone().serve_http2(stream));
            }
        });
        address.into()
    }

    async fn serve_http2(self, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Ok(mut connection) = h2::server::handshake(io).await else {
            return;
        };
        // Streams that stay open until the connection ends.
        let mut silent = Vec::new();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let answer = *self.answer.lock().unwrap();
            let (parts, mut body) = request.into_parts();
            let seen = self.seen.clone();
            tokio::spawn(async move {
                let mut text = format!("{} {} ", parts.method, parts.uri);
                while let Some(Ok(data)) = body.data().await {
                    text.push_str(&String::from_utf8_lossy(&data));
                }
                *seen.lock().unwrap() = text;
            });
            match answer {
                Answer::Silence => silent.push(respond),
                Answer::Reset => respond.send_reset(h2::Reason::INTERNAL_ERROR),
                Answer::Http(status, body) => {
                    let response = ::http::Response::builder().status(status).body(()).unwrap();
                    let mut stream = respond.send_response(response, false).unwrap();
                    stream.send_data(Bytes::from_static(body.as_bytes()), true).unwrap();
                }
                Answer::GrpcStatus(status) => {
                    let response = grpc_response().header("grpc-status", status).body(()).unwrap();
                    respond.send_response(response, true).unwrap();
                }
                Answer::Serving(_) | Answer::ServingAndGoAway => {
                    let status = if let Answer::Serving(status) = answer {
                        status
                    } else {
                        1
                    };
                    let mut stream = respond.send_response(grpc_response().body(()).unwrap(), false).unwrap();
                    stream
                        .send_data(Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status]), false)
                        .unwrap();
                    let trailers = [("grpc-status".parse().unwrap(), "0".parse().unwrap())];
                    stream.send_trailers(trailers.into_iter().collect()).unwrap();
                    if answer == Answer::ServingAndGoAway {
                        connection.graceful_shutdown();
                    }
                }
            }
        }
    }
}

fn grpc_response() -> ::http::response::Builder {
    ::http::Response::builder()
        .status(200)
        .header("content-type", "application/grpc")
}

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
    }
}

async fn check(address: &EndpointAddress, settings: &HealthCheck) -> CheckResult {
    NetworkChecker.check(request(address, settings)).await.0
}

/// Answers each connection with `answer`, once the request's head has come.
async fn scripted(answer: &'static str) -> EndpointAddress {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut seen = [0; 4096];
                let _ = stream.read(&mut seen).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    address.into()
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
        http.request_headers.add.push(HeaderValueOption {
            name: "x-probe".into(),
            value: "1".into(),
            append_action: HeaderAppendAction::AppendIfExistsOrAdd,
            keep_empty_value: false,
        });
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

/// An authority and a TLS server with a certificate of it.
async fn tls_server(server: &Server) -> (SocketAddr, String) {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["cart.test".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(params, ca_key)).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (server, address) = (server.clone(), listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                server.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(server.clone().serve_http2(stream));
            }
        }
    });
    (address, ca.pem())
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

    let (_, other_ca) = tls_server(&server).await;
    assert_eq!(
        NetworkChecker.check(secured(client(&other_ca))).await.0,
        CheckResult::NetworkFailure
    );
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
