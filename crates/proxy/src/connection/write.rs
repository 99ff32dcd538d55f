//! From the codec to the socket: TLS, writing, closing, and the timer that a connection waits by.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use codec::Connection as Codec;
use tokio::io::AsyncWrite;

use super::read::on_socket_error;
use super::{CIPHERTEXT_HIGH, Connection, Lifecycle, Role};
use crate::failure::Failure;
use crate::slab::Key;
use crate::socket::Socket;
use crate::timer_wheel::TimerKey;
use crate::worker::{Buffers, Timer, Worker};

/// Writes what the codec and TLS have, until the socket takes no more.
pub(super) fn flush(
    worker: &mut Worker,
    buffers: &mut Buffers,
    key: Key<Connection>,
    socket: &mut Socket,
    context: &mut Context<'_>,
) {
    loop {
        let Some(connection) = worker.connections.get_mut(key) else {
            return;
        };
        if matches!(connection.lifecycle, Lifecycle::Closed | Lifecycle::HalfClosed) {
            return;
        }
        let written = if connection.tls.is_some() {
            write_tls(connection, &mut buffers.ciphertext, socket, context)
        } else {
            write_plain(connection, socket, context)
        };
        match written {
            Ok(0) => {}
            Ok(length) => match &mut connection.role {
                Role::Downstream(downstream) => downstream.count_sent(length),
                Role::Upstream(upstream) => upstream.count_sent(length),
            },
            Err(error) => return on_socket_error(worker, key, &error),
        }
        // Output that left may let queued bodies follow, whose sources are then given credit.
        let mut progressed = false;
        while let Some(connection) = worker.connections.get_mut(key)
            && let Some(codec) = connection.open_codec()
            && let Some(event) = codec.next_event(&mut buffers.scratch)
        {
            progressed = true;
            crate::pipeline::on_event(worker, key, event);
        }
        if !progressed {
            break;
        }
    }
    let Some(connection) = worker.connections.get_mut(key) else {
        return;
    };
    let drained =
        connection.ciphertext.is_empty() && connection.codec.as_ref().is_none_or(|codec| codec.output().is_empty());
    match connection.lifecycle {
        Lifecycle::Open => {
            if connection.codec.as_ref().is_some_and(Codec::is_closed) {
                crate::pipeline::on_connection_closed(worker, key, Failure::ConnectionTermination);
                let now = worker.now;
                if let Some(connection) = worker.connections.get_mut(key) {
                    connection.begin_close(connection.linger(now));
                    connection.scheduled = true;
                    context.waker().wake_by_ref();
                }
            } else {
                if drained && !connection.shut && connection.codec.as_ref().is_some_and(Codec::half_closed) {
                    connection.shut = true;
                    match &mut connection.tls {
                        Some(tls) => {
                            tls.close_notify(&mut connection.ciphertext);
                            context.waker().wake_by_ref();
                        }
                        // A failure shows when the peer's side ends.
                        None => drop(Pin::new(socket).poll_shutdown(context)),
                    }
                }
                rearm(worker, key);
            }
        }
        Lifecycle::Closing { linger } if drained => {
            // FIN; then the peer's, so that unread input does not turn our FIN into a reset that
            // destroys an answer still on its way.
            let _ = Pin::new(socket).poll_shutdown(context);
            if linger.is_zero() {
                connection.lifecycle = Lifecycle::Closed;
            } else {
                connection.lifecycle = Lifecycle::HalfClosed;
                let at = worker.now + linger;
                set_timer(worker, key, Some(at));
                context.waker().wake_by_ref();
            }
        }
        Lifecycle::Closing { linger } => {
            // A peer that does not read must not hold a closing connection for ever.
            if connection.timer == TimerKey::NONE {
                let at = worker.now + linger.max(Duration::from_secs(1));
                set_timer(worker, key, Some(at));
            }
        }
        Lifecycle::HalfClosed | Lifecycle::Closed => {}
    }
}

/// Sets the connection's timer to the earliest thing it waits for.
fn rearm(worker: &mut Worker, key: Key<Connection>) {
    let Some(connection) = worker.connections.get(key) else {
        return;
    };
    let of_codec = connection.codec.as_ref().and_then(Codec::deadline);
    let of_role = match &connection.role {
        Role::Downstream(downstream) => downstream.deadline(),
        Role::Upstream(upstream) => upstream.deadline(),
    };
    let at = match (of_codec, of_role) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    // A timer that fires early is looked at and armed again, so only an earlier one is moved.
    match at {
        Some(at) if connection.timer == TimerKey::NONE || at < connection.timer_at => {
            set_timer(worker, key, Some(at));
        }
        _ => {}
    }
}

/// Replaces the connection's timer.
fn set_timer(worker: &mut Worker, key: Key<Connection>, at: Option<Instant>) {
    let Some(connection) = worker.connections.get_mut(key) else {
        return;
    };
    let old = std::mem::replace(&mut connection.timer, TimerKey::NONE);
    worker.disarm(old);
    if let Some(at) = at {
        let armed = worker.arm(at, Timer::Connection(key));
        if let Some(connection) = worker.connections.get_mut(key) {
            connection.timer = armed;
            connection.timer_at = at;
        }
    }
}

fn write_plain(connection: &mut Connection, socket: &mut Socket, context: &mut Context<'_>) -> io::Result<usize> {
    let mut total = 0;
    let Some(codec) = &mut connection.codec else {
        return Ok(0);
    };
    while !codec.output().is_empty() {
        match Pin::new(&mut *socket).poll_write(context, codec.output()) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(length)) => {
                codec.advance_output(length);
                total += length;
            }
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => break,
        }
    }
    Ok(total)
}

/// `spare` is the worker's buffer, borrowed while this connection has none of its own: what the socket takes at once
/// costs no allocation, and an idle connection owns nothing.
fn write_tls(
    connection: &mut Connection,
    spare: &mut Vec<u8>,
    socket: &mut Socket,
    context: &mut Context<'_>,
) -> io::Result<usize> {
    if connection.ciphertext.is_empty() {
        std::mem::swap(&mut connection.ciphertext, spare);
    }
    let mut total = 0;
    let mut sent = 0;
    loop {
        let Some(session) = &mut connection.tls else {
            return Ok(total);
        };
        if let Some(codec) = &mut connection.codec
            && session.is_established()
            && connection.ciphertext.len() - sent < CIPHERTEXT_HIGH
            && !codec.output().is_empty()
        {
            let length = codec.output().len().min(CIPHERTEXT_HIGH);
            if session
                .write(&codec.output()[..length], &mut connection.ciphertext)
                .is_err()
            {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            codec.advance_output(length);
        }
        if sent == connection.ciphertext.len() {
            break;
        }
        match Pin::new(&mut *socket).poll_write(context, &connection.ciphertext[sent..]) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(length)) => {
                sent += length;
                total += length;
            }
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => break,
        }
        if sent == connection.ciphertext.len() {
            connection.ciphertext.clear();
            sent = 0;
        }
    }
    if sent == connection.ciphertext.len() {
        connection.ciphertext.clear();
        std::mem::swap(&mut connection.ciphertext, spare);
        // A spare one may have been left behind by a connection that was held up.
        connection.ciphertext = Vec::new();
    } else {
        connection.ciphertext.drain(..sent);
    }
    Ok(total)
}
