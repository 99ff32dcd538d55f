//! What becomes of a request that matched a route.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::data_source::DataSource;
use crate::header_mutation::{HeaderMutation, HeaderMutations};
use crate::http_connection_manager::BodyFormat;
use crate::metadata::Metadata;
use crate::percent::{FractionalPercent, RuntimeFractionalPercent};
use crate::regex::RegexRewrite;
use crate::route::{PerFilterConfig, RetryPolicy};
use crate::value_format::FormattedText;

/// Forwarding to a cluster (`envoy.config.route.v3.RouteAction`).
#[derive(Debug, Clone, PartialEq)]
pub struct RouteAction {
    /// The cluster.
    pub cluster: ClusterSpecifier,
    /// All else, shared with actions that are alike: the routes of a big mesh mostly differ in their clusters only.
    pub settings: Arc<RouteActionSettings>,
}

impl Deref for RouteAction {
    type Target = RouteActionSettings;

    fn deref(&self) -> &RouteActionSettings {
        &self.settings
    }
}

/// How is forwarded, whatever the cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteActionSettings {
    /// Status when there is no such cluster.
    pub cluster_not_found_response_code: ClusterNotFoundResponseCode,
    /// Which endpoints of the cluster are eligible (`envoy.lb`).
    pub metadata_match: Metadata,
    /// What becomes of the path.
    pub path_rewrite: Option<PathRewrite>,
    /// What becomes of the host.
    pub host_rewrite: Option<HostRewrite>,
    /// Whether the original host is kept in `x-forwarded-host` when it is rewritten.
    pub append_x_forwarded_host: bool,
    /// How long the answer may take from the end of the request. None for ever; absent in the configuration is 15 s.
    pub timeout: Option<Duration>,
    /// How long the stream may be without activity. Outer `None`: as the connection manager says. Inner `None`: for
    /// ever.
    pub idle_timeout: Option<Option<Duration>>,
    /// How long the flush of a finished stream may stall, as for `idle_timeout`.
    pub flush_timeout: Option<Option<Duration>>,
    /// Limits on the whole stream.
    pub max_stream_duration: Option<MaxStreamDuration>,
    /// Limit on what `grpc-timeout` may ask for (deprecated). Outer `None`: the header is not looked at. Inner
    /// `None`: no limit.
    pub max_grpc_timeout: Option<Option<Duration>>,
    /// Taken off `grpc-timeout` (deprecated).
    pub grpc_timeout_offset: Option<Duration>,
    /// Retries; those of the virtual host when none.
    pub retry_policy: Option<Arc<RetryPolicy>>,
    /// Hedging; that of the virtual host when none.
    pub hedge_policy: Option<HedgePolicy>,
    /// Copies of requests to other clusters.
    pub request_mirror_policies: Vec<RequestMirrorPolicy>,
    /// Which breaker thresholds count.
    pub priority: RoutingPriority,
    /// What the endpoint is chosen by, for hash balancers.
    pub hash_policy: Vec<HashPolicy>,
    /// Upgrades allowed or not.
    pub upgrade_configs: Vec<RouteUpgradeConfig>,
    /// Redirects that are followed here.
    pub internal_redirect_policy: Option<InternalRedirectPolicy>,
}

impl RouteAction {
    /// Envoy's default for [`timeout`](RouteActionSettings::timeout).
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);
}

/// Which cluster a request goes to.
#[derive(Debug, Clone, PartialEq)]
pub enum ClusterSpecifier {
    /// This one.
    Cluster(Arc<str>),
    /// The one that a request header names (lower-case header name).
    ClusterHeader(Arc<str>),
    /// One of several by weight.
    WeightedClusters(Box<WeightedClusters>),
}

/// Clusters by weight; at least one, and the weights add up to more than zero.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedClusters {
    /// The clusters.
    pub clusters: Vec<ClusterWeight>,
    /// Sum of the weights.
    pub total_weight: u32,
    /// A request header whose number takes the place of the random one.
    pub random_value_header: Option<Arc<str>>,
    /// Whether the hash of the hash policy takes the place of the random number.
    pub use_hash_policy: bool,
    /// Runtime key under which weights may be overridden; empty for none.
    pub runtime_key_prefix: Arc<str>,
}

impl WeightedClusters {
    /// The cluster for a random number.
    pub fn pick(&self, random: u64) -> &ClusterWeight {
        let mut at = random % u64::from(self.total_weight.max(1));
        for cluster in &self.clusters {
            match at.checked_sub(u64::from(cluster.weight)) {
                Some(rest) => at = rest,
                None => return cluster,
            }
        }
        // Not reached: `at` is less than the sum of the weights.
        &self.clusters[0]
    }
}

/// One of several clusters.
#[derive(Debug, Clone)]
pub struct ClusterWeight {
    /// The cluster; none when a header names it.
    pub name: Option<Arc<str>>,
    /// The header that names it.
    pub cluster_header: Option<Arc<str>>,
    /// Its share of the total.
    pub weight: u32,
    /// Which endpoints are eligible, on top of the route's `metadata_match`.
    pub metadata_match: Metadata,
    /// Changes to request headers.
    pub request_headers: HeaderMutations,
    /// Changes to response headers.
    pub response_headers: HeaderMutations,
    /// Configuration of filters, by filter name.
    pub typed_per_filter_config: PerFilterConfig,
    /// What the host becomes.
    pub host_rewrite_literal: Option<Arc<str>>,
}

impl PartialEq for ClusterWeight {
    /// Without the filter configuration, which has no equality.
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.cluster_header, self.weight, &self.metadata_match)
            == (&other.name, &other.cluster_header, other.weight, &other.metadata_match)
            && (&self.request_headers, &self.response_headers) == (&other.request_headers, &other.response_headers)
            && self.host_rewrite_literal == other.host_rewrite_literal
    }
}

/// Status when a cluster is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClusterNotFoundResponseCode {
    /// 503.
    #[default]
    ServiceUnavailable,
    /// 404.
    NotFound,
    /// 500.
    InternalServerError,
}

impl ClusterNotFoundResponseCode {
    /// The status as a number.
    pub fn status(self) -> u16 {
        match self {
            Self::ServiceUnavailable => 503,
            Self::NotFound => 404,
            Self::InternalServerError => 500,
        }
    }
}

/// What becomes of the path of a forwarded request.
#[derive(Debug, Clone, PartialEq)]
pub enum PathRewrite {
    /// The part that the route matched is replaced.
    Prefix(Arc<str>),
    /// Every match in the path (without query) is replaced. A template of the path is one such match.
    Regex(RegexRewrite),
    /// All of it (without query) becomes this text, unless that comes out empty.
    Format(FormattedText),
}

/// What becomes of the host of a forwarded request.
#[derive(Debug, Clone, PartialEq)]
pub enum HostRewrite {
    /// It becomes this.
    Literal(Arc<str>),
    /// It becomes the chosen endpoint's hostname.
    Auto,
    /// It becomes the value of this request header, when there is one.
    Header(Arc<str>),
    /// It becomes the path, with every match replaced.
    PathRegex(RegexRewrite),
    /// It becomes this text, unless that comes out empty.
    Format(FormattedText),
}

/// Limits on a whole stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MaxStreamDuration {
    /// How long it may last. Outer `None`: as the connection manager says. Inner `None`: for ever.
    pub max_stream_duration: Option<Option<Duration>>,
    /// `grpc-timeout` is honoured up to this. Outer `None`: the header is not looked at. Inner `None`: no limit.
    pub grpc_timeout_header_max: Option<Option<Duration>>,
    /// Taken off the time of `grpc-timeout`.
    pub grpc_timeout_header_offset: Duration,
}

/// Sends a copy of a request elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestMirrorPolicy {
    /// The cluster.
    pub cluster: MirrorCluster,
    /// Which requests; all when none.
    pub runtime_fraction: Option<RuntimeFractionalPercent>,
    /// Whether the copy is traced; as the original when none.
    pub trace_sampled: Option<bool>,
    /// Whether `-shadow` is not added to the host.
    pub disable_shadow_host_suffix_append: bool,
    /// Changes to the headers of the copy.
    pub request_headers_mutations: Vec<HeaderMutation>,
    /// What the copy's host becomes, in place of one with `-shadow`.
    pub host_rewrite_literal: Option<Arc<str>>,
}

/// Where a copy goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MirrorCluster {
    /// To this cluster.
    Name(Arc<str>),
    /// To the one that a request header names (lower-case header name); there is no copy where it names none.
    Header(Arc<str>),
}

/// Which breaker thresholds count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum RoutingPriority {
    /// The usual ones.
    #[default]
    Default,
    /// Those for high priority.
    High,
}

/// A part of what an endpoint is chosen by.
#[derive(Debug, Clone, PartialEq)]
pub struct HashPolicy {
    /// What is hashed.
    pub specifier: HashPolicySpecifier,
    /// Whether the parts after it are left out when this one gave a hash.
    pub terminal: bool,
}

/// What an endpoint is chosen by.
#[derive(Debug, Clone, PartialEq)]
pub enum HashPolicySpecifier {
    /// A request header.
    Header {
        /// Its name, lower case.
        header_name: Arc<str>,
        /// What becomes of its value first.
        regex_rewrite: Option<RegexRewrite>,
    },
    /// A cookie.
    Cookie {
        /// Its name.
        name: Arc<str>,
        /// It is made, with this life time, when there is none. A session cookie when zero.
        ttl: Option<Duration>,
        /// Path of a cookie that is made.
        path: Arc<str>,
        /// More attributes of a cookie that is made.
        attributes: Vec<(Arc<str>, Arc<str>)>,
    },
    /// The client's address.
    SourceIp,
    /// A query parameter.
    QueryParameter(Arc<str>),
    /// An object of the filter state.
    FilterState(Arc<str>),
}

/// An upgrade allowed or not on a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteUpgradeConfig {
    /// The protocol, compared without case.
    pub upgrade_type: Arc<str>,
    /// Whether it is allowed.
    pub enabled: bool,
    /// Whether CONNECT ends here and its payload goes upstream as TCP.
    pub connect_config: Option<ConnectConfig>,
}

/// How a CONNECT request is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectConfig {
    /// Whether POST counts as CONNECT.
    pub allow_post: bool,
}

/// Which redirects of upstreams are followed here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalRedirectPolicy {
    /// How often in a row.
    pub max_internal_redirects: u32,
    /// Which statuses; 302 alone by default.
    pub redirect_response_codes: Vec<u16>,
    /// What else must hold.
    pub predicates: Vec<InternalRedirectPredicate>,
    /// Whether from `http` to `https` and back.
    pub allow_cross_scheme_redirect: bool,
    /// Response headers that go into the next request.
    pub response_headers_to_copy: Vec<Arc<str>>,
}

/// What must hold of a redirect's new route for it to be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InternalRedirectPredicate {
    /// The request was not redirected to that route from this one before.
    PreviousRoutes,
    /// The route has one of these names.
    AllowListedRoutes(Vec<Arc<str>>),
    /// It does not lead from `http` to `https`.
    SafeCrossScheme,
}

/// Requests sent more than once at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HedgePolicy {
    /// How many at first.
    pub initial_requests: u32,
    /// Chance of another one.
    pub additional_request_chance: FractionalPercent,
    /// Whether a try that timed out goes on beside its retry.
    pub hedge_on_per_try_timeout: bool,
}

/// Sending the client elsewhere (`RedirectAction`).
#[derive(Debug, Clone, PartialEq)]
pub struct RedirectAction {
    /// New scheme.
    pub scheme_rewrite: Option<SchemeRewrite>,
    /// New host; as requested when none.
    pub host_redirect: Option<Arc<str>>,
    /// New port; as requested when none.
    pub port_redirect: Option<u16>,
    /// New path; as requested when none.
    pub path_rewrite: Option<RedirectPathRewrite>,
    /// Status: 301, 302, 303, 307 or 308.
    pub response_code: u16,
    /// Whether the query is left out.
    pub strip_query: bool,
}

/// New scheme of a redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemeRewrite {
    /// `https`.
    Https,
    /// This one.
    Scheme(Arc<str>),
}

/// New path of a redirect.
#[derive(Debug, Clone, PartialEq)]
pub enum RedirectPathRewrite {
    /// All of it, a query included.
    Path(Arc<str>),
    /// The part that the route matched.
    Prefix(Arc<str>),
    /// Every match in it.
    Regex(RegexRewrite),
    /// All of it becomes this text, unless that comes out empty.
    Format(FormattedText),
}

/// An answer made here (`DirectResponseAction`).
#[derive(Debug, Clone, PartialEq)]
pub struct DirectResponseAction {
    /// Status, 200 to 599.
    pub status: u16,
    /// Body, none for an empty one.
    pub body: Option<DataSource>,
    /// What the body is made into, itself being `%LOCAL_REPLY_BODY%` in it.
    pub body_format: Option<BodyFormat>,
}
