//! `envoy.extensions.filters.http.header_mutation.v3.HeaderMutation`: changes to headers, trailers and the query.

use std::sync::Arc;

use codec::headers::HeaderBlock;
use config::header_mutation::HeaderMutation as Change;
use config::{Context, ExtensionConfig, ExtensionKind, Extensions, Reported};
use xds_api::envoy::extensions::filters::http::header_mutation::v3 as pb;

use super::exchange::Exchange;
use super::http_filter::{BuildContext, Configured, FilterSettings, HttpFilter, Interests, PerRoute, Verdict};
use crate::header_operations::{self, OtherBlock, RequestHead, ResponseHead, Target};

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
    request: Vec<Change>,
    query: Vec<QueryMutation>,
    response: Vec<Change>,
    response_trailers: Vec<Change>,
    request_trailers: Vec<Change>,
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
        let request = context.each("request_mutations", &message.request_mutations, Change::parse);
        let query = &message.query_parameter_mutations;
        let query = context.each("query_parameter_mutations", query, QueryMutation::parse);
        let response = context.each("response_mutations", &message.response_mutations, Change::parse);
        let trailers = &message.response_trailers_mutations;
        let response_trailers = context.each("response_trailers_mutations", trailers, Change::parse);
        let trailers = &message.request_trailers_mutations;
        let request_trailers = context.each("request_trailers_mutations", trailers, Change::parse);
        Ok(Mutations {
            request: request?,
            query: query?,
            response: response?,
            response_trailers: response_trailers?,
            request_trailers: request_trailers?,
        })
    }
}

impl FilterSettings for HeaderMutation {
    fn build(&self, _context: &BuildContext<'_>) -> Option<Box<dyn HttpFilter>> {
        Some(Box::new(self.clone()))
    }
}

impl HeaderMutation {
    /// The filter's own changes, then those of the levels of the route, in the order in which they are made.
    fn levels<'a>(&'a self, exchange: &Exchange<'a>) -> [Option<&'a Mutations>; 5] {
        let mut levels = [None; 5];
        levels[0] = Some(&*self.mutations);
        let mut count = 1;
        for (slot, level) in levels[1..].iter_mut().zip(exchange.per_route::<Mutations>()) {
            *slot = Some(level);
            count += 1;
        }
        if self.most_specific_wins {
            levels[1..count].reverse();
        }
        levels
    }

    /// Makes the changes of one list of each level to trailers.
    fn on_block(&self, exchange: &Exchange<'_>, block: &mut HeaderBlock, list: impl Fn(&Mutations) -> &[Change]) {
        let Some(downstream) = exchange.downstream else {
            return;
        };
        let levels = self.levels(exchange);
        let mut target = OtherBlock {
            block,
            stream: &*exchange.stream,
            downstream,
            now: exchange.now,
        };
        for mutations in levels.into_iter().flatten() {
            apply_all(list(mutations), &mut target);
        }
    }
}

/// Makes all changes of a list.
fn apply_all(mutations: &[Change], target: &mut impl Target) {
    let mut buffer = Vec::new();
    for mutation in mutations {
        header_operations::mutate(target, mutation, &mut buffer);
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
        let Some(downstream) = exchange.downstream else {
            return Verdict::Continue;
        };
        let levels = self.levels(exchange);
        let mut target = RequestHead {
            stream: &mut *exchange.stream,
            downstream,
            now: exchange.now,
        };
        for mutations in levels.into_iter().flatten() {
            apply_all(&mutations.request, &mut target);
            query::apply(&mutations.query, &mut target);
        }
        Verdict::Continue
    }

    fn on_request_trailers(&self, exchange: &mut Exchange<'_>, trailers: &mut HeaderBlock) -> Verdict {
        self.on_block(exchange, trailers, |mutations| &mutations.request_trailers);
        Verdict::Continue
    }

    fn on_response_head(&self, exchange: &mut Exchange<'_>, head: &mut HeaderBlock, _end_stream: bool) {
        let Some(downstream) = exchange.downstream else {
            return;
        };
        let mut target = ResponseHead {
            head,
            stream: &*exchange.stream,
            downstream,
            now: exchange.now,
        };
        for mutations in self.levels(exchange).into_iter().flatten() {
            apply_all(&mutations.response, &mut target);
        }
    }

    fn on_response_trailers(&self, exchange: &mut Exchange<'_>, trailers: &mut HeaderBlock) {
        self.on_block(exchange, trailers, |mutations| &mutations.response_trailers);
    }
}
