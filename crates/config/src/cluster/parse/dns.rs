//! How DNS is used for a cluster.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use xds_api::envoy::config::cluster::v3 as pb;
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::extensions::network::dns_resolver::cares::v3::CaresDnsResolverConfig;
use xds_api::envoy::extensions::network::dns_resolver::getaddrinfo::v3::GetAddrInfoDnsResolverConfig;
use xds_api::google::protobuf::Duration as PbDuration;

use crate::address::Address;
use crate::cluster::{DnsLookupFamily, DnsOptions, DnsResolver};
use crate::context::Context;
use crate::extensions::message_name;
use crate::rejected::Reported;

const CARES: &str = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig";
const GETADDRINFO: &str = "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig";

/// Why the fields from before there was a typed one change nothing beside it.
const TYPED_COUNTS: &str = "typed_dns_resolver_config counts, as in Envoy";

impl DnsOptions {
    pub(super) fn parse(context: &mut Context<'_>, message: &pb::Cluster) -> Result<Self, Reported> {
        use pb::cluster::DnsLookupFamily as Family;
        let refresh_rate = more_than_a_millisecond(context, "dns_refresh_rate", message.dns_refresh_rate.as_ref());
        let failure = message.dns_failure_refresh_rate.as_ref();
        let failure_refresh_rate = context.optional("dns_failure_refresh_rate", failure, |context, rate| {
            context.check(rate);
            let base = more_than_a_millisecond(context, "base_interval", rate.base_interval.as_ref());
            let max = more_than_a_millisecond(context, "max_interval", rate.max_interval.as_ref());
            let base = base?
                .ok_or(())
                .map_err(|()| context.reject_field("base_interval", "is required"))?;
            let max = max?.unwrap_or(base * 10);
            if max < base {
                let found = format!("is {max:?}, expected at least base_interval, {base:?}");
                return Err(context.reject_field("max_interval", found));
            }
            Ok((base, max))
        });
        let jitter = context.duration("dns_jitter", message.dns_jitter.as_ref());
        let family = context
            .enumeration("dns_lookup_family", message.dns_lookup_family)
            .map(|family| match family {
                Family::Auto => DnsLookupFamily::Auto,
                Family::V4Only => DnsLookupFamily::V4Only,
                Family::V6Only => DnsLookupFamily::V6Only,
                Family::V4Preferred => DnsLookupFamily::V4Preferred,
                Family::All => DnsLookupFamily::All,
            });
        let resolver = parse_resolver(context, message);
        let defaults = Self::default();
        Ok(Self {
            refresh_rate: refresh_rate?.unwrap_or(defaults.refresh_rate),
            failure_refresh_rate: failure_refresh_rate?,
            jitter: jitter?.unwrap_or_default(),
            respect_dns_ttl: message.respect_dns_ttl,
            lookup_family: family?,
            resolver: resolver?
                .filter(|resolver| *resolver != DnsResolver::default())
                .map(Arc::new),
        })
    }
}

/// The first of the typed field, `dns_resolution_config`, and the fields from before there was either.
fn parse_resolver(context: &mut Context<'_>, message: &pb::Cluster) -> Result<Option<DnsResolver>, Reported> {
    if let Some(typed) = &message.typed_dns_resolver_config {
        let older = [
            ("dns_resolution_config", message.dns_resolution_config.is_some()),
            ("dns_resolvers", !message.dns_resolvers.is_empty()),
            ("use_tcp_for_dns_lookups", message.use_tcp_for_dns_lookups),
        ];
        for (field, _) in older.into_iter().filter(|(_, set)| *set) {
            context.without_effect(field, TYPED_COUNTS);
        }
        return context.at("typed_dns_resolver_config", |context| {
            DnsResolver::parse(context, typed).map(Some)
        });
    }
    if let Some(config) = &message.dns_resolution_config {
        return context.at("dns_resolution_config", |context| {
            context.check(config);
            let servers = parse_servers(context, "resolvers", &config.resolvers);
            let options = Options::parse(context, config.dns_resolver_options.as_ref());
            Ok(Some(DnsResolver {
                servers: servers?,
                use_tcp: options.use_tcp,
                no_search_domains: options.no_search_domains,
                ..DnsResolver::default()
            }))
        });
    }
    let servers = parse_servers(context, "dns_resolvers", &message.dns_resolvers)?;
    Ok(Some(DnsResolver {
        servers,
        use_tcp: message.use_tcp_for_dns_lookups,
        ..DnsResolver::default()
    }))
}

impl DnsResolver {
    /// Parses `typed_dns_resolver_config`: c-ares' settings, or getaddrinfo's, which change nothing here.
    ///
    /// # Errors
    /// When it is neither, or a setting is at fault.
    pub(crate) fn parse(context: &mut Context<'_>, message: &core::TypedExtensionConfig) -> Result<Self, Reported> {
        context.check(message);
        context.required(
            "typed_config",
            message.typed_config.as_ref(),
            |context, any| match message_name(&any.type_url) {
                CARES => {
                    let config: CaresDnsResolverConfig = context.decode(&any.value)?;
                    Self::parse_cares(context, &config)
                }
                GETADDRINFO => {
                    let config: GetAddrInfoDnsResolverConfig = context.decode(&any.value)?;
                    context.check(&config);
                    Ok(Self::default())
                }
                other => Err(context.reject(format!(
                    "DNS resolver {other:?} is not supported, only {CARES:?} and {GETADDRINFO:?}"
                ))),
            },
        )
    }

    fn parse_cares(context: &mut Context<'_>, config: &CaresDnsResolverConfig) -> Result<Self, Reported> {
        context.check(config);
        let servers = parse_servers(context, "resolvers", &config.resolvers);
        let options = Options::parse(context, config.dns_resolver_options.as_ref());
        let timeout = match config.query_timeout_seconds.map(|seconds| seconds.value) {
            Some(0) => Err(context.reject_field("query_timeout_seconds", "is 0, expected at least 1")),
            seconds => Ok(seconds.map(Duration::from_secs)),
        };
        let tries = context.in_range("query_tries", config.query_tries.as_ref(), 1..=u32::MAX);
        let payload = context.in_range(
            "edns0_max_payload_size",
            config.edns0_max_payload_size.as_ref(),
            512..=4096,
        );
        Ok(Self {
            servers: servers?,
            servers_are_fallback: config.use_resolvers_as_fallback,
            filter_unroutable_families: config.filter_unroutable_families,
            use_tcp: options.use_tcp,
            no_search_domains: options.no_search_domains,
            timeout: timeout?,
            tries: tries?,
            rotates: config.rotate_nameservers,
            // The range was checked just above.
            edns0_max_payload: payload?.map(|bytes| bytes as u16),
        })
    }
}

struct Options {
    use_tcp: bool,
    no_search_domains: bool,
}

impl Options {
    fn parse(context: &mut Context<'_>, message: Option<&core::DnsResolverOptions>) -> Self {
        let message = message.copied().unwrap_or_default();
        context.at("dns_resolver_options", |context| context.check(&message));
        Self {
            use_tcp: message.use_tcp_for_dns_lookups,
            no_search_domains: message.no_default_search_domain,
        }
    }
}

fn parse_servers(
    context: &mut Context<'_>,
    field: &'static str,
    addresses: &[core::Address],
) -> Result<Vec<SocketAddr>, Reported> {
    context.each(field, addresses, |context, address| {
        match Address::parse(context, address)? {
            Address::Socket(address) => Ok(address),
            other => Err(context.reject(format!("is \"{other}\", expected an IP address and port"))),
        }
    })
}

/// Envoy wants DNS intervals of more than a millisecond.
fn more_than_a_millisecond(
    context: &mut Context<'_>,
    field: &str,
    value: Option<&PbDuration>,
) -> Result<Option<Duration>, Reported> {
    match context.duration(field, value)? {
        Some(short) if short <= Duration::from_millis(1) => {
            Err(context.reject_field(field, format!("is {short:?}, expected more than 1ms")))
        }
        interval => Ok(interval),
    }
}
