//! Subject alternative names and what they must be like
//! (`envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use config::string_matcher::{StringMatcher, StringPattern};
use x509_parser::extensions::GeneralName;

/// The kinds of names a matcher can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SanType {
    /// A mail address (RFC 822 name).
    Email,
    /// A host name, possibly with a wildcard as its first label.
    Dns,
    /// A URI, such as a SPIFFE identity.
    Uri,
    /// An address; it is compared in its text form.
    IpAddress,
}

/// One condition on a certificate's names. A certificate is accepted when any name fulfils any condition.
#[derive(Clone, Debug, PartialEq)]
pub struct SanMatcher {
    /// The kind of name.
    pub san_type: SanType,
    /// What it must be like.
    pub matcher: StringMatcher,
}

/// A subject alternative name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectAltName {
    /// A mail address.
    Email(Box<str>),
    /// A host name.
    Dns(Box<str>),
    /// A URI.
    Uri(Box<str>),
    /// An address.
    IpAddress(IpAddr),
}

impl SubjectAltName {
    /// The name, unless it is of a kind nobody matches on.
    pub(crate) fn from_general_name(name: &GeneralName<'_>) -> Option<SubjectAltName> {
        match name {
            GeneralName::RFC822Name(name) => Some(SubjectAltName::Email((*name).into())),
            GeneralName::DNSName(name) => Some(SubjectAltName::Dns((*name).into())),
            GeneralName::URI(name) => Some(SubjectAltName::Uri((*name).into())),
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
                let v6 = <[u8; 16]>::try_from(*bytes).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)));
                v4.or(v6).ok().map(SubjectAltName::IpAddress)
            }
            _ => None,
        }
    }

    /// The name as text.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        match self {
            SubjectAltName::Email(name) | SubjectAltName::Dns(name) | SubjectAltName::Uri(name) => (&**name).into(),
            SubjectAltName::IpAddress(address) => address.to_string().into(),
        }
    }
}

impl SanMatcher {
    /// Whether this name fulfils the condition.
    pub fn matches(&self, name: &SubjectAltName) -> bool {
        match (self.san_type, name) {
            // Only a whole name can be compared with a wildcard (Envoy: "it should be configured with exact
            // match type"); other patterns see the wildcard's text.
            (SanType::Dns, SubjectAltName::Dns(name)) => match &self.matcher.pattern {
                StringPattern::Exact(wanted) => dns_name_matches(name, wanted),
                _ => self.matcher.matches(name.as_bytes()),
            },
            (SanType::Email, SubjectAltName::Email(name)) | (SanType::Uri, SubjectAltName::Uri(name)) => {
                self.matcher.matches(name.as_bytes())
            }
            (SanType::IpAddress, SubjectAltName::IpAddress(address)) => {
                self.matcher.matches(address.to_string().as_bytes())
            }
            _ => false,
        }
    }
}

/// Whether a DNS name of a certificate covers a host name: equal without regard to case, or a wildcard
/// that stands for exactly one label (RFC 6125, section 6.4.3; no partial wildcards).
pub(crate) fn dns_name_matches(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let Some(domain) = pattern.strip_prefix("*.") else {
        return false;
    };
    let Some((label, rest)) = host.split_once('.') else {
        return false;
    };
    !label.is_empty() && domain.contains('.') && rest.eq_ignore_ascii_case(domain)
}

/// The trust domain of a SPIFFE identity: `td` of `spiffe://td/ns/a/sa/b` (SPIFFE-ID, section 2.1). `None`
/// when it is no SPIFFE identity.
pub fn spiffe_trust_domain(uri: &str) -> Option<&str> {
    let rest = uri.strip_prefix("spiffe://")?;
    let (domain, _path) = rest.split_once('/').unwrap_or((rest, ""));
    let valid = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    (!domain.is_empty() && domain.bytes().all(valid)).then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(pattern: StringPattern) -> SanMatcher {
        SanMatcher {
            san_type: SanType::Dns,
            matcher: StringMatcher {
                pattern,
                ignore_case: false,
            },
        }
    }

    #[test]
    fn a_wildcard_stands_for_one_label_and_only_for_whole_names() {
        let exact = dns(StringPattern::Exact("api.example.com".into()));
        for (name, expected) in [
            ("api.example.com", true),
            ("API.Example.com", true),
            ("*.example.com", true),
            ("*.com", false),
            ("*", false),
            ("*.api.example.com", false),
            ("example.com", false),
            ("a*.example.com", false),
        ] {
            assert_eq!(exact.matches(&SubjectAltName::Dns(name.into())), expected, "{name}");
        }
        assert!(
            !dns(StringPattern::Exact("a.b.example.com".into())).matches(&SubjectAltName::Dns("*.example.com".into()))
        );
        assert!(
            dns(StringPattern::Suffix(".example.com".into())).matches(&SubjectAltName::Dns("*.example.com".into()))
        );
    }

    #[test]
    fn a_condition_looks_at_names_of_its_own_kind_only() {
        let uri = SanMatcher {
            san_type: SanType::Uri,
            matcher: StringMatcher::exact("spiffe://td/a"),
        };
        assert!(uri.matches(&SubjectAltName::Uri("spiffe://td/a".into())));
        assert!(!uri.matches(&SubjectAltName::Uri("spiffe://td/A".into())));
        assert!(!uri.matches(&SubjectAltName::Dns("spiffe://td/a".into())));
        let ip = SanMatcher {
            san_type: SanType::IpAddress,
            matcher: StringMatcher::exact("10.0.0.1"),
        };
        assert!(ip.matches(&SubjectAltName::IpAddress(IpAddr::from([10, 0, 0, 1]))));
        assert!(!ip.matches(&SubjectAltName::Dns("10.0.0.1".into())));
    }

    #[test]
    fn a_trust_domain_is_read_from_spiffe_identities_only() {
        assert_eq!(
            spiffe_trust_domain("spiffe://cluster.local/ns/a/sa/b"),
            Some("cluster.local")
        );
        assert_eq!(spiffe_trust_domain("spiffe://td"), Some("td"));
        for other in [
            "https://td/a",
            "spiffe:///a",
            "spiffe://TD/a",
            "spiffe://td:80/a",
            "spiffe://u@td/a",
            "",
        ] {
            assert_eq!(spiffe_trust_domain(other), None, "{other}");
        }
    }
}
