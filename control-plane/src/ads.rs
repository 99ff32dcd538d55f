//! The aggregated discovery service: both variants of the xDS protocol over gRPC.

pub mod message;
pub mod session;
mod stream;
pub mod subscription;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use xds_api::envoy::service::discovery::v3 as discovery;
use xds_api::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};

use self::message::{Delta, Sotw, Variant};
use crate::ca::identities::Identities;
use crate::compile::Snapshot;
use crate::status::proxies::Proxies;

/// Responses written and not yet taken by the connection, per stream. What waits beyond
/// that is not a queue but the difference between what a client has and should have.
const RESPONSES_AHEAD: usize = 1;
/// Requests may carry the names of every cluster of a large mesh.
const MAX_REQUEST_BYTES: usize = 64 << 20;

/// What streams are served from.
#[derive(Clone)]
pub struct Ads {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    identities: Arc<Identities>,
    proxies: Arc<Proxies>,
}

impl Ads {
    /// A server of the latest snapshot and the current certificates, which keeps `proxies`
    /// up to date about who is connected.
    pub fn new(snapshots: watch::Receiver<Arc<Snapshot>>, identities: Arc<Identities>, proxies: Arc<Proxies>) -> Self {
        Self {
            snapshots,
            identities,
            proxies,
        }
    }

    /// As a gRPC service.
    pub fn into_service(self) -> AggregatedDiscoveryServiceServer<Self> {
        AggregatedDiscoveryServiceServer::new(self).max_decoding_message_size(MAX_REQUEST_BYTES)
    }

    fn serve<V: Variant>(&self, requests: Streaming<V::Request>) -> Response<Responses<V::Response>> {
        let (sender, receiver) = tokio::sync::mpsc::channel(RESPONSES_AHEAD);
        tokio::spawn(stream::serve::<V>(self.clone(), requests, sender));
        Response::new(Box::pin(ReceiverStream::new(receiver)))
    }
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type StreamAggregatedResourcesStream = Responses<discovery::DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Responses<discovery::DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<discovery::DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Ok(self.serve::<Sotw>(request.into_inner()))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<discovery::DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Ok(self.serve::<Delta>(request.into_inner()))
    }
}
