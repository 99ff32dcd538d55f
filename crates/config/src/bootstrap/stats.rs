//! Settings of the statistics (`envoy.config.metrics.v3.StatsConfig`).

use std::sync::Arc;
use std::time::Duration;

use xds_api::envoy::config::bootstrap::v3 as pb;
use xds_api::envoy::config::metrics::v3 as metrics;
use xds_api::envoy::r#type::matcher::v3 as matcher;

use crate::context::Context;
use crate::regex::Regex;
use crate::rejected::Reported;
use crate::scalars::bool_or;
use crate::shared_str::shared;
use crate::string_matcher::StringMatcher;

/// Settings of the statistics.
#[derive(Debug, Clone)]
pub struct StatsSettings {
    /// How often histograms take in what was recorded.
    pub flush_interval: Duration,
    /// Whether they take it in when the admin endpoint is asked, and not at an interval.
    pub flush_on_admin: bool,
    /// Tags beside the default ones.
    pub tags: Vec<TagSpecifier>,
    /// Whether Envoy's default tags are taken out of the names.
    pub use_all_default_tags: bool,
    /// Which statistics there are; all when none.
    pub matcher: Option<StatsMatcher>,
    /// Bucket limits of histograms by name, the first that matches.
    pub histogram_buckets: Vec<HistogramBuckets>,
}

/// A tag that is taken out of a statistic's name, or added to all.
#[derive(Debug, Clone)]
pub struct TagSpecifier {
    /// The tag's name.
    pub name: Arc<str>,
    /// Its value.
    pub value: TagValue,
}

/// Where a tag's value comes from.
#[derive(Debug, Clone)]
pub enum TagValue {
    /// The default tag of that name.
    Default,
    /// What the expression's second group matches in the name; what the first matches is taken out of it.
    Regex(Regex),
    /// Always this.
    Fixed(Arc<str>),
}

/// Which statistics there are.
#[derive(Debug, Clone)]
pub enum StatsMatcher {
    /// None.
    RejectAll,
    /// All but these.
    Exclude(Vec<StringMatcher>),
    /// Only these.
    Include(Vec<StringMatcher>),
}

/// Bucket limits of some histograms.
#[derive(Debug, Clone)]
pub struct HistogramBuckets {
    /// Which histograms.
    pub matcher: StringMatcher,
    /// The limits, rising.
    pub limits: Vec<f64>,
}

impl StatsSettings {
    pub(super) fn parse(context: &mut Context<'_>, message: &pb::Bootstrap) -> Result<Self, Reported> {
        let interval = context.duration("stats_flush_interval", message.stats_flush_interval.as_ref());
        let interval = interval.and_then(|interval| match interval {
            Some(interval) if interval < Duration::from_millis(1) || interval >= Duration::from_secs(300) => {
                let found = format!("is {interval:?}, expected at least 1 ms and less than 300 s");
                Err(context.reject_field("stats_flush_interval", found))
            }
            interval => Ok(interval.unwrap_or(Self::DEFAULT_FLUSH_INTERVAL)),
        });
        let flush_on_admin = match message.stats_flush {
            Some(pb::bootstrap::StatsFlush::StatsFlushOnAdmin(on)) => {
                if !on {
                    context.reject_field("stats_flush_on_admin", "is false, expected true or nothing");
                }
                on
            }
            None => false,
        };
        let config = context.optional("stats_config", message.stats_config.as_ref(), parse_config);
        let (interval, config) = (interval?, config?);
        let settings = config.unwrap_or_else(|| Self {
            flush_interval: interval,
            flush_on_admin,
            tags: Vec::new(),
            use_all_default_tags: true,
            matcher: None,
            histogram_buckets: Vec::new(),
        });
        Ok(Self {
            flush_interval: interval,
            flush_on_admin,
            ..settings
        })
    }
}

fn parse_config(context: &mut Context<'_>, message: &metrics::StatsConfig) -> Result<StatsSettings, Reported> {
    context.check(message);
    let tags: Result<Vec<_>, _> = context.each("stats_tags", &message.stats_tags, parse_tag);
    let matcher = context.optional("stats_matcher", message.stats_matcher.as_ref(), parse_matcher);
    let buckets = context.each(
        "histogram_bucket_settings",
        &message.histogram_bucket_settings,
        parse_buckets,
    );
    Ok(StatsSettings {
        flush_interval: StatsSettings::DEFAULT_FLUSH_INTERVAL,
        flush_on_admin: false,
        tags: tags?.into_iter().flatten().collect(),
        use_all_default_tags: bool_or(message.use_all_default_tags.as_ref(), true),
        matcher: matcher?,
        histogram_buckets: buckets?,
    })
}

/// What only expressions begin that no linear matcher has.
const LOOKS_AROUND: [&str; 4] = ["(?=", "(?!", "(?<=", "(?<!"];

/// `None` for a tag that cannot be told by an expression of ours.
fn parse_tag(context: &mut Context<'_>, message: &metrics::TagSpecifier) -> Result<Option<TagSpecifier>, Reported> {
    use metrics::tag_specifier::TagValue as Value;
    context.check(message);
    let name = context.text("tag_name", &message.tag_name);
    let value = match &message.tag_value {
        None => Ok(TagValue::Default),
        Some(Value::FixedValue(value)) => Ok(TagValue::Fixed(shared(value))),
        // As in Envoy an empty expression means the default tag.
        Some(Value::Regex(source)) if source.is_empty() => Ok(TagValue::Default),
        // Envoy reads these expressions, and no others, as ECMAScript; Istio's bootstrap has one that looks ahead.
        Some(Value::Regex(source)) if LOOKS_AROUND.iter().any(|sign| source.contains(sign)) => {
            context.without_effect(
                "regex",
                "expressions do not look around: the statistics keep their full names",
            );
            return Ok(None);
        }
        Some(Value::Regex(source)) => Regex::new(source)
            .map(TagValue::Regex)
            .map_err(|reason| context.reject_field("regex", reason)),
    };
    Ok(Some(TagSpecifier {
        name: name?,
        value: value?,
    }))
}

fn parse_matcher(context: &mut Context<'_>, message: &metrics::StatsMatcher) -> Result<StatsMatcher, Reported> {
    use metrics::stats_matcher::StatsMatcher as Matcher;
    context.check(message);
    let mut list = |field: &'static str, list: &matcher::ListStringMatcher| {
        context.at(field, |context| {
            context.check(list);
            if list.patterns.is_empty() {
                return Err(context.reject_field("patterns", "is required and must not be empty"));
            }
            context.each("patterns", &list.patterns, StringMatcher::parse)
        })
    };
    match &message.stats_matcher {
        Some(Matcher::RejectAll(true)) => Ok(StatsMatcher::RejectAll),
        // Envoy: nothing is rejected.
        Some(Matcher::RejectAll(false)) => Ok(StatsMatcher::Exclude(Vec::new())),
        Some(Matcher::ExclusionList(patterns)) => list("exclusion_list", patterns).map(StatsMatcher::Exclude),
        Some(Matcher::InclusionList(patterns)) => list("inclusion_list", patterns).map(StatsMatcher::Include),
        None => Err(context.reject("has no reject_all, exclusion_list or inclusion_list")),
    }
}

fn parse_buckets(
    context: &mut Context<'_>,
    message: &metrics::HistogramBucketSettings,
) -> Result<HistogramBuckets, Reported> {
    context.check(message);
    let matcher = context.required("match", message.r#match.as_ref(), StringMatcher::parse);
    let mut limits = message.buckets.clone();
    limits.sort_by(f64::total_cmp);
    if limits.iter().any(|limit| !limit.is_finite() || *limit <= 0.0) {
        context.reject_field("buckets", "holds a limit that is not more than 0");
    }
    if limits.windows(2).any(|pair| pair[0] == pair[1]) {
        context.reject_field("buckets", "holds a limit twice");
    }
    Ok(HistogramBuckets {
        matcher: matcher?,
        limits,
    })
}
