//! A block: the statistics of one table under one prefix, counted per thread, merged on reading.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::definition::{Codes, Counter, Gauge, Histogram, Table, Text};
use super::histogram::{Distribution, Recorder};
use super::scope::Prefix;

/// Who counts. Each worker writes its own shard, so a count is a plain load and store; everything else
/// in the process shares one shard and pays an atomic addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shard(u16);

impl Shard {
    /// Every thread that is not a worker: control, admin, access-log writers.
    pub const CONTROL: Shard = Shard(0);

    /// The shard of the worker with this index, from 0. Only that worker's thread may write to it.
    pub const fn worker(index: usize) -> Shard {
        Shard(if index < u16::MAX as usize { index as u16 + 1 } else { 0 })
    }

    /// The index of its worker; none for the shard of everything else.
    pub fn worker_index(self) -> Option<usize> {
        usize::from(self.0).checked_sub(1)
    }
}

/// A cache line of counters: shards never share one.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([AtomicU64; 8]);

/// Status codes from 100 to 599 in pages: a backend answers with few of them.
const CODES_PER_PAGE: usize = 50;
const FIRST_CODE: u16 = 100;
const CODE_PAGES: usize = 10;
type CodePage = [AtomicU64; CODES_PER_PAGE];

/// What one shard of a block holds; allocated when the shard first writes.
#[derive(Debug)]
struct Storage {
    values: Box<[Line]>,
    histograms: Box<[OnceLock<Box<Recorder>>]>,
    codes: Box<[[OnceLock<Box<CodePage>>; CODE_PAGES]]>,
}

/// A gauge's value is stored with this added, so that zero means 'never set': Envoy's `usedonly`
/// shows a gauge that was set to zero.
const GAUGE_ZERO: u64 = 1 << 63;

/// The statistics of one table under one prefix. Handles are resolved once, when configuration is
/// compiled; nothing is looked up by name afterwards. Until its first write a block is a prefix and a
/// few empty pointers.
#[derive(Debug)]
pub struct Block {
    pub(crate) prefix: Arc<Prefix>,
    pub(crate) table: &'static Table,
    shards: Box<[OnceLock<Box<Storage>>]>,
    texts: OnceLock<Box<Mutex<Texts>>>,
    /// Histograms as the last flush found them, and what had been recorded since the one before.
    flushed: OnceLock<Box<Mutex<Vec<Option<Flushed>>>>>,
    bases: OnceLock<Box<Mutex<Bases>>>,
}

/// The block's texts, by position in the table.
type Texts = Box<[Arc<str>]>;

/// What counters stood at when they were last reset: shards are written by their workers alone, so a reset is a
/// subtraction on reading.
#[derive(Debug, Default)]
struct Bases {
    counters: Vec<u64>,
    codes: Vec<Vec<(u16, u64)>>,
}

#[derive(Clone, Debug, Default)]
struct Flushed {
    cumulative: Distribution,
    interval: Distribution,
}

impl Block {
    pub(crate) fn new(prefix: Arc<Prefix>, table: &'static Table, shards: usize) -> Block {
        Block {
            prefix,
            table,
            shards: (0..shards.max(1)).map(|_| OnceLock::new()).collect(),
            texts: OnceLock::new(),
            flushed: OnceLock::new(),
            bases: OnceLock::new(),
        }
    }

    /// The text that precedes every name of this block, its dot included.
    pub fn prefix(&self) -> &str {
        &self.prefix.text
    }

    /// This block as one shard writes it. Take it once for several counts.
    pub fn local(&self, shard: Shard) -> Local<'_> {
        // A shard the registry was not made for counts with the control threads: right, only dearer.
        let index = if usize::from(shard.0) < self.shards.len() {
            usize::from(shard.0)
        } else {
            0
        };
        let storage = self.shards[index].get_or_init(|| Box::new(Storage::new(self.table)));
        Local {
            storage,
            shared: index == 0,
        }
    }

    /// Adds `n` to a counter.
    pub fn add(&self, shard: Shard, counter: Counter, n: u64) {
        self.local(shard).add(counter, n);
    }

    /// Adds 1 to a counter.
    pub fn increment(&self, shard: Shard, counter: Counter) {
        self.local(shard).add(counter, 1);
    }

    /// Raises a gauge by 1.
    pub fn inc(&self, shard: Shard, gauge: Gauge) {
        self.local(shard).gauge_add(gauge, 1);
    }

    /// Lowers a gauge by 1. Another shard may have raised it.
    pub fn dec(&self, shard: Shard, gauge: Gauge) {
        self.local(shard).gauge_add(gauge, -1);
    }

    /// Raises or lowers a gauge.
    pub fn gauge_add(&self, shard: Shard, gauge: Gauge, n: i64) {
        self.local(shard).gauge_add(gauge, n);
    }

    /// Sets a gauge. A gauge that is set is set through one shard only: the value shown is the sum.
    pub fn set(&self, shard: Shard, gauge: Gauge, value: u64) {
        self.local(shard).set(gauge, value);
    }

    /// Records a value in a histogram.
    pub fn record(&self, shard: Shard, histogram: Histogram, value: u64) {
        self.local(shard).record(histogram, value);
    }

    /// Counts an HTTP status.
    pub fn count_code(&self, shard: Shard, codes: Codes, status: u16) {
        self.local(shard).count_code(codes, status);
    }

    /// Sets a text.
    pub fn set_text(&self, text: Text, value: &str) {
        let texts = self
            .texts
            .get_or_init(|| Box::new(Mutex::new(vec![Arc::from(""); self.table.texts.len()].into())));
        let mut texts = texts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = texts.get_mut(usize::from(text.0)) {
            *slot = Arc::from(value);
        }
    }

    /// The counter's value, all shards together, since it was last reset.
    pub fn counter(&self, counter: Counter) -> u64 {
        let base = self.bases.get().map_or(0, |bases| {
            let bases = bases.lock().unwrap_or_else(PoisonError::into_inner);
            bases.counters.get(usize::from(counter.0)).copied().unwrap_or(0)
        });
        self.counted(counter).wrapping_sub(base)
    }

    fn counted(&self, counter: Counter) -> u64 {
        self.storages()
            .map(|storage| storage.value(counter.0).load(Relaxed))
            .fold(0, u64::wrapping_add)
    }

    /// Lets every counter show 0. Gauges and histograms are not touched (Envoy: POST /reset_counters).
    pub(crate) fn reset_counters(&self) {
        if self.storages().next().is_none() {
            return;
        }
        let mut bases = self
            .bases
            .get_or_init(Box::default)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        bases.counters = (0..self.table.counters.len())
            .map(|index| self.counted(Counter(index as u16)))
            .collect();
        bases.codes = (0..self.table.codes.len())
            .map(|index| self.counted_codes(Codes(index as u16)).collect())
            .collect();
    }

    /// The gauge's value, all shards together; never below zero.
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.gauge_if_used(gauge).unwrap_or(0)
    }

    /// How often a histogram was recorded, and the sum of what was.
    pub fn histogram(&self, histogram: Histogram) -> (u64, u64) {
        let merged = self.distribution(histogram);
        (merged.count(), merged.sum())
    }

    /// How often this status was counted.
    pub fn code(&self, codes: Codes, status: u16) -> u64 {
        self.codes(codes)
            .find(|(code, _)| *code == status)
            .map_or(0, |(_, count)| count)
    }

    pub(crate) fn gauge_if_used(&self, gauge: Gauge) -> Option<u64> {
        let mut used = false;
        let sum = self
            .storages()
            .map(|storage| storage.value(gauge.0).load(Relaxed))
            .filter(|raw| *raw != 0)
            .fold(0_u64, |sum, raw| {
                used = true;
                sum.wrapping_add(raw.wrapping_sub(GAUGE_ZERO))
            });
        // Shards are read one after the other: what was raised on one and lowered on another between
        // the reads may look negative for a moment.
        // A hash (`version`) may be any large number, a race is off by little.
        used.then_some(if sum > u64::MAX - u64::from(u32::MAX) { 0 } else { sum })
    }

    pub(crate) fn is_recorded(&self, histogram: Histogram) -> bool {
        self.storages().any(|storage| {
            storage
                .histograms
                .get(usize::from(histogram.0))
                .is_some_and(|one| one.get().is_some())
        })
    }

    pub(crate) fn distribution(&self, histogram: Histogram) -> Distribution {
        let mut merged = Distribution::default();
        for storage in self.storages() {
            if let Some(recorder) = storage.histograms.get(usize::from(histogram.0)).and_then(OnceLock::get) {
                recorder.merge_into(&mut merged);
            }
        }
        merged
    }

    pub(crate) fn interval(&self, histogram: Histogram) -> Distribution {
        let Some(flushed) = self.flushed.get() else {
            return Distribution::default();
        };
        let flushed = flushed.lock().unwrap_or_else(PoisonError::into_inner);
        flushed
            .get(usize::from(histogram.0))
            .cloned()
            .flatten()
            .map(|flushed| flushed.interval)
            .unwrap_or_default()
    }

    pub(crate) fn text(&self, text: Text) -> Option<Arc<str>> {
        let texts = self.texts.get()?.lock().unwrap_or_else(PoisonError::into_inner);
        texts.get(usize::from(text.0)).cloned()
    }

    /// Codes that were seen since the last reset, ascending.
    pub(crate) fn codes(&self, codes: Codes) -> impl Iterator<Item = (u16, u64)> {
        let bases = self.bases.get().map(|bases| {
            let bases = bases.lock().unwrap_or_else(PoisonError::into_inner);
            bases.codes.get(usize::from(codes.0)).cloned().unwrap_or_default()
        });
        self.counted_codes(codes).filter_map(move |(code, count)| {
            let base = bases
                .iter()
                .flatten()
                .find(|(known, _)| *known == code)
                .map_or(0, |(_, base)| *base);
            Some((code, count - base.min(count))).filter(|(_, count)| *count > 0)
        })
    }

    fn counted_codes(&self, codes: Codes) -> impl Iterator<Item = (u16, u64)> + use<> {
        let mut counts = vec![0_u64; CODE_PAGES * CODES_PER_PAGE];
        for pages in self
            .storages()
            .filter_map(|storage| storage.codes.get(usize::from(codes.0)))
        {
            for (page, counters) in pages
                .iter()
                .enumerate()
                .filter_map(|(at, page)| Some((at, page.get()?)))
            {
                for (slot, counter) in counters.iter().enumerate() {
                    counts[page * CODES_PER_PAGE + slot] += counter.load(Relaxed);
                }
            }
        }
        counts
            .into_iter()
            .enumerate()
            .filter(|(_, n)| *n > 0)
            .map(|(at, n)| (at as u16 + FIRST_CODE, n))
    }

    /// Closes the histograms' interval.
    pub(crate) fn flush(&self) {
        // Most blocks of a big mesh never record a value, and keep no room for any.
        if !self
            .storages()
            .any(|storage| storage.histograms.iter().any(|recorder| recorder.get().is_some()))
        {
            return;
        }
        let mut flushed = self
            .flushed
            .get_or_init(Box::default)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        flushed.resize(self.table.histograms.len(), None);
        for (index, slot) in flushed.iter_mut().enumerate() {
            let cumulative = self.distribution(Histogram(index as u16));
            if cumulative.is_empty() {
                continue;
            }
            let interval = slot
                .as_ref()
                .map_or_else(|| cumulative.clone(), |last| cumulative.since(&last.cumulative));
            *slot = Some(Flushed { cumulative, interval });
        }
    }

    fn storages(&self) -> impl Iterator<Item = &Storage> {
        self.shards.iter().filter_map(OnceLock::get).map(|storage| &**storage)
    }
}

/// A block as one shard writes it.
#[derive(Clone, Copy, Debug)]
pub struct Local<'a> {
    storage: &'a Storage,
    /// Several threads write this shard.
    shared: bool,
}

impl Local<'_> {
    /// Adds `n` to a counter.
    pub fn add(&self, counter: Counter, n: u64) {
        let value = self.storage.value(counter.0);
        if self.shared {
            value.fetch_add(n, Relaxed);
        } else {
            value.store(value.load(Relaxed).wrapping_add(n), Relaxed);
        }
    }

    /// Raises or lowers a gauge.
    pub fn gauge_add(&self, gauge: Gauge, n: i64) {
        let value = self.storage.value(gauge.0);
        let change = |raw: u64| (if raw == 0 { GAUGE_ZERO } else { raw }).wrapping_add_signed(n);
        if self.shared {
            // Cannot fail: the closure always returns a value.
            let _ = value.fetch_update(Relaxed, Relaxed, |raw| Some(change(raw)));
        } else {
            value.store(change(value.load(Relaxed)), Relaxed);
        }
    }

    /// Sets a gauge; see [`Block::set`].
    pub fn set(&self, gauge: Gauge, value: u64) {
        self.storage
            .value(gauge.0)
            .store(GAUGE_ZERO.wrapping_add(value), Relaxed);
    }

    /// Records a value in a histogram.
    pub fn record(&self, histogram: Histogram, value: u64) {
        if let Some(recorder) = self.storage.histograms.get(usize::from(histogram.0)) {
            recorder.get_or_init(Box::default).record(value, self.shared);
        }
    }

    /// Counts an HTTP status; what is not between 100 and 599 is not counted.
    pub fn count_code(&self, codes: Codes, status: u16) {
        let Some(offset) = status.checked_sub(FIRST_CODE).map(usize::from) else {
            return;
        };
        let Some(pages) = self.storage.codes.get(usize::from(codes.0)) else {
            return;
        };
        let Some(page) = pages.get(offset / CODES_PER_PAGE) else {
            return;
        };
        let page = page.get_or_init(|| Box::new([const { AtomicU64::new(0) }; CODES_PER_PAGE]));
        let value = &page[offset % CODES_PER_PAGE];
        if self.shared {
            value.fetch_add(1, Relaxed);
        } else {
            value.store(value.load(Relaxed) + 1, Relaxed);
        }
    }
}

impl Storage {
    fn new(table: &Table) -> Storage {
        let values = table.counters.len() + table.gauges.len();
        Storage {
            // At least one line, so that every index has a place to fall back to.
            values: (0..values.div_ceil(8).max(1)).map(|_| Line::default()).collect(),
            histograms: table.histograms.iter().map(|_| OnceLock::new()).collect(),
            codes: table.codes.iter().map(|_| Default::default()).collect(),
        }
    }

    fn value(&self, index: u16) -> &AtomicU64 {
        let (line, slot) = (usize::from(index) / 8, usize::from(index) % 8);
        // An index of another table is a mistake in remora itself: caught in tests, harmless elsewhere.
        debug_assert!(line < self.values.len(), "the statistic belongs to another table");
        &self.values[line.min(self.values.len() - 1)].0[slot]
    }
}
