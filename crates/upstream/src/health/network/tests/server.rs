//! The servers that health checks are tried on.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::endpoint::EndpointAddress;

/// What a server does with a health check.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Answer {
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

pub(super) const SERVING: Answer = Answer::Serving(1);
pub(super) const NOT_SERVING: Answer = Answer::Serving(2);

/// A server whose answer the test chooses.
#[derive(Clone)]
pub(super) struct Server {
    answer: Arc<Mutex<Answer>>,
    connections: Arc<AtomicUsize>,
    /// Method, path, authority and body of the last request.
    pub(super) seen: Arc<Mutex<String>>,
}

impl Server {
    pub(super) fn new(answer: Answer) -> Self {
        let (answer, seen) = (Arc::new(Mutex::new(answer)), Arc::default());
        Self {
            answer,
            connections: Arc::default(),
            seen,
        }
    }

    pub(super) fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(super) async fn listen(&self) -> EndpointAddress {
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

    pub(super) async fn serve_http2(self, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
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
                    let response = http::Response::builder().status(status).body(()).unwrap();
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

fn grpc_response() -> http::response::Builder {
    http::Response::builder()
        .status(200)
        .header("content-type", "application/grpc")
}

/// Answers each connection with `answer`, once the request's head has come.
pub(super) async fn scripted(answer: &'static str) -> EndpointAddress {
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

/// An authority and a TLS server with a certificate of it.
pub(super) async fn tls_server(server: &Server) -> (SocketAddr, String) {
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
