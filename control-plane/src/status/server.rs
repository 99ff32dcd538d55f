//! The status endpoint: HTTP with JSON, for loopback.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use super::report::Report;

/// The path of the report.
pub const STATUS_PATH: &str = "/status";
/// The path that answers 200 once the control plane serves.
pub const READY_PATH: &str = "/ready";

/// What makes the report.
pub type MakeReport = Arc<dyn Fn() -> Report + Send + Sync>;

/// Serves the report for ever.
pub async fn serve(listener: TcpListener, make_report: MakeReport) {
    loop {
        let connection = match listener.accept().await {
            Ok((connection, _)) => connection,
            Err(error) => {
                tracing::warn!(%error, "status endpoint: cannot accept");
                // Out of file descriptors, as a rule: some may be closed in a moment.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let make_report = Arc::clone(&make_report);
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let response = answer(request.method(), request.uri().path(), &make_report);
                async move { Ok::<_, Infallible>(response) }
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new());
            if let Err(error) = server.serve_connection(TokioIo::new(connection), service).await {
                tracing::debug!(%error, "status endpoint: connection failed");
            }
        });
    }
}

fn answer(method: &Method, path: &str, make_report: &MakeReport) -> Response<Full<Bytes>> {
    let (status, content_type, body) = match path {
        _ if method != Method::GET && method != Method::HEAD => (
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain",
            Bytes::from_static(b"only GET\n"),
        ),
        STATUS_PATH => match serde_json::to_vec_pretty(&make_report()) {
            Ok(body) => (StatusCode::OK, "application/json", body.into()),
            Err(error) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "text/plain",
                error.to_string().into(),
            ),
        },
        READY_PATH => (StatusCode::OK, "text/plain", Bytes::from_static(b"LIVE\n")),
        _ => {
            let known = format!("known paths: {STATUS_PATH} {READY_PATH}\n");
            (StatusCode::NOT_FOUND, "text/plain", known.into())
        }
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
