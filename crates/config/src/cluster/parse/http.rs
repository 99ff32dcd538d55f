//! How HTTP is spoken with the endpoints.

use xds_api::envoy::config::cluster::v3 as pb;
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::extensions::upstreams::http::v3 as http;
use xds_api::google::protobuf::Any;

use crate::cluster::{HttpProtocolOptions, UpstreamProtocol};
use crate::context::Context;
use crate::extensions::message_name;
use crate::http_connection_manager::parse_upstream_http_filters;
use crate::http_protocol_options::{
    CommonHttpProtocolOptions, Http1ProtocolOptions, Http2ProtocolOptions, UpstreamHttpProtocolOptions,
};
use crate::rejected::Reported;

const HTTP_PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// Why the fields from before there were typed options change nothing beside them.
const TYPED_OPTIONS_COUNT: &str = "typed_extension_protocol_options counts, as in Envoy";

impl HttpProtocolOptions {
    pub(super) fn parse(context: &mut Context<'_>, message: &pb::Cluster) -> Result<Self, Reported> {
        let mut typed = None;
        let mut failed = None;
        let mut entries: Vec<_> = message.typed_extension_protocol_options.iter().collect();
        entries.sort_unstable_by_key(|(name, _)| *name);
        for (name, any) in entries {
            match context.at_key("typed_extension_protocol_options", name, |context| {
                parse_typed(context, name, any)
            }) {
                Ok(options) => typed = Some(options),
                Err(reported) => failed = Some(reported),
            }
        }
        let deprecated = parse_deprecated(context, message, typed.is_some());
        if let Some(reported) = failed {
            return Err(reported);
        }
        let mut options = match typed {
            Some(options) => options,
            None => deprecated?,
        };
        if options.common.max_requests_per_connection.is_none() {
            options.common.max_requests_per_connection = message
                .max_requests_per_connection
                .map(|most| most.value)
                .filter(|most| *most > 0);
        }
        Ok(options)
    }
}

fn parse_typed(context: &mut Context<'_>, name: &str, any: &Any) -> Result<HttpProtocolOptions, Reported> {
    let any = context.unwrap_any(any)?;
    if name != HTTP_PROTOCOL_OPTIONS || message_name(&any.type_url) != HTTP_PROTOCOL_OPTIONS {
        let found = message_name(&any.type_url);
        return Err(context.reject(format!(
            "protocol options {found:?} are not supported, only {HTTP_PROTOCOL_OPTIONS:?}"
        )));
    }
    use http::http_protocol_options::UpstreamProtocolOptions as Protocol;
    let message: http::HttpProtocolOptions = context.decode(&any.value)?;
    context.check(&message);
    let common = parse_common(context, message.common_http_protocol_options.as_ref());
    let filters = parse_upstream_http_filters(context, "http_filters", &message.http_filters);
    let upstream = parse_upstream(context, message.upstream_http_protocol_options.as_ref());
    let upstream_protocol = match &message.upstream_protocol_options {
        Some(Protocol::ExplicitHttpConfig(config)) => {
            context.at("explicit_http_config", |context| parse_explicit(context, config))
        }
        Some(Protocol::UseDownstreamProtocolConfig(config)) => {
            context.at("use_downstream_protocol_config", |context| {
                context.check(config);
                let http1 = parse_http1(context, config.http_protocol_options.as_ref());
                let http2 = parse_http2(context, config.http2_protocol_options.as_ref());
                Ok(UpstreamProtocol::UseDownstream {
                    http1: http1?,
                    http2: http2?,
                })
            })
        }
        Some(Protocol::AutoConfig(config)) => context.at("auto_config", |context| {
            context.check(config);
            let http1 = parse_http1(context, config.http_protocol_options.as_ref());
            let http2 = parse_http2(context, config.http2_protocol_options.as_ref());
            Ok(UpstreamProtocol::Auto {
                http1: http1?,
                http2: http2?,
            })
        }),
        None => Err(context.reject("has no explicit_http_config, use_downstream_protocol_config or auto_config")),
    };
    Ok(HttpProtocolOptions {
        upstream_protocol: upstream_protocol?,
        common: common?,
        upstream: upstream?,
    })
    .and_then(|options| filters.map(|()| options))
}

fn parse_explicit(
    context: &mut Context<'_>,
    message: &http::http_protocol_options::ExplicitHttpConfig,
) -> Result<UpstreamProtocol, Reported> {
    use http::http_protocol_options::explicit_http_config::ProtocolConfig;
    context.check(message);
    match &message.protocol_config {
        Some(ProtocolConfig::HttpProtocolOptions(options)) => {
            parse_http1(context, Some(options)).map(UpstreamProtocol::Http1)
        }
        Some(ProtocolConfig::Http2ProtocolOptions(options)) => {
            parse_http2(context, Some(options)).map(UpstreamProtocol::Http2)
        }
        Some(ProtocolConfig::Http3ProtocolOptions(_)) => Err(context.reported()),
        None => Err(context.reject("has no http_protocol_options or http2_protocol_options")),
    }
}

/// The fields of the cluster itself, from before there were typed options.
fn parse_deprecated(
    context: &mut Context<'_>,
    message: &pb::Cluster,
    typed: bool,
) -> Result<HttpProtocolOptions, Reported> {
    use pb::cluster::ClusterProtocolSelection as Selection;
    let set = [
        (
            "common_http_protocol_options",
            message.common_http_protocol_options.is_some(),
        ),
        (
            "upstream_http_protocol_options",
            message.upstream_http_protocol_options.is_some(),
        ),
        ("http_protocol_options", message.http_protocol_options.is_some()),
        ("http2_protocol_options", message.http2_protocol_options.is_some()),
    ];
    for (field, _) in set.into_iter().filter(|(_, set)| *set && typed) {
        context.without_effect(field, TYPED_OPTIONS_COUNT);
    }
    let common = parse_common(context, message.common_http_protocol_options.as_ref());
    let upstream = parse_upstream(context, message.upstream_http_protocol_options.as_ref());
    let http1 = parse_http1(context, message.http_protocol_options.as_ref());
    let http2 = parse_http2(context, message.http2_protocol_options.as_ref());
    let selection: Selection = context.enumeration("protocol_selection", message.protocol_selection)?;
    let upstream_protocol = match selection {
        Selection::UseDownstreamProtocol => UpstreamProtocol::UseDownstream {
            http1: http1?,
            http2: http2?,
        },
        Selection::UseConfiguredProtocol if message.http2_protocol_options.is_none() => UpstreamProtocol::Http1(http1?),
        Selection::UseConfiguredProtocol if message.http_protocol_options.is_some() && !typed => {
            let reason =
                "and http2_protocol_options may both be set only with protocol_selection: USE_DOWNSTREAM_PROTOCOL";
            return Err(context.reject_field("http_protocol_options", reason));
        }
        Selection::UseConfiguredProtocol => UpstreamProtocol::Http2(http2?),
    };
    Ok(HttpProtocolOptions {
        upstream_protocol,
        common: common?,
        upstream: upstream?,
    })
}

fn parse_common(
    context: &mut Context<'_>,
    message: Option<&core::HttpProtocolOptions>,
) -> Result<CommonHttpProtocolOptions, Reported> {
    let options = context.optional(
        "common_http_protocol_options",
        message,
        CommonHttpProtocolOptions::parse,
    )?;
    Ok(options.unwrap_or_default())
}

fn parse_upstream(
    context: &mut Context<'_>,
    message: Option<&core::UpstreamHttpProtocolOptions>,
) -> Result<UpstreamHttpProtocolOptions, Reported> {
    let options = context.optional(
        "upstream_http_protocol_options",
        message,
        UpstreamHttpProtocolOptions::parse,
    )?;
    Ok(options.unwrap_or_default())
}

fn parse_http1(
    context: &mut Context<'_>,
    message: Option<&core::Http1ProtocolOptions>,
) -> Result<Http1ProtocolOptions, Reported> {
    let options = context.optional("http_protocol_options", message, Http1ProtocolOptions::parse)?;
    Ok(options.unwrap_or_default())
}

fn parse_http2(
    context: &mut Context<'_>,
    message: Option<&core::Http2ProtocolOptions>,
) -> Result<Http2ProtocolOptions, Reported> {
    let options = context.optional("http2_protocol_options", message, Http2ProtocolOptions::parse)?;
    Ok(options.unwrap_or_default())
}
