//! Where dynamic resources come from (`envoy.config.core.v3.ConfigSource`).

use std::sync::Arc;
use std::time::Duration;

pub(crate) mod parse;

/// A source of resources.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigSource {
    /// Where the resources come from.
    pub specifier: ConfigSourceSpecifier,
    /// How long a resource is waited for at first. Zero waits for ever.
    pub initial_fetch_timeout: Duration,
}

impl ConfigSource {
    /// Envoy's default for [`initial_fetch_timeout`](Self::initial_fetch_timeout).
    pub const DEFAULT_INITIAL_FETCH_TIMEOUT: Duration = Duration::from_secs(15);

    /// The aggregated stream of the bootstrap.
    pub fn ads() -> Self {
        Self {
            specifier: ConfigSourceSpecifier::Ads,
            initial_fetch_timeout: Self::DEFAULT_INITIAL_FETCH_TIMEOUT,
        }
    }
}

/// The kinds of sources.
#[derive(Debug, Clone, PartialEq)]
pub enum ConfigSourceSpecifier {
    /// The aggregated stream of the bootstrap.
    Ads,
    /// The stream that the referring resource came from.
    SelfSource,
    /// A stream of its own.
    Api(Arc<ApiConfigSource>),
    /// A file.
    Path {
        /// The file, holding a `DiscoveryResponse`.
        path: Arc<str>,
        /// A directory whose being moved into place says that the file changed.
        watched_directory: Option<Arc<str>>,
    },
}

/// A management server and how to speak to it.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiConfigSource {
    /// The protocol variant.
    pub api_type: ApiType,
    /// Servers in order of preference.
    pub grpc_services: Vec<GrpcService>,
    /// Whether `node` is sent only in the first request of a stream.
    pub set_node_on_first_message_only: bool,
    /// How long a request may take; only for the initial connection here.
    pub request_timeout: Option<Duration>,
    /// Limit on the rate of requests.
    pub rate_limit_settings: Option<RateLimitSettings>,
}

/// Limit on discovery requests: a token bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimitSettings {
    /// Size of the bucket.
    pub max_tokens: u32,
    /// Tokens a second.
    pub fill_rate: f64,
}

/// Protocol variants of a management server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiType {
    /// State of the world, a stream for this type alone.
    Grpc,
    /// Incremental, a stream for this type alone.
    DeltaGrpc,
    /// State of the world, one stream for all types.
    AggregatedGrpc,
    /// Incremental, one stream for all types.
    AggregatedDeltaGrpc,
}

impl ApiType {
    /// Whether the incremental protocol is spoken.
    pub fn is_delta(self) -> bool {
        matches!(self, Self::DeltaGrpc | Self::AggregatedDeltaGrpc)
    }

    /// Whether one stream carries all types.
    pub fn is_aggregated(self) -> bool {
        matches!(self, Self::AggregatedGrpc | Self::AggregatedDeltaGrpc)
    }
}

/// A gRPC service (`envoy.config.core.v3.GrpcService`).
#[derive(Debug, Clone, PartialEq)]
pub struct GrpcService {
    /// Where it is.
    pub target: GrpcTarget,
    /// How long a call may take; none for ever. Streams of xDS ignore it.
    pub timeout: Option<Duration>,
    /// Metadata sent with every call.
    pub initial_metadata: Vec<(Arc<str>, Arc<[u8]>)>,
}

/// How a gRPC service is reached.
#[derive(Debug, Clone, PartialEq)]
pub enum GrpcTarget {
    /// Through a cluster of the proxy.
    EnvoyGrpc {
        /// The cluster.
        cluster_name: Arc<str>,
        /// `:authority`; the cluster's name when empty.
        authority: Option<Arc<str>>,
        /// Limit on the size of a received message, in bytes.
        max_receive_message_length: Option<u32>,
    },
    /// By a target URI of gRPC's own.
    GoogleGrpc {
        /// The target, such as `dns:///control-plane:15010`.
        target_uri: Arc<str>,
        /// Credentials of the channel; none is plaintext.
        channel_credentials: Option<ChannelCredentials>,
        /// Prefix of its statistics.
        stat_prefix: Arc<str>,
    },
}

/// Channel credentials of a gRPC target.
#[derive(Debug, Clone, PartialEq)]
pub enum ChannelCredentials {
    /// TLS.
    Ssl {
        /// Roots to trust; the platform's when absent.
        root_certs: Option<crate::data_source::DataSource>,
        /// Key of the client certificate.
        private_key: Option<crate::data_source::DataSource>,
        /// The client certificate chain.
        cert_chain: Option<crate::data_source::DataSource>,
    },
    /// Plaintext to a local address.
    Local,
}
