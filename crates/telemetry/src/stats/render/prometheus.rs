//! The Prometheus text exposition format, with Envoy's names: `envoy_` before the name without its
//! variable parts, which become labels.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::labels::tagged;
use super::{HistogramBuckets, Pass, Query, Shown, Value, collect};
use crate::stats::block::Block;
use crate::stats::histogram::PERCENTILES;
use crate::stats::settings::Settings;

pub(super) fn render(blocks: &[Arc<Block>], settings: &Settings, query: &Query, out: &mut String) {
    let summaries = query.histogram_buckets == HistogramBuckets::Summary;
    for (pass, kind) in [
        (Pass::Counters, "counter"),
        (Pass::Gauges, "gauge"),
        (Pass::Texts, "gauge"),
        (Pass::Histograms, if summaries { "summary" } else { "histogram" }),
    ] {
        if pass == Pass::Texts && !query.text_readouts {
            continue;
        }
        for (metric, entries) in by_metric(blocks, pass, settings, query) {
            let metric = sanitise(&metric);
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(out, "# TYPE {metric} {kind}");
            for shown in entries {
                sample(&metric, &shown, settings, summaries, out);
            }
        }
    }
}

/// Statistics by their dotted metric name: the order Envoy writes them in.
fn by_metric<'a>(
    blocks: &'a [Arc<Block>],
    pass: Pass,
    settings: &Settings,
    query: &Query,
) -> BTreeMap<String, Vec<Shown<'a>>> {
    let mut metrics: BTreeMap<String, Vec<Shown<'a>>> = BTreeMap::new();
    let mut shown = Vec::new();
    let mut metric = String::new();
    for block in blocks {
        collect(block, pass, settings, query, &mut shown);
        for entry in shown.drain(..) {
            metric.clear();
            if settings.has_default_tags() {
                metric.push_str(&block.prefix.metric);
                metric.push_str(match entry.code {
                    // `upstream_rq_` counts codes; the code becomes a label.
                    Some(_) => entry.definition.metric.trim_end_matches('_'),
                    None => entry.definition.metric,
                });
            } else {
                metric = tagged(&entry, settings).0;
            }
            match metrics.get_mut(&metric) {
                Some(entries) => entries.push(entry),
                None => {
                    metrics.insert(metric.clone(), vec![entry]);
                }
            }
        }
    }
    metrics
}

fn sample(metric: &str, shown: &Shown<'_>, settings: &Settings, summaries: bool, out: &mut String) {
    let labels = labels(shown, settings);
    let _ = match &shown.value {
        Value::Counter(value) | Value::Gauge(value) => writeln!(out, "{metric}{{{labels}}} {value}"),
        Value::Text(value) => {
            let separator = if labels.is_empty() { "" } else { "," };
            writeln!(out, "{metric}{{{labels}{separator}text_value=\"{}\"}} 0", escape(value))
        }
        Value::Histogram(histogram) => {
            let separator = if labels.is_empty() { "" } else { "," };
            // Envoy's summaries are those of the last interval, its buckets are cumulative.
            let distribution = if summaries {
                shown.block.interval(*histogram)
            } else {
                shown.block.distribution(*histogram)
            };
            let (sum, count) = (distribution.sum(), distribution.count());
            if summaries {
                let values = distribution.percentiles();
                for (index, (quantile, _)) in PERCENTILES.iter().enumerate() {
                    let value = values.map_or_else(|| "nan".to_owned(), |values| values[index].to_string());
                    let _ = writeln!(out, "{metric}{{{labels}{separator}quantile=\"{quantile}\"}} {value}");
                }
            } else {
                for bound in settings.bounds(&shown.name) {
                    let below = distribution.count_to(*bound);
                    let _ = writeln!(out, "{metric}_bucket{{{labels}{separator}le=\"{bound}\"}} {below}");
                }
                let _ = writeln!(out, "{metric}_bucket{{{labels}{separator}le=\"+Inf\"}} {count}");
            }
            let _ = writeln!(out, "{metric}_sum{{{labels}}} {sum}");
            writeln!(out, "{metric}_count{{{labels}}} {count}")
        }
    };
}

/// The statistic's own label first, then those of its prefix.
fn labels(shown: &Shown<'_>, settings: &Settings) -> String {
    let mut labels = String::new();
    let mut push = |name: &str, value: &str| {
        let separator = if labels.is_empty() { "" } else { "," };
        let _ = write!(labels, "{separator}{name}=\"{}\"", escape(value));
    };
    if !settings.has_default_tags() {
        for (name, value) in tagged(shown, settings).1 {
            push(&name, &value);
        }
        return labels;
    }
    if let Some(code) = shown.code {
        push("envoy_response_code", super::itoa(code, &mut [0; 5]));
    }
    if let Some((name, value)) = shown.definition.tag {
        push(name, value);
    }
    for (name, value) in shown.block.prefix.tags() {
        push(name, value);
    }
    labels
}

/// Exposition format: backslash, quote and line feed are escaped in label values.
fn escape(value: &str) -> std::borrow::Cow<'_, str> {
    if value.contains(['\\', '"', '\n']) {
        value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
            .into()
    } else {
        value.into()
    }
}

/// A metric name has letters, digits and underscores; everything else becomes an underscore.
fn sanitise(metric: &str) -> String {
    let mut name = String::with_capacity(metric.len() + 6);
    name.push_str("envoy_");
    name.extend(metric.chars().map(|character| {
        if character.is_ascii_alphanumeric() {
            character
        } else {
            '_'
        }
    }));
    name
}
