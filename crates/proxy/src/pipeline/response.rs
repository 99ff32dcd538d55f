//! The endpoint's answer on its way to the caller.

use codec::headers::{HeaderBlock, hop_by_hop};
use codec::names::KnownName;
use config::listener::DrainType;

use super::{closing, filtering, finish, internal_redirect, logging, mirror, try_again};
use crate::connection::{Connection, Role};
use crate::response_headers;
use crate::retry::grpc_status;
use crate::slab::{Key, Slab};
use crate::stream::{Phase, Stream};
use crate::worker::Worker;

/// The head of an answer: from here on there is no other attempt, unless the retry policy wants one.
pub(crate) fn on_head(worker: &mut Worker, key: Key<Stream>, head: &mut HeaderBlock, end_stream: bool) {
    let now = worker.now;
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    if stream.is_mirror {
        return mirror::on_head(worker, key, head, end_stream);
    }
    if let Some(log) = stream.attempt_log() {
        log.head_at = Some(now);
        log.head = Some(Box::new(head.clone()));
    }
    if stream.retry.is_some() {
        if !end_stream && try_again::may_follow_status(stream, head) && !stream.has_other_attempts() {
            return hold_head(worker, key, head);
        }
        if try_again::takes_answer(worker, key, head, end_stream) {
            return;
        }
    }
    pass_head(worker, key, head, end_stream);
}

/// Holds the head back until the end of what was read: trailers that come with it may ask for another attempt.
fn hold_head(worker: &mut Worker, key: Key<Stream>, head: &mut HeaderBlock) {
    let mut held = worker.take_block();
    std::mem::swap(&mut *held, head);
    worker.held_heads.push(key);
    match worker.streams.get_mut(key) {
        Some(stream) => stream.held_head = Some(held),
        None => worker.give_block(held),
    }
}

/// Passes a head on that was held back, as something else of the answer follows.
fn release_head(worker: &mut Worker, key: Key<Stream>) {
    if let Some(mut head) = worker.streams.get_mut(key).and_then(|stream| stream.held_head.take()) {
        if !try_again::takes_answer(worker, key, &head, false) {
            pass_head(worker, key, &mut head, false);
        }
        worker.give_block(head);
    }
}

/// What was read has been handled: heads that were held back are passed on.
pub(crate) fn release_held_heads(worker: &mut Worker) {
    while let Some(key) = worker.held_heads.pop() {
        release_head(worker, key);
    }
}

fn pass_head(worker: &mut Worker, key: Key<Stream>, head: &mut HeaderBlock, end_stream: bool) {
    if matches!(head.status(), Some(301..=308)) && internal_redirect::follow(worker, key, head, end_stream) {
        return;
    }
    let now = worker.now;
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    stream.last_activity = now;
    stream.phase = Phase::Responding;
    if let Some(attempt) = &mut stream.attempt {
        attempt.try_deadline = None;
    }
    let switched = switch(stream, &worker.connections, head);
    let record = &mut stream.record;
    record.response_started_at = Some(now);
    record.details = "via_upstream";
    record.grpc_status = head.get(KnownName::GrpcStatus).and_then(grpc_status);
    let upstream_time = record
        .request_received_at
        .map(|received| now.saturating_duration_since(received));
    let agreed_on = switched
        .then(|| head.get(KnownName::Upgrade).map(<[u8]>::to_vec))
        .flatten();
    response_headers::from_upstream(head, stream, upstream_time);
    if let Some(upgrade) = stream.upgrade() {
        let caller_is_http2 = is_http2(&worker.connections, stream.downstream);
        if switched {
            upgrade.form_answer(head, agreed_on.as_deref(), caller_is_http2);
        } else if !caller_is_http2 {
            // What the caller may have sent for the tunnel must not be taken for a request.
            head.append(KnownName::Connection, b"close");
        }
    }
    stream.record.status = head.status().unwrap_or(0);
    response_headers::apply_route_lists(worker, key, head);
    filtering::on_response_head(worker, key, head, end_stream);
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    stream.record.status = head.status().unwrap_or(0);
    response_headers::finish(head, &stream.manager, worker.date.value(now), stream.request_id());
    stream.record.keep_head(&stream.manager, head);
    send_head(worker, key, head, end_stream && !switched);
    if switched {
        logging::tunnel(worker, key);
    }
    if end_stream && switched {
        pass_data(worker, key, b"", 0, true);
    } else if end_stream {
        finish::complete(worker, key);
    }
}

/// Whether the endpoint agreed to the upgrade that the request asked for: the stream is a tunnel then.
fn switch(stream: &mut Stream, connections: &Slab<Connection>, head: &HeaderBlock) -> bool {
    let endpoint = stream.attempt.as_ref().map_or(Key::NONE, |attempt| attempt.connection);
    let Some(upgrade) = stream.rare.as_mut().and_then(|rare| rare.upgrade.as_mut()) else {
        return false;
    };
    let switched = upgrade.on_answer(head, is_http2(connections, endpoint));
    if switched {
        stream.phase = Phase::Tunnel;
    }
    switched
}

fn is_http2(connections: &Slab<Connection>, key: Key<Connection>) -> bool {
    connections
        .get(key)
        .and_then(|found| found.codec.as_ref())
        .is_some_and(codec::Connection::is_h2)
}

/// An interim answer (100, 103 and the like).
pub(crate) fn on_informational(worker: &mut Worker, key: Key<Stream>, head: &mut HeaderBlock) {
    let Some(stream) = worker.streams.get(key) else {
        return;
    };
    // `expect: 100-continue` was answered here already, unless that is the endpoint's to do.
    if head.status() == Some(100) && !stream.manager.config.proxy_100_continue {
        return;
    }
    // What concerned the hop from the endpoint ends here, as with the final answer.
    hop_by_hop::remove(head);
    if let Some(found) = worker.connections.get_mut(stream.downstream)
        && let Some(codec) = found.open_codec()
    {
        // Refused only if the stream has gone, which its own event tells.
        let _ = codec.send_informational(stream.downstream_id, head);
        found.wake();
    }
}

/// Part of the answer's body.
pub(crate) fn on_data(worker: &mut Worker, key: Key<Stream>, data: &[u8], credit: u32, end_stream: bool) {
    if let Some(stream) = worker.streams.get(key)
        && stream.is_mirror
    {
        let upstream = stream.attempt.as_ref().map(|attempt| (attempt.connection, attempt.id));
        if let Some((connection, id)) = upstream {
            super::release(worker, connection, id, credit as usize);
        }
        if end_stream {
            mirror::complete(worker, key);
        }
        return;
    }
    if let Some(log) = worker.streams.get_mut(key).and_then(Stream::attempt_log) {
        log.received += data.len() as u64;
    }
    release_head(worker, key);
    let now = worker.now;
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    stream.last_activity = now;
    if !filtering::wants_response(stream) {
        return pass_data(worker, key, data, credit, end_stream);
    }
    if end_stream {
        stream.upstream_is_complete();
    }
    let padding = (credit as usize).saturating_sub(data.len());
    if let Some(attempt) = &stream.attempt {
        let (connection, id) = (attempt.connection, attempt.id);
        super::release(worker, connection, id, padding);
    }
    filtering::on_response_data(worker, key, data, end_stream);
}

/// Passes part of the answer's body on to the caller.
pub(super) fn pass_data(worker: &mut Worker, key: Key<Stream>, data: &[u8], credit: u32, end_stream: bool) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    stream.record.bytes_sent += data.len() as u64;
    let mut passed = credit as usize;
    if let Some(found) = worker.connections.get_mut(stream.downstream)
        && let Some(codec) = found.open_codec()
    {
        let padding = passed.saturating_sub(data.len());
        passed = padding
            + codec
                .send_data(stream.downstream_id, data, end_stream)
                .unwrap_or(data.len());
        found.wake();
    }
    if let Some(attempt) = &stream.attempt {
        let (connection, id) = (attempt.connection, attempt.id);
        super::release(worker, connection, id, passed);
    }
    if end_stream && !tunnel_goes_on(worker, key) {
        finish::complete(worker, key);
    }
}

/// Whether the caller still has something to say, in a tunnel whose endpoint has ended.
fn tunnel_goes_on(worker: &mut Worker, key: Key<Stream>) -> bool {
    let Some(stream) = worker.streams.get_mut(key) else {
        return false;
    };
    let waits = stream.phase == Phase::Tunnel && !stream.body.complete;
    if let Some(upgrade) = stream.rare.as_mut().and_then(|rare| rare.upgrade.as_mut()) {
        upgrade.answer_ended = true;
    }
    waits
}

/// Trailers of the answer; they end it.
pub(crate) fn on_trailers(worker: &mut Worker, key: Key<Stream>, trailers: &mut HeaderBlock) {
    if worker.streams.get(key).is_some_and(|stream| stream.is_mirror) {
        return mirror::complete(worker, key);
    }
    if let Some(log) = worker.streams.get_mut(key).and_then(Stream::attempt_log) {
        log.trailers = Some(Box::new(trailers.clone()));
    }
    if worker.streams.get(key).is_some_and(|stream| stream.held_head.is_some()) {
        if try_again::takes_trailers(worker, key, trailers) {
            if let Some(head) = worker.streams.get_mut(key).and_then(|stream| stream.held_head.take()) {
                worker.give_block(head);
            }
            return;
        }
        release_head(worker, key);
    }
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    if let Some(status) = trailers.get(KnownName::GrpcStatus).and_then(grpc_status) {
        stream.record.grpc_status = Some(status);
    }
    if filtering::wants_response(stream) {
        stream.upstream_is_complete();
        filtering::on_response_trailers(worker, key, trailers);
    } else {
        pass_trailers(worker, key, trailers);
    }
}

/// Passes the answer's trailers on to the caller.
pub(super) fn pass_trailers(worker: &mut Worker, key: Key<Stream>, trailers: &HeaderBlock) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    stream.record.keep_trailers(&stream.manager, trailers);
    if let Some(found) = worker.connections.get_mut(stream.downstream)
        && let Some(codec) = found.open_codec()
    {
        // Refused only if the stream has gone, which its own event tells.
        let _ = codec.send_trailers(stream.downstream_id, trailers);
        found.wake();
    }
    finish::complete(worker, key);
}

/// Body bytes queued for the caller have left: the endpoint may send as many more.
pub(crate) fn on_sent(worker: &mut Worker, key: Key<Stream>, bytes: usize) {
    let now = worker.now;
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    stream.last_activity = now;
    if let Some(attempt) = &stream.attempt {
        let (connection, id) = (attempt.connection, attempt.id);
        super::release(worker, connection, id, bytes);
    }
}

/// Whoever balances over proxies is told to go elsewhere, and so are those who are connected already, unless the
/// listener's `drain_type` keeps them.
fn drain_unhealthy(worker: &mut Worker, key: Key<Stream>, connection: Key<Connection>) {
    let (Some(stream), Some(found)) = (worker.streams.get(key), worker.connections.get(connection)) else {
        return;
    };
    if let Role::Downstream(downstream) = &found.role
        && stream
            .snapshot
            .listener(&downstream.slot)
            .is_some_and(|listener| listener.config.drain_type == DrainType::Default)
    {
        crate::downstream::drain(worker, connection);
    }
}

/// Puts a response head into the caller's connection.
pub(super) fn send_head(worker: &mut Worker, key: Key<Stream>, head: &HeaderBlock, end_stream: bool) {
    let Some(stream) = worker.streams.get(key) else {
        return;
    };
    if stream.manager.local.health_check_failed() {
        let connection = stream.downstream;
        drain_unhealthy(worker, key, connection);
    }
    let Some(stream) = worker.streams.get(key) else {
        return;
    };
    let connection = stream.downstream;
    crate::downstream::before_answer(worker, connection);
    let Some(stream) = worker.streams.get(key) else {
        return;
    };
    if let Some(found) = worker.connections.get_mut(stream.downstream)
        && let Some(codec) = found.open_codec()
    {
        if codec.send_head(stream.downstream_id, head, end_stream).is_err() {
            // Larger than the caller accepts, or not a valid head: it can't be passed on.
            let (connection, id) = (stream.downstream, stream.downstream_id);
            super::reset(worker, connection, id, codec::event::ErrorCode::INTERNAL_ERROR);
            closing::end(worker, key, None);
            return finish::abandon(worker, key);
        }
        found.wake();
    }
}
