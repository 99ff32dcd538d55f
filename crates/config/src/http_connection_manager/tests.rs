use std::time::Duration;

use super::*;
use crate::access_log::{AccessLogFilter, AccessLogType};
use crate::http_protocol_options::{HeaderKeyFormat, HeadersWithUnderscoresAction, StreamResetLimit};
use crate::testing::{accept, refuse, refuse_each, without_effect};

const ROUTER: &str =
    "{name: router, typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}";

fn base() -> String {
    format!("stat_prefix: h\nroute_config: {{}}\nhttp_filters: [{ROUTER}]\n")
}

fn manager(text: &str) -> HttpConnectionManager {
    accept(HttpConnectionManager::parse, text)
}

#[test]
fn a_connection_manager_has_envoys_defaults() {
    let manager = manager(&base());
    assert_eq!(manager.codec_type, CodecType::Auto);
    assert_eq!((manager.request_timeout, manager.request_headers_timeout), (None, None));
    assert_eq!(manager.stream_idle_timeout, Some(Duration::from_secs(300)));
    assert_eq!(
        manager.common_http_protocol_options.idle_timeout,
        Some(Duration::from_secs(3600))
    );
    assert_eq!(manager.drain_timeout, Duration::from_secs(5));
    assert_eq!(manager.delayed_close_timeout, Some(Duration::from_secs(1)));
    assert_eq!((&*manager.server_name, manager.max_request_headers_kb), ("envoy", 60));
    assert!(manager.generate_request_id && !manager.use_remote_address && !manager.normalize_path);
    assert_eq!(manager.forward_client_cert_details, ForwardClientCertDetails::Sanitize);
    assert_eq!(
        manager.path_with_escaped_slashes_action,
        PathWithEscapedSlashesAction::KeepUnchanged
    );
    assert!(manager.internal_address_config.is_none() && manager.tracing.is_none());
}

#[test]
fn a_connection_manager_has_its_fields() {
    let manager = manager(&format!(
        "{}
codec_type: HTTP2
common_http_protocol_options: {{idle_timeout: 0s, max_connection_duration: 60s, max_headers_count: 7,
  max_stream_duration: 9s, headers_with_underscores_action: REJECT_REQUEST, max_requests_per_connection: 3}}
http_protocol_options: {{accept_http_10: true, default_host_for_http_10: h, enable_trailers: true,
  header_key_format: {{proper_case_words: {{}}}}}}
http2_protocol_options: {{max_concurrent_streams: 5, initial_stream_window_size: 65535, allow_connect: true,
  connection_keepalive: {{interval: 30s, timeout: 5s}}, stream_reset_burst: 10, stream_reset_rate: 1}}
request_timeout: 10s
request_headers_timeout: 0s
stream_idle_timeout: 0s
drain_timeout: 1s
delayed_close_timeout: 0s
server_name: s
server_header_transformation: PASS_THROUGH
scheme_header_transformation: {{scheme_to_overwrite: https}}
max_request_headers_kb: 8192
use_remote_address: true
xff_num_trusted_hops: 2
skip_xff_append: true
via: v
internal_address_config: {{unix_sockets: true, cidr_ranges: [{{address_prefix: 10.0.0.0, prefix_len: 8}}]}}
generate_request_id: false
preserve_external_request_id: true
always_set_request_id_in_response: true
forward_client_cert_details: SANITIZE_SET
set_current_client_cert_details: {{subject: true, uri: true}}
proxy_100_continue: true
upgrade_configs: [{{upgrade_type: websocket}}, {{upgrade_type: CONNECT, enabled: false}}]
normalize_path: true
merge_slashes: true
path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT
strip_any_host_port: true
strip_trailing_host_dot: true
append_x_forwarded_port: true
access_log: [{{name: f, typed_config: {{'@type': \
         type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog}}, \
         filter: {{log_type_filter: {{types: [DownstreamStart, UdpPeriodic], exclude: true}}}}}}]
access_log_options: {{access_log_flush_interval: 1s, flush_access_log_on_new_request: true}}
tracing: {{random_sampling: {{value: 1}}}}",
        base()
    ));
    assert_eq!(manager.codec_type, CodecType::Http2);
    let common = &manager.common_http_protocol_options;
    assert_eq!(
        (common.idle_timeout, common.max_connection_duration),
        (None, Some(Duration::from_secs(60)))
    );
    assert_eq!(
        (common.max_headers_count, common.max_requests_per_connection),
        (Some(7), Some(3))
    );
    assert_eq!(
        common.headers_with_underscores_action,
        HeadersWithUnderscoresAction::RejectRequest
    );
    assert_eq!(
        manager.http_protocol_options.header_key_format,
        HeaderKeyFormat::ProperCaseWords
    );
    assert_eq!(
        manager.http_protocol_options.default_host_for_http_10.as_deref(),
        Some("h")
    );
    let http2 = &manager.http2_protocol_options;
    assert_eq!(
        (http2.max_concurrent_streams, http2.initial_stream_window_size),
        (Some(5), Some(65535))
    );
    assert_eq!(http2.stream_reset_limit, Some(StreamResetLimit { burst: 10, rate: 1 }));
    let keepalive = http2.connection_keepalive.unwrap();
    assert_eq!(
        (keepalive.interval, keepalive.timeout),
        (Some(Duration::from_secs(30)), Duration::from_secs(5))
    );
    assert_eq!(
        (manager.request_timeout, manager.request_headers_timeout),
        (Some(Duration::from_secs(10)), None)
    );
    assert_eq!(
        (manager.stream_idle_timeout, manager.delayed_close_timeout),
        (None, None)
    );
    assert_eq!(
        manager.server_header_transformation,
        ServerHeaderTransformation::PassThrough
    );
    assert_eq!(manager.scheme_to_overwrite, Some(Scheme::Https));
    let internal = manager.internal_address_config.as_ref().unwrap();
    assert!(internal.unix_sockets && internal.cidr_ranges[0].contains("10.9.9.9".parse().unwrap()));
    assert_eq!(
        manager.forward_client_cert_details,
        ForwardClientCertDetails::SanitizeSet
    );
    let details = manager.set_current_client_cert_details;
    assert!(details.subject && details.uri && !details.dns);
    let upgrades: Vec<_> = manager
        .upgrade_configs
        .iter()
        .map(|config| (&*config.upgrade_type, config.enabled))
        .collect();
    assert_eq!(upgrades, [("websocket", true), ("CONNECT", false)]);
    assert_eq!(
        manager.path_with_escaped_slashes_action,
        PathWithEscapedSlashesAction::UnescapeAndRedirect
    );
    assert_eq!(manager.strip_port_mode, StripPortMode::Any);
    let filter = AccessLogFilter::LogType {
        types: vec![AccessLogType::DownstreamStart],
        exclude: true,
    };
    assert_eq!(manager.access_log[0].filter, Some(filter));
    assert!(manager.flush_access_log_on_new_request);
    assert_eq!(manager.access_log_flush_interval, Some(Duration::from_secs(1)));
    assert_eq!(manager.tracing.as_ref().unwrap().random_sampling, 1.0);
}

#[test]
fn a_local_reply_may_be_rewritten() {
    let manager = manager(&format!(
        "{}local_reply_config:
  mappers:
  - filter: {{and_filter: {{filters: [{{status_code_filter: {{comparison: {{op: GE, value: {{default_value: 500, \
         runtime_key: k}}}}}}}}, {{response_flag_filter: {{flags: [UH]}}}}]}}}}
    status_code: 503
    body: {{inline_string: gone}}
    headers_to_add: [{{header: {{key: X-A, value: b}}}}]
  body_format: {{json_format: {{message: '%LOCAL_REPLY_BODY%'}}, content_type: application/problem+json}}",
        base()
    ));
    let config = manager.local_reply_config.as_ref().unwrap();
    let mapper = &config.mappers[0];
    assert_eq!(mapper.status_code, Some(503));
    assert_eq!(mapper.body.as_ref().unwrap().inline(), Some(b"gone".as_slice()));
    assert_eq!(&*mapper.headers_to_add[0].name, "x-a");
    let AccessLogFilter::And(filters) = &mapper.filter else {
        panic!("{mapper:?}")
    };
    assert!(
        matches!(&filters[0], AccessLogFilter::StatusCode(comparison) if comparison.holds(500) && !comparison.holds(499))
    );
    let format = config.body_format.as_ref().unwrap();
    assert_eq!(format.content_type.as_deref(), Some("application/problem+json"));
    assert!(matches!(&format.format, AccessLogFormat::Json { format, .. } if format.contains_key("message")));
}

#[test]
fn what_is_refused_of_a_connection_manager_is_named_with_its_path() {
    let stdout = |fields: &str| {
        format!(
            "access_log: [{{name: f, typed_config: {{'@type': \
             type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog{fields}}}}}]"
        )
    };
    let bad_format = stdout(", log_format: {}");
    refuse_each(
        HttpConnectionManager::parse,
        &base(),
        &[
            ("codec_type: HTTP3", "codec_type: is HTTP3, which is not supported"),
            (
                "max_request_headers_kb: 8193",
                "max_request_headers_kb: is 8193, expected 1 to 8192",
            ),
            (
                "http2_protocol_options: {max_concurrent_streams: 0}",
                "http2_protocol_options.max_concurrent_streams: is 0, expected 1 to 2147483647",
            ),
            (
                "http2_protocol_options: {allow_metadata: true}",
                "http2_protocol_options.allow_metadata: is not supported: METADATA frames are not passed on",
            ),
            (
                "http_protocol_options: {allow_chunked_length: true}",
                "http_protocol_options.allow_chunked_length: is not supported: a message with both Content-Length and chunked \
                 encoding is refused (RFC 9112 section 6.1)",
            ),
            (
                "http_protocol_options: {header_key_format: {}}",
                "http_protocol_options.header_key_format: has no proper_case_words or stateful_formatter",
            ),
            (
                "common_http_protocol_options: {max_headers_count: 0}",
                "common_http_protocol_options.max_headers_count: is 0, expected at least 1",
            ),
            ("server_name: \"a\\nb\"", "server_name: holds a line break or a NUL"),
            (
                "scheme_header_transformation: {scheme_to_overwrite: ftp}",
                "scheme_header_transformation.scheme_to_overwrite: is \"ftp\", expected \"http\" or \"https\"",
            ),
            (
                "strip_any_host_port: true\nstrip_matching_host_port: true",
                "strip_any_host_port: and strip_matching_host_port may not both be set",
            ),
            (
                "upgrade_configs: [{upgrade_type: websocket}, {upgrade_type: WebSocket}]",
                "upgrade_configs[1].upgrade_type: is \"WebSocket\" a second time",
            ),
            (
                "set_current_client_cert_details: {issuer: true}",
                "set_current_client_cert_details.issuer: is not supported: the issuer is not said",
            ),
            (
                "local_reply_config: {mappers: [{status_code: 503}]}",
                "local_reply_config.mappers[0].filter: is required",
            ),
            (
                "local_reply_config: {mappers: [{filter: {not_health_check_filter: {}}, status_code: 199}]}",
                "local_reply_config.mappers[0].status_code: is 199, expected 200 to 599",
            ),
            (
                "local_reply_config: {mappers: [{filter: {response_flag_filter: {flags: [XX]}}}]}",
                "local_reply_config.mappers[0].filter.response_flag_filter.flags[0]: is \"XX\", expected one of LH, UH, UT, LR, \
                 UR, UF, UC, UO, NR, DI, FI, RL, UAEX, RLSE, DC, URX, SI, IH, DPE, UMSDR, RFCF, NFCF, DT, UPE, NC, OM, DF, DO, \
                 DR, UDO",
            ),
            (
                "access_log: [{name: f, filter: {or_filter: {filters: []}}, typed_config: {'@type': \
                 type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StderrAccessLog}}]",
                "access_log[0].filter.or_filter.filters: must have at least 2 entries",
            ),
            (
                "access_log: [{name: f, typed_config: {'@type': \
                 type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog}}]",
                "access_log[0].typed_config.path: is required and must not be empty",
            ),
            (
                &bad_format,
                "access_log[0].typed_config.log_format: has no text_format, text_format_source or json_format",
            ),
            (
                "tracing: {provider: {name: x}}",
                "tracing.provider: is not supported: spans are not exported",
            ),
            (
                "request_id_extension: {}",
                "request_id_extension.typed_config: is required",
            ),
        ],
    );
}

#[test]
fn routes_come_from_one_place() {
    let without_routes = base().replace("route_config: {}\n", "");
    assert_eq!(
        refuse(HttpConnectionManager::parse, &without_routes),
        ["has no rds or route_config"]
    );
    assert_eq!(
        refuse(
            HttpConnectionManager::parse,
            &format!("{without_routes}rds: {{route_config_name: r}}")
        ),
        ["rds.config_source: is required"]
    );
    assert_eq!(
        refuse(
            HttpConnectionManager::parse,
            &format!("{without_routes}rds: {{route_config_name: 'xdstp://a/t/r', config_source: {{ads: {{}}}}}}")
        ),
        ["rds.route_config_name: is \"xdstp://a/t/r\": resource names of the form xdstp:// are not supported"]
    );
    assert_eq!(
        refuse(
            HttpConnectionManager::parse,
            &format!("{without_routes}scoped_routes: {{name: s}}")
        ),
        ["scoped_routes: is not supported: routes cannot be scoped (SRDS): write rds or route_config"]
    );
}

#[test]
fn http_filters_end_in_a_terminal_one() {
    let cors = "{name: cors, typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors}}";
    let filters = |filters: &str| format!("stat_prefix: h\nroute_config: {{}}\nhttp_filters: [{filters}]");
    assert_eq!(manager(&filters(&format!("{cors}, {ROUTER}"))).http_filters.len(), 2);
    assert_eq!(
        refuse(HttpConnectionManager::parse, &filters(cors)),
        ["http_filters[0]: is the last filter, which must be a terminal one (the router)"]
    );
    assert_eq!(
        refuse(HttpConnectionManager::parse, &filters(&format!("{ROUTER}, {cors}"))),
        [
            "http_filters[0]: is a terminal filter, which must be the last of its chain",
            "http_filters[1]: is the last filter, which must be a terminal one (the router)",
        ]
    );
    assert_eq!(
        refuse(HttpConnectionManager::parse, &filters("")),
        ["http_filters: is empty, expected filters of which the last is terminal (the router)"]
    );
}

#[test]
fn an_unknown_filter_is_refused_unless_it_is_optional() {
    let buffer = |more: &str| {
        format!(
            "stat_prefix: h\nroute_config: {{}}\nhttp_filters: [{{name: b, {more}typed_config: {{'@type': \
             type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer}}}}, {ROUTER}]"
        )
    };
    assert_eq!(
        refuse(HttpConnectionManager::parse, &buffer("")),
        [
            "http_filters[0].typed_config: HTTP filter \"envoy.extensions.filters.http.buffer.v3.Buffer\" is not supported"
        ]
    );
    assert_eq!(
        without_effect(HttpConnectionManager::parse, &buffer("is_optional: true, ")),
        ["http_filters[0].typed_config"]
    );
}

#[test]
fn the_caller_may_be_found_by_an_extension() {
    const XFF: &str = "'@type': type.googleapis.com/envoy.extensions.http.original_ip_detection.xff.v3.XffConfig";
    let with = |fields: &str| {
        format!(
            "{}original_ip_detection_extensions: [{{name: x, typed_config: {{{XFF}{fields}}}}}]\n",
            base()
        )
    };
    let detection = manager(&with(", xff_num_trusted_hops: 2"))
        .original_ip_detection
        .unwrap();
    assert_eq!((detection.num_trusted_hops, detection.skip_xff_append), (2, true));
    let cidrs = ", skip_xff_append: false, xff_trusted_cidrs: {cidrs: [{address_prefix: 10.0.0.0, prefix_len: 8}]}";
    let detection = manager(&with(cidrs)).original_ip_detection.unwrap();
    assert!(!detection.skip_xff_append && detection.trusted_cidrs.unwrap().len() == 1);
    assert_eq!(
        refuse(
            HttpConnectionManager::parse,
            &format!("{}use_remote_address: true\n", with(""))
        ),
        ["original_ip_detection_extensions: and use_remote_address may not both be set"]
    );
    assert_eq!(
        refuse(
            HttpConnectionManager::parse,
            &with(", xff_num_trusted_hops: 1, xff_trusted_cidrs: {}")
        ),
        [
            "original_ip_detection_extensions[0].typed_config.xff_trusted_cidrs: and xff_num_trusted_hops may not both be set"
        ]
    );
}

#[test]
fn headers_may_be_changed_before_anything_else() {
    const EARLY: &str =
        "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation";
    let with = |mutations: &str| {
        format!(
            "{}early_header_mutation_extensions: [{{name: x, typed_config: {{'@type': {EARLY}, mutations: [{mutations}]}}}}]\n",
            base()
        )
    };
    let manager = manager(&with("{remove: X-Gone}, {append: {header: {key: x-a, value: b}}}"));
    let [HeaderMutation::Remove(name), HeaderMutation::Add(header)] = &manager.early_header_mutations[..] else {
        panic!("{:?}", manager.early_header_mutations)
    };
    assert_eq!((&**name, &*header.name), ("x-gone", "x-a"));
    assert_eq!(
        refuse(HttpConnectionManager::parse, &with("")),
        ["early_header_mutation_extensions[0].typed_config.mutations: is empty"]
    );
}
