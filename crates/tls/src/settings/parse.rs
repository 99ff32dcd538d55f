//! Messages to settings. What is inline is read here already, so that a bad certificate is refused before it
//! is put to use; files are read when a context is made.

mod certificates;

use std::sync::Arc;
use std::time::Duration;

use config::config_source::ConfigSource;
use config::secret::SdsSecretConfig;
use config::{Context, ExtensionConfig, ExtensionKind, Extensions, Reported};
use rustls::SupportedProtocolVersion;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use xds_api::envoy::extensions::transport_sockets::raw_buffer::v3 as raw;
use xds_api::envoy::extensions::transport_sockets::tls::v3 as pb;

use super::support::{
    check_combined, check_common, check_downstream, check_parameters, check_sds, check_secret, check_upstream,
};
use super::{
    Certificates, CommonTlsContext, DownstreamTlsContext, RawBuffer, SecretConfig, UpstreamTlsContext, Validation,
};
use crate::parameters::{Parameters, cipher_suites, groups, provider};
use certificates::{certificate, validation};

/// How many sessions a cluster remembers where it is not said. Envoy's default is 1; TLS 1.3 tickets are good for
/// one connection each, and there are several workers.
const DEFAULT_MAX_SESSION_KEYS: usize = 8;

/// By this protocol Istio's proxies agree to send each other metadata before anything else; we have none to send.
const METADATA_EXCHANGE: &str = "istio-peer-exchange";

/// Adds the parsers of TLS transport sockets, of the plaintext one and of secrets.
pub fn register(extensions: &mut Extensions) {
    extensions
        .register(
            ExtensionKind::DownstreamTransportSocket,
            "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            |context, bytes| {
                let message = context.decode::<pb::DownstreamTlsContext>(bytes)?;
                extension(downstream(context, &message))
            },
        )
        .register(
            ExtensionKind::UpstreamTransportSocket,
            "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            |context, bytes| {
                let message = context.decode::<pb::UpstreamTlsContext>(bytes)?;
                extension(upstream(context, &message))
            },
        )
        .register(
            ExtensionKind::Secret,
            "envoy.extensions.transport_sockets.tls.v3.Secret",
            |context, bytes| {
                let message = context.decode::<pb::Secret>(bytes)?;
                extension(secret(context, &message))
            },
        );
    for kind in [
        ExtensionKind::DownstreamTransportSocket,
        ExtensionKind::UpstreamTransportSocket,
    ] {
        extensions.register(
            kind,
            "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
            |context, bytes| {
                let raw::RawBuffer {} = context.decode(bytes)?;
                extension(Ok(RawBuffer))
            },
        );
    }
}

fn extension<T: ExtensionConfig>(parsed: Result<T, Reported>) -> Result<Arc<dyn ExtensionConfig>, Reported> {
    parsed.map(|parsed| Arc::new(parsed) as Arc<dyn ExtensionConfig>)
}

fn downstream(context: &mut Context<'_>, message: &pb::DownstreamTlsContext) -> Result<DownstreamTlsContext, Reported> {
    use pb::downstream_tls_context::SessionTicketKeysType;
    check_downstream(context, message);
    let common = context.required("common_tls_context", message.common_tls_context.as_ref(), common);
    let session_timeout = match &message.session_timeout {
        // Whole seconds count (Envoy: "fractional seconds are ignored").
        Some(timeout) => match u64::try_from(timeout.seconds) {
            Ok(seconds) if timeout.nanos >= 0 && seconds < 1 << 32 => Ok(Some(Duration::from_secs(seconds))),
            _ => Err(context.reject_field("session_timeout", "must be between 0 s and 4294967296 s")),
        },
        None => Ok(None),
    };
    let common = common?;
    if matches!(&common.certificates, Certificates::Inline(certificates) if certificates.is_empty()) {
        return Err(context.reject_field("common_tls_context", "has no certificate: a server needs one"));
    }
    Ok(DownstreamTlsContext {
        require_client_certificate: message
            .require_client_certificate
            .as_ref()
            .is_some_and(|flag| flag.value),
        disable_stateless_session_resumption: matches!(
            message.session_ticket_keys_type,
            Some(SessionTicketKeysType::DisableStatelessSessionResumption(true))
        ),
        session_timeout: session_timeout?,
        full_scan_certs_on_sni_mismatch: message
            .full_scan_certs_on_sni_mismatch
            .as_ref()
            .is_some_and(|flag| flag.value),
        common,
    })
}

fn upstream(context: &mut Context<'_>, message: &pb::UpstreamTlsContext) -> Result<UpstreamTlsContext, Reported> {
    check_upstream(context, message);
    let common = context.required("common_tls_context", message.common_tls_context.as_ref(), common);
    let sni = match message.sni.as_str() {
        "" => Ok(None),
        sni => match ServerName::try_from(sni.to_owned()) {
            Ok(name @ ServerName::DnsName(_)) => Ok(Some(name)),
            _ => Err(context.reject_field("sni", format!("is {sni:?}, which is no DNS name"))),
        },
    };
    let common = common?;
    let several = match &common.certificates {
        Certificates::Inline(certificates) => certificates.len() > 1,
        Certificates::Sds(secrets) => secrets.len() > 1,
    };
    if several {
        return Err(context.reject_field("common_tls_context", "has several certificates: a client presents one"));
    }
    Ok(UpstreamTlsContext {
        common,
        sni: sni?,
        auto_host_sni: message.auto_host_sni,
        auto_sni_san_validation: message.auto_sni_san_validation,
        max_session_keys: message
            .max_session_keys
            .as_ref()
            .map_or(DEFAULT_MAX_SESSION_KEYS, |keys| keys.value as usize),
    })
}

fn common(context: &mut Context<'_>, message: &pb::CommonTlsContext) -> Result<CommonTlsContext, Reported> {
    use pb::common_tls_context::ValidationContextType;
    check_common(context, message);
    let parameters = context.optional("tls_params", message.tls_params.as_ref(), parameters);
    let inline: Result<Vec<_>, _> = context.each("tls_certificates", &message.tls_certificates, certificate);
    let references = &message.tls_certificate_sds_secret_configs;
    let sds: Result<Vec<_>, _> = context.each("tls_certificate_sds_secret_configs", references, sds_secret);
    let validation = match &message.validation_context_type {
        None => Ok(Validation::None),
        Some(ValidationContextType::ValidationContext(message)) => context
            .at("validation_context", |context| validation(context, message, true))
            .map(|validation| Validation::Inline(Box::new(validation))),
        Some(ValidationContextType::ValidationContextSdsSecretConfig(message)) => context
            .at("validation_context_sds_secret_config", |context| {
                sds_secret(context, message)
            })
            .map(Validation::Sds),
        Some(ValidationContextType::CombinedValidationContext(message)) => {
            context.at("combined_validation_context", |context| combined(context, message))
        }
        // The table has rejected it already; this is only reached with a fault on record.
        #[allow(deprecated, reason = "rejected like the others")]
        Some(
            ValidationContextType::ValidationContextCertificateProvider(_)
            | ValidationContextType::ValidationContextCertificateProviderInstance(_),
        ) => Ok(Validation::None),
    };
    let mut alpn_protocols = Vec::with_capacity(message.alpn_protocols.len());
    let mut bad_alpn = None;
    // Envoy takes both a list and one string with commas.
    for protocol in message.alpn_protocols.iter().flat_map(|entry| entry.split(',')) {
        if protocol.is_empty() || protocol.len() > 255 {
            bad_alpn = Some(context.reject_field("alpn_protocols", "holds a protocol that is not 1 to 255 bytes long"));
        } else if protocol == METADATA_EXCHANGE {
            context.without_effect(
                "alpn_protocols",
                "istio-peer-exchange is neither offered nor selected: peers exchange no metadata",
            );
        } else {
            alpn_protocols.push(protocol.as_bytes().into());
        }
    }
    let (inline, sds) = (inline?, sds?);
    if !inline.is_empty() && !sds.is_empty() {
        return Err(context.reject_field(
            "tls_certificates",
            "and tls_certificate_sds_secret_configs are both set",
        ));
    }
    bad_alpn.map_or(Ok(()), Err)?;
    Ok(CommonTlsContext {
        parameters: parameters?.unwrap_or_default(),
        certificates: if sds.is_empty() {
            Certificates::Inline(inline)
        } else {
            Certificates::Sds(sds)
        },
        validation: validation?,
        alpn_protocols,
    })
}

fn combined(
    context: &mut Context<'_>,
    message: &pb::common_tls_context::CombinedCertificateValidationContext,
) -> Result<Validation, Reported> {
    check_combined(context, message);
    let default = context.required(
        "default_validation_context",
        message.default_validation_context.as_ref(),
        |context, message| validation(context, message, false),
    );
    let sds = context.required(
        "validation_context_sds_secret_config",
        message.validation_context_sds_secret_config.as_ref(),
        sds_secret,
    );
    Ok(Validation::Combined {
        default: Box::new(default?),
        sds: sds?,
    })
}

fn sds_secret(context: &mut Context<'_>, message: &pb::SdsSecretConfig) -> Result<SdsSecretConfig, Reported> {
    check_sds(context, message);
    let name = context.discovered_name("name", &message.name);
    let source = context.optional("sds_config", message.sds_config.as_ref(), ConfigSource::parse);
    Ok(SdsSecretConfig {
        name: name?,
        sds_config: source?.map(Arc::new),
    })
}

fn parameters(context: &mut Context<'_>, message: &pb::TlsParameters) -> Result<Parameters, Reported> {
    use pb::tls_parameters::TlsProtocol;
    check_parameters(context, message);
    // TLS_AUTO is 1.2 to 1.3 here. Envoy's clients stop at 1.2; a server that can do better gets better.
    let minimum = TlsProtocol::try_from(message.tls_minimum_protocol_version);
    let maximum = TlsProtocol::try_from(message.tls_maximum_protocol_version);
    let versions: Result<Vec<&'static SupportedProtocolVersion>, Reported> = match (minimum, maximum) {
        (Ok(TlsProtocol::TlsAuto | TlsProtocol::TlSv12), Ok(TlsProtocol::TlsAuto | TlsProtocol::TlSv13)) => {
            Ok(vec![&TLS13, &TLS12])
        }
        (Ok(TlsProtocol::TlsAuto | TlsProtocol::TlSv12), Ok(TlsProtocol::TlSv12)) => Ok(vec![&TLS12]),
        (Ok(TlsProtocol::TlSv13), Ok(TlsProtocol::TlsAuto | TlsProtocol::TlSv13)) => Ok(vec![&TLS13]),
        (Ok(TlsProtocol::TlSv13), Ok(TlsProtocol::TlSv12)) => {
            Err(context.reject_field("tls_maximum_protocol_version", "is below tls_minimum_protocol_version"))
        }
        (Ok(TlsProtocol::TlSv10 | TlsProtocol::TlSv11), Ok(TlsProtocol::TlsAuto | TlsProtocol::TlSv13)) => {
            context.without_effect(
                "tls_minimum_protocol_version",
                "TLS 1.0 and 1.1 are never spoken: TLS 1.2 is the least",
            );
            Ok(vec![&TLS13, &TLS12])
        }
        (Ok(TlsProtocol::TlSv10 | TlsProtocol::TlSv11), Ok(TlsProtocol::TlSv12)) => {
            context.without_effect(
                "tls_minimum_protocol_version",
                "TLS 1.0 and 1.1 are never spoken: TLS 1.2 is the least",
            );
            Ok(vec![&TLS12])
        }
        (_, Ok(TlsProtocol::TlSv10 | TlsProtocol::TlSv11)) => Err(context.reject_field(
            "tls_maximum_protocol_version",
            "leaves nothing: TLS 1.2 is the least that is spoken",
        )),
        (Err(_), _) => Err(context.reject_field("tls_minimum_protocol_version", "is no version")),
        (_, Err(_)) => Err(context.reject_field("tls_maximum_protocol_version", "is no version")),
    };
    let suites = cipher_suites(&message.cipher_suites);
    let mut fault = None;
    if !suites.missing.is_empty() {
        if suites.values.is_empty() {
            let missing = suites.missing.join(", ");
            fault = Some(context.reject_field("cipher_suites", format!("leaves nothing: {missing} are not supported")));
        } else {
            context.without_effect(
                "cipher_suites",
                "some of the suites don't exist here: the others are used",
            );
        }
    }
    let groups = groups(&message.ecdh_curves);
    if !groups.missing.is_empty() {
        if groups.values.is_empty() {
            let missing = groups.missing.join(", ");
            fault = Some(context.reject_field("ecdh_curves", format!("leaves nothing: {missing} are not supported")));
        } else {
            context.without_effect(
                "ecdh_curves",
                "some of the curves don't exist here: the others are used",
            );
        }
    }
    fault.map_or(Ok(()), Err)?;
    Ok(Parameters {
        versions: versions?,
        provider: provider(&suites.values, &groups.values),
    })
}

fn secret(context: &mut Context<'_>, message: &pb::Secret) -> Result<SecretConfig, Reported> {
    use pb::secret::Type;
    check_secret(context, message);
    match &message.r#type {
        Some(Type::TlsCertificate(message)) => context
            .at("tls_certificate", |context| certificate(context, message))
            .map(SecretConfig::TlsCertificate),
        // What it is merged into, if anything, is not known here: names without authorities may be complete there.
        Some(Type::ValidationContext(message)) => context
            .at("validation_context", |context| validation(context, message, false))
            .map(|validation| SecretConfig::ValidationContext(Box::new(validation))),
        Some(Type::SessionTicketKeys(_) | Type::GenericSecret(_)) => {
            Err(context.reject("holds nothing that is supported"))
        }
        None => Err(context.reject("holds neither tls_certificate nor validation_context")),
    }
}
