//! What becomes of each field of the TLS messages; the same as `config`'s tables, for messages this crate reads.
//!
//! A message is taken apart without `..`: a field that a new version of the Envoy API brings does not compile
//! until someone has said what becomes of it.

use config::Context;
use config::support::{Field, Support, Table};
use xds_api::envoy::extensions::transport_sockets::tls::v3 as pb;
use xds_api::google::protobuf::BoolValue;

/// Whether a field was set.
pub(super) trait IsSet {
    fn is_set(&self) -> bool;
}

impl<T: 'static> IsSet for Option<T> {
    fn is_set(&self) -> bool {
        match self {
            // Every boolean wrapper that is rejected here defaults to false: writing that out is no use of it.
            Some(value) => (value as &dyn std::any::Any)
                .downcast_ref::<BoolValue>()
                .is_none_or(|flag| flag.value),
            None => false,
        }
    }
}

impl<T> IsSet for Vec<T> {
    fn is_set(&self) -> bool {
        !self.is_empty()
    }
}

macro_rules! scalar {
    ($($scalar:ty),*) => { $(
        impl IsSet for $scalar {
            fn is_set(&self) -> bool {
                *self != <$scalar>::default()
            }
        }
    )* };
}

scalar!(bool, i32, u32, String);

macro_rules! table {
    (
        $check:ident, $table:ident: $message:path as $name:literal {
            $( $field:ident : $kind:ident $( ( $why:expr ) )? ),* $(,)?
        }
        $( oneof $one:ident : $oneof:path {
            $( $variant:ident => $member:ident : $member_kind:ident $( ( $member_why:expr ) )? ),* $(,)?
        } )*
    ) => {
        static $table: Table = Table {
            message: $name,
            fields: &[
                $( Field::new(stringify!($field), table!(@entry $kind $( $why )?)), )*
                $( $( Field::new(stringify!($member), table!(@entry $member_kind $( $member_why )?)), )* )*
            ],
        };

        #[allow(unused_variables, deprecated, reason = "supported fields are read elsewhere")]
        pub(super) fn $check(context: &mut Context<'_>, message: &$message) {
            let $message { $( $field, )* $( $one, )* } = message;
            $( table!(@check context $field $kind $( $why )?); )*
            $( {
                use $oneof as Oneof;
                match $one {
                    $( Some(Oneof::$variant(_)) => { table!(@member context $member $member_kind $( $member_why )?); } )*
                    None => {}
                }
            } )*
        }
    };
    (@entry supported) => { Support::Supported { case: None } };
    (@entry without_effect $why:expr) => { Support::WithoutEffect { why: $why } };
    (@entry rejected $why:expr) => { Support::Rejected { why: $why } };
    (@check $context:ident $field:ident supported) => {};
    (@check $context:ident $field:ident $kind:ident $why:expr) => {
        if IsSet::is_set($field) {
            table!(@member $context $field $kind $why);
        }
    };
    (@member $context:ident $field:ident supported) => {};
    (@member $context:ident $field:ident without_effect $why:expr) => {
        $context.without_effect(stringify!($field), $why);
    };
    (@member $context:ident $field:ident rejected $why:expr) => {
        $context.reject_field(stringify!($field), format!("is not supported: {}", $why));
    };
}

const PROVIDERS: &str = "certificate providers are no part of Envoy either, use secrets over SDS";

table! { check_upstream, UPSTREAM: pb::UpstreamTlsContext as "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext" {
    common_tls_context: supported,
    sni: supported,
    auto_host_sni: supported,
    auto_sni_san_validation: supported,
    allow_renegotiation: rejected("TLS renegotiation is insecure and rustls has none"),
    max_session_keys: supported,
    enforce_rsa_key_usage: without_effect("key usage is always enforced"),
} }

table! { check_downstream, DOWNSTREAM: pb::DownstreamTlsContext as "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext" {
    common_tls_context: supported,
    require_client_certificate: supported,
    require_sni: rejected("match server_names in the filter chain instead"),
    disable_stateful_session_resumption: without_effect("sessions are only ever resumed from tickets"),
    session_timeout: supported,
    ocsp_staple_policy: rejected("OCSP stapling"),
    full_scan_certs_on_sni_mismatch: supported,
    prefer_client_ciphers: rejected("the server's order of cipher suites is used"),
} oneof session_ticket_keys_type: pb::downstream_tls_context::SessionTicketKeysType {
    SessionTicketKeys => session_ticket_keys: rejected("tickets are encrypted with keys made by the process itself"),
    SessionTicketKeysSdsSecretConfig => session_ticket_keys_sds_secret_config:
        rejected("tickets are encrypted with keys made by the process itself"),
    DisableStatelessSessionResumption => disable_stateless_session_resumption: supported,
} }

table! { check_common, COMMON: pb::CommonTlsContext as "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext" {
    tls_params: supported,
    tls_certificates: supported,
    tls_certificate_sds_secret_configs: supported,
    tls_certificate_provider_instance: rejected(PROVIDERS),
    custom_tls_certificate_selector: rejected("custom certificate selectors"),
    tls_certificate_certificate_provider: rejected(PROVIDERS),
    tls_certificate_certificate_provider_instance: rejected(PROVIDERS),
    alpn_protocols: supported,
    custom_handshaker: rejected("custom handshakers"),
    key_log: rejected("traffic keys are never written to a file"),
} oneof validation_context_type: pb::common_tls_context::ValidationContextType {
    ValidationContext => validation_context: supported,
    ValidationContextSdsSecretConfig => validation_context_sds_secret_config: supported,
    CombinedValidationContext => combined_validation_context: supported,
    ValidationContextCertificateProvider => validation_context_certificate_provider: rejected(PROVIDERS),
    ValidationContextCertificateProviderInstance => validation_context_certificate_provider_instance:
        rejected(PROVIDERS),
} }

table! { check_combined, COMBINED: pb::common_tls_context::CombinedCertificateValidationContext
    as "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext" {
    default_validation_context: supported,
    validation_context_sds_secret_config: supported,
    validation_context_certificate_provider: rejected(PROVIDERS),
    validation_context_certificate_provider_instance: rejected(PROVIDERS),
} }

table! { check_parameters, PARAMETERS: pb::TlsParameters as "envoy.extensions.transport_sockets.tls.v3.TlsParameters" {
    tls_minimum_protocol_version: supported,
    tls_maximum_protocol_version: supported,
    cipher_suites: supported,
    ecdh_curves: supported,
    signature_algorithms: rejected("rustls decides which signatures are good enough"),
    compliance_policies: rejected("compliance policies"),
} }

table! { check_certificate, CERTIFICATE: pb::TlsCertificate as "envoy.extensions.transport_sockets.tls.v3.TlsCertificate" {
    certificate_chain: supported,
    private_key: supported,
    pkcs12: rejected("use PEM in certificate_chain and private_key"),
    watched_directory: supported,
    private_key_provider: rejected("private key providers"),
    password: rejected("encrypted private keys"),
    ocsp_staple: rejected("OCSP stapling"),
    signed_certificate_timestamp: rejected("signed certificate timestamps"),
    tls_params: rejected("parameters of a single certificate"),
} }

table! { check_validation, VALIDATION: pb::CertificateValidationContext
    as "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext" {
    trusted_ca: supported,
    ca_certificate_provider_instance: rejected(PROVIDERS),
    system_root_certs: rejected("name the authorities in trusted_ca"),
    watched_directory: supported,
    verify_certificate_spki: supported,
    verify_certificate_hash: supported,
    match_typed_subject_alt_names: supported,
    match_subject_alt_names: supported,
    require_signed_certificate_timestamp: rejected("signed certificate timestamps"),
    crl: supported,
    allow_expired_certificate: rejected("an expired certificate is never accepted"),
    trust_chain_verification: rejected("an untrusted certificate is never accepted where a trusted_ca is given"),
    custom_validator_config: rejected("custom validators"),
    only_verify_leaf_cert_crl: supported,
    max_verify_depth: supported,
    suppress_client_ca_list: supported,
} }

table! { check_san, SAN: pb::SubjectAltNameMatcher as "envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher" {
    san_type: supported,
    matcher: supported,
    oid: rejected("names of type OTHER_NAME"),
} }

table! { check_sds, SDS: pb::SdsSecretConfig as "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig" {
    name: supported,
    sds_config: supported,
} }

table! { check_secret, SECRET: pb::Secret as "envoy.extensions.transport_sockets.tls.v3.Secret" {
    name: supported,
} oneof r#type: pb::secret::Type {
    TlsCertificate => tls_certificate: supported,
    SessionTicketKeys => session_ticket_keys: rejected("tickets are encrypted with keys made by the process itself"),
    ValidationContext => validation_context: supported,
    GenericSecret => generic_secret: rejected("no filter takes one"),
} }

/// The tables of every message this crate parses, for the documentation.
pub static TABLES: [&Table; 10] = [
    &UPSTREAM,
    &DOWNSTREAM,
    &COMMON,
    &COMBINED,
    &PARAMETERS,
    &CERTIFICATE,
    &VALIDATION,
    &SAN,
    &SDS,
    &SECRET,
];
