//! Extensions of the connection manager that are not filters.

use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use xds_api::envoy::extensions::http::early_header_mutation::header_mutation::v3 as early;
use xds_api::envoy::extensions::http::original_ip_detection::xff::v3 as xff;
use xds_api::envoy::extensions::request_id::uuid::v3 as uuid;

use super::XffDetection;
use crate::address::CidrRange;
use crate::context::Context;
use crate::extensions::message_name;
use crate::header_mutation::HeaderMutation;
use crate::rejected::Reported;
use crate::scalars::bool_or;

const XFF: &str = "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig";
const EARLY: &str = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation";
const UUID: &str = "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig";

/// Parses `original_ip_detection_extensions`: one that reads `x-forwarded-for` at most.
pub(super) fn original_ip_detection(
    context: &mut Context<'_>,
    message: &pb::HttpConnectionManager,
) -> Result<Option<XffDetection>, Reported> {
    const FIELD: &str = "original_ip_detection_extensions";
    let extensions = &message.original_ip_detection_extensions;
    if extensions.len() > 1 {
        return Err(context.reject_field(FIELD, format!("has {} entries, expected one", extensions.len())));
    }
    if !extensions.is_empty() && message.use_remote_address.is_some_and(|flag| flag.value) {
        return Err(context.reject_field(FIELD, "and use_remote_address may not both be set"));
    }
    if !extensions.is_empty() && message.xff_num_trusted_hops > 0 {
        return Err(context.reject_field(FIELD, "and xff_num_trusted_hops may not both be set"));
    }
    let parsed: Vec<XffDetection> = context.each(FIELD, extensions, |context, extension| {
        typed(context, extension, XFF, parse_xff)
    })?;
    Ok(parsed.into_iter().next())
}

fn parse_xff(context: &mut Context<'_>, value: &[u8]) -> Result<XffDetection, Reported> {
    let message: xff::XffConfig = context.decode(value)?;
    context.check(&message);
    if message.xff_num_trusted_hops > 0 && message.xff_trusted_cidrs.is_some() {
        return Err(context.reject_field("xff_trusted_cidrs", "and xff_num_trusted_hops may not both be set"));
    }
    let trusted = message.xff_trusted_cidrs.as_ref();
    let trusted_cidrs = context.optional("xff_trusted_cidrs", trusted, |context, trusted| {
        context.check(trusted);
        context.each("cidrs", &trusted.cidrs, CidrRange::parse)
    })?;
    Ok(XffDetection {
        num_trusted_hops: message.xff_num_trusted_hops,
        trusted_cidrs,
        skip_xff_append: bool_or(message.skip_xff_append.as_ref(), true),
    })
}

/// Parses `early_header_mutation_extensions`: changes made before anything else is.
pub(super) fn early_header_mutations(
    context: &mut Context<'_>,
    message: &pb::HttpConnectionManager,
) -> Result<Vec<HeaderMutation>, Reported> {
    let extensions = &message.early_header_mutation_extensions;
    let parsed: Vec<Vec<HeaderMutation>> =
        context.each("early_header_mutation_extensions", extensions, |context, extension| {
            typed(context, extension, EARLY, |context, value| {
                let message: early::HeaderMutation = context.decode(value)?;
                context.check(&message);
                if message.mutations.is_empty() {
                    return Err(context.reject_field("mutations", "is empty"));
                }
                context.each("mutations", &message.mutations, HeaderMutation::parse)
            })
        })?;
    Ok(parsed.into_iter().flatten().collect())
}

/// Checks `request_id_extension`: the one there is makes UUIDs, and its options concern tracing.
pub(super) fn request_id(context: &mut Context<'_>, message: &pb::HttpConnectionManager) -> Result<(), Reported> {
    let extension = message.request_id_extension.as_ref();
    context.optional("request_id_extension", extension, |context, extension| {
        context.required("typed_config", extension.typed_config.as_ref(), |context, any| {
            let any = context.unwrap_any(any)?;
            match message_name(&any.type_url) {
                UUID => {
                    let message: uuid::UuidRequestIdConfig = context.decode(&any.value)?;
                    context.check(&message);
                    Ok(())
                }
                other => Err(context.reject(format!("request id extension {other:?} is not supported"))),
            }
        })
    })?;
    Ok(())
}

/// Parses an extension of the one type there is.
fn typed<T>(
    context: &mut Context<'_>,
    extension: &core::TypedExtensionConfig,
    name: &str,
    parse: impl FnOnce(&mut Context<'_>, &[u8]) -> Result<T, Reported>,
) -> Result<T, Reported> {
    context.check(extension);
    context.required("typed_config", extension.typed_config.as_ref(), |context, any| {
        let any = context.unwrap_any(any)?;
        match message_name(&any.type_url) {
            found if found == name => parse(context, &any.value),
            other => Err(context.reject(format!("extension {other:?} is not supported, {name:?} is"))),
        }
    })
}
