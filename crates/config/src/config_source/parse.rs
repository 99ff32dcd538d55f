//! Parsing of configuration sources.

use std::sync::Arc;

use xds_api::envoy::config::core::v3 as core;

use super::{
    ApiConfigSource, ApiType, ChannelCredentials, ConfigSource, ConfigSourceSpecifier, GrpcService, GrpcTarget,
    RateLimitSettings,
};
use crate::context::Context;
use crate::data_source::DataSource;
use crate::rejected::Reported;
use crate::scalars::u32_or;
use crate::shared_str::{non_empty, shared};
use crate::string_matcher::parse_header_name;

impl ConfigSource {
    /// Parses a source.
    ///
    /// # Errors
    /// When it names no source, or one of another protocol version.
    pub fn parse(context: &mut Context<'_>, message: &core::ConfigSource) -> Result<Self, Reported> {
        use core::config_source::ConfigSourceSpecifier as Specifier;
        context.check(message);
        let version: Result<core::ApiVersion, _> =
            context.enumeration("resource_api_version", message.resource_api_version);
        if version? == core::ApiVersion::V2 {
            context.reject_field("resource_api_version", "is V2, which no longer exists: write V3");
        }
        let timeout = context.duration("initial_fetch_timeout", message.initial_fetch_timeout.as_ref());
        let specifier = match &message.config_source_specifier {
            Some(Specifier::Ads(_)) => Ok(ConfigSourceSpecifier::Ads),
            Some(Specifier::Self_(_)) => Ok(ConfigSourceSpecifier::SelfSource),
            Some(Specifier::Path(path)) => context.text("path", path).map(|path| ConfigSourceSpecifier::Path {
                path,
                watched_directory: None,
            }),
            Some(Specifier::PathConfigSource(source)) => context.at("path_config_source", |context| {
                context.check(source);
                let path = context.text("path", &source.path);
                let directory = source.watched_directory.as_ref();
                let directory = context.optional("watched_directory", directory, |context, directory| {
                    context.check(directory);
                    context.text("path", &directory.path)
                });
                Ok(ConfigSourceSpecifier::Path {
                    path: path?,
                    watched_directory: directory?,
                })
            }),
            Some(Specifier::ApiConfigSource(source)) => context
                .at("api_config_source", |context| ApiConfigSource::parse(context, source))
                .map(|source| ConfigSourceSpecifier::Api(Arc::new(source))),
            None => Err(context.reject("has no ads, api_config_source, path_config_source or self")),
        };
        Ok(Self {
            specifier: specifier?,
            initial_fetch_timeout: timeout?.unwrap_or(Self::DEFAULT_INITIAL_FETCH_TIMEOUT),
        })
    }
}

impl ApiConfigSource {
    /// Parses a management server.
    ///
    /// # Errors
    /// When it is not one that speaks gRPC and version 3 of the protocol.
    pub fn parse(context: &mut Context<'_>, message: &core::ApiConfigSource) -> Result<Self, Reported> {
        use core::api_config_source::ApiType as Type;
        context.check(message);
        let api_type = match context.enumeration("api_type", message.api_type)? {
            Type::Grpc => Ok(ApiType::Grpc),
            Type::DeltaGrpc => Ok(ApiType::DeltaGrpc),
            Type::AggregatedGrpc => Ok(ApiType::AggregatedGrpc),
            Type::AggregatedDeltaGrpc => Ok(ApiType::AggregatedDeltaGrpc),
            Type::Rest => Err(context.reject_field("api_type", "is REST, only gRPC is supported: GRPC or DELTA_GRPC")),
            Type::DeprecatedAndUnavailableDoNotUse => {
                Err(context.reject_field("api_type", "is required: GRPC or DELTA_GRPC"))
            }
        };
        let version: core::ApiVersion = context.enumeration("transport_api_version", message.transport_api_version)?;
        if version != core::ApiVersion::V3 {
            context.reject_field(
                "transport_api_version",
                format!("is {}, expected V3", version.as_str_name()),
            );
        }
        if message.grpc_services.is_empty() {
            context.reject_field("grpc_services", "is required and must not be empty");
        }
        let grpc_services = context.each("grpc_services", &message.grpc_services, GrpcService::parse);
        let request_timeout = context.positive_duration("request_timeout", message.request_timeout.as_ref());
        let limits = message.rate_limit_settings.as_ref();
        let rate_limit_settings = context.optional("rate_limit_settings", limits, |context, limits| {
            context.check(limits);
            let fill_rate = limits.fill_rate.as_ref().map_or(10.0, |rate| rate.value);
            if fill_rate.is_nan() || fill_rate <= 0.0 {
                return Err(context.reject_field("fill_rate", format!("is {fill_rate}, expected more than 0")));
            }
            Ok(RateLimitSettings {
                max_tokens: u32_or(limits.max_tokens.as_ref(), 100),
                fill_rate,
            })
        });
        Ok(Self {
            api_type: api_type?,
            grpc_services: grpc_services?,
            set_node_on_first_message_only: message.set_node_on_first_message_only,
            request_timeout: request_timeout?,
            rate_limit_settings: rate_limit_settings?,
        })
    }
}

impl GrpcService {
    /// Parses a gRPC service.
    ///
    /// # Errors
    /// When it has no target, or one that is not supported.
    pub fn parse(context: &mut Context<'_>, message: &core::GrpcService) -> Result<Self, Reported> {
        use core::grpc_service::TargetSpecifier;
        context.check(message);
        let target = match &message.target_specifier {
            Some(TargetSpecifier::EnvoyGrpc(target)) => context.at("envoy_grpc", |context| {
                context.check(target);
                let cluster_name = context.text("cluster_name", &target.cluster_name)?;
                Ok(GrpcTarget::EnvoyGrpc {
                    cluster_name,
                    authority: non_empty(&target.authority),
                    max_receive_message_length: target.max_receive_message_length.map(|length| length.value),
                })
            }),
            Some(TargetSpecifier::GoogleGrpc(target)) => {
                context.at("google_grpc", |context| parse_google_grpc(context, target))
            }
            None => Err(context.reject("has no envoy_grpc or google_grpc")),
        };
        let timeout = context.timeout("timeout", message.timeout.as_ref(), None);
        let initial_metadata = context.each("initial_metadata", &message.initial_metadata, |context, header| {
            context.check(header);
            let name = parse_header_name(context, "key", &header.key)?;
            Ok((name, Arc::from(header.value.as_bytes())))
        });
        Ok(Self {
            target: target?,
            timeout: timeout?,
            initial_metadata: initial_metadata?,
        })
    }
}

fn parse_google_grpc(
    context: &mut Context<'_>,
    message: &core::grpc_service::GoogleGrpc,
) -> Result<GrpcTarget, Reported> {
    use core::grpc_service::google_grpc::channel_credentials::CredentialSpecifier;
    context.check(message);
    let target_uri = context.text("target_uri", &message.target_uri);
    let credentials = message.channel_credentials.as_ref();
    let channel_credentials = context.optional("channel_credentials", credentials, |context, credentials| {
        context.check(credentials);
        match &credentials.credential_specifier {
            Some(CredentialSpecifier::SslCredentials(ssl)) => context.at("ssl_credentials", |context| {
                context.check(ssl);
                let root_certs = context.optional("root_certs", ssl.root_certs.as_ref(), DataSource::parse);
                let private_key = context.optional("private_key", ssl.private_key.as_ref(), DataSource::parse);
                let cert_chain = context.optional("cert_chain", ssl.cert_chain.as_ref(), DataSource::parse);
                Ok(ChannelCredentials::Ssl {
                    root_certs: root_certs?,
                    private_key: private_key?,
                    cert_chain: cert_chain?,
                })
            }),
            Some(CredentialSpecifier::LocalCredentials(_)) => Ok(ChannelCredentials::Local),
            Some(CredentialSpecifier::GoogleDefault(_)) => Err(context.reported()),
            None => Err(context.reject("has no ssl_credentials or local_credentials")),
        }
    });
    Ok(GrpcTarget::GoogleGrpc {
        target_uri: target_uri?,
        channel_credentials: channel_credentials?,
        stat_prefix: shared(&message.stat_prefix),
    })
}
