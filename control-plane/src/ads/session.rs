//! One stream, without the stream: requests and views go in, responses come out.
//!
//! Changes go out in the order clusters, endpoints, listeners, routes, so that nothing
//! arrives before what it refers to; and clusters are taken away only when the routes that
//! no longer name them are in force (xDS protocol, "Eventual consistency considerations").

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::message::Request;
use super::subscription::{Answer, Subscription, Update};
use crate::compile::resource::{Resource, ResourceType, Version, View};

/// How long listeners and routes wait for clusters that were sent: until they and their
/// endpoints are accepted. Envoy accepts clusters when they are warm, so that control
/// planes can wait for just that.
const CLUSTERS_WAIT: Duration = Duration::from_secs(5);

/// A response of either variant.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its type.
    pub kind: ResourceType,
    /// Its nonce.
    pub nonce: String,
    /// The version of all that the client has of the type once it accepts.
    pub version: Version,
    /// Resources.
    pub resources: Vec<Arc<Resource>>,
    /// Names removed; delta only.
    pub removed: Vec<Arc<str>>,
}

/// A request that ends the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownType {
    /// The type asked for.
    pub type_url: String,
}

impl fmt::Display for UnknownType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let served = ResourceType::ALL.map(ResourceType::type_url).join(", ");
        write!(f, "type_url: found \"{}\", expected one of {served}", self.type_url)
    }
}

impl std::error::Error for UnknownType {}

/// The state of a type, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncState {
    /// The client has what it should have.
    Synced,
    /// A response is on its way, or due.
    Stale,
    /// The client refused the last response.
    Nacked {
        /// Its reason.
        reason: String,
    },
}

/// A stream's state.
#[derive(Debug)]
pub struct Session {
    is_sotw: bool,
    view: Option<View>,
    subscriptions: [Option<Subscription>; 5],
    /// Types that may have something to send.
    dirty: [bool; 5],
    nonces: u64,
    /// New clusters of a client that takes all of them, whose endpoints it has not yet
    /// accepted; and until when what was sent of clusters is waited for.
    warming: BTreeSet<Arc<str>>,
    warming_until: Option<Instant>,
}

impl Session {
    /// A stream on which nothing was said yet.
    pub fn new(is_sotw: bool) -> Self {
        Self {
            is_sotw,
            view: None,
            subscriptions: Default::default(),
            dirty: [false; 5],
            nonces: 0,
            warming: BTreeSet::new(),
            warming_until: None,
        }
    }

    /// What the client is to have, if that is known.
    pub fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    /// Takes in what the client is to have from now on.
    pub fn set_view(&mut self, view: View) {
        for kind in ResourceType::ALL {
            let is_same = self
                .view
                .as_ref()
                .is_some_and(|before| before.of(kind).is_same(view.of(kind)));
            self.dirty[kind.index()] |= !is_same;
        }
        self.view = Some(view);
    }

    /// Takes in a request.
    ///
    /// # Errors
    /// A type that is not served.
    pub fn request(&mut self, request: Request) -> Result<Option<(ResourceType, Answer)>, UnknownType> {
        let Some(kind) = ResourceType::from_type_url(&request.type_url) else {
            return Err(UnknownType {
                type_url: request.type_url,
            });
        };
        self.dirty[kind.index()] = true;
        let Some(subscription) = &mut self.subscriptions[kind.index()] else {
            let mut subscription = Subscription::new(kind);
            subscription.begin(request.change);
            self.subscriptions[kind.index()] = Some(subscription);
            return Ok(None);
        };
        let was_in_flight = subscription.is_in_flight();
        if !subscription.request(&request.nonce, request.error, request.change) {
            return Ok(None);
        }
        if !was_in_flight || subscription.is_in_flight() {
            return Ok(None);
        }
        let answer = subscription.answer().clone();
        if kind == ResourceType::Endpoints {
            let endpoints = &self.subscriptions[kind.index()];
            self.warming
                .retain(|name| endpoints.as_ref().is_none_or(|endpoints| !endpoints.knows(name)));
            if self.warming.is_empty() {
                self.warming_until = None;
            }
        }
        // An answer may be what other types waited for.
        self.dirty = [true; 5];
        Ok(Some((kind, answer)))
    }

    /// The next response to send now, if any.
    pub fn next_response(&mut self, now: Instant) -> Option<Response> {
        if self.warming_until.is_some_and(|until| now >= until) {
            self.warming.clear();
            self.warming_until = None;
            self.dirty = [true; 5];
        }
        for kind in ResourceType::ALL {
            if self.dirty[kind.index()]
                && let Some(response) = self.response_of(kind, now)
            {
                return Some(response);
            }
        }
        None
    }

    /// When [`next_response`](Self::next_response) may have something that no event brings.
    pub fn deadline(&self) -> Option<Instant> {
        self.warming_until
    }

    fn response_of(&mut self, kind: ResourceType, now: Instant) -> Option<Response> {
        let hold_removals = kind == ResourceType::Cluster && !self.routes_are_settled();
        if matches!(kind, ResourceType::Listener | ResourceType::Route) && self.clusters_are_pending() {
            // Still dirty: an answer or the deadline brings it back here.
            return None;
        }
        let view = self.view.as_ref()?;
        let subscription = self.subscriptions[kind.index()].as_mut()?;
        if subscription.is_in_flight() {
            return None;
        }
        let Some(update) = subscription.update(view.of(kind), self.is_sotw, hold_removals) else {
            self.dirty[kind.index()] = false;
            return None;
        };
        if self.is_sotw && !kind.is_complete_in_sotw() && update.resources.is_empty() {
            subscription.forget_removed(&update);
            self.dirty[kind.index()] = false;
            return None;
        }
        self.nonces += 1;
        let nonce = format!("{:x}", self.nonces);
        subscription.sent(nonce.clone(), &update);
        let version = subscription.known_version();
        if kind == ResourceType::Cluster && subscription.is_wildcard() {
            self.warming_until = Some(now + CLUSTERS_WAIT);
            self.expect_endpoints(&update);
        }
        let removed = if self.is_sotw { Vec::new() } else { update.removed };
        Some(Response {
            kind,
            nonce,
            version,
            resources: update.resources,
            removed,
        })
    }

    /// Clusters were sent: the client needs the endpoints of the new ones, which it will
    /// ask for, and those of the changed ones again, which it may not ask for. Envoy
    /// warms a changed cluster from the next endpoints that arrive.
    fn expect_endpoints(&mut self, update: &Update) {
        let (Some(view), Some(endpoints)) = (&self.view, &mut self.subscriptions[ResourceType::Endpoints.index()])
        else {
            return;
        };
        let assignments = view.of(ResourceType::Endpoints);
        for name in update.changed.iter().filter(|name| assignments.get(name).is_some()) {
            if endpoints.knows(name) {
                endpoints.send_again(name);
                self.dirty[ResourceType::Endpoints.index()] = true;
            } else {
                self.warming.insert(Arc::clone(name));
            }
        }
    }

    /// Whether listeners and routes must wait: what they may refer to is on its way.
    fn clusters_are_pending(&self) -> bool {
        let clusters = &self.subscriptions[ResourceType::Cluster.index()];
        // A client that asks for clusters by name learns the names from the routes.
        let Some(clusters) = clusters.as_ref().filter(|clusters| clusters.is_wildcard()) else {
            return false;
        };
        let endpoints = self.subscriptions[ResourceType::Endpoints.index()].as_ref();
        let endpoints_pending = endpoints.is_some_and(Subscription::is_in_flight);
        self.warming_until.is_some() && (clusters.is_in_flight() || endpoints_pending || !self.warming.is_empty())
    }

    /// Whether the client has the routes and listeners it is to have: only then clusters
    /// that they no longer name may go.
    fn routes_are_settled(&self) -> bool {
        let Some(view) = &self.view else {
            return true;
        };
        [ResourceType::Listener, ResourceType::Route].into_iter().all(|kind| {
            self.subscriptions[kind.index()].as_ref().is_none_or(|subscription| {
                !subscription.is_in_flight() && subscription.update(view.of(kind), self.is_sotw, false).is_none()
            })
        })
    }

    /// The state of a type that was asked for.
    pub fn state_of(&self, kind: ResourceType) -> Option<(SyncState, &Subscription)> {
        let subscription = self.subscriptions[kind.index()].as_ref()?;
        let state = match subscription.answer() {
            Answer::Nacked { reason } => SyncState::Nacked { reason: reason.clone() },
            _ if subscription.is_in_flight() || self.dirty[kind.index()] => SyncState::Stale,
            _ => SyncState::Synced,
        };
        Some((state, subscription))
    }
}
