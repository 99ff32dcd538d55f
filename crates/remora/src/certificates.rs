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
    let names = certificate.subject_alt_names.iter().map(|name| {
        let text = name.text().into_owned();
        let name = match name {
            SubjectAltName::Uri(_) => Name::Uri(text),
            SubjectAltName::IpAddress(_) => Name::IpAddress(text),
            _ => Name::Dns(text),
        };
        SubjectAlternateName { name: Some(name) }
    });
    admin::CertificateDetails {
        path: certificate.path.to_string(),
        serial_number: certificate.serial_number.to_string(),
        subject_alt_names: names.collect(),
        days_until_expiration: certificate.days_until_expiration(now),
        valid_from: timestamp(certificate.valid_from),
        expiration_time: timestamp(certificate.expiration_time),
        ..admin::CertificateDetails::default()
    }
}

fn timestamp(time: SystemTime) -> Option<Timestamp> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Timestamp {
        seconds: i64::try_from(since.as_secs()).ok()?,
        nanos: 0,
    })
}
