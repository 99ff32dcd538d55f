//! What the shards of a block hold, and the ways to write it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};

use super::definition::{Codes, Counter, Gauge, Histogram, Table};
use super::histogram::{Distribution, Recorder};

/// A cache line of counters: shards never share one.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([AtomicU64; 8]);

/// Status codes from 100 to 599 in pages: a backend answers with few of them.
pub(super) const CODES_PER_PAGE: usize = 50;
pub(super) const FIRST_CODE: u16 = 100;
pub(super) const CODE_PAGES: usize = 10;
type CodePage = [AtomicU64; CODES_PER_PAGE];

/// What the shard of one worker holds; allocated when the worker first writes.
#[derive(Debug)]
pub(super) struct Own {
    values: Box<[Line]>,
    pub(super) distributions: Distributions,
}

/// What the shard of everything else holds, and what is kept for whoever reads; allocated when first written to. Its
/// counters share their cache lines with anything: they are not written often, and a mesh has thousands of them.
#[derive(Debug, Default)]
pub(super) struct Control {
    values: OnceLock<Box<[AtomicU64]>>,
    pub(super) distributions: OnceLock<Box<Distributions>>,
    pub(super) texts: Mutex<Texts>,
    pub(super) kept: OnceLock<Box<Kept>>,
}

/// Histograms and counts of statuses.
#[derive(Debug)]
pub(super) struct Distributions {
    pub(super) histograms: Box<[OnceLock<Box<Recorder>>]>,
    pub(super) codes: Box<[[OnceLock<Box<CodePage>>; CODE_PAGES]]>,
}

/// A gauge's value is stored with this added, so that zero means 'never set': Envoy's `usedonly`
/// shows a gauge that was set to zero.
pub(super) const GAUGE_ZERO: u64 = 1 << 63;

/// The block's texts, by position in the table; none before one is set.
pub(super) type Texts = Box<[Arc<str>]>;

/// What is kept of earlier moments.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Histograms as the last flush found them, and what had been recorded since the one before.
    pub(super) flushed: Mutex<Vec<Option<Flushed>>>,
    pub(super) bases: Mutex<Bases>,
}

/// What counters stood at when they were last reset: shards are written by their workers alone, so a reset is a
/// subtraction on reading.
#[derive(Debug, Default)]
pub(super) struct Bases {
    pub(super) counters: Vec<u64>,
    pub(super) codes: Vec<Vec<(u16, u64)>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Flushed {
    pub(super) cumulative: Distribution,
    pub(super) interval: Distribution,
}

/// A block as one shard writes it.
#[derive(Clone, Copy, Debug)]
pub struct Local<'a>(pub(super) Written<'a>);

/// What one shard holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Written<'a> {
    /// A worker's: nobody else writes it.
    Own(&'a Own),
    /// That of everything else: several threads write it.
    Shared(&'a Control, &'static Table),
}

impl Local<'_> {
    /// Adds `n` to a counter.
    pub fn add(&self, counter: Counter, n: u64) {
        match self.0 {
            Written::Own(own) => {
                let value = own.value(counter.0);
                value.store(value.load(Relaxed).wrapping_add(n), Relaxed);
            }
            Written::Shared(control, table) => {
                control.value(table, counter.0).fetch_add(n, Relaxed);
            }
        }
    }

    /// Raises or lowers a gauge.
    pub fn gauge_add(&self, gauge: Gauge, n: i64) {
        let change = |raw: u64| (if raw == 0 { GAUGE_ZERO } else { raw }).wrapping_add_signed(n);
        match self.0 {
            Written::Own(own) => {
                let value = own.value(gauge.0);
                value.store(change(value.load(Relaxed)), Relaxed);
            }
            Written::Shared(control, table) => {
                let value = control.value(table, gauge.0);
                // Cannot fail: the closure always returns a value.
                let _ = value.fetch_update(Relaxed, Relaxed, |raw| Some(change(raw)));
            }
        }
    }

    /// Sets a gauge; see [`Block::set`](super::Block::set).
    pub fn set(&self, gauge: Gauge, value: u64) {
        let place = match self.0 {
            Written::Own(own) => own.value(gauge.0),
            Written::Shared(control, table) => control.value(table, gauge.0),
        };
        place.store(GAUGE_ZERO.wrapping_add(value), Relaxed);
    }

    /// Records a value in a histogram.
    pub fn record(&self, histogram: Histogram, value: u64) {
        if let Some(recorder) = self.distributions().histograms.get(usize::from(histogram.0)) {
            recorder.get_or_init(Box::default).record(value, self.is_shared());
        }
    }

    /// Counts an HTTP status; what is not between 100 and 599 is not counted.
    pub fn count_code(&self, codes: Codes, status: u16) {
        let Some(offset) = status.checked_sub(FIRST_CODE).map(usize::from) else {
            return;
        };
        let Some(pages) = self.distributions().codes.get(usize::from(codes.0)) else {
            return;
        };
        let Some(page) = pages.get(offset / CODES_PER_PAGE) else {
            return;
        };
        let page = page.get_or_init(|| Box::new([const { AtomicU64::new(0) }; CODES_PER_PAGE]));
        let value = &page[offset % CODES_PER_PAGE];
        if self.is_shared() {
            value.fetch_add(1, Relaxed);
        } else {
            value.store(value.load(Relaxed) + 1, Relaxed);
        }
    }

    fn is_shared(&self) -> bool {
        matches!(self.0, Written::Shared(..))
    }

    fn distributions(&self) -> &Distributions {
        match self.0 {
            Written::Own(own) => &own.distributions,
            Written::Shared(control, table) => control
                .distributions
                .get_or_init(|| Box::new(Distributions::new(table))),
        }
    }
}

impl<'a> Written<'a> {
    /// The place of a counter or gauge, if there is one.
    pub(super) fn value(self, index: u16) -> Option<&'a AtomicU64> {
        match self {
            Self::Own(own) => Some(own.value(index)),
            Self::Shared(control, _) => control.values.get()?.get(usize::from(index)),
        }
    }
}

impl Own {
    pub(super) fn new(table: &Table) -> Own {
        Own {
            // At least one line, so that every index has a place to fall back to.
            values: (0..value_count(table).div_ceil(8)).map(|_| Line::default()).collect(),
            distributions: Distributions::new(table),
        }
    }

    fn value(&self, index: u16) -> &AtomicU64 {
        let (line, slot) = (usize::from(index) / 8, usize::from(index) % 8);
        // An index of another table is a mistake in remora itself: caught in tests, harmless elsewhere.
        debug_assert!(line < self.values.len(), "the statistic belongs to another table");
        &self.values[line.min(self.values.len() - 1)].0[slot]
    }
}

impl Control {
    fn value(&self, table: &Table, index: u16) -> &AtomicU64 {
        let values = self
            .values
            .get_or_init(|| (0..value_count(table)).map(|_| AtomicU64::new(0)).collect());
        let index = usize::from(index);
        debug_assert!(index < values.len(), "the statistic belongs to another table");
        &values[index.min(values.len() - 1)]
    }
}

impl Distributions {
    fn new(table: &Table) -> Self {
        Self {
            histograms: table.histograms.iter().map(|_| OnceLock::new()).collect(),
            codes: table.codes.iter().map(|_| Default::default()).collect(),
        }
    }
}

/// Places for counters and gauges: at least one, so that there is one for an index of another table.
fn value_count(table: &Table) -> usize {
    (table.counters.len() + table.gauges.len()).max(1)
}
