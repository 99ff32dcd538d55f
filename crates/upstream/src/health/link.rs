//! A connection to an endpoint for health checks: TCP or a Unix socket, in plaintext or TLS.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use telemetry::stats::Shard;
use tls::{Peer, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::cluster_state::ClusterState;
use crate::endpoint::EndpointAddress;
use crate::transport::Transport;

/// An open connection.
pub(super) struct Link {
    socket: Socket,
    tls: Option<Tls>,
    buffer: Vec<u8>,
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

struct Tls {
    session: Session,
    /// What is to be sent: handshakes, alerts, records.
    output: Vec<u8>,
    /// What came with the last flight of the handshake: HTTP/2's SETTINGS may.
    early: Vec<u8>,
}

/// Why a connection could not be made or is over. What it is goes to the log; for the endpoint's health all are the
/// same.
#[derive(Debug)]
pub(super) enum LinkError {
    Io(io::Error),
    Tls(tls::TlsError),
    NotReady(String),
    Closed,
}

/// Read at most this much at a time: an answer to a health check is small.
const READ_SIZE: usize = 4 * 1024;

impl Link {
    /// Connects, and ends the TLS handshake if there is one. `alpn` is offered instead of the context's own protocols.
    pub(super) async fn connect(
        address: &EndpointAddress,
        transport: &Transport,
        hostname: &str,
        alpn: Option<&[&[u8]]>,
    ) -> Result<Self, LinkError> {
        let (socket, ip) = match address {
            EndpointAddress::Socket(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                (Socket::Tcp(stream), address.ip())
            }
            EndpointAddress::Pipe(path) => {
                // A leading NUL is how the system spells the abstract namespace.
                let path = path
                    .strip_prefix('@')
                    .map_or_else(|| path.to_string(), |name| format!("\0{name}"));
                (
                    Socket::Unix(UnixStream::connect(path).await?),
                    IpAddr::V4(Ipv4Addr::LOCALHOST),
                )
            }
        };
        let mut link = Self {
            socket,
            tls: None,
            buffer: vec![0; READ_SIZE],
        };
        match transport {
            Transport::RawBuffer => {}
            Transport::NotReady { reason } => return Err(LinkError::NotReady(reason.to_string())),
            Transport::Tls(context) => {
                let host = Some(hostname).filter(|name| !name.is_empty());
                let mut output = Vec::new();
                let session = context.connect(
                    &Peer {
                        address: ip,
                        host,
                        server_name: None,
                        alpn,
                    },
                    &mut output,
                )?;
                link.tls = Some(Tls {
                    session,
                    output,
                    early: Vec::new(),
                });
                link.flush().await?;
                link.handshake().await?;
            }
        }
        Ok(link)
    }

    async fn handshake(&mut self) -> Result<(), LinkError> {
        let mut early = Vec::new();
        while self.tls.as_ref().is_some_and(|tls| tls.session.is_handshaking()) {
            if !self.receive(&mut early).await? {
                return Err(LinkError::Closed);
            }
        }
        if let Some(tls) = &mut self.tls {
            tls.early = early;
        }
        Ok(())
    }

    /// Counts the handshake, if there was one.
    pub(super) fn count_handshake(&self, cluster: &ClusterState) {
        if let Some(tls) = &self.tls {
            tls.session.count_handshake(cluster.ssl_stats().local(Shard::CONTROL));
        }
    }

    /// Sends all of `data`.
    pub(super) async fn send(&mut self, data: &[u8]) -> Result<(), LinkError> {
        match &mut self.tls {
            None => self.socket.write_all(data).await?,
            Some(tls) => {
                tls.session.write(data, &mut tls.output)?;
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Appends what comes next to `data`; false if nothing will.
    pub(super) async fn receive(&mut self, data: &mut Vec<u8>) -> Result<bool, LinkError> {
        if let Some(tls) = &mut self.tls
            && !tls.early.is_empty()
        {
            data.append(&mut tls.early);
            return Ok(true);
        }
        let n = self.socket.read(&mut self.buffer).await?;
        self.take(n, data).await
    }

    /// Appends what has come already to `data`, without waiting; false if nothing more will.
    pub(super) async fn receive_available(&mut self, data: &mut Vec<u8>) -> Result<bool, LinkError> {
        loop {
            match self.socket.try_read(&mut self.buffer) {
                Ok(n) => {
                    if !self.take(n, data).await? {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn take(&mut self, n: usize, data: &mut Vec<u8>) -> Result<bool, LinkError> {
        if n == 0 {
            return Ok(false);
        }
        let Some(tls) = &mut self.tls else {
            data.extend_from_slice(&self.buffer[..n]);
            return Ok(true);
        };
        let result = tls.session.read_tls(&self.buffer[..n], data, &mut tls.output);
        // Also after an error: the alert says to the peer what was wrong.
        let flushed = self.flush().await;
        let progress = result?;
        flushed?;
        Ok(!progress.closed)
    }

    async fn flush(&mut self) -> Result<(), LinkError> {
        if let Some(tls) = &mut self.tls
            && !tls.output.is_empty()
        {
            self.socket.write_all(&tls.output).await?;
            tls.output.clear();
        }
        Ok(())
    }
}

impl Socket {
    async fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(data).await,
            Self::Unix(stream) => stream.write_all(data).await,
        }
    }

    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer).await,
            Self::Unix(stream) => stream.read(buffer).await,
        }
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Unix(stream) => stream.try_read(buffer),
        }
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Tls(error) => write!(f, "TLS: {error}"),
            Self::NotReady(reason) => write!(f, "TLS is not ready: {reason}"),
            Self::Closed => f.write_str("the connection was closed"),
        }
    }
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<tls::TlsError> for LinkError {
    fn from(error: tls::TlsError) -> Self {
        Self::Tls(error)
    }
}
