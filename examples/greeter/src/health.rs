//! The standard gRPC health service over one switch for the whole server.

use std::pin::Pin;

use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use crate::health_api::health_check_response::ServingStatus;
use crate::health_api::health_server::Health;
use crate::health_api::{HealthCheckRequest, HealthCheckResponse};

/// The one service besides the server as a whole ("") that is known here.
pub const GREETER: &str = "greeter.v1.Greeter";

/// Answers health checks with the state its switch is in.
#[derive(Debug)]
pub struct HealthService {
    serving: watch::Receiver<bool>,
}

impl HealthService {
    /// The service, which follows `serving`.
    pub fn new(serving: watch::Receiver<bool>) -> Self {
        Self { serving }
    }
}

fn response(serving: bool) -> HealthCheckResponse {
    let status = if serving {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    HealthCheckResponse { status: status.into() }
}

fn is_known(service: &str) -> bool {
    service.is_empty() || service == GREETER
}

#[tonic::async_trait]
impl Health for HealthService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        if !is_known(service) {
            return Err(Status::not_found(format!(
                "no service named \"{service}\" here; known are \"\" and \"{GREETER}\""
            )));
        }
        Ok(Response::new(response(*self.serving.borrow())))
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let known = is_known(&request.get_ref().service);
        let states = WatchStream::new(self.serving.clone()).map(move |serving| {
            Ok(if known {
                response(serving)
            } else {
                HealthCheckResponse {
                    status: ServingStatus::ServiceUnknown.into(),
                }
            })
        });
        Ok(Response::new(Box::pin(states)))
    }
}
