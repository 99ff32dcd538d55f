//! The value of `x-forwarded-client-cert` (Envoy: HTTP header manipulation,
//! x-forwarded-client-cert): who called, as the handshake proved it.

use config::http_connection_manager::SetCurrentClientCertDetails;
use tls::PeerIdentity;

/// Appends one element: `By=...;Hash=...;Subject="...";URI=...;DNS=...`.
pub(crate) fn write(
    out: &mut Vec<u8>,
    identity: &PeerIdentity,
    by: Option<&str>,
    details: SetCurrentClientCertDetails,
) {
    let mut pair = |key: &str, value: &[u8], quoted: bool| {
        if !out.is_empty() {
            out.push(b';');
        }
        out.extend_from_slice(key.as_bytes());
        out.push(b'=');
        if quoted {
            out.push(b'"');
        }
        out.extend_from_slice(value);
        if quoted {
            out.push(b'"');
        }
    };
    if let Some(by) = by {
        pair("By", by.as_bytes(), false);
    }
    pair("Hash", identity.sha256_fingerprint().as_bytes(), false);
    if details.cert {
        pair("Cert", identity.url_encoded_pem().as_bytes(), true);
    }
    if details.chain {
        pair("Chain", identity.url_encoded_pem_chain().as_bytes(), true);
    }
    if details.subject {
        pair("Subject", identity.subject.as_bytes(), true);
    }
    if details.uri {
        for uri in &identity.uri_sans {
            pair("URI", uri.as_bytes(), false);
        }
    }
    if details.dns {
        for name in &identity.dns_sans {
            pair("DNS", name.as_bytes(), false);
        }
    }
}
