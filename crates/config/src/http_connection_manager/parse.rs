//! Parsing of the HTTP connection manager.

use std::sync::Arc;

use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager as hcm;

use super::{
    BodyFormat, CodecType, ForwardClientCertDetails, HttpConnectionManager, HttpFilter, InternalAddressConfig,
    LocalReplyConfig, PathWithEscapedSlashesAction, ResponseMapper, RouteSpecifier, Scheme, ServerHeaderTransformation,
    SetCurrentClientCertDetails, StripPortMode, Tracing, UpgradeConfig, extensions,
};
use crate::access_log::{AccessLog, AccessLogFilter, AccessLogFormat, flush_interval};
use crate::address::CidrRange;
use crate::config_source::ConfigSource;
use crate::context::Context;
use crate::data_source::DataSource;
use crate::extensions::{ExtensionKind, message_name};
use crate::header_mutation::HeaderValueOption;
use crate::http_protocol_options::{CommonHttpProtocolOptions, Http1ProtocolOptions, Http2ProtocolOptions};
use crate::rejected::Reported;
use crate::route::RouteConfiguration;
use crate::scalars::{bool_or, u32_or};
use crate::shared_str::non_empty;

/// Envoy's value of the `server` header.
const DEFAULT_SERVER_NAME: &str = "envoy";
/// Filters of a chain, the router included.
const MOST_HTTP_FILTERS: usize = 64;

impl HttpConnectionManager {
    pub(crate) fn parse(context: &mut Context<'_>, message: &pb::HttpConnectionManager) -> Result<Self, Reported> {
        context.check(message);
        let codec_type = match context.enumeration("codec_type", message.codec_type) {
            Ok(hcm::CodecType::Auto) => Ok(CodecType::Auto),
            Ok(hcm::CodecType::Http1) => Ok(CodecType::Http1),
            Ok(hcm::CodecType::Http2) => Ok(CodecType::Http2),
            Ok(hcm::CodecType::Http3) => Err(context.reject_field("codec_type", "is HTTP3, which is not supported")),
            Err(reported) => Err(reported),
        };
        let stat_prefix = context.text("stat_prefix", &message.stat_prefix);
        let route_specifier = parse_route_specifier(context, message);
        let http_filters = parse_http_filters(context, "http_filters", &message.http_filters);
        if message.http_filters.is_empty() {
            context.reject_field(
                "http_filters",
                "is empty, expected filters of which the last is terminal (the router)",
            );
        }
        let common = message.common_http_protocol_options.as_ref();
        let common = context.optional("common_http_protocol_options", common, CommonHttpProtocolOptions::parse);
        let http1 = message.http_protocol_options.as_ref();
        let http1 = context.optional("http_protocol_options", http1, Http1ProtocolOptions::parse);
        let http2 = message.http2_protocol_options.as_ref();
        let http2 = context.optional("http2_protocol_options", http2, Http2ProtocolOptions::parse);

        let request_timeout = context.timeout("request_timeout", message.request_timeout.as_ref(), None);
        let headers_timeout = message.request_headers_timeout.as_ref();
        let request_headers_timeout = context.timeout("request_headers_timeout", headers_timeout, None);
        let stream_idle_timeout = context.timeout(
            "stream_idle_timeout",
            message.stream_idle_timeout.as_ref(),
            Some(Self::DEFAULT_STREAM_IDLE_TIMEOUT),
        );
        let flush_timeout = message.stream_flush_timeout.as_ref();
        let stream_flush_timeout = context.duration("stream_flush_timeout", flush_timeout);
        let drain_timeout = context.duration("drain_timeout", message.drain_timeout.as_ref());
        let delayed_close_timeout = context.timeout(
            "delayed_close_timeout",
            message.delayed_close_timeout.as_ref(),
            Some(Self::DEFAULT_DELAYED_CLOSE_TIMEOUT),
        );

        let scheme = parse_scheme(context, message);
        let max_request_headers_kb = context.in_range(
            "max_request_headers_kb",
            message.max_request_headers_kb.as_ref(),
            1..=8192,
        );
        let internal = message.internal_address_config.as_ref();
        let internal_address_config = context.optional("internal_address_config", internal, |context, config| {
            context.check(config);
            let cidr_ranges = context.each("cidr_ranges", &config.cidr_ranges, CidrRange::parse)?;
            Ok(InternalAddressConfig {
                unix_sockets: config.unix_sockets,
                cidr_ranges,
            })
        });
        let header_value = |context: &mut Context<'_>, field: &str, value: &str| {
            if value.bytes().any(|byte| matches!(byte, b'\0' | b'\r' | b'\n')) {
                return Err(context.reject_field(field, "holds a line break or a NUL"));
            }
            Ok(non_empty(value))
        };
        let server_name = header_value(context, "server_name", &message.server_name);
        let via = header_value(context, "via", &message.via);
        let cert_details = message.set_current_client_cert_details.as_ref();
        let cert_details = context.optional("set_current_client_cert_details", cert_details, |context, details| {
            context.check(details);
            Ok(SetCurrentClientCertDetails {
                subject: bool_or(details.subject.as_ref(), false),
                cert: details.cert,
                chain: details.chain,
                dns: details.dns,
                uri: details.uri,
            })
        });
        let upgrade_configs = parse_upgrade_configs(context, &message.upgrade_configs);
        let strip_port_mode = match (&message.strip_port_mode, message.strip_matching_host_port) {
            (Some(hcm::StripPortMode::StripAnyHostPort(true)), true) => Err(context.reject_field(
                "strip_any_host_port",
                "and strip_matching_host_port may not both be set",
            )),
            (Some(hcm::StripPortMode::StripAnyHostPort(true)), false) => Ok(StripPortMode::Any),
            (_, true) => Ok(StripPortMode::Matching),
            (_, false) => Ok(StripPortMode::Keep),
        };
        let enums = parse_enums(context, message);
        let original_ip_detection = extensions::original_ip_detection(context, message);
        let request_id = extensions::request_id(context, message);
        let early_header_mutations = extensions::early_header_mutations(context, message);
        let local_reply = message.local_reply_config.as_ref();
        let local_reply_config = context.optional("local_reply_config", local_reply, LocalReplyConfig::parse);
        let access_log = context.each("access_log", &message.access_log, AccessLog::parse);
        let field = "access_log_flush_interval";
        let mut interval = flush_interval(context, field, message.access_log_flush_interval.as_ref());
        let mut flush_access_log_on_new_request = message.flush_access_log_on_new_request;
        let mut flush_log_on_tunnel = false;
        if let Some(options) = &message.access_log_options {
            interval = context.at("access_log_options", |context| {
                context.check(options);
                flush_interval(context, field, options.access_log_flush_interval.as_ref())
            });
            flush_access_log_on_new_request = options.flush_access_log_on_new_request;
            flush_log_on_tunnel = options.flush_log_on_tunnel_successfully_established;
        }
        let tracing = context.optional("tracing", message.tracing.as_ref(), Tracing::parse);
        let (scheme_to_overwrite, match_upstream_scheme) = scheme?;
        request_id?;
        let (server_header_transformation, forward_client_cert_details, path_with_escaped_slashes_action) = enums?;
        Ok(Self {
            codec_type: codec_type?,
            stat_prefix: stat_prefix?,
            route_specifier: route_specifier?,
            http_filters: http_filters?,
            common_http_protocol_options: common?.unwrap_or_default(),
            http_protocol_options: http1?.unwrap_or_default(),
            http2_protocol_options: http2?.unwrap_or_default(),
            request_timeout: request_timeout?,
            request_headers_timeout: request_headers_timeout?,
            stream_idle_timeout: stream_idle_timeout?,
            // Zero switches it off.
            stream_flush_timeout: stream_flush_timeout?
                .map(|timeout| Some(timeout).filter(|timeout| !timeout.is_zero())),
            drain_timeout: drain_timeout?.unwrap_or(Self::DEFAULT_DRAIN_TIMEOUT),
            delayed_close_timeout: delayed_close_timeout?,
            server_name: server_name?.unwrap_or_else(|| DEFAULT_SERVER_NAME.into()),
            server_header_transformation,
            scheme_to_overwrite,
            match_upstream_scheme,
            max_request_headers_kb: max_request_headers_kb?.unwrap_or(Self::DEFAULT_MAX_REQUEST_HEADERS_KB),
            use_remote_address: bool_or(message.use_remote_address.as_ref(), false),
            xff_num_trusted_hops: message.xff_num_trusted_hops,
            skip_xff_append: message.skip_xff_append,
            original_ip_detection: original_ip_detection?,
            represent_ipv4_remote_address_as_ipv4_mapped_ipv6: message
                .represent_ipv4_remote_address_as_ipv4_mapped_ipv6,
            internal_address_config: internal_address_config?,
            early_header_mutations: early_header_mutations?,
            via: via?,
            generate_request_id: bool_or(message.generate_request_id.as_ref(), true),
            preserve_external_request_id: message.preserve_external_request_id,
            always_set_request_id_in_response: message.always_set_request_id_in_response,
            forward_client_cert_details,
            set_current_client_cert_details: cert_details?.unwrap_or_default(),
            proxy_100_continue: message.proxy_100_continue,
            upgrade_configs: upgrade_configs?,
            normalize_path: bool_or(message.normalize_path.as_ref(), false),
            merge_slashes: message.merge_slashes,
            path_with_escaped_slashes_action,
            strip_port_mode: strip_port_mode?,
            strip_trailing_host_dot: message.strip_trailing_host_dot,
            append_x_forwarded_port: message.append_x_forwarded_port,
            add_user_agent: bool_or(message.add_user_agent.as_ref(), false),
            stream_error_on_invalid_http_message: bool_or(message.stream_error_on_invalid_http_message.as_ref(), false),
            local_reply_config: local_reply_config?,
            access_log: access_log?,
            access_log_flush_interval: interval?,
            flush_access_log_on_new_request,
            flush_log_on_tunnel_successfully_established: flush_log_on_tunnel,
            tracing: tracing?,
        })
    }
}

type Enums = (
    ServerHeaderTransformation,
    ForwardClientCertDetails,
    PathWithEscapedSlashesAction,
);

fn parse_enums(context: &mut Context<'_>, message: &pb::HttpConnectionManager) -> Result<Enums, Reported> {
    let server = context.enumeration("server_header_transformation", message.server_header_transformation);
    let cert = context.enumeration("forward_client_cert_details", message.forward_client_cert_details);
    let slashes = context.enumeration(
        "path_with_escaped_slashes_action",
        message.path_with_escaped_slashes_action,
    );
    let server = match server? {
        hcm::ServerHeaderTransformation::Overwrite => ServerHeaderTransformation::Overwrite,
        hcm::ServerHeaderTransformation::AppendIfAbsent => ServerHeaderTransformation::AppendIfAbsent,
        hcm::ServerHeaderTransformation::PassThrough => ServerHeaderTransformation::PassThrough,
    };
    let cert = match cert? {
        hcm::ForwardClientCertDetails::Sanitize => ForwardClientCertDetails::Sanitize,
        hcm::ForwardClientCertDetails::ForwardOnly => ForwardClientCertDetails::ForwardOnly,
        hcm::ForwardClientCertDetails::AppendForward => ForwardClientCertDetails::AppendForward,
        hcm::ForwardClientCertDetails::SanitizeSet => ForwardClientCertDetails::SanitizeSet,
        hcm::ForwardClientCertDetails::AlwaysForwardOnly => ForwardClientCertDetails::AlwaysForwardOnly,
    };
    use hcm::PathWithEscapedSlashesAction as Slashes;
    let slashes = match slashes? {
        Slashes::ImplementationSpecificDefault | Slashes::KeepUnchanged => PathWithEscapedSlashesAction::KeepUnchanged,
        Slashes::RejectRequest => PathWithEscapedSlashesAction::RejectRequest,
        Slashes::UnescapeAndRedirect => PathWithEscapedSlashesAction::UnescapeAndRedirect,
        Slashes::UnescapeAndForward => PathWithEscapedSlashesAction::UnescapeAndForward,
    };
    Ok((server, cert, slashes))
}

fn parse_route_specifier(
    context: &mut Context<'_>,
    message: &pb::HttpConnectionManager,
) -> Result<RouteSpecifier, Reported> {
    match &message.route_specifier {
        Some(hcm::RouteSpecifier::Rds(rds)) => context.at("rds", |context| {
            context.check(rds);
            let name = context.discovered_name("route_config_name", &rds.route_config_name);
            let source = context.required("config_source", rds.config_source.as_ref(), ConfigSource::parse);
            Ok(RouteSpecifier::Rds {
                route_config_name: name?,
                config_source: Arc::new(source?),
            })
        }),
        Some(hcm::RouteSpecifier::RouteConfig(routes)) => context
            .at("route_config", |context| RouteConfiguration::parse(context, routes))
            .map(|routes| RouteSpecifier::RouteConfig(Arc::new(routes))),
        Some(hcm::RouteSpecifier::ScopedRoutes(_)) => Err(context.reported()),
        None => Err(context.reject("has no rds or route_config")),
    }
}

/// Parses a chain of HTTP filters; an empty one is fine where the caller says so.
///
/// # Errors
/// When a filter is not known or at fault, or the last one is not the only terminal one.
pub fn parse_http_filters(
    context: &mut Context<'_>,
    field: &'static str,
    filters: &[pb::HttpFilter],
) -> Result<Vec<HttpFilter>, Reported> {
    let last = filters.len().saturating_sub(1);
    let mut index = 0;
    context.each(field, filters, |context, message| {
        let at = index;
        index += 1;
        let filter = HttpFilter::parse(context, message)?;
        let terminal = filter.config.as_ref().is_some_and(|config| config.is_terminal());
        match (terminal, at == last) {
            (true, false) => Err(context.reject("is a terminal filter, which must be the last of its chain")),
            (false, true) => Err(context.reject("is the last filter, which must be a terminal one (the router)")),
            _ if at == MOST_HTTP_FILTERS => {
                let found = format!("is one more than the {MOST_HTTP_FILTERS} filters that a chain may have");
                Err(context.reject(found))
            }
            _ => Ok(filter),
        }
    })
}

/// Parses the filters of a cluster's requests: there may be the codec and nothing else.
///
/// # Errors
/// When another filter is among them.
pub fn parse_upstream_http_filters(
    context: &mut Context<'_>,
    field: &'static str,
    filters: &[pb::HttpFilter],
) -> Result<(), Reported> {
    let _: Vec<()> = context.each(field, filters, |context, filter| {
        context.check(filter);
        let Some(pb::http_filter::ConfigType::TypedConfig(any)) = &filter.config_type else {
            return Err(context.reject_field("typed_config", "is required"));
        };
        context.at("typed_config", |context| {
            let any = context.unwrap_any(any)?;
            match message_name(&any.type_url) {
                "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec" => Ok(()),
                other => Err(context.reject(format!(
                    "is {other:?}: only envoy.filters.http.upstream_codec may stand here"
                ))),
            }
        })
    })?;
    Ok(())
}

impl HttpFilter {
    fn parse(context: &mut Context<'_>, message: &pb::HttpFilter) -> Result<Self, Reported> {
        context.check(message);
        let name = context.text("name", &message.name);
        let config = match &message.config_type {
            Some(pb::http_filter::ConfigType::TypedConfig(any)) => context.at("typed_config", |context| {
                if let Some(reason) = context.ignored(ExtensionKind::HttpFilter, any) {
                    context.without_effect("", reason);
                    return Ok(None);
                }
                let inner = context.unwrap_any(any)?;
                if message.is_optional && !context.knows(ExtensionKind::HttpFilter, &inner.type_url) {
                    context.without_effect("", "the filter is optional and not known here");
                    return Ok(None);
                }
                context.extension(ExtensionKind::HttpFilter, &inner).map(Some)
            }),
            Some(pb::http_filter::ConfigType::ConfigDiscovery(_)) => Err(context.reported()),
            None => Err(context.reject_field("typed_config", "is required")),
        };
        Ok(Self {
            name: name?,
            config: config?,
            disabled: message.disabled,
            is_optional: message.is_optional,
        })
    }
}

fn parse_scheme(
    context: &mut Context<'_>,
    message: &pb::HttpConnectionManager,
) -> Result<(Option<Scheme>, bool), Reported> {
    use core::scheme_header_transformation::Transformation;
    let Some(transformation) = &message.scheme_header_transformation else {
        return Ok((None, false));
    };
    context.at("scheme_header_transformation", |context| {
        context.check(transformation);
        let scheme = match &transformation.transformation {
            None => None,
            Some(Transformation::SchemeToOverwrite(scheme)) => match scheme.as_str() {
                "http" => Some(Scheme::Http),
                "https" => Some(Scheme::Https),
                other => {
                    let found = format!("is {other:?}, expected \"http\" or \"https\"");
                    return Err(context.reject_field("scheme_to_overwrite", found));
                }
            },
        };
        Ok((scheme, transformation.match_upstream))
    })
}

fn parse_upgrade_configs(
    context: &mut Context<'_>,
    upgrades: &[hcm::UpgradeConfig],
) -> Result<Vec<UpgradeConfig>, Reported> {
    let mut seen: Vec<Arc<str>> = Vec::new();
    context.each("upgrade_configs", upgrades, |context, upgrade| {
        context.check(upgrade);
        let upgrade_type = context.text("upgrade_type", &upgrade.upgrade_type)?;
        if seen.iter().any(|other| other.eq_ignore_ascii_case(&upgrade_type)) {
            return Err(context.reject_field("upgrade_type", format!("is {upgrade_type:?} a second time")));
        }
        seen.push(Arc::clone(&upgrade_type));
        let filters = parse_http_filters(context, "filters", &upgrade.filters)?;
        Ok(UpgradeConfig {
            upgrade_type,
            filters,
            enabled: bool_or(upgrade.enabled.as_ref(), true),
        })
    })
}

impl LocalReplyConfig {
    fn parse(context: &mut Context<'_>, message: &pb::LocalReplyConfig) -> Result<Self, Reported> {
        context.check(message);
        let mappers = context.each("mappers", &message.mappers, |context, mapper| {
            context.check(mapper);
            let filter = context.required("filter", mapper.filter.as_ref(), AccessLogFilter::parse);
            let status_code = context.in_range("status_code", mapper.status_code.as_ref(), 200..=599);
            let body = context.optional("body", mapper.body.as_ref(), DataSource::parse_and_read);
            let format = mapper.body_format_override.as_ref();
            let body_format_override = context.optional("body_format_override", format, BodyFormat::parse);
            let headers_to_add = context.each("headers_to_add", &mapper.headers_to_add, HeaderValueOption::parse);
            Ok(ResponseMapper {
                filter: filter?,
                // The range was checked just above.
                status_code: status_code?.map(|status| status as u16),
                body: body?,
                body_format_override: body_format_override?,
                headers_to_add: headers_to_add?,
            })
        });
        let body_format = context.optional("body_format", message.body_format.as_ref(), BodyFormat::parse);
        Ok(Self {
            mappers: mappers?,
            body_format: body_format?,
        })
    }
}

impl BodyFormat {
    pub(crate) fn parse(context: &mut Context<'_>, message: &core::SubstitutionFormatString) -> Result<Self, Reported> {
        let format = AccessLogFormat::parse(context, message)?;
        Ok(Self {
            format,
            content_type: non_empty(&message.content_type),
        })
    }
}

impl Tracing {
    fn parse(context: &mut Context<'_>, message: &hcm::Tracing) -> Result<Self, Reported> {
        context.check(message);
        let client = context.percent("client_sampling", message.client_sampling.as_ref(), 100.0);
        let random = context.percent("random_sampling", message.random_sampling.as_ref(), 100.0);
        let overall = context.percent("overall_sampling", message.overall_sampling.as_ref(), 100.0);
        Ok(Self {
            client_sampling: client?,
            random_sampling: random?,
            overall_sampling: overall?,
            verbose: message.verbose,
            max_path_tag_length: u32_or(message.max_path_tag_length.as_ref(), 256),
            spawn_upstream_span: bool_or(message.spawn_upstream_span.as_ref(), false),
        })
    }
}
