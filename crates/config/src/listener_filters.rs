//! Listener filters: what looks at a connection before its filter chain is chosen
//! (`envoy.extensions.filters.listener.*`).

use std::sync::Arc;

use xds_api::envoy::config::listener::v3 as pb;
use xds_api::envoy::extensions::filters::listener::tls_inspector::v3 as tls_inspector;
use xds_api::google::protobuf::Any;

use crate::context::Context;
use crate::extensions::{ExtensionKind, message_name};
use crate::rejected::Reported;

mod proxy_protocol;

pub use proxy_protocol::{ProxyProtocol, TlvLocation, TlvRule};

const TLS_INSPECTOR: &str = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";
const HTTP_INSPECTOR: &str = "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector";
const ORIGINAL_DST: &str = "envoy.extensions.filters.listener.original_dst.v3.OriginalDst";
const PROXY_PROTOCOL: &str = "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol";

/// A listener filter.
#[derive(Debug, Clone)]
pub struct ListenerFilter {
    /// Name, as written.
    pub name: Arc<str>,
    /// What it does.
    pub config: ListenerFilterConfig,
    /// Connections that it leaves alone.
    pub filter_disabled: Option<ListenerFilterPredicate>,
}

/// The listener filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerFilterConfig {
    /// Finds TLS, and reads the server name and the application protocols asked for.
    TlsInspector(TlsInspector),
    /// Finds HTTP and its version.
    HttpInspector,
    /// Restores the address a redirected connection was meant for.
    OriginalDst,
    /// Reads the PROXY protocol.
    ProxyProtocol(Arc<ProxyProtocol>),
}

/// `envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsInspector {
    /// Longest ClientHello that is read, in bytes.
    pub max_client_hello_size: u32,
    /// Whether a connection that begins as TLS and makes no sense is closed.
    pub close_connection_on_client_hello_parsing_errors: bool,
}

/// A predicate on a connection (`ListenerFilterChainMatchPredicate`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerFilterPredicate {
    /// When any holds.
    Or(Vec<ListenerFilterPredicate>),
    /// When all hold.
    And(Vec<ListenerFilterPredicate>),
    /// When it does not hold.
    Not(Box<ListenerFilterPredicate>),
    /// Always.
    Any,
    /// When the destination port is from `start` (included) to `end` (excluded).
    DestinationPortRange {
        /// First port of the range.
        start: u16,
        /// First port beyond it; up to 65536.
        end: u32,
    },
}

impl ListenerFilterPredicate {
    /// Whether it holds for a connection to this destination port; none, of a Unix socket, is in no range.
    pub fn matches(&self, destination_port: Option<u16>) -> bool {
        match self {
            Self::Or(rules) => rules.iter().any(|rule| rule.matches(destination_port)),
            Self::And(rules) => rules.iter().all(|rule| rule.matches(destination_port)),
            Self::Not(rule) => !rule.matches(destination_port),
            Self::Any => true,
            Self::DestinationPortRange { start, end } => {
                destination_port.is_some_and(|port| (u32::from(*start)..*end).contains(&u32::from(port)))
            }
        }
    }

    fn parse(context: &mut Context<'_>, message: &pb::ListenerFilterChainMatchPredicate) -> Result<Self, Reported> {
        use pb::listener_filter_chain_match_predicate::{MatchSet, Rule};
        let set = |context: &mut Context<'_>, set: &MatchSet| {
            if set.rules.len() < 2 {
                return Err(context.reject_field("rules", "must have at least 2 entries"));
            }
            context.each("rules", &set.rules, Self::parse)
        };
        match &message.rule {
            Some(Rule::OrMatch(rules)) => context.at("or_match", |context| set(context, rules)).map(Self::Or),
            Some(Rule::AndMatch(rules)) => context.at("and_match", |context| set(context, rules)).map(Self::And),
            Some(Rule::NotMatch(rule)) => context
                .at("not_match", |context| Self::parse(context, rule))
                .map(|rule| Self::Not(Box::new(rule))),
            Some(Rule::AnyMatch(true)) => Ok(Self::Any),
            Some(Rule::AnyMatch(false)) => Err(context.reject_field("any_match", "is false, expected true")),
            Some(Rule::DestinationPortRange(range)) => context.at("destination_port_range", |context| {
                match (u16::try_from(range.start), u32::try_from(range.end)) {
                    (Ok(start), Ok(end)) if u32::from(start) < end && end <= 65536 => {
                        Ok(Self::DestinationPortRange { start, end })
                    }
                    _ => {
                        let found = format!("is from {} to {}", range.start, range.end);
                        Err(context.reject(format!("{found}, expected start below end, both ports")))
                    }
                }
            }),
            None => Err(context.reject("has no rule")),
        }
    }
}

impl ListenerFilter {
    pub(crate) fn parse(context: &mut Context<'_>, message: &pb::ListenerFilter) -> Result<Self, Reported> {
        context.check(message);
        let name = context.text("name", &message.name);
        let config = match &message.config_type {
            Some(pb::listener_filter::ConfigType::TypedConfig(any)) => {
                context.at("typed_config", |context| ListenerFilterConfig::parse(context, any))
            }
            Some(pb::listener_filter::ConfigType::ConfigDiscovery(_)) => Err(context.reported()),
            None => Err(context.reject_field("typed_config", "is required")),
        };
        let disabled = message.filter_disabled.as_ref();
        let filter_disabled = context.optional("filter_disabled", disabled, ListenerFilterPredicate::parse);
        Ok(Self {
            name: name?,
            config: config?,
            filter_disabled: filter_disabled?,
        })
    }
}

impl ListenerFilterConfig {
    fn parse(context: &mut Context<'_>, any: &Any) -> Result<Self, Reported> {
        let inner = context.unwrap_any(any)?;
        match message_name(&inner.type_url) {
            TLS_INSPECTOR => {
                let message = context.decode(&inner.value)?;
                TlsInspector::parse(context, &message).map(Self::TlsInspector)
            }
            HTTP_INSPECTOR => Ok(Self::HttpInspector),
            ORIGINAL_DST => Ok(Self::OriginalDst),
            PROXY_PROTOCOL => {
                let message = context.decode(&inner.value)?;
                let filter = ProxyProtocol::parse(context, &message)?;
                Ok(Self::ProxyProtocol(Arc::new(filter)))
            }
            other => {
                let kind = ExtensionKind::ListenerFilter;
                Err(context.reject(format!("{kind} {other:?} is not supported")))
            }
        }
    }
}

impl TlsInspector {
    /// Envoy's default for [`max_client_hello_size`](Self::max_client_hello_size), which is also the most.
    pub const MAX_CLIENT_HELLO_SIZE: u32 = 16 * 1024;

    fn parse(context: &mut Context<'_>, message: &tls_inspector::TlsInspector) -> Result<Self, Reported> {
        context.check(message);
        let initial = message.initial_read_buffer_size.as_ref();
        let initial = context.in_range("initial_read_buffer_size", initial, 256..=65536);
        let most = message.max_client_hello_size.as_ref();
        let most = context.in_range("max_client_hello_size", most, 1..=Self::MAX_CLIENT_HELLO_SIZE);
        initial?;
        Ok(Self {
            max_client_hello_size: most?.unwrap_or(Self::MAX_CLIENT_HELLO_SIZE),
            close_connection_on_client_hello_parsing_errors: message.close_connection_on_client_hello_parsing_errors,
        })
    }
}
