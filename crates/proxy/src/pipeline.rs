//! What happens to a request, as functions on events.
//!
//! Events come from codecs (of either side), from pools and from timers; every function here runs
//! to its end without waiting. The order of a request's life is the order of the modules:
//! [`request`] (head, route, body), [`filtering`] (the HTTP filters), [`awaiting`]
//! (a filter that asks somebody else), [`attempt`] (endpoint, connection),
//! [`try_again`] (retries), [`mirror`] (copies to other clusters), [`response`] (head, body, trailers), [`internal_redirect`] (followed here), [`answer`]
//! (what is answered here), [`logging`] (entries in access logs), [`finish`] (the end, exactly once a request), [`count`] (its statistics).

pub(crate) mod answer;
pub(crate) mod attempt;
mod awaiting;
mod closing;
pub(crate) mod count;
mod filtering;
pub(crate) mod finish;
pub(crate) mod internal_redirect;
mod logging;
mod mirror;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod try_again;

use codec::event::{ConnectionError, ErrorCode, Event, Scratch, StreamId};

pub(crate) use attempt::{on_attempt_failure, on_connection_ready};

use crate::connection::{Connection, Role};
use crate::failure::Failure;
use crate::slab::Key;
use crate::stream::{Stream, StreamTimer};
use crate::worker::{Timer, Worker};

/// Something happened on a connection.
pub(crate) fn on_event(worker: &mut Worker, connection: Key<Connection>, event: Event<'_>) {
    match worker.connections.get(connection).map(|found| &found.role) {
        Some(Role::Downstream(_)) => on_downstream_event(worker, connection, event),
        Some(Role::Upstream(_)) => on_upstream_event(worker, connection, event),
        None => {}
    }
}

fn on_downstream_event(worker: &mut Worker, connection: Key<Connection>, event: Event<'_>) {
    match event {
        Event::Head {
            stream,
            head,
            end_stream,
        } => {
            request::begin(worker, connection, stream, head, end_stream);
        }
        Event::Data {
            stream,
            data,
            credit,
            end_stream,
        } => {
            match stream_of(worker, connection, stream) {
                Some(key) => request::on_data(worker, key, data, credit, end_stream),
                // Answered already: what still arrives of the body is thrown away.
                None => release(worker, connection, stream, credit as usize),
            }
        }
        Event::Trailers { stream, trailers } => {
            if let Some(key) = stream_of(worker, connection, stream) {
                request::on_trailers(worker, key, trailers);
            }
        }
        Event::Reset { stream, reason } => {
            count_codec(worker, connection);
            if let Some(key) = stream_of(worker, connection, stream) {
                finish::on_downstream_reset(worker, key, &reason);
            }
        }
        Event::Sent { stream, bytes } => {
            if let Some(key) = stream_of(worker, connection, stream) {
                response::on_sent(worker, key, bytes);
            }
        }
        Event::Closed => close(worker, connection),
        Event::Informational { .. }
        | Event::Goaway { .. }
        | Event::Settings
        | Event::StreamsAvailable
        | Event::PingAck { .. } => {}
    }
}

fn on_upstream_event(worker: &mut Worker, connection: Key<Connection>, event: Event<'_>) {
    match event {
        Event::Head {
            stream,
            head,
            end_stream,
        } => {
            if let Some(key) = attempted_by(worker, connection, stream) {
                response::on_head(worker, key, head, end_stream);
            }
        }
        Event::Informational { stream, head } => {
            if let Some(key) = attempted_by(worker, connection, stream) {
                response::on_informational(worker, key, head);
            }
        }
        Event::Data {
            stream,
            data,
            credit,
            end_stream,
        } => match attempted_by(worker, connection, stream) {
            Some(key) => response::on_data(worker, key, data, credit, end_stream),
            None => release(worker, connection, stream, credit as usize),
        },
        Event::Trailers { stream, trailers } => {
            if let Some(key) = attempted_by(worker, connection, stream) {
                response::on_trailers(worker, key, trailers);
            }
        }
        Event::Reset { stream, reason } => {
            count_codec(worker, connection);
            if let Some(key) = attempted_by(worker, connection, stream) {
                attempt::on_reset(worker, key, &reason);
            }
        }
        Event::Sent { stream, bytes } => {
            if let Some(key) = stream_of(worker, connection, stream) {
                attempt::on_body_passed(worker, key, (connection, stream), bytes);
            }
        }
        Event::Goaway { .. } => crate::upstream_connection::on_goaway(worker, connection),
        Event::Settings | Event::StreamsAvailable => {
            crate::upstream_connection::on_streams_available(worker, connection);
        }
        Event::PingAck { .. } => {}
        Event::Closed => close(worker, connection),
    }
}

fn count_codec(worker: &mut Worker, connection: Key<Connection>) {
    if let Some(found) = worker.connections.get_mut(connection) {
        crate::connection::count_codec(found);
    }
}

/// The peer broke the protocol or a limit: its streams end, what the codec has to say still goes
/// out (GOAWAY, or an HTTP/1.1 answer), then the connection is closed.
pub(crate) fn on_codec_error(worker: &mut Worker, connection: Key<Connection>, error: &ConnectionError) {
    tracing::debug!(target: "http", violation = error.violation, "connection ended for a protocol violation");
    if let Some(found) = worker.connections.get_mut(connection) {
        crate::connection::count_codec(found);
    }
    match worker.connections.get_mut(connection).map(|found| &mut found.role) {
        Some(Role::Downstream(_)) => crate::downstream::on_codec_error(worker, connection, error),
        Some(Role::Upstream(_)) => crate::upstream_connection::on_codec_error(worker, connection, error),
        None => {}
    }
}

/// Ends what a connection still carries: the codec names each stream that was open, and it ends
/// with `failure`.
pub(crate) fn on_connection_closed(worker: &mut Worker, connection: Key<Connection>, failure: Failure) {
    let mut scratch = Scratch::new();
    let outer = worker.ending_with.replace(failure);
    let now = worker.now;
    while let Some(found) = worker.connections.get_mut(connection)
        && let Some(codec) = &mut found.codec
    {
        let event = match codec.next_event(&mut scratch) {
            Some(event) => event,
            None => match codec.end_of_input(&mut scratch, now) {
                Ok(Some(event)) => event,
                Ok(None) | Err(_) => break,
            },
        };
        // That it is closed is known here already.
        if !matches!(event, Event::Closed) {
            on_event(worker, connection, event);
        }
    }
    worker.ending_with = outer;
    response::release_held_heads(worker);
}

/// The peer has ended its side of a connection. In a tunnel the other side may still have something to say: true if
/// the connection goes on.
pub(crate) fn on_half_close(worker: &mut Worker, connection: Key<Connection>) -> bool {
    let mut scratch = Scratch::new();
    let now = worker.now;
    let codec = worker.connections.get_mut(connection).and_then(Connection::open_codec);
    if !codec.is_some_and(|codec| codec.is_tunnel()) {
        return false;
    }
    while let Some(codec) = worker.connections.get_mut(connection).and_then(Connection::open_codec)
        && let Ok(Some(event)) = codec.end_of_input(&mut scratch, now)
    {
        on_event(worker, connection, event);
    }
    worker
        .connections
        .get_mut(connection)
        .and_then(Connection::open_codec)
        .is_some_and(|codec| !codec.is_closed())
}

/// A stream's deadline: which of its timeouts is due is decided here.
pub(crate) fn on_timer(worker: &mut Worker, key: Key<Stream>, timer: StreamTimer) {
    if let StreamTimer::Filter { position, side } = timer {
        return filtering::on_timer(worker, key, position.into(), side);
    }
    let now = worker.now;
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    stream.timer = crate::timer_wheel::TimerKey::NONE;
    let is_due = |at: Option<std::time::Instant>| at.is_some_and(|at| at <= now);
    let idle = stream.idle_timeout();
    let attempt = stream.attempt.as_ref().filter(|attempt| attempt.is_sent());
    if is_due(stream.route_deadline) {
        attempt::on_timeout(worker, key);
    } else if is_due(stream.max_duration) {
        finish::fail(worker, key, Failure::DownstreamMaxDuration);
    } else if is_due(stream.request_deadline) {
        finish::fail(worker, key, Failure::RequestTimeout);
    } else if is_due(idle.map(|idle| stream.last_activity + idle)) {
        finish::fail(worker, key, Failure::StreamIdle);
    } else if is_due(stream.retry.as_ref().and_then(|retry| retry.due)) {
        try_again::on_pause_over(worker, key);
    } else if is_due(attempt.and_then(|attempt| attempt.try_deadline)) {
        try_again::on_try_timeout(worker, key, Failure::PerTryTimeout);
    } else if is_due(stream.try_idle_deadline()) {
        try_again::on_try_timeout(worker, key, Failure::PerTryIdleTimeout);
    } else if is_due(attempt.and_then(|attempt| attempt.max_deadline)) {
        try_again::on_try_timeout(worker, key, Failure::UpstreamMaxDuration);
    } else {
        logging::on_timer(worker, key);
        arm(worker, key);
    }
}

/// Arms the stream's timer for the earliest of its deadlines, if that is earlier than it stands.
pub(crate) fn arm(worker: &mut Worker, key: Key<Stream>) {
    let Some(stream) = worker.streams.get(key) else {
        return;
    };
    let Some(at) = stream.next_deadline() else {
        return;
    };
    if stream.timer != crate::timer_wheel::TimerKey::NONE && stream.timer_at <= at {
        return;
    }
    let old = stream.timer;
    worker.disarm(old);
    let armed = worker.arm(at, Timer::Stream(key, StreamTimer::Deadline));
    if let Some(stream) = worker.streams.get_mut(key) {
        stream.timer = armed;
        stream.timer_at = at;
    }
}

/// The request that a codec's stream belongs to.
pub(crate) fn stream_of(worker: &Worker, connection: Key<Connection>, stream: StreamId) -> Option<Key<Stream>> {
    let codec = worker.connections.get(connection)?.codec.as_ref()?;
    let key = Key::from_bits(codec.tag(stream));
    worker.streams.get(key).map(|_| key)
}

/// The request one of whose attempts a codec's stream is; that attempt becomes the latest.
fn attempted_by(worker: &mut Worker, connection: Key<Connection>, stream: StreamId) -> Option<Key<Stream>> {
    let key = stream_of(worker, connection, stream)?;
    attempt::bring_forward(worker, key, connection, stream).then_some(key)
}

/// Gives credit back to the sender of a body.
pub(crate) fn release(worker: &mut Worker, connection: Key<Connection>, stream: StreamId, bytes: usize) {
    if bytes == 0 {
        return;
    }
    if let Some(found) = worker.connections.get_mut(connection)
        && let Some(codec) = found.open_codec()
    {
        codec.release_credit(stream, bytes as u32);
        found.wake();
    }
}

/// Resets one stream of a connection.
pub(crate) fn reset(worker: &mut Worker, connection: Key<Connection>, stream: StreamId, code: ErrorCode) {
    if let Some(found) = worker.connections.get_mut(connection)
        && let Some(codec) = found.open_codec()
    {
        codec.reset(stream, code);
        found.wake();
    }
}

fn close(worker: &mut Worker, connection: Key<Connection>) {
    on_connection_closed(worker, connection, Failure::ConnectionTermination);
    let now = worker.now;
    if let Some(found) = worker.connections.get_mut(connection) {
        found.begin_close(found.linger(now));
    }
}
