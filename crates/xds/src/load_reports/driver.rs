//! The load-reporting session behind a real stream.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Instant;

use config::config_source::ApiConfigSource;
use telemetry::stats::{Block, Registry, Scope, Shard, load_reporter};
use tokio::sync::mpsc;
use tonic::codegen::http::uri::PathAndQuery;
use xds_api::envoy::config::core::v3::Node;
use xds_api::envoy::service::load_stats::v3::{LoadStatsRequest, LoadStatsResponse};

use super::LoadSource;
use super::session::Session;
use crate::backoff::Backoff;
use crate::client::{Connector, Settings};
use crate::driver::{GrpcTransport as Transport, Incoming};

const PATH: &str = "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats";

/// Reports loads to a management server for as long as [`run`](Self::run) is polled.
pub struct LoadReporter {
    session: Session,
    servers: Arc<ApiConfigSource>,
    connector: Arc<dyn Connector>,
    settings: Settings,
    loads: Box<dyn LoadSource>,
    statistics: Arc<Block>,
}

impl LoadReporter {
    /// A reporter of what `loads` says to the servers of `load_stats_config`, the first that can be reached, as `node`.
    pub fn new(
        servers: Arc<ApiConfigSource>,
        node: Node,
        connector: Arc<dyn Connector>,
        settings: Settings,
        loads: Box<dyn LoadSource>,
        statistics: &Registry,
    ) -> Self {
        Self {
            session: Session::new(node),
            servers,
            connector,
            settings,
            loads,
            statistics: statistics.block(Scope::Process("load_reporter."), &load_reporter::TABLE),
        }
    }

    /// Keeps a stream open and reports on it until the future is dropped.
    pub async fn run(mut self) {
        let (initial, maximum) = self.settings.backoff;
        let mut backoff = Backoff::new(initial, maximum, RandomState::new().build_hasher().finish());
        let mut server = 0;
        loop {
            let mut responded = false;
            let reason = self.exchange(server, &mut responded).await;
            self.statistics.increment(Shard::CONTROL, load_reporter::ERRORS);
            if responded {
                tracing::info!("load-reporting stream ended: {reason}");
                backoff.reset();
            } else {
                tracing::warn!("load-reporting stream failed: {reason}");
                server = (server + 1) % self.servers.grpc_services.len().max(1);
            }
            tokio::time::sleep(backoff.next_delay()).await;
            self.statistics.increment(Shard::CONTROL, load_reporter::RETRIES);
        }
    }

    /// Exchanges messages with one server until the stream ends, and returns why it did.
    async fn exchange(&mut self, server: usize, responded: &mut bool) -> String {
        match self.open(server).await {
            Ok((requests, responses)) => self.talk(requests, responses, responded).await,
            Err(reason) => reason,
        }
    }

    async fn open(
        &mut self,
        server: usize,
    ) -> Result<
        (
            mpsc::Sender<LoadStatsRequest>,
            Incoming<LoadStatsResponse, LoadStatsResponse>,
        ),
        String,
    > {
        let service = self
            .servers
            .grpc_services
            .get(server)
            .ok_or("no gRPC service is configured")?;
        let transport = Transport::dial(&*self.connector, &self.settings, service).await?;
        Ok(transport.call(PathAndQuery::from_static(PATH), |response| response))
    }

    async fn talk(
        &mut self,
        requests: mpsc::Sender<LoadStatsRequest>,
        mut responses: Incoming<LoadStatsResponse, LoadStatsResponse>,
        responded: &mut bool,
    ) -> String {
        let mut next = Some(self.session.opened());
        loop {
            let deadline = self.session.deadline().filter(|_| next.is_none());
            tokio::select! {
                response = responses.next() => match response {
                    Ok(Some(response)) => {
                        *responded = true;
                        // Envoy counts from the server's side: it requests, and is sent reports in response.
                        self.statistics.increment(Shard::CONTROL, load_reporter::REQUESTS);
                        self.session.receive(response, &mut *self.loads, now());
                    }
                    Ok(None) => return "closed by the server".to_owned(),
                    Err(status) => return format!("{}: {}", status.code(), status.message()),
                },
                // A report is made when the one before has gone: a server that does not read gets fewer, each of more.
                room = requests.reserve(), if next.is_some() => match room {
                    Ok(room) => {
                        if let Some(request) = next.take() {
                            self.statistics.increment(Shard::CONTROL, load_reporter::RESPONSES);
                            room.send(request);
                        }
                    }
                    Err(_) => return "the stream takes no more requests".to_owned(),
                },
                () = crate::driver::sleep_until(deadline) => next = self.session.report(&mut *self.loads, now()),
            }
        }
    }
}

impl std::fmt::Debug for LoadReporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadReporter")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
