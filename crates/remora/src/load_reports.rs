//! Load reports (LRS): the loads of the active clusters, told to the servers of `cluster_manager.load_stats_config`.

use std::sync::Arc;

use config::config_source::ApiConfigSource;
use telemetry::stats::Registry;
use upstream::clusters::ClustersView;
use upstream::endpoint::EndpointAddress;
use upstream::load::{self, LoadMeter};
use xds::load_reports::{self, ClusterLoad, EndpointLoad, Load, LoadReporter, LoadSource, LocalityLoad, Selection};
use xds_api::envoy::config::core::v3::Node;

use crate::dialer::Dialer;

/// Begins to report, as `node`, for as long as the control thread's runtime lives.
pub(crate) fn start(
    servers: Arc<ApiConfigSource>,
    node: Node,
    dialer: Dialer,
    clusters: ClustersView,
    registry: &Registry,
) {
    let reporter = LoadReporter::new(
        servers,
        node,
        Arc::new(dialer),
        xds::Settings::default(),
        Box::new(Source::new(clusters)),
        registry,
    );
    tokio::spawn(reporter.run());
}

/// Loads as the reporter takes them.
struct Source {
    meter: LoadMeter,
    selection: Selection,
}

impl Source {
    fn new(clusters: ClustersView) -> Self {
        Self {
            meter: LoadMeter::new(clusters),
            selection: Selection::Named(Default::default()),
        }
    }
}

impl LoadSource for Source {
    fn select(&mut self, selection: &Selection) {
        self.meter.select(|cluster| selection.contains(cluster));
        self.selection = selection.clone();
    }

    fn take(&mut self) -> Vec<ClusterLoad> {
        let loads = self.meter.take(|cluster| self.selection.contains(cluster));
        loads.into_iter().map(cluster).collect()
    }
}

fn cluster(load: load::ClusterLoad) -> ClusterLoad {
    let mut localities: Vec<LocalityLoad> = Vec::new();
    // They come in the order of places.
    for endpoint in load.endpoints {
        let load::EndpointLoad {
            address,
            locality,
            priority,
            load,
        } = endpoint;
        let load = Load {
            issued: load.issued,
            succeeded: load.succeeded,
            failed: load.failed,
            in_progress: load.in_progress,
        };
        let is_same = |place: &LocalityLoad| {
            place.priority == priority
                && (&place.region, &place.zone, &place.sub_zone)
                    == (&locality.region, &locality.zone, &locality.sub_zone)
        };
        if !localities.last().is_some_and(is_same) {
            localities.push(LocalityLoad {
                region: locality.region,
                zone: locality.zone,
                sub_zone: locality.sub_zone,
                priority,
                ..LocalityLoad::default()
            });
        }
        let Some(place) = localities.last_mut() else {
            continue;
        };
        place.load += load;
        let address = match address {
            EndpointAddress::Socket(address) => load_reports::EndpointAddress::Socket(address),
            EndpointAddress::Pipe(path) => load_reports::EndpointAddress::Pipe(path),
        };
        place.endpoints.push(EndpointLoad { address, load });
    }
    ClusterLoad {
        cluster: load.cluster,
        service: load.service,
        dropped: load.dropped,
        drops: load.drops,
        localities,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_of_one_place_and_priority_are_told_together() {
        let endpoint = |port: u16, zone: &str, priority, issued| load::EndpointLoad {
            address: EndpointAddress::Socket(([127, 0, 0, 1], port).into()),
            locality: config::endpoint::Locality {
                zone: zone.into(),
                ..Default::default()
            },
            priority,
            load: load::Load {
                issued,
                ..Default::default()
            },
        };
        let told = cluster(load::ClusterLoad {
            cluster: "c".into(),
            service: "".into(),
            dropped: 3,
            drops: vec![("lb".into(), 2)],
            endpoints: vec![
                endpoint(1, "a", 0, 1),
                endpoint(2, "a", 0, 2),
                endpoint(3, "b", 0, 4),
                endpoint(4, "b", 1, 8),
            ],
        });
        let places: Vec<_> = told
            .localities
            .iter()
            .map(|place| (&*place.zone, place.priority, place.load.issued, place.endpoints.len()))
            .collect();
        assert_eq!(places, [("a", 0, 3, 2), ("b", 0, 4, 1), ("b", 1, 8, 1)]);
        assert_eq!((told.dropped, told.drops), (3, vec![("lb".into(), 2)]));
    }
}
