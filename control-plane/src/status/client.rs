//! Asking a running control plane for its report.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::report::Report;
use super::server::STATUS_PATH;

/// How long the whole exchange may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A report of ten thousand proxies is a few MiB.
const MAX_REPORT_BYTES: usize = 64 << 20;

/// Why there is no report.
#[derive(Debug)]
pub struct NoReport {
    address: SocketAddr,
    reason: String,
}

impl fmt::Display for NoReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no report from {}: {}", self.address, self.reason)
    }
}

impl std::error::Error for NoReport {}

/// The report of the control plane whose status endpoint is at this address.
///
/// # Errors
/// It cannot be reached, or answers something else.
pub async fn fetch(address: SocketAddr) -> Result<Report, NoReport> {
    let fetched = tokio::time::timeout(TIMEOUT, exchange(address)).await;
    let fetched = fetched.unwrap_or_else(|_| Err(format!("no answer within {} s", TIMEOUT.as_secs()).into()));
    fetched.map_err(|error| NoReport {
        address,
        reason: error.to_string(),
    })
}

async fn exchange(address: SocketAddr) -> Result<Report, Box<dyn std::error::Error + Send + Sync>> {
    let connection = TcpStream::connect(address).await?;
    let (mut sender, driver) = http1::handshake(TokioIo::new(connection)).await?;
    let driver = tokio::spawn(driver);
    let request = Request::get(STATUS_PATH)
        .header(header::HOST, address.to_string())
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_REPORT_BYTES)
        .collect()
        .await?
        .to_bytes();
    driver.abort();
    if !status.is_success() {
        return Err(format!("answered {status}").into());
    }
    Ok(serde_json::from_slice(&body)?)
}
