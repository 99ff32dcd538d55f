//! One load-reporting stream, without the stream.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use xds_api::envoy::config::core::v3::{self as core, Locality, Node};
use xds_api::envoy::config::endpoint::v3::cluster_stats::DroppedRequests;
use xds_api::envoy::config::endpoint::v3::{ClusterStats, UpstreamEndpointStats, UpstreamLocalityStats};
use xds_api::envoy::service::load_stats::v3::{LoadStatsRequest, LoadStatsResponse};
use xds_api::google::protobuf;

use super::{ClusterLoad, EndpointAddress, EndpointLoad, Load, LoadSource, LocalityLoad, Selection};
use crate::session::positive;

/// What a client that can report on all clusters tells in its node.
const SEND_ALL_CLUSTERS: &str = "envoy.lrs.supports_send_all_clusters";
/// Reports are not made more often than this, whatever a server asks for.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);
/// What is taken for an interval that a server does not give (as in Envoy).
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

/// What a server asked for, and when the next report is due.
#[derive(Debug)]
pub(super) struct Session {
    node: Node,
    asked: Option<Asked>,
    /// When each cluster was last reported on.
    reported: HashMap<Arc<str>, Instant>,
}

#[derive(Debug)]
struct Asked {
    selection: Selection,
    interval: Duration,
    per_endpoint: bool,
    /// When it was asked.
    since: Instant,
    next: Instant,
}

impl Session {
    pub(super) fn new(mut node: Node) -> Self {
        node.client_features.push(SEND_ALL_CLUSTERS.to_owned());
        Self {
            node,
            asked: None,
            reported: HashMap::new(),
        }
    }

    /// A stream was opened: what to say first. What another stream was asked is forgotten.
    pub(super) fn opened(&mut self) -> LoadStatsRequest {
        self.asked = None;
        self.reported.clear();
        LoadStatsRequest {
            node: Some(self.node.clone()),
            cluster_stats: Vec::new(),
        }
    }

    /// The server says what it wants to know. The first report comes an interval later.
    pub(super) fn receive(&mut self, response: LoadStatsResponse, loads: &mut dyn LoadSource, now: Instant) {
        let selection = if response.send_all_clusters {
            Selection::All
        } else {
            Selection::Named(response.clusters.into_iter().collect())
        };
        let interval = response
            .load_reporting_interval
            .and_then(positive)
            .unwrap_or(DEFAULT_INTERVAL);
        let interval = interval.max(SHORTEST_INTERVAL);
        loads.select(&selection);
        let before = self.asked.take().map(|asked| asked.selection);
        // Clusters that were asked about before go on from their last report; for the others the time begins now.
        self.reported
            .retain(|cluster, _| selection.contains(cluster) && before.as_ref().is_some_and(|b| b.contains(cluster)));
        self.asked = Some(Asked {
            selection,
            interval,
            per_endpoint: response.report_endpoint_granularity,
            since: now,
            next: now + interval,
        });
    }

    /// When [`report`](Self::report) is to be called; none before the server asked.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.asked.as_ref().map(|asked| asked.next)
    }

    /// The report that is due. None before the server asked.
    pub(super) fn report(&mut self, loads: &mut dyn LoadSource, now: Instant) -> Option<LoadStatsRequest> {
        let asked = self.asked.as_mut()?;
        asked.next = now + asked.interval;
        let mut cluster_stats = Vec::new();
        let mut reported = HashMap::new();
        for load in loads.take() {
            let since = self.reported.get(&load.cluster).copied().unwrap_or(asked.since);
            reported.insert(Arc::clone(&load.cluster), now);
            cluster_stats.push(cluster(load, now.saturating_duration_since(since), asked.per_endpoint));
        }
        self.reported = reported;
        Some(LoadStatsRequest {
            node: Some(self.node.clone()),
            cluster_stats,
        })
    }
}

fn cluster(load: ClusterLoad, interval: Duration, per_endpoint: bool) -> ClusterStats {
    let localities = load.localities.into_iter();
    ClusterStats {
        cluster_name: load.cluster.to_string(),
        cluster_service_name: load.service.to_string(),
        upstream_locality_stats: localities.map(|load| locality(load, per_endpoint)).collect(),
        total_dropped_requests: load.dropped,
        dropped_requests: load
            .drops
            .into_iter()
            .map(|(category, dropped_count)| DroppedRequests {
                category: category.to_string(),
                dropped_count,
            })
            .collect(),
        load_report_interval: Some(protobuf::Duration {
            seconds: i64::try_from(interval.as_secs()).unwrap_or(i64::MAX),
            // Below a thousand million: fits.
            nanos: interval.subsec_nanos() as i32,
        }),
    }
}

fn locality(place: LocalityLoad, per_endpoint: bool) -> UpstreamLocalityStats {
    let Load {
        issued,
        succeeded,
        failed,
        in_progress,
    } = place.load;
    let endpoints = place.endpoints.into_iter().filter(|_| per_endpoint);
    UpstreamLocalityStats {
        locality: Some(Locality {
            region: place.region.to_string(),
            zone: place.zone.to_string(),
            sub_zone: place.sub_zone.to_string(),
        }),
        priority: place.priority,
        total_issued_requests: issued,
        total_successful_requests: succeeded,
        total_error_requests: failed,
        total_requests_in_progress: in_progress,
        upstream_endpoint_stats: endpoints.map(endpoint).collect(),
        ..UpstreamLocalityStats::default()
    }
}

fn endpoint(endpoint: EndpointLoad) -> UpstreamEndpointStats {
    let Load {
        issued,
        succeeded,
        failed,
        in_progress,
    } = endpoint.load;
    UpstreamEndpointStats {
        address: Some(address(&endpoint.address)),
        total_issued_requests: issued,
        total_successful_requests: succeeded,
        total_error_requests: failed,
        total_requests_in_progress: in_progress,
        ..UpstreamEndpointStats::default()
    }
}

fn address(address: &EndpointAddress) -> core::Address {
    use core::address::Address;
    use core::socket_address::PortSpecifier;
    let address = match address {
        EndpointAddress::Socket(socket) => Address::SocketAddress(core::SocketAddress {
            address: socket.ip().to_string(),
            port_specifier: Some(PortSpecifier::PortValue(u32::from(socket.port()))),
            ..core::SocketAddress::default()
        }),
        EndpointAddress::Pipe(path) => Address::Pipe(core::Pipe {
            path: path.to_string(),
            ..core::Pipe::default()
        }),
    };
    core::Address { address: Some(address) }
}
