//! Connecting to an endpoint: the socket, where it is bound, how it is kept alive, whom TLS speaks to.

use std::io;
use std::net::SocketAddr;

use config::cluster::{BindConfig, UpstreamProtocol};
use config::listener::TcpKeepalive;
use socket2::{Domain, Protocol, SockRef, Type};
use tls::{ClientContext, Peer};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use upstream::cluster::ClusterHandle;
use upstream::endpoint::{EndpointAddress, EndpointState};

use crate::pool::Kind;
use crate::socket::Socket;

/// Connects to an endpoint as its cluster says. The caller bounds the time (`connect_timeout`).
///
/// # Errors
/// What the system says.
pub(crate) async fn dial(cluster: &ClusterHandle, endpoint: &EndpointState) -> io::Result<Socket> {
    match endpoint.address() {
        EndpointAddress::Socket(address) => {
            let stream = connect(*address, cluster.bind_config()).await?;
            stream.set_nodelay(true)?;
            if let Some(keepalive) = &cluster.config().tcp_keepalive {
                keep_alive(&stream, keepalive)?;
            }
            Ok(Socket::Tcp(stream))
        }
        EndpointAddress::Pipe(path) => {
            let stream = match path.strip_prefix('@') {
                // A leading NUL is the abstract namespace (unix(7)); tokio takes it as such.
                Some(name) => UnixStream::connect(format!("\0{name}")).await?,
                None => UnixStream::connect(&**path).await?,
            };
            Ok(Socket::Unix(stream))
        }
    }
}

async fn connect(address: SocketAddr, bind: Option<&BindConfig>) -> io::Result<TcpStream> {
    let Some(bind) = bind else {
        return TcpStream::connect(address).await;
    };
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if bind.freebind == Some(true) {
        match address {
            SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
            SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
        }
    }
    if let Some(source) = bind.source_for(&address) {
        socket.bind(&source.into())?;
    }
    TcpSocket::from_std_stream(socket.into()).connect(address).await
}

fn keep_alive(stream: &TcpStream, settings: &TcpKeepalive) -> io::Result<()> {
    let mut keepalive = socket2::TcpKeepalive::new();
    if let Some(time) = settings.keepalive_time {
        keepalive = keepalive.with_time(time);
    }
    if let Some(interval) = settings.keepalive_interval {
        keepalive = keepalive.with_interval(interval);
    }
    if let Some(probes) = settings.keepalive_probes {
        keepalive = keepalive.with_retries(probes);
    }
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Whom the TLS session is made to. `offered` are the protocols that the requests' filters ask for; without those and
/// without protocols in the TLS context, those of the cluster's HTTP version are offered, as in Envoy.
pub(crate) fn tls_peer<'a>(
    cluster: &ClusterHandle,
    endpoint: &'a EndpointState,
    context: &ClientContext,
    kind: Kind<'a>,
    offered: Option<&'a [&'a [u8]]>,
) -> Peer<'a> {
    let alpn: &'static [&'static [u8]] = match &cluster.config().http_protocol_options.upstream_protocol {
        UpstreamProtocol::Http1(_) => &[b"http/1.1"],
        UpstreamProtocol::Http2(_) => &[b"h2"],
        UpstreamProtocol::UseDownstream { .. } if kind.http2 == Some(true) => &[b"h2"],
        UpstreamProtocol::UseDownstream { .. } if kind.http2 == Some(false) => &[b"http/1.1"],
        UpstreamProtocol::Auto { .. } | UpstreamProtocol::UseDownstream { .. } => &[b"h2", b"http/1.1"],
    };
    let host = endpoint.hostname();
    Peer {
        address: match endpoint.address() {
            EndpointAddress::Socket(address) => address.ip(),
            EndpointAddress::Pipe(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        },
        host: (!host.is_empty()).then_some(host),
        server_name: kind.server_name,
        alpn: offered.or_else(|| context.alpn_protocols().is_empty().then_some(alpn)),
    }
}
