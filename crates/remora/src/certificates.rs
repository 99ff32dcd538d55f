//! Certificates as `/certs` shows them.

use std::time::SystemTime;

use tls::{CertificateDetails, SubjectAltName};
use xds_api::envoy::admin::v3::{self as admin, SubjectAlternateName, subject_alternate_name::Name};
use xds_api::google::protobuf::Timestamp;

/// The trusted authorities and the own chain of one TLS context.
pub(crate) fn shown(authorities: &[CertificateDetails], chain: &[CertificateDetails]) -> admin::Certificate {
    let now = SystemTime::now();
    let details = |certificates: &[CertificateDetails]| certificates.iter().map(|each| details(each, now)).collect();
    admin::Certificate {
        ca_cert: details(authorities),
        cert_chain: details(chain),
    }
}

fn details(certificate: &CertificateDetails, now: SystemTime) -> admin::CertificateDetails {
    let mut names: Vec<Name> = certificate.subject_alt_names.iter().filter_map(shown_name).collect();
    // As Envoy: by kind, whatever their order in the certificate.
    names.sort_by_key(|name| match name {
        Name::Dns(_) => 0,
        Name::Uri(_) => 1,
        Name::IpAddress(_) => 2,
    });
    admin::CertificateDetails {
        path: certificate.path.to_string(),
        serial_number: certificate.serial_number.to_string(),
        subject_alt_names: names
            .into_iter()
            .map(|name| SubjectAlternateName { name: Some(name) })
            .collect(),
        days_until_expiration: certificate.days_until_expiration(now),
        valid_from: timestamp(certificate.valid_from),
        expiration_time: timestamp(certificate.expiration_time),
        ..admin::CertificateDetails::default()
    }
}

/// Only what the message has a place for.
fn shown_name(name: &SubjectAltName) -> Option<Name> {
    let text = || name.text().into_owned();
    Some(match name {
        SubjectAltName::Dns(_) => Name::Dns(text()),
        SubjectAltName::Uri(_) => Name::Uri(text()),
        SubjectAltName::IpAddress(_) => Name::IpAddress(text()),
        _ => return None,
    })
}

fn timestamp(time: SystemTime) -> Option<Timestamp> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Timestamp {
        seconds: i64::try_from(since.as_secs()).ok()?,
        nanos: 0,
    })
}
