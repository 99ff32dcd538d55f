//! A request and its answer as a filter sees them, and what filters keep of them.

use std::any::Any;
use std::time::Instant;

use codec::headers::HeaderBlock;
use config::route::Action;
use telemetry::stats::Shard;
use tokio::task::AbortHandle;

use super::http_filter::PerRoute;
use crate::downstream::Downstream;
use crate::manager::Manager;
use crate::route_table::RouteTable;
use crate::snapshot::Snapshot;
use crate::stream::Stream;
use crate::timer_wheel::TimerKey;

/// A request and its answer, for one filter.
pub(crate) struct Exchange<'a> {
    pub(crate) manager: &'a Manager,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) stream: &'a mut Stream,
    /// The caller's connection; none when that is gone.
    pub(crate) downstream: Option<&'a Downstream>,
    pub(crate) now: Instant,
    pub(crate) shard: Shard,
    /// The filter's place in its chain.
    pub(crate) position: usize,
}

impl<'a> Exchange<'a> {
    /// The request's head.
    pub(crate) fn request(&mut self) -> &mut HeaderBlock {
        &mut self.stream.request
    }

    /// The table that the request's route is in.
    pub(crate) fn table(&self) -> Option<&'a RouteTable> {
        self.manager.route_table(self.snapshot)
    }

    /// Whether the request's route forwards it, rather than answering it.
    pub(crate) fn is_forwarded(&self) -> bool {
        match (self.table(), self.stream.route) {
            (Some(table), Some(at)) => matches!(table.route(at).action, Action::Route(_)),
            _ => false,
        }
    }

    /// What the levels of the request's route say for this filter, the most specific first.
    pub(crate) fn per_route<T: 'static>(&self) -> impl Iterator<Item = &'a T> + use<'a, T> {
        let id = self.manager.chain.id(self.position);
        let levels = match (self.table(), self.stream.route) {
            (Some(table), Some(at)) => table.filter_levels(at, self.stream.weighted, id),
            _ => [None; 4],
        };
        levels
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(&entry.config.as_ref()?.get::<PerRoute<T>>()?.0))
    }

    /// What this filter keeps of this exchange, made when first asked for.
    pub(crate) fn state<T: Default + 'static>(&mut self) -> &mut T {
        let slot = self.stream.filters.slot(self.position);
        let state = slot.state.get_or_insert_with(|| Box::new(T::default()));
        if !state.is::<T>() {
            *state = Box::new(T::default());
        }
        state
            .downcast_mut()
            .expect("a filter's slot holds what the filter asked for: it was replaced above if not")
    }

    /// This filter wants nothing more of this exchange, its end included.
    pub(crate) fn step_aside(&mut self) {
        self.stream.filters.skipped |= 1 << self.position;
    }

    /// What this filter keeps, if it has kept anything.
    pub(crate) fn kept_state<T: 'static>(&mut self) -> Option<&mut T> {
        let position = self.position;
        let kept = self.stream.filters.kept.as_deref_mut()?;
        kept.slots.get_mut(position)?.state.as_mut()?.downcast_mut()
    }
}

/// How far a request is in its chain, and what the filters keep of it.
#[derive(Default)]
pub(crate) struct FilterProgress {
    /// Filters that are off for this request.
    pub(crate) skipped: u64,
    /// Made by the first filter that keeps something: header-only filters need none.
    pub(crate) kept: Option<Box<Kept>>,
}

/// What the filters of one chain keep of one exchange.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) slots: Vec<Slot>,
    /// Where the request's head waits.
    pub(crate) paused: Option<Paused>,
}

/// What one filter keeps.
pub(crate) struct Slot {
    state: Option<Box<dyn Any>>,
    /// Response data that waits.
    pub(crate) held: Option<Held>,
    pub(crate) timer: TimerKey,
    /// What finds out what the request waits for here.
    pub(crate) awaited: Option<AwaitedTask>,
}

/// A task that ends with this.
pub(crate) struct AwaitedTask(pub(crate) AbortHandle);

impl Drop for AwaitedTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Response data that waits at a filter.
#[derive(Default)]
pub(crate) struct Held {
    pub(crate) data: Vec<u8>,
    pub(crate) end_stream: bool,
    pub(crate) trailers: Option<Box<HeaderBlock>>,
}

/// A request whose head waits at a filter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paused {
    pub(crate) position: usize,
    /// The filter waits for the body, not for a time.
    pub(crate) for_body: bool,
    /// Filters below this have been shown what is kept of the body.
    pub(crate) shown: usize,
}

impl FilterProgress {
    pub(crate) fn slot(&mut self, position: usize) -> &mut Slot {
        let kept = self.kept.get_or_insert_default();
        if kept.slots.len() <= position {
            kept.slots.resize_with(position + 1, Slot::default);
        }
        &mut kept.slots[position]
    }

    /// The data that waits at a filter.
    pub(crate) fn held(&mut self, position: usize) -> Option<&mut Held> {
        self.kept.as_deref_mut()?.slots.get_mut(position)?.held.as_mut()
    }

    /// Where the request's head waits.
    pub(crate) fn paused(&self) -> Option<Paused> {
        self.kept.as_deref()?.paused
    }
}

impl Default for Slot {
    fn default() -> Self {
        Slot {
            state: None,
            held: None,
            timer: TimerKey::NONE,
            awaited: None,
        }
    }
}
