//! The delta protocol: requests and responses carry what changed, each resource has a version of its own.

use std::collections::HashMap;
use std::sync::Arc;

use config::ResourceType;
use xds_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource, ResourceError};

use super::acknowledgements::Acknowledgement;
use super::{Held, Incoming, Receipt, Request, Session, Unexpected, Update, positive, sotw};

/// gRPC's code for what does not exist.
const NOT_FOUND: i32 = 5;

pub(super) fn normalise(session: &mut Session, response: DeltaDiscoveryResponse) -> Result<Update, Unexpected> {
    let resource_type = session.expected(&response.type_url)?;
    let mut removed: Vec<Arc<str>> = response.removed_resources.into_iter().map(Arc::from).collect();
    removed.extend(
        response
            .removed_resource_names
            .into_iter()
            .map(|name| Arc::from(name.name)),
    );
    let mut errors = Vec::new();
    for (name, code, message) in response.resource_errors.into_iter().filter_map(resource_error) {
        if code == NOT_FOUND {
            removed.push(name);
        } else {
            errors.push((name, message));
        }
    }
    Ok(Update {
        resources: response.resources.into_iter().map(incoming).collect(),
        removed,
        complete: false,
        errors,
        control_plane: response.control_plane.map(|plane| plane.identifier),
        receipt: Receipt {
            resource_type,
            version: response.system_version_info.into(),
            nonce: response.nonce,
        },
    })
}

fn incoming(resource: Resource) -> Incoming {
    Incoming {
        name: (!resource.name.is_empty()).then(|| resource.name.into()),
        version: resource.version.into(),
        body: resource.resource,
        ttl: resource.ttl.and_then(positive),
    }
}

/// Name, gRPC code and message of an error that a server reports for one resource.
pub(super) fn resource_error(error: ResourceError) -> Option<(Arc<str>, i32, String)> {
    let status = error.error_detail.unwrap_or_default();
    error
        .resource_name
        .map(|name| (name.name.into(), status.code, status.message))
}

pub(super) fn acknowledgement_request(session: &mut Session, acknowledgement: Acknowledgement) -> Request {
    Request::Delta(DeltaDiscoveryRequest {
        node: session.node(),
        type_url: acknowledgement.resource_type.type_url().to_owned(),
        response_nonce: acknowledgement.nonce,
        error_detail: acknowledgement.refusal.map(sotw::error_detail),
        ..DeltaDiscoveryRequest::default()
    })
}

pub(super) fn subscription_request(session: &mut Session, resource_type: ResourceType, held: &dyn Held) -> Request {
    let node = session.node();
    let subscription = session.subscription(resource_type);
    let initial_resource_versions = if subscription.is_open() {
        HashMap::new()
    } else if subscription.is_wildcard() {
        let versions = held.versions(resource_type).into_iter();
        versions
            .map(|(name, version)| (name.to_string(), version.to_string()))
            .collect()
    } else {
        // Only what is still held is claimed: a server sends the rest.
        let version = |name: &Arc<str>| Some((name.to_string(), held.version(resource_type, name)?.to_string()));
        subscription.names().filter_map(version).collect()
    };
    let (resource_names_subscribe, resource_names_unsubscribe) = subscription.changes_to_send();
    Request::Delta(DeltaDiscoveryRequest {
        node,
        type_url: resource_type.type_url().to_owned(),
        resource_names_subscribe,
        resource_names_unsubscribe,
        initial_resource_versions,
        ..DeltaDiscoveryRequest::default()
    })
}
