//! How an endpoint with several addresses is connected to (RFC 8305, "Happy Eyeballs").

use std::net::SocketAddr;

use xds_api::envoy::config::cluster::v3 as pb;

use crate::context::Context;
use crate::rejected::Reported;
use crate::socket_option::IpFamily;

/// In which order the addresses of an endpoint are tried (`UpstreamConnectionOptions.happy_eyeballs_config`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HappyEyeballs {
    /// The family to begin with; that of the first address when none.
    pub first_family: Option<IpFamily>,
    /// Addresses of that family in a row, at least 1.
    pub first_family_count: u32,
}

impl Default for HappyEyeballs {
    fn default() -> Self {
        Self {
            first_family: None,
            first_family_count: 1,
        }
    }
}

impl HappyEyeballs {
    pub(super) fn parse(
        context: &mut Context<'_>,
        message: &pb::upstream_connection_options::HappyEyeballsConfig,
    ) -> Result<Self, Reported> {
        use pb::upstream_connection_options::FirstAddressFamilyVersion as Version;
        context.check(message);
        let version = context.enumeration("first_address_family_version", message.first_address_family_version);
        let count = message.first_address_family_count.as_ref();
        let count = context.in_range("first_address_family_count", count, 1..=u32::MAX);
        let first_family = match version? {
            Version::Default => None,
            Version::V4 => Some(IpFamily::V4),
            Version::V6 => Some(IpFamily::V6),
            Version::Pipe | Version::Internal => {
                let reason = "is not a family of IP addresses, expected DEFAULT, V4 or V6";
                return Err(context.reject_field("first_address_family_version", reason));
            }
        };
        Ok(Self {
            first_family,
            first_family_count: count?.unwrap_or(1),
        })
    }

    /// The addresses in the order in which they are tried (RFC 8305 section 4): `first_family_count` of the first family,
    /// one of the other, and so on until both are used up.
    pub fn order(&self, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        let begins_with_v4 = match self.first_family {
            Some(family) => family == IpFamily::V4,
            None => addresses.first().is_some_and(SocketAddr::is_ipv4),
        };
        let of = |v4: bool| addresses.iter().filter(move |address| address.is_ipv4() == v4).copied();
        let (mut first, mut other) = (of(begins_with_v4).peekable(), of(!begins_with_v4).peekable());
        let mut ordered = Vec::with_capacity(addresses.len());
        while first.peek().is_some() || other.peek().is_some() {
            ordered.extend(first.by_ref().take(self.first_family_count as usize));
            ordered.extend(other.next());
        }
        ordered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(settings: HappyEyeballs, addresses: &[&str]) -> Vec<String> {
        let parsed: Vec<SocketAddr> = addresses
            .iter()
            .map(|address| SocketAddr::new(address.parse().expect("an address"), 80))
            .collect();
        settings
            .order(&parsed)
            .iter()
            .map(|address| address.ip().to_string())
            .collect()
    }

    #[test]
    fn families_take_turns_beginning_with_that_of_the_first_address() {
        let addresses = ["::1", "::2", "::3", "10.0.0.1", "10.0.0.2"];
        assert_eq!(
            ordered(HappyEyeballs::default(), &addresses),
            ["::1", "10.0.0.1", "::2", "10.0.0.2", "::3"]
        );
        let first = |family, count| HappyEyeballs {
            first_family: Some(family),
            first_family_count: count,
        };
        assert_eq!(
            ordered(first(IpFamily::V4, 1), &addresses),
            ["10.0.0.1", "::1", "10.0.0.2", "::2", "::3"]
        );
        assert_eq!(
            ordered(first(IpFamily::V6, 2), &addresses),
            ["::1", "::2", "10.0.0.1", "::3", "10.0.0.2"]
        );
        assert_eq!(ordered(first(IpFamily::V6, 9), &["10.0.0.1"]), ["10.0.0.1"]);
    }
}
