//! What the load generator and the backend share: an HTTP/2 connection driven over a socket.

pub mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use codec::event::{Event, Scratch};
use codec::h2;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Streams and connections are limited by nothing but memory: the proxies are measured, not these.
pub fn settings() -> Arc<h2::Config> {
    let mut config = h2::Config {
        max_concurrent_streams: 100_000,
        initial_stream_window_size: 1 << 20,
        initial_connection_window_size: 1 << 26,
        // As gRPC servers do: a frame a message.
        join_data_frames: false,
        ..h2::Config::default()
    };
    config.limits.premature_reset_total_stream_count = 0;
    Arc::new(config)
}

/// What one end of a connection does with events.
pub trait Peer {
    /// Handles one event. Commands go to `codec`.
    fn on_event(&mut self, codec: &mut h2::Connection, event: Event<'_>, now: Instant);

    /// Called after every batch of input, and once at the start. Returns when to be called again
    /// at the latest, and whether the connection is done.
    fn turn(&mut self, codec: &mut h2::Connection, now: Instant) -> (Option<Instant>, bool);
}

/// Drives a connection until it is closed or its peer is done.
///
/// # Errors
/// What the socket says, or `InvalidData` when the other end breaks the protocol.
pub async fn drive(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    mut codec: h2::Connection,
    peer: &mut impl Peer,
) -> io::Result<()> {
    let mut scratch = Scratch::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let now = Instant::now();
        while let Some(event) = codec.next_event(&mut scratch) {
            peer.on_event(&mut codec, event, now);
        }
        let (wake, done) = peer.turn(&mut codec, now);
        while !codec.output().is_empty() {
            let written = socket.write(codec.output()).await?;
            codec.advance_output(written);
            while let Some(event) = codec.next_event(&mut scratch) {
                peer.on_event(&mut codec, event, now);
            }
        }
        // TLS may hold some of it back; nothing to do without.
        socket.flush().await?;
        if done {
            // With TLS that says so to the other end, too. It may have gone already.
            let _ = socket.shutdown().await;
            return Ok(());
        }
        let read = match wake {
            None => socket.read(&mut buffer).await?,
            Some(at) => match tokio::time::timeout_at(at.into(), socket.read(&mut buffer)).await {
                Ok(read) => read?,
                Err(_elapsed) => continue,
            },
        };
        if read == 0 {
            return Ok(());
        }
        let now = Instant::now();
        let mut input = &buffer[..read];
        loop {
            match codec.receive(&mut input, &mut scratch, now) {
                Ok(Some(event)) => peer.on_event(&mut codec, event, now),
                Ok(None) => break,
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
    }
}

/// Connects without Nagle's delay, leaving the choice of the local port to the system.
///
/// # Errors
/// What the system says.
pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?.connect(address).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Listens with a backlog long enough for a burst of connections.
///
/// # Errors
/// What the system says.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4096)
}
