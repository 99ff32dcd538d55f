//! One connection, downstream or upstream: its record in the worker and the task that moves bytes.
//!
//! ```text
//!  socket --read--> [TLS] --plaintext--> codec.receive --events--> pipeline
//!  socket <-write-- [TLS] <--output----- codec  <------commands--- pipeline (of any connection)
//!
//!  Open --(codec closed, fatal error, drained)--> Closing --(output flushed)--> half-closed
//!       --(peer's FIN, or the delayed-close timer)--> removed
//! ```
//! The task reads until the socket is drained, into the worker's buffer, then flushes once; a
//! connection that the pipeline wrote to is woken once a batch and flushes in its own turn.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use codec::Connection as Codec;
use codec::event::Scratch;
use tls::{ClientContext, Peer, Session, TlsError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::downstream::Downstream;
use crate::failure::Failure;
use crate::slab::Key;
use crate::socket::Socket;
use crate::timer_wheel::TimerKey;
use crate::upstream_connection::Upstream;
use crate::worker::{Buffers, Timer, Worker, WorkerCell};

/// Reads of one turn before other tasks get theirs: 1 MiB at most.
const READS_PER_TURN: usize = 16;
/// Ciphertext held for one connection before plaintext is left in the codec instead.
const CIPHERTEXT_HIGH: usize = 256 * 1024;

/// Who is at the other end.
pub(crate) enum Role {
    /// A caller of the proxy.
    Downstream(Box<Downstream>),
    /// An endpoint the proxy calls.
    Upstream(Box<Upstream>),
}

/// Where a connection is in its life; see the drawing above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// Events are read and commands written.
    Open,
    /// No events any more; output is flushed, then the socket is half-closed.
    Closing {
        /// How long to wait for the peer's FIN after the half-close.
        linger: Duration,
    },
    /// Half-closed: what still arrives is thrown away until FIN or the timer.
    HalfClosed,
    /// Nothing more to do.
    Closed,
}

/// Record of one connection.
pub(crate) struct Connection {
    pub(crate) role: Role,
    pub(crate) lifecycle: Lifecycle,
    /// `None` until the protocol is known (ALPN, or the first bytes).
    pub(crate) codec: Option<Codec>,
    pub(crate) tls: Option<Box<Session>>,
    /// First bytes of a connection whose protocol is not known yet.
    pub(crate) undetected: Vec<u8>,
    pub(crate) timer: TimerKey,
    timer_at: Instant,
    /// The connection's timer fired and its task has not looked yet.
    pub(crate) timer_due: bool,
    /// When bytes were last read.
    pub(crate) last_read: Instant,
    ciphertext: Vec<u8>,
    waker: Option<Waker>,
    /// The task will run anyway: it is running now, or was woken.
    scheduled: bool,
}

impl Connection {
    pub(crate) fn new(role: Role, tls: Option<Box<Session>>, now: Instant) -> Self {
        Connection {
            role,
            lifecycle: Lifecycle::Open,
            codec: None,
            tls,
            undetected: Vec::new(),
            timer: TimerKey::NONE,
            timer_at: now,
            timer_due: false,
            last_read: now,
            ciphertext: Vec::new(),
            waker: None,
            scheduled: false,
        }
    }

    /// Makes the task run, unless it will anyway.
    pub(crate) fn wake(&mut self) {
        if !self.scheduled
            && let Some(waker) = &self.waker
        {
            self.scheduled = true;
            waker.wake_by_ref();
        }
    }

    /// Begins TLS as a client: the first flight goes out with the next flush.
    ///
    /// # Errors
    /// When no session can be begun.
    pub(crate) fn begin_tls(&mut self, context: &ClientContext, peer: &Peer<'_>) -> Result<(), TlsError> {
        self.tls = Some(Box::new(context.connect(peer, &mut self.ciphertext)?));
        Ok(())
    }

    /// The codec, for commands; `None` once the connection no longer takes any.
    pub(crate) fn open_codec(&mut self) -> Option<&mut Codec> {
        match self.lifecycle {
            Lifecycle::Open => self.codec.as_mut(),
            _ => None,
        }
    }

    /// Stops events and commands, and closes once the output is flushed.
    pub(crate) fn begin_close(&mut self, linger: Duration) {
        if self.lifecycle == Lifecycle::Open {
            self.lifecycle = Lifecycle::Closing { linger };
            if let Some(tls) = &mut self.tls {
                tls.close_notify(&mut self.ciphertext);
            }
        }
        self.wake();
    }

    fn wants_read(&self) -> bool {
        match self.lifecycle {
            Lifecycle::Open => {
                self.ciphertext.len() < CIPHERTEXT_HIGH && self.codec.as_ref().is_none_or(Codec::wants_read)
            }
            Lifecycle::Closing { .. } => false,
            Lifecycle::HalfClosed => true,
            Lifecycle::Closed => false,
        }
    }
}

/// The task of one connection: runs until the connection is closed.
pub(crate) async fn drive(cell: Rc<WorkerCell>, key: Key<Connection>, mut socket: Socket) {
    // Dropped with the task, whatever ends it: the record never outlives its socket.
    let guard = RemoveOnDrop { cell, key };
    std::future::poll_fn(|context| {
        let mut worker = guard.cell.worker.borrow_mut();
        let mut buffers = guard.cell.buffers.borrow_mut();
        turn(&mut worker, &mut buffers, key, &mut socket, context)
    })
    .await;
}

struct RemoveOnDrop {
    cell: Rc<WorkerCell>,
    key: Key<Connection>,
}

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        // Not borrowable only if the pipeline panicked in this very turn; the worker's panic
        // handler then drops the streams of this connection.
        if let Ok(mut worker) = self.cell.worker.try_borrow_mut() {
            remove(&mut worker, self.key);
        }
    }
}

/// One run of the task: read, handle, flush, close.
fn turn(
    worker: &mut Worker,
    buffers: &mut Buffers,
    key: Key<Connection>,
    socket: &mut Socket,
    context: &mut Context<'_>,
) -> Poll<()> {
    worker.begin_turn();
    let Some(connection) = worker.connections.get_mut(key) else {
        return Poll::Ready(());
    };
    connection.scheduled = true;
    match &mut connection.waker {
        Some(waker) if waker.will_wake(context.waker()) => {}
        waker => *waker = Some(context.waker().clone()),
    }
    if std::mem::take(&mut connection.timer_due) {
        on_timer(worker, key);
    }
    if worker
        .connections
        .get(key)
        .and_then(|found| found.codec.as_ref())
        .is_some_and(Codec::wants_receive)
    {
        // A pipelined request waited for the answer of the one before it.
        receive(worker, &mut buffers.scratch, key, &[]);
    }
    let held = worker.connections.get(key).is_some_and(|found| !found.wants_read());
    read(worker, buffers, key, socket, context);
    flush(worker, buffers, key, socket, context);

    let Some(connection) = worker.connections.get_mut(key) else {
        return Poll::Ready(());
    };
    connection.scheduled = false;
    if connection.lifecycle == Lifecycle::Closed {
        return Poll::Ready(());
    }
    if held && connection.wants_read() {
        // Reading was held back by output that is flushed now.
        context.waker().wake_by_ref();
    }
    Poll::Pending
}

fn read(
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
fn feed(worker: &mut Worker, buffers: &mut Buffers, key: Key<Connection>, bytes: &[u8]) {
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
pub(crate) fn receive(worker: &mut Worker, scratch: &mut Scratch, key: Key<Connection>, bytes: &[u8]) {
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
    // A close-delimited HTTP/1.1 body ends here; anything else that is open is cut off.
    crate::pipeline::on_connection_closed(worker, key, Failure::ConnectionTermination);
    if let Some(connection) = worker.connections.get_mut(key) {
        // Neither HTTP/2 nor a proxy's HTTP/1.1 side serves a half-closed connection any further.
        connection.begin_close(Duration::ZERO);
    }
}

fn on_socket_error(worker: &mut Worker, key: Key<Connection>, error: &io::Error) {
    tracing::debug!(target: "connection", %error, "socket error");
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

fn on_timer(worker: &mut Worker, key: Key<Connection>) {
    let Some(connection) = worker.connections.get_mut(key) else {
        return;
    };
    match (connection.lifecycle, &connection.role) {
        (Lifecycle::HalfClosed | Lifecycle::Closing { .. }, _) => {
            connection.lifecycle = Lifecycle::Closed;
        }
        (Lifecycle::Closed, _) => {}
        (Lifecycle::Open, Role::Downstream(_)) => crate::downstream::on_timer(worker, key),
        (Lifecycle::Open, Role::Upstream(_)) => crate::upstream_connection::on_timer(worker, key),
    }
}

/// Writes what the codec and TLS have, until the socket takes no more.
fn flush(
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
            write_tls(connection, socket, context)
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
                if let Some(connection) = worker.connections.get_mut(key) {
                    connection.begin_close(Duration::from_secs(1));
                    connection.scheduled = true;
                    context.waker().wake_by_ref();
                }
            } else {
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
pub(crate) fn set_timer(worker: &mut Worker, key: Key<Connection>, at: Option<Instant>) {
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

fn write_tls(connection: &mut Connection, socket: &mut Socket, context: &mut Context<'_>) -> io::Result<usize> {
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
        // An idle connection owns no buffer.
        connection.ciphertext = Vec::new();
    } else {
        connection.ciphertext.drain(..sent);
    }
    Ok(total)
}

/// Takes the record out; whatever streams it still has have ended before, or end now.
fn remove(worker: &mut Worker, key: Key<Connection>) {
    crate::pipeline::on_connection_closed(worker, key, Failure::ConnectionTermination);
    let Some(connection) = worker.connections.remove(key) else {
        return;
    };
    worker.disarm(connection.timer);
    match connection.role {
        Role::Downstream(downstream) => {
            worker.totals.downstream_connections.fetch_sub(1, Ordering::Relaxed);
            downstream.closed(worker.now);
        }
        Role::Upstream(upstream) => upstream.closed(worker, key),
    }
}
