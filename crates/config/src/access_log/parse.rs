//! Parsing of access logs.

use std::time::Duration;

use xds_api::envoy::config::accesslog::v3 as pb;
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::data::accesslog::v3::AccessLogType as AccessLogTypeMessage;
use xds_api::envoy::extensions::access_loggers::{file::v3 as file, stream::v3 as stream};
use xds_api::google::protobuf::{Any, Duration as PbDuration};

use super::{AccessLog, AccessLogFilter, AccessLogFormat, AccessLogSink, AccessLogType, Comparison, ComparisonOp};
use crate::context::Context;
use crate::data_source::DataSource;
use crate::extensions::{ExtensionKind, message_name};
use crate::metadata::parse_struct;
use crate::percent::FractionalPercent;
use crate::rejected::Reported;
use crate::shared_str::shared;
use crate::string_matcher::HeaderMatcher;

const FILE: &str = "envoy.extensions.access_loggers.file.v3.FileAccessLog";
const STDOUT: &str = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog";
const STDERR: &str = "envoy.extensions.access_loggers.stream.v3.StderrAccessLog";

/// Envoy's response flags (accesslog.proto, `ResponseFlagFilter`).
const RESPONSE_FLAGS: [&str; 30] = [
    "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE", "DC", "URX", "SI", "IH",
    "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DO", "DR", "UDO",
];

impl AccessLog {
    /// Parses an access log.
    ///
    /// # Errors
    /// When it says not where to write, or something in it is at fault.
    pub fn parse(context: &mut Context<'_>, message: &pb::AccessLog) -> Result<Self, Reported> {
        context.check(message);
        let filter = context.optional("filter", message.filter.as_ref(), AccessLogFilter::parse);
        let sink = match &message.config_type {
            Some(pb::access_log::ConfigType::TypedConfig(any)) => {
                context.at("typed_config", |context| AccessLogSink::parse(context, any))
            }
            None => Err(context.reject_field("typed_config", "is required")),
        };
        Ok(Self {
            name: shared(&message.name),
            filter: filter?,
            sink: sink?,
        })
    }
}

/// How often something that goes on is logged; Envoy wants no less than a millisecond.
///
/// # Errors
/// When it is less, or no duration.
pub fn flush_interval(
    context: &mut Context<'_>,
    field: &str,
    value: Option<&PbDuration>,
) -> Result<Option<Duration>, Reported> {
    match context.duration(field, value)? {
        Some(interval) if interval < Duration::from_millis(1) => {
            Err(context.reject_field(field, "is less than the least interval, 0.001s"))
        }
        interval => Ok(interval),
    }
}

impl AccessLogSink {
    fn parse(context: &mut Context<'_>, any: &Any) -> Result<Self, Reported> {
        let inner = context.unwrap_any(any)?;
        match message_name(&inner.type_url) {
            FILE => {
                use file::file_access_log::AccessLogFormat as Format;
                let message: file::FileAccessLog = context.decode(&inner.value)?;
                context.check(&message);
                let path = context.text("path", &message.path);
                let text = |format: &str| AccessLogFormat::Text {
                    format: shared(format),
                    omit_empty_values: false,
                };
                let json = |fields| AccessLogFormat::Json {
                    format: parse_struct(fields),
                    omit_empty_values: false,
                    sort_properties: false,
                };
                let format = match &message.access_log_format {
                    None => Ok(AccessLogFormat::Default),
                    // An empty format means the default one (file.proto: format).
                    Some(Format::Format(format)) if format.is_empty() => Ok(AccessLogFormat::Default),
                    Some(Format::Format(format)) => Ok(text(format)),
                    Some(Format::JsonFormat(fields) | Format::TypedJsonFormat(fields)) => Ok(json(fields)),
                    Some(Format::LogFormat(format)) => {
                        context.at("log_format", |context| AccessLogFormat::parse(context, format))
                    }
                };
                Ok(Self::File {
                    path: path?,
                    format: format?,
                })
            }
            STDOUT => {
                use stream::stdout_access_log::AccessLogFormat as Format;
                let message: stream::StdoutAccessLog = context.decode(&inner.value)?;
                context.check(&message);
                let format = message
                    .access_log_format
                    .as_ref()
                    .map(|Format::LogFormat(format)| format);
                Ok(Self::Stdout {
                    format: parse_stream_format(context, format)?,
                })
            }
            STDERR => {
                use stream::stderr_access_log::AccessLogFormat as Format;
                let message: stream::StderrAccessLog = context.decode(&inner.value)?;
                context.check(&message);
                let format = message
                    .access_log_format
                    .as_ref()
                    .map(|Format::LogFormat(format)| format);
                Ok(Self::Stderr {
                    format: parse_stream_format(context, format)?,
                })
            }
            _ => context.extension(ExtensionKind::AccessLog, any).map(Self::Extension),
        }
    }
}

fn parse_stream_format(
    context: &mut Context<'_>,
    format: Option<&core::SubstitutionFormatString>,
) -> Result<AccessLogFormat, Reported> {
    let format = context.optional("log_format", format, AccessLogFormat::parse)?;
    Ok(format.unwrap_or(AccessLogFormat::Default))
}

impl AccessLogFormat {
    /// Parses a format string.
    pub(crate) fn parse(context: &mut Context<'_>, message: &core::SubstitutionFormatString) -> Result<Self, Reported> {
        use core::substitution_format_string::Format;
        context.check(message);
        let omit_empty_values = message.omit_empty_values;
        match &message.format {
            Some(Format::TextFormat(format)) => {
                context.value_format("text_format", format)?;
                Ok(Self::Text {
                    format: shared(format),
                    omit_empty_values,
                })
            }
            Some(Format::TextFormatSource(source)) => {
                let format = context.at("text_format_source", |context| DataSource::parse_text(context, source))?;
                context.value_format("text_format_source", &format)?;
                Ok(Self::Text {
                    format,
                    omit_empty_values,
                })
            }
            Some(Format::JsonFormat(fields)) => Ok(Self::Json {
                format: parse_struct(fields),
                omit_empty_values,
                sort_properties: message
                    .json_format_options
                    .is_some_and(|options| options.sort_properties),
            }),
            None => Err(context.reject("has no text_format, text_format_source or json_format")),
        }
    }
}

impl AccessLogFilter {
    /// Parses a filter.
    pub(crate) fn parse(context: &mut Context<'_>, message: &pb::AccessLogFilter) -> Result<Self, Reported> {
        use pb::access_log_filter::FilterSpecifier as Specifier;
        context.check(message);
        let all = |context: &mut Context<'_>, filters: &[pb::AccessLogFilter]| {
            if filters.len() < 2 {
                return Err(context.reject_field("filters", "must have at least 2 entries"));
            }
            context.each("filters", filters, Self::parse)
        };
        match &message.filter_specifier {
            Some(Specifier::StatusCodeFilter(filter)) => context.at("status_code_filter", |context| {
                context
                    .required("comparison", filter.comparison.as_ref(), Comparison::parse)
                    .map(Self::StatusCode)
            }),
            Some(Specifier::DurationFilter(filter)) => context.at("duration_filter", |context| {
                context
                    .required("comparison", filter.comparison.as_ref(), Comparison::parse)
                    .map(Self::Duration)
            }),
            Some(Specifier::NotHealthCheckFilter(_)) => Ok(Self::NotHealthCheck),
            Some(Specifier::TraceableFilter(_)) => Ok(Self::Traceable),
            Some(Specifier::RuntimeFilter(filter)) => context.at("runtime_filter", |context| {
                let runtime_key = context.text("runtime_key", &filter.runtime_key);
                let percent = filter.percent_sampled.as_ref();
                let percent = context.optional("percent_sampled", percent, FractionalPercent::parse);
                let none = FractionalPercent {
                    numerator: 0,
                    denominator: 100,
                };
                Ok(Self::Runtime {
                    runtime_key: runtime_key?,
                    percent_sampled: percent?.unwrap_or(none),
                    use_independent_randomness: filter.use_independent_randomness,
                })
            }),
            Some(Specifier::AndFilter(filter)) => context
                .at("and_filter", |context| all(context, &filter.filters))
                .map(Self::And),
            Some(Specifier::OrFilter(filter)) => context
                .at("or_filter", |context| all(context, &filter.filters))
                .map(Self::Or),
            Some(Specifier::HeaderFilter(filter)) => context.at("header_filter", |context| {
                context
                    .required("header", filter.header.as_ref(), HeaderMatcher::parse)
                    .map(Self::Header)
            }),
            Some(Specifier::ResponseFlagFilter(filter)) => context.at("response_flag_filter", |context| {
                let flags = context.each("flags", &filter.flags, |context, flag| {
                    if RESPONSE_FLAGS.contains(&flag.as_str()) {
                        Ok(shared(flag))
                    } else {
                        Err(context.reject(format!("is {flag:?}, expected one of {}", RESPONSE_FLAGS.join(", "))))
                    }
                });
                flags.map(Self::ResponseFlag)
            }),
            Some(Specifier::GrpcStatusFilter(filter)) => context.at("grpc_status_filter", |context| {
                let statuses = context.each("statuses", &filter.statuses, |context, status| {
                    u8::try_from(*status)
                        .ok()
                        .filter(|status| *status <= 16)
                        .ok_or_else(|| context.reject(format!("is {status}, expected a gRPC status from 0 to 16")))
                });
                Ok(Self::GrpcStatus {
                    statuses: statuses?,
                    exclude: filter.exclude,
                })
            }),
            Some(Specifier::LogTypeFilter(filter)) => context.at("log_type_filter", |context| {
                context.check(filter);
                let types: Result<Vec<Option<AccessLogType>>, _> = context.each(
                    "types",
                    &filter.types,
                    |context, number| match AccessLogTypeMessage::try_from(*number) {
                        Ok(known) => Ok(AccessLogType::from_name(known.as_str_name())),
                        Err(_) => Err(context.reject(format!("is {number}, expected the number of a type"))),
                    },
                );
                Ok(Self::LogType {
                    types: types?.into_iter().flatten().collect(),
                    exclude: filter.exclude,
                })
            }),
            Some(Specifier::ExtensionFilter(_) | Specifier::MetadataFilter(_)) => Err(context.reported()),
            None => Err(context.reject("has no filter")),
        }
    }
}

impl Comparison {
    fn parse(context: &mut Context<'_>, message: &pb::ComparisonFilter) -> Result<Self, Reported> {
        use pb::comparison_filter::Op;
        let op = context.enumeration("op", message.op).map(|op| match op {
            Op::Eq => ComparisonOp::Eq,
            Op::Ge => ComparisonOp::Ge,
            Op::Le => ComparisonOp::Le,
            Op::Ne => ComparisonOp::Ne,
        });
        let value = context.required("value", message.value.as_ref(), |context, value| {
            context.check(value);
            Ok((value.default_value, shared(&value.runtime_key)))
        });
        let (value, runtime_key) = value?;
        Ok(Self {
            op: op?,
            value,
            runtime_key,
        })
    }
}
