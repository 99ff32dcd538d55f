//! `{"stats": [...]}`: numbers and texts by name, then all histograms in one object.

use std::fmt::Write;
use std::sync::Arc;

use super::{HistogramBuckets, Pass, Query, Value, in_order};
use crate::json::write_string;
use crate::stats::block::Block;
use crate::stats::histogram::{Distribution, PERCENTILES};
use crate::stats::settings::Settings;

pub(super) fn render(blocks: &[Arc<Block>], settings: &Settings, query: &Query, out: &mut String) {
    out.push_str("{\"stats\":[");
    let mut separator = "";
    for pass in [Pass::Texts, Pass::Numbers] {
        in_order(blocks, pass, settings, query, |shown| {
            out.push_str(separator);
            separator = ",";
            out.push_str("{\"name\":");
            write_string(&shown.name, out);
            out.push_str(",\"value\":");
            // Writing to a String cannot fail, here and below.
            let _ = match &shown.value {
                Value::Counter(value) | Value::Gauge(value) => write!(out, "{value}"),
                Value::Text(value) => {
                    write_string(value, out);
                    Ok(())
                }
                Value::Histogram(_) => Ok(()),
            };
            out.push('}');
        });
    }
    histograms(blocks, settings, query, separator, out);
    out.push_str("]}");
}

fn histograms(blocks: &[Arc<Block>], settings: &Settings, query: &Query, separator: &str, out: &mut String) {
    let percentiles = PERCENTILES.map(|(_, percentile)| percentile).join(",");
    let (open, close) = match query.histogram_buckets {
        HistogramBuckets::Unset | HistogramBuckets::Summary => (
            format!("{{\"histograms\":{{\"supported_quantiles\":[{percentiles}],\"computed_quantiles\":["),
            "]}}",
        ),
        HistogramBuckets::Cumulative | HistogramBuckets::Disjoint => ("{\"histograms\":[".into(), "]}"),
        HistogramBuckets::Detailed => (
            format!("{{\"histograms\":{{\"supported_percentiles\":[{percentiles}],\"details\":["),
            "]}}",
        ),
    };
    let mut any = false;
    in_order(blocks, Pass::Histograms, settings, query, |shown| {
        let Value::Histogram(histogram) = shown.value else {
            return;
        };
        if any {
            out.push(',');
        } else {
            out.push_str(separator);
            out.push_str(&open);
            any = true;
        }
        out.push_str("{\"name\":");
        write_string(&shown.name, out);
        let (cumulative, interval) = (shown.block.distribution(histogram), shown.block.interval(histogram));
        match query.histogram_buckets {
            HistogramBuckets::Unset | HistogramBuckets::Summary => {
                out.push_str(",\"values\":");
                summary(&cumulative, &interval, out);
            }
            HistogramBuckets::Cumulative => buckets(&cumulative, &interval, settings.bounds(&shown.name), false, out),
            HistogramBuckets::Disjoint => buckets(&cumulative, &interval, settings.bounds(&shown.name), true, out),
            HistogramBuckets::Detailed => {
                bins("totals", &cumulative, out);
                bins("intervals", &interval, out);
                out.push_str(",\"percentiles\":");
                summary(&cumulative, &interval, out);
            }
        }
        out.push('}');
    });
    if any {
        out.push_str(close);
    }
}

fn summary(cumulative: &Distribution, interval: &Distribution, out: &mut String) {
    let (all, recent) = (cumulative.percentiles(), interval.percentiles());
    let value = |percentiles: &Option<[f64; PERCENTILES.len()]>, index: usize| {
        percentiles
            .as_ref()
            .map_or_else(|| "null".to_owned(), |values| values[index].to_string())
    };
    out.push('[');
    for index in 0..PERCENTILES.len() {
        let separator = if index == 0 { "" } else { "," };
        let (all, recent) = (value(&all, index), value(&recent, index));
        let _ = write!(out, "{separator}{{\"cumulative\":{all},\"interval\":{recent}}}");
    }
    out.push(']');
}

fn buckets(cumulative: &Distribution, interval: &Distribution, bounds: &[f64], disjoint: bool, out: &mut String) {
    out.push_str(",\"buckets\":[");
    let (mut recent_before, mut all_before) = (0, 0);
    for (index, bound) in bounds.iter().enumerate() {
        let separator = if index == 0 { "" } else { "," };
        let (recent, all) = (interval.count_to(*bound), cumulative.count_to(*bound));
        let (shown_recent, shown_all) = (recent - recent_before, all - all_before);
        let _ = write!(
            out,
            "{separator}{{\"upper_bound\":{bound},\"interval\":{shown_recent},\"cumulative\":{shown_all}}}"
        );
        if disjoint {
            (recent_before, all_before) = (recent, all);
        }
    }
    out.push(']');
}

fn bins(name: &str, distribution: &Distribution, out: &mut String) {
    let _ = write!(out, ",\"{name}\":[");
    for (index, (lower, width, count)) in distribution.bins().enumerate() {
        let separator = if index == 0 { "" } else { "," };
        let _ = write!(
            out,
            "{separator}{{\"lower_bound\":{lower},\"width\":{width},\"count\":{count}}}"
        );
    }
    out.push(']');
}
