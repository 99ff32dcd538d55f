//! Resolution by hickory-resolver, after the hosts file.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use config::cluster::{DnsLookupFamily, DnsResolver};
use hickory_resolver::config::{
    NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Hosts, TokioResolver};

use super::families::Families;
use super::{Resolution, Resolve, ResolveError, Resolving};

/// Resolvers for settings of their own, at most: clusters come and go, and few differ in this.
const MOST_RESOLVERS: usize = 64;

/// Resolves by `/etc/hosts`, then by the name servers of `/etc/resolv.conf` or those that a cluster names.
///
/// Nothing is cached: how long an answer is good for is the cluster's setting. The hosts file is read every time, as
/// c-ares does for Envoy, so that an edit takes effect.
pub struct HickoryResolver {
    /// The resolver of clusters that say nothing. None if the system has no usable configuration: then only the hosts
    /// file is left.
    resolver: Made,
    /// Whether such clusters get only addresses of families that the machine has.
    filters: bool,
    /// Resolvers of clusters that do, by their settings.
    by_settings: Mutex<HashMap<DnsResolver, Made>>,
}

/// A resolver, or why there is none.
type Made = Result<Arc<TokioResolver>, ResolveError>;

impl HickoryResolver {
    /// A resolver with the system's configuration. A system without one resolves what is in its hosts file.
    pub fn from_system() -> Self {
        Self::new(&DnsResolver::default())
    }

    /// A resolver with these settings for clusters without any of their own.
    pub fn new(settings: &DnsResolver) -> Self {
        Self {
            resolver: make(settings),
            filters: settings.filter_unroutable_families,
            by_settings: Mutex::default(),
        }
    }

    fn with(&self, settings: Option<&DnsResolver>) -> Made {
        let Some(settings) = settings else {
            return self.resolver.clone();
        };
        // Poisoned or not, the map is whole: nothing can panic between two of its changes.
        let mut resolvers = self.by_settings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(resolver) = resolvers.get(settings) {
            return resolver.clone();
        }
        if resolvers.len() >= MOST_RESOLVERS {
            resolvers.clear();
        }
        let resolver = make(settings);
        resolvers.insert(settings.clone(), resolver.clone());
        resolver
    }
}

fn make(settings: &DnsResolver) -> Made {
    let unusable = |error| ResolveError(format!("the system's resolver configuration cannot be used: {error}"));
    let system = read_system_conf();
    let replaces = !settings.servers.is_empty() && (!settings.servers_are_fallback || system.is_err());
    let (domain, search, servers, mut options) = match system {
        Ok((config, options)) => {
            let (domain, search, servers) = config.into_parts();
            (domain, search, servers, options)
        }
        Err(_) if replaces => (None, Vec::new(), Vec::new(), ResolverOpts::default()),
        Err(error) => return Err(unusable(error)),
    };
    let mut servers = match replaces {
        true => settings.servers.iter().map(name_server).collect(),
        false => servers,
    };
    if settings.use_tcp {
        for server in &mut servers {
            server
                .connections
                .retain(|connection| matches!(connection.protocol, ProtocolConfig::Tcp));
        }
    }
    let (domain, search) = match settings.no_search_domains {
        true => (None, Vec::new()),
        false => (domain, search),
    };
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    if let Some(timeout) = settings.timeout {
        options.timeout = timeout;
    }
    if let Some(tries) = settings.tries {
        // The first one is no repetition.
        options.attempts = tries.saturating_sub(1) as usize;
    }
    if replaces {
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    }
    if settings.rotates {
        options.server_ordering_strategy = ServerOrderingStrategy::RoundRobin;
    }
    if let Some(bytes) = settings.edns0_max_payload {
        options.edns0 = true;
        options.edns_payload_len = bytes;
    }
    let config = ResolverConfig::from_parts(domain, search, servers);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
        .map(Arc::new)
        .map_err(unusable)
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

impl Resolve for HickoryResolver {
    fn resolve(&self, host: Arc<str>, family: DnsLookupFamily, settings: Option<&DnsResolver>) -> Resolving {
        let resolver = self.with(settings);
        let filters = settings.map_or(self.filters, |settings| settings.filter_unroutable_families);
        Box::pin(async move {
            let families = match filters {
                true => Families::of_interfaces(),
                false => Families::ALL,
            };
            let now = Instant::now();
            if let Ok(address) = host.parse::<IpAddr>() {
                return Ok(Resolution {
                    addresses: Some(address)
                        .filter(|address| families.contain(address))
                        .into_iter()
                        .collect(),
                    ttl: None,
                });
            }
            let name = Name::from_utf8(&*host).map_err(|error| ResolveError(error.to_string()))?;
            if let Some(resolution) = in_hosts_file(&name, family, families) {
                return Ok(resolution);
            }
            let resolver = resolver?;
            let v4 = || async { answer(resolver.ipv4_lookup(name.clone()).await, now, families) };
            let v6 = || async { answer(resolver.ipv6_lookup(name.clone()).await, now, families) };
            choose(family, v4, v6).await
        })
    }
}

impl fmt::Debug for HickoryResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HickoryResolver")
            .field("resolver", &self.resolver.as_ref().map(|_| "system"))
            .finish_non_exhaustive()
    }
}

/// What the hosts file says, if it knows the name in any family: then nobody else is asked.
fn in_hosts_file(name: &Name, family: DnsLookupFamily, families: Families) -> Option<Resolution> {
    let hosts = Hosts::from_system().ok()?;
    let find = |record_type| hosts.lookup_static_host(&Query::query(name.clone(), record_type));
    let addresses = |lookup: &Option<Lookup>| {
        lookup
            .as_ref()
            .map(|found| addresses(found, families))
            .unwrap_or_default()
    };
    let (v4, v6) = (find(RecordType::A), find(RecordType::AAAA));
    if v4.is_none() && v6.is_none() {
        return None;
    }
    Some(Resolution {
        addresses: select(family, addresses(&v4), addresses(&v6)),
        ttl: None,
    })
}

/// Asks for the families that are needed, the second only if the first leaves something to be desired.
async fn choose<F4, F6>(
    family: DnsLookupFamily,
    v4: impl Fn() -> F4,
    v6: impl Fn() -> F6,
) -> Result<Resolution, ResolveError>
where
    F4: Future<Output = Result<Resolution, ResolveError>>,
    F6: Future<Output = Result<Resolution, ResolveError>>,
{
    match family {
        DnsLookupFamily::V4Only => v4().await,
        DnsLookupFamily::V6Only => v6().await,
        DnsLookupFamily::Auto => first_with_addresses(v6().await, v4).await,
        DnsLookupFamily::V4Preferred => first_with_addresses(v4().await, v6).await,
        DnsLookupFamily::All => match tokio::join!(v4(), v6()) {
            (Ok(v4), Ok(v6)) => Ok(Resolution {
                ttl: v4.ttl.into_iter().chain(v6.ttl).min(),
                addresses: select(family, v4.addresses, v6.addresses),
            }),
            // One family that cannot be asked for doesn't take the other away.
            (Ok(one), Err(_)) | (Err(_), Ok(one)) if !one.addresses.is_empty() => Ok(one),
            (Err(error), _) | (_, Err(error)) => Err(error),
        },
    }
}

/// The first answer if it has addresses, else the second; if both have none, an error if either is one.
async fn first_with_addresses<F>(
    first: Result<Resolution, ResolveError>,
    second: impl Fn() -> F,
) -> Result<Resolution, ResolveError>
where
    F: Future<Output = Result<Resolution, ResolveError>>,
{
    match first {
        Ok(resolution) if !resolution.addresses.is_empty() => Ok(resolution),
        Ok(_) => second().await,
        Err(error) => match second().await {
            Ok(resolution) if !resolution.addresses.is_empty() => Ok(resolution),
            _ => Err(error),
        },
    }
}

fn select(family: DnsLookupFamily, v4: Vec<IpAddr>, v6: Vec<IpAddr>) -> Vec<IpAddr> {
    match family {
        DnsLookupFamily::V4Only => v4,
        DnsLookupFamily::V6Only => v6,
        DnsLookupFamily::Auto if v6.is_empty() => v4,
        DnsLookupFamily::Auto => v6,
        DnsLookupFamily::V4Preferred if v4.is_empty() => v6,
        DnsLookupFamily::V4Preferred => v4,
        DnsLookupFamily::All => v4.into_iter().chain(v6).collect(),
    }
}

/// A name without records, or one that is known not to exist, is an answer without addresses.
fn answer(result: Result<Lookup, NetError>, now: Instant, families: Families) -> Result<Resolution, ResolveError> {
    match result {
        Ok(lookup) => {
            let ttl = lookup.valid_until().saturating_duration_since(now);
            Ok(Resolution {
                addresses: addresses(&lookup, families),
                ttl: Some(round_up(ttl)),
            })
        }
        Err(error) if error.is_no_records_found() => Ok(Resolution::default()),
        Err(error) => Err(ResolveError(error.to_string())),
    }
}

/// The time to live is counted in seconds, and some of it passed on the way.
fn round_up(ttl: Duration) -> Duration {
    Duration::from_secs(ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0))
}

fn addresses(lookup: &Lookup, families: Families) -> Vec<IpAddr> {
    let mut seen = std::collections::HashSet::new();
    lookup
        .answers()
        .iter()
        .filter_map(|record| record.data.ip_addr())
        .filter(|ip| families.contain(ip) && seen.insert(*ip))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(addresses: &[&str], ttl: u64) -> Result<Resolution, ResolveError> {
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        Ok(Resolution {
            addresses,
            ttl: Some(Duration::from_secs(ttl)),
        })
    }

    fn failed() -> Result<Resolution, ResolveError> {
        Err(ResolveError("timeout".into()))
    }

    async fn chosen(
        family: DnsLookupFamily,
        v4: Result<Resolution, ResolveError>,
        v6: Result<Resolution, ResolveError>,
    ) -> Result<Vec<String>, ResolveError> {
        let (v4, v6) = (|| std::future::ready(v4.clone()), || std::future::ready(v6.clone()));
        Ok(choose(family, v4, v6)
            .await?
            .addresses
            .iter()
            .map(ToString::to_string)
            .collect())
    }

    #[tokio::test]
    async fn the_lookup_family_says_which_addresses_count() {
        let (v4, v6) = (found(&["10.0.0.1"], 5), found(&["::1"], 9));
        for (family, expected) in [
            (DnsLookupFamily::Auto, vec!["::1"]),
            (DnsLookupFamily::V6Only, vec!["::1"]),
            (DnsLookupFamily::V4Only, vec!["10.0.0.1"]),
            (DnsLookupFamily::V4Preferred, vec!["10.0.0.1"]),
            (DnsLookupFamily::All, vec!["10.0.0.1", "::1"]),
        ] {
            assert_eq!(
                chosen(family, v4.clone(), v6.clone()).await.unwrap(),
                expected,
                "{family:?}"
            );
        }
    }

    #[tokio::test]
    async fn the_other_family_stands_in_for_one_without_addresses() {
        let (v4, v6) = (found(&["10.0.0.1"], 5), found(&["::1"], 9));
        let none = || found(&[], 0);
        assert_eq!(
            chosen(DnsLookupFamily::Auto, v4.clone(), none()).await.unwrap(),
            ["10.0.0.1"]
        );
        assert_eq!(
            chosen(DnsLookupFamily::Auto, v4.clone(), failed()).await.unwrap(),
            ["10.0.0.1"]
        );
        assert_eq!(
            chosen(DnsLookupFamily::V4Preferred, none(), v6.clone()).await.unwrap(),
            ["::1"]
        );
        assert_eq!(
            chosen(DnsLookupFamily::All, v4.clone(), failed()).await.unwrap(),
            ["10.0.0.1"]
        );
        assert!(chosen(DnsLookupFamily::V4Only, none(), v6).await.unwrap().is_empty());
        assert!(chosen(DnsLookupFamily::Auto, none(), failed()).await.is_err());
        assert!(chosen(DnsLookupFamily::All, failed(), failed()).await.is_err());
    }

    #[tokio::test]
    async fn literals_and_the_hosts_file_need_no_name_server() {
        let resolver = HickoryResolver {
            resolver: Err(ResolveError("no name server".into())),
            filters: false,
            by_settings: Mutex::default(),
        };
        let resolve = |host: &str, family| resolver.resolve(host.into(), family, None);
        let literal = resolve("192.0.2.7", DnsLookupFamily::V6Only).await.unwrap();
        assert_eq!(literal.addresses, ["192.0.2.7".parse::<IpAddr>().unwrap()]);
        let localhost = resolve("localhost", DnsLookupFamily::V4Only).await.unwrap();
        assert_eq!(localhost.addresses, ["127.0.0.1".parse::<IpAddr>().unwrap()]);
        assert!(resolve("no.such.name.invalid", DnsLookupFamily::Auto).await.is_err());
    }
}
