//! Which families of addresses this machine can reach others by (`filter_unroutable_families`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Families of which an interface has an address other than the loopback's, as Envoy asks `getifaddrs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Families {
    v4: bool,
    v6: bool,
}

impl Families {
    /// Both.
    pub(super) const ALL: Self = Self { v4: true, v6: true };

    /// Those of the machine's interfaces at this moment. Where the system does not tell, a family is there.
    pub(super) fn of_interfaces() -> Self {
        Self {
            v4: std::fs::read_to_string("/proc/net/fib_trie").map_or(true, |trie| has_v4(&trie)),
            v6: std::fs::read_to_string("/proc/net/if_inet6").map_or(true, |list| has_v6(&list)),
        }
    }

    /// Whether an address is of one of them.
    pub(super) fn contain(self, address: &IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.v4,
            IpAddr::V6(_) => self.v6,
        }
    }
}

/// Whether the kernel's table of routes (`fib_trie`) has an address of this machine: a line with it is followed by one that
/// says `/32 host LOCAL`.
fn has_v4(trie: &str) -> bool {
    let mut address = None;
    trie.lines().map(str::trim).any(|line| match line.strip_prefix("|-- ") {
        Some(text) => {
            address = text.parse::<Ipv4Addr>().ok();
            false
        }
        None => line == "/32 host LOCAL" && address.is_some_and(|address| address != Ipv4Addr::LOCALHOST),
    })
}

/// Whether the kernel's list of IPv6 addresses (`if_inet6`) has another than the loopback's.
fn has_v6(list: &str) -> bool {
    let address = |line: &str| u128::from_str_radix(line.split(' ').next()?, 16).ok();
    list.lines()
        .filter_map(address)
        .any(|address| Ipv6Addr::from(address) != Ipv6Addr::LOCALHOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: &str = "Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
           |-- 127.0.0.0
              /8 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
        |-- 127.255.255.255
           /32 link BROADCAST
";

    #[test]
    fn the_loopback_alone_makes_no_family() {
        assert!(!has_v4(LOOPBACK));
        assert!(has_v4(&format!(
            "{LOOPBACK}     |-- 10.0.0.2\n        /32 host LOCAL\n"
        )));
        // An address that others have.
        assert!(!has_v4(&format!(
            "{LOOPBACK}     |-- 10.0.0.9\n        /32 universe UNICAST\n"
        )));
        let loopback = "00000000000000000000000000000001 01 80 10 80       lo\n";
        assert!(!has_v6(loopback));
        assert!(has_v6(&format!(
            "{loopback}fd000000000000000000000000000002 04 40 00 82     eth0\n"
        )));
        assert!(!has_v6(""));
    }
}
