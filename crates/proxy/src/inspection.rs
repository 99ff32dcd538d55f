//! Running a listener's filters on a connection: the part that reads and waits.
//!
//! ```text
//!  accepted -> filters of the listener -> (use_original_dst: filters of the listener found) -> filter chain
//! ```
//! What is read goes into one buffer and is handed on with the connection; nothing is read twice.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};

use telemetry::stats::{Counter, listener as stat};
use tokio::io::{AsyncRead, ReadBuf};

use crate::accepted::Accepted;
use crate::listener::CompiledListener;
use crate::listener_filters::{Kind, Look, original_dst};
use crate::socket::Socket;
use crate::worker::WorkerCell;

/// A connection after its listener filters.
pub(crate) struct Inspected {
    /// The listener whose filter chains it is for.
    pub(crate) listener: Arc<CompiledListener>,
    /// What was received and not consumed.
    pub(crate) received: Vec<u8>,
}

/// Why a connection does not get to a filter chain; the counter that says so, where there is one.
#[derive(Clone, Copy, Debug)]
struct Ended(Option<Counter>);

/// Runs the filters. `None` when the connection is to be closed, which is counted.
pub(crate) async fn inspect(
    cell: &Rc<WorkerCell>,
    listener: Arc<CompiledListener>,
    socket: &mut Socket,
    accepted: &mut Accepted,
) -> Option<Inspected> {
    let mut received = Vec::new();
    run_counted(cell, &listener, socket, accepted, &mut received).await?;
    let Some(target) = redirected(cell, &listener, accepted) else {
        return Some(Inspected { listener, received });
    };
    // Once is enough: the listener found does not send it on.
    run_counted(cell, &target, socket, accepted, &mut received).await?;
    Some(Inspected {
        listener: target,
        received,
    })
}

/// The listener for a connection's original destination, where its own says to look for one and there is another.
fn redirected(
    cell: &Rc<WorkerCell>,
    listener: &Arc<CompiledListener>,
    accepted: &Accepted,
) -> Option<Arc<CompiledListener>> {
    if !listener.config.use_original_dst {
        return None;
    }
    let destination = accepted.original_destination()?;
    let mut worker = cell.worker.borrow_mut();
    worker.begin_turn();
    let target = worker.snapshot.listener_for(destination)?;
    (target.slot.index() != listener.slot.index()).then(|| Arc::clone(target))
}

async fn run_counted(
    cell: &Rc<WorkerCell>,
    listener: &Arc<CompiledListener>,
    socket: &mut Socket,
    accepted: &mut Accepted,
    received: &mut Vec<u8>,
) -> Option<()> {
    if listener.filters.is_empty() {
        return Some(());
    }
    let shard = cell.worker.borrow().shard;
    let stats = &listener.stats;
    stats.inc(shard, stat::DOWNSTREAM_PRE_CX_ACTIVE);
    let _active = Active(|| stats.dec(shard, stat::DOWNSTREAM_PRE_CX_ACTIVE));
    let filters = run(cell, listener, socket, accepted, received);
    let outcome = match listener.config.listener_filters_timeout {
        None => filters.await,
        Some(timeout) => match tokio::time::timeout(timeout, filters).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => {
                stats.increment(shard, stat::DOWNSTREAM_PRE_CX_TIMEOUT);
                // It goes on with what was found so far.
                if listener.config.continue_on_listener_filters_timeout {
                    Ok(())
                } else {
                    Err(Ended(None))
                }
            }
        },
    };
    if let Err(Ended(Some(counter))) = outcome {
        stats.increment(shard, counter);
    }
    outcome.ok()
}

/// Undoes a gauge when the filters are done, or dropped.
struct Active<F: Fn()>(F);

impl<F: Fn()> Drop for Active<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

async fn run(
    cell: &Rc<WorkerCell>,
    listener: &CompiledListener,
    socket: &mut Socket,
    accepted: &mut Accepted,
    received: &mut Vec<u8>,
) -> Result<(), Ended> {
    let shard = cell.worker.borrow().shard;
    for filter in &listener.filters {
        if filter.is_disabled(accepted) {
            continue;
        }
        let inspector = match &filter.kind {
            Kind::OriginalDst => {
                original_dst::restore(socket, accepted);
                continue;
            }
            Kind::Inspector(inspector) => inspector,
        };
        if !inspector.wants(accepted) {
            continue;
        }
        // A connection that has sent nothing yet tells nothing.
        let mut look = if received.is_empty() {
            Look::More
        } else {
            inspector.look(received, accepted, shard)
        };
        loop {
            match look {
                Look::Done { consumed } => {
                    received.drain(..consumed);
                    break;
                }
                Look::Close => return Err(Ended(None)),
                Look::More => {}
            }
            match read_more(cell, socket, received).await {
                Ok(0) => return Err(Ended(Some(stat::DOWNSTREAM_LISTENER_FILTER_REMOTE_CLOSE))),
                Ok(_) => {}
                // A reset; anything else that ends a socket is the same to us.
                Err(_) => return Err(Ended(Some(stat::DOWNSTREAM_LISTENER_FILTER_ERROR))),
            }
            look = inspector.look(received, accepted, shard);
        }
    }
    Ok(())
}

/// Reads what there is, through the worker's buffer; 0 at the end of input.
async fn read_more(cell: &Rc<WorkerCell>, socket: &mut Socket, received: &mut Vec<u8>) -> io::Result<usize> {
    std::future::poll_fn(|context| {
        let mut buffers = cell.buffers.borrow_mut();
        let mut target = ReadBuf::new(&mut buffers.read);
        ready!(Pin::new(&mut *socket).poll_read(context, &mut target))?;
        received.extend_from_slice(target.filled());
        Poll::Ready(Ok(target.filled().len()))
    })
    .await
}
