//! Who serves a Service's ports: its EndpointSlices, or, where it has none (a laptop has
//! no endpoint controller), the Pods its selector picks.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::workloads::MeshPod;
use super::{Endpoint, Locality, Name};
use crate::objects::{Fault, LocatedObject, Object};

/// The label by which a slice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What endpoints are found in.
pub(super) struct Places<'a> {
    slices: HashMap<Name, Vec<(&'a LocatedObject, &'a EndpointSlice)>>,
    pods: &'a BTreeMap<Name, MeshPod<'a>>,
    pods_by_ip: HashMap<IpAddr, &'a MeshPod<'a>>,
}

impl<'a> Places<'a> {
    pub(super) fn new(
        objects: &'a [LocatedObject],
        pods: &'a BTreeMap<Name, MeshPod<'a>>,
        notes: &mut Vec<Fault>,
    ) -> Self {
        let mut slices: HashMap<Name, Vec<_>> = HashMap::new();
        for object in objects {
            let Object::EndpointSlice(slice) = &object.object else {
                continue;
            };
            match slice
                .metadata
                .labels
                .as_ref()
                .and_then(|labels| labels.get(SERVICE_NAME))
            {
                Some(service) => {
                    let name = Name::new(Arc::clone(&object.id.namespace), service.as_str());
                    slices.entry(name).or_default().push((object, &**slice));
                }
                None => {
                    let reason = format!("no label {SERVICE_NAME}: the slice belongs to no Service");
                    notes.push(Fault::of_field(object, "metadata.labels", reason));
                }
            }
        }
        Self {
            slices,
            pods,
            pods_by_ip: pods.values().map(|pod| (pod.identity.ip, pod)).collect(),
        }
    }

    /// The endpoints of one port, by address; each address once.
    pub(super) fn of_port(
        &self,
        name: &Name,
        service: &Service,
        port: &ServicePort,
        notes: &mut Vec<Fault>,
    ) -> Vec<Endpoint> {
        let mut found: BTreeMap<(IpAddr, u16), Endpoint> = BTreeMap::new();
        match self.slices.get(name) {
            Some(slices) => {
                for (object, slice) in slices {
                    self.of_slice(object, slice, port, &mut found, notes);
                }
            }
            None => self.of_selector(name, service, port, &mut found),
        }
        found.into_values().collect()
    }

    fn of_slice(
        &self,
        object: &LocatedObject,
        slice: &EndpointSlice,
        port: &ServicePort,
        found: &mut BTreeMap<(IpAddr, u16), Endpoint>,
        notes: &mut Vec<Fault>,
    ) {
        if slice.address_type == "FQDN" {
            notes.push(Fault::of_field(
                object,
                "addressType",
                "not supported: FQDN endpoints are left out",
            ));
            return;
        }
        // A slice's ports correspond to the Service's by name; one without a name to one without.
        let wanted = port.name.as_deref().unwrap_or_default();
        let number = slice
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_deref().unwrap_or_default() == wanted);
        let Some(number) = number
            .and_then(|port| port.port)
            .and_then(|port| u16::try_from(port).ok())
        else {
            return;
        };
        for (index, endpoint) in slice.endpoints.iter().flatten().enumerate() {
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            let terminating = conditions.terminating.unwrap_or(false);
            let ready = conditions.ready.unwrap_or(true);
            let serving = conditions.serving.unwrap_or(ready);
            let draining = terminating && serving;
            if !ready && !draining {
                continue;
            }
            // Every address of an endpoint leads to the same one: the first is used (EndpointSlice API).
            let Some(address) = endpoint.addresses.first() else {
                continue;
            };
            let Ok(ip) = address.parse::<IpAddr>() else {
                let path = format!("endpoints[{index}].addresses[0]");
                notes.push(Fault::of_field(
                    object,
                    path,
                    format!("found \"{address}\", expected an IP address"),
                ));
                continue;
            };
            let pod = endpoint
                .target_ref
                .as_ref()
                .filter(|target| target.kind.as_deref() == Some("Pod"));
            let pod = pod.and_then(|target| target.name.as_deref());
            let pod = pod.and_then(|pod| self.pods.get(&Name::new(Arc::clone(&object.id.namespace), pod)));
            let pod = pod.or_else(|| self.pods_by_ip.get(&ip).copied());
            let identity = pod.map(|pod| Arc::clone(&pod.identity));
            let mut locality = identity
                .as_ref()
                .map(|identity| identity.locality.clone())
                .unwrap_or_default();
            if let Some(zone) = &endpoint.zone {
                locality.zone = zone.as_str().into();
            }
            let endpoint = Endpoint {
                ip,
                port: number,
                draining,
                locality,
                identity,
            };
            found.insert((ip, number), endpoint);
        }
    }

    fn of_selector(
        &self,
        name: &Name,
        service: &Service,
        port: &ServicePort,
        found: &mut BTreeMap<(IpAddr, u16), Endpoint>,
    ) {
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let Some(selector) = selector.filter(|selector| !selector.is_empty()) else {
            return;
        };
        let first = Name::new(Arc::clone(&name.namespace), "");
        let in_namespace = self.pods.range(first..).map(|(_, pod)| pod);
        for pod in in_namespace.take_while(|pod| pod.identity.pod.namespace == name.namespace) {
            let labels = pod.pod.metadata.labels.as_ref();
            let is_selected = selector
                .iter()
                .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value));
            if !is_selected || !pod.ready {
                continue;
            }
            let Some(number) = target_port(pod.pod, port) else {
                continue;
            };
            let endpoint = Endpoint {
                ip: pod.identity.ip,
                port: number,
                draining: pod.terminating,
                locality: Locality::clone(&pod.identity.locality),
                identity: Some(Arc::clone(&pod.identity)),
            };
            found.insert((pod.identity.ip, number), endpoint);
        }
    }
}

/// The port of a Pod that a Service's port leads to: a number, or the name of one of its
/// containers' ports.
fn target_port(pod: &Pod, port: &ServicePort) -> Option<u16> {
    match &port.target_port {
        None => u16::try_from(port.port).ok(),
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
        Some(IntOrString::String(name)) => {
            let containers = &pod.spec.as_ref()?.containers;
            let mut ports = containers.iter().flat_map(|container| container.ports.iter().flatten());
            let port = ports.find(|port| port.name.as_deref() == Some(name))?;
            u16::try_from(port.container_port).ok()
        }
    }
}
