//! The state-of-the-world protocol: requests list all that is wanted, responses all there is.

use std::sync::Arc;

use config::ResourceType;
use xds_api::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse, Resource};
use xds_api::google::protobuf::Any;
use xds_api::google::rpc::Status;
use xds_api::prost::Message;

use super::acknowledgements::Acknowledgement;
use super::{Held, Incoming, Receipt, Request, Session, Unexpected, Update, is_complete_set, positive};

/// A resource may be wrapped to carry a name and a time to live.
const WRAPPER: &str = "/envoy.service.discovery.v3.Resource";

pub(super) fn normalise(session: &mut Session, response: DiscoveryResponse) -> Result<Update, Unexpected> {
    let resource_type = session.expected(&response.type_url)?;
    session.subscription(resource_type).nonce.clone_from(&response.nonce);
    let version: Arc<str> = response.version_info.into();
    let (mut removed, mut errors) = (Vec::new(), Vec::new());
    for error in response.resource_errors {
        super::delta::sort_error(error, &mut removed, &mut errors);
    }
    Ok(Update {
        resources: response
            .resources
            .into_iter()
            .map(|any| incoming(any, &version))
            .collect(),
        removed,
        complete: is_complete_set(resource_type),
        errors,
        control_plane: response.control_plane.map(|plane| plane.identifier),
        receipt: Receipt {
            resource_type,
            version,
            nonce: response.nonce,
        },
    })
}

fn incoming(any: Any, version: &Arc<str>) -> Incoming {
    let plain = |any| Incoming {
        name: None,
        version: Arc::clone(version),
        body: Some(any),
        ttl: None,
    };
    if !any.type_url.ends_with(WRAPPER) {
        return plain(any);
    }
    // What cannot be unwrapped is left to the decoder, which will say so.
    let Ok(wrapper) = Resource::decode(&*any.value) else {
        return plain(any);
    };
    Incoming {
        name: (!wrapper.name.is_empty()).then(|| wrapper.name.into()),
        version: Arc::clone(version),
        body: wrapper.resource,
        ttl: wrapper.ttl.and_then(positive),
    }
}

pub(super) fn acknowledgement_request(session: &mut Session, acknowledgement: Acknowledgement) -> Request {
    let Acknowledgement {
        resource_type,
        nonce,
        refusal,
    } = acknowledgement;
    let node = session.node();
    let subscription = session.subscription(resource_type);
    Request::StateOfTheWorld(DiscoveryRequest {
        // After a refusal this is still the last version that was accepted.
        version_info: subscription.version.clone(),
        node,
        resource_names: subscription.list_as_sent(),
        type_url: resource_type.type_url().to_owned(),
        response_nonce: nonce,
        error_detail: refusal.map(error_detail),
        resource_locators: Vec::new(),
    })
}

pub(super) fn subscription_request(session: &mut Session, resource_type: ResourceType, held: &dyn Held) -> Request {
    let (node, server) = (session.node(), session.server);
    let subscription = session.subscription(resource_type);
    // A version says "I have this". To say it of names whose resources were forgotten, or never came, would keep a
    // server that compares versions from sending them.
    let is_held = |name: &Arc<str>| held.version(resource_type, name, server).is_some();
    if !subscription.names_in_doubt().all(is_held) {
        subscription.version.clear();
    }
    let resource_names = subscription.list_to_send();
    Request::StateOfTheWorld(DiscoveryRequest {
        version_info: subscription.version.clone(),
        node,
        resource_names,
        type_url: resource_type.type_url().to_owned(),
        response_nonce: subscription.nonce.clone(),
        error_detail: None,
        resource_locators: Vec::new(),
    })
}

/// The error of a NACK. Code 3 is INVALID_ARGUMENT; Envoy sends 13 (INTERNAL), which blames the client.
pub(super) fn error_detail(message: String) -> Status {
    Status {
        code: 3,
        message,
        details: Vec::new(),
    }
}
