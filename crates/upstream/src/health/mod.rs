//! Active health checks: gRPC, HTTP and TCP.
//!
//! [`state`] decides, without I/O, what results mean and when to check again; [`Check`] is how a check is made.

mod exchange;
mod grpc;
mod http;
mod link;
mod network;
pub mod state;

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use config::cluster::{HealthCheck, HealthChecker};
use config::endpoint::EndpointHealthCheckConfig;
pub use network::NetworkChecker;
use state::CheckResult;

use crate::cluster_state::ClusterState;
use crate::endpoint::EndpointAddress;
use crate::transport::Transport;

/// Makes one health check. Scripted in tests.
pub trait Check: fmt::Debug + Send + Sync {
    /// Checks, and ends within `request.settings.timeout`.
    fn check(&self, request: CheckRequest) -> Checking;
}

/// A health check under way: how it ended, and the connection to use for the next one, if that is wanted and
/// possible.
pub type Checking = Pin<Box<dyn Future<Output = (CheckResult, Option<IdleConnection>)> + Send>>;

/// A connection kept for the next health check of the same endpoint, known only to who made it.
pub struct IdleConnection(pub Box<dyn Any + Send>);

/// What to check.
#[derive(Debug)]
pub struct CheckRequest {
    /// How.
    pub settings: Arc<HealthCheck>,
    /// Where.
    pub address: EndpointAddress,
    /// The host to ask for: what the endpoint or the health check names, else the cluster's name.
    pub authority: Arc<str>,
    /// The name of the endpoint, empty if it has none; what TLS verifies may depend on it.
    pub hostname: Arc<str>,
    /// How the connection is secured.
    pub transport: Transport,
    /// What the last check left.
    pub connection: Option<IdleConnection>,
    /// In whose statistics its connection counts.
    pub cluster: Arc<ClusterState>,
}

impl fmt::Debug for IdleConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdleConnection")
    }
}

/// Where an endpoint is checked, which need not be where it is used
/// (`Endpoint.health_check_config`, `HealthCheck.alt_port`).
pub(crate) fn address(
    address: &EndpointAddress,
    settings: &HealthCheck,
    config: Option<&EndpointHealthCheckConfig>,
) -> EndpointAddress {
    let configured = config
        .and_then(|c| c.address.as_ref())
        .and_then(EndpointAddress::from_config);
    let port = config.and_then(|c| c.port_value).or(settings.alt_port);
    match (configured.unwrap_or_else(|| address.clone()), port) {
        (EndpointAddress::Socket(mut address), Some(port)) => {
            address.set_port(port);
            EndpointAddress::Socket(address)
        }
        (address, _) => address,
    }
}

/// The host that a check asks for: the endpoint's, the check's, or the cluster's name, as Envoy has it. A cluster's name
/// that is no host at all (`outbound|80||shop`) Envoy sends all the same, and servers that look at it refuse the check;
/// then the address is asked for.
pub(crate) fn authority(
    cluster: &Arc<str>,
    settings: &HealthCheck,
    config: Option<&EndpointHealthCheckConfig>,
    address: &EndpointAddress,
) -> Arc<str> {
    let of_check = match &settings.checker {
        HealthChecker::Grpc(grpc) => grpc.authority.as_ref(),
        HealthChecker::Http(http) => http.host.as_ref(),
        HealthChecker::Tcp(_) => None,
    };
    let of_endpoint = config.and_then(|c| c.hostname.as_ref());
    match of_endpoint.or(of_check).filter(|host| !host.is_empty()) {
        Some(host) => host.clone(),
        None if is_host(cluster) => cluster.clone(),
        None => match address {
            EndpointAddress::Socket(address) => address.to_string().into(),
            EndpointAddress::Pipe(_) => "localhost".into(),
        },
    }
}

/// Whether `name` can stand in an authority (RFC 3986 section 3.2.2, without percent-encoding).
fn is_host(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]".contains(&b))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use config::address::Address;

    use super::*;
    use crate::testing;

    fn socket(text: &str) -> EndpointAddress {
        text.parse::<SocketAddr>().unwrap().into()
    }

    #[test]
    fn an_endpoint_may_be_checked_elsewhere() {
        let mut settings = testing::health_check(1, 1);
        let own = socket("10.0.0.1:80");
        let config = |port_value, address: Option<&str>| EndpointHealthCheckConfig {
            port_value,
            address: address.map(|a| Address::Socket(a.parse().unwrap())),
            ..EndpointHealthCheckConfig::default()
        };
        assert_eq!(address(&own, &settings, None), own);
        settings.alt_port = Some(81);
        assert_eq!(address(&own, &settings, None), socket("10.0.0.1:81"));
        assert_eq!(
            address(&own, &settings, Some(&config(Some(82), None))),
            socket("10.0.0.1:82")
        );
        assert_eq!(
            address(&own, &settings, Some(&config(Some(82), Some("10.9.9.9:1")))),
            socket("10.9.9.9:82")
        );
    }

    #[test]
    fn the_authority_is_the_endpoints_the_checks_or_the_clusters() {
        let (cluster, mut settings) = ("c".into(), testing::health_check(1, 1));
        let own = socket("10.0.0.1:80");
        assert_eq!(&*authority(&cluster, &settings, None, &own), "c");
        assert_eq!(
            &*authority(&"outbound|80||shop".into(), &settings, None, &own),
            "10.0.0.1:80",
            "no host"
        );
        let HealthChecker::Grpc(grpc) = &mut settings.checker else {
            unreachable!("made so")
        };
        grpc.authority = Some("of-check".into());
        assert_eq!(&*authority(&cluster, &settings, None, &own), "of-check");
        let config = EndpointHealthCheckConfig {
            hostname: Some("of-host".into()),
            ..Default::default()
        };
        assert_eq!(&*authority(&cluster, &settings, Some(&config), &own), "of-host");
    }
}
