//! The mesh as a whole: immutable, put together from objects, with every reference
//! between them resolved. What xDS looks like is none of its business.

pub mod build;
mod endpoints;
mod precedence;
mod routes;
#[cfg(test)]
mod tests;
mod workloads;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::objects::Fault;
use crate::objects::route::{Filters, HeaderChanges, Match, Redirect, RouteRetry};
use crate::objects::service_policy::{MtlsMode, ServicePolicySpec};

pub use self::build::{MeshSettings, build};

/// A namespaced name; displayed as `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name in it.
    pub name: Arc<str>,
}

impl Name {
    /// The name of something in a namespace.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Everything the control plane knows at one time.
#[derive(Clone, Debug)]
pub struct Mesh {
    /// What holds for the whole mesh.
    pub settings: MeshSettings,
    /// The Services, by name.
    pub services: BTreeMap<Name, Arc<Service>>,
    /// The workloads, by their Pods' names.
    pub workloads: BTreeMap<Name, Arc<Workload>>,
    /// References that lead nowhere, and settings that have no effect as things stand.
    pub notes: Vec<Fault>,
}

/// A Service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: Name,
    /// Its virtual addresses.
    pub cluster_ips: Vec<IpAddr>,
    /// Its ports that carry HTTP; by number.
    pub ports: BTreeMap<u16, ServicePort>,
    /// Whose proxies learn of it.
    pub exported_to: ExportedTo,
    /// The policy attached to it, or the defaults.
    pub policy: Arc<ServicePolicySpec>,
}

impl Service {
    /// Whether callers may use mutual TLS.
    pub fn mtls_mode(&self) -> MtlsMode {
        self.policy.mtls.map_or(MtlsMode::Automatic, |mtls| mtls.mode)
    }
}

/// Namespaces a Service is visible in (the annotation `networking.istio.io/exportTo`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportedTo {
    /// All of them.
    All,
    /// These.
    Namespaces(BTreeSet<Arc<str>>),
}

impl ExportedTo {
    /// Whether the namespace is among them.
    pub fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespaces(namespaces) => namespaces.contains(namespace),
        }
    }
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, which gRPC is.
    Http2,
}

/// One port of a Service.
#[derive(Clone, Debug)]
pub struct ServicePort {
    /// Its name; may be empty.
    pub name: Arc<str>,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Who serves it.
    pub endpoints: Vec<Endpoint>,
    /// The rules of the routes attached to it in the Service's own namespace.
    pub producer_rules: Option<RuleTable>,
    /// The rules of the routes that other namespaces attached to it, by namespace; they
    /// hold for callers there (GEP-1426, "consumer routes").
    pub consumer_rules: BTreeMap<Arc<str>, RuleTable>,
}

impl ServicePort {
    /// The rules for callers in a namespace; none means straight to the endpoints.
    pub fn rules_for(&self, namespace: &str) -> Option<&RuleTable> {
        self.consumer_rules.get(namespace).or(self.producer_rules.as_ref())
    }
}

/// Rules in their order of precedence: the first that matches decides.
pub type RuleTable = Vec<TableEntry>;

/// One match of a rule, with the rule.
#[derive(Clone, Debug)]
pub struct TableEntry {
    /// Which one it is, e.g. `HTTPRoute demo/greeter rule 0`.
    pub name: String,
    /// Its conditions.
    pub condition: Match,
    /// What is done then.
    pub rule: Arc<ResolvedRule>,
}

/// A rule whose references have been followed.
#[derive(Clone, Debug)]
pub struct ResolvedRule {
    /// Changes to the request and the response; without the mirrors.
    pub filters: Filters,
    /// Where copies go.
    pub mirrors: Vec<ResolvedMirror>,
    /// A redirect instead of a backend.
    pub redirect: Option<Redirect>,
    /// Where requests go.
    pub backends: Vec<ResolvedBackend>,
    /// The time for the whole request; zero is no limit.
    pub timeout: Option<Duration>,
    /// The time for each attempt; zero is no limit.
    pub backend_timeout: Option<Duration>,
    /// Retries.
    pub retry: Option<RouteRetry>,
}

/// A Service's port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRef {
    /// The Service.
    pub service: Name,
    /// The port's number.
    pub port: u16,
}

/// A backend.
#[derive(Clone, Debug)]
pub struct ResolvedBackend {
    /// Where to; none if the reference leads nowhere or is not permitted.
    pub target: Option<PortRef>,
    /// Its share of the sum of weights; more than 0.
    pub weight: u32,
    /// Changes for this backend alone.
    pub request_headers: HeaderChanges,
    /// Changes for this backend alone.
    pub response_headers: HeaderChanges,
}

/// A copy.
#[derive(Clone, Debug)]
pub struct ResolvedMirror {
    /// Where to.
    pub target: PortRef,
    /// How many: numerator and denominator.
    pub fraction: (u32, u32),
}

/// One address that serves a port.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The address.
    pub ip: IpAddr,
    /// The port the application listens on.
    pub port: u16,
    /// Whether it goes on serving what it has and takes no more.
    pub draining: bool,
    /// Where it is.
    pub locality: Locality,
    /// The workload it belongs to, if that is part of the mesh.
    pub identity: Option<Arc<WorkloadIdentity>>,
}

impl Endpoint {
    /// Whether a sidecar answers for it.
    pub fn sidecar(&self) -> Option<&WorkloadIdentity> {
        self.identity.as_deref().filter(|identity| identity.has_sidecar)
    }
}

/// Where an endpoint is; empty where it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Locality {
    /// The region.
    pub region: Arc<str>,
    /// The zone.
    pub zone: Arc<str>,
}

/// Who a workload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadIdentity {
    /// Its Pod.
    pub pod: Name,
    /// The Pod's address.
    pub ip: IpAddr,
    /// Its service account, in the Pod's namespace.
    pub service_account: Arc<str>,
    /// Where it is.
    pub locality: Locality,
    /// Whether a sidecar stands beside it.
    pub has_sidecar: bool,
    /// Where its sidecar takes connections for it.
    pub inbound_port: u16,
    /// Where its sidecar takes connections from it.
    pub outbound_port: u16,
}

impl WorkloadIdentity {
    /// The account whose certificate it holds.
    pub fn account(&self) -> Name {
        Name::new(Arc::clone(&self.pod.namespace), Arc::clone(&self.service_account))
    }
}

/// A workload with what it serves.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Who it is.
    pub identity: Arc<WorkloadIdentity>,
    /// The ports its application serves Services on.
    pub app_ports: BTreeMap<u16, AppPort>,
}

/// A port of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppPort {
    /// What is spoken there.
    pub protocol: Protocol,
    /// Whether its sidecar asks for mutual TLS.
    pub mtls: MtlsMode,
    /// The ports of Services that lead to it.
    pub services: BTreeSet<PortRef>,
}
