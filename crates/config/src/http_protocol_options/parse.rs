//! Parsing of codec options.

use xds_api::envoy::config::core::v3 as pb;

use super::{
    CommonHttpProtocolOptions, HeaderKeyFormat, HeadersWithUnderscoresAction, Http1ProtocolOptions,
    Http2ProtocolOptions, KeepaliveSettings, StreamResetLimit, UpstreamHttpProtocolOptions,
};
use crate::context::Context;
use crate::extensions::message_name;
use crate::rejected::Reported;
use crate::shared_str::non_empty;
use crate::string_matcher::parse_header_name;

const PRESERVE_CASE: &str = "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig";

/// Windows of HTTP/2: RFC 9113 section 6.9.2 for the largest, Envoy for the smallest.
const WINDOWS: std::ops::RangeInclusive<u32> = 65535..=0x7fff_ffff;

impl CommonHttpProtocolOptions {
    pub(crate) fn parse(context: &mut Context<'_>, message: &pb::HttpProtocolOptions) -> Result<Self, Reported> {
        use pb::http_protocol_options::HeadersWithUnderscoresAction as Action;
        context.check(message);
        let idle_timeout = context.timeout(
            "idle_timeout",
            message.idle_timeout.as_ref(),
            Some(Self::DEFAULT_IDLE_TIMEOUT),
        );
        let max_connection_duration = context.timeout(
            "max_connection_duration",
            message.max_connection_duration.as_ref(),
            None,
        );
        let jitter = message.max_connection_duration_jitter.as_ref();
        let jitter = context.percent("max_connection_duration_jitter", jitter, 0.0);
        let max_headers_count = context.in_range("max_headers_count", message.max_headers_count.as_ref(), 1..=u32::MAX);
        let max_response_headers_kb = context.in_range(
            "max_response_headers_kb",
            message.max_response_headers_kb.as_ref(),
            1..=8192,
        );
        let max_stream_duration = context.timeout("max_stream_duration", message.max_stream_duration.as_ref(), None);
        let action = context.enumeration(
            "headers_with_underscores_action",
            message.headers_with_underscores_action,
        );
        Ok(Self {
            idle_timeout: idle_timeout?,
            max_connection_duration: max_connection_duration?,
            max_connection_duration_jitter_percent: jitter?,
            max_headers_count: max_headers_count?,
            max_response_headers_kb: max_response_headers_kb?,
            max_stream_duration: max_stream_duration?,
            headers_with_underscores_action: match action? {
                Action::Allow => HeadersWithUnderscoresAction::Allow,
                Action::RejectRequest => HeadersWithUnderscoresAction::RejectRequest,
                Action::DropHeader => HeadersWithUnderscoresAction::DropHeader,
            },
            max_requests_per_connection: message
                .max_requests_per_connection
                .map(|most| most.value)
                .filter(|most| *most > 0),
        })
    }
}

impl Http1ProtocolOptions {
    pub(crate) fn parse(context: &mut Context<'_>, message: &pb::Http1ProtocolOptions) -> Result<Self, Reported> {
        use pb::http1_protocol_options::header_key_format::HeaderFormat;
        context.check(message);
        let format = message.header_key_format.as_ref();
        let header_key_format = context.optional("header_key_format", format, |context, format| {
            match &format.header_format {
                Some(HeaderFormat::ProperCaseWords(_)) => Ok(HeaderKeyFormat::ProperCaseWords),
                Some(HeaderFormat::StatefulFormatter(formatter)) => context.at("stateful_formatter", |context| {
                    context.check(formatter);
                    context.required("typed_config", formatter.typed_config.as_ref(), |context, any| {
                        match message_name(&any.type_url) {
                            // Its own options concern HTTP/1 reason phrases and names it has not seen.
                            PRESERVE_CASE if any.value.is_empty() => Ok(HeaderKeyFormat::PreserveCase),
                            PRESERVE_CASE => Err(context.reject("is not supported with options of its own")),
                            other => Err(context.reject(format!("header formatter {other:?} is not supported"))),
                        }
                    })
                }),
                None => Err(context.reject("has no proper_case_words or stateful_formatter")),
            }
        });
        Ok(Self {
            allow_absolute_url: message.allow_absolute_url.map(|flag| flag.value),
            allow_custom_methods: message.allow_custom_methods,
            accept_http_10: message.accept_http_10,
            default_host_for_http_10: non_empty(&message.default_host_for_http_10),
            header_key_format: header_key_format?.unwrap_or_default(),
            enable_trailers: message.enable_trailers,
            override_stream_error_on_invalid_http_message: message
                .override_stream_error_on_invalid_http_message
                .map(|flag| flag.value),
            send_fully_qualified_url: message.send_fully_qualified_url,
        })
    }
}

impl Http2ProtocolOptions {
    pub(crate) fn parse(context: &mut Context<'_>, message: &pb::Http2ProtocolOptions) -> Result<Self, Reported> {
        context.check(message);
        let max_concurrent_streams = context.in_range(
            "max_concurrent_streams",
            message.max_concurrent_streams.as_ref(),
            1..=0x7fff_ffff,
        );
        let stream_window = message.initial_stream_window_size.as_ref();
        let stream_window = context.in_range("initial_stream_window_size", stream_window, WINDOWS);
        let connection_window = message.initial_connection_window_size.as_ref();
        let connection_window = context.in_range("initial_connection_window_size", connection_window, WINDOWS);
        let max_outbound_frames = context.in_range(
            "max_outbound_frames",
            message.max_outbound_frames.as_ref(),
            1..=u32::MAX,
        );
        let control_frames = message.max_outbound_control_frames.as_ref();
        let control_frames = context.in_range("max_outbound_control_frames", control_frames, 1..=u32::MAX);
        let window_updates = context.in_range(
            "max_inbound_window_update_frames_per_data_frame_sent",
            message.max_inbound_window_update_frames_per_data_frame_sent.as_ref(),
            1..=u32::MAX,
        );
        let field_size = context.in_range(
            "max_header_field_size_kb",
            message.max_header_field_size_kb.as_ref(),
            64..=256,
        );
        let keepalive = message.connection_keepalive.as_ref();
        let connection_keepalive = context.optional("connection_keepalive", keepalive, KeepaliveSettings::parse);
        let deprecated = message.stream_error_on_invalid_http_messaging.then_some(true);
        let stream_reset_limit =
            (message.stream_reset_burst.is_some() || message.stream_reset_rate.is_some()).then(|| {
                // Envoy's defaults.
                let burst = message.stream_reset_burst.map_or(1000, |burst| burst.value);
                let rate = message.stream_reset_rate.map_or(33, |rate| rate.value);
                StreamResetLimit { burst, rate }
            });
        Ok(Self {
            hpack_table_size: message.hpack_table_size.map(|size| size.value),
            max_concurrent_streams: max_concurrent_streams?,
            initial_stream_window_size: stream_window?,
            initial_connection_window_size: connection_window?,
            allow_connect: message.allow_connect,
            max_outbound_frames: max_outbound_frames?,
            max_outbound_control_frames: control_frames?,
            max_consecutive_inbound_frames_with_empty_payload: message
                .max_consecutive_inbound_frames_with_empty_payload
                .map(|most| most.value),
            max_inbound_priority_frames_per_stream: message
                .max_inbound_priority_frames_per_stream
                .map(|most| most.value),
            max_inbound_window_update_frames_per_data_frame_sent: window_updates?,
            override_stream_error_on_invalid_http_message: message
                .override_stream_error_on_invalid_http_message
                .map(|flag| flag.value)
                .or(deprecated),
            enable_huffman_encoding: message.enable_huffman_encoding.map(|flag| flag.value),
            connection_keepalive: connection_keepalive?,
            max_header_field_size_kb: field_size?,
            stream_reset_limit,
        })
    }
}

impl KeepaliveSettings {
    fn parse(context: &mut Context<'_>, message: &pb::KeepaliveSettings) -> Result<Self, Reported> {
        context.check(message);
        let millisecond = std::time::Duration::from_millis(1);
        let mut at_least_a_millisecond = |field: &str, value| match context.duration(field, value)? {
            Some(short) if short < millisecond => {
                Err(context.reject_field(field, "is less than the least time, 0.001s"))
            }
            time => Ok(time),
        };
        let interval = at_least_a_millisecond("interval", message.interval.as_ref());
        let timeout = at_least_a_millisecond("timeout", message.timeout.as_ref());
        let idle = at_least_a_millisecond("connection_idle_interval", message.connection_idle_interval.as_ref());
        // Envoy's default for the jitter is 15 percent.
        let jitter = context.percent("interval_jitter", message.interval_jitter.as_ref(), 15.0);
        let timeout = timeout?
            .ok_or(())
            .map_err(|()| context.reject_field("timeout", "is required"));
        Ok(Self {
            interval: interval?,
            timeout: timeout?,
            interval_jitter_percent: jitter?,
            connection_idle_interval: idle?,
        })
    }
}

impl UpstreamHttpProtocolOptions {
    pub(crate) fn parse(
        context: &mut Context<'_>,
        message: &pb::UpstreamHttpProtocolOptions,
    ) -> Result<Self, Reported> {
        context.check(message);
        let header = match message.override_auto_sni_header.as_str() {
            "" => Ok(None),
            name => parse_header_name(context, "override_auto_sni_header", name).map(Some),
        };
        Ok(Self {
            auto_sni: message.auto_sni,
            auto_san_validation: message.auto_san_validation,
            override_auto_sni_header: header?,
        })
    }
}
