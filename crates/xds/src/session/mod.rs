//! One discovery stream, without the stream: messages and a clock go in, requests come out.
//!
//! A session outlives its streams. It speaks state of the world or delta, and hides which behind [`Update`].
//!
//! ```text
//!            subscribe / unsubscribe (any time)
//!                     │
//!  closed ──stream_opened──▶ opened ──next_request*──▶ ... ──receive──▶ Update ──acknowledge──▶ next_request* ...
//!    ▲                                                                                             │
//!    └───────────────────────────────── stream_closed ─────────────────────────────────────────────┘
//! ```
//!
//! Requests are made when the transport has room ([`Session::next_request`]), never queued ahead of it: what waits is a
//! set of names and at most one acknowledgement per type (state of the world) or a bounded number (delta), so a server
//! that does not read cannot make the session grow.

mod acknowledgements;
mod delta;
mod sotw;
mod subscription;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::ResourceType;
use xds_api::envoy::config::core::v3::Node;
use xds_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use xds_api::google::protobuf::Any;

use crate::key::ResourceKey;
use acknowledgements::{Acknowledgement, Acknowledgements};
use subscription::Subscription;

/// The two protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Every response carries all that is subscribed to.
    StateOfTheWorld,
    /// Responses carry what changed.
    Delta,
}

/// A request to be written to the stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Of the state-of-the-world protocol.
    StateOfTheWorld(DiscoveryRequest),
    /// Of the delta protocol.
    Delta(DeltaDiscoveryRequest),
}

/// A response read from the stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    /// Of the state-of-the-world protocol.
    StateOfTheWorld(DiscoveryResponse),
    /// Of the delta protocol.
    Delta(DeltaDiscoveryResponse),
}

/// A response of either protocol, made the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// What must be echoed to acknowledge it.
    pub receipt: Receipt,
    /// Resources sent, in the order sent.
    pub resources: Vec<Incoming>,
    /// Names the server says do not exist (any more).
    pub removed: Vec<Arc<str>>,
    /// Whether the response holds all resources of the type, so that what it does not name is removed: state of the
    /// world, listeners and clusters only. For the other types absence says nothing.
    pub complete: bool,
    /// Errors the server reports for resources it cannot send (gRFC A88).
    pub errors: Vec<ReportedError>,
    /// The server's name for itself (`control_plane.identifier`), when it gives one.
    pub control_plane: Option<String>,
}

/// Identifies a response when it is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The type of the resources in it.
    pub resource_type: ResourceType,
    /// The version of the response as a whole.
    pub version: Arc<str>,
    nonce: String,
}

/// What a server says of a resource that it cannot send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedError {
    /// The resource.
    pub name: Arc<str>,
    /// Whether we are not allowed to have it (gRPC's PERMISSION_DENIED).
    pub is_denied: bool,
    /// The server's words.
    pub message: String,
}

/// One resource of an update.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    /// The name outside the resource. None where the protocol has none (state of the world without wrapper).
    pub name: Option<Arc<str>>,
    /// Its version: its own in delta, the response's in state of the world.
    pub version: Arc<str>,
    /// The resource; none is a heartbeat, which says that the resource with this version lives on.
    pub body: Option<Any>,
    /// For how long it is valid unless it is sent again.
    pub ttl: Option<Duration>,
}

/// Why a response was not understood at all. It is counted, logged and otherwise ignored: it cannot be NACKed, for
/// that would subscribe to its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unexpected {
    /// Envoy ignores such a response with a warning.
    #[error("response with type URL {0:?}, which is not subscribed to")]
    NotSubscribed(String),
    /// The transport gave a message of the other protocol.
    #[error("response of the wrong protocol variant")]
    WrongVariant,
}

/// What the session asks about resources that are held, when it opens a stream.
pub trait Held {
    /// The version of the accepted value of a resource, empty when another server sent it; none when nothing is
    /// accepted.
    fn version(&self, resource_type: ResourceType, name: &str, server: usize) -> Option<Arc<str>>;

    /// All accepted resources of a type with their versions, empty for those that another server sent.
    fn versions(&self, resource_type: ResourceType, server: usize) -> Vec<(Arc<str>, Arc<str>)>;
}

/// What a session is made of.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// The protocol.
    pub variant: Variant,
    /// Who asks.
    pub node: Node,
    /// Whether only the first request of a stream carries the node (`set_node_on_first_message_only`).
    pub node_on_first_message_only: bool,
    /// After how long a resource that was asked for and not sent is taken not to exist (gRFC A57: 15 s). None never.
    pub does_not_exist_timeout: Option<Duration>,
}

/// One discovery stream across reconnects. See the [module](self).
#[derive(Debug)]
pub struct Session {
    options: SessionOptions,
    /// Which of the source's servers is spoken to, by its place among them.
    server: usize,
    open: bool,
    node_sent: bool,
    subscriptions: [Subscription; ResourceType::ALL.len()],
    acknowledgements: Acknowledgements,
    /// Does-not-exist timers in the order in which they run out. An entry whose name was answered meanwhile is stale:
    /// the name's own state is the truth.
    timers: VecDeque<(Instant, ResourceKey)>,
}

impl Session {
    /// A session without subscriptions and without a stream.
    pub fn new(options: SessionOptions) -> Self {
        Self {
            options,
            server: 0,
            open: false,
            node_sent: false,
            subscriptions: Default::default(),
            acknowledgements: Acknowledgements::default(),
            timers: VecDeque::new(),
        }
    }

    /// A session that asks another server for the same, on a stream of its own.
    pub fn fork(&self) -> Self {
        let mut fork = Self {
            subscriptions: self.subscriptions.clone(),
            server: self.server,
            ..Self::new(self.options.clone())
        };
        fork.stream_closed();
        fork
    }

    /// The server it speaks to, by its place among those of its source.
    pub fn server(&self) -> usize {
        self.server
    }

    /// The protocol it speaks.
    pub fn variant(&self) -> Variant {
        self.options.variant
    }

    /// Asks for all resources of a type.
    pub fn subscribe_all(&mut self, resource_type: ResourceType) {
        self.subscription(resource_type).subscribe_all();
    }

    /// Asks for one resource by name.
    pub fn subscribe(&mut self, key: &ResourceKey) {
        self.subscription(key.resource_type).subscribe(&key.name);
    }

    /// Asks no longer for one resource.
    pub fn unsubscribe(&mut self, key: &ResourceKey) {
        self.subscription(key.resource_type).unsubscribe(&key.name);
    }

    /// Whether the resource is asked for, by name or with all of its type.
    pub fn wants(&self, resource_type: ResourceType, name: &str) -> bool {
        self.subscriptions[resource_type as usize].wants(name)
    }

    /// The names of a type that are asked for.
    pub fn names(&self, resource_type: ResourceType) -> impl Iterator<Item = &Arc<str>> {
        self.subscriptions[resource_type as usize].names()
    }

    /// Whether all resources of a type are asked for.
    pub fn wants_all(&self, resource_type: ResourceType) -> bool {
        self.subscriptions[resource_type as usize].is_wildcard()
    }

    /// Whether a stream is open.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// A stream to this server was opened: everything is asked for anew. Nonces die with a stream; versions do not, but
    /// they mean nothing to another server than the one that gave them.
    pub fn stream_opened(&mut self, server: usize) {
        self.stream_closed();
        if std::mem::replace(&mut self.server, server) != server {
            for subscription in &mut self.subscriptions {
                subscription.version.clear();
            }
        }
        self.open = true;
    }

    /// The stream is gone.
    pub fn stream_closed(&mut self) {
        self.open = false;
        self.node_sent = false;
        self.acknowledgements.clear();
        self.timers.clear();
        for subscription in &mut self.subscriptions {
            subscription.stream_closed();
        }
    }

    /// Normalises a response. The caller applies the update and then calls [`acknowledge`](Self::acknowledge).
    ///
    /// # Errors
    /// When it belongs to no subscription; it is to be ignored.
    pub fn receive(&mut self, response: Response) -> Result<Update, Unexpected> {
        match (response, self.options.variant) {
            (Response::StateOfTheWorld(response), Variant::StateOfTheWorld) => sotw::normalise(self, response),
            (Response::Delta(response), Variant::Delta) => delta::normalise(self, response),
            _ => Err(Unexpected::WrongVariant),
        }
    }

    /// The resource was sent or said not to exist: nobody waits for it any more. A resource that was rejected was sent.
    pub fn answered(&mut self, resource_type: ResourceType, name: &str) {
        self.subscription(resource_type).answered(name);
    }

    /// Accepts a response, or refuses it with the text of what is wrong with it.
    pub fn acknowledge(&mut self, receipt: Receipt, refusal: Option<String>) {
        let Receipt {
            resource_type,
            version,
            nonce,
        } = receipt;
        if refusal.is_none() && self.options.variant == Variant::StateOfTheWorld {
            self.subscription(resource_type).version = version.to_string();
        }
        let newest_only = self.options.variant == Variant::StateOfTheWorld;
        self.acknowledgements.push(
            Acknowledgement {
                resource_type,
                nonce,
                refusal,
            },
            newest_only,
        );
    }

    /// The next request, when there is one. To be called when the transport can take it, so that it says what is true
    /// at that time.
    ///
    /// Acknowledgements go first and alone: istiod takes a message that both acknowledges and changes a subscription for
    /// one of the two. Types follow in the order of `xds_protocol.rst`, clusters first.
    pub fn next_request(&mut self, held: &dyn Held, now: Instant) -> Option<Request> {
        if !self.open {
            return None;
        }
        let opened = |resource_type: ResourceType| self.subscriptions[resource_type as usize].is_open();
        if let Some(acknowledgement) = self.acknowledgements.pop(opened) {
            return Some(self.acknowledgement_request(acknowledgement));
        }
        let resource_type = ResourceType::ALL
            .into_iter()
            .find(|t| self.subscriptions[*t as usize].is_pending())?;
        let request = match self.options.variant {
            Variant::StateOfTheWorld => sotw::subscription_request(self, resource_type, held),
            Variant::Delta => delta::subscription_request(self, resource_type, held),
        };
        self.start_timers(resource_type, now);
        Some(request)
    }

    /// Whether [`next_request`](Self::next_request) would return a request.
    pub fn has_request(&self) -> bool {
        let opened = |resource_type: ResourceType| self.subscriptions[resource_type as usize].is_open();
        self.open && (self.acknowledgements.any(opened) || self.subscriptions.iter().any(Subscription::is_pending))
    }

    /// When [`timed_out`](Self::timed_out) has something to say at the earliest.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.front().map(|(deadline, _)| *deadline)
    }

    /// Resources that were asked for on a connected stream and not sent in time: taken not to exist, until they come.
    pub fn timed_out(&mut self, now: Instant) -> Vec<ResourceKey> {
        let mut absent = Vec::new();
        while self.timers.front().is_some_and(|(deadline, _)| *deadline <= now) {
            if let Some((deadline, key)) = self.timers.pop_front()
                && self.subscription(key.resource_type).time_out(&key.name, deadline)
            {
                absent.push(key);
            }
        }
        absent
    }

    fn acknowledgement_request(&mut self, acknowledgement: Acknowledgement) -> Request {
        match self.options.variant {
            Variant::StateOfTheWorld => sotw::acknowledgement_request(self, acknowledgement),
            Variant::Delta => delta::acknowledgement_request(self, acknowledgement),
        }
    }

    /// Starts the does-not-exist timers of the names just asked for.
    fn start_timers(&mut self, resource_type: ResourceType, now: Instant) {
        let Some(timeout) = self.options.does_not_exist_timeout else {
            self.subscription(resource_type).asked(None);
            return;
        };
        let deadline = now + timeout;
        for name in self.subscription(resource_type).asked(Some(deadline)) {
            self.timers.push_back((deadline, ResourceKey { resource_type, name }));
        }
    }

    /// The node for the next request: always in the first of a stream, afterwards unless told otherwise.
    fn node(&mut self) -> Option<Node> {
        let first = !std::mem::replace(&mut self.node_sent, true);
        (first || !self.options.node_on_first_message_only).then(|| self.options.node.clone())
    }

    fn subscription(&mut self, resource_type: ResourceType) -> &mut Subscription {
        &mut self.subscriptions[resource_type as usize]
    }

    /// The subscribed type of a response.
    fn expected(&self, type_url: &str) -> Result<ResourceType, Unexpected> {
        ResourceType::from_type_url(type_url)
            .filter(|resource_type| self.subscriptions[*resource_type as usize].is_wanted())
            .ok_or_else(|| Unexpected::NotSubscribed(type_url.to_owned()))
    }
}

/// Whether a type's resources are sent as one complete set, so that absence means removal.
fn is_complete_set(resource_type: ResourceType) -> bool {
    matches!(resource_type, ResourceType::Listener | ResourceType::Cluster)
}

/// A protobuf duration that is not negative.
pub(crate) fn positive(duration: xds_api::google::protobuf::Duration) -> Option<Duration> {
    Some(Duration::new(
        u64::try_from(duration.seconds).ok()?,
        u32::try_from(duration.nanos).ok()?,
    ))
}
