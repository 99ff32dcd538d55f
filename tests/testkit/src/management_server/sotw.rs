//! State of the world: all that is asked for, whenever something of it or the question changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use xds_api::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};

use super::world::World;
use super::{Responses, Shared, transcript};

/// What is asked for of one type.
#[derive(Debug)]
struct Asked {
    names: Vec<String>,
    /// The version last sent.
    sent: Option<String>,
    /// Nonces of responses that are not answered yet.
    unanswered: BTreeSet<String>,
}

pub(super) fn serve(shared: Arc<Shared>, mut requests: Streaming<DiscoveryRequest>) -> Responses<DiscoveryResponse> {
    let (responses, stream) = mpsc::channel::<Result<_, Status>>(16);
    tokio::spawn(async move {
        let mut world = shared.world.subscribe();
        let mut asked: BTreeMap<String, Asked> = BTreeMap::new();
        let mut nonce = 0u64;
        loop {
            tokio::select! {
                request = requests.message() => {
                    let Ok(Some(request)) = request else { return };
                    // A later request repeats the nonce: it changes the question.
                    let known = asked.get_mut(&request.type_url);
                    let answers = !request.response_nonce.is_empty()
                        && known.is_some_and(|known| known.unanswered.remove(&request.response_nonce));
                    shared.heard(transcript::sotw(&request, answers), request.error_detail.as_ref());
                    let names = request.resource_names;
                    match asked.get_mut(&request.type_url) {
                        Some(known) if known.names == names => {}
                        Some(known) => (known.names, known.sent) = (names, None),
                        None => {
                            let new = Asked {
                                names,
                                sent: None,
                                unanswered: BTreeSet::new(),
                            };
                            asked.insert(request.type_url, new);
                        }
                    }
                }
                changed = world.changed() => if changed.is_err() { return },
            }
            let now = world.borrow().clone();
            for (type_url, asked) in &mut asked {
                if let Some(mut response) = response(&now, type_url, asked) {
                    nonce += 1;
                    response.nonce = nonce.to_string();
                    asked.unanswered.insert(response.nonce.clone());
                    if responses.send(Ok(response)).await.is_err() {
                        return;
                    }
                }
            }
        }
    });
    Box::pin(ReceiverStream::new(stream))
}

/// What is to be sent now. Clusters and listeners are sent whole, the rest as asked for, when all of it is there.
fn response(world: &World, type_url: &str, asked: &mut Asked) -> Option<DiscoveryResponse> {
    let resources = world.of(type_url);
    let whole = type_url.ends_with(".Cluster") || type_url.ends_with(".Listener");
    if resources.version.is_empty() || asked.sent.as_ref() == Some(&resources.version) {
        return None;
    }
    if !whole && !asked.names.iter().all(|name| resources.by_name.contains_key(name)) {
        return None;
    }
    asked.sent = Some(resources.version.clone());
    let wanted = |name: &String| whole || asked.names.contains(name);
    Some(DiscoveryResponse {
        version_info: resources.version,
        resources: resources
            .by_name
            .into_iter()
            .filter(|(name, _)| wanted(name))
            .map(|(_, (_, any))| any)
            .collect(),
        type_url: type_url.to_owned(),
        ..DiscoveryResponse::default()
    })
}
