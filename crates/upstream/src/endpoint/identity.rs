//! What makes an endpoint the one it is: its address, and the names that it is reached by.

use std::fmt;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;

use config::address::Address;

/// Where an endpoint listens, after names are resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndpointAddress {
    /// An IP address and TCP port.
    Socket(SocketAddr),
    /// A Unix domain socket; a path that starts with `@` is in the abstract namespace, as in Envoy.
    Pipe(Arc<str>),
}

impl EndpointAddress {
    /// A configured address, unless it is a name that has to be resolved first.
    pub fn from_config(address: &Address) -> Option<Self> {
        match address {
            Address::Socket(address) => Some(Self::Socket(*address)),
            Address::Pipe { path, .. } => Some(Self::Pipe(path.clone())),
            Address::Name { .. } => None,
        }
    }
}

impl fmt::Display for EndpointAddress {
    /// As Envoy prints it: `10.0.0.1:80`, `[::1]:80`, or the path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Pipe(path) => f.write_str(path),
        }
    }
}

impl From<SocketAddr> for EndpointAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Socket(address)
    }
}

/// What makes two endpoints of one cluster the same one. Anything else about an endpoint (weight, health, locality,
/// priority, metadata) may change without it becoming another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointKey {
    /// Where it listens.
    pub address: EndpointAddress,
    /// The name of the `transport_socket_matches` entry that its metadata selects, empty for the cluster's own
    /// transport socket: the same address spoken to in plaintext and over mTLS are two endpoints, each with its own
    /// connections and its own health.
    pub transport: Arc<str>,
    /// The name it was configured or resolved by, empty if it has none: another name is another server name in TLS and
    /// another host in requests.
    pub hostname: Arc<str>,
}

/// An [`EndpointAddress`] that somebody else holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointAddressRef<'a> {
    /// An IP address and TCP port.
    Socket(SocketAddr),
    /// A Unix domain socket.
    Pipe(&'a Arc<str>),
}

impl EndpointAddressRef<'_> {
    /// The same for keeping.
    pub fn to_owned(self) -> EndpointAddress {
        match self {
            Self::Socket(address) => EndpointAddress::Socket(address),
            Self::Pipe(path) => EndpointAddress::Pipe(Arc::clone(path)),
        }
    }
}

impl fmt::Display for EndpointAddressRef<'_> {
    /// As Envoy prints it; see [`EndpointAddress`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Pipe(path) => f.write_str(path),
        }
    }
}

impl<'a> From<&'a EndpointAddress> for EndpointAddressRef<'a> {
    fn from(address: &'a EndpointAddress) -> Self {
        match address {
            EndpointAddress::Socket(address) => Self::Socket(*address),
            EndpointAddress::Pipe(path) => Self::Pipe(path),
        }
    }
}

/// An [`EndpointKey`] that is looked for.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct Wanted<'a> {
    pub(crate) address: &'a EndpointAddress,
    pub(crate) transport: &'a str,
    pub(crate) hostname: &'a str,
}

/// The names of an [`EndpointKey`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EndpointNames {
    pub(crate) transport: Arc<str>,
    pub(crate) hostname: Arc<str>,
}

/// An [`EndpointKey`] in a quarter of the memory: a mesh has a hundred thousand, nearly all of them at an IPv4 address
/// and with no names, or with those of their neighbours.
#[derive(Debug)]
pub(super) enum Identity {
    /// At an IPv4 address, without names.
    Plain(SocketAddrV4),
    /// At an IPv4 address, with the names of some endpoints of the cluster.
    Named(SocketAddrV4, Arc<EndpointNames>),
    /// Anything else.
    Other(Box<(EndpointAddress, Arc<EndpointNames>)>),
}

impl Identity {
    /// What is wanted; names are shared with `neighbour` if they are the same.
    pub(super) fn new(wanted: &Wanted<'_>, neighbour: Option<&Self>) -> Self {
        let has_names = !wanted.transport.is_empty() || !wanted.hostname.is_empty();
        let names = || {
            let of_neighbour = neighbour.and_then(Self::shared_names);
            match of_neighbour.filter(|names| names.are(wanted)) {
                Some(names) => Arc::clone(names),
                None => Arc::new(EndpointNames {
                    transport: shared(wanted.transport),
                    hostname: shared(wanted.hostname),
                }),
            }
        };
        match wanted.address {
            EndpointAddress::Socket(SocketAddr::V4(address)) if has_names => Self::Named(*address, names()),
            EndpointAddress::Socket(SocketAddr::V4(address)) => Self::Plain(*address),
            address => Self::Other(Box::new((address.clone(), names()))),
        }
    }

    pub(super) fn address(&self) -> EndpointAddressRef<'_> {
        match self {
            Self::Plain(address) | Self::Named(address, _) => EndpointAddressRef::Socket((*address).into()),
            Self::Other(other) => (&other.0).into(),
        }
    }

    /// Its names, if it has any that are not empty.
    pub(super) fn names(&self) -> Option<&EndpointNames> {
        self.shared_names().map(|names| &**names)
    }

    fn shared_names(&self) -> Option<&Arc<EndpointNames>> {
        match self {
            Self::Plain(_) => None,
            Self::Named(_, names) => Some(names),
            Self::Other(other) => Some(&other.1),
        }
    }

    pub(super) fn key(&self) -> EndpointKey {
        let (transport, hostname) = match self.names() {
            Some(names) => (names.transport.clone(), names.hostname.clone()),
            None => <(Arc<str>, Arc<str>)>::default(),
        };
        EndpointKey {
            address: self.address().to_owned(),
            transport,
            hostname,
        }
    }

    pub(super) fn is(&self, wanted: &Wanted<'_>) -> bool {
        let same_names = match self.names() {
            Some(names) => names.are(wanted),
            None => wanted.transport.is_empty() && wanted.hostname.is_empty(),
        };
        same_names && self.address() == wanted.address.into()
    }
}

impl EndpointNames {
    fn are(&self, wanted: &Wanted<'_>) -> bool {
        *self.transport == *wanted.transport && *self.hostname == *wanted.hostname
    }
}

/// A shared copy; what is empty is shared by everyone.
fn shared(text: &str) -> Arc<str> {
    if text.is_empty() { Arc::default() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(address: &EndpointAddress, transport: &str, neighbour: Option<&Identity>) -> Identity {
        let wanted = Wanted {
            address,
            transport,
            hostname: "",
        };
        let identity = Identity::new(&wanted, neighbour);
        assert!(identity.is(&wanted));
        identity
    }

    #[test]
    fn an_identity_is_small_and_says_what_the_key_says() {
        assert!(size_of::<Identity>() <= 16, "{}", size_of::<Identity>());
        let addresses = [
            EndpointAddress::Socket("10.0.0.1:80".parse().unwrap()),
            EndpointAddress::Socket("[::1]:80".parse().unwrap()),
            EndpointAddress::Pipe("/run/a".into()),
        ];
        for address in &addresses {
            for transport in ["", "mesh"] {
                let key = identity(address, transport, None).key();
                assert_eq!(
                    (&key.address, &*key.transport, &*key.hostname),
                    (address, transport, "")
                );
            }
            let named = identity(address, "mesh", None);
            for (transport, hostname) in [("", ""), ("other", ""), ("mesh", "a")] {
                assert!(!named.is(&Wanted {
                    address,
                    transport,
                    hostname
                }));
            }
        }
        let [here, there, _] = &addresses;
        assert!(!identity(here, "", None).is(&Wanted {
            address: there,
            transport: "",
            hostname: ""
        }));
    }

    #[test]
    fn neighbours_share_their_names() {
        let address = EndpointAddress::Socket("10.0.0.1:80".parse().unwrap());
        let first = identity(&address, "mesh", None);
        let shares = |other: &Identity| std::ptr::eq(first.names().unwrap(), other.names().unwrap());
        assert!(shares(&identity(&address, "mesh", Some(&first))));
        assert!(!shares(&identity(&address, "other", Some(&first))));
    }
}
