//! Load reports: asks for all clusters and keeps what it is told.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use xds_api::envoy::service::load_stats::v3::load_reporting_service_server::LoadReportingService;
use xds_api::envoy::service::load_stats::v3::{LoadStatsRequest, LoadStatsResponse};

use super::{Responses, Shared, lock};

/// The service.
#[derive(Debug)]
pub(super) struct Service(pub(super) Arc<Shared>);

#[tonic::async_trait]
impl LoadReportingService for Service {
    type StreamLoadStatsStream = Responses<LoadStatsResponse>;

    async fn stream_load_stats(
        &self,
        request: Request<Streaming<LoadStatsRequest>>,
    ) -> Result<Response<Self::StreamLoadStatsStream>, Status> {
        let (responses, stream) = mpsc::channel(1);
        let shared = Arc::clone(&self.0);
        let mut requests = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(report)) = requests.message().await {
                let first = report.cluster_stats.is_empty();
                lock(&shared.reports).push(report);
                if first && responses.send(Ok(shared.question.clone())).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}
