//! How DNS is used for a cluster, and whom it asks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How DNS is used for a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsOptions {
    /// How often names are resolved. Envoy's default is 5 s.
    pub refresh_rate: Duration,
    /// How often after a failure; `refresh_rate` when none.
    pub failure_refresh_rate: Option<(Duration, Duration)>,
    /// Added to the interval at random at most.
    pub jitter: Duration,
    /// Whether the interval is the records' time to live.
    pub respect_dns_ttl: bool,
    /// Which records.
    pub lookup_family: DnsLookupFamily,
    /// How names are resolved, where that is said; else as the process does it.
    pub resolver: Option<Arc<DnsResolver>>,
}

impl Default for DnsOptions {
    fn default() -> Self {
        Self {
            refresh_rate: Duration::from_secs(5),
            failure_refresh_rate: None,
            jitter: Duration::ZERO,
            respect_dns_ttl: false,
            lookup_family: DnsLookupFamily::Auto,
            resolver: None,
        }
    }
}

/// Which DNS records are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DnsLookupFamily {
    /// IPv6, and IPv4 when there is none.
    #[default]
    Auto,
    /// IPv4.
    V4Only,
    /// IPv6.
    V6Only,
    /// IPv4, and IPv6 when there is none.
    V4Preferred,
    /// Both.
    All,
}

/// How names are resolved (`typed_dns_resolver_config` with c-ares' settings, or the fields from before there was one).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct DnsResolver {
    /// Name servers in place of those of the system; the system's when empty.
    pub servers: Vec<SocketAddr>,
    /// Whether `servers` count only where the system has none.
    pub servers_are_fallback: bool,
    /// Whether servers are asked by TCP alone.
    pub use_tcp: bool,
    /// Whether names are taken as they are, without the search domains of the system.
    pub no_search_domains: bool,
    /// How long a server has for its answer. Envoy's default is 5 s.
    pub timeout: Option<Duration>,
    /// How often servers are asked before it is given up. Envoy's default is 4.
    pub tries: Option<u32>,
    /// Whether each query begins with another server.
    pub rotates: bool,
    /// Whether only addresses of families count of which the machine has an address of its own, the loopback's left out.
    pub filter_unroutable_families: bool,
    /// The largest answer over UDP that is asked for, in bytes.
    pub edns0_max_payload: Option<u16>,
}
