//! A request and its answer on their way through the filters of their chain.
//!
//! ```text
//!  request:   head --> filter 0 --> filter 1 --> ... --> router (`request::forward`)
//!  answer:    caller <-- filter 0 <-- filter 1 <-- ... <-- endpoint, or a local reply
//! ```
//! While a filter holds a request's head, its body is kept in `Stream::body` and shown to the filters behind once the
//! head has gone on. Data of an answer that a filter holds stays with that filter.

use std::rc::Rc;

use codec::headers::HeaderBlock;

use super::{answer, awaiting, request, response};
use crate::connection::Connection;
use crate::filters::chain::{Part, ascending, below, descending};
use crate::filters::exchange::{Exchange, Held, Paused};
use crate::filters::http_filter::{DataVerdict, Until, Verdict};
use crate::slab::Key;
use crate::stream::{FilterSide, Phase, Stream, StreamTimer};
use crate::worker::{Timer, Worker};

/// Whether a part of a request may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// Past the last filter.
    Open,
    /// It is kept for a filter.
    Kept,
    /// A filter has answered the request.
    Answered,
}

/// The head is checked and has its route: which filters run for it is settled, and they are shown it.
pub(super) fn begin(worker: &mut Worker, key: Key<Stream>) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    if stream.manager.chain.is_empty() {
        return request::forward(worker, key);
    }
    let manager = Rc::clone(&stream.manager);
    let snapshot = Rc::clone(&stream.snapshot);
    stream.filters.skipped = match (manager.route_table(&snapshot), stream.route) {
        (Some(table), Some(at)) => table.skipped_filters(at, stream.weighted, &manager.chain),
        _ => manager.chain.disabled(),
    };
    pass_head(worker, key, 0, 0);
}

/// Shows the head to the filters from `from` on, and what is kept of the body to those from `shown` on.
fn pass_head(worker: &mut Worker, key: Key<Stream>, mut from: usize, mut shown: usize) {
    loop {
        let stopped = with_exchange(worker, key, |exchange| {
            let body = &exchange.stream.body;
            let end_stream = body.complete && body.received == 0 && body.trailers.is_none();
            for position in ascending(exchange.wanting(Part::RequestHead) & !below(from)) {
                exchange.position = position;
                match exchange
                    .manager
                    .chain
                    .filter(position)
                    .on_request_head(exchange, end_stream)
                {
                    Verdict::Continue => {}
                    verdict => return Some((position, verdict)),
                }
            }
            None
        });
        let Some(stopped) = stopped else {
            return;
        };
        let end = match &stopped {
            Some((position, _)) => *position,
            None => 64,
        };
        match (show_body(worker, key, shown, end), stopped) {
            (Passage::Answered, _) => return,
            (_, None) => return request::forward(worker, key),
            (_, Some((position, Verdict::Pause(Until::Body)))) => {
                pause(worker, key, position, Until::Body, position + 1);
                match show_body(worker, key, position, position + 1) {
                    Passage::Answered => return,
                    Passage::Kept => return release_kept(worker, key),
                    Passage::Open => {
                        (from, shown) = (position + 1, position + 1);
                        if let Some(stream) = worker.streams.get_mut(key)
                            && let Some(kept) = &mut stream.filters.kept
                        {
                            kept.paused = None;
                        }
                    }
                }
            }
            (_, Some((position, Verdict::Pause(until)))) => return pause(worker, key, position, until, position),
            (_, Some((position, Verdict::Await(awaited)))) => {
                return awaiting::begin(worker, key, position, position, *awaited);
            }
            (_, Some((_, Verdict::Reply(reply)))) => return answer::reply(worker, key, *reply),
            (_, Some((_, Verdict::Continue))) => return,
        }
    }
}

/// Shows what is kept of the body to the filters from `from` up to `end`.
fn show_body(worker: &mut Worker, key: Key<Stream>, from: usize, end: usize) -> Passage {
    let Some(stream) = worker.streams.get_mut(key) else {
        return Passage::Answered;
    };
    let body = &mut stream.body;
    let nothing = body.kept.is_empty() && body.trailers.is_none() && !(body.complete && body.received > 0);
    if from >= end || nothing {
        // A filter that waits for the body goes on waiting.
        return Passage::Kept;
    }
    let range = below(end) & !below(from);
    let data = std::mem::take(&mut body.kept);
    let ends = body.complete && body.trailers.is_none();
    let mut passage = Passage::Open;
    if !data.is_empty() || ends {
        passage = show_data(worker, key, range, &data, ends);
    }
    if let Some(stream) = worker.streams.get_mut(key) {
        stream.body.kept = data;
    }
    if passage != Passage::Answered
        && let Some(stream) = worker.streams.get_mut(key)
        && let Some(mut trailers) = stream.body.trailers.take()
    {
        passage = show_trailers(worker, key, range, &mut trailers);
        match worker.streams.get_mut(key) {
            Some(stream) => stream.body.trailers = Some(trailers),
            None => worker.give_block(trailers),
        }
    }
    passage
}

fn show_data(worker: &mut Worker, key: Key<Stream>, range: u64, data: &[u8], end_stream: bool) -> Passage {
    let verdict = with_exchange(worker, key, |exchange| {
        for position in ascending(exchange.wanting(Part::RequestData) & range) {
            exchange.position = position;
            let filter = exchange.manager.chain.filter(position);
            match filter.on_request_data(exchange, data, end_stream) {
                Verdict::Continue => {}
                verdict => return (position, verdict),
            }
        }
        (0, Verdict::Continue)
    });
    settle(worker, key, verdict)
}

fn show_trailers(worker: &mut Worker, key: Key<Stream>, range: u64, trailers: &mut HeaderBlock) -> Passage {
    let verdict = with_exchange(worker, key, |exchange| {
        for position in ascending(exchange.wanting(Part::RequestTrailers) & range) {
            exchange.position = position;
            let filter = exchange.manager.chain.filter(position);
            match filter.on_request_trailers(exchange, trailers) {
                Verdict::Continue => {}
                verdict => return (position, verdict),
            }
        }
        (0, Verdict::Continue)
    });
    settle(worker, key, verdict)
}

fn settle(worker: &mut Worker, key: Key<Stream>, verdict: Option<(usize, Verdict)>) -> Passage {
    match verdict {
        Some((_, Verdict::Continue)) => Passage::Open,
        Some((_, Verdict::Pause(_))) => Passage::Kept,
        Some((position, Verdict::Await(awaited))) => {
            awaiting::begin(worker, key, position, position + 1, *awaited);
            Passage::Kept
        }
        Some((_, Verdict::Reply(reply))) => {
            answer::reply(worker, key, *reply);
            Passage::Answered
        }
        None => Passage::Answered,
    }
}

/// Part of a request's body arrived; it is in `data`, not kept yet.
pub(super) fn on_request_data(worker: &mut Worker, key: Key<Stream>, data: &[u8], end_stream: bool) -> Passage {
    let Some(stream) = worker.streams.get_mut(key) else {
        return Passage::Answered;
    };
    let Some(paused) = stream.filters.paused() else {
        return show_data(worker, key, u64::MAX, data, end_stream);
    };
    let end = if paused.for_body {
        paused.position + 1
    } else {
        paused.position
    };
    let passage = show_data(worker, key, below(end), data, end_stream);
    match passage {
        Passage::Answered => Passage::Answered,
        Passage::Open if paused.for_body => Passage::Open,
        Passage::Open | Passage::Kept => Passage::Kept,
    }
}

/// The trailers of a request arrived.
pub(super) fn on_request_trailers(worker: &mut Worker, key: Key<Stream>, trailers: &mut HeaderBlock) -> Passage {
    let Some(stream) = worker.streams.get_mut(key) else {
        return Passage::Answered;
    };
    let Some(paused) = stream.filters.paused() else {
        return show_trailers(worker, key, u64::MAX, trailers);
    };
    let end = if paused.for_body {
        paused.position + 1
    } else {
        paused.position
    };
    match show_trailers(worker, key, below(end), trailers) {
        Passage::Open if !paused.for_body => Passage::Kept,
        passage => passage,
    }
}

/// What arrived of a request is kept: a head that waited for it goes on, or the sender may.
pub(super) fn on_kept(worker: &mut Worker, key: Key<Stream>, passage: Passage) {
    match passage {
        Passage::Open => resume(worker, key),
        Passage::Kept => release_kept(worker, key),
        Passage::Answered => {}
    }
}

/// What the filter waited for is there: the head goes on.
fn resume(worker: &mut Worker, key: Key<Stream>) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    let Some(paused) = stream.filters.kept.as_deref_mut().and_then(|kept| kept.paused.take()) else {
        return;
    };
    pass_head(worker, key, paused.position + 1, paused.shown);
    super::arm(worker, key);
}

/// What a filter keeps of a body has no effect on how much more its sender may send.
fn release_kept(worker: &mut Worker, key: Key<Stream>) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    if !stream.filters.paused().is_some_and(|paused| paused.for_body) {
        return;
    }
    let due = stream.body.received.saturating_sub(stream.body.credited);
    stream.body.credited += due;
    let (connection, id) = (stream.downstream, stream.downstream_id);
    super::release(worker, connection, id, due as usize);
}

fn pause(worker: &mut Worker, key: Key<Stream>, position: usize, until: Until, shown: usize) {
    let Some(stream) = worker.streams.get_mut(key) else {
        return;
    };
    let kept = stream.filters.kept.get_or_insert_default();
    kept.paused = Some(Paused {
        position,
        for_body: until == Until::Body,
        shown,
    });
    if let Until::Time(at) = until {
        arm(worker, key, position, FilterSide::Request, at);
    }
}

pub(super) fn arm(worker: &mut Worker, key: Key<Stream>, position: usize, side: FilterSide, at: std::time::Instant) {
    let timer = StreamTimer::Filter {
        position: position as u8,
        side,
    };
    let armed = worker.arm(at, Timer::Stream(key, timer));
    if let Some(stream) = worker.streams.get_mut(key) {
        stream.filters.slot(position).timer = armed;
    }
}

/// The time that a filter waited for has come.
pub(super) fn on_timer(worker: &mut Worker, key: Key<Stream>, position: usize, side: FilterSide) {
    match side {
        FilterSide::Request => on_request_timer(worker, key, position),
        FilterSide::Response => {
            let Some(held) = worker
                .streams
                .get_mut(key)
                .and_then(|stream| stream.filters.slot(position).held.take())
            else {
                return;
            };
            pass_response(worker, key, position + 1, &held.data, held.end_stream, held.trailers);
        }
    }
}

fn on_request_timer(worker: &mut Worker, key: Key<Stream>, position: usize) {
    let waits = worker
        .streams
        .get(key)
        .and_then(|stream| stream.filters.paused())
        .is_some_and(|paused| paused.position == position && !paused.for_body);
    if !waits {
        return;
    }
    awaiting::give_up(worker, key, position);
    let verdict = with_exchange(worker, key, |exchange| {
        exchange.position = position;
        exchange.manager.chain.filter(position).on_resume(exchange)
    });
    go_on(worker, key, position, verdict);
}

/// What a filter makes of what its request waited for.
pub(super) fn go_on(worker: &mut Worker, key: Key<Stream>, position: usize, verdict: Option<Verdict>) {
    let shown = worker.streams.get(key).and_then(|stream| stream.filters.paused());
    let shown = shown.map_or(position, |paused| paused.shown);
    match verdict {
        Some(Verdict::Continue) => resume(worker, key),
        Some(Verdict::Pause(until)) => pause(worker, key, position, until, shown),
        Some(Verdict::Await(awaited)) => awaiting::begin(worker, key, position, shown, *awaited),
        Some(Verdict::Reply(reply)) => answer::reply(worker, key, *reply),
        None => {}
    }
}

/// Shows the head of an answer to the filters.
pub(super) fn on_response_head(worker: &mut Worker, key: Key<Stream>, head: &mut HeaderBlock, end_stream: bool) {
    with_exchange(worker, key, |exchange| {
        for position in descending(exchange.wanting(Part::ResponseHead)) {
            exchange.position = position;
            let filter = exchange.manager.chain.filter(position);
            filter.on_response_head(exchange, head, end_stream);
        }
    });
}

/// Part of an endpoint's answer, for the filters.
pub(super) fn on_response_data(worker: &mut Worker, key: Key<Stream>, data: &[u8], end_stream: bool) {
    pass_response(worker, key, 64, data, end_stream, None);
}

/// The trailers of an endpoint's answer, for the filters.
pub(super) fn on_response_trailers(worker: &mut Worker, key: Key<Stream>, trailers: &mut HeaderBlock) {
    let mut block = worker.take_block();
    std::mem::swap(&mut *block, trailers);
    pass_response(worker, key, 64, &[], false, Some(block));
}

/// Whether filters look at what follows the head of a request, or hold the head.
pub(super) fn wants_request(stream: &Stream) -> bool {
    let chain = &stream.manager.chain;
    stream.phase == Phase::Filtering
        || (chain.wanting(Part::RequestData) | chain.wanting(Part::RequestTrailers)) & !stream.filters.skipped != 0
}

/// Whether filters look at what follows the head of an answer.
pub(super) fn wants_response(stream: &Stream) -> bool {
    let chain = &stream.manager.chain;
    (chain.wanting(Part::ResponseData) | chain.wanting(Part::ResponseTrailers)) & !stream.filters.skipped != 0
}

/// Takes data or trailers of an answer through the filters below `end`.
fn pass_response(
    worker: &mut Worker,
    key: Key<Stream>,
    end: usize,
    mut data: &[u8],
    mut end_stream: bool,
    mut trailers: Option<Box<HeaderBlock>>,
) {
    let mut timer = None;
    let passed = with_exchange(worker, key, |exchange| {
        let wanting = exchange.wanting(Part::ResponseData) | exchange.wanting(Part::ResponseTrailers);
        let wants_data = exchange.wanting(Part::ResponseData);
        for position in descending(wanting & below(end)) {
            exchange.position = position;
            if let Some(held) = exchange.stream.filters.held(position) {
                held.data.extend_from_slice(data);
                held.end_stream |= end_stream;
                held.trailers = trailers.take();
                return false;
            }
            let filter = exchange.manager.chain.filter(position);
            if wants_data & (1 << position) != 0
                && (!data.is_empty() || end_stream)
                && let DataVerdict::Hold { pass, until } = filter.on_response_data(exchange, data, end_stream)
            {
                let (now, later) = data.split_at(pass.min(data.len()));
                exchange.stream.filters.slot(position).held = Some(Held {
                    data: later.to_vec(),
                    end_stream,
                    trailers: trailers.take(),
                });
                timer = Some((position, until));
                (data, end_stream) = (now, false);
            }
            if let Some(trailers) = &mut trailers {
                filter.on_response_trailers(exchange, trailers);
            }
        }
        true
    });
    if let Some((position, until)) = timer {
        arm(worker, key, position, FilterSide::Response, until);
    }
    if passed == Some(true) {
        if !data.is_empty() || end_stream {
            response::pass_data(worker, key, data, data.len() as u32, end_stream);
        }
        if let Some(trailers) = &mut trailers {
            response::pass_trailers(worker, key, trailers);
        }
    }
    if let Some(trailers) = trailers {
        worker.give_block(trailers);
    }
}

/// The request has ended; `stream` is out of the slab.
pub(super) fn on_finish(worker: &mut Worker, stream: &mut Stream) {
    if let Some(kept) = stream.filters.kept.as_deref() {
        for slot in &kept.slots {
            worker.disarm(slot.timer);
        }
    }
    let manager = Rc::clone(&stream.manager);
    let snapshot = Rc::clone(&stream.snapshot);
    let downstream = worker
        .connections
        .get(stream.downstream)
        .and_then(Connection::downstream);
    let mut exchange = Exchange {
        manager: &manager,
        snapshot: &snapshot,
        stream,
        downstream,
        now: worker.now,
        shard: worker.shard,
        position: 0,
    };
    for position in ascending(exchange.wanting(Part::Finish)) {
        exchange.position = position;
        manager.chain.filter(position).on_finish(&mut exchange);
    }
}

impl Exchange<'_> {
    /// The filters that want a part of this exchange.
    fn wanting(&self, part: Part) -> u64 {
        self.manager.chain.wanting(part) & !self.stream.filters.skipped
    }
}

/// Runs `call` on a stream as filters see it; `None` if it is gone.
pub(super) fn with_exchange<R>(
    worker: &mut Worker,
    key: Key<Stream>,
    call: impl FnOnce(&mut Exchange<'_>) -> R,
) -> Option<R> {
    let stream = worker.streams.get_mut(key)?;
    let manager = Rc::clone(&stream.manager);
    let snapshot = Rc::clone(&stream.snapshot);
    let downstream = worker
        .connections
        .get(stream.downstream)
        .and_then(Connection::downstream);
    Some(call(&mut Exchange {
        manager: &manager,
        snapshot: &snapshot,
        stream,
        downstream,
        now: worker.now,
        shard: worker.shard,
        position: 0,
    }))
}
