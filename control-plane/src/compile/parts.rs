//! Small messages that many resources hold.

use std::net::IpAddr;
use std::time::Duration;

use xds_api::envoy::config::core::v3 as core;
use xds_api::google::protobuf as google;

/// A duration.
pub(super) fn duration(duration: Duration) -> google::Duration {
    google::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        // Less than 10^9 by construction.
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

/// An optional number.
pub(super) fn number(value: u32) -> google::UInt32Value {
    google::UInt32Value { value }
}

/// An optional boolean.
pub(super) fn boolean(value: bool) -> google::BoolValue {
    google::BoolValue { value }
}

/// A TCP address.
pub(super) fn address(ip: IpAddr, port: u16) -> core::Address {
    core::Address {
        address: Some(core::address::Address::SocketAddress(core::SocketAddress {
            address: ip.to_string(),
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port.into())),
            ..Default::default()
        })),
    }
}

/// "From the ADS stream this resource came on."
pub(super) fn ads() -> core::ConfigSource {
    core::ConfigSource {
        resource_api_version: core::ApiVersion::V3.into(),
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(
            core::AggregatedConfigSource {},
        )),
        ..Default::default()
    }
}
