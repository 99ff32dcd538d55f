//! `name: value` lines.

use std::fmt::Write;
use std::sync::Arc;

use super::{HistogramBuckets, Pass, Query, Shown, Value, in_order};
use crate::stats::block::Block;
use crate::stats::histogram::{Distribution, PERCENTILES};
use crate::stats::settings::Settings;

pub(super) fn render(blocks: &[Arc<Block>], settings: &Settings, query: &Query, out: &mut String) {
    for pass in [Pass::Texts, Pass::Numbers, Pass::Histograms] {
        in_order(blocks, pass, settings, query, |shown| {
            line(&shown, settings, query, out)
        });
    }
}

fn line(shown: &Shown<'_>, settings: &Settings, query: &Query, out: &mut String) {
    let Shown { name, block, value, .. } = shown;
    // Writing to a String cannot fail, here and below.
    let _ = match value {
        Value::Counter(value) | Value::Gauge(value) => writeln!(out, "{name}: {value}"),
        Value::Text(value) => writeln!(out, "{name}: \"{value}\""),
        Value::Histogram(histogram) => {
            let (cumulative, interval) = (block.distribution(*histogram), block.interval(*histogram));
            out.push_str(name);
            out.push(':');
            match query.histogram_buckets {
                HistogramBuckets::Unset | HistogramBuckets::Summary => {
                    out.push(' ');
                    summary(&cumulative, &interval, out);
                }
                HistogramBuckets::Cumulative => buckets(&cumulative, &interval, settings.bounds(name), false, out),
                HistogramBuckets::Disjoint => buckets(&cumulative, &interval, settings.bounds(name), true, out),
                HistogramBuckets::Detailed => {
                    out.push_str("\n  totals=");
                    bins(&cumulative, out);
                    out.push_str("\n  intervals=");
                    bins(&interval, out);
                    out.push_str("\n  summary=");
                    summary(&cumulative, &interval, out);
                }
            }
            out.push('\n');
            Ok(())
        }
    };
}

/// `P50(interval,cumulative)` for each percentile.
fn summary(cumulative: &Distribution, interval: &Distribution, out: &mut String) {
    let Some(all) = cumulative.percentiles() else {
        out.push_str("No recorded values");
        return;
    };
    let recent = interval.percentiles();
    for (index, (_, percentile)) in PERCENTILES.iter().enumerate() {
        let separator = if index == 0 { "" } else { " " };
        let _ = match &recent {
            Some(recent) => write!(out, "{separator}P{percentile}({},{})", recent[index], all[index]),
            None => write!(out, "{separator}P{percentile}(nan,{})", all[index]),
        };
    }
}

/// ` B5(interval,cumulative)` for each bucket.
fn buckets(cumulative: &Distribution, interval: &Distribution, bounds: &[f64], disjoint: bool, out: &mut String) {
    let (mut recent_before, mut all_before) = (0, 0);
    for bound in bounds {
        let (recent, all) = (interval.count_to(*bound), cumulative.count_to(*bound));
        let _ = write!(
            out,
            " B{}({},{})",
            short(*bound),
            recent - recent_before,
            all - all_before
        );
        if disjoint {
            (recent_before, all_before) = (recent, all);
        }
    }
}

/// `lower,width:count` for each bin in use.
fn bins(distribution: &Distribution, out: &mut String) {
    for (index, (lower, width, count)) in distribution.bins().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        let _ = write!(out, "{separator}{},{}:{count}", short(lower), short(width));
    }
}

/// A number as C's `%g` writes it: six significant digits, an exponent from a million on.
fn short(number: f64) -> String {
    if number.abs() < 1e6 {
        return number.to_string();
    }
    let scientific = format!("{number:.5e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
    format!("{mantissa}e+{exponent:0>2}")
}
