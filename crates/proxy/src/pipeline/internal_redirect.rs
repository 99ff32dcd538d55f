//! Redirects of endpoints that are followed here (`internal_redirect_policy`): the request goes on as another one, to
//! where the answer sent it, and the caller never sees that answer.
//!
//! ```text
//!  answer with a redirect ── request whole and kept? location usable? not too often? a route, and the predicates hold?
//!                                │ no                                        │ yes
//!                                v                                           v
//!                   passed on to the caller, counted       the record ends, another one begins at the filters
//! ```

use std::rc::Rc;
use std::sync::Arc;

use codec::headers::HeaderBlock;
use codec::names::KnownName;
use config::route::{InternalRedirectPolicy, InternalRedirectPredicate};
use telemetry::stats::{Counter, cluster as cluster_stat, http as stat};
use upstream::outlier::Outcome;

use super::closing::{self, Closing};
use super::{filtering, finish, request};
use crate::connection::{Connection, Role};
use crate::downstream::Downstream;
use crate::manager::Manager;
use crate::slab::Key;
use crate::snapshot::Snapshot;
use crate::stream::{RequestBody, Stream};
use crate::worker::{Local, Worker};

/// `%RESPONSE_CODE_DETAILS%` of a request that went on as another one.
const DETAILS: &str = "internal_redirect";

/// How a request was redirected until now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Redirects {
    count: u32,
    /// Which route led to which, by their names, as far as a predicate asked.
    steps: Vec<(Arc<str>, Arc<str>)>,
}

/// Why a redirect is passed on; the connection manager counts some of the reasons.
struct PassedOn(Option<Counter>);

/// Follows the answer to a request if it is a redirect and the route says so. True if it was: `key` is gone then.
pub(super) fn follow(worker: &mut Worker, key: Key<Stream>, head: &HeaderBlock, end_stream: bool) -> bool {
    let status = head.status().unwrap_or_default();
    let Some(stream) = worker.streams.get(key) else {
        return false;
    };
    let (manager, snapshot) = (Rc::clone(&stream.manager), Rc::clone(&stream.snapshot));
    let policy = stream.route_action_in(&manager, &snapshot);
    let Some(policy) = policy.and_then(|action| action.internal_redirect_policy.as_ref()) else {
        return false;
    };
    if !policy.redirect_response_codes.contains(&status) {
        return false;
    }
    let Some(downstream) = worker
        .connections
        .get(stream.downstream)
        .and_then(Connection::downstream)
    else {
        return false;
    };
    let next = next_request(stream, downstream, &manager, &snapshot, head, policy, worker.now);
    let (shard, cluster) = (worker.shard, stream.cluster.clone());
    let (counter, next) = match next {
        Ok(next) => (cluster_stat::UPSTREAM_INTERNAL_REDIRECT_SUCCEEDED_TOTAL, Some(next)),
        Err(PassedOn(reason)) => {
            if let Some(reason) = reason {
                manager.stats.local(shard).add(reason, 1);
            }
            (cluster_stat::UPSTREAM_INTERNAL_REDIRECT_FAILED_TOTAL, None)
        }
    };
    if let Some(cluster) = cluster {
        cluster.stats().add(shard, counter, 1);
    }
    let Some(next) = next else {
        return false;
    };
    closing::close_latest(worker, key, Closing::Retried(Outcome::Response(status), end_stream));
    closing::close_beside(worker, key);
    if let Some(stream) = worker.streams.get_mut(key) {
        stream.record.status = status;
        stream.record.details = DETAILS;
        stream.record.went_on = true;
        stream.record.keep_head(&manager, head);
    }
    go_on(worker, key, next);
    true
}

/// Puts the next request in the place of the one that was redirected, and begins it.
fn go_on(worker: &mut Worker, key: Key<Stream>, next: Stream) {
    let (connection, id, manager) = (next.downstream, next.downstream_id, Rc::clone(&next.manager));
    // Of a body that goes no further.
    let unread = match worker.streams.get(key) {
        Some(stream) if next.body.received == 0 => stream.body.received.saturating_sub(stream.body.credited),
        _ => 0,
    };
    let next = worker.streams.insert(next);
    let stats = manager.stats.local(worker.shard);
    stats.add(stat::DOWNSTREAM_RQ_TOTAL, 1);
    stats.gauge_add(stat::DOWNSTREAM_RQ_ACTIVE, 1);
    if let Some(found) = worker.connections.get_mut(connection)
        && let Role::Downstream(downstream) = &mut found.role
    {
        downstream.stream_goes_on();
        stats.add(downstream.protocol_requests_stat(), 1);
    }
    finish::finish(worker, key);
    if let Some(found) = worker.connections.get_mut(connection)
        && let Some(codec) = &mut found.codec
    {
        codec.set_tag(id, next.to_bits());
    }
    super::release(worker, connection, id, unread as usize);
    filtering::begin(worker, next);
    super::arm(worker, next);
}

/// The request that follows from a redirect.
fn next_request(
    stream: &Stream,
    downstream: &Downstream,
    manager: &Local<Manager>,
    snapshot: &Local<Snapshot>,
    head: &HeaderBlock,
    policy: &InternalRedirectPolicy,
    now: std::time::Instant,
) -> Result<Stream, PassedOn> {
    let Some(location) = head.get(KnownName::Location) else {
        return Err(PassedOn(None));
    };
    if !stream.body.complete || !stream.is_replayable() || stream.upgrade().is_some() {
        return Err(PassedOn(None));
    }
    let Some(target) = Target::parse(location) else {
        return Err(PassedOn(Some(stat::PASSTHROUGH_INTERNAL_REDIRECT_BAD_LOCATION)));
    };
    let was_http = stream.request.scheme() == Some(b"http") || !downstream.is_tls;
    let is_http = target.scheme == b"http";
    let is_known = is_http || target.scheme == b"https";
    if !is_known || (!policy.allow_cross_scheme_redirect && was_http != is_http) {
        return Err(PassedOn(Some(stat::PASSTHROUGH_INTERNAL_REDIRECT_UNSAFE_SCHEME)));
    }
    let mut redirects = stream
        .rare
        .as_ref()
        .and_then(|rare| rare.redirects.as_deref())
        .cloned()
        .unwrap_or_default();
    if redirects.count >= policy.max_internal_redirects {
        return Err(PassedOn(Some(stat::PASSTHROUGH_INTERNAL_REDIRECT_TOO_MANY_REDIRECTS)));
    }
    let mut request = Box::new(HeaderBlock::new());
    request.copy_from(&stream.request);
    for name in &policy.response_headers_to_copy {
        request.remove(name.as_bytes());
        for value in head.get_all(&**name) {
            request.append(name.as_bytes(), value);
        }
    }
    request.set_scheme(target.scheme);
    request.set_authority(target.authority);
    request.set_path(target.path);
    let at = (stream.downstream, stream.downstream_id);
    let mut next = Stream::new(at, Rc::clone(manager), Rc::clone(snapshot), request, now);
    next.is_internal = stream.is_internal;
    next.named_client = stream.named_client;
    next.is_grpc = stream.is_grpc;
    request::resolve(&mut next, downstream, manager, snapshot);
    let (Some(table), Some(found)) = (manager.route_table(snapshot), next.route) else {
        return Err(PassedOn(Some(stat::PASSTHROUGH_INTERNAL_REDIRECT_NO_ROUTE)));
    };
    let name = &table.route(found).name;
    let from = stream
        .route
        .map(|at| Arc::clone(&table.route(at).name))
        .unwrap_or_default();
    let holds = |predicate: &InternalRedirectPredicate| match predicate {
        InternalRedirectPredicate::PreviousRoutes => {
            let step = (Arc::clone(&from), Arc::clone(name));
            let is_new = !redirects.steps.contains(&step);
            redirects.steps.push(step);
            is_new
        }
        InternalRedirectPredicate::AllowListedRoutes(names) => names.contains(name),
        InternalRedirectPredicate::SafeCrossScheme => !was_http || is_http,
    };
    if !policy.predicates.iter().all(holds) {
        return Err(PassedOn(Some(stat::PASSTHROUGH_INTERNAL_REDIRECT_PREDICATE)));
    }
    redirects.count += 1;
    next.rare.get_or_insert_default().redirects = Some(Box::new(redirects));
    set_body(&mut next, stream, head.status() == Some(303));
    let scheme: &[u8] = if was_http { b"http" } else { b"https" };
    let (host, path) = (stream.request.authority(), stream.request.path());
    let original = [scheme, b"://", host.unwrap_or_default(), path.unwrap_or_default()].concat();
    next.request.set(KnownName::XEnvoyOriginalUrl, &original);
    next.record.request_received_at = Some(now);
    next.request_deadline = None;
    Ok(next)
}

/// Gives the next request the body; after a 303 it asks for what it is sent to (RFC 9110 section 15.4.4).
fn set_body(next: &mut Stream, stream: &Stream, see_other: bool) {
    let only_asks = matches!(next.request.method(), Some(b"GET" | b"HEAD"));
    next.body = RequestBody {
        limit: stream.body.limit,
        complete: true,
        ..RequestBody::default()
    };
    if see_other && !only_asks {
        next.request.set_method(b"GET");
        next.is_head = false;
        next.request.remove(KnownName::ContentLength);
        return;
    }
    next.body.received = stream.body.received;
    next.body.credited = stream.body.credited;
    next.body.kept.clone_from(&stream.body.kept);
    if let Some(block) = &stream.body.trailers {
        let mut copy = HeaderBlock::new();
        copy.copy_from(block);
        next.body.trailers = Some(Box::new(copy));
    }
}

/// Where a `location` leads.
#[derive(Debug, PartialEq, Eq)]
struct Target<'l> {
    scheme: &'l [u8],
    authority: &'l [u8],
    /// Path and query; a fragment is the caller's own.
    path: &'l [u8],
}

impl<'l> Target<'l> {
    /// An absolute URL; `None` for anything else.
    fn parse(location: &'l [u8]) -> Option<Target<'l>> {
        let colon = location.windows(3).position(|part| part == b"://")?;
        let rest = &location[colon + 3..];
        let scheme: &[u8] = match &location[..colon] {
            scheme if scheme.eq_ignore_ascii_case(b"http") => b"http",
            scheme if scheme.eq_ignore_ascii_case(b"https") => b"https",
            other => other,
        };
        let end = rest
            .iter()
            .position(|byte| matches!(byte, b'/' | b'?' | b'#'))
            .unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        // Whoever may log in there is not for the `host` (RFC 9110 section 4.2.4).
        let authority = authority.rsplit(|byte| *byte == b'@').next().unwrap_or_default();
        let path = rest.split(|byte| *byte == b'#').next().unwrap_or_default();
        if authority.is_empty() || path.iter().any(|byte| *byte <= b' ' || *byte >= 0x7f) {
            return None;
        }
        // As in Envoy: a query without a path leads to no route.
        let path: &[u8] = if path.is_empty() { b"/" } else { path };
        Some(Target {
            scheme,
            authority,
            path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(location: &str) -> Option<(String, String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let target = Target::parse(location.as_bytes())?;
        Some((text(target.scheme), text(target.authority), text(target.path)))
    }

    #[test]
    fn only_an_absolute_url_leads_anywhere() {
        let is = |scheme: &str, authority: &str, path: &str| Some((scheme.into(), authority.into(), path.into()));
        assert_eq!(parsed("http://a.b:80/c?d#e"), is("http", "a.b:80", "/c?d"));
        assert_eq!(parsed("HTTPS://me:secret@a"), is("https", "a", "/"));
        assert_eq!(parsed("http://a?b"), is("http", "a", "?b"));
        for location in ["/a", "", "//a/b", "http:///b", "http://a/b c"] {
            assert_eq!(parsed(location), None, "{location}");
        }
    }
}
