//! Certificates and conditions on the peer's: the messages both contexts and secrets hold.

use config::data_source::DataSource;
use config::string_matcher::StringMatcher;
use config::{Context, Reported};
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::extensions::transport_sockets::tls::v3 as pb;

use crate::certificate::Identity;
use crate::parameters::default_provider;
use crate::settings::support::{check_certificate, check_san, check_validation};
use crate::settings::{CertificateValidationContext, TlsCertificate};
use crate::subject_alt_name::{SanMatcher, SanType};
use crate::validation::{Roots, revocation_lists};

/// A data source in which a directory named beside it is the one that is watched.
fn data_source(
    context: &mut Context<'_>,
    message: &core::DataSource,
    directory: Option<&core::WatchedDirectory>,
) -> Result<DataSource, Reported> {
    let mut source = DataSource::parse(context, message)?;
    if let (DataSource::Filename { watched_directory, .. }, Some(directory)) = (&mut source, directory)
        && !directory.path.is_empty()
    {
        *watched_directory = Some(directory.path.as_str().into());
    }
    Ok(source)
}

pub(super) fn certificate(context: &mut Context<'_>, message: &pb::TlsCertificate) -> Result<TlsCertificate, Reported> {
    check_certificate(context, message);
    let directory = message.watched_directory.as_ref();
    let chain = context.required(
        "certificate_chain",
        message.certificate_chain.as_ref(),
        |context, message| data_source(context, message, directory),
    );
    let key = context.required("private_key", message.private_key.as_ref(), |context, message| {
        data_source(context, message, directory)
    });
    let certificate = TlsCertificate {
        certificate_chain: chain?,
        private_key: key?,
    };
    if let (Some(chain), Some(key)) = (certificate.certificate_chain.inline(), certificate.private_key.inline()) {
        Identity::read(chain, &"<inline>".into(), key, &default_provider()).map_err(|reason| context.reject(reason))?;
    }
    Ok(certificate)
}

/// `complete`: nothing else will be merged into it.
pub(super) fn validation(
    context: &mut Context<'_>,
    message: &pb::CertificateValidationContext,
    complete: bool,
) -> Result<CertificateValidationContext, Reported> {
    check_validation(context, message);
    let directory = message.watched_directory.as_ref();
    let trusted_ca = context.optional("trusted_ca", message.trusted_ca.as_ref(), |context, message| {
        let source = data_source(context, message, directory)?;
        if let Some(pem) = source.inline() {
            Roots::read(pem, &"<inline>".into()).map_err(|reason| context.reject(strip(reason, "trusted_ca ")))?;
        }
        Ok(source)
    });
    let crl = context.optional("crl", message.crl.as_ref(), |context, message| {
        let source = data_source(context, message, directory)?;
        if let Some(pem) = source.inline() {
            revocation_lists(pem).map_err(|reason| context.reject(strip(reason, "crl ")))?;
        }
        Ok(source)
    });
    let typed: Result<Vec<_>, _> = context.each(
        "match_typed_subject_alt_names",
        &message.match_typed_subject_alt_names,
        san_matcher,
    );
    #[allow(deprecated, reason = "istiod still sends it")]
    let untyped: Result<Vec<StringMatcher>, _> = context.each(
        "match_subject_alt_names",
        &message.match_subject_alt_names,
        StringMatcher::parse,
    );
    let hashes = digests(
        context,
        "verify_certificate_hash",
        &message.verify_certificate_hash,
        hash,
    );
    let spki = digests(
        context,
        "verify_certificate_spki",
        &message.verify_certificate_spki,
        base64_digest,
    );
    let max_verify_depth = message.max_verify_depth.as_ref().map(|depth| depth.value);
    if max_verify_depth.is_some_and(|depth| depth > 100) {
        return Err(context.reject_field("max_verify_depth", "must be at most 100"));
    }
    let mut san_matchers = typed?;
    // A matcher without a type is one for every type (Envoy: match_subject_alt_names); ignored beside typed ones.
    let untyped = untyped?;
    if san_matchers.is_empty() {
        for matcher in untyped {
            for san_type in [SanType::Dns, SanType::Uri, SanType::Email, SanType::IpAddress] {
                san_matchers.push(SanMatcher {
                    san_type,
                    matcher: matcher.clone(),
                });
            }
        }
    }
    let trusted_ca = trusted_ca?;
    if complete && trusted_ca.is_none() && !san_matchers.is_empty() {
        return Err(context.reject_field(
            "match_typed_subject_alt_names",
            "needs a trusted_ca: names of an unverified certificate mean nothing",
        ));
    }
    Ok(CertificateValidationContext {
        trusted_ca,
        crl: crl?,
        only_verify_leaf_cert_crl: message.only_verify_leaf_cert_crl,
        max_verify_depth,
        san_matchers,
        verify_certificate_hash: hashes?,
        verify_certificate_spki: spki?,
        suppress_client_ca_list: message.suppress_client_ca_list,
    })
}

/// The field's own name is in the path already.
fn strip(reason: String, field: &str) -> String {
    reason.strip_prefix(field).map_or(reason.clone(), str::to_owned)
}

fn san_matcher(context: &mut Context<'_>, message: &pb::SubjectAltNameMatcher) -> Result<SanMatcher, Reported> {
    use pb::subject_alt_name_matcher::SanType as Type;
    check_san(context, message);
    let san_type = match Type::try_from(message.san_type) {
        Ok(Type::Email) => Ok(SanType::Email),
        Ok(Type::Dns) => Ok(SanType::Dns),
        Ok(Type::Uri) => Ok(SanType::Uri),
        Ok(Type::IpAddress) => Ok(SanType::IpAddress),
        Ok(Type::OtherName) => Err(context.reject_field("san_type", "OTHER_NAME is not supported")),
        Ok(Type::Unspecified) | Err(_) => {
            Err(context.reject_field("san_type", "must be DNS, URI, EMAIL or IP_ADDRESS"))
        }
    };
    let matcher = context.required("matcher", message.matcher.as_ref(), StringMatcher::parse);
    Ok(SanMatcher {
        san_type: san_type?,
        matcher: matcher?,
    })
}

fn digests(
    context: &mut Context<'_>,
    field: &'static str,
    texts: &[String],
    read: fn(&str) -> Option<[u8; 32]>,
) -> Result<Vec<[u8; 32]>, Reported> {
    context.each(field, texts, |context, text| {
        read(text).ok_or_else(|| context.reject(format!("is {text:?}, which is no SHA-256 digest in this notation")))
    })
}

/// SHA-256 in hex, with or without colons between the bytes.
fn hash(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| *c != ':')
        .map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()?;
    let colons = text.len() - digits.len();
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
        .collect();
    (digits.len() == 64 && (colons == 0 || colons == 31))
        .then(|| bytes.try_into().ok())
        .flatten()
}

/// SHA-256 in base64.
fn base64_digest(text: &str) -> Option<[u8; 32]> {
    let text = text.strip_suffix('=')?;
    if text.len() != 43 {
        return None;
    }
    let mut bits = 0_u32;
    let mut held = 0;
    let mut bytes = Vec::with_capacity(32);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    (bits == 0).then(|| bytes.try_into().ok()).flatten()
}
