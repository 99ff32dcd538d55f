//! Certificates and keys as secrets hold them, and what `/certs` shows of them.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::identity::rfc2253;
use crate::subject_alt_name::SubjectAltName;

/// What `/certs` shows of one certificate, and the names a server certificate is chosen by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateDetails {
    /// Where it came from: a path, or `<inline>` as Envoy writes it.
    pub path: Arc<str>,
    /// Serial number in lower-case hex, without leading zeros.
    pub serial_number: Box<str>,
    /// Subject alternative names, in the order of the certificate.
    pub subject_alt_names: Box<[SubjectAltName]>,
    /// Subject, written as RFC 2253 has it.
    pub subject: Box<str>,
    /// Common name of the subject, where it has one.
    pub common_name: Option<Box<str>>,
    /// First moment of its validity.
    pub valid_from: SystemTime,
    /// Last moment of its validity.
    pub expiration_time: SystemTime,
}

impl CertificateDetails {
    /// Reads them from DER.
    pub(crate) fn read(der: &[u8], path: &Arc<str>) -> Result<CertificateDetails, String> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|error| format!("is no X.509 certificate: {error}"))?;
        let common_name = certificate
            .subject()
            .iter_common_name()
            .next()
            .and_then(|name| name.as_str().ok());
        let moment = |seconds: i64| match u64::try_from(seconds) {
            Ok(seconds) => UNIX_EPOCH + Duration::from_secs(seconds),
            Err(_) => UNIX_EPOCH,
        };
        Ok(CertificateDetails {
            path: Arc::clone(path),
            serial_number: serial_number(certificate.raw_serial()),
            subject_alt_names: subject_alt_names(&certificate).into(),
            subject: rfc2253(certificate.subject()).into(),
            common_name: common_name.map(Into::into),
            valid_from: moment(certificate.validity().not_before.timestamp()),
            expiration_time: moment(certificate.validity().not_after.timestamp()),
        })
    }

    /// Whole days until it expires; 0 once it has, as Envoy shows it.
    pub fn days_until_expiration(&self, now: SystemTime) -> u64 {
        self.expiration_time
            .duration_since(now)
            .map_or(0, |left| left.as_secs() / 86_400)
    }
}

/// The names of a certificate that can be matched on, in its order.
pub(crate) fn subject_alt_names(certificate: &X509Certificate<'_>) -> Vec<SubjectAltName> {
    let names: &[GeneralName<'_>] = match certificate.subject_alternative_name() {
        Ok(Some(extension)) => &extension.value.general_names,
        Ok(None) | Err(_) => &[],
    };
    names.iter().filter_map(SubjectAltName::from_general_name).collect()
}

/// Serial number as Envoy writes it: lower-case hex, two digits a byte, without leading bytes of zero.
pub(crate) fn serial_number(bytes: &[u8]) -> Box<str> {
    let significant = bytes.iter().position(|byte| *byte != 0);
    significant.map_or("0".into(), |first| hex(&bytes[first..]).into())
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// A certificate chain with its private key, ready to sign.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) certified: Arc<CertifiedKey>,
    pub(crate) chain: Box<[CertificateDetails]>,
    /// The first of the chain, to be shared by sessions.
    pub(crate) leaf: Arc<CertificateDetails>,
}

impl Identity {
    /// Reads a PEM chain, leaf first, and the PEM key that belongs to it.
    pub(crate) fn read(
        chain: &[u8],
        path: &Arc<str>,
        key: &[u8],
        provider: &CryptoProvider,
    ) -> Result<Identity, String> {
        let chain = certificates(chain).map_err(|reason| format!("certificate_chain {reason}"))?;
        let details = chain
            .iter()
            .map(|der| CertificateDetails::read(der, path))
            .collect::<Result<Box<[_]>, _>>();
        let details = details.map_err(|reason| format!("certificate_chain {reason}"))?;
        // `BEGIN ENCRYPTED PRIVATE KEY` and the older `Proc-Type: 4,ENCRYPTED`.
        if key.windows(9).any(|window| window == b"ENCRYPTED") {
            return Err("private_key is encrypted, which is not supported".to_owned());
        }
        // `certificates` gives at least one.
        let leaf = Arc::new(
            details
                .first()
                .cloned()
                .ok_or("certificate_chain holds no PEM certificate")?,
        );
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| format!("private_key is no PEM private key: {error}"))?;
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|error| format!("private_key cannot be used: {error}"))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            // A key that does not tell its public half cannot be compared; a handshake would show it.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(_) => {
                return Err("private_key does not belong to the first certificate of certificate_chain".to_owned());
            }
        }
        Ok(Identity {
            certified: Arc::new(certified),
            chain: details,
            leaf,
        })
    }
}

/// Every certificate of a PEM text; at least one.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut certificates = Vec::new();
    for certificate in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        match certificate.map_err(|error| format!("is no PEM: {error}"))? {
            (SectionKind::Certificate, der) => certificates.push(CertificateDer::from(der)),
            // A chain file may hold the key too; what is not a certificate is skipped, as OpenSSL does.
            _ => continue,
        }
    }
    if certificates.is_empty() {
        return Err("holds no PEM certificate".to_owned());
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::serial_number;

    #[test]
    fn a_serial_number_is_written_in_whole_bytes() {
        for (bytes, text) in [
            (&[0x03, 0x68][..], "0368"),
            (&[0, 0xff, 0], "ff00"),
            (&[0, 0], "0"),
            (&[], "0"),
        ] {
            assert_eq!(&*serial_number(bytes), text, "{bytes:?}");
        }
    }
}
