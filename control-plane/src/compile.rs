//! A mesh to each node's xDS resources. Nothing here waits or fails: what comes out for a
//! mesh is always the same, byte for byte.
//!
//! Resources that many nodes have are made once per mesh; what differs by the caller's
//! namespace once per namespace; what is a node's own, when it is asked for.

mod cluster;
mod inbound;
mod listener;
pub mod names;
mod parts;
pub mod resource;
mod route;
mod route_match;
mod shared;
#[cfg(test)]
mod tests;
mod tls;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use self::resource::{NodeResources, Resource, ResourceSet, ResourceType, View};
use self::shared::Shared;
use crate::model::{Mesh, Name, Service, Workload};
use crate::validate::Validator;

pub use self::names::{IDENTITY_SECRET, ROOT_SECRET};

/// What a node is, as far as its resources depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flavor {
    /// A sidecar.
    Sidecar,
    /// A client that speaks xDS itself, without mutual TLS (gRFC A27).
    Proxyless,
}

/// A resource that was made and is not served, since the proxy would refuse it. The last
/// good one of its name is served instead, if there was one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// Its type.
    pub kind: ResourceType,
    /// Its name, e.g. `outbound|80||a.b.svc.cluster.local`.
    pub name: String,
    /// Why.
    pub reasons: Vec<String>,
}

/// What nodes of one flavor and namespace share.
#[derive(Clone, Debug, Default)]
struct Scope {
    clusters: Arc<ResourceSet>,
    endpoints: Arc<ResourceSet>,
    routes: Arc<ResourceSet>,
    listeners: Arc<ResourceSet>,
}

/// Scopes by flavor and namespace.
type Scopes = HashMap<(Flavor, Arc<str>), Arc<Scope>>;

/// A compiled mesh.
pub struct Snapshot {
    /// The mesh.
    pub mesh: Arc<Mesh>,
    shared: BTreeMap<Flavor, Shared>,
    /// Filled as nodes ask. Owner: this snapshot; dropped with it.
    scopes: Mutex<Scopes>,
    /// The scopes of the snapshot before, from which unchanged sets are taken so that
    /// nodes see at a glance that nothing changed.
    earlier: Scopes,
    validator: Arc<dyn Validator>,
    withheld: Vec<Withheld>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("withheld", &self.withheld)
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    /// Compiles a mesh. Resources that the validator refuses keep the form they had in
    /// the snapshot before.
    pub fn new(mesh: Arc<Mesh>, validator: Arc<dyn Validator>, before: Option<&Self>) -> Self {
        let mut withheld = Vec::new();
        let mut shared = BTreeMap::new();
        for (flavor, validator) in [
            (Flavor::Sidecar, &*validator),
            (Flavor::Proxyless, &Anything as &dyn Validator),
        ] {
            let before = before.and_then(|before| before.shared.get(&flavor));
            shared.insert(flavor, Shared::new(&mesh, flavor, validator, before, &mut withheld));
        }
        let earlier = before.map(|before| before.scopes.lock().unwrap_or_else(PoisonError::into_inner).clone());
        Self {
            mesh,
            shared,
            scopes: Mutex::default(),
            earlier: earlier.unwrap_or_default(),
            validator,
            withheld,
        }
    }

    /// What was made and is not served.
    pub fn withheld(&self) -> &[Withheld] {
        &self.withheld
    }

    /// The workload of a sidecar.
    pub fn workload(&self, pod: &Name) -> Option<&Arc<Workload>> {
        self.mesh.workloads.get(pod)
    }

    /// What a sidecar is to have, without its secrets; and what of its own is left out
    /// because the proxy would refuse it.
    pub fn sidecar_view(&self, workload: &Workload) -> (View, Vec<Withheld>) {
        let mut view = self.scope_view(Flavor::Sidecar, &workload.identity.pod.namespace);
        let settings = &self.mesh.settings;
        let inbound = inbound::inbound(settings, workload);
        let listeners = inbound.into_iter().chain([listener::outbound(&workload.identity)]);
        let listeners = listeners.map(|built| Resource::new(ResourceType::Listener, built.name.as_str(), &built));
        let clusters = workload.app_ports.iter().map(|(number, port)| {
            let built = cluster::inbound(workload.identity.ip, *number, port.protocol);
            Resource::new(ResourceType::Cluster, built.name.as_str(), &built)
        });
        let mut withheld = Vec::new();
        for resource in listeners.chain(clusters) {
            match self.validator.validate(&resource) {
                Ok(()) => {
                    let own = &mut view.of_mut(resource.kind).own;
                    own.insert(Arc::clone(&resource.name), Arc::new(resource));
                }
                Err(reasons) => withheld.push(Withheld::new(&resource, reasons)),
            }
        }
        (view, withheld)
    }

    /// What a client that speaks xDS itself can ask for.
    pub fn proxyless_view(&self, namespace: &str) -> View {
        self.scope_view(Flavor::Proxyless, namespace)
    }

    fn scope_view(&self, flavor: Flavor, namespace: &str) -> View {
        let scope = self.scope(flavor, namespace);
        let mut view = View::default();
        for (kind, shared) in [
            (ResourceType::Cluster, &scope.clusters),
            (ResourceType::Endpoints, &scope.endpoints),
            (ResourceType::Route, &scope.routes),
            (ResourceType::Listener, &scope.listeners),
        ] {
            *view.of_mut(kind) = NodeResources {
                own: ResourceSet::new(),
                shared: Arc::clone(shared),
            };
        }
        view
    }

    fn scope(&self, flavor: Flavor, namespace: &str) -> Arc<Scope> {
        let key = (flavor, Arc::<str>::from(namespace));
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scope) = scopes.get(&key) {
            return Arc::clone(scope);
        }
        let mut scope = match self.shared.get(&flavor) {
            Some(shared) => shared.scope(&self.mesh, namespace),
            None => Scope::default(),
        };
        if let Some(earlier) = self.earlier.get(&key) {
            scope.clusters = reuse(scope.clusters, &earlier.clusters);
            scope.endpoints = reuse(scope.endpoints, &earlier.endpoints);
            scope.routes = reuse(scope.routes, &earlier.routes);
            scope.listeners = reuse(scope.listeners, &earlier.listeners);
        }
        let scope = Arc::new(scope);
        scopes.insert(key, Arc::clone(&scope));
        scope
    }
}

impl std::fmt::Display for Withheld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.kind, self.name, self.reasons.join("; "))
    }
}

impl Withheld {
    fn new(resource: &Resource, reasons: Vec<String>) -> Self {
        Self {
            kind: resource.kind,
            name: resource.name.to_string(),
            reasons,
        }
    }
}

/// For resources that go to no proxy of ours: gRPC clients take other things.
struct Anything;

impl Validator for Anything {
    fn validate(&self, _resource: &Resource) -> Result<(), Vec<String>> {
        Ok(())
    }
}

/// The earlier set, if the new one has the same content.
fn reuse(new: Arc<ResourceSet>, earlier: &Arc<ResourceSet>) -> Arc<ResourceSet> {
    let is_same = new.len() == earlier.len()
        && new
            .values()
            .zip(earlier.values())
            .all(|(new, earlier)| new.name == earlier.name && new.version == earlier.version);
    if is_same { Arc::clone(earlier) } else { new }
}

/// Whether callers in a namespace learn of a Service.
fn is_visible(service: &Service, namespace: &str) -> bool {
    service.exported_to.includes(namespace)
}
