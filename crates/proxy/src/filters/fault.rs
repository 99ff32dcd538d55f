//! `envoy.extensions.filters.http.fault.v3.HTTPFault`: delays, aborted requests and slow answers, for testing callers.

use std::sync::Arc;
use std::time::Duration;

use config::{Context, ExtensionConfig, ExtensionKind, Extensions, Reported};
use telemetry::access_log::ResponseFlag;
use telemetry::stats::{Block, Scope, fault as stat};
use xds_api::envoy::extensions::filters::http::fault::v3 as pb;

use super::exchange::Exchange;
use super::header_lookup;
use super::http_filter::{
    BuildContext, Configured, DataVerdict, FilterSettings, HttpFilter, Interests, LocalReply, PerRoute, Until, Verdict,
};

mod limiter;
mod settings;

use limiter::Limiter;
use settings::{AbortStatus, Settings};

const ABORT_BODY: &[u8] = b"fault filter abort";
/// A caller asks for a fault with these, where the settings leave it to him.
mod header {
    pub(super) const DELAY: &str = "x-envoy-fault-delay-request";
    pub(super) const DELAY_PERCENTAGE: &str = "x-envoy-fault-delay-request-percentage";
    pub(super) const ABORT: &str = "x-envoy-fault-abort-request";
    pub(super) const ABORT_GRPC: &str = "x-envoy-fault-abort-grpc-request";
    pub(super) const ABORT_PERCENTAGE: &str = "x-envoy-fault-abort-request-percentage";
    pub(super) const THROUGHPUT: &str = "x-envoy-fault-throughput-response";
    pub(super) const THROUGHPUT_PERCENTAGE: &str = "x-envoy-fault-throughput-response-percentage";
    pub(super) const DOWNSTREAM_NODE: &str = "x-envoy-downstream-service-node";
}

/// The filter.
#[derive(Debug)]
struct Fault {
    settings: Arc<Settings>,
    stats: Arc<Block>,
}

/// What is kept of a request with a fault.
#[derive(Default)]
struct Injected {
    /// The request counts among the active faults; several faults of one request count once.
    active: bool,
    limiter: Option<Limiter>,
}

pub(super) fn register(extensions: &mut Extensions) {
    let message = "envoy.extensions.filters.http.fault.v3.HTTPFault";
    extensions.register(ExtensionKind::HttpFilter, message, |context, bytes| {
        parse(context, bytes).map(|settings| Configured::of(FaultSettings(Arc::new(settings))))
    });
    extensions.register(ExtensionKind::HttpFilterPerRoute, message, |context, bytes| {
        parse(context, bytes).map(PerRoute::of as fn(Settings) -> Arc<dyn ExtensionConfig>)
    });
}

fn parse(context: &mut Context<'_>, bytes: &[u8]) -> Result<Settings, Reported> {
    let message: pb::HttpFault = context.decode(bytes)?;
    Settings::parse(context, &message)
}

#[derive(Debug)]
struct FaultSettings(Arc<Settings>);

impl FilterSettings for FaultSettings {
    fn build(&self, context: &BuildContext<'_>) -> Option<Box<dyn HttpFilter>> {
        Some(Box::new(Fault {
            settings: Arc::clone(&self.0),
            stats: context.stats.block(Scope::Http(context.stat_prefix), &stat::TABLE),
        }))
    }
}

impl Fault {
    /// Whether one more fault is allowed; counts the request among the active ones.
    fn try_activate(&self, exchange: &mut Exchange<'_>, settings: &Settings) -> bool {
        if exchange
            .kept_state::<Injected>()
            .is_some_and(|injected| injected.active)
        {
            return true;
        }
        let shard = exchange.shard;
        let full = settings
            .max_active_faults
            .is_some_and(|limit| self.stats.gauge(stat::ACTIVE_FAULTS) >= u64::from(limit));
        if full {
            self.stats.increment(shard, stat::FAULTS_OVERFLOW);
            return false;
        }
        self.stats.inc(shard, stat::ACTIVE_FAULTS);
        exchange.state::<Injected>().active = true;
        true
    }

    fn limit_response(&self, exchange: &mut Exchange<'_>, settings: &Settings) {
        let Some(limit) = &settings.response_rate_limit else {
            return;
        };
        if !limit
            .percentage
            .of(exchange.request())
            .includes(telemetry::random::next())
        {
            return;
        }
        let rate = limit.kib_per_second.or_header(exchange.request(), header::THROUGHPUT);
        if let Some(rate) = rate.filter(|rate| *rate > 0)
            && self.try_activate(exchange, settings)
        {
            self.stats.increment(exchange.shard, stat::RESPONSE_RL_INJECTED);
            let now = exchange.now;
            exchange.state::<Injected>().limiter = Some(Limiter::new(rate, now));
        }
    }

    fn delay(&self, exchange: &mut Exchange<'_>, settings: &Settings) -> Option<Duration> {
        let delay = settings.delay.as_ref()?;
        if !delay
            .percentage
            .of(exchange.request())
            .includes(telemetry::random::next())
        {
            return None;
        }
        let millis = delay.milliseconds.or_header(exchange.request(), header::DELAY)?;
        (millis > 0 && self.try_activate(exchange, settings)).then(|| Duration::from_millis(millis))
    }

    fn abort(&self, exchange: &mut Exchange<'_>, settings: &Settings) -> Option<LocalReply> {
        let abort = settings.abort.as_ref()?;
        if !abort
            .percentage
            .of(exchange.request())
            .includes(telemetry::random::next())
        {
            return None;
        }
        let (status, grpc_status) = match abort.status {
            AbortStatus::Http(status) => (status, None),
            AbortStatus::Grpc(status) => (200, Some(status)),
            AbortStatus::Header => {
                let number = |name| header_lookup::number(exchange.stream.request.get(name)?);
                match (number(header::ABORT), number(header::ABORT_GRPC)) {
                    (Some(status @ 200..=599), _) => (status as u16, None),
                    (_, Some(status @ 0..=255)) => (200, Some(status as u8)),
                    _ => return None,
                }
            }
        };
        if !self.try_activate(exchange, settings) {
            return None;
        }
        self.stats.increment(exchange.shard, stat::ABORTS_INJECTED);
        Some(LocalReply {
            status,
            grpc_status,
            body: match &abort.response_body {
                Some(body) => body.as_bytes().to_vec().into(),
                None => ABORT_BODY.into(),
            },
            details: "fault_filter_abort",
            flag: Some(ResponseFlag::FaultInjected),
            ..LocalReply::default()
        })
    }
}

/// Whether the settings concern this request at all.
fn concerns(settings: &Settings, exchange: &mut Exchange<'_>) -> bool {
    if let Some(wanted) = &settings.upstream_cluster
        && exchange
            .stream
            .cluster
            .as_ref()
            .is_none_or(|cluster| cluster.name() != &**wanted)
    {
        return false;
    }
    let request = exchange.request();
    if !settings.downstream_nodes.is_empty() {
        let node = request.get(header::DOWNSTREAM_NODE);
        if !settings
            .downstream_nodes
            .iter()
            .any(|wanted| node == Some(wanted.as_bytes()))
        {
            return false;
        }
    }
    settings
        .headers
        .iter()
        .all(|matcher| header_lookup::matches(matcher, request))
}

impl HttpFilter for Fault {
    fn interests(&self) -> Interests {
        Interests {
            request_head: true,
            response_data: true,
            finish: true,
            ..Interests::default()
        }
    }

    fn on_request_head(&self, exchange: &mut Exchange<'_>, _end_stream: bool) -> Verdict {
        let settings = match exchange.per_route::<Settings>().next() {
            Some(of_route) => of_route,
            None => &self.settings,
        };
        if !settings.injects() || !concerns(settings, exchange) {
            exchange.step_aside();
            return Verdict::Continue;
        }
        self.limit_response(exchange, settings);
        if let Some(delay) = self.delay(exchange, settings) {
            self.stats.increment(exchange.shard, stat::DELAYS_INJECTED);
            exchange.stream.record.filter_flags.set(ResponseFlag::DelayInjected);
            return Verdict::Pause(Until::Time(exchange.now + delay));
        }
        match self.abort(exchange, settings) {
            Some(reply) => Verdict::Reply(Box::new(reply)),
            None => {
                if exchange.kept_state::<Injected>().is_none() {
                    exchange.step_aside();
                }
                Verdict::Continue
            }
        }
    }

    fn on_resume(&self, exchange: &mut Exchange<'_>) -> Verdict {
        let settings = match exchange.per_route::<Settings>().next() {
            Some(of_route) => of_route,
            None => &self.settings,
        };
        match self.abort(exchange, settings) {
            Some(reply) => Verdict::Reply(Box::new(reply)),
            None => Verdict::Continue,
        }
    }

    fn on_response_data(&self, exchange: &mut Exchange<'_>, data: &[u8], _end_stream: bool) -> DataVerdict {
        let now = exchange.now;
        match exchange.kept_state::<Injected>() {
            Some(Injected {
                limiter: Some(limiter), ..
            }) => limiter.pass(data.len(), now),
            _ => DataVerdict::Continue,
        }
    }

    fn on_finish(&self, exchange: &mut Exchange<'_>) {
        if exchange
            .kept_state::<Injected>()
            .is_some_and(|injected| injected.active)
        {
            self.stats.dec(exchange.shard, stat::ACTIVE_FAULTS);
        }
    }
}
