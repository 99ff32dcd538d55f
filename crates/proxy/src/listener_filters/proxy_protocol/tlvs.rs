//! What follows the addresses in version 2: type-length-values, kept by the filter's rules.

use std::sync::Arc;

use config::listener_filters::{ProxyProtocol, TlvLocation, TlvRule};
use config::metadata::Value;

use crate::accepted::{Accepted, Attached};

/// Splits the first off: its type, its value, the rest. `None` when they are at their end, or cut.
fn split(rest: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[kind, high, low], after) = rest.split_first_chunk()?;
    let (value, rest) = after.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
    Some((kind, value, rest))
}

/// Whether these are whole type-length-values.
pub(super) fn are_whole(mut rest: &[u8]) -> bool {
    while let Some((_, _, next)) = split(rest) {
        rest = next;
    }
    rest.is_empty()
}

/// Keeps those that a rule is for. As in Envoy, of two for one key the first counts in dynamic metadata and the last in
/// filter state. What is kept is bounded by the header's length, which has two octets.
pub(super) fn attach(settings: &ProxyProtocol, mut rest: &[u8], accepted: &mut Accepted) {
    let mut attached = accepted.attached.as_deref().cloned();
    while let Some((kind, value, next)) = split(rest) {
        rest = next;
        let Some(rule) = settings.rules.get(&kind) else {
            continue;
        };
        let attached = attached.get_or_insert_default();
        keep(attached, settings.tlv_location, rule, value);
    }
    accepted.attached = attached.map(Arc::new);
}

fn keep(attached: &mut Attached, location: TlvLocation, rule: &TlvRule, value: &[u8]) {
    let text: Arc<str> = if rule.is_base64 {
        xds_api::base64_encode(value).into()
    } else {
        sanitized(value).into()
    };
    let key = Arc::clone(&rule.key);
    match location {
        TlvLocation::DynamicMetadata => {
            let all = &mut attached.dynamic_metadata.filter_metadata;
            let fields = all.entry(Arc::clone(&rule.metadata_namespace)).or_default();
            fields.entry(key).or_insert(Value::String(text));
        }
        TlvLocation::FilterState => {
            let all = &mut attached.filter_state.filter_metadata;
            let fields = all.entry(ProxyProtocol::TLV_FILTER_STATE.into()).or_default();
            fields.insert(key, Value::String(text));
        }
    }
}

/// Text with `!` for every octet that is not part of UTF-8, as Envoy writes it.
fn sanitized(mut octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    loop {
        match std::str::from_utf8(octets) {
            Ok(rest) => {
                text.push_str(rest);
                return text;
            }
            Err(error) => {
                let (valid, rest) = octets.split_at(error.valid_up_to());
                // They were just found to be valid.
                text.push_str(std::str::from_utf8(valid).unwrap_or_default());
                text.push('!');
                octets = &rest[1..];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(namespace: &str, key: &str, is_base64: bool) -> TlvRule {
        TlvRule {
            metadata_namespace: namespace.into(),
            key: key.into(),
            is_base64,
        }
    }

    fn attached(tlv_location: TlvLocation) -> Attached {
        let settings = ProxyProtocol {
            rules: [
                (2, rule("ns", "authority", false)),
                (3, rule("ns", "base", true)),
                (9, rule("other", "nine", false)),
            ]
            .into(),
            tlv_location,
            ..ProxyProtocol::default()
        };
        let mut accepted = Accepted::default();
        let tlvs = b"\x02\0\x03one\x05\0\x01x\x02\0\x03two\x03\0\x02\xff\xfe\x09\0\0";
        assert!(are_whole(tlvs));
        attach(&settings, tlvs, &mut accepted);
        Arc::unwrap_or_clone(accepted.attached.expect("three rules fit"))
    }

    fn text<'a>(metadata: &'a config::metadata::Metadata, namespace: &str, key: &str) -> Option<&'a str> {
        match metadata.value(namespace, &[key])? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    #[test]
    fn the_first_of_two_is_kept_in_metadata_and_the_last_in_filter_state() {
        let metadata = attached(TlvLocation::DynamicMetadata).dynamic_metadata;
        assert_eq!(text(&metadata, "ns", "authority"), Some("one"));
        assert_eq!(text(&metadata, "ns", "base"), Some("//4="));
        assert_eq!(text(&metadata, "other", "nine"), Some(""));
        let state = attached(TlvLocation::FilterState).filter_state;
        let object = ProxyProtocol::TLV_FILTER_STATE;
        assert_eq!(text(&state, object, "authority"), Some("two"));
        assert_eq!(text(&state, object, "nine"), Some(""));
    }

    #[test]
    fn nothing_is_attached_where_no_rule_fits() {
        let settings = ProxyProtocol {
            rules: [(2, rule("ns", "authority", false))].into(),
            ..ProxyProtocol::default()
        };
        let mut accepted = Accepted::default();
        attach(&settings, b"\x05\0\x01x", &mut accepted);
        assert_eq!(accepted.attached, None);
    }

    #[test]
    fn octets_that_are_no_text_become_exclamation_marks() {
        for (octets, expected) in [
            (&b"abc\xffdef\xc3"[..], "abc!def!"),
            (b"\xed\xa0\x80\xf0\x9f\x98\x80\xf0\x9f", "!!!\u{1f600}!!"),
            (b"", ""),
        ] {
            assert_eq!(sanitized(octets), expected);
        }
    }
}
