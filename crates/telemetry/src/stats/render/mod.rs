//! `/stats` in Envoy's text, JSON and Prometheus forms (Envoy: Administration interface > GET /stats).

mod json;
mod labels;
mod prometheus;
mod query;
mod text;

pub use query::{Format, HistogramBuckets, Kinds, Query, QueryError, regex_fault};

use std::sync::Arc;

use super::block::Block;
use super::definition::{Codes, Counter, Gauge, Histogram, StatDef, Text};
use super::registry::Registry;
use super::settings::Settings;

impl Registry {
    /// What `/stats` answers to this query.
    pub fn render(&self, query: &Query) -> String {
        let mut out = String::new();
        let blocks = self.shown();
        match query.format {
            Format::Text => text::render(&blocks, self.settings(), query, &mut out),
            Format::Json => json::render(&blocks, self.settings(), query, &mut out),
            Format::Prometheus => prometheus::render(&blocks, self.settings(), query, &mut out),
        }
        out
    }
}

/// One statistic as it is shown.
struct Shown<'a> {
    name: String,
    block: &'a Arc<Block>,
    definition: &'static StatDef,
    /// The status, where the statistic counts one.
    code: Option<u16>,
    value: Value,
}

enum Value {
    Counter(u64),
    Gauge(u64),
    Text(Arc<str>),
    Histogram(Histogram),
}

/// Which of a block's kinds one pass of a rendering shows: Envoy lists texts, then numbers, then
/// histograms.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Texts,
    Counters,
    Gauges,
    Numbers,
    Histograms,
}

/// Calls `show` for each statistic of this pass that the query wants, in the order of their names.
fn in_order(blocks: &[Arc<Block>], pass: Pass, settings: &Settings, query: &Query, mut show: impl FnMut(Shown<'_>)) {
    let mut rest = blocks;
    let mut shown = Vec::new();
    while let Some(first) = rest.first() {
        // Blocks come sorted by prefix. Names of two of them interleave only where one prefix begins
        // with the other, and those follow each other: sorting such a group sorts everything.
        let prefix = &*first.prefix.text;
        let end = rest
            .iter()
            .position(|block| !block.prefix.text.starts_with(prefix))
            .unwrap_or(rest.len());
        let (group, others) = rest.split_at(end);
        for block in group {
            collect(block, pass, settings, query, &mut shown);
        }
        shown.sort_by(|a: &Shown<'_>, b| a.name.cmp(&b.name));
        shown.drain(..).for_each(&mut show);
        rest = others;
    }
}

fn collect<'a>(block: &'a Arc<Block>, pass: Pass, settings: &Settings, query: &Query, shown: &mut Vec<Shown<'a>>) {
    let mut push = |definition: &'static StatDef, code: Option<u16>, value: Value| {
        let mut name = String::with_capacity(block.prefix.text.len() + definition.name.len() + 3);
        name.push_str(&block.prefix.text);
        name.push_str(definition.name);
        if let Some(code) = code {
            name.push_str(itoa(code, &mut [0; 5]));
        }
        if query.wants(&name) && settings.shows(&name) {
            shown.push(Shown {
                name,
                block,
                definition,
                code,
                value,
            });
        }
    };
    let table = block.table;
    let hidden = |definition: &StatDef, used: bool| !used && (query.used_only || definition.when_used);
    if matches!(pass, Pass::Counters | Pass::Numbers) && query.kinds.counters() {
        for (index, definition) in table.counters.iter().enumerate() {
            let value = block.counter(Counter(index as u16));
            if !hidden(definition, value > 0) {
                push(definition, None, Value::Counter(value));
            }
        }
        for (index, definition) in table.codes.iter().enumerate() {
            for (code, value) in block.codes(Codes(index as u16)) {
                push(definition, Some(code), Value::Counter(value));
            }
        }
    }
    if matches!(pass, Pass::Gauges | Pass::Numbers) && query.kinds.gauges() {
        for (index, definition) in table.gauges.iter().enumerate() {
            let value = block.gauge_if_used(Gauge((table.counters.len() + index) as u16));
            if !hidden(definition, value.is_some()) {
                push(definition, None, Value::Gauge(value.unwrap_or(0)));
            }
        }
    }
    if pass == Pass::Texts && query.kinds.texts() {
        for (index, definition) in table.texts.iter().enumerate() {
            let value = block.text(Text(index as u16));
            if !hidden(definition, value.is_some()) {
                push(definition, None, Value::Text(value.unwrap_or_else(|| Arc::from(""))));
            }
        }
    }
    if pass == Pass::Histograms && query.kinds.histograms() {
        for (index, definition) in table.histograms.iter().enumerate() {
            let histogram = Histogram(index as u16);
            if !hidden(definition, block.is_recorded(histogram)) {
                push(definition, None, Value::Histogram(histogram));
            }
        }
    }
}

/// A small number in digits, without allocating.
fn itoa(mut number: u16, digits: &mut [u8; 5]) -> &str {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    std::str::from_utf8(&digits[at..]).unwrap_or_default()
}

#[cfg(test)]
mod tests;
