//! From the socket to the pipeline: reading, TLS, the codec, and the ways in which input ends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use codec::event::Scratch;
use tls::TlsError;
use tokio::io::{AsyncRead, ReadBuf};

use super::{Connection, Lifecycle, Role};
use crate::failure::Failure;
use crate::slab::Key;
use crate::socket::Socket;
use crate::worker::{Buffers, Worker};

/// Reads of one turn before other tasks get theirs: 1 MiB at most.
const READS_PER_TURN: usize = 16;

pub(super) fn read(
    worker: &mut Worker,
    buffers: &mut Buffers,
    key: Key<Connection>,
    socket: &mut Socket,
    context: &mut Context<'_>,
) {
    for reads in 0.. {
        match worker.connections.get(key) {
            Some(connection) if connection.wants_read() => {}
            _ => return,
        }
        if reads == READS_PER_TURN {
            context.waker().wake_by_ref();
            return;
        }
        let mut target = ReadBuf::new(&mut buffers.read);
        match Pin::new(&mut *socket).poll_read(context, &mut target) {
            Poll::Pending => return,
            Poll::Ready(Err(error)) => return on_socket_error(worker, key, &error),
            Poll::Ready(Ok(())) => {
                let length = target.filled().len();
                if length == 0 {
                    return on_end_of_input(worker, key);
                }
                let read = std::mem::take(&mut buffers.read);
                feed(worker, buffers, key, &read[..length]);
                buffers.read = read;
            }
        }
    }
}

/// Bytes from the socket, through TLS where there is TLS, to the codec.
pub(super) fn feed(worker: &mut Worker, buffers: &mut Buffers, key: Key<Connection>, bytes: &[u8]) {
    let now = worker.now;
    let Some(connection) = worker.connections.get_mut(key) else {
        return;
    };
    connection.last_read = now;
    if connection.lifecycle != Lifecycle::Open {
        return;
    }
    match &mut connection.role {
        Role::Downstream(downstream) => downstream.count_received(bytes.len()),
        Role::Upstream(upstream) => upstream.count_received(bytes.len()),
    }
    let Some(session) = &mut connection.tls else {
        return receive(worker, &mut buffers.scratch, key, bytes);
    };
    let mut plaintext = std::mem::take(&mut buffers.plaintext);
    plaintext.clear();
    let outcome = session.read_tls(bytes, &mut plaintext, &mut connection.ciphertext);
    match outcome {
        Ok(progress) => {
            if progress.handshake_done {
                on_handshake_done(worker, key);
            }
            if !plaintext.is_empty() {
                receive(worker, &mut buffers.scratch, key, &plaintext);
            }
            if progress.closed {
                on_end_of_input(worker, key);
            }
        }
        Err(error) => on_tls_error(worker, key, &error),
    }
    // A burst's buffer is given back; the usual size is kept for the next connection.
    if plaintext.capacity() <= 2 * buffers.read.len().max(64 * 1024) {
        buffers.plaintext = plaintext;
    }
}

/// Plaintext to the codec; each event to the pipeline.
pub(super) fn receive(worker: &mut Worker, scratch: &mut Scratch, key: Key<Connection>, bytes: &[u8]) {
    let mut input = bytes;
    let detected;
    if let Some(connection) = worker.connections.get_mut(key)
        && connection.codec.is_none()
    {
        if !connection.undetected.is_empty() {
            let mut joined = std::mem::take(&mut connection.undetected);
            joined.extend_from_slice(bytes);
            detected = joined;
            input = &detected;
        }
        let now = worker.now;
        match &mut connection.role {
            Role::Downstream(downstream) => match downstream.detect_protocol(input, now) {
                Some(codec) => connection.codec = Some(codec),
                None => {
                    connection.undetected = input.to_vec();
                    return;
                }
            },
            // An upstream connection's codec is there before its first byte is read.
            Role::Upstream(_) => return,
        }
    }
    loop {
        let now = worker.now;
        let Some(connection) = worker.connections.get_mut(key) else {
            return;
        };
        let Some(codec) = connection.open_codec() else {
            return;
        };
        match codec.receive(&mut input, scratch, now) {
            Ok(Some(event)) => crate::pipeline::on_event(worker, key, event),
            Ok(None) => return,
            Err(error) => return crate::pipeline::on_codec_error(worker, key, &error),
        }
    }
}

/// The peer sent FIN (or close_notify).
fn on_end_of_input(worker: &mut Worker, key: Key<Connection>) {
    let Some(connection) = worker.connections.get_mut(key) else {
        return;
    };
    if connection.lifecycle != Lifecycle::Open {
        connection.lifecycle = Lifecycle::Closed;
        return;
    }
    if crate::pipeline::on_half_close(worker, key) {
        return;
    }
    let Some(connection) = worker.connections.get_mut(key) else {
        return;
    };
    connection.note_ending(true);
    // A close-delimited HTTP/1.1 body ends here; anything else that is open is cut off.
    crate::pipeline::on_connection_closed(worker, key, Failure::ConnectionTermination);
    if let Some(connection) = worker.connections.get_mut(key) {
        // Neither HTTP/2 nor a proxy's HTTP/1.1 side serves a half-closed connection any further.
        connection.begin_close(Duration::ZERO);
    }
}

pub(super) fn on_socket_error(worker: &mut Worker, key: Key<Connection>, error: &io::Error) {
    tracing::debug!(target: "connection", %error, "socket error");
    if let Some(connection) = worker.connections.get_mut(key) {
        connection.note_ending(true);
    }
    crate::pipeline::on_connection_closed(worker, key, Failure::ConnectionTermination);
    if let Some(connection) = worker.connections.get_mut(key) {
        connection.lifecycle = Lifecycle::Closed;
    }
}

fn on_handshake_done(worker: &mut Worker, key: Key<Connection>) {
    let Some(connection) = worker.connections.get_mut(key) else {
        return;
    };
    let Some(session) = &connection.tls else {
        return;
    };
    let now = worker.now;
    match &mut connection.role {
        Role::Downstream(downstream) => connection.codec = downstream.handshake_done(session, now),
        Role::Upstream(_) => crate::upstream_connection::on_handshake_done(worker, key),
    }
}

fn on_tls_error(worker: &mut Worker, key: Key<Connection>, error: &TlsError) {
    let Some(connection) = worker.connections.get_mut(key) else {
        return;
    };
    match &mut connection.role {
        Role::Downstream(downstream) => {
            downstream.count_tls_error(error);
            crate::pipeline::on_connection_closed(worker, key, Failure::ConnectionTermination);
        }
        Role::Upstream(_) => crate::upstream_connection::on_tls_error(worker, key, error),
    }
    // The alert that the session made still goes out.
    if let Some(connection) = worker.connections.get_mut(key) {
        connection.begin_close(Duration::ZERO);
    }
}
