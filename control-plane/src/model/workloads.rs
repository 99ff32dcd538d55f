//! Pods to workload identities.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::{Locality, Name, WorkloadIdentity};
use crate::objects::{Fault, LocatedObject, Object};

/// The label or annotation that says a Pod has no sidecar (Istio's).
const INJECT: &str = "sidecar.istio.io/inject";
/// The annotation that moves a sidecar's inbound listener.
const INBOUND_PORT: &str = "policy.remora.dev/inbound-port";
/// The annotation that moves a sidecar's outbound listener.
const OUTBOUND_PORT: &str = "policy.remora.dev/outbound-port";
/// Where a sidecar takes connections for its workload (Istio's inbound capture port).
const DEFAULT_INBOUND_PORT: u16 = 15006;
/// Where a sidecar takes connections from its workload (Istio's outbound capture port).
const DEFAULT_OUTBOUND_PORT: u16 = 15001;

/// A Pod that takes part.
pub(super) struct MeshPod<'a> {
    pub(super) pod: &'a Pod,
    pub(super) identity: Arc<WorkloadIdentity>,
    pub(super) ready: bool,
    pub(super) terminating: bool,
}

/// Every Pod that has an address and has not ended, by name.
pub(super) fn pods<'a>(objects: &'a [LocatedObject], notes: &mut Vec<Fault>) -> BTreeMap<Name, MeshPod<'a>> {
    let mut pods = BTreeMap::new();
    for object in objects {
        let Object::Pod(pod) = &object.object else {
            continue;
        };
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            continue;
        }
        let Some(ip) = status
            .and_then(|status| status.pod_ip.as_deref())
            .filter(|ip| !ip.is_empty())
        else {
            notes.push(Fault::of_field(
                object,
                "status.podIP",
                "missing: the Pod takes no part until it has an address",
            ));
            continue;
        };
        let Ok(ip) = ip.parse::<IpAddr>() else {
            notes.push(Fault::of_field(
                object,
                "status.podIP",
                format!("found \"{ip}\", expected an IP address"),
            ));
            continue;
        };
        let mut port = |annotation: &str, default: u16| -> u16 {
            let Some(text) = annotation_of(pod, annotation) else {
                return default;
            };
            match text.parse::<u16>() {
                Ok(port) if port > 0 => port,
                _ => {
                    let path = format!("metadata.annotations[\"{annotation}\"]");
                    let reason = format!("found \"{text}\", expected a port; {default} is used");
                    notes.push(Fault::of_field(object, path, reason));
                    default
                }
            }
        };
        let inbound_port = port(INBOUND_PORT, DEFAULT_INBOUND_PORT);
        let outbound_port = port(OUTBOUND_PORT, DEFAULT_OUTBOUND_PORT);
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
        let ready = status
            .and_then(|status| status.conditions.as_ref())
            .is_none_or(|conditions| {
                let mut ready = conditions.iter().filter(|condition| condition.type_ == "Ready");
                ready.all(|condition| condition.status == "True")
            });
        let name = Name::new(Arc::clone(&object.id.namespace), Arc::clone(&object.id.name));
        let identity = WorkloadIdentity {
            pod: name.clone(),
            ip,
            service_account: account
                .filter(|account| !account.is_empty())
                .unwrap_or("default")
                .into(),
            locality: Locality {
                region: label_of(pod, "topology.kubernetes.io/region")
                    .unwrap_or_default()
                    .into(),
                zone: label_of(pod, "topology.kubernetes.io/zone").unwrap_or_default().into(),
            },
            has_sidecar: label_of(pod, INJECT) != Some("false") && annotation_of(pod, INJECT) != Some("false"),
            inbound_port,
            outbound_port,
        };
        let pod = MeshPod {
            pod,
            identity: Arc::new(identity),
            ready,
            terminating: pod.metadata.deletion_timestamp.is_some(),
        };
        pods.insert(name, pod);
    }
    pods
}

fn label_of<'a>(pod: &'a Pod, label: &str) -> Option<&'a str> {
    pod.metadata.labels.as_ref()?.get(label).map(String::as_str)
}

fn annotation_of<'a>(pod: &'a Pod, annotation: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(annotation).map(String::as_str)
}
