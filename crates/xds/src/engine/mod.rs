//! The client without I/O: sessions, store and assembler joined.
//!
//! Whoever drives it opens streams, passes responses in and takes requests, configurations and deadlines out. All its
//! methods return at once.

mod apply;
mod dump;
mod fallback;
mod image;
mod refusal;
mod sources;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use config::config_source::{ApiConfigSource, ConfigSource};
use config::{Config, Fingerprint, ResourceType};
use telemetry::stats::Registry;
use xds_api::envoy::config::core::v3::Node;

use crate::assemble::{Assembler, AssemblerOptions, Interest};
use crate::data_errors::DataErrors;
use crate::decode::{DecodedResource, Decoder};
use crate::key::ResourceKey;
use crate::session::{Request, Response, Unexpected};
use crate::source::{SourceId, Sources};
use crate::statistics::Statistics;
use crate::status::{ClientStatus, InitialFetch, Readiness};
use crate::store::{Store, Value};
use stream::Stream;

/// What an engine is made of.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// Who we are.
    pub node: Node,
    /// Resources of the bootstrap.
    pub static_resources: Vec<DecodedResource>,
    /// `dynamic_resources.ads_config`.
    pub ads_config: Option<Arc<ApiConfigSource>>,
    /// `dynamic_resources.cds_config`.
    pub cds_config: Option<Arc<ConfigSource>>,
    /// `dynamic_resources.lds_config`.
    pub lds_config: Option<Arc<ConfigSource>>,
    /// See [`AssemblerOptions::cluster_wait`].
    pub cluster_wait: Duration,
    /// See [`AssemblerOptions::await_data_plane`].
    pub await_data_plane: bool,
    /// See [`SessionOptions::does_not_exist_timeout`](crate::session::SessionOptions::does_not_exist_timeout).
    pub does_not_exist_timeout: Option<Duration>,
    /// What becomes of values that are removed, refused or reported to be at fault.
    pub data_errors: DataErrors,
}

/// A stream that the engine wants to have.
#[derive(Debug, Clone)]
pub struct StreamSpecification {
    /// Names it in all other calls.
    pub source: SourceId,
    /// What it leads to.
    pub transport: Transport,
}

/// What a stream leads to.
#[derive(Debug, Clone)]
pub enum Transport {
    /// Management servers.
    Grpc {
        /// Which, and how to speak to them.
        api: Arc<ApiConfigSource>,
        /// The only type asked for on it, where it is not aggregated.
        only: Option<ResourceType>,
    },
    /// A file, which is treated as a state-of-the-world server that sends it whenever it changes.
    File {
        /// The file: a `DiscoveryResponse`.
        path: Arc<str>,
        /// The directory to watch in place of the file's own.
        watched_directory: Option<Arc<str>>,
        /// What is in it.
        resource_type: ResourceType,
    },
}

/// Sessions, store and assembler. See the [module](self).
pub struct Engine {
    decoder: Arc<dyn Decoder>,
    options: EngineOptions,
    store: Store,
    assembler: Assembler,
    sources: Sources,
    /// By [`SourceId`]; none where a source cannot be used.
    streams: Vec<Option<Stream>>,
    /// Streams not yet handed out by [`take_new_streams`](Self::take_new_streams).
    new_streams: Vec<StreamSpecification>,
    initial: [Initial; 2],
    /// When resources with a time to live expire.
    expiries: BTreeSet<(Instant, ResourceKey)>,
    /// What of the last-good cache is not taken over yet; empty but while it is read.
    cached: image::Cached,
    /// Whether what is served comes from the cache and no server has confirmed it.
    from_cache: bool,
    /// The same moment on both clocks: what is shown has a date, what is decided has a monotonic time.
    started: (Instant, SystemTime),
    statistics: Statistics,
}

/// The first answer to a subscription to everything of a type.
#[derive(Debug, Clone, Copy)]
struct Initial {
    resource_type: ResourceType,
    fetch: InitialFetch,
    deadline: Option<Instant>,
}

impl Engine {
    /// An engine that has published the static resources as far as they do not wait for dynamic ones.
    pub fn new(
        options: EngineOptions,
        decoder: Arc<dyn Decoder>,
        statistics: &Arc<Registry>,
        now: Instant,
        wall: SystemTime,
    ) -> Self {
        let waiting = AssemblerOptions {
            cluster_wait: options.cluster_wait,
            await_data_plane: options.await_data_plane,
        };
        let initial = |resource_type, source: &Option<Arc<ConfigSource>>| {
            let timeout = source.as_ref().map(|source| source.initial_fetch_timeout);
            Initial {
                resource_type,
                fetch: if source.is_some() {
                    InitialFetch::Pending
                } else {
                    InitialFetch::NotConfigured
                },
                deadline: timeout
                    .filter(|timeout| !timeout.is_zero())
                    .map(|timeout| now + timeout),
            }
        };
        let mut engine = Self {
            decoder,
            store: Store::default(),
            assembler: Assembler::new(waiting, options.cds_config.is_some()),
            sources: Sources::default(),
            streams: Vec::new(),
            new_streams: Vec::new(),
            initial: [
                initial(ResourceType::Cluster, &options.cds_config),
                initial(ResourceType::Listener, &options.lds_config),
            ],
            expiries: BTreeSet::new(),
            cached: image::Cached::new(),
            from_cache: false,
            started: (now, wall),
            statistics: Statistics::new(statistics),
            options,
        };
        engine.start(now);
        engine
    }

    fn start(&mut self, now: Instant) {
        for decoded in std::mem::take(&mut self.options.static_resources) {
            let key = ResourceKey::new(decoded.resource.resource_type(), Arc::clone(decoded.name()));
            self.assembler
                .accept_static(&key, Arc::new(Value::of_bootstrap(decoded)));
        }
        let everything = [
            (ResourceType::Cluster, self.options.cds_config.clone()),
            (ResourceType::Listener, self.options.lds_config.clone()),
        ];
        for (resource_type, source) in everything {
            let Some(source) = source else { continue };
            match self.stream_for(&source.specifier, resource_type, now) {
                Some(stream) => {
                    stream.session.subscribe_all(resource_type);
                    self.statistics.subscribed_to_all(resource_type);
                }
                None => self.initial_answer(resource_type, InitialFetch::TimedOut),
            }
        }
        self.settle(now);
    }

    /// Streams to be opened that were not returned before. Each is to be kept open from now on.
    pub fn take_new_streams(&mut self) -> Vec<StreamSpecification> {
        std::mem::take(&mut self.new_streams)
    }

    /// Whether [`take_new_streams`](Self::take_new_streams) would return any.
    pub fn has_new_streams(&self) -> bool {
        !self.new_streams.is_empty()
    }

    /// A stream to one of the source's servers was opened; `server` is its place among them.
    pub fn stream_opened(&mut self, source: SourceId, server: usize, now: Instant) {
        if let Some(stream) = stream_of(&mut self.streams, source) {
            stream.session.stream_opened(server);
            stream.connected(now);
            let whole = [ResourceType::Cluster, ResourceType::Listener];
            for resource_type in whole.into_iter().filter(|t| stream.session.wants_all(*t)) {
                self.store.forget_refused(resource_type);
                if resource_type == ResourceType::Cluster {
                    self.assembler.forget_refused_clusters();
                }
            }
            self.statistics.connected(source, true);
        }
    }

    /// A stream ended, or could not be opened, for this reason.
    pub fn stream_closed(&mut self, source: SourceId, reason: String, now: Instant) {
        let Some(stream) = stream_of(&mut self.streams, source) else {
            return;
        };
        if stream.session.is_open() {
            stream.session.stream_closed();
            stream.since = now;
        }
        stream.last_error = Some(reason);
        let never_answered = !stream.answered;
        self.statistics.connected(source, false);
        for initial in &self.initial {
            if stream.session.wants_all(initial.resource_type) {
                self.statistics.update_failed(initial.resource_type);
            }
        }
        if never_answered && self.from_cache {
            self.serve_from_cache();
            self.settle(now);
        }
    }

    /// A source that stays open had nothing usable to say: a file that is missing or no `DiscoveryResponse`.
    pub fn source_failed(&mut self, source: SourceId, reason: String) {
        let Some(stream) = stream_of(&mut self.streams, source) else {
            return;
        };
        for initial in &self.initial {
            if stream.session.wants_all(initial.resource_type) {
                self.statistics.update_refused(initial.resource_type);
            }
        }
        if stream.last_error.as_ref() != Some(&reason) {
            tracing::warn!(stream = stream.name, "{reason}");
            stream.last_error = Some(reason);
        }
    }

    /// The next request for a stream, when there is one. To be called when the transport can take it.
    pub fn next_request(&mut self, source: SourceId, now: Instant) -> Option<Request> {
        let stream = stream_of(&mut self.streams, source)?;
        if !stream.session.has_request() || stream.held_back.is_some_and(|until| now < until) {
            return None;
        }
        if let Some(Err(until)) = stream.rate_limit.as_mut().map(|limit| limit.take(now)) {
            stream.held_back = Some(until);
            self.statistics.rate_limited(source, true);
            return None;
        }
        if stream.held_back.take().is_some() {
            self.statistics.rate_limited(source, false);
        }
        stream.session.next_request(&self.store, now)
    }

    /// Whether a stream has something to say and may say it now.
    pub fn has_request(&self, source: SourceId, now: Instant) -> bool {
        let stream = self.streams.get(source.0).and_then(Option::as_ref);
        stream.is_some_and(|stream| stream.session.has_request() && stream.held_back.is_none_or(|until| until <= now))
    }

    /// Streams that have something to say, or would have if they were connected.
    pub fn streams_with_requests(&self, now: Instant) -> impl Iterator<Item = SourceId> {
        (0..self.streams.len()).map(SourceId).filter(move |source| {
            let news = |stream: &Stream| stream.has_news;
            self.has_request(*source, now)
                || self.has_probe_request(*source)
                || self.streams[source.0].as_ref().is_some_and(news)
        })
    }

    /// A response was read: takes over what is good in it and prepares the acknowledgement.
    ///
    /// # Errors
    /// When it belongs to no subscription; it changed nothing.
    pub fn receive(&mut self, source: SourceId, response: Response, now: Instant) -> Result<(), Unexpected> {
        let Some(stream) = self.stream(source) else {
            return Err(Unexpected::WrongVariant);
        };
        let update = stream.session.receive(response)?;
        stream.answered = true;
        self.from_cache = false;
        let (receipt, refusal) = self.apply(source, update, now);
        let resource_type = receipt.resource_type;
        self.initial_answer(resource_type, InitialFetch::Done);
        self.statistics
            .updated(resource_type, &receipt.version, refusal.is_none(), self.wall(now));
        if let Some(stream) = self.stream(source) {
            stream.answered_types[resource_type as usize] = true;
            stream.note(&receipt, refusal.as_deref());
            stream.session.acknowledge(receipt, refusal);
        }
        self.settle(now);
        Ok(())
    }

    /// The data plane finished the first round of checks or the first resolution of a warming cluster.
    pub fn cluster_warm(&mut self, name: &str, fingerprint: Fingerprint, now: Instant) {
        self.assembler.cluster_warm(name, fingerprint);
        self.settle(now);
    }

    /// When [`on_deadline`](Self::on_deadline) is to be called.
    pub fn deadline(&self) -> Option<Instant> {
        let streams = self.streams.iter().flatten();
        let sessions = streams
            .flat_map(|stream| [stream.session.deadline(), stream.held_back])
            .flatten();
        let initial = self.initial.iter().filter_map(|initial| initial.deadline);
        let expiry = self.expiries.first().map(|(expiry, _)| *expiry);
        sessions
            .chain(initial)
            .chain(expiry)
            .chain(self.assembler.deadline())
            .min()
    }

    /// Does what is due.
    pub fn on_deadline(&mut self, now: Instant) {
        for (at, stream) in self.streams.iter_mut().enumerate() {
            let Some(stream) = stream else { continue };
            if stream.held_back.take_if(|until| *until <= now).is_some() {
                self.statistics.rate_limited(SourceId(at), false);
            }
            for key in stream.session.timed_out(now) {
                let status = if self.assembler.not_sent(&key) {
                    ClientStatus::DoesNotExist
                } else {
                    ClientStatus::Timeout
                };
                self.store.give_up(&key, status);
            }
        }
        while self.expiries.first().is_some_and(|(expiry, _)| *expiry <= now) {
            if let Some((expiry, key)) = self.expiries.pop_first()
                && self
                    .store
                    .entry(key.resource_type, &key.name)
                    .is_some_and(|entry| entry.expires == Some(expiry))
            {
                self.store.remove(&key);
                self.assembler.expire(&key);
            }
        }
        for at in 0..self.initial.len() {
            let Initial {
                resource_type,
                deadline,
                ..
            } = self.initial[at];
            if deadline.is_some_and(|deadline| deadline <= now) {
                self.statistics.initial_fetch_timed_out(resource_type);
                self.initial_answer(resource_type, InitialFetch::TimedOut);
            }
        }
        self.settle(now);
    }

    /// The configuration, if it changed since the last call.
    pub fn take_config(&mut self) -> Option<Arc<Config>> {
        self.assembler.take_config()
    }

    /// The clusters that wait for the data plane, with their endpoints and secrets, if they changed since the last call.
    pub fn take_warming(&mut self) -> Option<Arc<Config>> {
        self.assembler.take_warming()
    }

    /// Whether the proxy has what it needs to begin.
    pub fn readiness(&self) -> Readiness {
        let [clusters, listeners] = &self.initial;
        Readiness {
            clusters: clusters.fetch,
            listeners: listeners.fetch,
            ready: self.assembler.is_initialized(),
            from_cache: self.from_cache,
        }
    }

    /// Lets the assembler do what it can and passes on what it wants to know.
    fn settle(&mut self, now: Instant) {
        loop {
            let changes = self.assembler.settle(now);
            for key in self.assembler.take_timed_out() {
                self.statistics.fetch_timed_out(&key);
                self.store.give_up(&key, ClientStatus::Timeout);
            }
            if changes.is_empty() {
                break;
            }
            for change in changes {
                self.follow(change, now);
            }
        }
        if self.initial.iter().all(|initial| initial.fetch.is_over()) {
            self.assembler.initial_answers_complete();
        }
        self.statistics.assembled(&self.assembler);
    }

    fn follow(&mut self, change: Interest, now: Instant) {
        match change {
            Interest::Gained(key, source) => {
                self.store.request(&key);
                self.statistics.subscribed(&key);
                match self.stream_for(&source.specifier, key.resource_type, now) {
                    Some(stream) => stream.subscribe(&key),
                    None => self.assembler.unavailable(&key),
                }
                self.restore_resource(&key, now);
            }
            Interest::Lost(key, source) => {
                self.store.forget(&key);
                self.statistics.unsubscribed(&key);
                if let Some(stream) = self.stream_for(&source.specifier, key.resource_type, now) {
                    stream.unsubscribe(&key);
                }
            }
        }
    }

    fn stream(&mut self, source: SourceId) -> Option<&mut Stream> {
        stream_of(&mut self.streams, source)
    }

    /// The first answer decides; later ones change nothing.
    fn initial_answer(&mut self, resource_type: ResourceType, fetch: InitialFetch) {
        for initial in self
            .initial
            .iter_mut()
            .filter(|initial| initial.resource_type == resource_type)
        {
            if initial.fetch == InitialFetch::Pending {
                initial.fetch = fetch;
                initial.deadline = None;
            }
        }
    }

    fn wall(&self, now: Instant) -> SystemTime {
        self.started.1 + now.saturating_duration_since(self.started.0)
    }
}

/// A stream, borrowed apart from the rest of the engine.
fn stream_of(streams: &mut [Option<Stream>], source: SourceId) -> Option<&mut Stream> {
    streams.get_mut(source.0)?.as_mut()
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("streams", &self.streams)
            .field("initial", &self.initial)
            .finish_non_exhaustive()
    }
}
