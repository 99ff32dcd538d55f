//! Delta: what changed, and what is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use xds_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};

use super::world::World;
use super::{Responses, Shared, transcript};

/// What is asked for of one type, and what the client has of it.
#[derive(Debug, Default)]
struct Asked {
    everything: bool,
    names: BTreeSet<String>,
    has: BTreeMap<String, String>,
    answered: bool,
}

pub(super) fn serve(
    shared: Arc<Shared>,
    mut requests: Streaming<DeltaDiscoveryRequest>,
) -> Responses<DeltaDiscoveryResponse> {
    let (responses, stream) = mpsc::channel::<Result<_, Status>>(16);
    tokio::spawn(async move {
        let mut world = shared.world.subscribe();
        let mut asked: BTreeMap<String, Asked> = BTreeMap::new();
        let mut nonce = 0u64;
        loop {
            tokio::select! {
                request = requests.message() => {
                    let Ok(Some(request)) = request else { return };
                    shared.heard(transcript::delta(&request), request.error_detail.as_ref());
                    hear(&mut asked, request);
                }
                changed = world.changed() => if changed.is_err() { return },
            }
            let now = world.borrow().clone();
            for (type_url, asked) in &mut asked {
                if let Some(mut response) = response(&now, type_url, asked) {
                    nonce += 1;
                    response.nonce = nonce.to_string();
                    if responses.send(Ok(response)).await.is_err() {
                        return;
                    }
                }
            }
        }
    });
    Box::pin(ReceiverStream::new(stream))
}

fn hear(asked: &mut BTreeMap<String, Asked>, request: DeltaDiscoveryRequest) {
    let first = !asked.contains_key(&request.type_url);
    let asked = asked.entry(request.type_url).or_default();
    if first {
        asked.everything = request.resource_names_subscribe.is_empty();
        asked.has.extend(request.initial_resource_versions);
    }
    for name in request.resource_names_subscribe {
        if name == "*" {
            asked.everything = true;
        } else {
            asked.names.insert(name);
        }
    }
    for name in request.resource_names_unsubscribe {
        asked.names.remove(&name);
        asked.has.remove(&name);
    }
}

fn response(world: &World, type_url: &str, asked: &mut Asked) -> Option<DeltaDiscoveryResponse> {
    let resources = world.of(type_url);
    if resources.version.is_empty() {
        return None;
    }
    let wanted = |name: &String| asked.everything || asked.names.contains(name);
    let sent: Vec<Resource> = resources
        .by_name
        .iter()
        .filter(|(name, (version, _))| wanted(name) && asked.has.get(*name) != Some(version))
        .map(|(name, (version, any))| Resource {
            name: name.clone(),
            version: version.clone(),
            resource: Some(any.clone()),
            ..Resource::default()
        })
        .collect();
    let gone = asked.has.keys().filter(|name| !resources.by_name.contains_key(*name));
    let removed_resources: Vec<String> = gone.cloned().collect();
    // The first question of everything is answered even if there is nothing new: somebody waits for it.
    if sent.is_empty() && removed_resources.is_empty() && (asked.answered || !asked.everything) {
        return None;
    }
    asked.answered = true;
    for name in &removed_resources {
        asked.has.remove(name);
    }
    asked.has.extend(
        sent.iter()
            .map(|resource| (resource.name.clone(), resource.version.clone())),
    );
    Some(DeltaDiscoveryResponse {
        system_version_info: resources.version,
        resources: sent,
        removed_resources,
        type_url: type_url.to_owned(),
        ..DeltaDiscoveryResponse::default()
    })
}
