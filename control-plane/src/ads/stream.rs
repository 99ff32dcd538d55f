//! The life of one stream.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::Ads;
use super::message::{Request, Variant};
use super::session::Session;
use super::subscription::Answer;
use crate::compile::resource::{ResourceType, View};
use crate::compile::{Snapshot, Withheld};
use crate::node::NodeIdentity;
use crate::status::proxies::ProxyEntry;

/// Serves a stream until its client goes away.
pub(super) async fn serve<V: Variant>(
    mut ads: Ads,
    mut requests: Streaming<V::Request>,
    responses: mpsc::Sender<Result<V::Response, Status>>,
) {
    let outcome = Stream::<V>::begin(&mut ads, &mut requests).await;
    let outcome = match outcome {
        Ok(Some(stream)) => stream.run(&mut ads, &mut requests, &responses).await,
        Ok(None) => Ok(()),
        Err(status) => Err(status),
    };
    if let Err(status) = outcome {
        tracing::warn!(reason = status.message(), "stream ended");
        // A client that is gone needs no reason.
        let _ = responses.send(Err(status)).await;
    }
}

struct Stream<V> {
    node: NodeIdentity,
    session: Session,
    /// This stream's line in the table of proxies; it vanishes with the stream.
    entry: ProxyEntry,
    /// Why the node has nothing new, to say it once.
    trouble: Option<String>,
    variant: std::marker::PhantomData<V>,
}

impl<V: Variant> Stream<V> {
    /// Waits for the first request, which says who is there.
    async fn begin(ads: &mut Ads, requests: &mut Streaming<V::Request>) -> Result<Option<Self>, Status> {
        let Some(request) = requests.message().await? else {
            return Ok(None);
        };
        let request = V::read(request);
        let Some(node) = &request.node else {
            return Err(Status::invalid_argument(
                "node: missing in the first request of the stream",
            ));
        };
        let identity = NodeIdentity::of(node).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let mut stream = Self {
            entry: ads.proxies.connect(&node.id, V::NAME, SystemTime::now()),
            node: identity,
            session: Session::new(V::IS_SOTW),
            trouble: None,
            variant: std::marker::PhantomData,
        };
        tracing::info!(node = %node.id, variant = V::NAME, "connected");
        let snapshot = Arc::clone(&ads.snapshots.borrow_and_update());
        stream.refresh(ads, &snapshot);
        stream.request(request)?;
        Ok(Some(stream))
    }

    async fn run(
        mut self,
        ads: &mut Ads,
        requests: &mut Streaming<V::Request>,
        responses: &mpsc::Sender<Result<V::Response, Status>>,
    ) -> Result<(), Status> {
        let mut renewals = ads.identities.renewals();
        // Made as soon as there is something to say, sent as soon as there is room. While
        // it waits requests are still read: two ends that both only write would wait for
        // each other for ever.
        let mut next = None;
        loop {
            if next.is_none() {
                next = self.session.next_response(Instant::now());
                self.report(next.as_ref().map(|response| response.kind));
            }
            let deadline = self.session.deadline();
            tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(request)) => self.request(V::read(request))?,
                    // The client went away; how makes no difference.
                    Ok(None) | Err(_) => return Ok(()),
                },
                permit = responses.reserve(), if next.is_some() => {
                    let Ok(permit) = permit else { return Ok(()) };
                    if let Some(response) = next.take() {
                        tracing::debug!(
                            node = %self.entry.node(), kind = %response.kind, resources = response.resources.len(),
                            removed = response.removed.len(), version = %response.version, "push"
                        );
                        permit.send(Ok(V::write(&response)));
                    }
                }
                changed = ads.snapshots.changed() => {
                    if changed.is_err() {
                        return Err(Status::unavailable("the control plane is shutting down"));
                    }
                    let snapshot = Arc::clone(&ads.snapshots.borrow_and_update());
                    self.refresh(ads, &snapshot);
                }
                renewed = renewals.changed() => {
                    if renewed.is_ok() {
                        let snapshot = Arc::clone(&ads.snapshots.borrow());
                        self.refresh(ads, &snapshot);
                    }
                }
                () = sleep_until(deadline), if next.is_none() => {}
            }
        }
    }

    fn request(&mut self, request: Request) -> Result<(), Status> {
        let answered = self.session.request(request);
        match answered.map_err(|error| Status::invalid_argument(error.to_string()))? {
            Some((kind, Answer::Nacked { reason })) => {
                tracing::warn!(node = %self.entry.node(), %kind, reason, "refused by the proxy");
            }
            Some((kind, _)) => tracing::debug!(node = %self.entry.node(), %kind, "accepted by the proxy"),
            None => {}
        }
        Ok(())
    }

    /// Takes in what the node is to have now. What cannot be told it keeps as it was.
    fn refresh(&mut self, ads: &Ads, snapshot: &Snapshot) {
        let trouble = match view(ads, snapshot, &self.node) {
            Ok((mut view, withheld)) => {
                for resource in &withheld {
                    let before = self
                        .session
                        .view()
                        .and_then(|before| before.of(resource.kind).own.get(&*resource.name));
                    if let Some(before) = before {
                        let own = &mut view.of_mut(resource.kind).own;
                        own.insert(Arc::clone(&before.name), Arc::clone(before));
                    }
                }
                self.session.set_view(view);
                let reasons: Vec<String> = withheld
                    .iter()
                    .map(|resource| format!("not served: {resource}"))
                    .collect();
                (!withheld.is_empty()).then(|| reasons.join("; "))
            }
            Err(trouble) => Some(format!("nothing new is served: {trouble}")),
        };
        if let Some(trouble) = trouble
            .as_ref()
            .filter(|trouble| self.trouble.as_ref() != Some(trouble))
        {
            tracing::warn!(node = %self.entry.node(), "{trouble}; the node keeps what it has");
        }
        self.trouble = trouble;
    }

    /// Brings the table of proxies up to date.
    fn report(&self, sending: Option<ResourceType>) {
        self.entry
            .update(self.trouble.as_deref(), |kind| self.session.state_of(kind), sending);
    }
}

/// What a node is to have, and what of that is withheld.
fn view(ads: &Ads, snapshot: &Snapshot, node: &NodeIdentity) -> Result<(View, Vec<Withheld>), String> {
    let (pod, ip) = match node {
        NodeIdentity::Proxyless { namespace } => return Ok((snapshot.proxyless_view(namespace), Vec::new())),
        NodeIdentity::Sidecar { pod, ip } => (pod, ip),
    };
    let Some(workload) = snapshot.workload(pod) else {
        return Err(format!("there is no Pod {pod}"));
    };
    let identity = &workload.identity;
    if identity.ip != *ip {
        return Err(format!("the node says it is at {ip}, Pod {pod} is at {}", identity.ip));
    }
    if !identity.has_sidecar {
        return Err(format!("Pod {pod} has no sidecar by its own label or annotation"));
    }
    let (mut view, withheld) = snapshot.sidecar_view(workload);
    let secrets = ads.identities.secrets(&identity.account(), SystemTime::now());
    view.of_mut(ResourceType::Secret).own = secrets.map_err(|error| error.to_string())?;
    Ok((view, withheld))
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
