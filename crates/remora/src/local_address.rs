//! The address of this machine (`--local-address-ip-version`): what a caller on the machine itself is known by in
//! `x-forwarded-for`, as in Envoy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::command_line::IpVersion;

/// The address that packets to the world leave from; the loopback address where there is no way out.
pub(crate) fn of_machine(version: IpVersion) -> IpAddr {
    // Addresses for documentation (RFC 5737, RFC 3849), port 9 (discard): connecting a datagram socket only asks the
    // routing table, nothing is sent.
    let (any, world, loopback): (IpAddr, IpAddr, IpAddr) = match version {
        IpVersion::V4 => (
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv4Addr::new(192, 0, 2, 1).into(),
            Ipv4Addr::LOCALHOST.into(),
        ),
        IpVersion::V6 => (
            Ipv6Addr::UNSPECIFIED.into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
            Ipv6Addr::LOCALHOST.into(),
        ),
    };
    let address = || {
        let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        socket.connect(SocketAddr::new(world, 9))?;
        socket.local_addr()
    };
    address().map_or(loopback, |address| address.ip())
}
