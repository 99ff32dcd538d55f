//! The two variants of the protocol, reduced to what they have in common.

use xds_api::envoy::config::core::v3::{ControlPlane, Node};
use xds_api::envoy::service::discovery::v3 as discovery;

use super::session::Response;

/// A request of either variant.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asks; on the first request of a stream.
    pub node: Option<Node>,
    /// The type asked for.
    pub type_url: String,
    /// The response answered, or nothing.
    pub nonce: String,
    /// Why that response was refused.
    pub error: Option<String>,
    /// What is asked for.
    pub change: Change,
}

/// How a request changes what is subscribed to.
#[derive(Clone, Debug)]
pub enum Change {
    /// State of the world: all names, at each request.
    Sotw {
        /// The names; none may mean all.
        names: Vec<String>,
    },
    /// Delta.
    Delta {
        /// Names added; `*` means all.
        subscribe: Vec<String>,
        /// Names given up.
        unsubscribe: Vec<String>,
        /// What the client has from an earlier stream: name and version.
        known: Vec<(String, String)>,
    },
}

/// One variant of the protocol on the wire.
pub trait Variant: Send + 'static {
    /// Its name in logs and status.
    const NAME: &'static str;
    /// Whether each response of a complete type holds all of it.
    const IS_SOTW: bool;
    /// Its request message.
    type Request: Send + 'static;
    /// Its response message.
    type Response: Send + 'static;
    /// Reads a request.
    fn read(request: Self::Request) -> Request;
    /// Writes a response.
    fn write(response: &Response) -> Self::Response;
}

fn control_plane() -> Option<ControlPlane> {
    Some(ControlPlane {
        identifier: concat!("remora-control-plane/", env!("CARGO_PKG_VERSION")).to_owned(),
    })
}

/// State of the world.
#[derive(Debug)]
pub struct Sotw;

impl Variant for Sotw {
    const NAME: &'static str = "state-of-the-world";
    const IS_SOTW: bool = true;
    type Request = discovery::DiscoveryRequest;
    type Response = discovery::DiscoveryResponse;

    fn read(request: Self::Request) -> Request {
        Request {
            node: request.node,
            type_url: request.type_url,
            nonce: request.response_nonce,
            error: request.error_detail.map(|error| error.message),
            change: Change::Sotw {
                names: request.resource_names,
            },
        }
    }

    fn write(response: &Response) -> Self::Response {
        discovery::DiscoveryResponse {
            version_info: response.version.to_string(),
            resources: response
                .resources
                .iter()
                .map(|resource| resource.body.clone())
                .collect(),
            type_url: response.kind.type_url().to_owned(),
            nonce: response.nonce.clone(),
            control_plane: control_plane(),
            ..Default::default()
        }
    }
}

/// Delta.
#[derive(Debug)]
pub struct Delta;

impl Variant for Delta {
    const NAME: &'static str = "delta";
    const IS_SOTW: bool = false;
    type Request = discovery::DeltaDiscoveryRequest;
    type Response = discovery::DeltaDiscoveryResponse;

    fn read(request: Self::Request) -> Request {
        Request {
            node: request.node,
            type_url: request.type_url,
            nonce: request.response_nonce,
            error: request.error_detail.map(|error| error.message),
            change: Change::Delta {
                subscribe: request.resource_names_subscribe,
                unsubscribe: request.resource_names_unsubscribe,
                known: request.initial_resource_versions.into_iter().collect(),
            },
        }
    }

    fn write(response: &Response) -> Self::Response {
        let resources = response.resources.iter().map(|resource| discovery::Resource {
            name: resource.name.to_string(),
            version: resource.version.to_string(),
            resource: Some(resource.body.clone()),
            ..Default::default()
        });
        discovery::DeltaDiscoveryResponse {
            system_version_info: response.version.to_string(),
            resources: resources.collect(),
            type_url: response.kind.type_url().to_owned(),
            removed_resources: response.removed.iter().map(ToString::to_string).collect(),
            nonce: response.nonce.clone(),
            control_plane: control_plane(),
            ..Default::default()
        }
    }
}
