//! Listening sockets: how they are made from a listener's settings, and handed to workers.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use config::address::Address;
use config::listener::{Listener, TcpKeepalive};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use upstream::endpoint::EndpointAddress;

/// Listen backlog where the configuration says nothing.
const BACKLOG: u32 = 4096;

/// Everything about a listener's sockets that can't be changed while they are open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SocketSettings {
    /// The address, and the additional ones.
    pub(crate) addresses: Vec<Address>,
    backlog: u32,
    reuse_port: bool,
    transparent: bool,
    freebind: bool,
    keepalive: Option<TcpKeepalive>,
}

impl SocketSettings {
    /// Of a listener; none if it has no sockets of its own.
    pub(crate) fn of(listener: &Listener) -> Option<Self> {
        listener.bind_to_port.then(|| SocketSettings {
            addresses: std::iter::once(&listener.address)
                .chain(&listener.additional_addresses)
                .cloned()
                .collect(),
            backlog: listener.tcp_backlog_size.unwrap_or(BACKLOG),
            reuse_port: listener.enable_reuse_port,
            transparent: listener.transparent.unwrap_or(false),
            freebind: listener.freebind.unwrap_or(false),
            keepalive: listener.tcp_keepalive,
        })
    }

    /// Opens one socket for each worker on each address; by worker. Where they can't share the port, they share one
    /// socket. All are open before any of them is used, so that an address in use is found out as a whole.
    ///
    /// # Errors
    /// What the system says: in use, not available, not permitted.
    pub(crate) fn open(&self, workers: usize) -> io::Result<(Vec<Vec<ListeningSocket>>, Vec<EndpointAddress>)> {
        let mut sockets: Vec<Vec<ListeningSocket>> = (0..workers).map(|_| Vec::new()).collect();
        let mut bound = Vec::new();
        for address in &self.addresses {
            let first = match address {
                Address::Socket(address) => ListeningSocket::Tcp(self.open_tcp(*address)?),
                Address::Pipe { path, mode } => ListeningSocket::Unix(self.open_unix(path, *mode)?),
                Address::Name { .. } => {
                    let reason = "only IP addresses and paths can be listened on";
                    return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
                }
            };
            let shown = first.address(address)?;
            let mut first = Some(first);
            for sockets in &mut sockets {
                let socket = match (&shown, first.take()) {
                    (_, Some(socket)) => socket,
                    (EndpointAddress::Socket(address), None) if self.reuse_port => {
                        ListeningSocket::Tcp(self.open_tcp(*address)?)
                    }
                    _ => continue,
                };
                sockets.push(socket);
            }
            share(&mut sockets)?;
            bound.push(shown);
        }
        Ok((sockets, bound))
    }

    fn open_tcp(&self, address: SocketAddr) -> io::Result<std::net::TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        // Each worker has a socket of its own on the port: the kernel spreads connections, no worker wakes another.
        if self.reuse_port {
            socket.set_reuse_port(true)?;
        }
        let is_ipv4 = address.is_ipv4();
        if !is_ipv4 {
            socket.set_only_v6(true)?;
        }
        match (self.transparent, is_ipv4) {
            (true, true) => socket.set_ip_transparent_v4(true)?,
            (true, false) => socket.set_ip_transparent_v6(true)?,
            (false, _) => {}
        }
        match (self.freebind, is_ipv4) {
            (true, true) => socket.set_freebind_v4(true)?,
            (true, false) => socket.set_freebind_v6(true)?,
            (false, _) => {}
        }
        // Accepted connections have it from the socket they come by (tcp(7)).
        if let Some(keepalive) = &self.keepalive {
            socket.set_tcp_keepalive(&parameters(keepalive))?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(self.backlog).unwrap_or(i32::MAX))?;
        Ok(socket.into())
    }

    fn open_unix(&self, path: &str, mode: u32) -> io::Result<std::os::unix::net::UnixListener> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match path.strip_prefix('@') {
            // A leading NUL is the abstract namespace (unix(7)).
            Some(name) => socket.bind(&SockAddr::unix(format!("\0{name}"))?)?,
            None => {
                // What a process before us has left behind; that there is none is no fault.
                let _ = std::fs::remove_file(path);
                socket.bind(&SockAddr::unix(path)?)?;
                if mode != 0 {
                    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
                }
            }
        }
        socket.listen(i32::try_from(self.backlog).unwrap_or(i32::MAX))?;
        Ok(socket.into())
    }
}

/// Gives the workers without a socket for the last address a share of the first worker's.
fn share(sockets: &mut [Vec<ListeningSocket>]) -> io::Result<()> {
    let Some((first, others)) = sockets.split_first_mut() else {
        return Ok(());
    };
    for other in others.iter_mut().filter(|other| other.len() < first.len()) {
        if let Some(socket) = first.last() {
            other.push(socket.try_clone()?);
        }
    }
    Ok(())
}

/// Keepalive as the system takes it.
pub(crate) fn parameters(keepalive: &TcpKeepalive) -> socket2::TcpKeepalive {
    let mut parameters = socket2::TcpKeepalive::new();
    if let Some(time) = keepalive.keepalive_time.filter(|time| *time > Duration::ZERO) {
        parameters = parameters.with_time(time);
    }
    if let Some(interval) = keepalive
        .keepalive_interval
        .filter(|interval| *interval > Duration::ZERO)
    {
        parameters = parameters.with_interval(interval);
    }
    if let Some(probes) = keepalive.keepalive_probes.filter(|probes| *probes > 0) {
        parameters = parameters.with_retries(probes);
    }
    parameters
}

/// A listening socket of either family.
#[derive(Debug)]
pub(crate) enum ListeningSocket {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A Unix domain socket.
    Unix(std::os::unix::net::UnixListener),
}

impl ListeningSocket {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            ListeningSocket::Tcp(socket) => ListeningSocket::Tcp(socket.try_clone()?),
            ListeningSocket::Unix(socket) => ListeningSocket::Unix(socket.try_clone()?),
        })
    }

    /// What it is bound to: with the port that the system chose where the configuration says 0.
    fn address(&self, configured: &Address) -> io::Result<EndpointAddress> {
        Ok(match self {
            ListeningSocket::Tcp(socket) => EndpointAddress::Socket(socket.local_addr()?),
            ListeningSocket::Unix(_) => EndpointAddress::Pipe(Arc::from(configured.to_string())),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn settings(address: Address) -> SocketSettings {
        SocketSettings {
            addresses: vec![address],
            backlog: 16,
            reuse_port: true,
            transparent: false,
            freebind: false,
            keepalive: None,
        }
    }

    fn any_port() -> Address {
        Address::Socket(([127, 0, 0, 1], 0).into())
    }

    #[test]
    fn every_worker_has_a_socket_on_every_address() {
        for reuse_port in [true, false] {
            let settings = SocketSettings {
                addresses: vec![any_port(), any_port()],
                reuse_port,
                ..settings(any_port())
            };
            let (sockets, bound) = settings.open(3).unwrap();
            assert_eq!(bound.len(), 2);
            for worker in &sockets {
                let ports: Vec<_> = worker
                    .iter()
                    .map(|socket| socket.address(&any_port()).unwrap())
                    .collect();
                assert_eq!(ports, bound);
            }
        }
    }

    #[test]
    fn a_unix_socket_has_its_mode_and_takes_the_place_of_one_left_behind() {
        let path = std::env::temp_dir().join(format!("remora-listening-{}", std::process::id()));
        let pipe = Address::Pipe {
            path: path.to_str().unwrap().into(),
            mode: 0o620,
        };
        for _ in 0..2 {
            let (sockets, _) = settings(pipe.clone()).open(2).unwrap();
            assert_eq!(sockets[1].len(), 1);
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o620);
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn an_abstract_name_can_be_listened_on() {
        let name = format!("@remora-listening-{}", std::process::id());
        let pipe = Address::Pipe {
            path: name.as_str().into(),
            mode: 0,
        };
        let (sockets, bound) = settings(pipe).open(1).unwrap();
        assert_eq!(bound, [EndpointAddress::Pipe(name.as_str().into())]);
        let address = SockAddr::unix(format!("\0{}", &name[1..])).unwrap();
        let caller = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        caller.connect(&address).unwrap();
        drop(sockets);
        let mut caller: std::os::unix::net::UnixStream = caller.into();
        // Nobody accepts any more.
        assert!(matches!(caller.read(&mut [0]), Ok(0) | Err(_)));
    }

    #[test]
    fn keepalive_is_that_of_the_listener() {
        let keepalive = TcpKeepalive {
            keepalive_probes: Some(3),
            keepalive_time: Some(Duration::from_secs(30)),
            keepalive_interval: None,
        };
        let settings = SocketSettings {
            keepalive: Some(keepalive),
            ..settings(any_port())
        };
        let (sockets, bound) = settings.open(1).unwrap();
        let ListeningSocket::Tcp(listener) = &sockets[0][0] else {
            panic!()
        };
        let EndpointAddress::Socket(address) = bound[0] else {
            panic!()
        };
        let _caller = std::net::TcpStream::connect(address).unwrap();
        listener.set_nonblocking(false).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let accepted = socket2::SockRef::from(&accepted);
        assert!(accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), Duration::from_secs(30));
        assert_eq!(accepted.tcp_keepalive_retries().unwrap(), 3);
    }
}
