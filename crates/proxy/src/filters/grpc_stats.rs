//! `envoy.extensions.filters.http.grpc_stats.v3.FilterConfig`: counts gRPC calls by status and their messages, for each
//! cluster and, where asked for, each method.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use codec::headers::HeaderBlock;
use codec::names::KnownName;
use config::{Context, ExtensionKind, Extensions, Reported};
use telemetry::stats::{Block, Counter, Registry, Scope, grpc as stat};
use xds_api::envoy::extensions::filters::http::grpc_stats::v3 as pb;

use super::exchange::Exchange;
use super::http_filter::{BuildContext, Configured, DataVerdict, FilterSettings, HttpFilter, Interests, Verdict};

mod messages;

use messages::MessageCounter;

/// Methods of one cluster that are counted one by one where callers choose the names; further ones are counted together.
const MOST_METHODS: usize = 1000;

#[derive(Debug)]
struct Settings {
    methods: Methods,
    times: bool,
    replaces_dots: bool,
}

/// Which methods are counted by themselves.
#[derive(Debug)]
enum Methods {
    None,
    All,
    /// Those with these paths.
    Listed(Vec<Arc<str>>),
}

/// The filter.
#[derive(Debug)]
struct GrpcStats {
    settings: Arc<Settings>,
    registry: Arc<Registry>,
    /// By cluster; replaced as a whole when one is met for the first time.
    clusters: ArcSwap<HashMap<Arc<str>, Arc<Blocks>>>,
}

/// The statistics of one cluster.
#[derive(Debug)]
struct Blocks {
    all: Arc<Block>,
    /// By path; replaced as a whole when one is met for the first time.
    methods: ArcSwap<HashMap<Box<[u8]>, Arc<Block>>>,
}

/// What is kept of a call.
#[derive(Default)]
struct Call {
    block: Option<Arc<Block>>,
    requests: MessageCounter,
    responses: MessageCounter,
    is_grpc_response: bool,
}

pub(super) fn register(extensions: &mut Extensions) {
    extensions.register(
        ExtensionKind::HttpFilter,
        "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
        |context, bytes| {
            let message: pb::FilterConfig = context.decode(bytes)?;
            let settings = Settings::parse(context, &message)?;
            Ok(Configured::of(GrpcStatsSettings(Arc::new(settings))))
        },
    );
}

impl Settings {
    fn parse(context: &mut Context<'_>, message: &pb::FilterConfig) -> Result<Settings, Reported> {
        use pb::filter_config::PerMethodStatSpecifier as Specifier;
        context.check(message);
        let methods = match &message.per_method_stat_specifier {
            None => Methods::None,
            Some(Specifier::StatsForAllMethods(all)) if all.value => Methods::All,
            Some(Specifier::StatsForAllMethods(_)) => Methods::None,
            Some(Specifier::IndividualMethodStatsAllowlist(list)) => {
                let services: Vec<Vec<Arc<str>>> = context.at("individual_method_stats_allowlist", |context| {
                    context.check(list);
                    context.each("services", &list.services, |context, service| {
                        context.check(service);
                        let name = context.text("name", &service.name)?;
                        if service.method_names.is_empty() {
                            return Err(context.reject_field("method_names", "is empty"));
                        }
                        let path = |method: &String| Arc::from(format!("/{name}/{method}"));
                        Ok(service.method_names.iter().map(path).collect())
                    })
                })?;
                Methods::Listed(services.concat())
            }
        };
        Ok(Settings {
            methods,
            times: message.enable_upstream_stats,
            replaces_dots: message.replace_dots_in_grpc_service_name,
        })
    }
}

#[derive(Debug)]
struct GrpcStatsSettings(Arc<Settings>);

impl FilterSettings for GrpcStatsSettings {
    fn build(&self, context: &BuildContext<'_>) -> Option<Box<dyn HttpFilter>> {
        Some(Box::new(GrpcStats {
            settings: Arc::clone(&self.0),
            registry: Arc::clone(context.stats),
            clusters: ArcSwap::default(),
        }))
    }
}

/// Service and method in a path of the form `/service/method`.
fn service_and_method(path: &[u8]) -> Option<(&str, &str)> {
    let path = std::str::from_utf8(path).ok()?;
    let path = path.split('?').next().unwrap_or_default();
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let found = (parts.next()?, parts.next()?);
    parts.next().is_none().then_some(found)
}

impl GrpcStats {
    /// Where a call is counted; `None` if its path is none of a method.
    fn block(&self, cluster: &str, path: &[u8]) -> Option<Arc<Block>> {
        let (service, method) = service_and_method(path)?;
        let blocks = self.blocks(cluster);
        let by_itself = match &self.settings.methods {
            Methods::None => false,
            Methods::All => true,
            Methods::Listed(paths) => paths.iter().any(|listed| listed.as_bytes() == path),
        };
        if !by_itself {
            return Some(Arc::clone(&blocks.all));
        }
        let methods = blocks.methods.load();
        if let Some(block) = methods.get(path) {
            return Some(Arc::clone(block));
        }
        if methods.len() >= MOST_METHODS {
            return Some(Arc::clone(&blocks.all));
        }
        let service = match self.settings.replaces_dots {
            true => service.replace('.', "_"),
            false => service.to_owned(),
        };
        let block = self
            .registry
            .block(Scope::ClusterGrpc(cluster, &service, method), &stat::TABLE);
        blocks.methods.rcu(|methods| {
            let mut methods = HashMap::clone(methods);
            methods.insert(path.into(), Arc::clone(&block));
            methods
        });
        Some(block)
    }

    fn blocks(&self, cluster: &str) -> Arc<Blocks> {
        if let Some(blocks) = self.clusters.load().get(cluster) {
            return Arc::clone(blocks);
        }
        let blocks = Arc::new(Blocks {
            all: self.registry.block(Scope::ClusterPart(cluster, "grpc."), &stat::TABLE),
            methods: ArcSwap::default(),
        });
        self.clusters.rcu(|clusters| {
            let mut clusters = HashMap::clone(clusters);
            clusters.insert(Arc::from(cluster), Arc::clone(&blocks));
            clusters
        });
        blocks
    }

    fn count_status(&self, exchange: &mut Exchange<'_>, block: &HeaderBlock) {
        let Some(status) = block.get(KnownName::GrpcStatus) else {
            return;
        };
        let shard = exchange.shard;
        if let Some(Call { block: Some(stats), .. }) = exchange.kept_state::<Call>() {
            let stats = stats.local(shard);
            if let Some(counter) = status_counter(status) {
                stats.add(counter, 1);
            }
            stats.add(if status == b"0" { stat::SUCCESS } else { stat::FAILURE }, 1);
            stats.add(stat::TOTAL, 1);
        }
    }

    fn record_time(&self, exchange: &mut Exchange<'_>) {
        if !self.settings.times {
            return;
        }
        let record = &exchange.stream.record;
        let Some(sent) = record.sent_upstream_at.max(record.request_received_at) else {
            return;
        };
        let millis = exchange.now.saturating_duration_since(sent).as_millis() as u64;
        let (shard, local_reply) = (exchange.shard, record.local_reply);
        if !local_reply && let Some(Call { block: Some(stats), .. }) = exchange.kept_state::<Call>() {
            stats.record(shard, stat::UPSTREAM_RQ_TIME, millis);
        }
    }
}

fn status_counter(status: &[u8]) -> Option<Counter> {
    const COUNTERS: [Counter; 17] = [
        stat::STATUS_0,
        stat::STATUS_1,
        stat::STATUS_2,
        stat::STATUS_3,
        stat::STATUS_4,
        stat::STATUS_5,
        stat::STATUS_6,
        stat::STATUS_7,
        stat::STATUS_8,
        stat::STATUS_9,
        stat::STATUS_10,
        stat::STATUS_11,
        stat::STATUS_12,
        stat::STATUS_13,
        stat::STATUS_14,
        stat::STATUS_15,
        stat::STATUS_16,
    ];
    let status: usize = std::str::from_utf8(status).ok()?.parse().ok()?;
    COUNTERS.get(status).copied()
}

impl HttpFilter for GrpcStats {
    fn interests(&self) -> Interests {
        Interests {
            request_head: true,
            request_data: true,
            response_head: true,
            response_data: true,
            response_trailers: true,
            ..Interests::default()
        }
    }

    fn on_request_head(&self, exchange: &mut Exchange<'_>, _end_stream: bool) -> Verdict {
        let block = match &exchange.stream.cluster {
            Some(cluster) if exchange.stream.is_grpc => {
                self.block(cluster.name(), exchange.stream.request.path().unwrap_or_default())
            }
            _ => None,
        };
        match block {
            Some(block) => exchange.state::<Call>().block = Some(block),
            None => exchange.step_aside(),
        }
        Verdict::Continue
    }

    fn on_request_data(&self, exchange: &mut Exchange<'_>, data: &[u8], _end_stream: bool) -> Verdict {
        let shard = exchange.shard;
        if let Some(call) = exchange.kept_state::<Call>() {
            let messages = call.requests.count(data);
            if let (1.., Some(stats)) = (messages, &call.block) {
                stats.add(shard, stat::REQUEST_MESSAGE_COUNT, messages);
            }
        }
        Verdict::Continue
    }

    fn on_response_head(&self, exchange: &mut Exchange<'_>, head: &mut HeaderBlock, end_stream: bool) {
        let is_grpc = head.status() == Some(200)
            && head
                .get(KnownName::ContentType)
                .is_some_and(|value| value.starts_with(b"application/grpc"));
        if let Some(call) = exchange.kept_state::<Call>() {
            call.is_grpc_response = is_grpc;
        }
        self.count_status(exchange, head);
        if end_stream {
            self.record_time(exchange);
        }
    }

    fn on_response_data(&self, exchange: &mut Exchange<'_>, data: &[u8], _end_stream: bool) -> DataVerdict {
        let shard = exchange.shard;
        if let Some(call) = exchange.kept_state::<Call>()
            && call.is_grpc_response
        {
            let messages = call.responses.count(data);
            if let (1.., Some(stats)) = (messages, &call.block) {
                stats.add(shard, stat::RESPONSE_MESSAGE_COUNT, messages);
            }
        }
        DataVerdict::Continue
    }

    fn on_response_trailers(&self, exchange: &mut Exchange<'_>, trailers: &mut HeaderBlock) {
        self.count_status(exchange, trailers);
        self.record_time(exchange);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_method_has_two_parts() {
        assert_eq!(service_and_method(b"/a.B/C"), Some(("a.B", "C")));
        assert_eq!(service_and_method(b"/a.B/C?x=/y"), Some(("a.B", "C")));
        for none in ["/a.B", "/a/b/c", "", "/"] {
            assert_eq!(service_and_method(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn callers_cannot_make_more_than_so_many_statistics() {
        let registry = Registry::new(1);
        let filter = GrpcStats {
            settings: Arc::new(Settings {
                methods: Methods::All,
                times: false,
                replaces_dots: true,
            }),
            registry: Arc::clone(&registry),
            clusters: ArcSwap::default(),
        };
        let first = filter.block("c", b"/a.B/C").expect("a method");
        assert_eq!(first.prefix(), "cluster.c.grpc.a_B.C.");
        for number in 0..MOST_METHODS + 5 {
            let _ = filter.block("c", format!("/s/{number}").as_bytes());
        }
        let one_more = filter.block("c", b"/s/another").expect("a method");
        assert_eq!(one_more.prefix(), "cluster.c.grpc.");
        assert!(Arc::ptr_eq(&first, &filter.block("c", b"/a.B/C").expect("a method")));
    }
}
