//! Health checks over the network.

use std::sync::Arc;

use config::cluster::{GrpcHealthCheck, HealthCheck, HealthChecker, HttpHealthCheck, TcpHealthCheck};
use telemetry::stats::{Shard, cluster as stat};
use tracing::debug;

use super::exchange::{ExchangeError, HttpLink};
use super::link::{Link, LinkError};
use super::state::CheckResult;
use super::{Check, CheckRequest, Checking, IdleConnection, grpc, http};
use crate::transport::Transport;

/// Checks endpoints over TCP or Unix sockets, in plaintext or TLS as their cluster has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetworkChecker;

impl Check for NetworkChecker {
    fn check(&self, request: CheckRequest) -> Checking {
        Box::pin(async move {
            let timeout = request.settings.timeout;
            let (address, cluster) = (request.address.clone(), Arc::clone(&request.cluster));
            match tokio::time::timeout(timeout, checked(request)).await {
                Ok(Ok((result, connection))) => (result, connection),
                Ok(Err(error)) => {
                    if let ExchangeError::Codec(_) = error {
                        cluster
                            .stats()
                            .increment(Shard::CONTROL, stat::UPSTREAM_CX_PROTOCOL_ERROR);
                    }
                    debug!(endpoint = %address, %error, "health check");
                    (CheckResult::NetworkFailure, None)
                }
                Err(_) => (CheckResult::Timeout, None),
            }
        })
    }
}

type Checked = Result<(CheckResult, Option<IdleConnection>), ExchangeError>;

async fn checked(mut request: CheckRequest) -> Checked {
    let settings = request.settings.clone();
    match &settings.checker {
        HealthChecker::Grpc(grpc) => check_grpc(&mut request, grpc).await,
        HealthChecker::Http(http) => check_http(&mut request, http).await,
        HealthChecker::Tcp(tcp) => check_tcp(&mut request, tcp).await,
    }
}

async fn check_grpc(request: &mut CheckRequest, settings: &GrpcHealthCheck) -> Checked {
    let mut link = http_link(request, true).await?;
    let head = grpc::request_head(
        &request.authority,
        scheme(&request.transport),
        request.settings.timeout,
        settings,
    );
    let body = grpc::request_body(settings);
    let answer = link.request(&head, Some(&body), grpc::MAX_ANSWER).await?;
    Ok((grpc::judge(&answer), keep(link, &request.settings)))
}

async fn check_http(request: &mut CheckRequest, settings: &HttpHealthCheck) -> Checked {
    let mut link = http_link(request, settings.http2).await?;
    let head = http::request_head(&request.authority, scheme(&request.transport), settings);
    let limit = settings.response_buffer_size.try_into().unwrap_or(usize::MAX);
    let answer = link.request(&head, None, limit).await?;
    Ok((http::judge(&answer, settings), keep(link, &request.settings)))
}

async fn check_tcp(request: &mut CheckRequest, settings: &TcpHealthCheck) -> Checked {
    let mut link = connect(request, None).await?;
    if let Some(payload) = &settings.send {
        link.send(payload).await?;
    }
    let mut received = Vec::new();
    while !http::contains_in_order(&received, &settings.receive) {
        if received.len() > MAX_TCP_ANSWER || !link.receive(&mut received).await? {
            return Ok((CheckResult::Failure, None));
        }
    }
    Ok((CheckResult::Success { degraded: false }, None))
}

/// A TCP answer that is longer does not hold what is expected.
const MAX_TCP_ANSWER: usize = 64 * 1024;

/// The connection of the last check if it still serves, else a new one.
async fn http_link(request: &mut CheckRequest, http2: bool) -> Result<HttpLink, ExchangeError> {
    let kept = request
        .connection
        .take()
        .and_then(|idle| idle.0.downcast::<HttpLink>().ok());
    if let Some(mut link) = kept
        && link.is_reusable().await
    {
        return Ok(*link);
    }
    // Where nothing is offered by configuration, what will be spoken is: a server may choose by it.
    let fallback: &[&[u8]] = if http2 { &[b"h2"] } else { &[b"http/1.1"] };
    let link = connect(request, Some(fallback)).await?;
    Ok(if http2 {
        HttpLink::http2(link, Arc::clone(request.cluster.http2_stats()))
    } else {
        HttpLink::http1(link, Arc::clone(request.cluster.http1_stats()))
    })
}

async fn connect(request: &mut CheckRequest, fallback_alpn: Option<&[&[u8]]>) -> Result<Link, ExchangeError> {
    let configured: Vec<&[u8]> = request
        .settings
        .alpn_protocols
        .iter()
        .map(|protocol| protocol.as_bytes())
        .collect();
    let by_context = matches!(&request.transport, Transport::Tls(context) if !context.alpn_protocols().is_empty());
    let alpn = match &configured[..] {
        [] if by_context => None,
        [] => fallback_alpn,
        configured => Some(configured),
    };
    let connected = Link::connect(&request.address, &request.transport, &request.hostname, alpn).await;
    // As any other connection to the cluster.
    match &connected {
        Ok(link) => link.count_handshake(&request.cluster),
        Err(LinkError::Tls(error)) => request.cluster.ssl_stats().increment(Shard::CONTROL, error.stat()),
        Err(LinkError::Io(_) | LinkError::NotReady(_) | LinkError::Closed) => {}
    }
    Ok(connected?)
}

/// The connection, for the next check.
fn keep(link: HttpLink, settings: &HealthCheck) -> Option<IdleConnection> {
    (settings.reuse_connection && !link.is_draining()).then(|| IdleConnection(Box::new(link)))
}

fn scheme(transport: &Transport) -> &'static str {
    match transport {
        Transport::RawBuffer => "http",
        Transport::Tls(_) | Transport::NotReady { .. } => "https",
    }
}

#[cfg(test)]
mod tests;
