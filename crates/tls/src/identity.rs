//! Who the peer is: what access logs and `x-forwarded-client-cert` say about its certificate.

use std::fmt::Write;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, RelativeDistinguishedName, X509Certificate, X509Name};

use crate::certificate::{CertificateDetails, hex, serial_number, subject_alt_names};
use crate::error::{TlsError, VerifyFailure};
use crate::subject_alt_name::SubjectAltName;

/// The verified certificate of a peer. Connections from one workload share it.
#[derive(Debug)]
pub struct PeerIdentity {
    /// The chain as the peer sent it, leaf first, in DER.
    chain: Box<[CertificateDer<'static>]>,
    /// URI names, such as `spiffe://cluster.local/ns/default/sa/frontend`.
    pub uri_sans: Box<[Box<str>]>,
    /// DNS names.
    pub dns_sans: Box<[Box<str>]>,
    /// Mail names.
    pub email_sans: Box<[Box<str>]>,
    /// Addresses, as text.
    pub ip_sans: Box<[Box<str>]>,
    /// Subject, written as RFC 2253 has it (last part first).
    pub subject: Box<str>,
    /// Issuer, written like the subject.
    pub issuer: Box<str>,
    /// Serial number in lower-case hex.
    pub serial_number: Box<str>,
    /// Whether a trusted authority vouches for it, or it was merely presented.
    pub verified: bool,
    sha256: [u8; 32],
    leaf: CertificateDetails,
}

impl PeerIdentity {
    /// Reads the peer's certificate. `None` when the leaf cannot be read, which a completed handshake rules out.
    pub(crate) fn read(chain: &[CertificateDer<'_>], verified: bool) -> Option<PeerIdentity> {
        let der = chain.first()?;
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = subject_alt_names(&certificate);
        let of = |wanted: fn(&SubjectAltName) -> bool| -> Box<[Box<str>]> {
            names
                .iter()
                .filter(|name| wanted(name))
                .map(|name| name.text().into())
                .collect()
        };
        Some(PeerIdentity {
            uri_sans: of(|name| matches!(name, SubjectAltName::Uri(_))),
            dns_sans: of(|name| matches!(name, SubjectAltName::Dns(_))),
            email_sans: of(|name| matches!(name, SubjectAltName::Email(_))),
            ip_sans: of(|name| matches!(name, SubjectAltName::IpAddress(_))),
            subject: rfc2253(certificate.subject()).into(),
            issuer: rfc2253(certificate.issuer()).into(),
            serial_number: serial_number(certificate.raw_serial()),
            verified,
            sha256: fingerprint(der),
            leaf: CertificateDetails::read(der, &"".into()).ok()?,
            chain: chain.iter().map(|der| der.clone().into_owned()).collect(),
        })
    }

    /// SHA-256 of the leaf in DER, in lower-case hex: `Hash=` of `x-forwarded-client-cert`.
    pub fn sha256_fingerprint(&self) -> String {
        hex(&self.sha256)
    }

    /// When the leaf becomes and ceases to be valid.
    pub fn validity(&self) -> (SystemTime, SystemTime) {
        (self.leaf.valid_from, self.leaf.expiration_time)
    }

    /// Whether the leaf is valid now.
    pub(crate) fn still_valid(&self) -> Result<(), TlsError> {
        let now = SystemTime::now();
        if now < self.leaf.valid_from || now > self.leaf.expiration_time {
            return Err(TlsError::Verify(VerifyFailure::Untrusted("certificate expired".into())));
        }
        Ok(())
    }

    /// The leaf as PEM, percent-encoded: `Cert=` of `x-forwarded-client-cert`.
    pub fn url_encoded_pem(&self) -> String {
        let mut out = String::new();
        self.chain
            .iter()
            .take(1)
            .for_each(|der| write_encoded_pem(der, &mut out));
        out
    }

    /// The whole chain as PEM, percent-encoded: `Chain=` of `x-forwarded-client-cert`.
    pub fn url_encoded_pem_chain(&self) -> String {
        let mut out = String::new();
        self.chain.iter().for_each(|der| write_encoded_pem(der, &mut out));
        out
    }
}

/// SHA-256 of DER.
pub(crate) fn fingerprint(der: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, der).as_ref());
    bytes
}

/// PEM of a certificate with everything percent-encoded that is not unreserved (RFC 3986, section 2.3).
fn write_encoded_pem(der: &[u8], out: &mut String) {
    const LINE: usize = 48;
    out.reserve(der.len() * 2);
    out.push_str("-----BEGIN%20CERTIFICATE-----%0A");
    for line in der.chunks(LINE) {
        for triple in line.chunks(3) {
            let word = triple
                .iter()
                .chain(&[0; 2])
                .take(3)
                .fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
            for position in 0..4 {
                if position > triple.len() {
                    out.push_str("%3D");
                    continue;
                }
                let index = (word >> (18 - 6 * position)) & 63;
                match b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[index as usize] {
                    b'+' => out.push_str("%2B"),
                    b'/' => out.push_str("%2F"),
                    letter => out.push(char::from(letter)),
                }
            }
        }
        out.push_str("%0A");
    }
    out.push_str("-----END%20CERTIFICATE-----%0A");
}

/// A name as RFC 2253 writes it: last part first, `+` inside a part, special characters escaped.
pub(crate) fn rfc2253(name: &X509Name<'_>) -> String {
    let mut out = String::new();
    for (position, part) in name.iter().collect::<Vec<_>>().into_iter().rev().enumerate() {
        if position > 0 {
            out.push(',');
        }
        write_part(part, &mut out);
    }
    out
}

fn write_part(part: &RelativeDistinguishedName<'_>, out: &mut String) {
    for (position, attribute) in part.iter().enumerate() {
        if position > 0 {
            out.push('+');
        }
        write_attribute(attribute, out);
    }
}

fn write_attribute(attribute: &AttributeTypeAndValue<'_>, out: &mut String) {
    let oid = attribute.attr_type().to_id_string();
    let short = SHORT_NAMES.iter().find(|(id, _)| *id == oid).map(|(_, name)| *name);
    out.push_str(short.unwrap_or(&oid));
    out.push('=');
    match attribute.as_str() {
        Ok(value) if short.is_some() => write_escaped(value, out),
        _ => {
            // A value of an unknown kind is written as its DER in hex (RFC 2253, section 2.4).
            out.push('#');
            out.push_str(&hex(attribute.attr_value().data));
        }
    }
}

/// Attribute types by the short names OpenSSL writes.
const SHORT_NAMES: [(&str, &str); 14] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.42", "GN"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// RFC 2253, section 2.4; what is not printable ASCII is written as escaped UTF-8 bytes, as OpenSSL does.
fn write_escaped(value: &str, out: &mut String) {
    for (at, byte) in value.bytes().enumerate() {
        let at_edge = at == 0 || at + 1 == value.len();
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b'#' if at == 0 => out.push_str("\\#"),
            b' ' if at_edge => out.push_str("\\ "),
            0x20..0x7f => out.push(char::from(byte)),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(value: &str) -> String {
        let mut out = String::new();
        write_escaped(value, &mut out);
        out
    }

    #[test]
    fn special_characters_of_a_name_are_escaped() {
        assert_eq!(
            escaped("Acme, Inc. + \"x\" <y>; #1 "),
            "Acme\\, Inc. \\+ \\\"x\\\" \\<y\\>\\; #1\\ "
        );
        assert_eq!(escaped("#a"), "\\#a");
        assert_eq!(escaped("é\n"), "\\C3\\A9\\0A");
    }

    #[test]
    fn a_chain_is_written_as_encoded_pem() {
        let mut out = String::new();
        write_encoded_pem(&[0xff, 0xef, 0xbe, 0x00], &mut out);
        assert_eq!(
            out,
            "-----BEGIN%20CERTIFICATE-----%0A%2F%2B%2B%2BAA%3D%3D%0A-----END%20CERTIFICATE-----%0A"
        );
    }
}
