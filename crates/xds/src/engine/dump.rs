//! Everything that is known, for the admin endpoint.

use std::sync::Arc;
use std::time::Instant;

use config::ResourceType;

use super::Engine;
use crate::key::ResourceKey;
use crate::status::{AcceptedStatus, ClientStatus, ErrorState, Origin, ResourceStatus, Status};
use crate::store::{Entry, Value};

impl Engine {
    /// Everything that is known, for the admin endpoint.
    pub fn status(&self, now: Instant) -> Status {
        let resources = ResourceType::ALL.into_iter().flat_map(|resource_type| {
            let entries = self.store.entries(resource_type);
            entries.map(move |(name, entry)| self.resource_status(resource_type, name, entry))
        });
        let statics = self
            .assembler
            .static_values()
            .map(|(key, value)| self.static_status(key, value));
        let mut resources: Vec<_> = resources.chain(statics).collect();
        resources.sort_by(|a, b| a.key.cmp(&b.key));
        let streams = self.streams.iter().flatten().map(|stream| stream.status(now)).collect();
        Status {
            readiness: self.readiness(),
            resources,
            streams,
        }
    }

    fn resource_status(&self, resource_type: ResourceType, name: &Arc<str>, entry: &Entry) -> ResourceStatus {
        let key = ResourceKey {
            resource_type,
            name: Arc::clone(name),
        };
        ResourceStatus {
            origin: Origin::Dynamic,
            client_status: entry.client_status,
            accepted: entry.accepted.as_ref().map(|accepted| AcceptedStatus {
                version: Arc::clone(&accepted.version),
                last_updated: accepted.at,
                encoded: Arc::clone(&accepted.value.encoded),
                without_effect: Arc::clone(&accepted.value.without_effect),
            }),
            error: entry.rejection.as_ref().map(|rejection| ErrorState {
                version: Arc::clone(&rejection.version),
                details: Arc::clone(&rejection.details),
                encoded: rejection.encoded.clone(),
                last_update_attempt: rejection.at,
            }),
            active: self.assembler.is_active(&key),
            waiting_for: self.assembler.waits_for(&key),
            key,
        }
    }

    fn static_status(&self, key: ResourceKey, value: &Arc<Value>) -> ResourceStatus {
        ResourceStatus {
            origin: Origin::Static,
            client_status: ClientStatus::Acked,
            accepted: Some(AcceptedStatus {
                version: Arc::default(),
                last_updated: self.started.1,
                encoded: Arc::clone(&value.encoded),
                without_effect: Arc::clone(&value.without_effect),
            }),
            error: None,
            active: self.assembler.is_active(&key),
            waiting_for: self.assembler.waits_for(&key),
            key,
        }
    }
}
