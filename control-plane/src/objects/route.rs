//! An HTTPRoute or GRPCRoute, read into one form that cannot hold what is not supported.

use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

/// Which kind a route came from; a Service with both follows its GRPCRoutes (GEP-1426).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// HTTPRoute.
    Http,
    /// GRPCRoute.
    Grpc,
}

/// A route attached to Services.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its kind.
    pub kind: RouteKind,
    /// When it was made, as RFC 3339, if the object says so: the older route wins a tie.
    pub created: Option<String>,
    /// The Services it is attached to.
    pub parents: Vec<Parent>,
    /// Whether it names hostnames, which have no meaning for a Service parent.
    pub has_hostnames: bool,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// A Service that a route is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Where in the object, for messages.
    pub path: String,
    /// The Service's namespace; the route's own where none is given.
    pub namespace: Option<Arc<str>>,
    /// The Service's name.
    pub name: Arc<str>,
    /// One port of it, or all.
    pub port: Option<u16>,
}

/// What is done with requests that match.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Any of these; an empty list matches everything.
    pub matches: Vec<Match>,
    /// Changes to the request and the response.
    pub filters: Filters,
    /// Where requests go. If there are none the answer is 500 (or a redirect).
    pub backends: Vec<Backend>,
    /// A redirect instead of a backend.
    pub redirect: Option<Redirect>,
    /// The time for the whole request; zero is no limit.
    pub timeout: Option<Duration>,
    /// The time for each attempt; zero is no limit.
    pub backend_timeout: Option<Duration>,
    /// Retries.
    pub retry: Option<RouteRetry>,
}

/// The conditions of one match; all must hold.
#[derive(Clone, Debug)]
pub struct Match {
    /// The path.
    pub path: PathMatch,
    /// The HTTP method.
    pub method: Option<String>,
    /// Header fields, each name once.
    pub headers: Vec<ValueMatch>,
    /// Query parameters, each name once.
    pub query: Vec<ValueMatch>,
}

/// A condition on the path.
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// The path or its first elements: `/a` matches `/a` and `/a/b`, not `/ab`.
    Prefix(String),
    /// The whole path, as a regular expression.
    Regex(Regex),
    /// A gRPC service or method; GRPCRoute has its own order of precedence.
    Grpc(GrpcMethod),
}

/// A gRPC call's service and method.
#[derive(Clone, Debug, Default)]
pub struct GrpcMethod {
    /// The full service name.
    pub service: Option<String>,
    /// The method name.
    pub method: Option<String>,
    /// Whether both are regular expressions, each for the whole name.
    pub regex: bool,
}

/// A condition on a header field or a query parameter.
#[derive(Clone, Debug)]
pub struct ValueMatch {
    /// Its name; of header fields in lower case.
    pub name: String,
    /// Its value.
    pub value: StringMatch,
}

/// A condition on a string.
#[derive(Clone, Debug)]
pub enum StringMatch {
    /// The same.
    Exact(String),
    /// The whole value matches.
    Regex(Regex),
}

/// Changes on the way.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    /// To the request's header.
    pub request_headers: HeaderChanges,
    /// To the response's header.
    pub response_headers: HeaderChanges,
    /// To `:authority`.
    pub rewrite_host: Option<String>,
    /// To the path.
    pub rewrite_path: Option<PathRewrite>,
    /// Copies sent elsewhere, whose answers are dropped.
    pub mirrors: Vec<Mirror>,
}

/// Header fields to set, add and remove, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    /// Replaced, or added if missing.
    pub set: Vec<(String, String)>,
    /// Added beside what is there.
    pub add: Vec<(String, String)>,
    /// Removed.
    pub remove: Vec<String>,
}

impl HeaderChanges {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

/// A new path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    /// In place of the whole path.
    Full(String),
    /// In place of the prefix that matched.
    Prefix(String),
}

/// A copy of requests to another Service.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// Where in the object, for messages.
    pub path: String,
    /// Where to.
    pub target: BackendRef,
    /// How many: numerator and denominator.
    pub fraction: (u32, u32),
}

/// A redirect.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// The scheme, if it changes.
    pub scheme: Option<&'static str>,
    /// The host, if it changes.
    pub host: Option<String>,
    /// The port, if it changes.
    pub port: Option<u16>,
    /// The path, if it changes.
    pub path: Option<PathRewrite>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// A Service and port that requests go to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackendRef {
    /// Its namespace; the route's own where none is given.
    pub namespace: Option<Arc<str>>,
    /// Its name.
    pub name: Arc<str>,
    /// Its port.
    pub port: u16,
}

/// One of a rule's backends.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Where in the object, for messages.
    pub path: String,
    /// Where to.
    pub target: BackendRef,
    /// Its share of the sum of the rule's weights.
    pub weight: u32,
    /// To the request's header, for this backend alone.
    pub request_headers: HeaderChanges,
    /// To the response's header, for this backend alone.
    pub response_headers: HeaderChanges,
}

/// Retries as HTTPRoute has them (GEP-1731).
#[derive(Clone, Debug)]
pub struct RouteRetry {
    /// HTTP status codes that are retried.
    pub codes: Vec<u32>,
    /// Attempts after the first.
    pub attempts: Option<u32>,
    /// The wait before the first retry.
    pub backoff: Option<Duration>,
}
