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

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use codec::Connection as Codec;
use telemetry::stats::http2;
use tls::{ClientContext, Peer, Session, TlsError};

use crate::downstream::Downstream;
use crate::failure::Failure;
use crate::slab::Key;
use crate::socket::Socket;
use crate::timer_wheel::TimerKey;
use crate::upstream_connection::Upstream;
use crate::worker::{Buffers, Worker, WorkerCell};

mod read;
mod write;

use read::{feed, read, receive};
use write::flush;

/// Ciphertext held for one connection before plaintext is left in the codec instead.
const CIPHERTEXT_HIGH: usize = 256 * 1024;

/// How long the end of a connection waits for the peer's.
const LINGER: Duration = Duration::from_secs(1);

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

/// Who ended a connection first, and whether requests were cut off by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) by_peer: bool,
    pub(crate) cut_requests: bool,
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
    /// Set once, by whoever is first.
    ending: Option<Ending>,
    pub(crate) timer: TimerKey,
    timer_at: Instant,
    /// The connection's timer fired and its task has not looked yet.
    pub(crate) timer_due: bool,
    /// When bytes were last read.
    pub(crate) last_read: Instant,
    ciphertext: Vec<u8>,
    /// Our side of a tunnel has ended, and the peer was told.
    shut: bool,
    waker: Option<Waker>,
    /// The task will run anyway: it is running now, or was woken.
    scheduled: bool,
    /// What the gauges of its protocol count of it.
    shown: Shown,
}

impl Connection {
    pub(crate) fn new(role: Role, tls: Option<Box<Session>>, now: Instant) -> Self {
        Connection {
            role,
            lifecycle: Lifecycle::Open,
            codec: None,
            tls,
            undetected: Vec::new(),
            ending: None,
            timer: TimerKey::NONE,
            timer_at: now,
            timer_due: false,
            last_read: now,
            ciphertext: Vec::new(),
            shut: false,
            waker: None,
            scheduled: false,
            shown: Shown::default(),
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

    /// The caller's side, if this connection is one.
    pub(crate) fn downstream(&self) -> Option<&Downstream> {
        match &self.role {
            Role::Downstream(downstream) => Some(downstream),
            Role::Upstream(_) => None,
        }
    }

    /// The codec, for commands; `None` once the connection no longer takes any.
    pub(crate) fn open_codec(&mut self) -> Option<&mut Codec> {
        match self.lifecycle {
            Lifecycle::Open => self.codec.as_mut(),
            _ => None,
        }
    }

    /// Notes who ended the connection, before its requests are ended with it.
    pub(crate) fn note_ending(&mut self, by_peer: bool) {
        let role = &self.role;
        self.ending.get_or_insert_with(|| Ending {
            by_peer,
            cut_requests: match role {
                Role::Downstream(downstream) => downstream.has_streams(),
                Role::Upstream(upstream) => upstream.has_streams(),
            },
        });
    }

    /// How long its end waits for the peer's. Where no answer can still be on its way there is nothing that a reset
    /// could destroy, and a peer that says nothing holds nobody up.
    pub(crate) fn linger(&self, now: Instant) -> Duration {
        match &self.role {
            Role::Downstream(downstream) if downstream.is_quiet(now) => Duration::ZERO,
            Role::Downstream(_) | Role::Upstream(_) => LINGER,
        }
    }

    /// Stops events and commands, and closes once the output is flushed.
    pub(crate) fn begin_close(&mut self, linger: Duration) {
        self.note_ending(false);
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

/// Hands on what was read of a connection before its task begins.
pub(crate) fn receive_first(cell: &Rc<WorkerCell>, key: Key<Connection>, received: &[u8]) {
    let mut worker = cell.worker.borrow_mut();
    let mut buffers = cell.buffers.borrow_mut();
    feed(&mut worker, &mut buffers, key, received);
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
    if !worker.held_heads.is_empty() {
        crate::pipeline::response::release_held_heads(worker);
    }
    flush(worker, buffers, key, socket, context);

    let Some(connection) = worker.connections.get_mut(key) else {
        return Poll::Ready(());
    };
    connection.scheduled = false;
    if let Some(codec) = &connection.codec {
        let now = Shown::of(codec);
        if now != connection.shown {
            show(
                &connection.role,
                codec,
                std::mem::replace(&mut connection.shown, now),
                now,
            );
        }
    }
    if connection.lifecycle == Lifecycle::Closed {
        return Poll::Ready(());
    }
    if held && connection.wants_read() {
        // Reading was held back by output that is flushed now.
        context.waker().wake_by_ref();
    }
    Poll::Pending
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

/// Takes the record out; whatever streams it still has have ended before, or end now.
fn remove(worker: &mut Worker, key: Key<Connection>) {
    if let Some(connection) = worker.connections.get_mut(key) {
        connection.note_ending(false);
    }
    crate::pipeline::on_connection_closed(worker, key, Failure::ConnectionTermination);
    let Some(mut connection) = worker.connections.remove(key) else {
        return;
    };
    worker.disarm(connection.timer);
    count_codec(&mut connection);
    if let Some(codec) = &connection.codec {
        show(&connection.role, codec, connection.shown, Shown::default());
    }
    let ending = connection.ending.unwrap_or(Ending {
        by_peer: false,
        cut_requests: false,
    });
    match connection.role {
        Role::Downstream(downstream) => {
            worker.totals.downstream_connections.fetch_sub(1, Ordering::Relaxed);
            downstream.closed(worker, ending);
            crate::pool::on_caller_gone(worker, key);
        }
        Role::Upstream(upstream) => upstream.closed(worker, key, ending),
    }
}

/// What the gauges of HTTP/2 count of one connection; HTTP/1.1 has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shown {
    /// `http2.streams_active`.
    streams: u32,
    /// `http2.pending_send_bytes`: octets of bodies that wait for the peer's window, or for the socket.
    queued: u32,
}

impl Shown {
    fn of(codec: &Codec) -> Self {
        match codec.is_h2() {
            true => Shown {
                streams: codec.active_streams() as u32,
                queued: u32::try_from(codec.queued_bytes()).unwrap_or(u32::MAX),
            },
            false => Shown::default(),
        }
    }
}

/// Brings the gauges of HTTP/2 up to date with one connection.
fn show(role: &Role, codec: &Codec, before: Shown, now: Shown) {
    if before == now || !codec.is_h2() {
        return;
    }
    let (block, shard) = match role {
        Role::Downstream(downstream) => (downstream.codec_stats(true), downstream.shard),
        Role::Upstream(upstream) => (upstream.codec_stats(true), upstream.shard()),
    };
    let stats = block.local(shard);
    let change = |before: u32, now: u32| i64::from(now) - i64::from(before);
    stats.gauge_add(http2::STREAMS_ACTIVE, change(before.streams, now.streams));
    stats.gauge_add(http2::PENDING_SEND_BYTES, change(before.queued, now.queued));
}

/// Adds what the codec has counted to the statistics of its protocol: of the process for callers, of the cluster for
/// endpoints. Done when something worth counting has happened and at the end; never for a request that goes well.
pub(crate) fn count_codec(connection: &mut Connection) {
    let Some(codec) = &mut connection.codec else { return };
    let counted = codec.take_stats();
    if counted.iter().next().is_none() {
        return;
    }
    let (block, shard) = match &connection.role {
        Role::Downstream(downstream) => (downstream.codec_stats(codec.is_h2()), downstream.shard),
        Role::Upstream(upstream) => (upstream.codec_stats(codec.is_h2()), upstream.shard()),
    };
    upstream::codec_stats::add(&counted, codec.is_h2(), block.local(shard));
}
