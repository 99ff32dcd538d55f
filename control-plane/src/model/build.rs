//! Objects to a mesh.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service as ServiceObject, ServicePort as PortObject};

use super::endpoints::Places;
use super::{AppPort, ExportedTo, Mesh, Name, PortRef, Protocol, Service, ServicePort, Workload, routes, workloads};
use crate::objects::service_policy::{MtlsMode, ServicePolicySpec};
use crate::objects::{Fault, LocatedObject, Object};

/// The annotation that says who learns of a Service (Istio's): `*`, or a list of
/// namespaces, in which `.` is the Service's own.
const EXPORT_TO: &str = "networking.istio.io/exportTo";

/// What holds for a whole mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshSettings {
    /// The trust domain of every SPIFFE ID.
    pub trust_domain: Arc<str>,
    /// The domain under which Services have names.
    pub cluster_domain: Arc<str>,
}

impl MeshSettings {
    /// Settings for a trust domain; the cluster domain is `cluster.local`.
    pub fn new(trust_domain: &str) -> Self {
        Self {
            trust_domain: trust_domain.into(),
            cluster_domain: "cluster.local".into(),
        }
    }

    /// The full name of a Service: `greeter.demo.svc.cluster.local`.
    pub fn host(&self, service: &Name) -> String {
        format!("{}.{}.svc.{}", service.name, service.namespace, self.cluster_domain)
    }

    /// The SPIFFE ID of a service account.
    pub fn spiffe_id(&self, account: &Name) -> String {
        format!(
            "spiffe://{}/ns/{}/sa/{}",
            self.trust_domain, account.namespace, account.name
        )
    }
}

/// Puts a mesh together. References that lead nowhere are notes, not errors: what is
/// referred to may be saved a moment later.
pub fn build(objects: &[LocatedObject], settings: &MeshSettings) -> Mesh {
    let mut notes = Vec::new();
    let pods = workloads::pods(objects, &mut notes);
    let policies = policies(objects, &mut notes);
    let places = Places::new(objects, &pods, &mut notes);
    let mut services = BTreeMap::new();
    for object in objects {
        if let Object::Service(service) = &object.object {
            let built = build_service(object, service, &policies, &places, &mut notes);
            services.insert(built.name.clone(), built);
        }
    }
    routes::attach(objects, &mut services, &mut notes);
    let mut workloads: BTreeMap<Name, Workload> = BTreeMap::new();
    for (name, pod) in &pods {
        let workload = Workload {
            identity: Arc::clone(&pod.identity),
            app_ports: BTreeMap::new(),
        };
        workloads.insert(name.clone(), workload);
    }
    for service in services.values() {
        add_app_ports(service, &mut workloads, &mut notes);
    }
    Mesh {
        settings: settings.clone(),
        services: services
            .into_iter()
            .map(|(name, service)| (name, Arc::new(service)))
            .collect(),
        workloads: workloads
            .into_iter()
            .map(|(name, workload)| (name, Arc::new(workload)))
            .collect(),
        notes,
    }
}

/// The policy of each Service that has one.
fn policies(objects: &[LocatedObject], notes: &mut Vec<Fault>) -> BTreeMap<Name, Arc<ServicePolicySpec>> {
    let exists: BTreeSet<Name> = objects
        .iter()
        .filter(|object| matches!(object.object, Object::Service(_)))
        .map(|object| Name::new(Arc::clone(&object.id.namespace), Arc::clone(&object.id.name)))
        .collect();
    let mut policies: BTreeMap<Name, Arc<ServicePolicySpec>> = BTreeMap::new();
    for object in objects {
        let Object::ServicePolicy(policy) = &object.object else {
            continue;
        };
        let spec = Arc::new(policy.spec.clone());
        for (index, target) in policy.spec.target_refs.iter().enumerate() {
            let name = Name::new(Arc::clone(&object.id.namespace), target.name.as_str());
            let path = format!("spec.targetRefs[{index}]");
            if !exists.contains(&name) {
                notes.push(Fault::of_field(object, path, format!("there is no Service {name}")));
                continue;
            }
            match policies.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(Arc::clone(&spec));
                }
                // Objects come in the order of their names: the first is kept.
                Entry::Occupied(taken) => {
                    let reason = format!("without effect: Service {} has a policy already", taken.key());
                    notes.push(Fault::of_field(object, path, reason));
                }
            }
        }
    }
    policies
}

fn build_service(
    object: &LocatedObject,
    service: &ServiceObject,
    policies: &BTreeMap<Name, Arc<ServicePolicySpec>>,
    places: &Places<'_>,
    notes: &mut Vec<Fault>,
) -> Service {
    let name = Name::new(Arc::clone(&object.id.namespace), Arc::clone(&object.id.name));
    let spec = service.spec.clone().unwrap_or_default();
    let policy = policies.get(&name).map(Arc::clone).unwrap_or_default();
    let mut ports = BTreeMap::new();
    let is_external = spec.type_.as_deref() == Some("ExternalName");
    for (index, port) in spec.ports.iter().flatten().enumerate().filter(|_| !is_external) {
        let path = format!("spec.ports[{index}]");
        let Ok(number) = u16::try_from(port.port) else {
            notes.push(Fault::of_field(
                object,
                path,
                format!("found {}, expected a port", port.port),
            ));
            continue;
        };
        let protocol = match protocol(port) {
            Ok(protocol) => protocol,
            Err(reason) => {
                notes.push(Fault::of_field(object, path, reason));
                continue;
            }
        };
        let checks_grpc = policy.health_check.as_ref().is_some_and(|check| check.grpc.is_some());
        if checks_grpc && protocol == Protocol::Http1 {
            let reason = "the policy's gRPC health check is without effect on a port that carries HTTP/1.1";
            notes.push(Fault::of_field(object, path.as_str(), reason));
        }
        let mut endpoints = places.of_port(&name, service, port, notes);
        if policy.mtls.is_some_and(|mtls| mtls.mode == MtlsMode::Strict) {
            let before = endpoints.len();
            endpoints.retain(|endpoint| endpoint.sidecar().is_some());
            if endpoints.len() < before {
                let left_out = before - endpoints.len();
                let reason =
                    format!("{left_out} endpoints have no sidecar and are left out: the policy asks for mutual TLS");
                notes.push(Fault::of_field(object, path, reason));
            }
        }
        ports.insert(
            number,
            ServicePort {
                name: port.name.as_deref().unwrap_or_default().into(),
                protocol,
                endpoints,
                producer_rules: None,
                consumer_rules: BTreeMap::new(),
            },
        );
    }
    let addresses = spec
        .cluster_ips
        .clone()
        .or_else(|| spec.cluster_ip.clone().map(|address| vec![address]));
    Service {
        exported_to: exported_to(&name, service),
        name,
        // `None` marks a headless Service.
        cluster_ips: addresses
            .iter()
            .flatten()
            .filter_map(|address| address.parse().ok())
            .collect(),
        ports,
        policy,
    }
}

fn exported_to(name: &Name, service: &ServiceObject) -> ExportedTo {
    let annotations = service.metadata.annotations.as_ref();
    let Some(text) = annotations.and_then(|annotations| annotations.get(EXPORT_TO)) else {
        return ExportedTo::All;
    };
    let mut namespaces = BTreeSet::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part {
            "*" => return ExportedTo::All,
            "." => namespaces.insert(Arc::clone(&name.namespace)),
            // Istio's word for nobody.
            "~" => continue,
            other => namespaces.insert(other.into()),
        };
    }
    ExportedTo::Namespaces(namespaces)
}

/// What a port carries: `appProtocol` says it, or the port's name up to its first `-`
/// (Istio's convention). With neither it is HTTP/1.1.
fn protocol(port: &PortObject) -> Result<Protocol, String> {
    if !matches!(port.protocol.as_deref(), None | Some("TCP")) {
        return Err(format!(
            "{} is not carried: callers reach the endpoints without the mesh",
            port.protocol.as_deref().unwrap_or_default()
        ));
    }
    let name = port.name.as_deref().unwrap_or_default();
    let word = port
        .app_protocol
        .as_deref()
        .unwrap_or_else(|| name.split('-').next().unwrap_or_default());
    match word.to_ascii_lowercase().as_str() {
        "grpc" | "http2" | "h2c" | "kubernetes.io/h2c" => Ok(Protocol::Http2),
        "" | "http" | "http1" => Ok(Protocol::Http1),
        // A name that is no protocol's says nothing; an appProtocol is meant.
        "tcp" | "tls" | "https" | "mongo" | "mysql" | "redis" | "udp" => Err(format!(
            "\"{word}\" is not carried: only ports that carry HTTP or gRPC get a cluster"
        )),
        _ if port.app_protocol.is_none() => Ok(Protocol::Http1),
        _ => Err(format!(
            "appProtocol \"{word}\" is not carried; known are grpc, http2, kubernetes.io/h2c and http"
        )),
    }
}

/// Tells the workloads behind a Service which of their ports it leads to.
fn add_app_ports(service: &Service, workloads: &mut BTreeMap<Name, Workload>, notes: &mut Vec<Fault>) {
    let mtls = service.mtls_mode();
    for (number, port) in &service.ports {
        for endpoint in &port.endpoints {
            let Some(identity) = endpoint.sidecar() else {
                continue;
            };
            let Some(workload) = workloads.get_mut(&identity.pod) else {
                continue;
            };
            let lead = PortRef {
                service: service.name.clone(),
                port: *number,
            };
            let app_port = workload.app_ports.entry(endpoint.port).or_insert_with(|| AppPort {
                protocol: port.protocol,
                mtls,
                services: BTreeSet::new(),
            });
            if app_port.protocol != port.protocol {
                notes.push(note_of_pod(
                    &identity.pod,
                    format!(
                        "port {} serves HTTP/1.1 for one Service and HTTP/2 for another: HTTP/2 is spoken",
                        endpoint.port
                    ),
                ));
            }
            app_port.protocol = app_port.protocol.max(port.protocol);
            app_port.mtls = stricter(app_port.mtls, mtls);
            app_port.services.insert(lead);
        }
    }
}

/// Of two Services' wishes for one application port, the safer.
fn stricter(first: MtlsMode, second: MtlsMode) -> MtlsMode {
    let rank = |mode: MtlsMode| match mode {
        MtlsMode::Strict => 3,
        MtlsMode::Automatic => 2,
        MtlsMode::Permissive => 1,
        MtlsMode::Disable => 0,
    };
    if rank(second) > rank(first) { second } else { first }
}

fn note_of_pod(pod: &Name, reason: String) -> Fault {
    Fault {
        file: String::new(),
        line: 0,
        object: format!("Pod {pod}"),
        path: String::new(),
        reason,
    }
}
