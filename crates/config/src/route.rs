//! Route tables (`envoy.config.route.v3.RouteConfiguration`).
//!
//! [`Matcher`] finds the route of a request; [`RouteConfiguration`] holds it compiled.

use std::ops::Deref;
use std::sync::Arc;

use crate::extensions::ExtensionConfig;
use crate::fingerprint::Fingerprint;
use crate::header_mutation::HeaderMutations;
use crate::metadata::Metadata;
use crate::percent::RuntimeFractionalPercent;
use crate::regex::Regex;
use crate::resource::References;
use crate::string_matcher::{HeaderMatcher, StringMatcher};

mod action;
mod matcher;
mod parse;
mod retry;
mod unknown_cluster;
mod uri_template;

pub use action::{
    ClusterNotFoundResponseCode, ClusterSpecifier, ClusterWeight, DirectResponseAction, HashPolicy,
    HashPolicySpecifier, HedgePolicy, HostRewrite, InternalRedirectPolicy, InternalRedirectPredicate,
    MaxStreamDuration, MirrorCluster, PathRewrite, RedirectAction, RedirectPathRewrite, RequestMirrorPolicy,
    RouteAction, RouteActionSettings, RouteUpgradeConfig, RoutingPriority, SchemeRewrite, WeightedClusters,
};
pub use matcher::{Matched, Matcher, PeerCertificate, RequestView, query_parameter};
pub use retry::{RateLimitedRetryBackOff, ResetHeader, ResetHeaderFormat, RetryBackOff, RetryOn, RetryPolicy};
pub use unknown_cluster::UnknownCluster;
pub use uri_template::UriTemplate;

/// A route table.
#[derive(Debug, Clone)]
pub struct RouteConfiguration {
    /// Name; may be empty where it is written inline.
    pub name: Arc<str>,
    /// Virtual hosts in the order given.
    pub virtual_hosts: Vec<Arc<VirtualHost>>,
    /// Finds the virtual host and route of a request.
    pub matcher: Matcher,
    /// Changes to request headers.
    pub request_headers: HeaderMutations,
    /// Changes to response headers.
    pub response_headers: HeaderMutations,
    /// Whether changes of the table are made before those of the virtual host and the route, so that the most
    /// specific one wins; the other way round when not.
    pub most_specific_header_mutations_wins: bool,
    /// Headers that are removed from requests of external clients.
    pub internal_only_headers: Vec<Arc<str>>,
    /// Whether a table that names an unknown cluster is refused. Where nothing is said, one that is written into its
    /// listener is.
    pub validate_clusters: Option<bool>,
    /// Mirroring for routes that have none of their own.
    pub request_mirror_policies: Vec<RequestMirrorPolicy>,
    /// Configuration of filters, by filter name.
    pub typed_per_filter_config: PerFilterConfig,
    /// Metadata of its own.
    pub metadata: Metadata,
    /// Identity of its content.
    pub fingerprint: Fingerprint,
}

impl RouteConfiguration {
    /// The clusters that its routes name.
    pub fn references(&self) -> References {
        let mut references = References::default();
        self.add_references(&mut references);
        references
    }

    pub(crate) fn add_references(&self, references: &mut References) {
        let mirrors = |policies: &[RequestMirrorPolicy], references: &mut References| {
            for policy in policies {
                if let MirrorCluster::Name(name) = &policy.cluster {
                    references.add_cluster(name);
                }
            }
        };
        mirrors(&self.request_mirror_policies, references);
        self.typed_per_filter_config.add_references(references);
        for host in &self.virtual_hosts {
            mirrors(&host.request_mirror_policies, references);
            host.typed_per_filter_config.add_references(references);
            for route in &host.routes {
                route.typed_per_filter_config.add_references(references);
                let Action::Route(action) = &route.action else { continue };
                mirrors(&action.request_mirror_policies, references);
                match &action.cluster {
                    ClusterSpecifier::Cluster(name) => references.add_cluster(name),
                    ClusterSpecifier::WeightedClusters(weighted) => {
                        for cluster in &weighted.clusters {
                            if let Some(name) = &cluster.name {
                                references.add_cluster(name);
                            }
                            cluster.typed_per_filter_config.add_references(references);
                        }
                    }
                    ClusterSpecifier::ClusterHeader(_) => {}
                }
            }
        }
    }
}

/// Routes for some domains.
#[derive(Debug, Clone)]
pub struct VirtualHost {
    /// Name, used in statistics and logs.
    pub name: Arc<str>,
    /// Domains, lower case: exact, `*.suffix`, `prefix.*` or `*`.
    pub domains: Vec<Arc<str>>,
    /// Routes; the first that matches applies.
    pub routes: Vec<Arc<Route>>,
    /// All else, shared with virtual hosts that are alike: those of a big mesh mostly are.
    pub settings: Arc<VirtualHostSettings>,
}

impl Deref for VirtualHost {
    type Target = VirtualHostSettings;

    fn deref(&self) -> &VirtualHostSettings {
        &self.settings
    }
}

/// What virtual hosts may have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct VirtualHostSettings {
    /// Whether plaintext requests are redirected.
    pub require_tls: TlsRequirement,
    /// Changes to request headers.
    pub request_headers: HeaderMutations,
    /// Changes to response headers.
    pub response_headers: HeaderMutations,
    /// Whether upstream sees `x-envoy-attempt-count`.
    pub include_request_attempt_count: bool,
    /// Whether the client sees it.
    pub include_attempt_count_in_response: bool,
    /// Whether retries after a timeout carry `x-envoy-is-timeout-retry`.
    pub include_is_timeout_retry_header: bool,
    /// Retries for routes that say nothing of them.
    pub retry_policy: Option<Arc<RetryPolicy>>,
    /// Hedging for routes that say nothing of it.
    pub hedge_policy: Option<HedgePolicy>,
    /// Limit on bytes kept for retries and mirroring; the connection's buffer limit when none.
    pub per_request_buffer_limit_bytes: Option<u64>,
    /// Mirroring for routes that have none of their own.
    pub request_mirror_policies: Vec<RequestMirrorPolicy>,
    /// Requests that are counted together; the first that matches counts.
    pub virtual_clusters: Vec<VirtualCluster>,
    /// Configuration of filters, by filter name.
    pub typed_per_filter_config: PerFilterConfig,
    /// Metadata of its own.
    pub metadata: Metadata,
}

/// Requests of a virtual host that are counted together.
#[derive(Debug, Clone, PartialEq)]
pub struct VirtualCluster {
    /// Name, used in statistics.
    pub name: Arc<str>,
    /// What the requests are like: all must match.
    pub headers: Vec<HeaderMatcher>,
}

/// Whether requests must be encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsRequirement {
    /// No.
    #[default]
    None,
    /// Those of external clients.
    ExternalOnly,
    /// All.
    All,
}

/// One route: what it matches and what becomes of the request.
#[derive(Debug, Clone)]
pub struct Route {
    /// Name, may be empty.
    pub name: Arc<str>,
    /// What it matches; shared with routes that match the same.
    pub route_match: Arc<RouteMatch>,
    /// What becomes of the request.
    pub action: Action,
    /// All else, shared with routes that are alike: those of a big mesh mostly are.
    pub settings: Arc<RouteSettings>,
}

impl Deref for Route {
    type Target = RouteSettings;

    fn deref(&self) -> &RouteSettings {
        &self.settings
    }
}

/// What routes may have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteSettings {
    /// Metadata of its own.
    pub metadata: Metadata,
    /// The name of the operation in traces; none when not said.
    pub decorator: Option<Decorator>,
    /// Changes to request headers.
    pub request_headers: HeaderMutations,
    /// Changes to response headers.
    pub response_headers: HeaderMutations,
    /// Limit on bytes kept for retries and mirroring.
    pub per_request_buffer_limit_bytes: Option<u64>,
    /// Name of its statistics; none without.
    pub stat_prefix: Option<Arc<str>>,
    /// Configuration of filters, by filter name.
    pub typed_per_filter_config: PerFilterConfig,
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub enum Action {
    /// It is forwarded.
    Route(Box<RouteAction>),
    /// The client is sent elsewhere.
    Redirect(Box<RedirectAction>),
    /// It is answered.
    DirectResponse(Box<DirectResponseAction>),
    /// It is left to a filter; the router refuses it.
    NonForwarding,
}

/// The name of the operation in traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decorator {
    /// The name.
    pub operation: Arc<str>,
    /// Whether it is passed on in `x-envoy-decorator-operation`.
    pub propagate: bool,
}

/// Configuration of HTTP filters for a route, virtual host, table or weighted cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PerFilterConfig {
    /// Few, and in a big mesh mostly none.
    filters: Box<[(Arc<str>, FilterConfig)]>,
}

/// Configuration of one filter.
#[derive(Debug, Clone)]
pub struct FilterConfig {
    /// The configuration; none where only `disabled` is said, or an unknown optional one was passed over.
    pub config: Option<Arc<dyn ExtensionConfig>>,
    /// Whether the filter is off here. `None` where nothing is said.
    pub disabled: Option<bool>,
}

impl PartialEq for FilterConfig {
    /// Configurations of filters have no equality: one is only equal to itself.
    fn eq(&self, other: &Self) -> bool {
        let same_config = match (&self.config, &other.config) {
            (None, None) => true,
            (Some(mine), Some(theirs)) => Arc::ptr_eq(mine, theirs),
            _ => false,
        };
        same_config && self.disabled == other.disabled
    }
}

impl PerFilterConfig {
    /// Configuration of the filter with this name.
    pub fn get(&self, filter: &str) -> Option<&FilterConfig> {
        let mut entries = self.filters.iter();
        entries.find_map(|(name, config)| (**name == *filter).then_some(config))
    }

    /// All of it.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &FilterConfig)> {
        self.filters.iter().map(|(name, config)| (name, config))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    fn add_references(&self, references: &mut References) {
        for config in self.filters.iter().filter_map(|(_, filter)| filter.config.as_ref()) {
            config.references(references);
        }
    }
}

/// What a route matches. All criteria must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteMatch {
    /// The path.
    pub path: PathSpecifier,
    /// Whether the case of the path counts; it always does for a regular expression.
    pub case_sensitive: bool,
    /// A fraction of the requests that match otherwise.
    pub runtime_fraction: Option<RuntimeFractionalPercent>,
    /// Headers.
    pub headers: Vec<HeaderMatcher>,
    /// Query parameters.
    pub query_parameters: Vec<QueryParameterMatcher>,
    /// Cookies.
    pub cookies: Vec<CookieMatcher>,
    /// Whether only gRPC requests match.
    pub grpc: bool,
    /// The caller's certificate.
    pub tls_context: Option<TlsContextMatch>,
    /// Whether only requests with metadata match, which no filter of this proxy attaches to any.
    pub needs_metadata: bool,
}

/// What the caller's certificate must be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsContextMatch {
    /// Whether there is one. None: either.
    pub presented: Option<bool>,
    /// Whether it was verified. None: either.
    pub validated: Option<bool>,
}

/// Matches a cookie.
#[derive(Debug, Clone, PartialEq)]
pub struct CookieMatcher {
    /// Its name.
    pub name: Arc<str>,
    /// What its first value must be like.
    pub string: StringMatcher,
    /// Whether the result is turned round; one that is not there does not match.
    pub invert_match: bool,
}

/// How a path is matched. Query and fragment are no part of it.
#[derive(Debug, Clone, PartialEq)]
pub enum PathSpecifier {
    /// Its start.
    Prefix(Arc<str>),
    /// All of it.
    Path(Arc<str>),
    /// Its start, followed by its end or a slash. Has no final slash itself.
    PathSeparatedPrefix(Arc<str>),
    /// All of it, by a regular expression.
    SafeRegex(Regex),
    /// CONNECT requests, whatever the path.
    ConnectMatcher,
    /// All of it, by a template.
    Template(Box<UriTemplate>),
}

/// Matches a query parameter, as it stands in the path (escapes are not decoded).
#[derive(Debug, Clone, PartialEq)]
pub struct QueryParameterMatcher {
    /// Its name.
    pub name: Arc<str>,
    /// What its first value must be like.
    pub specifier: QueryParameterMatchSpecifier,
}

/// The ways of matching a query parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum QueryParameterMatchSpecifier {
    /// By its value.
    String(StringMatcher),
    /// By its being there.
    Present(bool),
}

#[cfg(test)]
mod tests;
