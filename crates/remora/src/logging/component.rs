//! Components of the log: Envoy's logger names, which `--component-log-level` and `/logging` take, and the modules here
//! that log under them.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

use super::level::Level;

/// Envoy 1.39's logger names in the order in which it lists them. Names of what does not exist here are taken as well,
/// so that Envoy's command lines work.
const NAMES: [&str; COUNT] = [
    "a2a",
    "admin",
    "alternate_protocols_cache",
    "aws",
    "assert",
    "backtrace",
    "basic_auth",
    "cache_filter",
    "client",
    "config",
    "connection",
    "conn_handler",
    "compression",
    "credential_injector",
    "decompression",
    "dns",
    "dubbo",
    "envoy_bug",
    "ext_authz",
    "ext_proc",
    "rocketmq",
    "file",
    "filter",
    "forward_proxy",
    "geolocation",
    "grpc",
    "happy_eyeballs",
    "hc",
    "health_checker",
    "http",
    "http2",
    "hystrix",
    "init",
    "io",
    "jwt",
    "json_rpc",
    "kafka",
    "key_value_store",
    "lua",
    "local_rate_limit",
    "main",
    "matcher",
    "mcp",
    "misc",
    "mongo",
    "multi_connection",
    "notification",
    "oauth2",
    "quic",
    "quic_stream",
    "pool",
    "rate_limit_quota",
    "rbac",
    "rds",
    "redis",
    "router",
    "runtime",
    "stats",
    "secret",
    "sse",
    "tap",
    "testing",
    "thrift",
    "tracing",
    "upstream",
    "udp",
    "wasm",
    "websocket",
    "golang",
    "stats_sinks",
    "dynamic_modules",
    "ip_tagging",
];

/// How many there are.
const COUNT: usize = 72;

/// Which component a module logs under; the longest prefix wins.
const MODULES: [(&str, &str); 24] = [
    ("codec", "http"),
    ("codec::h2", "http2"),
    ("codec::hpack", "http2"),
    ("config", "config"),
    ("h2", "grpc"),
    ("hickory", "dns"),
    ("hyper", "admin"),
    ("proxy", "http"),
    ("proxy::listener", "conn_handler"),
    ("proxy::router", "router"),
    ("proxy::tcp", "filter"),
    ("remora", "main"),
    ("remora::admin", "admin"),
    ("rustls", "connection"),
    ("telemetry", "stats"),
    ("telemetry::trace", "tracing"),
    ("tls", "connection"),
    ("tonic", "grpc"),
    ("upstream", "upstream"),
    ("upstream::dns", "dns"),
    ("upstream::health", "hc"),
    ("upstream::pool", "pool"),
    ("xds", "config"),
    ("xds::secret", "secret"),
];

static LEVELS: [AtomicU8; COUNT] = [const { AtomicU8::new(Level::Info as u8) }; COUNT];

/// A component of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Component(usize);

/// A name that is not one of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnknownComponent(String);

impl fmt::Display for UnknownComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid component specified '{}'", self.0)
    }
}

impl Component {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..COUNT).map(Self)
    }

    pub(crate) fn named(name: &str) -> Result<Self, UnknownComponent> {
        Self::find(name).ok_or_else(|| UnknownComponent(name.to_owned()))
    }

    fn find(name: &str) -> Option<Self> {
        NAMES.iter().position(|other| *other == name).map(Self)
    }

    /// The component of a `tracing` target, which is a module's path unless an event says otherwise.
    pub(super) fn of_target(target: &str) -> Self {
        let is_below = |module: &str| {
            target
                .strip_prefix(module)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::") || module == "hickory")
        };
        let longest = MODULES
            .iter()
            .filter(|(module, _)| is_below(module))
            .max_by_key(|(module, _)| module.len());
        let name = longest.map_or(target, |(_, name)| name);
        Self::find(name).or_else(|| Self::find("misc")).unwrap_or(Self(0))
    }

    pub(crate) fn name(self) -> &'static str {
        NAMES[self.0]
    }

    pub(crate) fn level(self) -> Level {
        Level::from_number(LEVELS[self.0].load(Ordering::Relaxed))
    }

    pub(super) fn set_level(self, level: Level) {
        LEVELS[self.0].store(level as u8, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_log_under_the_component_of_the_longest_prefix() {
        for (target, name) in [
            ("codec::h2::connection", "http2"),
            ("codec", "http"),
            ("codecs", "misc"),
            ("remora::admin::stats", "admin"),
            ("remora::critical", "main"),
            ("hickory_resolver::lookup", "dns"),
            ("tokio::runtime", "misc"),
            ("router", "router"),
        ] {
            assert_eq!(Component::of_target(target).name(), name, "{target}");
        }
    }

    #[test]
    fn every_module_names_a_component() {
        for (module, name) in MODULES {
            assert!(Component::named(name).is_ok(), "{module}");
        }
        assert_eq!(
            Component::named("foo").expect_err("unknown").to_string(),
            "invalid component specified 'foo'"
        );
        assert!(Component::named("").is_err());
    }
}
