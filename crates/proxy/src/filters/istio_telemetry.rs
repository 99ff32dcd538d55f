//! Istio's filters for its own telemetry: they change no answer, and are accepted unread.
//!
//! Those that exchange metadata over TCP do so only where TLS settled on `istio-peer-exchange`, which is neither offered
//! nor selected here (`tls::settings`).

use config::{ExtensionKind, Extensions};

pub(super) fn register(extensions: &mut Extensions) {
    use ExtensionKind::{HttpFilter, HttpFilterPerRoute, NetworkFilter, UpstreamNetworkFilter};
    let no_exchange = "peers exchange no metadata";
    let no_statistics = "Istio's own statistics are not kept";
    for (message, reason, places) in [
        (
            "io.istio.http.peer_metadata.Config",
            no_exchange,
            [HttpFilter, HttpFilterPerRoute],
        ),
        ("stats.PluginConfig", no_statistics, [HttpFilter, HttpFilterPerRoute]),
        (
            "stats.PluginConfig",
            no_statistics,
            [NetworkFilter, UpstreamNetworkFilter],
        ),
        (
            "envoy.tcp.metadataexchange.config.MetadataExchange",
            no_exchange,
            [NetworkFilter, UpstreamNetworkFilter],
        ),
    ] {
        for place in places {
            extensions.register_ignored(place, message, reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Context;
    use config::http_connection_manager::parse_http_filters;
    use xds_api::envoy::config::cluster::v3 as cluster;
    use xds_api::envoy::config::core::v3 as core;
    use xds_api::envoy::config::listener::v3 as listener;
    use xds_api::envoy::extensions::filters::http::router::v3::Router;
    use xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
    use xds_api::envoy::extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy};
    use xds_api::google::protobuf::Any;
    use xds_api::prost::Message;

    /// A TypedStruct is its type URL in field 1, and the structure, which nobody reads, in field 2.
    fn typed_struct(wrapper: &str, inner: &str) -> Any {
        let mut value = vec![0x0a, inner.len() as u8];
        value.extend_from_slice(inner.as_bytes());
        value.extend_from_slice(&[0x12, 0]);
        Any {
            type_url: format!("type.googleapis.com/{wrapper}"),
            value,
        }
    }

    fn filter(name: &str, any: Any) -> hcm::HttpFilter {
        hcm::HttpFilter {
            name: name.to_owned(),
            config_type: Some(hcm::http_filter::ConfigType::TypedConfig(any)),
            ..Default::default()
        }
    }

    #[test]
    fn istios_telemetry_is_accepted_in_either_wrapper_and_listed() {
        let mut extensions = Extensions::new();
        super::super::register(&mut extensions);
        let router = Any {
            type_url: "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router".to_owned(),
            value: Router::default().encode_to_vec(),
        };
        let chain = [
            filter(
                "istio.metadata_exchange",
                typed_struct(
                    "udpa.type.v1.TypedStruct",
                    "type.googleapis.com/io.istio.http.peer_metadata.Config",
                ),
            ),
            filter(
                "istio.stats",
                typed_struct("xds.type.v3.TypedStruct", "type.googleapis.com/stats.PluginConfig"),
            ),
            filter("router", router),
        ];
        let parsed = Context::parse(&extensions, |context| {
            parse_http_filters(context, "http_filters", &chain)
        })
        .expect("the chain is accepted");
        let listed: Vec<_> = parsed.without_effect.iter().map(|note| note.path.to_string()).collect();
        assert_eq!(listed, ["http_filters[0].typed_config", "http_filters[1].typed_config"]);
        assert!(parsed.value[0].config.is_none() && parsed.value[2].config.is_some());
    }

    #[test]
    fn network_filters_of_listeners_and_clusters_are_passed_over_too() {
        let mut extensions = Extensions::new();
        super::super::register(&mut extensions);
        let stats = typed_struct("udpa.type.v1.TypedStruct", "type.googleapis.com/stats.PluginConfig");
        let exchange = Any {
            type_url: "type.googleapis.com/envoy.tcp.metadataexchange.config.MetadataExchange".to_owned(),
            value: b"\x0a\x13istio-peer-exchange".to_vec(),
        };
        let proxy = TcpProxy {
            stat_prefix: "tcp".to_owned(),
            cluster_specifier: Some(tcp_proxy::ClusterSpecifier::Cluster("c".to_owned())),
            ..Default::default()
        };
        let network = |name: &str, any: Any| listener::Filter {
            name: name.to_owned(),
            config_type: Some(listener::filter::ConfigType::TypedConfig(any)),
        };
        let message = listener::Listener {
            address: Some(core::Address {
                address: Some(core::address::Address::Pipe(core::Pipe {
                    path: "@test".to_owned(),
                    mode: 0,
                })),
            }),
            filter_chains: vec![listener::FilterChain {
                filters: vec![
                    network("istio.metadata_exchange", exchange.clone()),
                    network("istio.stats", stats),
                    network("tcp", xds_api::pack(&proxy)),
                ],
                ..Default::default()
            }],
            ..Default::default()
        };
        let parsed = Context::parse(&extensions, |context| {
            config::listener::Listener::parse(context, &message)
        });
        let parsed = parsed.expect("the listener is accepted");
        let listed: Vec<_> = parsed.without_effect.iter().map(|note| note.path.to_string()).collect();
        let path = |index| format!("filter_chains[0].filters[{index}].typed_config");
        assert_eq!(listed, [path(0), path(1)]);
        assert_eq!(parsed.value.filter_chains[0].filters.len(), 1);

        let upstream = |any: Any| cluster::Cluster {
            name: "c".to_owned(),
            filters: vec![cluster::Filter {
                name: "istio.metadata_exchange".to_owned(),
                typed_config: Some(any),
                ..Default::default()
            }],
            ..Default::default()
        };
        let parse = |message| {
            Context::parse(&extensions, |context| {
                config::cluster::Cluster::parse(context, &message)
            })
        };
        let parsed = parse(upstream(exchange)).expect("the cluster is accepted");
        assert_eq!(parsed.without_effect[0].path.to_string(), "filters[0].typed_config");
        let faults = parse(upstream(xds_api::pack(&proxy))).expect_err("it would do something");
        assert_eq!(
            faults[0].to_string(),
            "filters[0].typed_config: upstream network filter \"envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy\" is \
             not supported: filters stand in listeners"
        );
    }
}
