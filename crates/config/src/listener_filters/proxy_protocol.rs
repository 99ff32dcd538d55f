//! The listener filter for the PROXY protocol (`envoy.extensions.filters.listener.proxy_protocol.v3`).

use std::collections::BTreeMap;
use std::sync::Arc;

use xds_api::envoy::config::core::v3::proxy_protocol_config::Version;
use xds_api::envoy::extensions::filters::listener::proxy_protocol::v3 as pb;
use xds_api::envoy::extensions::filters::listener::proxy_protocol::v3::proxy_protocol as message;

use crate::context::Context;
use crate::rejected::Reported;
use crate::shared_str::{non_empty, shared};

/// `envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProxyProtocol {
    /// Whether connections without it are let through as they are.
    pub allow_requests_without_proxy_protocol: bool,
    /// Whether version 1, the text, is refused.
    pub disallows_v1: bool,
    /// Whether version 2, the binary one, is refused.
    pub disallows_v2: bool,
    /// Prefix of its statistics.
    pub stat_prefix: Option<Arc<str>>,
    /// The type-length-values of version 2 that are kept, by type. Of two rules for one type the later counts.
    pub rules: BTreeMap<u8, TlvRule>,
    /// Where they are kept.
    pub tlv_location: TlvLocation,
}

/// How the value of one type is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlvRule {
    /// The namespace in dynamic metadata; filter state has none.
    pub metadata_namespace: Arc<str>,
    /// Its name there. Empty when the rule names none, as in Envoy.
    pub key: Arc<str>,
    /// Whether it is kept in base64, and not as a text with `!` for every octet that is not UTF-8.
    pub is_base64: bool,
}

/// Where type-length-values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlvLocation {
    /// In the connection's dynamic metadata.
    #[default]
    DynamicMetadata,
    /// In its filter state, as the one object [`ProxyProtocol::TLV_FILTER_STATE`].
    FilterState,
}

impl ProxyProtocol {
    /// The namespace of metadata whose rule names none.
    pub const METADATA_NAMESPACE: &'static str = "envoy.filters.listener.proxy_protocol";
    /// Name of the object in filter state.
    pub const TLV_FILTER_STATE: &'static str = "envoy.network.proxy_protocol.tlv";

    pub(super) fn parse(context: &mut Context<'_>, message: &pb::ProxyProtocol) -> Result<Self, Reported> {
        context.check(message);
        let disallowed: Result<Vec<Version>, _> = context.each(
            "disallowed_versions",
            &message.disallowed_versions,
            |context, version| {
                Version::try_from(*version)
                    .map_err(|_| context.reject(format!("is {version}, which is no value of this enum")))
            },
        );
        let rules = context.each("rules", &message.rules, TlvRule::parse);
        let passed_on = message.pass_through_tlvs.as_ref();
        let passed_on = context.optional("pass_through_tlvs", passed_on, |context, tlvs| {
            context.each::<_, _, Vec<u8>>("tlv_type", &tlvs.tlv_type, |context, kind| {
                u8::try_from(*kind).map_err(|_| context.reject(format!("is {kind}, expected 0 to 255")))
            })
        });
        let location = context.enumeration::<message::TlvLocation>("tlv_location", message.tlv_location);
        passed_on?;
        let disallowed = disallowed?;
        Ok(Self {
            allow_requests_without_proxy_protocol: message.allow_requests_without_proxy_protocol,
            disallows_v1: disallowed.contains(&Version::V1),
            disallows_v2: disallowed.contains(&Version::V2),
            stat_prefix: non_empty(&message.stat_prefix),
            rules: rules?,
            tlv_location: match location? {
                message::TlvLocation::DynamicMetadata => TlvLocation::DynamicMetadata,
                message::TlvLocation::FilterState => TlvLocation::FilterState,
            },
        })
    }
}

impl TlvRule {
    fn parse(context: &mut Context<'_>, rule: &message::Rule) -> Result<(u8, Self), Reported> {
        context.check(rule);
        let kind = u8::try_from(rule.tlv_type)
            .map_err(|_| context.reject_field("tlv_type", format!("is {}, expected 0 to 255", rule.tlv_type)));
        let kept = context.optional("on_tlv_present", rule.on_tlv_present.as_ref(), Self::parse_kept)?;
        let nameless = || Self {
            metadata_namespace: shared(ProxyProtocol::METADATA_NAMESPACE),
            key: shared(""),
            is_base64: false,
        };
        Ok((kind?, kept.unwrap_or_else(nameless)))
    }

    fn parse_kept(context: &mut Context<'_>, pair: &message::KeyValuePair) -> Result<Self, Reported> {
        use message::key_value_pair::ValueStringEncoding as Encoding;
        context.check(pair);
        let encoding = context.enumeration::<Encoding>("value_string_encoding", pair.value_string_encoding);
        let namespace = non_empty(&pair.metadata_namespace);
        Ok(Self {
            metadata_namespace: namespace.unwrap_or_else(|| shared(ProxyProtocol::METADATA_NAMESPACE)),
            key: context.text("key", &pair.key)?,
            is_base64: encoding? == Encoding::Base64,
        })
    }
}
