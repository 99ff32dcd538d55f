//! The `ssl.*` statistics of a session.

use telemetry::stats::{Counter, Local, ssl};

use crate::session::Session;

pub(crate) fn count_handshake(session: &Session, stats: Local<'_>) {
    stats.add(ssl::HANDSHAKE, 1);
    if session.resumed() {
        stats.add(ssl::SESSION_REUSED, 1);
    }
    if session.peer_identity().is_none() {
        stats.add(ssl::NO_CERTIFICATE, 1);
    }
    let named = [
        session.cipher_suite().and_then(cipher),
        session.key_exchange_group().and_then(group),
        session.protocol_version().map(version),
    ];
    named.into_iter().flatten().for_each(|counter| stats.add(counter, 1));
}

fn version(name: &str) -> Counter {
    if name == "TLSv1.3" {
        ssl::VERSIONS_TLSV1_3
    } else {
        ssl::VERSIONS_TLSV1_2
    }
}

fn group(name: &str) -> Option<Counter> {
    Some(match name {
        "X25519" => ssl::CURVES_X25519,
        "P-256" => ssl::CURVES_P_256,
        "P-384" => ssl::CURVES_P_384,
        "X25519MLKEM768" => ssl::CURVES_X25519MLKEM768,
        _ => return None,
    })
}

fn cipher(name: &str) -> Option<Counter> {
    Some(match name {
        "TLS_AES_128_GCM_SHA256" => ssl::CIPHERS_TLS_AES_128_GCM_SHA256,
        "TLS_AES_256_GCM_SHA384" => ssl::CIPHERS_TLS_AES_256_GCM_SHA384,
        "TLS_CHACHA20_POLY1305_SHA256" => ssl::CIPHERS_TLS_CHACHA20_POLY1305_SHA256,
        "ECDHE-ECDSA-AES128-GCM-SHA256" => ssl::CIPHERS_ECDHE_ECDSA_AES128_GCM_SHA256,
        "ECDHE-ECDSA-AES256-GCM-SHA384" => ssl::CIPHERS_ECDHE_ECDSA_AES256_GCM_SHA384,
        "ECDHE-ECDSA-CHACHA20-POLY1305" => ssl::CIPHERS_ECDHE_ECDSA_CHACHA20_POLY1305,
        "ECDHE-RSA-AES128-GCM-SHA256" => ssl::CIPHERS_ECDHE_RSA_AES128_GCM_SHA256,
        "ECDHE-RSA-AES256-GCM-SHA384" => ssl::CIPHERS_ECDHE_RSA_AES256_GCM_SHA384,
        "ECDHE-RSA-CHACHA20-POLY1305" => ssl::CIPHERS_ECDHE_RSA_CHACHA20_POLY1305,
        _ => return None,
    })
}
