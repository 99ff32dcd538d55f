//! One worker: a single-threaded runtime, its connections, streams, pools and timers.
//!
//! Everything here belongs to one thread. Tasks (one for each connection, one for each listening
//! socket, one for the timers) share it through [`WorkerCell`] and borrow it only inside one poll,
//! never across an await; the pipeline is plain functions on `&mut Worker`.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use arc_swap::{ArcSwap, Cache};
use codec::event::Scratch;
use codec::headers::HeaderBlock;
use telemetry::stats::Shard;

use crate::connection::Connection;
use crate::drain::Draining;
use crate::failure::{Failure, TransportFailure};
use crate::pickers::Pickers;
use crate::pool::Pools;
use crate::server::Totals;
use crate::slab::{Key, Slab};
use crate::snapshot::Snapshot;
use crate::stream::{Stream, StreamTimer};
use crate::tcp::Tunnel;
use crate::timer_wheel::{TimerKey, TimerWheel};

/// Read buffer of a worker: 64 KiB, since 16 KiB costs 30 to 67 % more on bulk bodies.
const READ_BUFFER: usize = 64 * 1024;
/// Header blocks kept for the next requests; more than this many at once are given back.
const SPARE_BLOCKS: usize = 256;
/// A spare block above this capacity came from an unusual request and is not kept.
const SPARE_BLOCK_CAPACITY: usize = 16 * 1024;

/// A share of what other threads hold too: a request takes one without touching a count that workers contend for.
#[allow(
    clippy::redundant_allocation,
    reason = "the outer count is the worker's own, the inner one is shared"
)]
pub(crate) type Local<T> = Rc<Arc<T>>;

/// What the tasks of one worker share.
pub(crate) struct WorkerCell {
    pub(crate) worker: RefCell<Worker>,
    pub(crate) buffers: RefCell<Buffers>,
}

/// Buffers lent to whichever connection is being read: an idle connection owns none.
pub(crate) struct Buffers {
    pub(crate) read: Box<[u8]>,
    pub(crate) plaintext: Vec<u8>,
    pub(crate) ciphertext: Vec<u8>,
    pub(crate) scratch: Scratch,
    pub(crate) fired: Vec<Timer>,
}

/// What a timer of the wheel belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    Stream(Key<Stream>, StreamTimer),
    Connection(Key<Connection>),
}

/// State of one worker thread.
pub(crate) struct Worker {
    pub(crate) cell: std::rc::Weak<WorkerCell>,
    pub(crate) shard: Shard,
    /// Time of the current turn; read once for all events of a batch.
    pub(crate) now: Instant,
    /// The snapshot that new requests take; the only place that loads it is [`Worker::begin_turn`].
    pub(crate) snapshot: Local<Snapshot>,
    snapshots: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    pub(crate) connections: Slab<Connection>,
    pub(crate) streams: Slab<Stream>,
    /// Connections that are carried as they are.
    pub(crate) tunnels: Slab<Tunnel>,
    pub(crate) pools: Pools,
    timers: TimerWheel<Timer>,
    /// When the timer task will wake by itself.
    timers_wake_at: Option<Instant>,
    timer_task: Option<Waker>,
    pub(crate) pickers: Pickers,
    pub(crate) totals: Arc<Totals>,
    /// What streams of a connection that is being ended failed with, where that is not plain termination.
    pub(crate) ending_with: Option<Failure>,
    /// Why the transport failed, while the requests that waited for a connection fail with it.
    pub(crate) transport_failure: Option<TransportFailure>,
    /// The drain under way.
    pub(crate) draining: Option<Draining>,
    pub(crate) date: crate::date::DateHeader,
    /// Streams with the head of an answer that is held back until the end of what is being read.
    pub(crate) held_heads: Vec<Key<Stream>>,
    /// Buffer for access-log entries.
    pub(crate) log_line: Vec<u8>,
    #[allow(
        clippy::vec_box,
        reason = "blocks go between this list and the streams by their pointer"
    )]
    spare_blocks: Vec<Box<HeaderBlock>>,
}

impl WorkerCell {
    pub(crate) fn new(
        shard: Shard,
        snapshots: Arc<ArcSwap<Snapshot>>,
        totals: Arc<Totals>,
        now: Instant,
    ) -> Rc<WorkerCell> {
        let mut cache = Cache::new(snapshots);
        let snapshot = Rc::new(Arc::clone(cache.load()));
        Rc::new_cyclic(|cell| WorkerCell {
            worker: RefCell::new(Worker {
                cell: cell.clone(),
                shard,
                now,
                snapshot,
                snapshots: cache,
                connections: Slab::new(),
                streams: Slab::new(),
                tunnels: Slab::new(),
                pools: Pools::new(),
                timers: TimerWheel::new(now),
                timers_wake_at: None,
                timer_task: None,
                pickers: Pickers::new(shard),
                totals,
                ending_with: None,
                transport_failure: None,
                draining: None,
                date: crate::date::DateHeader::new(),
                held_heads: Vec::new(),
                log_line: Vec::new(),
                spare_blocks: Vec::new(),
            }),
            buffers: RefCell::new(Buffers {
                read: vec![0; READ_BUFFER].into_boxed_slice(),
                plaintext: Vec::new(),
                ciphertext: Vec::new(),
                scratch: Scratch::new(),
                fired: Vec::new(),
            }),
        })
    }
}

impl Worker {
    /// Begins a task's turn: the clock is read once, and a newly published snapshot is taken up.
    pub(crate) fn begin_turn(&mut self) {
        self.now = Instant::now();
        let current = self.snapshots.load();
        if !Arc::ptr_eq(current, &self.snapshot) {
            self.snapshot = Rc::new(Arc::clone(current));
        }
    }

    /// A cleared header block, from the spare ones where there is one.
    pub(crate) fn take_block(&mut self) -> Box<HeaderBlock> {
        self.spare_blocks.pop().unwrap_or_default()
    }

    /// Gives a header block back for later requests.
    pub(crate) fn give_block(&mut self, mut block: Box<HeaderBlock>) {
        if self.spare_blocks.len() < SPARE_BLOCKS && block.capacity() <= SPARE_BLOCK_CAPACITY {
            block.clear();
            self.spare_blocks.push(block);
        }
    }

    /// Keeps what a finished stream held for the next ones.
    pub(crate) fn recycle(&mut self, stream: Stream) {
        if let Some(trailers) = stream.body.trailers {
            self.give_block(trailers);
        }
        if let Some(head) = stream.held_head {
            self.give_block(head);
        }
        self.give_block(stream.request);
    }

    /// Arms a timer. The timer task is woken only if it would otherwise sleep past it.
    pub(crate) fn arm(&mut self, at: Instant, timer: Timer) -> TimerKey {
        let key = self.timers.arm(at, timer);
        if self.timers_wake_at.is_none_or(|wake_at| at < wake_at)
            && let Some(task) = self.timer_task.take()
        {
            task.wake();
        }
        key
    }

    /// Disarms a timer; a handle whose timer fired or was disarmed is ignored.
    pub(crate) fn disarm(&mut self, key: TimerKey) {
        self.timers.cancel(key);
    }
}

/// The timer task of a worker: sleeps until the wheel's next deadline, fires what is due.
pub(crate) async fn run_timers(cell: Rc<WorkerCell>) {
    let sleep = tokio::time::sleep_until(tokio::time::Instant::now());
    let mut sleep = std::pin::pin!(sleep);
    std::future::poll_fn(move |context| {
        let mut worker = cell.worker.borrow_mut();
        let worker = &mut *worker;
        let mut buffers = cell.buffers.borrow_mut();
        loop {
            worker.begin_turn();
            let mut fired = std::mem::take(&mut buffers.fired);
            worker.timers.advance(worker.now, &mut fired);
            for timer in fired.drain(..) {
                match timer {
                    Timer::Stream(key, timer) => crate::pipeline::on_timer(worker, key, timer),
                    Timer::Connection(key) => {
                        if let Some(connection) = worker.connections.get_mut(key) {
                            connection.timer = TimerKey::NONE;
                            connection.timer_due = true;
                            connection.wake();
                        }
                    }
                }
            }
            buffers.fired = fired;
            worker.timer_task = Some(context.waker().clone());
            worker.timers_wake_at = worker.timers.next_deadline();
            let Some(deadline) = worker.timers_wake_at else {
                return std::task::Poll::<()>::Pending;
            };
            sleep.as_mut().reset(deadline.into());
            if std::future::Future::poll(sleep.as_mut(), context).is_pending() {
                return std::task::Poll::Pending;
            }
        }
    })
    .await;
}
