//! CSDS: the client's view of its configuration over gRPC (`envoy.service.status.v3`, gRFC A40). The binary serves it
//! beside the admin endpoint.

use std::pin::Pin;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio_stream::{Stream, StreamExt};
use tonic::codegen::{Body, Service as _, StdError, http};
use tonic::{Request, Response, Streaming};
use xds_api::envoy::admin::v3::{ClientResourceStatus, UpdateFailureState};
use xds_api::envoy::config::core::v3::Node;
use xds_api::envoy::service::status::v3::client_config::GenericXdsConfig;
use xds_api::envoy::service::status::v3::client_status_discovery_service_server::{
    ClientStatusDiscoveryService, ClientStatusDiscoveryServiceServer,
};
use xds_api::envoy::service::status::v3::{ClientConfig, ClientStatusRequest, ClientStatusResponse};
use xds_api::google::protobuf::{Any, Timestamp};

use crate::client::Handle;
use crate::status::{ClientStatus, Origin, ResourceStatus, Status};

/// What the paths of the service's methods begin with.
pub const PATH_PREFIX: &str = "/envoy.service.status.v3.ClientStatusDiscoveryService/";

/// Answers one gRPC request of the service, for a server that serves other things beside it.
pub async fn respond<B>(handle: Handle, request: http::Request<B>) -> http::Response<tonic::body::Body>
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    let mut service = ClientStatusDiscoveryServiceServer::new(Csds { handle });
    match service.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Answers what the client knows at the time it is asked.
#[derive(Debug)]
pub struct Csds {
    handle: Handle,
}

impl Csds {
    fn answer(handle: &Handle, request: &ClientStatusRequest) -> Result<ClientStatusResponse, tonic::Status> {
        if !request.node_matchers.is_empty() {
            // A client knows one node, itself (gRFC A40).
            return Err(tonic::Status::invalid_argument(
                "node_matchers are not supported by a client",
            ));
        }
        let config = client_config(&handle.status(), handle.node(), request.exclude_resource_contents);
        Ok(ClientStatusResponse { config: vec![config] })
    }
}

#[tonic::async_trait]
impl ClientStatusDiscoveryService for Csds {
    type StreamClientStatusStream = Pin<Box<dyn Stream<Item = Result<ClientStatusResponse, tonic::Status>> + Send>>;

    async fn stream_client_status(
        &self,
        requests: Request<Streaming<ClientStatusRequest>>,
    ) -> Result<Response<Self::StreamClientStatusStream>, tonic::Status> {
        let handle = self.handle.clone();
        let answers = requests
            .into_inner()
            .map(move |request| Self::answer(&handle, &request?));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn fetch_client_status(
        &self,
        request: Request<ClientStatusRequest>,
    ) -> Result<Response<ClientStatusResponse>, tonic::Status> {
        Ok(Response::new(Self::answer(&self.handle, request.get_ref())?))
    }
}

/// The status of a client as CSDS says it.
pub fn client_config(status: &Status, node: &Node, exclude_contents: bool) -> ClientConfig {
    let resource = |resource: &ResourceStatus| generic_config(resource, exclude_contents);
    ClientConfig {
        node: Some(node.clone()),
        generic_xds_configs: status.resources.iter().map(resource).collect(),
        ..ClientConfig::default()
    }
}

fn generic_config(resource: &ResourceStatus, exclude_contents: bool) -> GenericXdsConfig {
    let type_url = resource.key.resource_type.type_url();
    let any = |encoded: &[u8]| Any {
        type_url: type_url.to_owned(),
        value: encoded.to_vec(),
    };
    let accepted = resource.accepted.as_ref();
    GenericXdsConfig {
        type_url: type_url.to_owned(),
        name: resource.key.name.to_string(),
        version_info: accepted
            .map(|accepted| accepted.version.to_string())
            .unwrap_or_default(),
        // What the bootstrap holds is dumped with the bootstrap.
        xds_config: accepted
            .filter(|_| !exclude_contents && resource.origin == Origin::Dynamic)
            .map(|accepted| any(&accepted.encoded)),
        last_updated: accepted.map(|accepted| timestamp(accepted.last_updated)),
        client_status: client_status(resource.client_status).into(),
        error_state: resource.error.as_ref().map(|error| UpdateFailureState {
            failed_configuration: error
                .encoded
                .as_ref()
                .filter(|_| !exclude_contents)
                .map(|encoded| any(encoded)),
            last_update_attempt: Some(timestamp(error.last_update_attempt)),
            details: error.details.to_string(),
            version_info: error.version.to_string(),
        }),
        is_static_resource: resource.origin == Origin::Static,
        ..GenericXdsConfig::default()
    }
}

fn client_status(status: ClientStatus) -> ClientResourceStatus {
    match status {
        ClientStatus::Requested => ClientResourceStatus::Requested,
        ClientStatus::DoesNotExist => ClientResourceStatus::DoesNotExist,
        ClientStatus::Acked => ClientResourceStatus::Acked,
        ClientStatus::Nacked => ClientResourceStatus::Nacked,
        ClientStatus::Timeout => ClientResourceStatus::Timeout,
        ClientStatus::ReceivedError => ClientResourceStatus::ReceivedError,
    }
}

fn timestamp(at: SystemTime) -> Timestamp {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        // Below a thousand million: fits.
        nanos: since.subsec_nanos() as i32,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use config::ResourceType;

    use super::*;
    use crate::key::ResourceKey;
    use crate::status::{AcceptedStatus, ErrorState};

    fn status() -> Status {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let resource = ResourceStatus {
            key: ResourceKey::new(ResourceType::Cluster, "c"),
            origin: Origin::Dynamic,
            client_status: ClientStatus::Nacked,
            accepted: Some(AcceptedStatus {
                version: "1".into(),
                last_updated: at(5),
                encoded: Arc::from(&b"good"[..]),
                without_effect: Arc::default(),
            }),
            error: Some(ErrorState {
                version: "2".into(),
                details: "lb_policy: is unknown".into(),
                encoded: Some(Arc::from(&b"bad"[..])),
                last_update_attempt: at(7),
            }),
            active: true,
            waiting_for: Vec::new(),
        };
        Status {
            resources: vec![resource],
            ..Status::default()
        }
    }

    #[test]
    fn an_accepted_value_is_reported_with_the_error_beside_it() {
        let node = Node {
            id: "n".into(),
            ..Node::default()
        };
        let config = client_config(&status(), &node, false);
        assert_eq!(config.node, Some(node));
        let resource = &config.generic_xds_configs[0];
        assert_eq!((resource.name.as_str(), resource.version_info.as_str()), ("c", "1"));
        assert_eq!(
            resource.xds_config.as_ref().map(|any| &any.value[..]),
            Some(&b"good"[..])
        );
        assert_eq!(resource.last_updated.as_ref().map(|at| at.seconds), Some(5));
        assert_eq!(resource.client_status, i32::from(ClientResourceStatus::Nacked));
        let error = resource.error_state.as_ref().expect("an error");
        assert_eq!(
            (error.version_info.as_str(), error.details.as_str()),
            ("2", "lb_policy: is unknown")
        );
        assert_eq!(
            error.failed_configuration.as_ref().map(|any| &any.value[..]),
            Some(&b"bad"[..])
        );
    }

    #[test]
    fn contents_are_left_out_where_that_is_asked_for() {
        let config = client_config(&status(), &Node::default(), true);
        let resource = &config.generic_xds_configs[0];
        assert_eq!((&resource.xds_config, resource.version_info.as_str()), (&None, "1"));
        assert_eq!(
            resource
                .error_state
                .as_ref()
                .and_then(|error| error.failed_configuration.clone()),
            None
        );
    }
}
