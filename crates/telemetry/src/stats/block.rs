//! A block: the statistics of one table under one prefix, counted per thread, merged on reading.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock, PoisonError};

use super::definition::{Codes, Counter, Gauge, Histogram, Table, Text};
use super::histogram::Distribution;
use super::scope::Prefix;
use super::storage::{
    CODE_PAGES, CODES_PER_PAGE, Control, Distributions, FIRST_CODE, Flushed, GAUGE_ZERO, Kept, Local, Own, Written,
};

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

/// The statistics of one table under one prefix. Handles are resolved once, when configuration is
/// compiled; nothing is looked up by name afterwards. Until its first write a block is a prefix and two
/// empty pointers.
#[derive(Debug)]
pub struct Block {
    pub(crate) prefix: Arc<Prefix>,
    pub(crate) table: &'static Table,
    /// How many workers have shards.
    worker_count: u16,
    control: OnceLock<Box<Control>>,
    workers: OnceLock<Box<[OnceLock<Box<Own>>]>>,
}

impl Block {
    pub(crate) fn new(prefix: Arc<Prefix>, table: &'static Table, workers: u16) -> Block {
        Block {
            prefix,
            table,
            worker_count: workers,
            control: OnceLock::new(),
            workers: OnceLock::new(),
        }
    }

    /// The text that precedes every name of this block, its dot included.
    pub fn prefix(&self) -> &str {
        &self.prefix.text
    }

    /// This block as one shard writes it. Take it once for several counts.
    pub fn local(&self, shard: Shard) -> Local<'_> {
        // A shard the registry was not made for counts with the control threads: right, only dearer.
        if shard == Shard::CONTROL || shard.0 > self.worker_count {
            return Local(Written::Shared(self.control(), self.table));
        }
        let workers = self
            .workers
            .get_or_init(|| (0..self.worker_count).map(|_| OnceLock::new()).collect());
        let own = &workers[usize::from(shard.0) - 1];
        Local(Written::Own(own.get_or_init(|| Box::new(Own::new(self.table)))))
    }

    fn control(&self) -> &Control {
        self.control.get_or_init(Box::default)
    }

    fn kept(&self) -> Option<&Kept> {
        self.control.get()?.kept.get().map(|kept| &**kept)
    }

    fn kept_from_now_on(&self) -> &Kept {
        self.control().kept.get_or_init(Box::default)
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
        let mut texts = self.control().texts.lock().unwrap_or_else(PoisonError::into_inner);
        if texts.is_empty() {
            *texts = vec![Arc::default(); self.table.texts.len()].into();
        }
        if let Some(slot) = texts.get_mut(usize::from(text.0)) {
            *slot = Arc::from(value);
        }
    }

    /// The counter's value, all shards together, since it was last reset.
    pub fn counter(&self, counter: Counter) -> u64 {
        let base = self.kept().map_or(0, |kept| {
            let bases = kept.bases.lock().unwrap_or_else(PoisonError::into_inner);
            bases.counters.get(usize::from(counter.0)).copied().unwrap_or(0)
        });
        self.counted(counter).wrapping_sub(base)
    }

    fn counted(&self, counter: Counter) -> u64 {
        self.written()
            .filter_map(|written| written.value(counter.0))
            .map(|value| value.load(Relaxed))
            .fold(0, u64::wrapping_add)
    }

    /// Lets every counter show 0. Gauges and histograms are not touched (Envoy: POST /reset_counters).
    pub(crate) fn reset_counters(&self) {
        if self.written().next().is_none() {
            return;
        }
        let bases = &self.kept_from_now_on().bases;
        let mut bases = bases.lock().unwrap_or_else(PoisonError::into_inner);
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
            .written()
            .filter_map(|written| written.value(gauge.0))
            .map(|value| value.load(Relaxed))
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
        self.distributions().any(|distributions| {
            distributions
                .histograms
                .get(usize::from(histogram.0))
                .is_some_and(|one| one.get().is_some())
        })
    }

    pub(crate) fn distribution(&self, histogram: Histogram) -> Distribution {
        let mut merged = Distribution::default();
        for distributions in self.distributions() {
            if let Some(recorder) = distributions
                .histograms
                .get(usize::from(histogram.0))
                .and_then(OnceLock::get)
            {
                recorder.merge_into(&mut merged);
            }
        }
        merged
    }

    pub(crate) fn interval(&self, histogram: Histogram) -> Distribution {
        let Some(kept) = self.kept() else {
            return Distribution::default();
        };
        let flushed = kept.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        flushed
            .get(usize::from(histogram.0))
            .cloned()
            .flatten()
            .map(|flushed| flushed.interval)
            .unwrap_or_default()
    }

    pub(crate) fn text(&self, text: Text) -> Option<Arc<str>> {
        let texts = &self.control.get()?.texts;
        let texts = texts.lock().unwrap_or_else(PoisonError::into_inner);
        texts.get(usize::from(text.0)).cloned()
    }

    /// Codes that were seen since the last reset, ascending.
    pub(crate) fn codes(&self, codes: Codes) -> impl Iterator<Item = (u16, u64)> {
        let bases = self.kept().map(|kept| {
            let bases = kept.bases.lock().unwrap_or_else(PoisonError::into_inner);
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
            .distributions()
            .filter_map(|distributions| distributions.codes.get(usize::from(codes.0)))
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
            .distributions()
            .any(|distributions| distributions.histograms.iter().any(|recorder| recorder.get().is_some()))
        {
            return;
        }
        let flushed = &self.kept_from_now_on().flushed;
        let mut flushed = flushed.lock().unwrap_or_else(PoisonError::into_inner);
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

    #[cfg(test)]
    pub(crate) fn has_no_worker_shards(&self) -> bool {
        self.workers.get().is_none()
    }

    /// What the shards that were written to hold.
    fn written(&self) -> impl Iterator<Item = Written<'_>> {
        let control = self.control.get().into_iter();
        let shared = control.map(|control| Written::Shared(control, self.table));
        let workers = self.workers.get().into_iter().flatten();
        shared.chain(workers.filter_map(OnceLock::get).map(|own| Written::Own(own)))
    }

    fn distributions(&self) -> impl Iterator<Item = &Distributions> {
        self.written().filter_map(|written| match written {
            Written::Own(own) => Some(&own.distributions),
            Written::Shared(control, _) => control.distributions.get().map(|distributions| &**distributions),
        })
    }
}
