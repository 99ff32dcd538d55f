//! `envoy.filters.http.compressor`: accepted unread. Whoever says `accept-encoding` takes what is not encoded too, so
//! answers go out as they came. Istio's agent has three of them before the statistics that it serves on 15090.

use config::{ExtensionKind, Extensions};

pub(super) fn register(extensions: &mut Extensions) {
    let reason = "nothing is compressed: bodies go on as they came";
    for (kind, message) in [
        (
            ExtensionKind::HttpFilter,
            "envoy.extensions.filters.http.compressor.v3.Compressor",
        ),
        (
            ExtensionKind::HttpFilterPerRoute,
            "envoy.extensions.filters.http.compressor.v3.CompressorPerRoute",
        ),
    ] {
        extensions.register_ignored(kind, message, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Context;
    use config::http_connection_manager::parse_http_filters;
    use xds_api::envoy::extensions::filters::http::compressor::v3::Compressor;
    use xds_api::envoy::extensions::filters::http::router::v3::Router;
    use xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
    use xds_api::google::protobuf::Any;

    #[test]
    fn a_compressor_is_passed_over_and_listed() {
        let mut extensions = Extensions::new();
        super::super::register(&mut extensions);
        let filter = |any: Any| hcm::HttpFilter {
            name: "f".to_owned(),
            config_type: Some(hcm::http_filter::ConfigType::TypedConfig(any)),
            ..Default::default()
        };
        let chain = [
            filter(xds_api::pack(&Compressor::default())),
            filter(xds_api::pack(&Router::default())),
        ];
        let parsed = Context::parse(&extensions, |context| {
            parse_http_filters(context, "http_filters", &chain)
        })
        .expect("the chain is accepted");
        let listed: Vec<_> = parsed.without_effect.iter().map(|note| note.path.to_string()).collect();
        assert_eq!(listed, ["http_filters[0].typed_config"]);
        assert!(parsed.value[0].config.is_none() && parsed.value[1].config.is_some());
    }
}
