//! `envoy.extensions.filters.http.header_mutation.v3.HeaderMutation`: changes to headers, trailers and the query.

use std::sync::Arc;

use codec::headers::HeaderBlock;
use config::header_mutation::HeaderValueOption;
use config::string_matcher::StringMatcher;
use config::{Context, ExtensionConfig, ExtensionKind, Extensions, Reported};
use xds_api::envoy::config::common::mutation_rules::v3 as rules;
use xds_api::envoy::extensions::filters::http::header_mutation::v3 as pb;

use super::exchange::Exchange;
use super::http_filter::{BuildContext, Configured, FilterSettings, HttpFilter, Interests, PerRoute, Verdict};
use crate::header_operations::add_literal;

mod query;

use query::QueryMutation;

/// The filter, and its settings.
#[derive(Clone, Debug)]
struct HeaderMutation {
    mutations: Arc<Mutations>,
    /// Whether changes of the route come after those of its table, and so win.
    most_specific_wins: bool,
}

/// What is changed.
#[derive(Debug, Default)]
struct Mutations {
    request: Vec<Mutation>,
    query: Vec<QueryMutation>,
    response: Vec<Mutation>,
    response_trailers: Vec<Mutation>,
    request_trailers: Vec<Mutation>,
}

/// One change.
#[derive(Debug)]
enum Mutation {
    Remove(Arc<str>),
    RemoveOnMatch(StringMatcher),
    Add(HeaderValueOption),
}

pub(super) fn register(extensions: &mut Extensions) {
    extensions.register(
        ExtensionKind::HttpFilter,
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
        parse,
    );
    extensions.register(
        ExtensionKind::HttpFilterPerRoute,
        "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute",
        parse_per_route,
    );
}

fn parse(context: &mut Context<'_>, bytes: &[u8]) -> Result<Arc<dyn ExtensionConfig>, Reported> {
    let message: pb::HeaderMutation = context.decode(bytes)?;
    context.check(&message);
    let mutations = context.optional("mutations", message.mutations.as_ref(), Mutations::parse)?;
    Ok(Configured::of(HeaderMutation {
        mutations: Arc::new(mutations.unwrap_or_default()),
        most_specific_wins: message.most_specific_header_mutations_wins,
    }))
}

fn parse_per_route(context: &mut Context<'_>, bytes: &[u8]) -> Result<Arc<dyn ExtensionConfig>, Reported> {
    let message: pb::HeaderMutationPerRoute = context.decode(bytes)?;
    context.check(&message);
    let mutations = context.optional("mutations", message.mutations.as_ref(), Mutations::parse)?;
    Ok(PerRoute::of(mutations.unwrap_or_default()))
}

impl Mutations {
    fn parse(context: &mut Context<'_>, message: &pb::Mutations) -> Result<Mutations, Reported> {
        context.check(message);
        let request = context.each("request_mutations", &message.request_mutations, Mutation::parse);
        let query = &message.query_parameter_mutations;
        let query = context.each("query_parameter_mutations", query, QueryMutation::parse);
        let response = context.each("response_mutations", &message.response_mutations, Mutation::parse);
        let trailers = &message.response_trailers_mutations;
        let response_trailers = context.each("response_trailers_mutations", trailers, Mutation::parse);
        let trailers = &message.request_trailers_mutations;
        let request_trailers = context.each("request_trailers_mutations", trailers, Mutation::parse);
        Ok(Mutations {
            request: request?,
            query: query?,
            response: response?,
            response_trailers: response_trailers?,
            request_trailers: request_trailers?,
        })
    }
}

impl Mutation {
    fn parse(context: &mut Context<'_>, message: &rules::HeaderMutation) -> Result<Mutation, Reported> {
        use rules::header_mutation::Action;
        context.check(message);
        match &message.action {
            Some(Action::Remove(name)) if name.is_empty() => Err(context.reject_field("remove", "is empty")),
            Some(Action::Remove(name)) => Ok(Mutation::Remove(name.to_ascii_lowercase().into())),
            Some(Action::Append(header)) => context.at("append", |context| {
                let header = HeaderValueOption::parse(context, header)?;
                if !header.is_literal() {
                    return Err(context.reject("has command operators, which this filter does not evaluate"));
                }
                Ok(Mutation::Add(header))
            }),
            Some(Action::RemoveOnMatch(on_match)) => context.at("remove_on_match", |context| {
                context.check(on_match);
                context
                    .required("key_matcher", on_match.key_matcher.as_ref(), StringMatcher::parse)
                    .map(Mutation::RemoveOnMatch)
            }),
            None => Err(context.reject("has no remove, append or remove_on_match")),
        }
    }

    fn apply(&self, block: &mut HeaderBlock) {
        match self {
            Mutation::Remove(name) => {
                block.remove(name.as_bytes());
            }
            Mutation::RemoveOnMatch(matcher) => block.retain(|field| !matcher.matches(field.name)),
            Mutation::Add(header) => add_literal(block, header),
        }
    }
}

impl FilterSettings for HeaderMutation {
    fn build(&self, _context: &BuildContext<'_>) -> Option<Box<dyn HttpFilter>> {
        Some(Box::new(self.clone()))
    }
}

impl HeaderMutation {
    /// Calls `apply` with the filter's own changes, then with those of the levels of the route.
    fn each_level(&self, exchange: &Exchange<'_>, mut apply: impl FnMut(&Mutations)) {
        apply(&self.mutations);
        let mut levels = [None; 4];
        let mut count = 0;
        for (slot, level) in levels.iter_mut().zip(exchange.per_route::<Mutations>()) {
            *slot = Some(level);
            count += 1;
        }
        let levels = &mut levels[..count];
        if self.most_specific_wins {
            levels.reverse();
        }
        levels.iter().copied().flatten().for_each(apply);
    }
}

fn apply_all(mutations: &[Mutation], block: &mut HeaderBlock) {
    for mutation in mutations {
        mutation.apply(block);
    }
}

impl HttpFilter for HeaderMutation {
    fn interests(&self) -> Interests {
        // What a route may add is not known here, so nothing is left out.
        Interests {
            request_head: true,
            request_trailers: true,
            response_head: true,
            response_trailers: true,
            ..Interests::default()
        }
    }

    fn on_request_head(&self, exchange: &mut Exchange<'_>, _end_stream: bool) -> Verdict {
        let mut request = std::mem::take(&mut exchange.stream.request);
        self.each_level(exchange, |mutations| {
            apply_all(&mutations.request, &mut request);
            query::apply(&mutations.query, &mut request);
        });
        exchange.stream.request = request;
        Verdict::Continue
    }

    fn on_request_trailers(&self, exchange: &mut Exchange<'_>, trailers: &mut HeaderBlock) -> Verdict {
        self.each_level(exchange, |mutations| apply_all(&mutations.request_trailers, trailers));
        Verdict::Continue
    }

    fn on_response_head(&self, exchange: &mut Exchange<'_>, head: &mut HeaderBlock, _end_stream: bool) {
        self.each_level(exchange, |mutations| apply_all(&mutations.response, head));
    }

    fn on_response_trailers(&self, exchange: &mut Exchange<'_>, trailers: &mut HeaderBlock) {
        self.each_level(exchange, |mutations| apply_all(&mutations.response_trailers, trailers));
    }
}
