use config::config_source::ConfigSourceSpecifier;
use config::{Context, ExtensionKind, Extensions, Parsed, Rejected};
use std::sync::Arc;
use xds_api::envoy::extensions::transport_sockets::tls::v3 as pb;
use xds_api::prost::Message;
use xds_api::{UnknownFields, from_document, yaml};

use super::*;
use crate::test_certificates::{Authority, Leaf};
use crate::{ContextError, Loader};

const DOWNSTREAM: ExtensionKind = ExtensionKind::DownstreamTransportSocket;
const UPSTREAM: ExtensionKind = ExtensionKind::UpstreamTransportSocket;

/// Parses YAML of a message as the extension it is.
fn parse<M: Message + xds_api::prost::Name + Default>(
    kind: ExtensionKind,
    text: &str,
) -> Result<Parsed<Arc<dyn ExtensionConfig>>, Vec<Rejected>> {
    let document = yaml::parse(text, "test.yaml").unwrap();
    let message: M = from_document(&document, UnknownFields::Reject).unwrap();
    let mut extensions = Extensions::new();
    register(&mut extensions);
    let parser = extensions.parser(kind, &M::type_url()).unwrap();
    Context::parse(&extensions, |context| parser(context, &message.encode_to_vec()))
}

fn downstream(text: &str) -> DownstreamTlsContext {
    parse::<pb::DownstreamTlsContext>(DOWNSTREAM, text)
        .unwrap()
        .value
        .get::<DownstreamTlsContext>()
        .unwrap()
        .clone()
}

fn upstream(text: &str) -> UpstreamTlsContext {
    parse::<pb::UpstreamTlsContext>(UPSTREAM, text)
        .unwrap()
        .value
        .get::<UpstreamTlsContext>()
        .unwrap()
        .clone()
}

/// The faults, as `path: reason`.
fn faults<M: Message + xds_api::prost::Name + Default>(kind: ExtensionKind, text: &str) -> Vec<String> {
    parse::<M>(kind, text)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn quoted(pem: &str) -> String {
    format!("{pem:?}")
}

/// A leaf as YAML in flow style.
fn certificate(leaf: &Leaf) -> String {
    format!(
        "{{certificate_chain: {{inline_string: {}}}, private_key: {{inline_string: {}}}}}",
        quoted(&leaf.certificate),
        quoted(&leaf.key)
    )
}

#[test]
fn what_istiod_sends_a_sidecar_for_inbound_is_understood() {
    let settings = downstream(
        "
common_tls_context:
  tls_params:
    tls_minimum_protocol_version: TLSv1_2
    tls_maximum_protocol_version: TLSv1_3
    cipher_suites: [ECDHE-ECDSA-AES256-GCM-SHA384, ECDHE-RSA-AES256-GCM-SHA384, AES256-GCM-SHA384]
  alpn_protocols: [istio-peer-exchange, h2, http/1.1]
  tls_certificate_sds_secret_configs:
  - name: default
    sds_config: {ads: {}, initial_fetch_timeout: 0s, resource_api_version: V3}
  combined_validation_context:
    default_validation_context:
      match_subject_alt_names: [{prefix: spiffe://cluster.local/}]
    validation_context_sds_secret_config:
      name: ROOTCA
      sds_config: {ads: {}, initial_fetch_timeout: 0s, resource_api_version: V3}
require_client_certificate: true
",
    );
    assert!(settings.require_client_certificate);
    // A peer with which it were settled on would wait for metadata, or take our first bytes for it.
    let protocols: Vec<_> = settings.common.alpn_protocols.iter().map(|name| &**name).collect();
    assert_eq!(protocols, [&b"h2"[..], b"http/1.1"]);
    let Certificates::Sds(secrets) = &settings.common.certificates else {
        panic!("{settings:?}")
    };
    assert_eq!(&*secrets[0].name, "default");
    assert_eq!(
        secrets[0].sds_config.as_ref().unwrap().specifier,
        ConfigSourceSpecifier::Ads
    );
    let Validation::Combined { default, sds } = &settings.common.validation else {
        panic!("{settings:?}")
    };
    assert_eq!(&*sds.name, "ROOTCA");
    assert_eq!(
        default.san_matchers.len(),
        4,
        "a matcher without a type is one for every type"
    );
    let mut references = References::default();
    settings.references(&mut references);
    let names: Vec<&str> = references.names(ResourceType::Secret).map(|name| &**name).collect();
    assert_eq!(names, ["default", "ROOTCA"]);
}

#[test]
fn narrowing_is_reported_and_only_an_empty_rest_is_refused() {
    let leaf = certificate(&Authority::new("mesh").leaf(&["a.example"]));
    let with = |params: &str| format!("common_tls_context: {{tls_certificates: [{leaf}], tls_params: {{{params}}}}}");
    let parsed = parse::<pb::DownstreamTlsContext>(
        DOWNSTREAM,
        &with("cipher_suites: [AES128-SHA, ECDHE-RSA-AES128-GCM-SHA256], ecdh_curves: [P-256, P-521], tls_minimum_protocol_version: TLSv1_0"),
    )
    .unwrap();
    let paths: Vec<&str> = parsed.without_effect.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "common_tls_context.tls_params.tls_minimum_protocol_version",
            "common_tls_context.tls_params.cipher_suites",
            "common_tls_context.tls_params.ecdh_curves",
        ]
    );
    for (params, expected) in [
        (
            "cipher_suites: [AES128-SHA]",
            "common_tls_context.tls_params.cipher_suites: leaves nothing: AES128-SHA are not supported",
        ),
        (
            "ecdh_curves: [P-521]",
            "common_tls_context.tls_params.ecdh_curves: leaves nothing: P-521 are not supported",
        ),
        (
            "tls_maximum_protocol_version: TLSv1_1",
            "common_tls_context.tls_params.tls_maximum_protocol_version: leaves nothing: TLS 1.2 is the least that is spoken",
        ),
        (
            "tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_2",
            "common_tls_context.tls_params.tls_maximum_protocol_version: is below tls_minimum_protocol_version",
        ),
    ] {
        assert_eq!(
            faults::<pb::DownstreamTlsContext>(DOWNSTREAM, &with(params)),
            [expected]
        );
    }
}

#[test]
fn security_settings_that_are_not_supported_are_refused_each_by_its_path() {
    let found = faults::<pb::UpstreamTlsContext>(
        UPSTREAM,
        "
allow_renegotiation: true
sni: 10.0.0.1
common_tls_context:
  key_log: {path: /tmp/keys}
  tls_params: {signature_algorithms: [rsa_pss_rsae_sha256]}
  validation_context:
    trusted_ca: {filename: /ca.pem}
    allow_expired_certificate: true
    trust_chain_verification: ACCEPT_UNTRUSTED
    require_signed_certificate_timestamp: true
    match_typed_subject_alt_names:
    - {san_type: DNS, matcher: {exact: a}}
    - {san_type: OTHER_NAME, oid: 1.2.3, matcher: {exact: a}}
    - {matcher: {safe_regex: {regex: '('}}}
    verify_certificate_hash: [00ff]
",
    );
    let paths: Vec<&str> = found.iter().map(|fault| fault.split_once(": ").unwrap().0).collect();
    let inside = "common_tls_context.validation_context";
    assert_eq!(
        paths,
        [
            "allow_renegotiation",
            "common_tls_context.key_log",
            "common_tls_context.tls_params.signature_algorithms",
            &format!("{inside}.require_signed_certificate_timestamp"),
            &format!("{inside}.allow_expired_certificate"),
            &format!("{inside}.trust_chain_verification"),
            &format!("{inside}.match_typed_subject_alt_names[1].oid"),
            &format!("{inside}.match_typed_subject_alt_names[1].san_type"),
            &format!("{inside}.match_typed_subject_alt_names[2].san_type"),
            &format!("{inside}.match_typed_subject_alt_names[2].matcher.safe_regex.regex"),
            &format!("{inside}.verify_certificate_hash[0]"),
            "sni",
        ],
        "{found:#?}"
    );
}

#[test]
fn session_ticket_keys_are_refused_and_resumption_can_be_turned_off() {
    let leaf = certificate(&Authority::new("mesh").leaf(&["a.example"]));
    let found = faults::<pb::DownstreamTlsContext>(
        DOWNSTREAM,
        &format!(
            "{{common_tls_context: {{tls_certificates: [{leaf}]}}, session_ticket_keys: {{keys: [{{inline_string: x}}]}}}}"
        ),
    );
    assert_eq!(
        found,
        ["session_ticket_keys: is not supported: tickets are encrypted with keys made by the process itself"]
    );
    let settings = downstream(&format!(
        "{{common_tls_context: {{tls_certificates: [{leaf}]}}, disable_stateless_session_resumption: true, session_timeout: 90.5s}}"
    ));
    assert!(settings.disable_stateless_session_resumption);
    assert_eq!(settings.session_timeout, Some(Duration::from_secs(90)));
}

#[test]
fn inline_certificates_are_read_when_they_are_configured() {
    let authority = Authority::new("mesh");
    let (one, other) = (authority.leaf(&["a.example"]), authority.leaf(&["b.example"]));
    let mixed = Leaf {
        certificate: one.certificate.clone(),
        key: other.key,
    };
    let found = |text: String| faults::<pb::DownstreamTlsContext>(DOWNSTREAM, &text);
    assert_eq!(
        found(format!(
            "common_tls_context: {{tls_certificates: [{}]}}",
            certificate(&mixed)
        )),
        [
            "common_tls_context.tls_certificates[0]: private_key does not belong to the first certificate of certificate_chain"
        ]
    );
    let nonsense = Leaf {
        certificate: "nonsense".to_owned(),
        key: "nonsense".to_owned(),
    };
    assert_eq!(
        found(format!(
            "common_tls_context: {{tls_certificates: [{}]}}",
            certificate(&nonsense)
        )),
        ["common_tls_context.tls_certificates[0]: certificate_chain holds no PEM certificate"]
    );
    assert_eq!(
        found(format!(
            "common_tls_context: {{tls_certificates: [{}], validation_context: {{trusted_ca: {{inline_string: x}}}}}}",
            certificate(&one)
        )),
        ["common_tls_context.validation_context.trusted_ca: holds no PEM certificate"]
    );
    assert_eq!(
        found("common_tls_context: {}".to_owned()),
        ["common_tls_context: has no certificate: a server needs one"]
    );
    assert_eq!(found("{}".to_owned()), ["common_tls_context: is required"]);
    assert_eq!(
        found(format!(
            "common_tls_context: {{tls_certificates: [{}], validation_context: {{match_typed_subject_alt_names: [{{san_type: URI, matcher: {{exact: a}}}}]}}}}",
            certificate(&one)
        )),
        [
            "common_tls_context.validation_context.match_typed_subject_alt_names: needs a trusted_ca: names of an unverified certificate mean nothing"
        ]
    );
}

#[test]
fn pins_are_read_in_either_notation() {
    let plain = "df6ff72fe9116521268f6f2dd4966f51df479883fe7037b39f75916ac3049d1a";
    let colons = plain
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap())
        .collect::<Vec<_>>()
        .join(":");
    let settings = upstream(&format!(
        "common_tls_context: {{validation_context: {{verify_certificate_hash: [{plain}, '{}'], verify_certificate_spki: ['NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A=']}}}}",
        colons.to_uppercase()
    ));
    let Validation::Inline(validation) = &settings.common.validation else {
        panic!("{settings:?}")
    };
    assert_eq!(
        validation.verify_certificate_hash[0],
        validation.verify_certificate_hash[1]
    );
    assert_eq!(validation.verify_certificate_hash[0][..3], [0xdf, 0x6f, 0xf7]);
    assert_eq!(validation.verify_certificate_spki[0][..3], [0x36, 0xfa, 0x98]);
    for pin in [
        "'NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9B='",
        "'!vqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A='",
        "short",
    ] {
        let text = format!("common_tls_context: {{validation_context: {{verify_certificate_spki: [{pin}]}}}}");
        assert_eq!(faults::<pb::UpstreamTlsContext>(UPSTREAM, &text).len(), 1, "{pin}");
    }
}

#[test]
fn a_secret_is_a_certificate_or_a_validation_context_and_nothing_else() {
    let authority = Authority::new("mesh");
    let leaf = certificate(&authority.leaf(&["a.example"]));
    let secret = |text: &str| parse::<pb::Secret>(ExtensionKind::Secret, text);
    let value = secret(&format!("{{name: default, tls_certificate: {leaf}}}"))
        .unwrap()
        .value;
    assert!(matches!(
        value.get::<SecretConfig>(),
        Some(SecretConfig::TlsCertificate(_))
    ));
    let value = secret("{name: ROOTCA, validation_context: {trusted_ca: {filename: /ca.pem}}}")
        .unwrap()
        .value;
    assert_eq!(value.get::<SecretConfig>().unwrap().files(), ["/ca.pem".into()]);
    for text in [
        "{name: x}",
        "{name: x, generic_secret: {secret: {inline_string: value}}}",
    ] {
        assert!(secret(text).is_err(), "{text}");
    }
}

#[test]
fn a_watched_directory_is_what_is_watched_for_its_files() {
    let settings = upstream(
        "
common_tls_context:
  tls_certificates:
  - certificate_chain: {filename: /certs/chain.pem}
    private_key: {filename: /certs/key.pem}
    watched_directory: {path: /certs}
  validation_context: {trusted_ca: {filename: /ca.pem}}
",
    );
    assert_eq!(
        settings.common.files(),
        ["/certs".into(), "/certs".into(), "/ca.pem".into()]
    );
}

/// A source of secrets as the store is one.
fn secrets(entries: &[(&str, &str)]) -> impl Fn(&str) -> Option<Arc<config::secret::Secret>> + use<> {
    let entries: Vec<(String, Arc<dyn ExtensionConfig>)> = entries
        .iter()
        .map(|(name, text)| {
            (
                (*name).to_owned(),
                parse::<pb::Secret>(ExtensionKind::Secret, text).unwrap().value,
            )
        })
        .collect();
    move |wanted| {
        let (name, config) = entries.iter().find(|(name, _)| name == wanted)?;
        Some(Arc::new(config::secret::Secret {
            name: name.as_str().into(),
            config: Arc::clone(config),
            fingerprint: config::Fingerprint::of(name.as_bytes()),
        }))
    }
}

const WITH_SDS: &str = "
common_tls_context:
  tls_certificate_sds_secret_configs: [{name: default}]
  combined_validation_context:
    default_validation_context:
      match_typed_subject_alt_names: [{san_type: URI, matcher: {prefix: spiffe://td/}}]
    validation_context_sds_secret_config: {name: ROOTCA}
";

#[test]
fn a_context_waits_for_its_secrets_and_shares_what_is_the_same() {
    let authority = Authority::new("mesh");
    let default = format!(
        "{{name: default, tls_certificate: {}}}",
        certificate(&authority.leaf(&["spiffe://td/a"]))
    );
    let root = format!(
        "{{name: ROOTCA, validation_context: {{trusted_ca: {{inline_string: {}}}}}}}",
        quoted(&authority.pem)
    );
    let (down, up) = (downstream(WITH_SDS), upstream(WITH_SDS));
    let loader = Loader::new();
    assert_eq!(
        loader.server(&down, &|_| None).unwrap_err(),
        ContextError::NotReady("default".into())
    );
    let half = secrets(&[("default", &default)]);
    assert_eq!(
        loader.client(&up, &half).unwrap_err(),
        ContextError::NotReady("ROOTCA".into())
    );
    let both = secrets(&[("default", &default), ("ROOTCA", &root)]);
    let server = loader.server(&down, &both).unwrap();
    let client = loader.client(&up, &both).unwrap();
    assert_eq!(server.certificate_chains().next().unwrap(), client.certificate_chain());
    assert!(std::ptr::eq(server.authorities(), client.authorities()), "read once");
    let leaf = &client.certificate_chain()[0];
    assert_eq!(&*leaf.path, "<inline>");
    assert_eq!(leaf.subject_alt_names[0].text(), "spiffe://td/a");
    assert!(leaf.days_until_expiration(std::time::SystemTime::now()) > 300);
    assert_eq!(
        leaf.days_until_expiration(leaf.expiration_time + Duration::from_secs(1)),
        0
    );

    let swapped = secrets(&[("default", &root), ("ROOTCA", &default)]);
    assert_eq!(
        loader.server(&down, &swapped).unwrap_err(),
        ContextError::Invalid("the secret \"default\" is not a TLS certificate".into())
    );
    let unreadable = upstream("common_tls_context: {validation_context: {trusted_ca: {filename: /nonexistent.pem}}}");
    assert!(matches!(
        loader.client(&unreadable, &both),
        Err(ContextError::Unreadable { .. })
    ));
}

#[test]
fn plaintext_is_a_transport_socket_too() {
    use xds_api::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer as Message;
    for kind in [DOWNSTREAM, UPSTREAM] {
        let parsed = parse::<Message>(kind, "{}").unwrap();
        assert_eq!(parsed.value.get::<RawBuffer>(), Some(&RawBuffer));
    }
}

#[test]
fn a_secret_cannot_be_asked_for_by_an_xdstp_name() {
    let secret = "{name: 'xdstp://a/t/s', sds_config: {ads: {}}}";
    let found = faults::<pb::UpstreamTlsContext>(
        UPSTREAM,
        &format!("common_tls_context: {{tls_certificate_sds_secret_configs: [{secret}]}}"),
    );
    assert_eq!(
        found,
        [
            "common_tls_context.tls_certificate_sds_secret_configs[0].name: is \"xdstp://a/t/s\": resource names of the form \
             xdstp:// are not supported"
        ]
    );
}
