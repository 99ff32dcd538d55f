//! `envoy.config.accesslog.v3`, the access loggers and format strings.

use xds_api::envoy::config::accesslog::v3 as pb;
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::extensions::access_loggers::{file::v3 as file, stream::v3 as stream};

use super::NO_EXTENSION;
use crate::support;

support! {
    TABLES;

    message pb::AccessLog as "envoy.config.accesslog.v3.AccessLog" {
        name: supported,
        filter: supported,
    }
    oneof config_type: pb::access_log::ConfigType {
        TypedConfig => typed_config: supported,
    }

    message pb::AccessLogFilter as "envoy.config.accesslog.v3.AccessLogFilter" {}
    oneof filter_specifier: pb::access_log_filter::FilterSpecifier {
        StatusCodeFilter => status_code_filter: supported,
        DurationFilter => duration_filter: supported,
        NotHealthCheckFilter => not_health_check_filter: supported,
        TraceableFilter => traceable_filter: supported,
        RuntimeFilter => runtime_filter: supported,
        AndFilter => and_filter: supported,
        OrFilter => or_filter: supported,
        HeaderFilter => header_filter: supported,
        ResponseFlagFilter => response_flag_filter: supported,
        GrpcStatusFilter => grpc_status_filter: supported,
        ExtensionFilter => extension_filter: rejected(NO_EXTENSION),
        MetadataFilter => metadata_filter: rejected("logging cannot depend on dynamic metadata"),
        LogTypeFilter => log_type_filter: supported,
    }

    message pb::LogTypeFilter as "envoy.config.accesslog.v3.LogTypeFilter" {
        types: supported,
        exclude: supported,
    }

    message file::FileAccessLog as "envoy.extensions.access_loggers.file.v3.FileAccessLog" {
        path: supported,
    }
    oneof access_log_format: file::file_access_log::AccessLogFormat {
        Format => format: supported,
        JsonFormat => json_format: supported,
        TypedJsonFormat => typed_json_format: supported,
        LogFormat => log_format: supported,
    }

    message stream::StdoutAccessLog as "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog" {}
    oneof access_log_format: stream::stdout_access_log::AccessLogFormat {
        LogFormat => log_format: supported,
    }

    message stream::StderrAccessLog as "envoy.extensions.access_loggers.stream.v3.StderrAccessLog" {}
    oneof access_log_format: stream::stderr_access_log::AccessLogFormat {
        LogFormat => log_format: supported,
    }

    message core::SubstitutionFormatString as "envoy.config.core.v3.SubstitutionFormatString" {
        omit_empty_values: supported,
        content_type: supported,
        formatters: rejected(NO_EXTENSION),
        json_format_options: supported,
    }
    oneof format: core::substitution_format_string::Format {
        TextFormat => text_format: supported,
        JsonFormat => json_format: supported,
        TextFormatSource => text_format_source: supported,
    }
}
