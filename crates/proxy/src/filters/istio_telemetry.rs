//! Istio's filters for its own telemetry: they change no answer, and are accepted unread.

use config::{ExtensionKind, Extensions};

pub(super) fn register(extensions: &mut Extensions) {
    for (message, reason) in [
        ("io.istio.http.peer_metadata.Config", "peers exchange no metadata"),
        ("stats.PluginConfig", "Istio's own statistics are not kept"),
    ] {
        extensions.register_ignored(ExtensionKind::HttpFilter, message, reason);
        extensions.register_ignored(ExtensionKind::HttpFilterPerRoute, message, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Context;
    use config::http_connection_manager::parse_http_filters;
    use xds_api::envoy::extensions::filters::http::router::v3::Router;
    use xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
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
}
