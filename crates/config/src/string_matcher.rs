//! Matchers on strings and headers (`envoy.type.matcher.v3.StringMatcher`, `envoy.config.route.v3.HeaderMatcher`).

use std::sync::Arc;

use xds_api::envoy::config::route::v3 as route;
use xds_api::envoy::r#type::matcher::v3 as matcher;

use crate::context::Context;
use crate::regex::{Regex, RegexRewrite};
use crate::rejected::Reported;

/// Matches a string.
#[derive(Debug, Clone, PartialEq)]
pub struct StringMatcher {
    /// What to compare with.
    pub pattern: StringPattern,
    /// Whether ASCII case is ignored. Never set with a regular expression.
    pub ignore_case: bool,
}

/// The ways of matching a string.
#[derive(Debug, Clone, PartialEq)]
pub enum StringPattern {
    /// All of it.
    Exact(Arc<str>),
    /// Its start.
    Prefix(Arc<str>),
    /// Its end.
    Suffix(Arc<str>),
    /// Some of it.
    Contains(Arc<str>),
    /// All of it, by a regular expression.
    SafeRegex(Regex),
}

impl StringMatcher {
    /// Matches exactly `value`.
    pub fn exact(value: &str) -> Self {
        Self {
            pattern: StringPattern::Exact(value.into()),
            ignore_case: false,
        }
    }

    /// Whether `value` matches.
    pub fn matches(&self, value: &[u8]) -> bool {
        let equal = |a: &[u8], b: &str| {
            if self.ignore_case {
                a.eq_ignore_ascii_case(b.as_bytes())
            } else {
                a == b.as_bytes()
            }
        };
        match &self.pattern {
            StringPattern::Exact(text) => equal(value, text),
            StringPattern::Prefix(text) => value.get(..text.len()).is_some_and(|start| equal(start, text)),
            StringPattern::Suffix(text) => value
                .len()
                .checked_sub(text.len())
                .is_some_and(|start| equal(&value[start..], text)),
            // `windows` refuses an empty pattern; parsing does too.
            StringPattern::Contains(text) => {
                text.is_empty() || value.windows(text.len()).any(|window| equal(window, text))
            }
            StringPattern::SafeRegex(regex) => regex.is_match(value),
        }
    }
}

/// Matches a header of a request or response.
#[derive(Debug, Clone, PartialEq)]
pub struct HeaderMatcher {
    /// Lower-case name; `:method`, `:path`, `:authority` and `:scheme` name the pseudo-headers.
    pub name: Arc<str>,
    /// What its value must be like.
    pub specifier: HeaderMatchSpecifier,
    /// Whether the result is turned round.
    pub invert_match: bool,
    /// Whether a header that is not there counts as an empty one.
    pub treat_missing_header_as_empty: bool,
}

/// The ways of matching a header's value.
#[derive(Debug, Clone, PartialEq)]
pub enum HeaderMatchSpecifier {
    /// By a string matcher (the older `exact_match`, `prefix_match`... become one too).
    String(StringMatcher),
    /// An integer in base 10 from `start` (included) to `end` (excluded).
    Range {
        /// First value that matches.
        start: i64,
        /// First value that no longer matches.
        end: i64,
    },
    /// Whether it is there.
    Present(bool),
}

impl HeaderMatcher {
    /// Whether a message matches, given the values of the header, one for each line of it.
    ///
    /// Each line is tried by itself, never the joined value, as Envoy 1.39 does.
    pub fn matches<'a>(&self, mut values: impl Iterator<Item = &'a [u8]>) -> bool {
        let first = match (values.next(), self.treat_missing_header_as_empty) {
            (Some(value), _) => value,
            (None, true) => b"",
            (None, false) => {
                return match self.specifier {
                    HeaderMatchSpecifier::Present(present) => present == self.invert_match,
                    // A missing header matches nothing, and is not made to match by turning the result round.
                    HeaderMatchSpecifier::String(_) | HeaderMatchSpecifier::Range { .. } => false,
                };
            }
        };
        let matched = self.matches_value(first) || values.any(|value| self.matches_value(value));
        matched != self.invert_match
    }

    fn matches_value(&self, value: &[u8]) -> bool {
        match &self.specifier {
            HeaderMatchSpecifier::String(matcher) => matcher.matches(value),
            HeaderMatchSpecifier::Range { start, end } => std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
                .is_some_and(|number| (*start..*end).contains(&number)),
            HeaderMatchSpecifier::Present(present) => *present,
        }
    }
}

impl StringMatcher {
    /// Parses a matcher.
    ///
    /// # Errors
    /// When it matches nothing in particular, or its expression is not valid.
    pub fn parse(context: &mut Context<'_>, message: &matcher::StringMatcher) -> Result<Self, Reported> {
        use matcher::string_matcher::MatchPattern;
        context.check(message);
        let pattern = match &message.match_pattern {
            Some(MatchPattern::Exact(text)) => StringPattern::Exact(text.as_str().into()),
            Some(MatchPattern::Prefix(text)) => StringPattern::Prefix(context.text("prefix", text)?),
            Some(MatchPattern::Suffix(text)) => StringPattern::Suffix(context.text("suffix", text)?),
            Some(MatchPattern::Contains(text)) => StringPattern::Contains(context.text("contains", text)?),
            Some(MatchPattern::SafeRegex(regex)) => {
                if message.ignore_case {
                    return Err(context.reject_field(
                        "ignore_case",
                        "has no meaning for safe_regex: write (?i) in the expression",
                    ));
                }
                StringPattern::SafeRegex(context.at("safe_regex", |context| parse_regex(context, regex))?)
            }
            Some(MatchPattern::Custom(_)) => return Err(context.reported()),
            None => return Err(context.reject("has no exact, prefix, suffix, contains or safe_regex")),
        };
        Ok(Self {
            pattern,
            ignore_case: message.ignore_case,
        })
    }
}

fn check_regex(context: &mut Context<'_>, message: &matcher::RegexMatcher) {
    context.check(message);
    if let Some(matcher::regex_matcher::EngineType::GoogleRe2(engine)) = &message.engine_type {
        context.at("google_re2", |context| context.check(engine));
    }
}

/// Parses a regular expression.
pub(crate) fn parse_regex(context: &mut Context<'_>, message: &matcher::RegexMatcher) -> Result<Regex, Reported> {
    check_regex(context, message);
    context.text("regex", &message.regex)?;
    Regex::new(&message.regex).map_err(|reason| context.reject_field("regex", reason))
}

/// Parses a pattern and its substitution.
pub(crate) fn parse_regex_rewrite(
    context: &mut Context<'_>,
    message: &matcher::RegexMatchAndSubstitute,
) -> Result<RegexRewrite, Reported> {
    context.check(message);
    let pattern = context.required("pattern", message.pattern.as_ref(), |context, pattern| {
        check_regex(context, pattern);
        context.text("regex", &pattern.regex)
    })?;
    RegexRewrite::new(&pattern, &message.substitution).map_err(|reason| context.reject(reason))
}

impl HeaderMatcher {
    /// Parses a matcher, the deprecated forms included.
    ///
    /// # Errors
    /// When it has no name or its expression is not valid.
    pub fn parse(context: &mut Context<'_>, message: &route::HeaderMatcher) -> Result<Self, Reported> {
        use route::header_matcher::HeaderMatchSpecifier as Specifier;
        context.check(message);
        let name = parse_header_name(context, "name", &message.name);
        let string = |pattern| {
            HeaderMatchSpecifier::String(StringMatcher {
                pattern,
                ignore_case: false,
            })
        };
        let specifier = match &message.header_match_specifier {
            // A matcher that only names a header asks for its presence.
            None => Ok(HeaderMatchSpecifier::Present(true)),
            Some(Specifier::PresentMatch(present)) => Ok(HeaderMatchSpecifier::Present(*present)),
            // As in Envoy: without a text it asks for the header's presence.
            Some(Specifier::ExactMatch(text)) if text.is_empty() => Ok(HeaderMatchSpecifier::Present(true)),
            Some(Specifier::ExactMatch(text)) => Ok(string(StringPattern::Exact(text.as_str().into()))),
            Some(Specifier::PrefixMatch(text)) => context
                .text("prefix_match", text)
                .map(|text| string(StringPattern::Prefix(text))),
            Some(Specifier::SuffixMatch(text)) => context
                .text("suffix_match", text)
                .map(|text| string(StringPattern::Suffix(text))),
            Some(Specifier::ContainsMatch(text)) => context
                .text("contains_match", text)
                .map(|text| string(StringPattern::Contains(text))),
            Some(Specifier::SafeRegexMatch(regex)) => context
                .at("safe_regex_match", |context| parse_regex(context, regex))
                .map(|regex| string(StringPattern::SafeRegex(regex))),
            Some(Specifier::StringMatch(matcher)) => context
                .at("string_match", |context| StringMatcher::parse(context, matcher))
                .map(HeaderMatchSpecifier::String),
            Some(Specifier::RangeMatch(range)) => Ok(HeaderMatchSpecifier::Range {
                start: range.start,
                end: range.end,
            }),
        };
        Ok(Self {
            name: name?,
            specifier: specifier?,
            invert_match: message.invert_match,
            treat_missing_header_as_empty: message.treat_missing_header_as_empty,
        })
    }
}

/// Parses the name of a header.
pub(crate) fn parse_header_name(context: &mut Context<'_>, field: &str, name: &str) -> Result<Arc<str>, Reported> {
    context.text(field, name)?;
    header_name(name).ok_or_else(|| context.reject_field(field, format!("is {name:?}, expected the name of a header")))
}

/// The name of a header (RFC 9110 section 5.6.2: a token; pseudo-headers begin with a colon), in lower case.
pub(crate) fn header_name(name: &str) -> Option<Arc<str>> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let bare = name.strip_prefix(':').unwrap_or(name);
    (!bare.is_empty() && bare.bytes().all(token)).then(|| name.to_ascii_lowercase().into())
}
