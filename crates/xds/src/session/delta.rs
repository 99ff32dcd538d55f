//! The delta protocol: requests and responses carry what changed, each resource has a version of its own.

use std::collections::HashMap;
use std::sync::Arc;

use config::ResourceType;
use xds_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource, ResourceError};

use super::acknowledgements::Acknowledgement;
use super::{Held, Incoming, Receipt, ReportedError, Request, Session, Unexpected, Update, positive, sotw};

/// gRPC's codes for what does not exist and what we may not have.
const NOT_FOUND: i32 = 5;
const PERMISSION_DENIED: i32 = 7;

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
    for error in response.resource_errors {
        sort_error(error, &mut removed, &mut errors);
    }
    // A server that has one version for all sends it with each: one copy is enough.
    let mut version: Arc<str> = Arc::default();
    let incoming = |resource: Resource| {
        if *version != *resource.version {
            version = resource.version.into();
        }
        Incoming {
            name: (!resource.name.is_empty()).then(|| resource.name.into()),
            version: Arc::clone(&version),
            body: resource.resource,
            ttl: resource.ttl.and_then(positive),
        }
    };
    let resources = response.resources.into_iter().map(incoming).collect();
    Ok(Update {
        resources,
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

/// Sorts an error that a server reports for one resource: what is not found does not exist, anything else is an error
/// (gRFC A88).
pub(super) fn sort_error(error: ResourceError, removed: &mut Vec<Arc<str>>, errors: &mut Vec<ReportedError>) {
    let status = error.error_detail.unwrap_or_default();
    let Some(name) = error.resource_name.map(|name| Arc::from(name.name)) else {
        return;
    };
    if status.code == NOT_FOUND {
        removed.push(name);
    } else {
        errors.push(ReportedError {
            name,
            is_denied: status.code == PERMISSION_DENIED,
            message: status.message,
        });
    }
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
    let (node, server) = (session.node(), session.server);
    let subscription = session.subscription(resource_type);
    let initial_resource_versions = if subscription.is_open() {
        HashMap::new()
    } else if subscription.is_wildcard() {
        let versions = held.versions(resource_type, server).into_iter();
        versions
            .map(|(name, version)| (name.to_string(), version.to_string()))
            .collect()
    } else {
        // Only what is still held is claimed: a server sends the rest.
        let version = |name: &Arc<str>| {
            let version = held.version(resource_type, name, server)?;
            Some((name.to_string(), version.to_string()))
        };
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
