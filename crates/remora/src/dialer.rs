//! Connections to management servers: to an endpoint of the cluster that a gRPC service names, with its transport socket,
//! or to a target of gRPC's own naming.

mod counted;
mod google_grpc;

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use config::config_source::{GrpcService, GrpcTarget};
use counted::Counted;
use telemetry::stats::{Counter, Shard, ssl};
use tls::{Loader, Peer, Session, TlsError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use upstream::balancer::{PickContext, Random, WorkerLb};
use upstream::cluster::ClusterHandle;
use upstream::clusters::ClustersView;
use upstream::endpoint::{EndpointAddressRef, EndpointState};
use upstream::transport::Transport;

/// Dials endpoints of the clusters in force.
#[derive(Debug)]
pub(crate) struct Dialer {
    clusters: ClustersView,
    loader: Arc<Loader>,
    balancing: Mutex<WorkerLb>,
}

impl Dialer {
    pub(crate) fn new(clusters: ClustersView, loader: Arc<Loader>) -> Self {
        let seed = Random::from_entropy().next_u64();
        Self {
            clusters,
            loader,
            balancing: Mutex::new(WorkerLb::new(Shard::CONTROL, seed)),
        }
    }

    async fn dial(&self, service: &GrpcService) -> io::Result<Box<dyn xds::Io>> {
        let cluster_name = match &service.target {
            GrpcTarget::EnvoyGrpc { cluster_name, .. } => cluster_name,
            GrpcTarget::GoogleGrpc {
                target_uri,
                channel_credentials,
                ..
            } => return google_grpc::dial(target_uri, channel_credentials.as_ref(), &self.loader).await,
        };
        let active = self.clusters.active();
        let cluster = active
            .get(cluster_name)
            .ok_or_else(|| other(format!("there is no cluster {cluster_name}")))?;
        let endpoint = {
            let mut balancing = self
                .balancing
                .lock()
                .map_err(|_| other("the balancer panicked".to_owned()))?;
            cluster.pick(&PickContext::default(), &mut balancing)
        };
        let endpoint =
            endpoint.map_err(|why| other(format!("cluster {cluster_name} has no usable endpoint: {why:?}")))?;
        let counted = Counted::new(cluster);
        match connect(&endpoint, cluster).await {
            Ok(stream) => Ok(counted.connected(stream)),
            Err(error) => {
                counted.failed();
                Err(error)
            }
        }
    }
}

impl xds::Connector for Dialer {
    fn connect(
        &self,
        service: &GrpcService,
    ) -> Pin<Box<dyn Future<Output = io::Result<Box<dyn xds::Io>>> + Send + '_>> {
        let service = service.clone();
        Box::pin(async move { self.dial(&service).await })
    }
}

fn other(message: String) -> io::Error {
    io::Error::other(message)
}

async fn connect(endpoint: &EndpointState, cluster: &ClusterHandle) -> io::Result<Box<dyn xds::Io>> {
    let host = Some(endpoint.hostname()).filter(|host| !host.is_empty());
    let transport = cluster.transport(endpoint);
    match endpoint.address() {
        EndpointAddressRef::Socket(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            secure(stream, address.ip(), host, transport, Some(cluster)).await
        }
        EndpointAddressRef::Pipe(path) => {
            // A leading NUL is how the system spells the abstract namespace.
            let path = path
                .strip_prefix('@')
                .map_or_else(|| path.to_string(), |name| format!("\0{name}"));
            let stream = UnixStream::connect(path).await?;
            secure(stream, IpAddr::V4(Ipv4Addr::LOCALHOST), host, transport, Some(cluster)).await
        }
    }
}

/// Speaks TLS, where the transport is that, and counts in the cluster's statistics how it began.
async fn secure(
    stream: impl xds::Io + 'static,
    address: IpAddr,
    host: Option<&str>,
    transport: &Transport,
    cluster: Option<&ClusterHandle>,
) -> io::Result<Box<dyn xds::Io>> {
    match transport {
        Transport::RawBuffer => Ok(Box::new(stream)),
        Transport::NotReady { reason } => Err(other(format!("TLS is not ready: {reason}"))),
        Transport::Tls(context) => {
            let mut output = Vec::new();
            let peer = Peer {
                address,
                host,
                server_name: None,
                alpn: Some(&[b"h2"]),
            };
            let session = context.connect(&peer, &mut output).map_err(tls_error)?;
            let mut stream = TlsStream {
                stream,
                session,
                output,
                written: 0,
                plaintext: Vec::new(),
                read: 0,
                ended: false,
                failed: None,
            };
            let handshake = std::future::poll_fn(|context| stream.poll_handshake(context)).await;
            if let Some(cluster) = cluster {
                let stats = cluster.state().ssl_stats().local(Shard::CONTROL);
                match (&handshake, &stream.failed) {
                    (Ok(()), _) => stream.session.count_handshake(stats),
                    (Err(_), Some(counter)) => stats.add(*counter, 1),
                    (Err(_), None) => stats.add(ssl::CONNECTION_ERROR, 1),
                }
            }
            handshake?;
            Ok(Box::new(stream))
        }
    }
}

fn tls_error(error: TlsError) -> io::Error {
    other(format!("TLS: {error}"))
}

/// How much is read from the socket at a time: one TLS record.
const READ_SIZE: usize = 16 * 1024 + 512;

/// Above this, writing waits for the socket.
const MAX_OUTPUT: usize = 64 * 1024;

/// A stream through a TLS session.
struct TlsStream<S> {
    stream: S,
    session: Session,
    /// Ciphertext on its way out, of which `written` bytes have left.
    output: Vec<u8>,
    written: usize,
    /// Plaintext that has come, of which `read` bytes were taken.
    plaintext: Vec<u8>,
    read: usize,
    /// Nothing more will come.
    ended: bool,
    /// What the session failed by.
    failed: Option<Counter>,
}

impl<S: xds::Io> TlsStream<S> {
    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_send(context))?;
            if !self.session.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            if self.ended {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            ready!(self.poll_receive(context))?;
        }
    }

    /// Sends the output.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.output.len() {
            let n = ready!(Pin::new(&mut self.stream).poll_write(context, &self.output[self.written..]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += n;
        }
        self.output.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Reads once from the socket into the plaintext.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; READ_SIZE];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        if buffer.filled().is_empty() {
            self.ended = true;
            return Poll::Ready(Ok(()));
        }
        let progress = self
            .session
            .read_tls(buffer.filled(), &mut self.plaintext, &mut self.output);
        match progress {
            Ok(progress) => {
                self.ended |= progress.closed;
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                self.failed = Some(error.stat());
                // The alert says to the peer what was wrong; whether it leaves does not matter any more.
                let _ = self.poll_send(context);
                Poll::Ready(Err(tls_error(error)))
            }
        }
    }
}

impl<S: xds::Io> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.read == this.plaintext.len() {
            this.plaintext.clear();
            this.read = 0;
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            ready!(this.poll_receive(context))?;
        }
        let n = buffer.remaining().min(this.plaintext.len() - this.read);
        buffer.put_slice(&this.plaintext[this.read..this.read + n]);
        this.read += n;
        Poll::Ready(Ok(()))
    }
}

impl<S: xds::Io> AsyncWrite for TlsStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.output.len() >= MAX_OUTPUT {
            ready!(this.poll_send(context))?;
        }
        let data = &data[..data.len().min(MAX_OUTPUT)];
        this.session.write(data, &mut this.output).map_err(tls_error)?;
        // What the socket takes now leaves now; the rest when it can.
        if let Poll::Ready(Err(error)) = this.poll_send(context) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.session.close_notify(&mut this.output);
        ready!(this.poll_send(context))?;
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}
