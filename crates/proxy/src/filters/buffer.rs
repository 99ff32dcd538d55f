//! `envoy.extensions.filters.http.buffer.v3.Buffer`: a request is forwarded once all of its body is here.

use std::sync::Arc;

use codec::headers::HeaderBlock;
use codec::names::KnownName;
use config::{Context, ExtensionConfig, ExtensionKind, Extensions, Reported};
use telemetry::stats::http;
use xds_api::envoy::extensions::filters::http::buffer::v3 as pb;

use super::exchange::Exchange;
use super::http_filter::{
    BuildContext, Configured, FilterSettings, HttpFilter, Interests, LocalReply, PerRoute, Until, Verdict,
};
use crate::request_headers::decimal;

/// The filter, and its settings.
#[derive(Clone, Copy, Debug)]
struct Buffer {
    max_request_bytes: u32,
}

/// Settings of a route.
#[derive(Clone, Copy, Debug)]
enum BufferPerRoute {
    Disabled,
    Buffer(Buffer),
}

/// What is kept of a request that is being buffered.
#[derive(Default)]
struct Buffering {
    /// 0 where the body is not buffered.
    max_request_bytes: u64,
}

pub(super) fn register(extensions: &mut Extensions) {
    extensions.register(
        ExtensionKind::HttpFilter,
        "envoy.extensions.filters.http.buffer.v3.Buffer",
        parse,
    );
    extensions.register(
        ExtensionKind::HttpFilterPerRoute,
        "envoy.extensions.filters.http.buffer.v3.BufferPerRoute",
        parse_per_route,
    );
}

fn parse(context: &mut Context<'_>, bytes: &[u8]) -> Result<Arc<dyn ExtensionConfig>, Reported> {
    let message: pb::Buffer = context.decode(bytes)?;
    Buffer::parse(context, &message).map(Configured::of)
}

fn parse_per_route(context: &mut Context<'_>, bytes: &[u8]) -> Result<Arc<dyn ExtensionConfig>, Reported> {
    use pb::buffer_per_route::Override;
    let message: pb::BufferPerRoute = context.decode(bytes)?;
    context.check(&message);
    let settings = match &message.r#override {
        Some(Override::Disabled(true)) => BufferPerRoute::Disabled,
        Some(Override::Disabled(false)) => return Err(context.reject_field("disabled", "is false, expected true")),
        Some(Override::Buffer(buffer)) => {
            BufferPerRoute::Buffer(context.at("buffer", |context| Buffer::parse(context, buffer))?)
        }
        None => return Err(context.reject("has no disabled or buffer")),
    };
    Ok(PerRoute::of(settings))
}

impl Buffer {
    fn parse(context: &mut Context<'_>, message: &pb::Buffer) -> Result<Buffer, Reported> {
        context.check(message);
        let limit = context.in_range("max_request_bytes", message.max_request_bytes.as_ref(), 1..=u32::MAX)?;
        match limit {
            Some(max_request_bytes) => Ok(Buffer { max_request_bytes }),
            None => Err(context.reject_field("max_request_bytes", "is required")),
        }
    }
}

impl FilterSettings for Buffer {
    fn build(&self, _context: &BuildContext<'_>) -> Option<Box<dyn HttpFilter>> {
        Some(Box::new(*self))
    }
}

impl HttpFilter for Buffer {
    fn interests(&self) -> Interests {
        Interests {
            request_head: true,
            request_data: true,
            request_trailers: true,
            ..Interests::default()
        }
    }

    fn on_request_head(&self, exchange: &mut Exchange<'_>, end_stream: bool) -> Verdict {
        let limit = match exchange.per_route::<BufferPerRoute>().next() {
            Some(BufferPerRoute::Disabled) => return Verdict::Continue,
            Some(BufferPerRoute::Buffer(buffer)) => buffer.max_request_bytes,
            None => self.max_request_bytes,
        };
        if end_stream {
            return Verdict::Continue;
        }
        exchange.state::<Buffering>().max_request_bytes = limit.into();
        Verdict::Pause(Until::Body)
    }

    fn on_request_data(&self, exchange: &mut Exchange<'_>, _data: &[u8], end_stream: bool) -> Verdict {
        let limit = exchange
            .kept_state::<Buffering>()
            .map_or(0, |buffering| buffering.max_request_bytes);
        if limit == 0 {
            return Verdict::Continue;
        }
        if exchange.stream.body.received > limit {
            let stats = exchange.manager.stats.local(exchange.shard);
            stats.add(http::DOWNSTREAM_RQ_TOO_LARGE, 1);
            return Verdict::Reply(Box::new(too_large()));
        }
        if !end_stream {
            return Verdict::Pause(Until::Body);
        }
        on_complete(exchange);
        Verdict::Continue
    }

    fn on_request_trailers(&self, exchange: &mut Exchange<'_>, _trailers: &mut HeaderBlock) -> Verdict {
        if exchange.kept_state::<Buffering>().is_some() {
            on_complete(exchange);
        }
        Verdict::Continue
    }
}

/// The length is known now, and said.
fn on_complete(exchange: &mut Exchange<'_>) {
    exchange.state::<Buffering>().max_request_bytes = 0;
    let length = exchange.stream.body.received;
    let request = exchange.request();
    if !request.contains(KnownName::ContentLength) {
        let mut text = [0; 20];
        request.append(KnownName::ContentLength, decimal(length, &mut text));
    }
}

fn too_large() -> LocalReply {
    LocalReply {
        status: 413,
        body: b"Payload Too Large"[..].into(),
        details: "request_payload_too_large",
        ..LocalReply::default()
    }
}
