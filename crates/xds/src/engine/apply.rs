//! Taking over an update: what is good in it takes effect, what is not is refused, resource by resource.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use config::{Fingerprint, Resource, ResourceType};
use xds_api::google::protobuf::Any;

use super::Engine;
use super::refusal::{Refusal, describe};
use crate::data_errors::DataErrors;
use crate::decode::{DecodedResource, name_hint, shared_list};
use crate::key::ResourceKey;
use crate::session::{Incoming, Receipt, Update};
use crate::source::SourceId;
use crate::status::InitialFetch;
use crate::store::{Accepted, Rejection, Value};

/// Up to this size, in bytes, a message that was refused is kept to be shown.
const MAXIMUM_KEPT: usize = 1 << 20;

/// Why a resource was refused.
pub(super) struct Fault {
    /// All that is wrong with it.
    pub(super) details: String,
    /// The message as it was sent.
    encoded: Option<Vec<u8>>,
    /// Whether the server said so itself.
    reported: bool,
    /// Whether it says nothing of the value that is held: the server is in trouble, not the resource.
    is_passing: bool,
}

impl Fault {
    /// What the server said itself.
    fn reported(details: String) -> Self {
        Self {
            reported: true,
            ..Self::from(details)
        }
    }
}

impl From<String> for Fault {
    fn from(details: String) -> Self {
        Self {
            details,
            encoded: None,
            reported: false,
            is_passing: false,
        }
    }
}

impl Engine {
    /// Applies an update to store and assembler and returns how it is to be acknowledged. Faults do not stop it: every
    /// valid resource of the response is used and all faults are collected (gRFC A46).
    pub(super) fn apply(&mut self, source: SourceId, update: Update, now: Instant) -> (Receipt, Option<String>) {
        let Update {
            receipt,
            resources,
            removed,
            complete,
            errors,
            control_plane,
        } = update;
        let resource_type = receipt.resource_type;
        let server = self.stream(source).map_or(0, |stream| stream.session.server());
        if let Some(name) = control_plane {
            self.statistics.control_plane(source, &name);
            if let Some(stream) = self.stream(source) {
                stream.control_plane = name;
            }
        }
        let mut refusal = Refusal::new(resource_type);
        let names: Vec<Option<Arc<str>>> = resources.iter().map(incoming_name).collect();
        let duplicates = duplicates(&names, &removed);
        for name in &duplicates {
            let fault = Fault::from("is in the response more than once".to_owned());
            refusal.add(Some(name), 0, &fault.details);
            let key = ResourceKey {
                resource_type,
                name: Arc::clone(name),
            };
            if self.is_wanted(source, &key) {
                self.answered(source, &key);
                self.refuse(&key, &receipt.version, fault, now);
            }
        }
        // Without a name it cannot be told what is absent: then nothing is.
        let mut nameless = false;
        for (place, (incoming, name)) in resources.into_iter().zip(&names).enumerate() {
            let Some(name) = name else {
                nameless = true;
                refusal.add(None, place, &nameless_fault(resource_type, incoming.body.as_ref()));
                continue;
            };
            let key = ResourceKey {
                resource_type,
                name: Arc::clone(name),
            };
            if duplicates.contains(name) || !self.is_wanted(source, &key) {
                continue;
            }
            self.answered(source, &key);
            if let Err(fault) = self.apply_resource(&key, incoming, server, now) {
                refusal.add(Some(name), place, &fault.details);
                self.refuse(&key, &receipt.version, fault, now);
            }
        }
        for name in removed.into_iter().filter(|name| !duplicates.contains(name)) {
            self.remove(source, &ResourceKey { resource_type, name }, now);
        }
        let reported: Vec<Arc<str>> = errors.iter().map(|error| Arc::clone(&error.name)).collect();
        for error in errors {
            let key = ResourceKey {
                resource_type,
                name: error.name,
            };
            if self.is_wanted(source, &key) {
                self.answered(source, &key);
                let mut fault = Fault::reported(format!("the control plane reports: {}", error.message));
                fault.is_passing = !error.is_denied;
                self.refuse(&key, &receipt.version, fault, now);
            }
        }
        if complete && !nameless {
            // What the server cannot send is not absent.
            let present: HashSet<&str> = names.iter().flatten().chain(&reported).map(|name| &**name).collect();
            self.remove_absent(source, resource_type, &present, now);
        }
        (receipt, refusal.finish())
    }

    /// Takes over one resource that this server sent.
    pub(super) fn apply_resource(
        &mut self,
        key: &ResourceKey,
        incoming: Incoming,
        server: usize,
        now: Instant,
    ) -> Result<(), Fault> {
        let Incoming { version, body, ttl, .. } = incoming;
        let expires = ttl.map(|ttl| now + ttl);
        let Some(any) = body else {
            // A heartbeat: the version held lives on. For another version there is nothing to keep alive.
            let entry = self.store.entry(key.resource_type, &key.name);
            let held = entry.and_then(|entry| entry.accepted.as_ref());
            if held.is_some_and(|accepted| accepted.version == version) {
                self.set_expiry(key, expires);
            }
            return Ok(());
        };
        if ResourceType::from_type_url(&any.type_url) != Some(key.resource_type) {
            return Err(wrong_type(key.resource_type, &any.type_url).into());
        }
        if key.name.starts_with("xdstp:") {
            return Err("xdstp names are not supported".to_owned().into());
        }
        let value = match self.known(key, &any) {
            Some(known) => known,
            None => {
                let value = self.decode(key, any)?;
                self.check_clusters(&value)?;
                value
            }
        };
        // The same name, in the copy that is shared with whatever refers to it: the response's goes with the response.
        let key = &ResourceKey::new(key.resource_type, Arc::clone(value.resource.name()));
        self.statistics.accepted(&value.resource, &version, self.wall(now));
        let accepted = Accepted {
            value: Arc::clone(&value),
            version,
            server,
            at: self.wall(now),
        };
        self.store.accept(key, accepted);
        self.set_expiry(key, expires);
        self.assembler.accept(key, value);
        Ok(())
    }

    fn decode(&self, key: &ResourceKey, any: Any) -> Result<Arc<Value>, Fault> {
        let details = match self.decoder.decode(key.resource_type, &any) {
            Ok(decoded) if *decoded.name() == key.name => return Ok(Arc::new(Value::received(decoded, any.value))),
            Ok(decoded) => format!("is named {:?} inside and {:?} outside", decoded.name(), key.name),
            Err(faults) => describe(&faults),
        };
        Err(Fault {
            encoded: Some(any.value),
            ..Fault::from(details)
        })
    }

    /// As in Envoy, a table that is written into its listener, or says `validate_clusters: true`, is refused when it names
    /// a cluster that there is not. What comes before the first clusters is not: it waits for them.
    fn check_clusters(&self, value: &Value) -> Result<(), Fault> {
        let [clusters, _] = &self.initial;
        if clusters.fetch == InitialFetch::Pending {
            return Ok(());
        }
        let is_known = |name: &str| self.assembler.has_cluster(name);
        let unknown = match &value.resource {
            Resource::Listener(listener) => listener.unknown_cluster(is_known),
            Resource::RouteConfiguration(table) if table.validate_clusters == Some(true) => {
                table.unknown_cluster(is_known)
            }
            _ => None,
        };
        match unknown {
            None => Ok(()),
            Some(unknown) => {
                let details = format!("has {unknown}, which is not known (validate_clusters)");
                Err(Fault {
                    encoded: Some(value.encoded.to_vec()),
                    ..Fault::from(details)
                })
            }
        }
    }

    /// The value held, when the bytes are the same: nothing is decoded and nothing downstream changes.
    fn known(&self, key: &ResourceKey, any: &Any) -> Option<Arc<Value>> {
        let held = self.store.value(key.resource_type, &key.name)?;
        let is_same = *held.encoded == *any.value && !held.resource.is_good_for_a_time();
        is_same.then(|| Arc::clone(held))
    }

    fn set_expiry(&mut self, key: &ResourceKey, expires: Option<Instant>) {
        if let Some(former) = self
            .store
            .set_expiry(key, expires)
            .filter(|former| Some(*former) != expires)
        {
            self.expiries.remove(&(former, key.clone()));
        }
        if let Some(expires) = expires {
            self.expiries.insert((expires, key.clone()));
        }
    }

    fn refuse(&mut self, key: &ResourceKey, version: &Arc<str>, fault: Fault, now: Instant) {
        let is_passing = fault.is_passing;
        let rejection = Rejection {
            version: Arc::clone(version),
            details: fault.details.into(),
            encoded: fault
                .encoded
                .filter(|encoded| encoded.len() <= MAXIMUM_KEPT)
                .map(Arc::from),
            reported: fault.reported,
            at: self.wall(now),
        };
        if self.options.data_errors == DataErrors::Drop && !is_passing {
            self.drop_value(key);
        }
        self.store.reject(key, rejection);
        self.statistics.rejected(key);
        self.assembler.reject(key);
    }

    /// The value that is held goes, whatever refers to it.
    fn drop_value(&mut self, key: &ResourceKey) {
        if self.store.value(key.resource_type, &key.name).is_none() {
            return;
        }
        self.set_expiry(key, None);
        self.store.remove(key);
        self.assembler.expire(key);
    }

    /// The server says that a resource does not exist (any more).
    fn remove(&mut self, source: SourceId, key: &ResourceKey, now: Instant) {
        if !self.is_wanted(source, key) {
            return;
        }
        self.answered(source, key);
        let policy = self.options.data_errors;
        if policy == DataErrors::Keep
            && let Some(version) = self.store.accepted_version(key)
        {
            let fault = Fault::reported("the control plane has removed it; the last good value is kept".to_owned());
            return self.refuse(key, &version, fault, now);
        }
        if policy == DataErrors::Drop {
            self.drop_value(key);
        }
        self.set_expiry(key, None);
        if is_named(key.resource_type) {
            self.store.remove(key)
        } else {
            self.store.forget(key)
        }
        self.assembler.remove(key);
    }

    /// A complete set was received: what is not in it is gone.
    fn remove_absent(&mut self, source: SourceId, resource_type: ResourceType, present: &HashSet<&str>, now: Instant) {
        let absent = |name: &&Arc<str>| !present.contains(&***name);
        let names: Vec<_> = self
            .store
            .entries(resource_type)
            .map(|(name, _)| name)
            .filter(absent)
            .cloned()
            .collect();
        for name in names {
            self.remove(source, &ResourceKey { resource_type, name }, now);
        }
    }

    /// Whether a resource was asked for on this stream and is not the bootstrap's own.
    fn is_wanted(&self, source: SourceId, key: &ResourceKey) -> bool {
        let stream = self.streams.get(source.0).and_then(Option::as_ref);
        stream.is_some_and(|stream| stream.session.wants(key.resource_type, &key.name))
            && !self.assembler.is_static(key)
    }

    fn answered(&mut self, source: SourceId, key: &ResourceKey) {
        if let Some(stream) = self.stream(source) {
            stream.session.answered(key.resource_type, &key.name);
        }
    }
}

impl Value {
    /// A resource as a server sent it.
    pub(crate) fn received(decoded: DecodedResource, encoded: Vec<u8>) -> Self {
        let DecodedResource {
            resource,
            references,
            without_effect,
        } = decoded;
        Self {
            fingerprint: Fingerprint::of(&encoded),
            resource,
            references,
            encoded: encoded.into(),
            without_effect: shared_list(without_effect),
        }
    }

    /// A resource of the bootstrap, which is dumped with the bootstrap.
    pub(super) fn of_bootstrap(decoded: DecodedResource) -> Self {
        let DecodedResource {
            resource,
            references,
            without_effect,
        } = decoded;
        Self {
            fingerprint: resource.fingerprint(),
            resource,
            references,
            encoded: Arc::default(),
            without_effect: shared_list(without_effect),
        }
    }
}

/// Whether resources of the type are asked for by name, so that a removed one is still known to be wanted.
fn is_named(resource_type: ResourceType) -> bool {
    !matches!(resource_type, ResourceType::Cluster | ResourceType::Listener)
}

/// The name outside the resource or, where there is none, inside.
fn incoming_name(incoming: &Incoming) -> Option<Arc<str>> {
    let inside = || {
        incoming
            .body
            .as_ref()
            .and_then(|any| name_hint(&any.value))
            .map(Arc::from)
    };
    incoming.name.clone().or_else(inside)
}

/// Names that are in a response twice, sent or removed.
fn duplicates(names: &[Option<Arc<str>>], removed: &[Arc<str>]) -> HashSet<Arc<str>> {
    let mut seen: HashMap<&Arc<str>, usize> = HashMap::with_capacity(names.len() + removed.len());
    for name in names.iter().flatten().chain(removed) {
        *seen.entry(name).or_default() += 1;
    }
    seen.into_iter()
        .filter(|(_, times)| *times > 1)
        .map(|(name, _)| Arc::clone(name))
        .collect()
}

fn nameless_fault(resource_type: ResourceType, body: Option<&Any>) -> String {
    match body {
        Some(any) if ResourceType::from_type_url(&any.type_url) != Some(resource_type) => {
            wrong_type(resource_type, &any.type_url)
        }
        _ => "has no name, or cannot be decoded as far as its name".to_owned(),
    }
}

fn wrong_type(expected: ResourceType, found: &str) -> String {
    format!("has type URL {found:?} in a response of {:?}", expected.type_url())
}
