//! TLS contexts. Certificates come over SDS, on the same stream.

use std::collections::BTreeSet;

use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::extensions::transport_sockets::tls::v3 as tls;
use xds_api::envoy::extensions::transport_sockets::tls::v3::common_tls_context::{
    CombinedCertificateValidationContext, ValidationContextType,
};
use xds_api::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use xds_api::envoy::r#type::matcher::v3::StringMatcher;
use xds_api::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use xds_api::prost::{Message, Name};

use super::names::{IDENTITY_SECRET, ROOT_SECRET};
use super::{names, parts};
use crate::model::{MeshSettings, PortRef, Protocol};

/// What a sidecar shows to callers, and asks of them: a certificate of the trust domain.
pub(super) fn downstream(settings: &MeshSettings) -> core::TransportSocket {
    let trust_domain = MatchPattern::Prefix(format!("spiffe://{}/", settings.trust_domain));
    let context = tls::DownstreamTlsContext {
        common_tls_context: Some(common(&["h2", "http/1.1"], vec![uri_san(trust_domain)])),
        require_client_certificate: Some(parts::boolean(true)),
        ..Default::default()
    };
    transport_socket(&context)
}

/// What a sidecar asks of the one it calls: to be one of the accounts that serve there.
/// While nobody does, an account of the Service's namespace: never cleartext, so that the
/// first endpoint that appears is not called without TLS.
pub(super) fn upstream(
    settings: &MeshSettings,
    port: &PortRef,
    accounts: &BTreeSet<String>,
    protocol: Protocol,
) -> core::TransportSocket {
    let alpn = match protocol {
        Protocol::Http1 => "http/1.1",
        Protocol::Http2 => "h2",
    };
    let sans = if accounts.is_empty() {
        let namespace = format!("spiffe://{}/ns/{}/", settings.trust_domain, port.service.namespace);
        vec![uri_san(MatchPattern::Prefix(namespace))]
    } else {
        accounts
            .iter()
            .map(|account| uri_san(MatchPattern::Exact(account.clone())))
            .collect()
    };
    let context = tls::UpstreamTlsContext {
        common_tls_context: Some(common(&[alpn], sans)),
        sni: names::server_name(settings, port),
        ..Default::default()
    };
    transport_socket(&context)
}

/// No TLS.
pub(super) fn cleartext() -> core::TransportSocket {
    use xds_api::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
    core::TransportSocket {
        name: "envoy.transport_sockets.raw_buffer".to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(xds_api::pack(
            &RawBuffer {},
        ))),
    }
}

fn transport_socket<M: Message + Name>(context: &M) -> core::TransportSocket {
    core::TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(xds_api::pack(context))),
    }
}

fn common(alpn: &[&str], sans: Vec<tls::SubjectAltNameMatcher>) -> tls::CommonTlsContext {
    let validation = CombinedCertificateValidationContext {
        default_validation_context: Some(tls::CertificateValidationContext {
            match_typed_subject_alt_names: sans,
            ..Default::default()
        }),
        validation_context_sds_secret_config: Some(secret(ROOT_SECRET)),
        ..Default::default()
    };
    tls::CommonTlsContext {
        alpn_protocols: alpn.iter().map(|protocol| (*protocol).to_owned()).collect(),
        tls_certificate_sds_secret_configs: vec![secret(IDENTITY_SECRET)],
        validation_context_type: Some(ValidationContextType::CombinedValidationContext(validation)),
        ..Default::default()
    }
}

fn secret(name: &str) -> tls::SdsSecretConfig {
    tls::SdsSecretConfig {
        name: name.to_owned(),
        sds_config: Some(parts::ads()),
    }
}

fn uri_san(pattern: MatchPattern) -> tls::SubjectAltNameMatcher {
    tls::SubjectAltNameMatcher {
        san_type: SanType::Uri.into(),
        matcher: Some(StringMatcher {
            match_pattern: Some(pattern),
            ..Default::default()
        }),
        ..Default::default()
    }
}
