//! Addresses and address ranges (`envoy.config.core.v3.Address`, `CidrRange`).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use xds_api::envoy::config::core::v3 as core;

use crate::context::Context;
use crate::rejected::Reported;

/// Where to listen or connect.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An IP address and TCP port.
    Socket(SocketAddr),
    /// A name to resolve and a TCP port; only where DNS discovery resolves it.
    Name {
        /// The DNS name.
        host: Arc<str>,
        /// The TCP port.
        port: u16,
    },
    /// A Unix domain socket. A path that starts with `@` is in the abstract namespace.
    Pipe {
        /// Path of the socket.
        path: Arc<str>,
        /// Permission bits for a listener's socket, 0 for the process default.
        mode: u32,
    },
}

impl Address {
    /// The IP address and port, when it is one.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Socket(address) => Some(*address),
            Self::Name { .. } | Self::Pipe { .. } => None,
        }
    }

    /// The port, when there is one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Socket(address) => Some(address.port()),
            Self::Name { port, .. } => Some(*port),
            Self::Pipe { .. } => None,
        }
    }
}

impl Address {
    /// Parses an address whose host must be an IP address.
    ///
    /// # Errors
    /// When it is a name, UDP, or anything but an IP address and port or a Unix socket.
    pub fn parse(context: &mut Context<'_>, message: &core::Address) -> Result<Self, Reported> {
        match Self::parse_or_name(context, message)? {
            Self::Name { host, .. } => Err(context.at("socket_address", |context| {
                context.reject_field(
                    "address",
                    format!(
                        "is {host:?}, expected an IP address (names need a cluster of type STRICT_DNS or LOGICAL_DNS)"
                    ),
                )
            })),
            address => Ok(address),
        }
    }

    /// Parses an address whose host may be a DNS name.
    ///
    /// # Errors
    /// When it is UDP, or anything but a host and port or a Unix socket.
    pub fn parse_or_name(context: &mut Context<'_>, message: &core::Address) -> Result<Self, Reported> {
        use core::address::Address as Kind;
        context.check(message);
        match &message.address {
            Some(Kind::SocketAddress(socket)) => context.at("socket_address", |context| parse_socket(context, socket)),
            Some(Kind::Pipe(pipe)) => context.at("pipe", |context| {
                context.check(pipe);
                let path = context.text("path", &pipe.path)?;
                if pipe.mode > 0o777 {
                    return Err(context.reject_field("mode", format!("is {:#o}, expected at most 0o777", pipe.mode)));
                }
                Ok(Self::Pipe { path, mode: pipe.mode })
            }),
            Some(Kind::EnvoyInternalAddress(_)) => Err(context.reported()),
            None => Err(context.reject("has no socket_address or pipe")),
        }
    }
}

fn parse_socket(context: &mut Context<'_>, message: &core::SocketAddress) -> Result<Address, Reported> {
    use core::socket_address::{PortSpecifier, Protocol};
    context.check(message);
    let protocol: Protocol = context.enumeration("protocol", message.protocol)?;
    if protocol == Protocol::Udp {
        return Err(context.reject_field("protocol", "is UDP, only TCP is supported"));
    }
    let host = context.text("address", &message.address);
    let port = match message.port_specifier {
        Some(PortSpecifier::PortValue(port)) => context.port("port_value", port),
        Some(PortSpecifier::NamedPort(_)) => Err(context.reported()),
        None => Err(context.reject_field("port_value", "is required")),
    };
    let (host, port) = (host?, port?);
    Ok(match host.parse::<IpAddr>() {
        Ok(ip) => Address::Socket(SocketAddr::new(ip, port)),
        Err(_) => Address::Name { host, port },
    })
}

/// Parses a socket address that must be an IP address (`upstream_bind_config.source_address`).
pub(crate) fn parse_source(context: &mut Context<'_>, message: &core::SocketAddress) -> Result<SocketAddr, Reported> {
    match parse_socket(context, message)? {
        Address::Socket(address) => Ok(address),
        other => Err(context.reject_field("address", format!("is \"{other}\", expected an IP address"))),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Pipe { path, .. } => f.write_str(path),
        }
    }
}

/// A range of IP addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CidrRange {
    /// The address with the bits beyond the prefix cleared.
    prefix: IpAddr,
    /// How many leading bits count.
    length: u8,
}

impl CidrRange {
    /// The range of addresses that share `length` leading bits with `address`; `None` when the address has fewer.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let prefix = match address {
            IpAddr::V4(address) if length <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                IpAddr::V4((u32::from(address) & mask).into())
            }
            IpAddr::V6(address) if length <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                IpAddr::V6((u128::from(address) & mask).into())
            }
            _ => return None,
        };
        Some(Self { prefix, length })
    }

    /// Parses a range. An absent length is 0: every address of the family.
    ///
    /// # Errors
    /// When the prefix is no IP address or shorter than the length.
    pub fn parse(context: &mut Context<'_>, message: &core::CidrRange) -> Result<Self, Reported> {
        context.check(message);
        let Ok(address) = message.address_prefix.parse::<IpAddr>() else {
            let found = format!("is {:?}, expected an IP address", message.address_prefix);
            return Err(context.reject_field("address_prefix", found));
        };
        let length = message.prefix_len.map_or(0, |length| length.value);
        let range = u8::try_from(length).ok().and_then(|length| Self::new(address, length));
        range.ok_or_else(|| {
            let most = if address.is_ipv4() { 32 } else { 128 };
            context.reject_field("prefix_len", format!("is {length}, expected at most {most}"))
        })
    }

    /// The first address of the range.
    pub fn prefix(&self) -> IpAddr {
        self.prefix
    }

    /// How many leading bits count.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// Whether an address is in the range. An IPv4 range holds no IPv6 address and the other way round.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.prefix.is_ipv4() == address.is_ipv4() && Self::new(address, self.length) == Some(*self)
    }
}

impl fmt::Display for CidrRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.prefix, self.length)
    }
}
