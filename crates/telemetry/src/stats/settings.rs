//! What operators choose about statistics (`envoy.config.metrics.v3.StatsConfig`): which there are, how Prometheus
//! labels them, and in which buckets histograms are shown. All of it acts where statistics are shown; counting is the
//! same with and without.

use std::borrow::Cow;
use std::fmt;

use regex::Regex;

use super::histogram::DEFAULT_BOUNDS;

/// Whether something applies to the statistic of this name.
pub type NamePredicate = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// What operators choose about statistics.
#[derive(Default)]
pub struct Settings {
    /// Which statistics are shown; all without it (`stats_matcher`).
    pub shown: Option<NamePredicate>,
    /// Labels beside the default ones, in the order of the configuration (`stats_tags`).
    pub tags: Vec<Tag>,
    /// The default labels that stay, where not all do (`use_all_default_tags: false`).
    pub default_tags: Option<Vec<Box<str>>>,
    /// Upper bounds of the buckets of histograms, the first that applies (`histogram_bucket_settings`).
    pub buckets: Vec<(NamePredicate, Box<[f64]>)>,
}

/// A label of our operator.
#[derive(Debug, Clone)]
pub struct Tag {
    /// The label's name.
    pub name: Box<str>,
    /// Where its value comes from.
    pub value: TagValue,
}

/// Where the value of a label comes from.
#[derive(Debug, Clone)]
pub enum TagValue {
    /// The same for every statistic.
    Fixed(Box<str>),
    /// From the name: what the first group matches is taken out of it, what the second matches (or the first, where
    /// there is no second) is the value.
    Name(Regex),
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("shown", &self.shown.is_some())
            .field("tags", &self.tags)
            .field("default_tags", &self.default_tags)
            .field("buckets", &self.buckets.len())
            .finish()
    }
}

impl Settings {
    pub(super) fn shows(&self, name: &str) -> bool {
        self.shown.as_ref().is_none_or(|shown| shown(name))
    }

    pub(super) fn bounds(&self, name: &str) -> &[f64] {
        self.buckets
            .iter()
            .find(|(applies, _)| applies(name))
            .map_or(&DEFAULT_BOUNDS, |(_, bounds)| bounds)
    }

    /// Whether names and labels are the default ones.
    pub(super) fn has_default_tags(&self) -> bool {
        self.tags.is_empty() && self.default_tags.is_none()
    }

    pub(super) fn keeps_default(&self, label: &str) -> bool {
        self.default_tags
            .as_ref()
            .is_none_or(|kept| kept.iter().any(|name| label_name(name) == label))
    }
}

impl Tag {
    /// Whether the expression begins with `^` and a word: Envoy writes such labels behind the default ones.
    pub(super) fn has_prefix(&self) -> bool {
        match &self.value {
            TagValue::Fixed(_) => false,
            TagValue::Name(regex) => regex.as_str().strip_prefix('^').is_some_and(|rest| {
                let word = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
                word > 0 && rest[word..].starts_with("\\.")
            }),
        }
    }
}

/// A tag's name as a label: Prometheus has letters, digits and underscores.
pub(super) fn label_name(name: &str) -> Cow<'_, str> {
    let fits = |character: char| character.is_ascii_alphanumeric() || character == '_';
    if name.chars().all(fits) {
        name.into()
    } else {
        name.replace(|character| !fits(character), "_").into()
    }
}
