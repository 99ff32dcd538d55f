//! What access logs say of a session.

use std::time::{SystemTime, UNIX_EPOCH};

use telemetry::access_log::TlsField;

use super::Session;
use crate::certificate::CertificateDetails;
use crate::subject_alt_name::SubjectAltName;

pub(super) fn write(session: &Session, field: TlsField, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let peer = session.peer_identity();
    let local = session.local_certificate();
    match field {
        TlsField::Version => text(session.protocol_version(), out),
        TlsField::Cipher => text(session.cipher_suite(), out),
        TlsField::PeerSubject => text(peer.map(|peer| &*peer.subject), out),
        TlsField::PeerIssuer => text(peer.map(|peer| &*peer.issuer), out),
        TlsField::PeerSerial => text(peer.map(|peer| &*peer.serial_number), out),
        TlsField::PeerFingerprint256 => text(peer.map(|peer| peer.sha256_fingerprint()).as_deref(), out),
        TlsField::PeerUriSan => joined(peer.iter().flat_map(|peer| &peer.uri_sans).map(|name| &**name), out),
        TlsField::PeerDnsSan => joined(peer.iter().flat_map(|peer| &peer.dns_sans).map(|name| &**name), out),
        TlsField::PeerIpSan => joined(peer.iter().flat_map(|peer| &peer.ip_sans).map(|name| &**name), out),
        TlsField::PeerEmailSan => joined(peer.iter().flat_map(|peer| &peer.email_sans).map(|name| &**name), out),
        TlsField::PeerCert => text(peer.map(|peer| peer.url_encoded_pem()).as_deref(), out),
        TlsField::PeerCertStart => text(peer.map(|peer| moment(peer.validity().0)).as_deref(), out),
        TlsField::PeerCertEnd => text(peer.map(|peer| moment(peer.validity().1)).as_deref(), out),
        TlsField::LocalSubject => text(local.map(|local| &*local.subject), out),
        TlsField::LocalUriSan => joined(
            names(local.map(|local| &**local), |name| {
                matches!(name, SubjectAltName::Uri(_))
            }),
            out,
        ),
        TlsField::LocalDnsSan => joined(
            names(local.map(|local| &**local), |name| {
                matches!(name, SubjectAltName::Dns(_))
            }),
            out,
        ),
        // TLS 1.3 has no session ids; SHA-1 is not computed.
        TlsField::SessionId | TlsField::PeerFingerprint1 => {}
    }
    out.len() > start
}

fn text(value: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(value.unwrap_or_default().as_bytes());
}

/// Several names with commas between, as Envoy writes them.
fn joined<'n>(names: impl Iterator<Item = &'n str>, out: &mut Vec<u8>) {
    for (position, name) in names.enumerate() {
        if position > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
    }
}

fn names(certificate: Option<&CertificateDetails>, wanted: fn(&SubjectAltName) -> bool) -> impl Iterator<Item = &str> {
    let names = certificate
        .into_iter()
        .flat_map(|certificate| &certificate.subject_alt_names);
    names.filter(move |name| wanted(name)).filter_map(|name| match name {
        SubjectAltName::Uri(name) | SubjectAltName::Dns(name) | SubjectAltName::Email(name) => Some(&**name),
        SubjectAltName::IpAddress(_) => None,
    })
}

/// ISO 8601 with milliseconds, Envoy's default.
fn moment(moment: SystemTime) -> String {
    let seconds = moment.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    telemetry::access_log::iso_8601(UNIX_EPOCH + std::time::Duration::from_secs(seconds))
}
