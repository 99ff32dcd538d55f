//! `envoy.extensions.filters.http.health_check.v3.HealthCheck`: answers health checks of the proxy itself, or lets them
//! through and remembers what came back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use codec::headers::HeaderBlock;
use codec::names::KnownName;
use config::string_matcher::HeaderMatcher;
use config::{Context, ExtensionKind, Extensions, Reported};
use telemetry::access_log::ResponseFlag;
use xds_api::envoy::extensions::filters::http::health_check::v3 as pb;

use super::exchange::Exchange;
use super::header_lookup;
use super::http_filter::{BuildContext, Configured, FilterSettings, HttpFilter, Interests, LocalReply, Until, Verdict};
use crate::local_info::LocalInfo;
use crate::slots::Slot;

/// A health check with a longer body is answered before its end.
const LONGEST_BODY: u64 = 64 * 1024;

#[derive(Debug)]
struct Settings {
    pass_through: bool,
    cache_time: Option<Duration>,
    /// Clusters, and how many percent of their endpoints must be healthy.
    clusters: Vec<(Arc<str>, u32)>,
    headers: Vec<HeaderMatcher>,
}

/// The filter.
#[derive(Debug)]
struct HealthCheck {
    settings: Arc<Settings>,
    clusters: Vec<(Slot, u32)>,
    /// The last answer that was let through.
    cache: Option<Cache>,
    local: Arc<LocalInfo>,
}

#[derive(Debug)]
struct Cache {
    time: Duration,
    answer: Mutex<Option<CachedAnswer>>,
}

#[derive(Clone, Copy, Debug)]
struct CachedAnswer {
    status: u16,
    degraded: bool,
    until: Instant,
}

pub(super) fn register(extensions: &mut Extensions) {
    extensions.register(
        ExtensionKind::HttpFilter,
        "envoy.extensions.filters.http.health_check.v3.HealthCheck",
        |context, bytes| {
            let message: pb::HealthCheck = context.decode(bytes)?;
            let settings = Settings::parse(context, &message)?;
            Ok(Configured::of(HealthCheckSettings(Arc::new(settings))))
        },
    );
}

impl Settings {
    fn parse(context: &mut Context<'_>, message: &pb::HealthCheck) -> Result<Settings, Reported> {
        context.check(message);
        let pass_through = match &message.pass_through_mode {
            Some(flag) => Ok(flag.value),
            None => Err(context.reject_field("pass_through_mode", "is required")),
        };
        let cache_time = context.timeout("cache_time", message.cache_time.as_ref(), None);
        let headers = context.each("headers", &message.headers, HeaderMatcher::parse);
        let mut clusters = Vec::new();
        let mut failed = None;
        for (name, percent) in &message.cluster_min_healthy_percentages {
            let parsed = context.at_key("cluster_min_healthy_percentages", name, |context| {
                context.percent("value", Some(percent), 0.0)
            });
            match parsed {
                // As in Envoy, what follows the point does not count.
                Ok(percent) => clusters.push((Arc::from(name.as_str()), percent as u32)),
                Err(reported) => failed = Some(reported),
            }
        }
        clusters.sort_unstable();
        let (pass_through, cache_time) = (pass_through?, cache_time?);
        if !pass_through && cache_time.is_some() {
            return Err(context.reject_field("cache_time", "must not be set unless pass_through_mode is"));
        }
        failed.map_or(Ok(()), Err)?;
        Ok(Settings {
            pass_through,
            cache_time,
            clusters,
            headers: headers?,
        })
    }
}

#[derive(Debug)]
struct HealthCheckSettings(Arc<Settings>);

impl FilterSettings for HealthCheckSettings {
    fn build(&self, context: &BuildContext<'_>) -> Option<Box<dyn HttpFilter>> {
        let clusters = self.0.clusters.iter();
        Some(Box::new(HealthCheck {
            clusters: clusters
                .map(|(name, percent)| (context.clusters.slot(name), *percent))
                .collect(),
            cache: self.0.cache_time.map(|time| Cache {
                time,
                answer: Mutex::default(),
            }),
            settings: Arc::clone(&self.0),
            local: Arc::clone(context.local),
        }))
    }
}

/// What is kept of a health check.
#[derive(Default)]
struct Check {
    answered_here: bool,
}

impl HealthCheck {
    fn cached(&self, now: Instant) -> Option<CachedAnswer> {
        let answer = self
            .cache
            .as_ref()?
            .answer
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        answer.filter(|answer| now < answer.until)
    }

    fn answer(&self, exchange: &Exchange<'_>) -> LocalReply {
        let mut degraded = false;
        let (status, details) = if self.local.health_check_failed() {
            (503, "health_check_failed")
        } else if let Some(cached) = self.cached(exchange.now) {
            degraded = cached.degraded;
            (cached.status, "health_check_cached")
        } else {
            self.clusters_answer(exchange)
        };
        let mut reply = LocalReply {
            status,
            details,
            flag: (!(200..300).contains(&status)).then_some(ResponseFlag::FailedLocalHealthCheck),
            ..LocalReply::default()
        };
        if degraded {
            reply.headers.push(("x-envoy-degraded", b""[..].into()));
        }
        reply
    }

    fn clusters_answer(&self, exchange: &Exchange<'_>) -> (u16, &'static str) {
        if self.clusters.is_empty() {
            return (200, "health_check_ok");
        }
        for (slot, percent) in &self.clusters {
            let Some(cluster) = exchange.snapshot.cluster(slot) else {
                return (503, "health_check_failed_no_cluster_found");
            };
            let members = cluster.table().membership();
            if members.total == 0 {
                match percent {
                    0 => continue,
                    _ => return (503, "health_check_failed_cluster_empty"),
                }
            }
            let available = members.healthy + members.degraded;
            if available * 100 < members.total * u64::from(*percent) {
                return (503, "health_check_failed_cluster_unhealthy");
            }
        }
        (200, "health_check_ok_cluster_healthy")
    }
}

impl HttpFilter for HealthCheck {
    fn interests(&self) -> Interests {
        Interests {
            request_head: true,
            request_data: true,
            request_trailers: true,
            response_head: true,
            ..Interests::default()
        }
    }

    fn on_request_head(&self, exchange: &mut Exchange<'_>, end_stream: bool) -> Verdict {
        let request = exchange.request();
        let matches = |matcher| header_lookup::matches(matcher, request);
        if !self.settings.headers.iter().all(matches) {
            return Verdict::Continue;
        }
        exchange.stream.record.health_check = true;
        let now = exchange.now;
        exchange.state::<Check>();
        if self.settings.pass_through && !self.local.health_check_failed() && self.cached(now).is_none() {
            return Verdict::Continue;
        }
        exchange.state::<Check>().answered_here = true;
        match end_stream {
            true => Verdict::Reply(Box::new(self.answer(exchange))),
            false => Verdict::Pause(Until::Body),
        }
    }

    fn on_request_data(&self, exchange: &mut Exchange<'_>, _data: &[u8], end_stream: bool) -> Verdict {
        if !exchange.kept_state::<Check>().is_some_and(|check| check.answered_here) {
            return Verdict::Continue;
        }
        match end_stream || exchange.stream.body.received > LONGEST_BODY {
            true => Verdict::Reply(Box::new(self.answer(exchange))),
            false => Verdict::Pause(Until::Body),
        }
    }

    fn on_request_trailers(&self, exchange: &mut Exchange<'_>, _trailers: &mut HeaderBlock) -> Verdict {
        match exchange.kept_state::<Check>() {
            Some(Check { answered_here: true }) => Verdict::Reply(Box::new(self.answer(exchange))),
            _ => Verdict::Continue,
        }
    }

    fn on_response_head(&self, exchange: &mut Exchange<'_>, head: &mut HeaderBlock, _end_stream: bool) {
        if exchange.kept_state::<Check>().is_some() {
            if let Some(cache) = &self.cache {
                let answer = CachedAnswer {
                    status: head.status().unwrap_or(503),
                    degraded: head.contains("x-envoy-degraded"),
                    until: exchange.now + cache.time,
                };
                let mut cached = cache.answer.lock().unwrap_or_else(PoisonError::into_inner);
                // An answer from the cache does not make it last longer.
                if cached.is_none_or(|cached| exchange.now >= cached.until) {
                    *cached = Some(answer);
                }
            }
            let name = self.local.service_cluster().as_bytes();
            head.set(KnownName::XEnvoyUpstreamHealthCheckedCluster, name);
        } else if self.local.health_check_failed() {
            head.set(KnownName::XEnvoyImmediateHealthCheckFail, b"true");
        }
    }
}
