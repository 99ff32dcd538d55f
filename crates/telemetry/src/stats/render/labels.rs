//! Metric names and labels where operators have chosen some (`stats_tags`): they come from the statistic's whole name,
//! and what several of them take out of it is taken out together, as Envoy does.

use super::Shown;
use crate::stats::settings::{Settings, Tag, TagValue, label_name};

/// The metric's name with dots and its labels, in the order in which Envoy writes them.
pub(super) fn tagged(shown: &Shown<'_>, settings: &Settings) -> (String, Vec<(String, String)>) {
    let name = shown.name.as_str();
    let mut kept = vec![true; name.len()];
    let mut labels = Vec::new();
    of_definition(shown, settings, &mut kept, &mut labels);
    for tag in &settings.tags {
        if let TagValue::Fixed(value) = &tag.value {
            labels.push((label_name(&tag.name).into_owned(), value.to_string()));
        }
    }
    of_names(settings, false, name, &mut kept, &mut labels);
    of_prefix(shown, settings, &mut kept, &mut labels);
    of_names(settings, true, name, &mut kept, &mut labels);
    let metric = name
        .char_indices()
        .filter(|(at, _)| kept[*at])
        .map(|(_, character)| character)
        .collect();
    (metric, labels)
}

/// The label that stands for a status or its class.
fn of_definition(shown: &Shown<'_>, settings: &Settings, kept: &mut [bool], labels: &mut Vec<(String, String)>) {
    let start = shown.block.prefix.text.len();
    if let Some(code) = shown.code {
        const LABEL: &str = "envoy_response_code";
        if settings.keeps_default(LABEL) {
            labels.push((LABEL.to_owned(), code.to_string()));
            // The underscore before the code belongs to it.
            take_out(
                kept,
                start + shown.definition.metric.trim_end_matches('_').len(),
                shown.name.len(),
            );
        }
    } else if let Some((label, value)) = shown.definition.tag
        && settings.keeps_default(label)
    {
        labels.push((label.to_owned(), value.to_owned()));
        let (name, metric) = (shown.definition.name.as_bytes(), shown.definition.metric.as_bytes());
        let common = name.iter().zip(metric).take_while(|(a, b)| a == b).count();
        let behind = metric.len() - common;
        take_out(kept, start + common, start + name.len() - behind);
    }
}

/// The labels that the prefix's variable parts have become.
fn of_prefix(shown: &Shown<'_>, settings: &Settings, kept: &mut [bool], labels: &mut Vec<(String, String)>) {
    let text = &*shown.block.prefix.text;
    for (label, value) in shown.block.prefix.tags() {
        if !settings.keeps_default(label) {
            continue;
        }
        labels.push((label.to_owned(), value.to_owned()));
        if label == "envoy_worker_id" {
            // The number goes with its underscore, the dot stays.
            if let Some(at) = text.find(&format!("worker_{value}.")) {
                let number = at + "worker".len();
                take_out(kept, number, number + 1 + value.len());
            }
            continue;
        }
        let part = format!("{value}.");
        let whole = text
            .match_indices(&part)
            .map(|(at, _)| at)
            .find(|at| *at == 0 || text.as_bytes()[at - 1] == b'.');
        if let Some(at) = whole {
            take_out(kept, at, at + part.len());
        }
    }
}

fn of_names(settings: &Settings, prefixed: bool, name: &str, kept: &mut [bool], labels: &mut Vec<(String, String)>) {
    for tag in settings.tags.iter().filter(|tag| tag.has_prefix() == prefixed) {
        if let Some((removed, value)) = extract(tag, name) {
            take_out(kept, removed.start, removed.end);
            labels.push((label_name(&tag.name).into_owned(), value.to_owned()));
        }
    }
}

fn extract<'n>(tag: &Tag, name: &'n str) -> Option<(std::ops::Range<usize>, &'n str)> {
    let TagValue::Name(regex) = &tag.value else { return None };
    let found = regex.captures(name)?;
    let removed = found.get(1)?;
    let value = found.get(2).unwrap_or(removed);
    Some((removed.range(), value.as_str()))
}

fn take_out(kept: &mut [bool], start: usize, end: usize) {
    if let Some(range) = kept.get_mut(start..end) {
        range.fill(false);
    }
}
