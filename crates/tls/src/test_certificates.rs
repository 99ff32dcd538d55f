//! Certificates and settings for tests.

use std::sync::Arc;

use config::data_source::DataSource;
use config::string_matcher::StringMatcher;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType as RcgenSan, SerialNumber, date_time_ymd,
};

use crate::parameters::Parameters;
use crate::settings::{
    CertificateValidationContext, Certificates, CommonTlsContext, DownstreamTlsContext, TlsCertificate,
    UpstreamTlsContext, Validation,
};
use crate::subject_alt_name::{SanMatcher, SanType};
use crate::{ClientContext, Loader, ServerContext};

/// An authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate with its key.
pub(crate) struct Leaf {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// An authority below this one.
    pub(crate) fn intermediate(&self, name: &str) -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Authority {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// A certificate for URIs and DNS names, told apart by a scheme.
    pub(crate) fn leaf(&self, names: &[&str]) -> Leaf {
        self.leaf_with(names, |_| {})
    }

    pub(crate) fn leaf_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::OrganizationName, "Acme, Inc.");
        params
            .distinguished_name
            .push(DnType::CommonName, names.first().copied().unwrap_or("nobody"));
        params.subject_alt_names = names.iter().map(|name| san(name)).collect();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Leaf {
            certificate,
            key: key.serialize_pem(),
        }
    }

    /// A revocation list that names this serial number.
    pub(crate) fn revocation_list(&self, serial: u64) -> String {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&self.issuer)
        .unwrap()
        .pem()
        .unwrap()
    }
}

fn san(name: &str) -> RcgenSan {
    if name.contains("://") {
        RcgenSan::URI(name.try_into().unwrap())
    } else if let Ok(address) = name.parse() {
        RcgenSan::IpAddress(address)
    } else {
        RcgenSan::DnsName(name.try_into().unwrap())
    }
}

impl Leaf {
    pub(crate) fn settings(&self) -> TlsCertificate {
        TlsCertificate {
            certificate_chain: inline(&self.certificate),
            private_key: inline(&self.key),
        }
    }
}

pub(crate) fn inline(text: &str) -> DataSource {
    DataSource::Inline(text.as_bytes().into())
}

pub(crate) fn uri(value: &str) -> SanMatcher {
    SanMatcher {
        san_type: SanType::Uri,
        matcher: StringMatcher::exact(value),
    }
}

/// Trust in an authority, and any of these names.
pub(crate) fn trust(authority: &Authority, san_matchers: Vec<SanMatcher>) -> Validation {
    Validation::Inline(Box::new(CertificateValidationContext {
        trusted_ca: Some(inline(&authority.pem)),
        san_matchers,
        ..CertificateValidationContext::default()
    }))
}

pub(crate) fn common(leaf: Option<&Leaf>, validation: Validation) -> CommonTlsContext {
    CommonTlsContext {
        parameters: Parameters::default(),
        certificates: Certificates::Inline(leaf.map(Leaf::settings).into_iter().collect()),
        validation,
        alpn_protocols: Vec::new(),
    }
}

pub(crate) fn downstream(leaf: &Leaf, validation: Validation) -> DownstreamTlsContext {
    DownstreamTlsContext {
        require_client_certificate: validation != Validation::None,
        common: common(Some(leaf), validation),
        disable_stateless_session_resumption: false,
        session_timeout: None,
        full_scan_certs_on_sni_mismatch: false,
    }
}

pub(crate) fn upstream(leaf: Option<&Leaf>, validation: Validation) -> UpstreamTlsContext {
    UpstreamTlsContext {
        common: common(leaf, validation),
        sni: None,
        auto_host_sni: false,
        auto_sni_san_validation: false,
        max_session_keys: 4,
    }
}

pub(crate) fn server(settings: &DownstreamTlsContext) -> Arc<ServerContext> {
    Loader::new().server(settings, &|_| None).unwrap()
}

pub(crate) fn client(settings: &UpstreamTlsContext) -> Arc<ClientContext> {
    Loader::new().client(settings, &|_| None).unwrap()
}
