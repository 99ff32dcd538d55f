//! The HTTP connection manager
//! (`envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`).

use std::sync::Arc;
use std::time::Duration;

use crate::access_log::{AccessLog, AccessLogFilter, AccessLogFormat};
use crate::address::CidrRange;
use crate::config_source::ConfigSource;
use crate::data_source::DataSource;
use crate::extensions::ExtensionConfig;
use crate::header_mutation::{HeaderMutation, HeaderValueOption};
use crate::http_protocol_options::{CommonHttpProtocolOptions, Http1ProtocolOptions, Http2ProtocolOptions};
use crate::resource::{References, ResourceType};
use crate::route::RouteConfiguration;

mod extensions;
mod parse;

pub use parse::{parse_http_filters, parse_upstream_http_filters};

/// A network filter that speaks HTTP with the client. Every timeout is already what is to be used: absent fields have
/// become Envoy's defaults, a timeout of zero has become `None`.
#[derive(Debug, Clone)]
pub struct HttpConnectionManager {
    /// The HTTP version.
    pub codec_type: CodecType,
    /// Prefix of its statistics.
    pub stat_prefix: Arc<str>,
    /// Where routes come from.
    pub route_specifier: RouteSpecifier,
    /// HTTP filters in order; the last one is terminal (the router).
    pub http_filters: Vec<HttpFilter>,
    /// Options of every HTTP version.
    pub common_http_protocol_options: CommonHttpProtocolOptions,
    /// Options of HTTP/1.1.
    pub http_protocol_options: Http1ProtocolOptions,
    /// Options of HTTP/2.
    pub http2_protocol_options: Http2ProtocolOptions,
    /// How long a whole request may take to arrive.
    pub request_timeout: Option<Duration>,
    /// How long the headers of a request may take to arrive.
    pub request_headers_timeout: Option<Duration>,
    /// How long a stream may be without any activity.
    pub stream_idle_timeout: Option<Duration>,
    /// How long the flush of a finished stream may stall. Outer `None`: as long as the stream may idle. Inner `None`: for
    /// ever.
    pub stream_flush_timeout: Option<Option<Duration>>,
    /// Time between the warning and the final GOAWAY, and before a drained HTTP/1 connection closes.
    pub drain_timeout: Duration,
    /// How long a connection stays half closed after an error answer; at once when none.
    pub delayed_close_timeout: Option<Duration>,
    /// Value of the `server` header.
    pub server_name: Arc<str>,
    /// What becomes of the `server` header.
    pub server_header_transformation: ServerHeaderTransformation,
    /// What the scheme of every request becomes; as it came when none.
    pub scheme_to_overwrite: Option<Scheme>,
    /// Whether the scheme follows the upstream's transport.
    pub match_upstream_scheme: bool,
    /// Limit on the size of request headers, in KiB.
    pub max_request_headers_kb: u32,
    /// Whether the peer's address is that of the client (an edge proxy): `x-forwarded-for` is then not trusted.
    pub use_remote_address: bool,
    /// How many proxies in front are trusted.
    pub xff_num_trusted_hops: u32,
    /// Whether the peer's address is not added to `x-forwarded-for`.
    pub skip_xff_append: bool,
    /// How the caller is found in `x-forwarded-for`, in place of `xff_num_trusted_hops`.
    pub original_ip_detection: Option<XffDetection>,
    /// Whether an IPv4 address is written into `x-forwarded-for` as an IPv6 one.
    pub represent_ipv4_remote_address_as_ipv4_mapped_ipv6: bool,
    /// Which clients are internal: none unless said here.
    pub internal_address_config: Option<InternalAddressConfig>,
    /// Changes to the headers of requests, before anything else is done with them.
    pub early_header_mutations: Vec<HeaderMutation>,
    /// Value appended to `via`, none for nothing.
    pub via: Option<Arc<str>>,
    /// Whether requests get an `x-request-id`.
    pub generate_request_id: bool,
    /// Whether one from outside is kept.
    pub preserve_external_request_id: bool,
    /// Whether it is in every response.
    pub always_set_request_id_in_response: bool,
    /// What becomes of `x-forwarded-client-cert`.
    pub forward_client_cert_details: ForwardClientCertDetails,
    /// What is said in it.
    pub set_current_client_cert_details: SetCurrentClientCertDetails,
    /// Whether `100 Continue` is left to upstream.
    pub proxy_100_continue: bool,
    /// Upgrades that are allowed.
    pub upgrade_configs: Vec<UpgradeConfig>,
    /// Whether dot segments in the path are resolved and unreserved escapes decoded.
    pub normalize_path: bool,
    /// Whether adjacent slashes become one.
    pub merge_slashes: bool,
    /// What becomes of `%2F`, `%2f`, `%5C` and `%5c`.
    pub path_with_escaped_slashes_action: PathWithEscapedSlashesAction,
    /// Whether the port is taken off the host.
    pub strip_port_mode: StripPortMode,
    /// Whether a final dot is taken off the host.
    pub strip_trailing_host_dot: bool,
    /// Whether `x-forwarded-port` is added.
    pub append_x_forwarded_port: bool,
    /// Whether the user agent is replaced by the cluster's name.
    pub add_user_agent: bool,
    /// Whether an invalid message ends only its own stream, where the options of the HTTP version do not say.
    pub stream_error_on_invalid_http_message: bool,
    /// Rewriting of locally made answers.
    pub local_reply_config: Option<LocalReplyConfig>,
    /// Logs.
    pub access_log: Vec<AccessLog>,
    /// How often a request in flight is logged. None only at the end.
    pub access_log_flush_interval: Option<Duration>,
    /// Whether it is logged when it begins.
    pub flush_access_log_on_new_request: bool,
    /// Whether it is logged when the endpoint has agreed to CONNECT.
    pub flush_log_on_tunnel_successfully_established: bool,
    /// Tracing; none when off.
    pub tracing: Option<Tracing>,
}

impl HttpConnectionManager {
    /// Envoy's default for [`stream_idle_timeout`](Self::stream_idle_timeout).
    pub const DEFAULT_STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
    /// Envoy's default for [`drain_timeout`](Self::drain_timeout).
    pub const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
    /// Envoy's default for [`delayed_close_timeout`](Self::delayed_close_timeout).
    pub const DEFAULT_DELAYED_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
    /// Envoy's default for [`max_request_headers_kb`](Self::max_request_headers_kb).
    pub const DEFAULT_MAX_REQUEST_HEADERS_KB: u32 = 60;

    pub(crate) fn add_references(&self, references: &mut References) {
        match &self.route_specifier {
            RouteSpecifier::Rds {
                route_config_name,
                config_source,
            } => {
                references.add(ResourceType::RouteConfiguration, route_config_name, Some(config_source));
            }
            RouteSpecifier::RouteConfig(routes) => routes.add_references(references),
        }
        for filter in self
            .http_filters
            .iter()
            .chain(self.upgrade_configs.iter().flat_map(|upgrade| &upgrade.filters))
        {
            if let Some(config) = &filter.config {
                config.references(references);
            }
        }
        for log in &self.access_log {
            log.add_references(references);
        }
    }
}

/// Which HTTP version is spoken with the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CodecType {
    /// By ALPN, else by what the client sends first.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 (with prior knowledge on plaintext).
    Http2,
}

/// Where routes come from.
#[derive(Debug, Clone)]
pub enum RouteSpecifier {
    /// A route table by name.
    Rds {
        /// The name of the route table.
        route_config_name: Arc<str>,
        /// Where it comes from.
        config_source: Arc<ConfigSource>,
    },
    /// The route table itself.
    RouteConfig(Arc<RouteConfiguration>),
}

/// An HTTP filter of the chain.
#[derive(Debug, Clone)]
pub struct HttpFilter {
    /// Name; per-route configuration refers to it.
    pub name: Arc<str>,
    /// What it does; none for an unknown optional filter, which is passed over.
    pub config: Option<Arc<dyn ExtensionConfig>>,
    /// Whether it is off unless a route turns it on.
    pub disabled: bool,
    /// Whether it may be unknown.
    pub is_optional: bool,
}

/// What becomes of the `server` header of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerHeaderTransformation {
    /// Replaced by `server_name`.
    #[default]
    Overwrite,
    /// Set to `server_name` when there is none.
    AppendIfAbsent,
    /// Left alone.
    PassThrough,
}

/// A scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `http`.
    Http,
    /// `https`.
    Https,
}

/// Which clients are internal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InternalAddressConfig {
    /// Whether Unix sockets are.
    pub unix_sockets: bool,
    /// Address ranges that are.
    pub cidr_ranges: Vec<CidrRange>,
}

/// How the caller is found in `x-forwarded-for` (`envoy.extensions.http.original_ip_detection.xff.v3.XffConfig`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XffDetection {
    /// How many addresses at the end are those of proxies.
    pub num_trusted_hops: u32,
    /// Which addresses at the end are passed over.
    pub trusted_cidrs: Option<Vec<CidrRange>>,
    /// Whether the peer's address is not added.
    pub skip_xff_append: bool,
}

/// What becomes of `x-forwarded-client-cert`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardClientCertDetails {
    /// Removed.
    #[default]
    Sanitize,
    /// Forwarded when the connection is mTLS.
    ForwardOnly,
    /// Appended to when the connection is mTLS.
    AppendForward,
    /// Set when the connection is mTLS, else removed.
    SanitizeSet,
    /// Forwarded always.
    AlwaysForwardOnly,
}

/// What is said of the client certificate in `x-forwarded-client-cert`, beside hash and `By`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetCurrentClientCertDetails {
    /// Its subject.
    pub subject: bool,
    /// The certificate itself, URL-encoded PEM.
    pub cert: bool,
    /// The whole chain, URL-encoded PEM.
    pub chain: bool,
    /// DNS names.
    pub dns: bool,
    /// URI names.
    pub uri: bool,
}

/// An upgrade that is allowed (or not) by the connection manager.
#[derive(Debug, Clone)]
pub struct UpgradeConfig {
    /// The protocol, compared without case: `websocket`, `CONNECT`.
    pub upgrade_type: Arc<str>,
    /// Filters in place of those of the connection manager.
    pub filters: Vec<HttpFilter>,
    /// Whether it is allowed where the route does not say.
    pub enabled: bool,
}

/// What becomes of escaped slashes in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PathWithEscapedSlashesAction {
    /// They stay.
    #[default]
    KeepUnchanged,
    /// 400, for gRPC INTERNAL.
    RejectRequest,
    /// A redirect to the path with them unescaped.
    UnescapeAndRedirect,
    /// They are unescaped.
    UnescapeAndForward,
}

/// Whether the port is taken off the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StripPortMode {
    /// It stays.
    #[default]
    Keep,
    /// When it is that of the listener.
    Matching,
    /// Always.
    Any,
}

/// Rewriting of locally made answers.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalReplyConfig {
    /// The first whose filter matches applies.
    pub mappers: Vec<ResponseMapper>,
    /// The body format where a mapper does not say.
    pub body_format: Option<BodyFormat>,
}

/// One rewriting.
#[derive(Debug, Clone, PartialEq)]
pub struct ResponseMapper {
    /// Which answers.
    pub filter: AccessLogFilter,
    /// The new status.
    pub status_code: Option<u16>,
    /// The new body, before formatting.
    pub body: Option<DataSource>,
    /// The body format.
    pub body_format_override: Option<BodyFormat>,
    /// Headers to add.
    pub headers_to_add: Vec<HeaderValueOption>,
}

/// A format for bodies (`SubstitutionFormatString`).
#[derive(Debug, Clone, PartialEq)]
pub struct BodyFormat {
    /// The format.
    pub format: AccessLogFormat,
    /// Value of `content-type`; by the kind of format when none.
    pub content_type: Option<Arc<str>>,
}

/// Tracing: sampling in percent of 100.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracing {
    /// Of requests with `x-client-trace-id`.
    pub client_sampling: f64,
    /// Of other requests.
    pub random_sampling: f64,
    /// Of all that were chosen.
    pub overall_sampling: f64,
    /// Whether spans carry more detail.
    pub verbose: bool,
    /// Longest path that is recorded, in bytes.
    pub max_path_tag_length: u32,
    /// Whether the span of the upstream request is one of its own.
    pub spawn_upstream_span: bool,
}

#[cfg(test)]
mod tests;
