//! Raw socket options (`envoy.config.core.v3.SocketOption`) of connections to endpoints.
//!
//! They are given by number. The ones that are known here are those that can be set without the C interface; another
//! one is refused, for what it would do is not known.

use std::fmt;
use std::time::Duration;

use xds_api::envoy::config::core::v3 as pb;

use crate::context::Context;
use crate::rejected::Reported;

/// An option to set before a socket is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketOption {
    /// What is set.
    pub setting: SocketSetting,
    /// The address family of the sockets it is for; none for all.
    pub only_for: Option<IpFamily>,
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// An option and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketSetting {
    /// SO_REUSEADDR.
    ReuseAddress(bool),
    /// SO_REUSEPORT.
    ReusePort(bool),
    /// SO_SNDBUF, in bytes.
    SendBuffer(u32),
    /// SO_RCVBUF, in bytes.
    ReceiveBuffer(u32),
    /// SO_KEEPALIVE.
    KeepAlive(bool),
    /// SO_PRIORITY.
    Priority(u32),
    /// SO_MARK.
    Mark(u32),
    /// SO_BINDTODEVICE: the name of the interface.
    BindToDevice(Box<[u8]>),
    /// TCP_NODELAY.
    NoDelay(bool),
    /// TCP_MAXSEG, in bytes.
    MaxSegment(u32),
    /// TCP_CORK.
    Cork(bool),
    /// TCP_KEEPIDLE.
    KeepIdle(Duration),
    /// TCP_KEEPINTVL.
    KeepInterval(Duration),
    /// TCP_KEEPCNT.
    KeepCount(u32),
    /// TCP_QUICKACK.
    QuickAck(bool),
    /// TCP_CONGESTION: the name of the algorithm.
    Congestion(Box<[u8]>),
    /// TCP_THIN_LINEAR_TIMEOUTS.
    ThinLinearTimeouts(bool),
    /// TCP_USER_TIMEOUT.
    UserTimeout(Duration),
    /// TCP_NOTSENT_LOWAT, in bytes.
    NotSentLowWater(u32),
    /// IP_TOS.
    TypeOfService(u32),
    /// IP_TTL.
    TimeToLive(u32),
    /// IP_FREEBIND, IPV6_FREEBIND.
    Freebind(bool),
    /// IP_TRANSPARENT, IPV6_TRANSPARENT.
    Transparent(bool),
    /// IPV6_UNICAST_HOPS.
    UnicastHops(u32),
    /// IPV6_TCLASS.
    TrafficClass(u32),
}

// Linux's numbers (asm-generic/socket.h, linux/tcp.h, linux/in.h, linux/in6.h).
const SOL_SOCKET: i64 = 1;
const IPPROTO_IP: i64 = 0;
const IPPROTO_TCP: i64 = 6;
const IPPROTO_IPV6: i64 = 41;

impl SocketOption {
    /// Parses an option. `None` for one that is not for TCP connections.
    ///
    /// # Errors
    /// When it is none of the known ones, or its value is out of range.
    pub(crate) fn parse(context: &mut Context<'_>, message: &pb::SocketOption) -> Result<Option<Self>, Reported> {
        use pb::socket_option::{SocketIpVersion, SocketState};
        context.check(message);
        let state = context.enumeration::<SocketState>("state", message.state);
        let version = context.enumeration("ip_version", message.ip_version);
        let setting = SocketSetting::parse(context, message);
        if let Some(socket_type) = &message.r#type {
            context.at("type", |context| context.check(socket_type));
        }
        if state? != SocketState::StatePrebind {
            context.without_effect(
                "state",
                "a connection is made right after its socket: only STATE_PREBIND counts",
            );
            return Ok(None);
        }
        if let Some(socket_type) = &message.r#type
            && socket_type.datagram.is_some()
            && socket_type.stream.is_none()
        {
            context.without_effect("type", "connections are streams");
            return Ok(None);
        }
        Ok(Some(Self {
            setting: setting?,
            only_for: match version? {
                SocketIpVersion::Unspecified => None,
                SocketIpVersion::Ipv4 => Some(IpFamily::V4),
                SocketIpVersion::Ipv6 => Some(IpFamily::V6),
            },
        }))
    }
}

impl SocketSetting {
    fn parse(context: &mut Context<'_>, message: &pb::SocketOption) -> Result<Self, Reported> {
        use pb::socket_option::Value;
        let key = (message.level, message.name);
        match &message.value {
            None => Err(context.reject("has no int_value or buf_value")),
            Some(Value::BufValue(bytes)) => match key {
                (SOL_SOCKET, 25) => Ok(Self::BindToDevice(bytes.as_slice().into())),
                (IPPROTO_TCP, 13) => Ok(Self::Congestion(bytes.as_slice().into())),
                // Many write a number as its four bytes.
                _ => match <[u8; 4]>::try_from(bytes.as_slice()) {
                    Ok(bytes) => Self::of_number(context, key, i64::from(i32::from_ne_bytes(bytes))),
                    Err(_) => Err(unknown(context, key)),
                },
            },
            Some(Value::IntValue(value)) => Self::of_number(context, key, *value),
        }
    }

    fn of_number(context: &mut Context<'_>, key: (i64, i64), value: i64) -> Result<Self, Reported> {
        let Ok(number) = u32::try_from(value) else {
            let most = u32::MAX;
            return Err(context.reject_field("int_value", format!("is {value}, expected 0 to {most}")));
        };
        let flag = number != 0;
        let seconds = Duration::from_secs(u64::from(number));
        Ok(match key {
            (SOL_SOCKET, 2) => Self::ReuseAddress(flag),
            (SOL_SOCKET, 7) => Self::SendBuffer(number),
            (SOL_SOCKET, 8) => Self::ReceiveBuffer(number),
            (SOL_SOCKET, 9) => Self::KeepAlive(flag),
            (SOL_SOCKET, 12) => Self::Priority(number),
            (SOL_SOCKET, 15) => Self::ReusePort(flag),
            (SOL_SOCKET, 36) => Self::Mark(number),
            (IPPROTO_TCP, 1) => Self::NoDelay(flag),
            (IPPROTO_TCP, 2) => Self::MaxSegment(number),
            (IPPROTO_TCP, 3) => Self::Cork(flag),
            (IPPROTO_TCP, 4) => Self::KeepIdle(seconds),
            (IPPROTO_TCP, 5) => Self::KeepInterval(seconds),
            (IPPROTO_TCP, 6) => Self::KeepCount(number),
            (IPPROTO_TCP, 12) => Self::QuickAck(flag),
            (IPPROTO_TCP, 16) => Self::ThinLinearTimeouts(flag),
            (IPPROTO_TCP, 18) => Self::UserTimeout(Duration::from_millis(u64::from(number))),
            (IPPROTO_TCP, 25) => Self::NotSentLowWater(number),
            (IPPROTO_IP, 1) => Self::TypeOfService(number),
            (IPPROTO_IP, 2) => Self::TimeToLive(number),
            (IPPROTO_IP, 15) | (IPPROTO_IPV6, 78) => Self::Freebind(flag),
            (IPPROTO_IP, 19) | (IPPROTO_IPV6, 75) => Self::Transparent(flag),
            (IPPROTO_IPV6, 16) => Self::UnicastHops(number),
            (IPPROTO_IPV6, 67) => Self::TrafficClass(number),
            _ => return Err(unknown(context, key)),
        })
    }
}

fn unknown(context: &mut Context<'_>, (level, name): (i64, i64)) -> Reported {
    context.reject(format!(
        "is option {name} of level {level}, which cannot be set here: known are the usual ones of SOL_SOCKET (1), \
         IPPROTO_TCP (6), IPPROTO_IP (0) and IPPROTO_IPV6 (41)"
    ))
}

impl fmt::Display for IpFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}
