//! The discovery services of single types, which say the same as the aggregated one.

use std::sync::Arc;

use tonic::{Request, Response, Status, Streaming};
use xds_api::envoy::service::cluster::v3::cluster_discovery_service_server::ClusterDiscoveryService;
use xds_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use xds_api::envoy::service::endpoint::v3::endpoint_discovery_service_server::EndpointDiscoveryService;
use xds_api::envoy::service::listener::v3::listener_discovery_service_server::ListenerDiscoveryService;
use xds_api::envoy::service::route::v3::route_discovery_service_server::RouteDiscoveryService;
use xds_api::envoy::service::secret::v3::secret_discovery_service_server::SecretDiscoveryService;

use super::{Responses, Shared, delta, sotw};

/// The service of each type.
#[derive(Clone, Debug)]
pub(super) struct Service(pub(super) Arc<Shared>);

macro_rules! service {
    ($service:ident: $stream_type:ident $stream:ident, $delta_type:ident $delta:ident, $fetch:ident) => {
        #[tonic::async_trait]
        impl $service for Service {
            type $stream_type = Responses<DiscoveryResponse>;
            type $delta_type = Responses<DeltaDiscoveryResponse>;

            async fn $stream(
                &self,
                request: Request<Streaming<DiscoveryRequest>>,
            ) -> Result<Response<Self::$stream_type>, Status> {
                Ok(Response::new(sotw::serve(
                    Arc::clone(&self.0),
                    request.into_inner(),
                )))
            }

            async fn $delta(
                &self,
                request: Request<Streaming<DeltaDiscoveryRequest>>,
            ) -> Result<Response<Self::$delta_type>, Status> {
                Ok(Response::new(delta::serve(
                    Arc::clone(&self.0),
                    request.into_inner(),
                )))
            }

            async fn $fetch(&self, _: Request<DiscoveryRequest>) -> Result<Response<DiscoveryResponse>, Status> {
                Err(Status::unimplemented("there are streams alone"))
            }
        }
    };
}

service!(ClusterDiscoveryService: StreamClustersStream stream_clusters, DeltaClustersStream delta_clusters, fetch_clusters);
service!(EndpointDiscoveryService: StreamEndpointsStream stream_endpoints, DeltaEndpointsStream delta_endpoints, fetch_endpoints);
service!(ListenerDiscoveryService: StreamListenersStream stream_listeners, DeltaListenersStream delta_listeners, fetch_listeners);
service!(RouteDiscoveryService: StreamRoutesStream stream_routes, DeltaRoutesStream delta_routes, fetch_routes);
service!(SecretDiscoveryService: StreamSecretsStream stream_secrets, DeltaSecretsStream delta_secrets, fetch_secrets);
