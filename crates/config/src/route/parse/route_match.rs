//! Parsing of what a route matches.

use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::config::route::v3 as pb;
use xds_api::envoy::extensions::path::r#match::uri_template::v3 as uri_template;
use xds_api::envoy::r#type::matcher::v3 as matcher;
use xds_api::google::protobuf::BoolValue;

use super::{bool_or, shared};
use crate::context::Context;
use crate::extensions::message_name;
use crate::percent::RuntimeFractionalPercent;
use crate::rejected::Reported;
use crate::route::{
    CookieMatcher, PathSpecifier, QueryParameterMatchSpecifier, QueryParameterMatcher, RouteMatch, TlsContextMatch,
    UriTemplate,
};
use crate::string_matcher::{HeaderMatcher, StringMatcher, parse_regex};

const URI_TEMPLATE: &str = "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig";

/// Longest name of a query parameter or cookie, and the longest template.
const LONGEST_NAME: usize = 1024;
const LONGEST_TEMPLATE: usize = 256;

impl RouteMatch {
    pub(super) fn parse(context: &mut Context<'_>, message: &pb::RouteMatch) -> Result<Self, Reported> {
        context.check(message);
        let path = PathSpecifier::parse(context, message);
        let fraction = message.runtime_fraction.as_ref();
        let runtime_fraction = context.optional("runtime_fraction", fraction, RuntimeFractionalPercent::parse);
        let headers = context.each("headers", &message.headers, HeaderMatcher::parse);
        let query_parameters = context.each(
            "query_parameters",
            &message.query_parameters,
            QueryParameterMatcher::parse,
        );
        let cookies = context.each("cookies", &message.cookies, CookieMatcher::parse);
        let tls_context = message.tls_context.as_ref();
        let tls_context = context.optional("tls_context", tls_context, |context, tls| {
            context.check(tls);
            let flag = |value: Option<BoolValue>| value.map(|flag| flag.value);
            Ok(TlsContextMatch {
                presented: flag(tls.presented),
                validated: flag(tls.validated),
            })
        });
        let dynamic_metadata: Result<Vec<bool>, _> =
            context.each("dynamic_metadata", &message.dynamic_metadata, matches_nothing);
        Ok(Self {
            path: path?,
            case_sensitive: bool_or(message.case_sensitive.as_ref(), true),
            runtime_fraction: runtime_fraction?,
            headers: headers?,
            query_parameters: query_parameters?,
            cookies: cookies?,
            grpc: message.grpc.is_some(),
            tls_context: tls_context?,
            needs_metadata: dynamic_metadata?.into_iter().any(|matches| !matches),
        })
    }
}

impl PathSpecifier {
    fn parse(context: &mut Context<'_>, message: &pb::RouteMatch) -> Result<Self, Reported> {
        use pb::route_match::PathSpecifier as Specifier;
        match &message.path_specifier {
            Some(Specifier::Prefix(prefix)) => Ok(Self::Prefix(shared(prefix))),
            Some(Specifier::Path(path)) => Ok(Self::Path(shared(path))),
            Some(Specifier::PathSeparatedPrefix(prefix)) => {
                if prefix.len() < 2 || prefix.contains(['?', '#']) || prefix.ends_with('/') {
                    let found = format!("is {prefix:?}, expected a path without query, fragment and final slash");
                    Err(context.reject_field("path_separated_prefix", found))
                } else {
                    Ok(Self::PathSeparatedPrefix(shared(prefix)))
                }
            }
            Some(Specifier::SafeRegex(regex)) => context
                .at("safe_regex", |context| parse_regex(context, regex))
                .map(Self::SafeRegex),
            Some(Specifier::ConnectMatcher(_)) => Ok(Self::ConnectMatcher),
            Some(Specifier::PathMatchPolicy(policy)) => context
                .at("path_match_policy", |context| parse_template(context, policy))
                .map(|template| Self::Template(Box::new(template))),
            None => Err(context.reject("has no prefix, path, path_separated_prefix or safe_regex")),
        }
    }
}

fn parse_template(context: &mut Context<'_>, message: &core::TypedExtensionConfig) -> Result<UriTemplate, Reported> {
    context.check(message);
    context.required("typed_config", message.typed_config.as_ref(), |context, any| {
        let any = context.unwrap_any(any)?;
        match message_name(&any.type_url) {
            URI_TEMPLATE => {
                let message: uri_template::UriTemplateMatchConfig = context.decode(&any.value)?;
                context.check(&message);
                let template = template_text(context, "path_template", &message.path_template)?;
                UriTemplate::new(template).map_err(|reason| context.reject_field("path_template", reason))
            }
            other => Err(context.reject(format!("path matcher {other:?} is not supported"))),
        }
    })
}

/// A template of a length that Envoy takes.
pub(super) fn template_text<'t>(context: &mut Context<'_>, field: &str, text: &'t str) -> Result<&'t str, Reported> {
    context.text(field, text)?;
    match text.len() {
        ..=LONGEST_TEMPLATE => Ok(text),
        length => {
            let found = format!("has {length} bytes, expected at most {LONGEST_TEMPLATE}");
            Err(context.reject_field(field, found))
        }
    }
}

/// A name of up to [`LONGEST_NAME`] bytes.
fn parse_name(context: &mut Context<'_>, name: &str) -> Result<std::sync::Arc<str>, Reported> {
    match name.len() {
        ..=LONGEST_NAME => context.text("name", name),
        length => {
            let found = format!("has {length} bytes, expected at most {LONGEST_NAME}");
            Err(context.reject_field("name", found))
        }
    }
}

impl QueryParameterMatcher {
    fn parse(context: &mut Context<'_>, message: &pb::QueryParameterMatcher) -> Result<Self, Reported> {
        use pb::query_parameter_matcher::QueryParameterMatchSpecifier as Specifier;
        context.check(message);
        let name = parse_name(context, &message.name);
        let specifier = match &message.query_parameter_match_specifier {
            None => Ok(QueryParameterMatchSpecifier::Present(true)),
            Some(Specifier::PresentMatch(present)) => Ok(QueryParameterMatchSpecifier::Present(*present)),
            Some(Specifier::StringMatch(matcher)) => context
                .at("string_match", |context| StringMatcher::parse(context, matcher))
                .map(QueryParameterMatchSpecifier::String),
        };
        Ok(Self {
            name: name?,
            specifier: specifier?,
        })
    }
}

impl CookieMatcher {
    fn parse(context: &mut Context<'_>, message: &pb::CookieMatcher) -> Result<Self, Reported> {
        context.check(message);
        let name = parse_name(context, &message.name);
        let string = context.required("string_match", message.string_match.as_ref(), StringMatcher::parse);
        Ok(Self {
            name: name?,
            string: string?,
            invert_match: message.invert_match,
        })
    }
}

/// Whether a metadata matcher is satisfied by a value that is not there. No filter of this proxy attaches metadata to a
/// request, so that this is what it comes to.
fn matches_nothing(context: &mut Context<'_>, message: &matcher::MetadataMatcher) -> Result<bool, Reported> {
    use matcher::metadata_matcher::path_segment::Segment;
    context.check(message);
    let filter = context.text("filter", &message.filter);
    if message.path.is_empty() {
        context.reject_field("path", "is required and must not be empty");
    }
    let path: Result<Vec<()>, _> = context.each("path", &message.path, |context, segment| {
        context.check(segment);
        match &segment.segment {
            Some(Segment::Key(key)) => context.text("key", key).map(|_| ()),
            None => Err(context.reject_field("key", "is required")),
        }
    });
    let value = context.required("value", message.value.as_ref(), nothing_has);
    filter?;
    path?;
    Ok(value? != message.invert)
}

/// Whether a value that is not there matches.
fn nothing_has(context: &mut Context<'_>, message: &matcher::ValueMatcher) -> Result<bool, Reported> {
    use matcher::value_matcher::MatchPattern;
    context.check(message);
    match &message.match_pattern {
        Some(MatchPattern::NullMatch(_) | MatchPattern::DoubleMatch(_) | MatchPattern::BoolMatch(_)) => Ok(false),
        Some(MatchPattern::StringMatch(string)) => context
            .at("string_match", |context| StringMatcher::parse(context, string))
            .map(|_| false),
        Some(MatchPattern::PresentMatch(_) | MatchPattern::ListMatch(_)) => Ok(false),
        Some(MatchPattern::OrMatch(or)) => context.at("or_match", |context| {
            context.check(or);
            if or.value_matchers.len() < 2 {
                return Err(context.reject_field("value_matchers", "must have at least 2 entries"));
            }
            let matches: Vec<bool> = context.each("value_matchers", &or.value_matchers, nothing_has)?;
            Ok(matches.into_iter().any(|matches| matches))
        }),
        None => Err(context.reject("has nothing to match")),
    }
}
