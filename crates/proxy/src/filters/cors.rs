//! `envoy.extensions.filters.http.cors.v3.Cors`: answers preflight requests and tells browsers which origins may read
//! answers. What is allowed is said on routes (`CorsPolicy`).

use std::sync::Arc;

use codec::headers::HeaderBlock;
use codec::names::KnownName;
use config::percent::RuntimeFractionalPercent;
use config::string_matcher::StringMatcher;
use config::{Context, ExtensionConfig, ExtensionKind, Extensions, Reported};
use telemetry::stats::{Block, Scope, cors as stat};
use xds_api::envoy::extensions::filters::http::cors::v3 as pb;

use super::exchange::Exchange;
use super::http_filter::{
    BuildContext, Configured, FilterSettings, HttpFilter, Interests, LocalReply, PerRoute, ReplyKind, Verdict,
};

/// The filter.
#[derive(Debug)]
struct Cors {
    stats: Arc<Block>,
}

/// What a level of a route allows. Each field is taken from the most specific level that sets it.
#[derive(Debug)]
struct Policy {
    allow_origin: Vec<StringMatcher>,
    allow_methods: Arc<str>,
    allow_headers: Arc<str>,
    expose_headers: Arc<str>,
    max_age: Arc<str>,
    allow_credentials: Option<bool>,
    filter_enabled: Option<RuntimeFractionalPercent>,
    shadow_enabled: Option<RuntimeFractionalPercent>,
    allow_private_network_access: Option<bool>,
    forward_not_matching_preflights: Option<bool>,
}

/// What is kept of a request from an allowed origin.
#[derive(Default)]
struct Allowed {
    origin: Vec<u8>,
}

pub(super) fn register(extensions: &mut Extensions) {
    extensions.register(
        ExtensionKind::HttpFilter,
        "envoy.extensions.filters.http.cors.v3.Cors",
        |context, bytes| {
            let message: pb::Cors = context.decode(bytes)?;
            context.check(&message);
            Ok(Configured::of(CorsSettings))
        },
    );
    extensions.register(
        ExtensionKind::HttpFilterPerRoute,
        "envoy.extensions.filters.http.cors.v3.CorsPolicy",
        parse_policy,
    );
}

fn parse_policy(context: &mut Context<'_>, bytes: &[u8]) -> Result<Arc<dyn ExtensionConfig>, Reported> {
    let message: pb::CorsPolicy = context.decode(bytes)?;
    context.check(&message);
    let origins = &message.allow_origin_string_match;
    let allow_origin = context.each("allow_origin_string_match", origins, StringMatcher::parse);
    let enabled = message.filter_enabled.as_ref();
    let filter_enabled = context.optional("filter_enabled", enabled, RuntimeFractionalPercent::parse);
    let shadow = message.shadow_enabled.as_ref();
    let shadow_enabled = context.optional("shadow_enabled", shadow, RuntimeFractionalPercent::parse);
    Ok(PerRoute::of(Policy {
        allow_origin: allow_origin?,
        allow_methods: message.allow_methods.as_str().into(),
        allow_headers: message.allow_headers.as_str().into(),
        expose_headers: message.expose_headers.as_str().into(),
        max_age: message.max_age.as_str().into(),
        allow_credentials: message.allow_credentials.as_ref().map(|flag| flag.value),
        filter_enabled: filter_enabled?,
        shadow_enabled: shadow_enabled?,
        allow_private_network_access: message.allow_private_network_access.as_ref().map(|flag| flag.value),
        forward_not_matching_preflights: message.forward_not_matching_preflights.as_ref().map(|flag| flag.value),
    }))
}

#[derive(Debug)]
struct CorsSettings;

impl FilterSettings for CorsSettings {
    fn build(&self, context: &BuildContext<'_>) -> Option<Box<dyn HttpFilter>> {
        Some(Box::new(Cors {
            stats: context.stats.block(Scope::Http(context.stat_prefix), &stat::TABLE),
        }))
    }
}

impl Policy {
    fn is_enabled(&self) -> bool {
        self.filter_enabled
            .as_ref()
            .is_none_or(|enabled| enabled.default_value.includes(telemetry::random::next()))
    }

    fn is_shadowed(&self) -> bool {
        self.shadow_enabled
            .as_ref()
            .is_some_and(|shadow| shadow.default_value.includes(telemetry::random::next()))
    }
}

/// The first of a text's levels that is not empty.
fn first_text<'a>(exchange: &Exchange<'a>, field: impl Fn(&'a Policy) -> &'a Arc<str>) -> &'a [u8] {
    exchange
        .per_route::<Policy>()
        .map(field)
        .find(|text| !text.is_empty())
        .map_or(&b""[..], |text| text.as_bytes())
}

fn first_flag(exchange: &Exchange<'_>, default: bool, field: impl Fn(&Policy) -> Option<bool>) -> bool {
    exchange.per_route::<Policy>().find_map(field).unwrap_or(default)
}

fn allows_origin(exchange: &Exchange<'_>, origin: &[u8]) -> bool {
    exchange
        .per_route::<Policy>()
        .map(|policy| &policy.allow_origin)
        .find(|origins| !origins.is_empty())
        .is_some_and(|origins| {
            origins
                .iter()
                .any(|matcher| matcher.matches(b"*") || matcher.matches(origin))
        })
}

impl HttpFilter for Cors {
    fn interests(&self) -> Interests {
        Interests {
            request_head: true,
            response_head: true,
            ..Interests::default()
        }
    }

    fn on_request_head(&self, exchange: &mut Exchange<'_>, _end_stream: bool) -> Verdict {
        // As in Envoy, what the route itself answers is never shared.
        let Some(policy) = exchange
            .per_route::<Policy>()
            .next()
            .filter(|_| exchange.is_forwarded())
        else {
            exchange.step_aside();
            return Verdict::Continue;
        };
        let enabled = policy.is_enabled();
        let origin = exchange.stream.request.get(KnownName::Origin).unwrap_or_default();
        if origin.is_empty() || !(enabled || policy.is_shadowed()) {
            exchange.step_aside();
            return Verdict::Continue;
        }
        let allowed = allows_origin(exchange, origin);
        let counter = if allowed {
            stat::ORIGIN_VALID
        } else {
            stat::ORIGIN_INVALID
        };
        self.stats.increment(exchange.shard, counter);
        if !enabled {
            exchange.step_aside();
            return Verdict::Continue;
        }
        let request = &exchange.stream.request;
        let is_preflight = request.method() == Some(b"OPTIONS")
            && request
                .get(KnownName::AccessControlRequestMethod)
                .is_some_and(|method| !method.is_empty());
        let verdict = match (is_preflight, allowed) {
            (false, _) => Verdict::Continue,
            (true, false) if first_flag(exchange, true, |policy| policy.forward_not_matching_preflights) => {
                Verdict::Continue
            }
            (true, _) => Verdict::Reply(Box::new(preflight(exchange, origin, allowed))),
        };
        if allowed {
            let origin = origin.to_vec();
            exchange.state::<Allowed>().origin = origin;
        } else {
            exchange.step_aside();
        }
        verdict
    }

    fn on_response_head(&self, exchange: &mut Exchange<'_>, head: &mut HeaderBlock, _end_stream: bool) {
        let Some(allowed) = exchange.kept_state::<Allowed>() else {
            return;
        };
        head.set(KnownName::AccessControlAllowOrigin, &allowed.origin);
        if first_flag(exchange, false, |policy| policy.allow_credentials) {
            head.set(KnownName::AccessControlAllowCredentials, b"true");
        }
        let expose = first_text(exchange, |policy| &policy.expose_headers);
        if !expose.is_empty() {
            head.set(KnownName::AccessControlExposeHeaders, expose);
        }
    }
}

/// The answer to a browser that asks before it sends the request itself.
fn preflight(exchange: &Exchange<'_>, origin: &[u8], allowed: bool) -> LocalReply {
    let mut reply = LocalReply {
        status: 200,
        kind: ReplyKind::Own,
        details: "cors_response",
        ..LocalReply::default()
    };
    let mut add = |name: &'static str, value: &[u8]| {
        if !value.is_empty() {
            reply.headers.push((name, value.to_vec().into()));
        }
    };
    if allowed {
        add("access-control-allow-origin", origin);
    }
    if first_flag(exchange, false, |policy| policy.allow_credentials) {
        add("access-control-allow-credentials", b"true");
    }
    add(
        "access-control-allow-methods",
        first_text(exchange, |policy| &policy.allow_methods),
    );
    add(
        "access-control-allow-headers",
        first_text(exchange, |policy| &policy.allow_headers),
    );
    add("access-control-max-age", first_text(exchange, |policy| &policy.max_age));
    let asks_private = exchange
        .stream
        .request
        .get(KnownName::AccessControlRequestPrivateNetwork)
        == Some(b"true");
    if asks_private && first_flag(exchange, false, |policy| policy.allow_private_network_access) {
        add("access-control-allow-private-network", b"true");
    }
    reply
}
