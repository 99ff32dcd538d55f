//! A request that waits at a filter for what is found out elsewhere.
//!
//! ```text
//!  Verdict::Await -> a task beside the request -+- done ---------> on_answer -+-> on, or answered, or waiting again
//!                                               +- at_latest ----> on_resume -+
//!                                               +- request ends -> dropped
//! ```
//! The task knows the stream by its key, generation included: what comes for a stream that is gone finds none.

use std::any::Any;

use super::filtering::{arm, go_on, with_exchange};
use crate::filters::exchange::{AwaitedTask, Paused};
use crate::filters::http_filter::Awaited;
use crate::slab::Key;
use crate::stream::{FilterSide, Stream};
use crate::worker::Worker;

/// The head waits at the filter of this place; filters below `shown` have seen what is kept of the body.
pub(super) fn begin(worker: &mut Worker, key: Key<Stream>, position: usize, shown: usize, awaited: Awaited) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    stream.filters.kept.get_or_insert_default().paused = Some(Paused {
        position,
        for_body: false,
        shown,
    });
    let Awaited { future, at_latest } = awaited;
    let cell = worker.cell.clone();
    let task = tokio::task::spawn_local(async move {
        let answer = future.await;
        let Some(cell) = cell.upgrade() else {
            return;
        };
        let mut worker = cell.worker.borrow_mut();
        worker.begin_turn();
        on_answer(&mut worker, key, position, answer);
    });
    if let Some(stream) = worker.streams.get_mut(key) {
        stream.filters.slot(position).awaited = Some(AwaitedTask(task.abort_handle()));
    }
    arm(worker, key, position, FilterSide::Request, at_latest);
}

/// It took too long: whatever is found out is of no use any more.
pub(super) fn give_up(worker: &mut Worker, key: Key<Stream>, position: usize) {
    if let Some(stream) = worker.streams.get_mut(key) {
        stream.filters.slot(position).awaited = None;
    }
}

fn on_answer(worker: &mut Worker, key: Key<Stream>, position: usize, answer: Box<dyn Any>) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    let waits = |paused: Paused| paused.position == position && !paused.for_body;
    if !stream.filters.paused().is_some_and(waits) {
        return;
    }
    let slot = stream.filters.slot(position);
    // Its task is the one that runs here: there is nothing left to abort.
    slot.awaited = None;
    let timer = slot.timer;
    worker.disarm(timer);
    let verdict = with_exchange(worker, key, |exchange| {
        exchange.position = position;
        exchange.manager.chain.filter(position).on_answer(exchange, answer)
    });
    go_on(worker, key, position, verdict);
}

#[cfg(test)]
mod tests;
