//! The last-good cache as the engine sees it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use config::ResourceType;
use xds_api::google::protobuf::Any;

use super::Engine;
use crate::cache::{CachedResource, Image};
use crate::key::ResourceKey;
use crate::session::Incoming;
use crate::status::InitialFetch;

/// Resources of the cache that nothing has referred to yet.
pub(super) type Cached = HashMap<ResourceKey, CachedResource>;

impl Engine {
    /// A number that differs when the [image](Self::image) does.
    pub(crate) fn changes(&self) -> u64 {
        self.store.changes()
    }

    /// Everything that is accepted, to be kept.
    pub(crate) fn image(&self) -> Image {
        let of_type = |resource_type: ResourceType| {
            self.store.entries(resource_type).filter_map(move |(name, entry)| {
                let accepted = entry.accepted.as_ref()?;
                // What may expire while nobody looks is not worth keeping.
                entry.expires.is_none().then(|| CachedResource {
                    type_url: resource_type.type_url().to_owned(),
                    name: name.to_string(),
                    version: accepted.version.to_string(),
                    value: accepted.value.encoded.to_vec(),
                })
            })
        };
        Image {
            node_id: self.options.node.id.clone(),
            node_cluster: self.options.node.cluster.clone(),
            resources: ResourceType::ALL.into_iter().flat_map(of_type).collect(),
        }
    }

    /// Takes over what was kept, as if it had been accepted before a break of the stream. It serves when no server can be
    /// reached; the first contact brings it up to date.
    pub(crate) fn restore(&mut self, image: Image, now: Instant) {
        let key = |resource: &CachedResource| {
            let resource_type = ResourceType::from_type_url(&resource.type_url)?;
            Some(ResourceKey::new(resource_type, resource.name.as_str()))
        };
        self.cached = image
            .resources
            .into_iter()
            .filter_map(|resource| Some((key(&resource)?, resource)))
            .collect();
        self.from_cache = !self.cached.is_empty();
        let whole = |resource_type| matches!(resource_type, ResourceType::Cluster | ResourceType::Listener);
        let roots: Vec<_> = self
            .cached
            .keys()
            .filter(|key| whole(key.resource_type))
            .cloned()
            .collect();
        for key in roots {
            let wanted = self
                .streams
                .iter()
                .flatten()
                .any(|stream| stream.session.wants_all(key.resource_type));
            if wanted && !self.assembler.is_static(&key) {
                self.restore_resource(&key, now);
            }
        }
        // Endpoints, routes and secrets are taken over as they are found to be referred to.
        self.settle(now);
        self.cached = HashMap::new();
    }

    /// Takes over a kept resource, when there is one of this name.
    pub(super) fn restore_resource(&mut self, key: &ResourceKey, now: Instant) {
        let Some(resource) = self.cached.remove(key) else {
            return;
        };
        let incoming = Incoming {
            name: Some(Arc::clone(&key.name)),
            version: resource.version.into(),
            body: Some(Any {
                type_url: resource.type_url,
                value: resource.value,
            }),
            ttl: None,
        };
        if let Err(fault) = self.apply_resource(key, incoming, 0, now) {
            tracing::warn!("last-good cache: {key} is left out: {}", fault.details);
        }
    }

    /// No server was reached: what the cache had must do.
    pub(super) fn serve_from_cache(&mut self) {
        if self.from_cache {
            for resource_type in [ResourceType::Cluster, ResourceType::Listener] {
                self.initial_answer(resource_type, InitialFetch::Cached);
            }
        }
    }
}
