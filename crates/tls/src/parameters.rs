//! Versions, cipher suites and groups: what is configured, intersected with what rustls has.

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, NamedGroup, ProtocolVersion, SupportedCipherSuite, SupportedProtocolVersion};

/// How sessions of a context are protected.
#[derive(Clone, Debug)]
pub struct Parameters {
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) versions: Vec<&'static SupportedProtocolVersion>,
}

impl Default for Parameters {
    /// TLS 1.2 and 1.3, every suite rustls has, X25519 with ML-KEM-768 first.
    fn default() -> Parameters {
        Parameters {
            provider: default_provider(),
            versions: vec![&TLS13, &TLS12],
        }
    }
}

impl PartialEq for Parameters {
    fn eq(&self, other: &Parameters) -> bool {
        let suites = |one: &Parameters| one.provider.cipher_suites.iter().map(|s| s.suite()).collect::<Vec<_>>();
        let groups = |one: &Parameters| {
            one.provider
                .kx_groups
                .iter()
                .map(|group| group.name())
                .collect::<Vec<_>>()
        };
        self.versions == other.versions && suites(self) == suites(other) && groups(self) == groups(other)
    }
}

/// The provider of every context that restricts nothing: one for the process.
pub(crate) fn default_provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider())))
}

/// What a list was narrowed to, where it named things rustls does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Narrowed<T> {
    pub(crate) values: Vec<T>,
    pub(crate) missing: Vec<String>,
}

/// TLS 1.2 suites by the names OpenSSL gives them.
const SUITES: [(&str, CipherSuite); 6] = [
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// Envoy's name of a suite, as in `ssl.ciphers.<name>` and `%DOWNSTREAM_TLS_CIPHER%`.
pub(crate) fn suite_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => SUITES
            .iter()
            .find(|(_, suite)| *suite == other)
            .map_or("UNKNOWN", |(name, _)| name),
    }
}

/// Envoy's name of a version.
pub(crate) fn version_name(version: ProtocolVersion) -> &'static str {
    if version == ProtocolVersion::TLSv1_3 {
        "TLSv1.3"
    } else {
        "TLSv1.2"
    }
}

/// Envoy's name of a group, as in `ssl.curves.<name>`.
pub(crate) fn group_name(group: NamedGroup) -> &'static str {
    match group {
        NamedGroup::X25519 => "X25519",
        NamedGroup::secp256r1 => "P-256",
        NamedGroup::secp384r1 => "P-384",
        NamedGroup::secp521r1 => "P-521",
        NamedGroup::X25519MLKEM768 => "X25519MLKEM768",
        _ => "UNKNOWN",
    }
}

/// The suites for TLS 1.2 in a list as Envoy takes it: names, of which `[A|B]` are equally good.
pub(crate) fn cipher_suites(names: &[String]) -> Narrowed<SupportedCipherSuite> {
    let mut narrowed = Narrowed {
        values: Vec::new(),
        missing: Vec::new(),
    };
    let known = default_provider();
    let alternatives = names
        .iter()
        .flat_map(|entry| entry.trim_start_matches('[').trim_end_matches(']').split('|'))
        .flat_map(|entry| entry.split(':'));
    for name in alternatives {
        let suite = SUITES.iter().find(|(known, _)| *known == name).map(|(_, suite)| *suite);
        let supported = suite.and_then(|suite| known.cipher_suites.iter().find(|known| known.suite() == suite));
        match supported {
            Some(supported) if !narrowed.values.contains(supported) => narrowed.values.push(*supported),
            Some(_) => {}
            None => narrowed.missing.push(name.to_owned()),
        }
    }
    narrowed
}

/// The groups in a list as Envoy takes it.
pub(crate) fn groups(names: &[String]) -> Narrowed<&'static dyn SupportedKxGroup> {
    let mut narrowed = Narrowed {
        values: Vec::new(),
        missing: Vec::new(),
    };
    for name in names.iter().flat_map(|entry| entry.split(':')) {
        let group: &'static dyn SupportedKxGroup = match name {
            "X25519" => aws_lc_rs::kx_group::X25519,
            "P-256" | "prime256v1" | "secp256r1" => aws_lc_rs::kx_group::SECP256R1,
            "P-384" | "secp384r1" => aws_lc_rs::kx_group::SECP384R1,
            "X25519MLKEM768" => aws_lc_rs::kx_group::X25519MLKEM768,
            _ => {
                narrowed.missing.push(name.to_owned());
                continue;
            }
        };
        if !narrowed
            .values
            .iter()
            .any(|known: &&dyn SupportedKxGroup| known.name() == group.name())
        {
            narrowed.values.push(group);
        }
    }
    narrowed
}

/// A provider with these suites for TLS 1.2 and these groups; empty lists restrict nothing.
pub(crate) fn provider(
    suites: &[SupportedCipherSuite],
    groups: &[&'static dyn SupportedKxGroup],
) -> Arc<CryptoProvider> {
    if suites.is_empty() && groups.is_empty() {
        return default_provider();
    }
    let mut provider = (*default_provider()).clone();
    if !suites.is_empty() {
        // As in Envoy, the list says nothing of TLS 1.3, whose suites are all sound.
        provider.cipher_suites.retain(|suite| suite.tls13().is_some());
        provider.cipher_suites.extend_from_slice(suites);
    }
    if !groups.is_empty() {
        provider.kx_groups = groups.to_vec();
    }
    Arc::new(provider)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_suite_list_is_narrowed_to_what_rustls_has() {
        // What istiod sends by default.
        let narrowed = cipher_suites(&strings(&[
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-RSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-RSA-AES128-GCM-SHA256",
            "AES256-GCM-SHA384",
            "AES128-GCM-SHA256",
        ]));
        assert_eq!(narrowed.values.len(), 4);
        assert_eq!(
            narrowed.values[0].suite(),
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        );
        assert_eq!(narrowed.missing, ["AES256-GCM-SHA384", "AES128-GCM-SHA256"]);
        let grouped = cipher_suites(&strings(&[
            "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]",
        ]));
        assert_eq!((grouped.values.len(), grouped.missing.len()), (2, 0));
    }

    #[test]
    fn a_narrowed_provider_keeps_tls_13() {
        let suites = cipher_suites(&strings(&["ECDHE-RSA-AES128-GCM-SHA256"])).values;
        let provider = provider(&suites, &groups(&strings(&["P-256", "P-521"])).values);
        assert_eq!(
            provider
                .cipher_suites
                .iter()
                .filter(|suite| suite.tls13().is_some())
                .count(),
            3
        );
        assert_eq!(provider.cipher_suites.len(), 4);
        assert_eq!(provider.kx_groups.len(), 1);
    }

    #[test]
    fn the_hybrid_group_comes_first_by_default() {
        assert_eq!(default_provider().kx_groups[0].name(), NamedGroup::X25519MLKEM768);
    }
}
