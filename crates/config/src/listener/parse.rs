//! Parsing of listeners.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::config::listener::v3 as pb;
use xds_api::google::protobuf::Any;
use xds_api::prost::Message;

use super::{
    ConnectionBalance, DrainType, FilterChain, Listener, NetworkFilter, NetworkFilterConfig, TcpKeepalive,
    TrafficDirection, TransportSocket,
};
use crate::access_log::AccessLog;
use crate::address::Address;
use crate::connection_limit::ConnectionLimit;
use crate::context::Context;
use crate::extensions::{ExtensionKind, message_name};
use crate::filter_chain_match::{FilterChainMatch, ServerName};
use crate::fingerprint::Fingerprint;
use crate::http_connection_manager::HttpConnectionManager;
use crate::listener_filters::ListenerFilter;
use crate::metadata::Metadata;
use crate::rejected::Reported;
use crate::scalars::{bool_or, u32_or};
use crate::shared_str::{non_empty, shared};
use crate::tcp_proxy::TcpProxy;

const HTTP_CONNECTION_MANAGER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const CONNECTION_LIMIT: &str = "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit";
const TCP_PROXY: &str = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";

impl Listener {
    /// Parses a listener. One without a name (in a static bootstrap) is named after its address.
    ///
    /// # Errors
    /// When any field is at fault.
    pub fn parse(context: &mut Context<'_>, message: &pb::Listener) -> Result<Self, Reported> {
        let fingerprint = context.take_fingerprint(message);
        context.check(message);
        let address = context.required("address", message.address.as_ref(), Address::parse);
        let additional_addresses = context.each(
            "additional_addresses",
            &message.additional_addresses,
            |context, entry| {
                context.check(entry);
                context.required("address", entry.address.as_ref(), Address::parse)
            },
        );
        let filter_chains = parse_filter_chains(context, message);
        let default_filter_chain = context.optional(
            "default_filter_chain",
            message.default_filter_chain.as_ref(),
            FilterChain::parse,
        );
        let listener_filters = context.each("listener_filters", &message.listener_filters, ListenerFilter::parse);
        let listener_filters_timeout = context.timeout(
            "listener_filters_timeout",
            message.listener_filters_timeout.as_ref(),
            Some(Self::DEFAULT_LISTENER_FILTERS_TIMEOUT),
        );
        let connection_balance = parse_connection_balance(context, message);
        let drain_type = context
            .enumeration("drain_type", message.drain_type)
            .map(|drain_type| match drain_type {
                pb::listener::DrainType::Default => DrainType::Default,
                pb::listener::DrainType::ModifyOnly => DrainType::ModifyOnly,
            });
        let direction = context.enumeration("traffic_direction", message.traffic_direction);
        let traffic_direction = direction.map(|direction| match direction {
            core::TrafficDirection::Unspecified => TrafficDirection::Unspecified,
            core::TrafficDirection::Inbound => TrafficDirection::Inbound,
            core::TrafficDirection::Outbound => TrafficDirection::Outbound,
        });
        let max_accepts = context.in_range(
            "max_connections_to_accept_per_socket_event",
            message.max_connections_to_accept_per_socket_event.as_ref(),
            1..=u32::MAX,
        );
        let tcp_keepalive = context.optional("tcp_keepalive", message.tcp_keepalive.as_ref(), TcpKeepalive::parse);
        let access_log = context.each("access_log", &message.access_log, AccessLog::parse);
        let metadata = Metadata::parse_optional(context, "metadata", message.metadata.as_ref());
        let deprecated_bind_to_port = message.deprecated_v1.as_ref().and_then(|v1| v1.bind_to_port.as_ref());
        let bind_to_port = message.bind_to_port.as_ref().or(deprecated_bind_to_port);
        let address = address?;
        let name = if message.name.is_empty() {
            address.to_string().into()
        } else {
            shared(&message.name)
        };
        Ok(Self {
            name,
            address,
            additional_addresses: additional_addresses?,
            stat_prefix: non_empty(&message.stat_prefix),
            bind_to_port: bool_or(bind_to_port, true),
            use_original_dst: bool_or(message.use_original_dst.as_ref(), false),
            filter_chains: filter_chains?,
            default_filter_chain: default_filter_chain?.map(Arc::new),
            listener_filters: listener_filters?,
            listener_filters_timeout: listener_filters_timeout?,
            continue_on_listener_filters_timeout: message.continue_on_listener_filters_timeout,
            per_connection_buffer_limit_bytes: u32_or(
                message.per_connection_buffer_limit_bytes.as_ref(),
                Self::DEFAULT_PER_CONNECTION_BUFFER_LIMIT_BYTES,
            ),
            connection_balance,
            enable_reuse_port: bool_or(message.enable_reuse_port.as_ref(), true),
            tcp_backlog_size: message.tcp_backlog_size.map(|size| size.value),
            max_connections_to_accept_per_socket_event: max_accepts?,
            drain_type: drain_type?,
            traffic_direction: traffic_direction?,
            transparent: message.transparent.map(|flag| flag.value),
            freebind: message.freebind.map(|flag| flag.value),
            tcp_keepalive: tcp_keepalive?,
            access_log: access_log?,
            metadata,
            ignore_global_conn_limit: message.ignore_global_conn_limit,
            bypass_overload_manager: message.bypass_overload_manager,
            fingerprint,
        })
    }
}

fn parse_filter_chains(context: &mut Context<'_>, message: &pb::Listener) -> Result<Vec<Arc<FilterChain>>, Reported> {
    if message.filter_chains.is_empty() && message.default_filter_chain.is_none() {
        context.reject_field(
            "filter_chains",
            "is empty and there is no default_filter_chain: expected at least one chain",
        );
    }
    // Two chains for the same connections: there is no telling which one is meant.
    let mut seen: HashMap<Option<ServerName>, Vec<(usize, FilterChainMatch)>> = HashMap::new();
    let mut index = 0;
    context.each("filter_chains", &message.filter_chains, |context, chain| {
        let at = index;
        index += 1;
        let chain = FilterChain::parse(context, chain)?;
        let criteria = &chain.filter_chain_match;
        let names = criteria.server_names.iter().cloned().map(Some);
        // Only chains with a name in common, or without any, can be for the same connections.
        for name in names.chain(criteria.server_names.is_empty().then_some(None)) {
            let others = seen.entry(name).or_default();
            if let Some((first, _)) = others
                .iter()
                .find(|(other, them)| *other != at && them.overlaps(criteria))
            {
                let reason = format!("is for the same connections as that of filter_chains[{first}]");
                return Err(context.reject_field("filter_chain_match", reason));
            }
            others.push((at, criteria.clone()));
        }
        Ok(Arc::new(chain))
    })
}

fn parse_connection_balance(context: &mut Context<'_>, message: &pb::Listener) -> ConnectionBalance {
    use pb::listener::connection_balance_config::BalanceType;
    let Some(config) = &message.connection_balance_config else {
        return ConnectionBalance::Kernel;
    };
    context.at("connection_balance_config", |context| {
        context.check(config);
        match config.balance_type {
            Some(BalanceType::ExactBalance(_)) => ConnectionBalance::Exact,
            Some(_) => ConnectionBalance::Kernel,
            None => {
                context.reject("has no exact_balance");
                ConnectionBalance::Kernel
            }
        }
    })
}

impl FilterChain {
    /// Parses a filter chain.
    ///
    /// # Errors
    /// When any field is at fault.
    pub(crate) fn parse(context: &mut Context<'_>, message: &pb::FilterChain) -> Result<Self, Reported> {
        context.check(message);
        let criteria = message.filter_chain_match.as_ref();
        let filter_chain_match = context.optional("filter_chain_match", criteria, FilterChainMatch::parse);
        let last = message.filters.len().saturating_sub(1);
        let mut index = 0;
        let filters: Result<Vec<_>, _> = context.each("filters", &message.filters, |context, filter| {
            let at = index;
            index += 1;
            let filter = NetworkFilter::parse(context, filter)?;
            match (filter.as_ref().is_some_and(NetworkFilter::is_terminal), at == last) {
                (true, false) => Err(context.reject("is a terminal filter, which must be the last of its chain")),
                (false, true) => Err(context.reject("is the last filter, which must be a terminal one")),
                _ => Ok(filter),
            }
        });
        let transport_socket = TransportSocket::parse_optional(
            context,
            message.transport_socket.as_ref(),
            ExtensionKind::DownstreamTransportSocket,
        );
        let connect_timeout = context.timeout(
            "transport_socket_connect_timeout",
            message.transport_socket_connect_timeout.as_ref(),
            None,
        );
        let metadata = Metadata::parse_optional(context, "metadata", message.metadata.as_ref());
        Ok(Self {
            name: shared(&message.name),
            filter_chain_match: filter_chain_match?.unwrap_or_default(),
            filters: filters?.into_iter().flatten().collect(),
            transport_socket: transport_socket?,
            transport_socket_connect_timeout: connect_timeout?,
            fingerprint: chain_fingerprint(message, &metadata),
            metadata,
        })
    }
}

/// The identity of a chain. Metadata is a map, which is encoded in any order, so it goes in as parsed, in order.
fn chain_fingerprint(message: &pb::FilterChain, metadata: &Metadata) -> Fingerprint {
    if message.metadata.is_none() {
        return Fingerprint::of(&message.encode_to_vec());
    }
    let without = pb::FilterChain {
        metadata: None,
        ..message.clone()
    };
    let mut ordered = String::new();
    // Writing to a String cannot fail.
    let _ = write!(ordered, "{metadata:?}");
    Fingerprint::of(&[without.encode_to_vec().as_slice(), ordered.as_bytes()].concat())
}

impl NetworkFilter {
    /// `None` for a filter that is passed over.
    fn parse(context: &mut Context<'_>, message: &pb::Filter) -> Result<Option<Self>, Reported> {
        context.check(message);
        let name = context.text("name", &message.name);
        let config = match &message.config_type {
            Some(pb::filter::ConfigType::TypedConfig(any)) => context.at("typed_config", |context| {
                if let Some(reason) = context.ignored(ExtensionKind::NetworkFilter, any) {
                    context.without_effect("", reason);
                    return Ok(None);
                }
                NetworkFilterConfig::parse(context, any).map(Some)
            }),
            Some(pb::filter::ConfigType::ConfigDiscovery(_)) => Err(context.reported()),
            None => Err(context.reject_field("typed_config", "is required")),
        };
        let name = name?;
        Ok(config?.map(|config| Self { name, config }))
    }

    fn is_terminal(&self) -> bool {
        match &self.config {
            NetworkFilterConfig::HttpConnectionManager(_) | NetworkFilterConfig::TcpProxy(_) => true,
            NetworkFilterConfig::ConnectionLimit(_) => false,
            NetworkFilterConfig::Extension(config) => config.is_terminal(),
        }
    }
}

impl NetworkFilterConfig {
    fn parse(context: &mut Context<'_>, any: &Any) -> Result<Self, Reported> {
        let inner = context.unwrap_any(any)?;
        match message_name(&inner.type_url) {
            HTTP_CONNECTION_MANAGER => {
                let message = context.decode(&inner.value)?;
                let manager = HttpConnectionManager::parse(context, &message)?;
                Ok(Self::HttpConnectionManager(Arc::new(manager)))
            }
            TCP_PROXY => {
                let message = context.decode(&inner.value)?;
                Ok(Self::TcpProxy(Arc::new(TcpProxy::parse(context, &message)?)))
            }
            CONNECTION_LIMIT => {
                let message = context.decode(&inner.value)?;
                let limit = ConnectionLimit::parse(context, &message)?;
                Ok(Self::ConnectionLimit(Arc::new(limit)))
            }
            _ => context
                .extension(ExtensionKind::NetworkFilter, any)
                .map(Self::Extension),
        }
    }
}

impl TransportSocket {
    /// Parses the transport socket of a filter chain or cluster. Raw TCP, spelt out, is a socket like any other.
    pub(crate) fn parse_optional(
        context: &mut Context<'_>,
        message: Option<&core::TransportSocket>,
        kind: ExtensionKind,
    ) -> Result<Option<Self>, Reported> {
        context.optional("transport_socket", message, |context, message| {
            context.check(message);
            let name = context.text("name", &message.name);
            let config = match &message.config_type {
                Some(core::transport_socket::ConfigType::TypedConfig(any)) => {
                    context.at("typed_config", |context| context.extension(kind, any))
                }
                None => Err(context.reject_field("typed_config", "is required")),
            };
            Ok(Self {
                name: name?,
                config: config?,
                fingerprint: Fingerprint::of(&message.encode_to_vec()),
            })
        })
    }
}

impl TcpKeepalive {
    pub(crate) fn parse(context: &mut Context<'_>, message: &core::TcpKeepalive) -> Result<Self, Reported> {
        context.check(message);
        let seconds = |value: Option<xds_api::google::protobuf::UInt32Value>| {
            value.map(|value| std::time::Duration::from_secs(value.value.into()))
        };
        Ok(Self {
            keepalive_probes: message.keepalive_probes.map(|probes| probes.value),
            keepalive_time: seconds(message.keepalive_time),
            keepalive_interval: seconds(message.keepalive_interval),
        })
    }
}
