//! From a request's head to an attempt: checks, headers, route, cluster; and the request's body.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use codec::event::{Answer, ErrorCode, StreamId};
use codec::headers::HeaderBlock;
use codec::names::KnownName;
use config::cluster::LbPolicy;
use config::route::Action;
use telemetry::stats::{Shard, http as stat};

use super::attempt::Why;
use super::filtering::{self, Passage};
use super::{answer, attempt, finish, logging, mirror, try_again};
use crate::connection::{Connection, Role};
use crate::downstream::Downstream;
use crate::failure::{Failure, Refusal as CodecRefusal};
use crate::hash_policy::{self, Caller};
use crate::header_operations::RequestHead;
use crate::manager::Manager;
use crate::redirect;
use crate::request_headers::{self, Refused};
use crate::route_table;
use crate::slab::{Key, Slab};
use crate::snapshot::Snapshot;
use crate::stream::{Phase, Stream};
use crate::worker::{Local, Worker};

/// The head of a request arrived: makes its record, finds its route and shows it to the filters.
pub(crate) fn begin(
    worker: &mut Worker,
    connection: Key<Connection>,
    id: StreamId,
    head: &mut HeaderBlock,
    end_stream: bool,
) {
    let now = worker.now;
    let mut request = worker.take_block();
    std::mem::swap(&mut *request, head);

    let Some(found) = worker.connections.get_mut(connection) else {
        return worker.give_block(request);
    };
    let Role::Downstream(downstream) = &mut found.role else {
        return worker.give_block(request);
    };
    let key = record(
        &mut worker.streams,
        downstream,
        connection,
        id,
        request,
        &worker.snapshot,
        worker.shard,
        now,
    );
    if let Some(codec) = &mut found.codec {
        codec.set_tag(id, key.to_bits());
    }
    if let Some(draining) = worker.draining {
        crate::drain::on_request(worker, draining, connection);
    }
    if end_stream {
        on_complete(worker, key);
    }
    match prepare(worker, key) {
        Ok(()) => filtering::begin(worker, key),
        Err(Refused::Failure(Failure::UnderscoreInName)) => answer::refuse_name(worker, key),
        Err(Refused::Failure(failure)) => finish::fail(worker, key, failure),
        Err(Refused::Redirect(path)) => answer::redirect_to_path(worker, key, &path),
    }
    super::arm(worker, key);
}

/// Checks and prepares the head, finds route and cluster.
fn prepare(worker: &mut Worker, key: Key<Stream>) -> Result<(), Refused> {
    let Some(stream) = worker.streams.get_mut(key) else {
        return Ok(());
    };
    let connection = worker.connections.get(stream.downstream);
    let Some(downstream) = connection.and_then(Connection::downstream) else {
        return Ok(());
    };
    request_headers::mutate_early(stream, downstream, worker.now, &mut worker.log_line);
    request_headers::prepare(stream, downstream)?;
    let (manager, snapshot) = (Rc::clone(&stream.manager), Rc::clone(&stream.snapshot));
    resolve(stream, downstream, &manager, &snapshot);
    logging::begin(worker, key);
    if let Some(stream) = worker.streams.get_mut(key) {
        allow_upgrade(stream, &manager, &snapshot, worker.shard)?;
    }
    encourage(worker, key);
    Ok(())
}

/// Finds the route of a request and its cluster; whether there is one is the router's question.
pub(super) fn resolve(stream: &mut Stream, downstream: &Downstream, manager: &Manager, snapshot: &Snapshot) {
    stream.cluster = None;
    stream.weighted = None;
    let table = manager.route_table(snapshot);
    if let Some(table) = table
        && !stream.is_internal
    {
        for name in &table.config.internal_only_headers {
            stream.request.remove(name.as_bytes());
        }
    }
    stream.route = table.and_then(|table| {
        table.find(
            &stream.request,
            downstream.peer_certificate(),
            telemetry::random::next(),
        )
    });
    let (Some(table), Some(at)) = (table, stream.route) else {
        return;
    };
    let policies = route_table::hash_policy(table.route(at));
    let hash_of = || hash_policy::hash(policies, &stream.request, caller(downstream), None);
    if let Some(choice) = table.cluster(at, &stream.request, telemetry::random::next(), hash_of) {
        stream.cluster = choice.cluster(snapshot).map(Arc::clone);
        stream.weighted = choice.weighted;
    }
}

/// An upgrade or CONNECT goes on only where the route or the connection manager allows it.
fn allow_upgrade(stream: &mut Stream, manager: &Manager, snapshot: &Snapshot, shard: Shard) -> Result<(), Refused> {
    let Some(upgrade) = stream.rare.as_mut().and_then(|rare| rare.upgrade.as_mut()) else {
        return Ok(());
    };
    let route = match (manager.route_table(snapshot), stream.route) {
        (Some(table), Some(at)) => match &table.route(at).action {
            Action::Route(action) => Some(&**action),
            Action::Redirect(_) | Action::DirectResponse(_) | Action::NonForwarding => None,
        },
        _ => None,
    };
    let stats = manager.stats.local(shard);
    if !upgrade.allow(&manager.config, route) {
        if stream.route.is_none() {
            // The router says so.
            return Ok(());
        }
        stats.add(stat::DOWNSTREAM_RQ_WS_ON_NON_WS_ROUTE, 1);
        return Err(Failure::UpgradeNotAllowed.into());
    }
    stats.add(stat::DOWNSTREAM_CX_UPGRADES_TOTAL, 1);
    stats.gauge_add(stat::DOWNSTREAM_CX_UPGRADES_ACTIVE, 1);
    Ok(())
}

fn caller(downstream: &Downstream) -> Caller {
    Caller {
        peer: downstream.peer,
        local: downstream.local,
    }
}

/// The filters are done with the head: the router answers it, or starts the first attempt.
pub(super) fn forward(worker: &mut Worker, key: Key<Stream>) {
    match route(worker, key) {
        Ok(()) => {
            begin_route_timeout(worker, key);
            mirror::start(worker, key);
            attempt::start(worker, key, Why::First);
        }
        Err(Refusal::Failure(failure)) => finish::fail(worker, key, failure),
        Err(Refusal::Answered) => {}
    }
}

/// Makes the record of a request.
#[allow(
    clippy::too_many_arguments,
    reason = "each is a part of the worker, borrowed beside the connection"
)]
fn record(
    streams: &mut Slab<Stream>,
    downstream: &mut Downstream,
    connection: Key<Connection>,
    id: StreamId,
    request: Box<HeaderBlock>,
    snapshot: &Local<Snapshot>,
    shard: Shard,
    now: Instant,
) -> Key<Stream> {
    downstream.stream_began();
    let manager = Rc::clone(&downstream.manager);
    let stats = manager.stats.local(shard);
    stats.add(stat::DOWNSTREAM_RQ_TOTAL, 1);
    stats.gauge_add(stat::DOWNSTREAM_RQ_ACTIVE, 1);
    stats.add(downstream.protocol_requests_stat(), 1);
    let is_grpc = request.get(KnownName::ContentType).is_some_and(is_grpc_content_type);
    let mut stream = Stream::new((connection, id), manager, Rc::clone(snapshot), request, now);
    stream.is_grpc = is_grpc;
    streams.insert(stream)
}

/// A request that the codec refused and that can be answered: it is recorded like any other.
pub(crate) fn refuse(worker: &mut Worker, connection: Key<Connection>, refused: Answer, refusal: &CodecRefusal) {
    let now = worker.now;
    let request = worker.take_block();
    let Some(found) = worker.connections.get_mut(connection) else {
        return worker.give_block(request);
    };
    let Role::Downstream(downstream) = &mut found.role else {
        return worker.give_block(request);
    };
    let id = refused.stream;
    let key = record(
        &mut worker.streams,
        downstream,
        connection,
        id,
        request,
        &worker.snapshot,
        worker.shard,
        now,
    );
    if let Some(codec) = &mut found.codec {
        codec.set_tag(id, key.to_bits());
    }
    answer::refuse(worker, key, refused.status, refusal);
}

/// Why no attempt is made.
enum Refusal {
    /// The proxy answers with an error.
    Failure(Failure),
    /// A direct response or redirect has been sent.
    Answered,
}

/// What the route says of the request.
fn route(worker: &mut Worker, key: Key<Stream>) -> Result<(), Refusal> {
    let Some(stream) = worker.streams.get_mut(key) else {
        return Err(Refusal::Answered);
    };
    let connection = worker.connections.get(stream.downstream);
    let Some(downstream) = connection.and_then(Connection::downstream) else {
        return Err(Refusal::Answered);
    };
    let snapshot = Rc::clone(&stream.snapshot);
    let manager = Rc::clone(&stream.manager);
    manager.stats.local(downstream.shard).add(stat::RQ_TOTAL, 1);
    let Some(table) = manager.route_table(&snapshot) else {
        return Err(Refusal::Failure(Failure::NoRoute));
    };
    if table.requires_tls(&stream.request, stream.is_internal) {
        let location = redirect::to_tls(&stream.request);
        answer::redirect(worker, key, 301, &location);
        return Err(Refusal::Answered);
    }
    let Some(found) = stream.route else {
        return Err(Refusal::Failure(Failure::NoRoute));
    };
    let route = table.route(found);
    match &route.action {
        Action::Route(_) => {}
        Action::DirectResponse(response) => {
            let status = response.status;
            answer::respond_directly(worker, key, found, status);
            return Err(Refusal::Answered);
        }
        Action::Redirect(redirect) => {
            let target = RequestHead {
                stream,
                downstream,
                now: worker.now,
            };
            let location = redirect::location(&target, redirect, route);
            let status = redirect.response_code;
            answer::redirect(worker, key, status, &location);
            return Err(Refusal::Answered);
        }
        // As in Envoy: it has no cluster.
        Action::NonForwarding => return Err(Refusal::Failure(Failure::NoCluster)),
    }
    let Some(cluster) = &stream.cluster else {
        return Err(Refusal::Failure(Failure::NoCluster));
    };
    let strict = &manager.chain.router.strict_check_headers;
    let bad = strict.iter().find(|header| {
        let value = stream.request.get(header.name());
        value.is_some_and(|value| !header.accepts(value))
    });
    if let Some(header) = bad {
        answer::refuse_header(worker, key, *header);
        return Err(Refusal::Answered);
    }
    let policies = route_table::hash_policy(route);
    if !policies.is_empty() && takes_hash(&cluster.config().lb_policy) {
        let mut set_cookies = Vec::new();
        stream.hash = hash_policy::hash(policies, &stream.request, caller(downstream), Some(&mut set_cookies));
        if !set_cookies.is_empty() {
            stream.rare.get_or_insert_default().set_cookies = set_cookies;
        }
    }
    if let Some(stats) = table.stats(found, &stream.request) {
        stream.rare.get_or_insert_default().route_stats = Some(stats);
    }
    stream.phase = Phase::Connecting;
    stream.record.reached_router = true;
    request_headers::forward(stream, downstream, table, found, worker.now, &mut worker.log_line);
    try_again::prepare(stream, downstream.buffer_limit);
    if stream.is_internal {
        request_headers::remove_consumed(&mut stream.request);
    }
    Ok(())
}

/// Whether a balancer chooses by hash.
fn takes_hash(policy: &LbPolicy) -> bool {
    matches!(policy, LbPolicy::RingHash { .. } | LbPolicy::Maglev { .. })
}

/// Answers `expect: 100-continue`, unless the endpoint is to (RFC 9110 section 10.1.1): the body is taken in any case.
fn encourage(worker: &mut Worker, key: Key<Stream>) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    let expects = stream
        .request
        .get(KnownName::Expect)
        .is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
    if !expects || stream.manager.config.proxy_100_continue {
        return;
    }
    stream.request.remove(KnownName::Expect);
    let (connection, id) = (stream.downstream, stream.downstream_id);
    let mut head = worker.take_block();
    head.set_status(100);
    if let Some(found) = worker.connections.get_mut(connection)
        && let Some(codec) = found.open_codec()
    {
        // Refused only if the stream has gone, which its own event tells.
        let _ = codec.send_informational(id, &head);
        found.wake();
    }
    worker.give_block(head);
}

/// Part of the request's body.
pub(crate) fn on_data(worker: &mut Worker, key: Key<Stream>, data: &[u8], credit: u32, end_stream: bool) {
    let now = worker.now;
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    stream.last_activity = now;
    let (connection, id) = (stream.downstream, stream.downstream_id);
    // Padding is nobody's to pass on: its credit goes back at once.
    let padding = (credit as usize).saturating_sub(data.len());
    stream.body.received += data.len() as u64;
    let filters_want_it = filtering::wants_request(stream);
    if filters_want_it && end_stream {
        on_complete(worker, key);
    }
    let passage = match filters_want_it {
        true => filtering::on_request_data(worker, key, data, end_stream),
        false => Passage::Open,
    };
    if passage == Passage::Answered {
        return super::release(worker, connection, id, credit as usize);
    }
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    let sent = stream.is_sending();
    let is_mirrored = stream.is_mirrored();
    if !stream.body.forgotten {
        let answered = stream.phase.has_answered();
        let too_long = stream.body.kept.len() + data.len() > stream.body.limit;
        if sent && answered {
            stream.body.forget();
        } else if sent && too_long {
            attempt::give_up_replay(stream, worker.shard);
        } else if too_long && stream.phase == Phase::BackingOff {
            attempt::give_up_replay(stream, worker.shard);
            finish::fail(worker, key, Failure::ReplayOverflow);
            return super::release(worker, connection, id, credit as usize);
        } else {
            stream.body.kept.extend_from_slice(data);
        }
    }
    if end_stream && !filters_want_it {
        on_complete(worker, key);
    }
    if is_mirrored {
        mirror::on_data(worker, key, data, end_stream);
    }
    if sent {
        attempt::send_data(worker, key, data, end_stream);
    } else if filters_want_it {
        filtering::on_kept(worker, key, passage);
    }
    super::release(worker, connection, id, padding);
    if end_stream
        && let Some(stream) = worker.streams.get(key)
        && stream.phase == Phase::Tunnel
        && stream.upgrade().is_some_and(|upgrade| upgrade.answer_ended)
    {
        return finish::complete(worker, key);
    }
    if end_stream {
        super::arm(worker, key);
    }
}

/// Trailers of the request; they end it.
pub(crate) fn on_trailers(worker: &mut Worker, key: Key<Stream>, trailers: &mut HeaderBlock) {
    let mut block = worker.take_block();
    std::mem::swap(&mut *block, trailers);
    let now = worker.now;
    let Some(stream) = worker.streams.get_mut(key) else {
        return worker.give_block(block);
    };
    stream.last_activity = now;
    let filters_want_it = filtering::wants_request(stream);
    let passage = match filters_want_it {
        true => filtering::on_request_trailers(worker, key, &mut block),
        false => Passage::Open,
    };
    let Some(stream) = worker.streams.get_mut(key).filter(|_| passage != Passage::Answered) else {
        return worker.give_block(block);
    };
    let sent = stream.is_sending();
    if stream.is_mirrored() {
        mirror::on_trailers(worker, key, &block);
    }
    let Some(stream) = worker.streams.get_mut(key) else {
        return worker.give_block(block);
    };
    stream.body.trailers = Some(block);
    on_complete(worker, key);
    if sent {
        attempt::send_trailers(worker, key);
    } else if filters_want_it {
        filtering::on_kept(worker, key, passage);
    }
    super::arm(worker, key);
}

/// The whole request has arrived.
fn on_complete(worker: &mut Worker, key: Key<Stream>) {
    let now = worker.now;
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    stream.body.complete = true;
    stream.request_deadline = None;
    stream.record.request_received_at = Some(now);
    begin_route_timeout(worker, key);
    if let Some(stream) = worker.streams.get_mut(key)
        && let Some(attempt) = &mut stream.attempt
    {
        try_again::begin_try_timeout(attempt, &stream.timeouts, now);
    }
}

/// The route's timeout begins once the whole request is there and has a route.
fn begin_route_timeout(worker: &mut Worker, key: Key<Stream>) {
    let now = worker.now;
    if let Some(stream) = worker.streams.get_mut(key)
        && stream.body.complete
        && stream.phase != Phase::Filtering
        && stream.phase != Phase::Tunnel
    {
        stream.route_deadline = stream.timeouts.global.map(|timeout| now + timeout);
    }
}

/// Whether a content type is gRPC's: `application/grpc`, alone or followed by `+` or `;`.
fn is_grpc_content_type(value: &[u8]) -> bool {
    value
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// The code for a stream that is no longer wanted.
pub(crate) const NOT_WANTED: ErrorCode = ErrorCode::CANCEL;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_grpc_content_types_are_grpc() {
        for grpc in ["application/grpc", "application/grpc+proto", "application/grpc;v=1"] {
            assert!(is_grpc_content_type(grpc.as_bytes()), "{grpc}");
        }
        for other in ["application/grpc-web", "application/json", "application/grp", ""] {
            assert!(!is_grpc_content_type(other.as_bytes()), "{other}");
        }
    }
}
