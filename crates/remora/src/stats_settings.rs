//! What the bootstrap and `--stats-tag` say about statistics, as `telemetry` takes it.

use config::bootstrap::{HistogramBuckets, StatsMatcher, StatsSettings, TagValue as ConfiguredValue};
use config::string_matcher::StringMatcher;
use telemetry::stats::{NamePredicate, Settings, Tag, TagValue};

/// The settings. `fixed` are the labels of the command line, which come first, as in Envoy.
pub(crate) fn of(configured: &StatsSettings, fixed: &[(String, String)]) -> Settings {
    let mut tags: Vec<Tag> = fixed
        .iter()
        .map(|(name, value)| Tag {
            name: name.as_str().into(),
            value: TagValue::Fixed(value.as_str().into()),
        })
        .collect();
    let mut named_defaults = Vec::new();
    for tag in &configured.tags {
        let value = match &tag.value {
            ConfiguredValue::Default => {
                named_defaults.push(Box::from(&*tag.name));
                continue;
            }
            ConfiguredValue::Fixed(value) => TagValue::Fixed(Box::from(&**value)),
            ConfiguredValue::Regex(expression) => match regex::Regex::new(expression.source()) {
                Ok(expression) => TagValue::Name(expression),
                // It was compiled when the bootstrap was read, then for bytes: what differs is only characters
                // beyond ASCII, of which names have none.
                Err(error) => {
                    tracing::warn!(target: "config", tag = %tag.name, %error, "a stats tag is left out");
                    continue;
                }
            },
        };
        tags.push(Tag {
            name: Box::from(&*tag.name),
            value,
        });
    }
    Settings {
        shown: configured.matcher.clone().map(shown),
        tags,
        default_tags: (!configured.use_all_default_tags).then_some(named_defaults),
        buckets: configured.histogram_buckets.iter().map(buckets).collect(),
    }
}

fn shown(matcher: StatsMatcher) -> NamePredicate {
    match matcher {
        StatsMatcher::RejectAll => Box::new(|_| false),
        StatsMatcher::Exclude(patterns) => Box::new(move |name| !any(&patterns, name)),
        StatsMatcher::Include(patterns) => Box::new(move |name| any(&patterns, name)),
    }
}

fn any(patterns: &[StringMatcher], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name.as_bytes()))
}

fn buckets(configured: &HistogramBuckets) -> (NamePredicate, Box<[f64]>) {
    let matcher = configured.matcher.clone();
    (
        Box::new(move |name| matcher.matches(name.as_bytes())),
        configured.limits.as_slice().into(),
    )
}
