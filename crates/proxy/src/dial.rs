//! Connecting to an endpoint: the socket, where it is bound, how it is kept alive, whom TLS speaks to.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use config::cluster::{BindConfig, UpstreamProtocol};
use config::listener::TcpKeepalive;
use config::socket_option::SocketOption;
use socket2::{Domain, Protocol, SockRef, Type};
use telemetry::stats::{Shard, cluster as stat};
use tls::{ClientContext, Peer};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use upstream::cluster::ClusterHandle;
use upstream::endpoint::{EndpointAddressRef, EndpointState};

use crate::pool::Kind;
use crate::socket::Socket;
use crate::socket_options;

/// How long an attempt has before the next address of the endpoint is tried beside it (RFC 8305 section 5; Envoy's).
const ATTEMPT_DELAY: Duration = Duration::from_millis(300);

/// Connects to an endpoint as its cluster says. The caller bounds the time (`connect_timeout`), and has counted one
/// attempt; those beyond it are counted here.
///
/// # Errors
/// What the system says.
pub(crate) async fn dial(cluster: &ClusterHandle, endpoint: &EndpointState, shard: Shard) -> io::Result<Socket> {
    match endpoint.address() {
        EndpointAddressRef::Socket(address) => {
            let bind = cluster.bind_config();
            let stream = match endpoint.more_addresses() {
                None => connect(address, bind).await,
                Some(more) => {
                    let addresses: Vec<SocketAddr> = std::iter::once(address).chain(more.iter().copied()).collect();
                    let addresses = cluster.config().happy_eyeballs.order(&addresses);
                    let count_another = || {
                        cluster.stats().local(shard).add(stat::UPSTREAM_CX_TOTAL, 1);
                        endpoint.count_another_attempt();
                    };
                    connect_to_any(addresses, bind, count_another).await
                }
            };
            let stream = stream.inspect_err(|error| {
                if LocalFailure::of(error).is_some_and(|failure| failure.is_of_bind) {
                    cluster.stats().add(shard, stat::BIND_ERRORS, 1);
                }
            })?;
            stream.set_nodelay(true)?;
            if let Some(keepalive) = &cluster.config().tcp_keepalive {
                keep_alive(&stream, keepalive)?;
            }
            Ok(Socket::Tcp(stream))
        }
        EndpointAddressRef::Pipe(path) => {
            let stream = match path.strip_prefix('@') {
                // A leading NUL is the abstract namespace (unix(7)); tokio takes it as such.
                Some(name) => UnixStream::connect(format!("\0{name}")).await?,
                None => UnixStream::connect(&**path).await?,
            };
            Ok(Socket::Unix(stream))
        }
    }
}

/// Tries addresses in their order: the next one when one has failed, or has taken a while. The first connection wins,
/// and the attempts beside it end.
async fn connect_to_any(
    addresses: Vec<SocketAddr>,
    bind: Option<&BindConfig>,
    count_another: impl Fn(),
) -> io::Result<TcpStream> {
    let mut untried = addresses.into_iter();
    let mut attempts: Vec<Pin<Box<dyn Future<Output = io::Result<TcpStream>> + '_>>> = Vec::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut is_first = true;
    loop {
        if let Some(address) = untried.next() {
            if !std::mem::take(&mut is_first) {
                count_another();
            }
            attempts.push(Box::pin(connect(address, bind)));
        } else if attempts.is_empty() {
            return Err(failure);
        }
        let mut delay = std::pin::pin!(tokio::time::sleep(ATTEMPT_DELAY));
        let outcome = poll_fn(|context| {
            for at in (0..attempts.len()).rev() {
                match attempts[at].as_mut().poll(context) {
                    Poll::Pending => {}
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Some(Ok(stream))),
                    Poll::Ready(Err(error)) => {
                        drop(attempts.swap_remove(at));
                        return Poll::Ready(Some(Err(error)));
                    }
                }
            }
            match untried.len() {
                0 => Poll::Pending,
                _ => delay.as_mut().poll(context).map(|()| None),
            }
        })
        .await;
        match outcome {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => failure = error,
            None => {}
        }
    }
}

async fn connect(address: SocketAddr, bind: Option<&BindConfig>) -> io::Result<TcpStream> {
    let Some(bind) = bind else {
        return TcpStream::connect(address).await;
    };
    let socket = prepare(&address, bind)?;
    TcpSocket::from_std_stream(socket.into()).connect(address).await
}

/// A socket for a connection to `address`, with its options and where it comes from.
fn prepare(address: &SocketAddr, bind: &BindConfig) -> io::Result<socket2::Socket> {
    let (source, options) = bind.source_for(address);
    let socket = with_options(address, bind, options).map_err(|error| LocalFailure::wrap(error, false))?;
    if let Some(source) = source {
        let bound = socket.bind(&source.into());
        bound.map_err(|error| LocalFailure::wrap(error, true))?;
    }
    Ok(socket)
}

fn with_options(address: &SocketAddr, bind: &BindConfig, options: &[SocketOption]) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if bind.freebind == Some(true) {
        match address {
            SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
            SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
        }
    }
    socket_options::set_all(&socket, address, options)?;
    Ok(socket)
}

/// A connection that failed on our side, before the endpoint was asked: its socket could not be set up.
#[derive(Debug)]
struct LocalFailure {
    error: io::Error,
    is_of_bind: bool,
}

impl LocalFailure {
    fn wrap(error: io::Error, is_of_bind: bool) -> io::Error {
        io::Error::new(error.kind(), Self { error, is_of_bind })
    }

    fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl fmt::Display for LocalFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the socket could not be set up: {}", self.error)
    }
}

impl std::error::Error for LocalFailure {}

/// Whether a connection failed on our side, before the endpoint was asked.
pub(crate) fn is_local(error: &io::Error) -> bool {
    LocalFailure::of(error).is_some()
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
            EndpointAddressRef::Socket(address) => address.ip(),
            EndpointAddressRef::Pipe(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        },
        host: (!host.is_empty()).then_some(host),
        server_name: kind.server_name,
        alpn: offered.or_else(|| context.alpn_protocols().is_empty().then_some(alpn)),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::net::TcpListener;

    use super::*;

    async fn listening() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        (listener, address)
    }

    /// An address that nobody listens at.
    async fn closed() -> SocketAddr {
        listening().await.1
    }

    #[tokio::test]
    async fn an_address_that_refuses_is_followed_by_the_next_at_once() {
        let (_listener, open) = listening().await;
        let more = Cell::new(0);
        let addresses = vec![closed().await, closed().await, open];
        let stream = connect_to_any(addresses, None, || more.set(more.get() + 1)).await;
        assert_eq!(stream.expect("one listens").peer_addr().expect("connected"), open);
        assert_eq!(more.get(), 2);
    }

    #[tokio::test]
    async fn when_all_refuse_the_last_refusal_is_the_error() {
        let addresses = vec![closed().await, closed().await];
        let error = connect_to_any(addresses, None, || ())
            .await
            .expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
