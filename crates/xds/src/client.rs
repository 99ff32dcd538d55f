//! The client as the binary uses it.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use config::config_source::{ApiConfigSource, ConfigSource, GrpcService};
use config::{Config, Fingerprint};
use telemetry::stats::Registry;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use xds_api::envoy::config::core::v3::Node;

use crate::backoff::Backoff;
use crate::data_errors::DataErrors;
use crate::decode::{DecodedResource, Decoder};
use crate::driver::Shared;
use crate::status::{Readiness, Status};

/// A byte stream to a management server, TLS and all.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Dials management servers. The binary implements it, so that this crate knows nothing of clusters at run time.
pub trait Connector: Send + Sync + 'static {
    /// Connects to a service: for `envoy_grpc` to an endpoint of the named static cluster with its transport socket.
    /// HTTP/2 is spoken over what is returned. Dropping the future gives up.
    fn connect(&self, service: &GrpcService) -> Connecting<'_>;
}

/// A connection attempt.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send + 'a>>;

/// What the client is told by the bootstrap.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Who we are.
    pub node: Node,
    /// `static_resources`: listeners, clusters, secrets; with `clusters[].load_assignment` inside the clusters.
    pub static_resources: Vec<DecodedResource>,
    /// `dynamic_resources.ads_config`.
    pub ads_config: Option<Arc<ApiConfigSource>>,
    /// `dynamic_resources.cds_config`.
    pub cds_config: Option<Arc<ConfigSource>>,
    /// `dynamic_resources.lds_config`.
    pub lds_config: Option<Arc<ConfigSource>>,
    /// Where the last-good cache is kept (`--xds-cache`); none keeps nothing. The directory must exist.
    pub cache_directory: Option<PathBuf>,
    /// What Envoy has no field for.
    pub settings: Settings,
}

/// Settings with good defaults.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a new route table (or listener) waits for clusters that it names and that are not yet known. When it
    /// runs out the table is published and only the routes to a missing cluster fail.
    pub cluster_wait: Duration,
    /// Whether a new cluster with active health checks or DNS names waits, at most as long as `cluster_wait`, until
    /// [`Handle::cluster_warm`] says that its first round is done.
    pub await_data_plane: bool,
    /// Limit on the size of one response, in bytes. istiod sends more than gRPC's default of 4 MiB.
    pub maximum_message_size: usize,
    /// After how long without an answer a named resource is taken not to exist (gRFC A57).
    pub does_not_exist_timeout: Duration,
    /// First and last ceiling of the reconnect back-off.
    pub backoff: (Duration, Duration),
    /// HTTP/2 keepalive on the stream's connection: interval and timeout.
    pub keepalive: (Duration, Duration),
    /// How long a connection attempt may take.
    pub connect_timeout: Duration,
    /// How often the last-good cache is written at most.
    pub cache_interval: Duration,
    /// What becomes of values that are removed, refused or reported to be at fault (`--xds-data-errors`).
    pub data_errors: DataErrors,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cluster_wait: Duration::from_secs(15),
            await_data_plane: false,
            maximum_message_size: 128 << 20,
            does_not_exist_timeout: Duration::from_secs(15),
            backoff: (Backoff::INITIAL, Backoff::MAXIMUM),
            keepalive: (Duration::from_secs(30), Duration::from_secs(10)),
            connect_timeout: Duration::from_secs(5),
            cache_interval: Duration::from_secs(5),
            data_errors: DataErrors::default(),
        }
    }
}

/// The client. [`run`](Client::run) drives it; [`handle`](Client::handle) observes it.
///
/// ```no_run
/// # async fn example(options: xds::Options, decoder: std::sync::Arc<dyn xds::Decoder>,
/// #     connector: std::sync::Arc<dyn xds::Connector>) {
/// let statistics = telemetry::stats::Registry::new(2);
/// let client = xds::Client::new(options, decoder, connector, &statistics);
/// let mut configs = client.handle().configs();
/// let first = configs.current(); // static resources are there at once
/// tokio::spawn(client.run());
/// while let Some(config) = configs.next().await {
///     // compile and publish `config`
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

impl Client {
    /// A client that has assembled the static resources and not yet connected.
    pub fn new(
        options: Options,
        decoder: Arc<dyn Decoder>,
        connector: Arc<dyn Connector>,
        statistics: &Arc<Registry>,
    ) -> Self {
        Self {
            shared: Shared::new(options, decoder, connector, statistics),
        }
    }

    /// A handle for other tasks and threads.
    pub fn handle(&self) -> Handle {
        Handle {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Runs the streams until the future is dropped.
    pub async fn run(self) {
        self.shared.run().await;
    }
}

/// Observes a client from any thread, and tells it what the data plane found out.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Who we are, as the servers are told.
    pub fn node(&self) -> &Node {
        &self.shared.node
    }

    /// The configurations from now on, each complete and consistent. A slow reader sees only the newest.
    pub fn configs(&self) -> ConfigWatch {
        ConfigWatch {
            receiver: self.shared.configs.subscribe(),
        }
    }

    /// Changes of readiness, for `/ready` and for starting the listeners.
    pub fn readiness(&self) -> watch::Receiver<Readiness> {
        self.shared.readiness.subscribe()
    }

    /// New clusters that wait only for the data plane (their first health checks, or their first resolution), with their
    /// endpoints and secrets. They are in no configuration yet. Empty unless [`Settings::await_data_plane`] is set.
    pub fn warming(&self) -> ConfigWatch {
        ConfigWatch {
            receiver: self.shared.warming.subscribe(),
        }
    }

    /// The first round of health checks or DNS resolution of a warming cluster is done, whatever its result. The
    /// fingerprint is that of the cluster as it was tried.
    pub fn cluster_warm(&self, name: &str, fingerprint: Fingerprint) {
        self.shared.cluster_warm(name, fingerprint);
    }

    /// Writes the last-good cache, if there is one and something was accepted since it was written: for the end of the
    /// process, which comes before the next write is due. Waits for the disk.
    pub fn keep_last_good(&self) {
        self.shared.keep_last_good();
    }

    /// All resources and streams as they are now. Costs in proportion to their number.
    pub fn status(&self) -> Status {
        self.shared.status()
    }
}

/// The newest configuration, again and again.
#[derive(Debug, Clone)]
pub struct ConfigWatch {
    receiver: watch::Receiver<Arc<Config>>,
}

impl ConfigWatch {
    /// The newest configuration; the next call of [`next`](Self::next) waits for a newer one.
    pub fn current(&mut self) -> Arc<Config> {
        Arc::clone(&self.receiver.borrow_and_update())
    }

    /// Waits for a configuration newer than the last one seen. None when the client is gone.
    pub async fn next(&mut self) -> Option<Arc<Config>> {
        self.receiver.changed().await.ok()?;
        Some(self.current())
    }
}
