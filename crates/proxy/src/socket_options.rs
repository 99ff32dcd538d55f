//! Raw socket options of connections to endpoints (`upstream_bind_config.socket_options`), set before a socket is bound.

use std::io;
use std::net::SocketAddr;

use config::socket_option::{IpFamily, SocketOption, SocketSetting};
use socket2::{Socket, TcpKeepalive};

/// Sets the options that are for sockets to `target`.
///
/// # Errors
/// What the system says: an option may need a privilege, as SO_MARK does.
pub(crate) fn set_all(socket: &Socket, target: &SocketAddr, options: &[SocketOption]) -> io::Result<()> {
    let family = if target.is_ipv4() { IpFamily::V4 } else { IpFamily::V6 };
    options
        .iter()
        .filter(|option| option.only_for.is_none_or(|only| only == family))
        .try_for_each(|option| set(socket, &option.setting, family))
}

fn set(socket: &Socket, setting: &SocketSetting, family: IpFamily) -> io::Result<()> {
    match setting {
        SocketSetting::ReuseAddress(on) => socket.set_reuse_address(*on),
        SocketSetting::ReusePort(on) => socket.set_reuse_port(*on),
        SocketSetting::SendBuffer(bytes) => socket.set_send_buffer_size(*bytes as usize),
        SocketSetting::ReceiveBuffer(bytes) => socket.set_recv_buffer_size(*bytes as usize),
        SocketSetting::KeepAlive(on) => socket.set_keepalive(*on),
        SocketSetting::Priority(priority) => socket.set_priority(*priority),
        SocketSetting::Mark(mark) => socket.set_mark(*mark),
        SocketSetting::BindToDevice(name) => socket.bind_device(Some(name)),
        SocketSetting::NoDelay(on) => socket.set_tcp_nodelay(*on),
        SocketSetting::MaxSegment(bytes) => socket.set_tcp_mss(*bytes),
        SocketSetting::Cork(on) => socket.set_tcp_cork(*on),
        // These three switch keepalive on as well, which alone gives them a meaning.
        SocketSetting::KeepIdle(time) => socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(*time)),
        SocketSetting::KeepInterval(time) => socket.set_tcp_keepalive(&TcpKeepalive::new().with_interval(*time)),
        SocketSetting::KeepCount(count) => socket.set_tcp_keepalive(&TcpKeepalive::new().with_retries(*count)),
        SocketSetting::QuickAck(on) => socket.set_tcp_quickack(*on),
        SocketSetting::Congestion(name) => socket.set_tcp_congestion(name),
        SocketSetting::ThinLinearTimeouts(on) => socket.set_tcp_thin_linear_timeouts(*on),
        SocketSetting::UserTimeout(time) => socket.set_tcp_user_timeout(Some(*time)),
        SocketSetting::NotSentLowWater(bytes) => socket.set_tcp_notsent_lowat(*bytes),
        SocketSetting::TypeOfService(value) => socket.set_tos_v4(*value),
        SocketSetting::TimeToLive(hops) => socket.set_ttl_v4(*hops),
        SocketSetting::Freebind(on) => match family {
            IpFamily::V4 => socket.set_freebind_v4(*on),
            IpFamily::V6 => socket.set_freebind_v6(*on),
        },
        SocketSetting::Transparent(on) => match family {
            IpFamily::V4 => socket.set_ip_transparent_v4(*on),
            IpFamily::V6 => socket.set_ip_transparent_v6(*on),
        },
        SocketSetting::UnicastHops(hops) => socket.set_unicast_hops_v6(*hops),
        SocketSetting::TrafficClass(class) => socket.set_tclass_v6(*class),
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Protocol, Type};

    use super::*;

    #[test]
    fn options_of_another_family_are_left_alone() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
        let option = |setting, only_for| SocketOption { setting, only_for };
        let options = [
            option(SocketSetting::TimeToLive(7), Some(IpFamily::V4)),
            option(SocketSetting::TrafficClass(8), Some(IpFamily::V6)),
            option(SocketSetting::KeepCount(3), None),
        ];
        set_all(&socket, &([127, 0, 0, 1], 80).into(), &options).expect("they can be set");
        assert_eq!(socket.ttl_v4().expect("it can be read"), 7);
        assert_eq!(socket.tcp_keepalive_retries().expect("it can be read"), 3);
    }

    #[test]
    fn what_the_system_refuses_is_an_error() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
        let no_such = SocketSetting::Congestion(b"no such algorithm".as_slice().into());
        let options = [SocketOption {
            setting: no_such,
            only_for: None,
        }];
        assert!(set_all(&socket, &([127, 0, 0, 1], 80).into(), &options).is_err());
    }
}
