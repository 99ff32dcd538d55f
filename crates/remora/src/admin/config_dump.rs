//! `/config_dump`.

use http::StatusCode;
use xds_api::envoy::admin::v3::ConfigDump;
use xds_api::google::protobuf::Any;
use xds_api::prost::Message as _;
use xds_api::schema::{Kind, MessageType};
use xds_api::wire::{WireError, WireFields, WireValue, put_field};
use xds_api::{JsonStyle, to_json_styled, type_name, type_url};

use super::Answer;
use super::field_mask;
use super::routes::Request;

/// Errors are `text/plain` here.
fn error(status: StatusCode, text: String) -> Answer {
    Answer {
        status,
        content_type: "text/plain",
        body: text.into_bytes(),
    }
}

pub(super) fn answer(request: &Request<'_>) -> Answer {
    let parameters = &request.parameters;
    let name_regex = match parameters.non_empty("name_regex").map(regex::Regex::new).transpose() {
        Ok(regex) => regex,
        Err(cause) => {
            return error(
                StatusCode::BAD_REQUEST,
                format!(
                    "Error while parsing name_regex from {}: {}",
                    parameters.value("name_regex").unwrap_or_default(),
                    telemetry::stats::regex_fault(&cause)
                ),
            );
        }
    };
    let resource = parameters.non_empty("resource");
    let mut configs = request.source.config_dump(parameters.has("include_eds"));
    if let Some(regex) = &name_regex {
        for section in &mut configs {
            // A section that cannot be read is shown as it is.
            if let Ok(value) = only_named(section, regex) {
                section.value = value;
            }
        }
    }
    let mask = parameters.non_empty("mask");
    if let Some(resource) = resource {
        configs = match elements(&configs, resource) {
            Ok(elements) => elements,
            Err(answer) => return answer,
        };
        if let Some(mask) = mask {
            for element in &mut configs {
                if !apply(mask, element) {
                    return error(
                        StatusCode::BAD_REQUEST,
                        format!("FieldMask {mask} could not be successfully used."),
                    );
                }
            }
        }
    } else if let Some(mask) = mask {
        configs.retain_mut(|section| apply(mask, section));
        if configs.is_empty() {
            let text = format!("FieldMask {mask} could not be successfully applied to any configs.");
            return error(StatusCode::BAD_REQUEST, text);
        }
    }
    let style = JsonStyle {
        pretty: true,
        defaults: false,
        redact: true,
    };
    Answer::json(to_json_styled(&ConfigDump { configs }, style))
}

fn message_of(any: &Any) -> Option<MessageType> {
    MessageType::named(type_name(&any.type_url))
}

/// Masks the message; `false` when the mask does not fit it.
fn apply(mask: &str, any: &mut Any) -> bool {
    let Some(message) = message_of(any).filter(|message| field_mask::is_valid(*message, mask)) else {
        return false;
    };
    match field_mask::trim(message, &any.value, mask) {
        Ok(value) => {
            any.value = value;
            true
        }
        Err(_) => false,
    }
}

/// The elements of the repeated field `resource` of whichever section has it.
fn elements(configs: &[Any], resource: &str) -> Result<Vec<Any>, Answer> {
    for section in configs {
        let Some(field) = message_of(section).and_then(|message| message.field_named(resource)) else {
            continue;
        };
        let Kind::Message(element) = field.kind() else {
            return Err(not_repeated(resource));
        };
        if !field.is_list() {
            return Err(not_repeated(resource));
        }
        let elements = WireFields::new(&section.value).filter_map(|found| match found {
            Ok((number, WireValue::Bytes(bytes))) if number == field.number() => Some(Any {
                type_url: type_url(element.full_name()),
                value: bytes.to_vec(),
            }),
            _ => None,
        });
        return Ok(elements.collect());
    }
    Err(error(
        StatusCode::NOT_FOUND,
        format!("{resource} not found in config dump"),
    ))
}

fn not_repeated(resource: &str) -> Answer {
    let text = format!("{resource} is not a repeated field. Use ?mask={resource} to get only this field");
    error(StatusCode::BAD_REQUEST, text)
}

/// A section without the resources whose name does not match. Fields that are not lists of resources stay.
fn only_named(section: &Any, regex: &regex::Regex) -> Result<Vec<u8>, WireError> {
    let message = message_of(section).ok_or(WireError)?;
    let mut out = Vec::new();
    for found in WireFields::new(&section.value) {
        let (number, value) = found?;
        let keep = match (message.field(number).map(|field| (field, field.kind())), value) {
            (Some((field, Kind::Message(element))), WireValue::Bytes(bytes)) if field.is_list() => {
                name(element, bytes)?.is_none_or(|name| regex.is_match(&name))
            }
            _ => true,
        };
        if keep {
            put_field(&mut out, number, value);
        }
    }
    Ok(out)
}

/// The name of a resource in a dump: its own, or that of the message in its `Any`.
fn name(message: MessageType, bytes: &[u8]) -> Result<Option<String>, WireError> {
    let mut inner = None;
    for found in WireFields::new(bytes) {
        let (number, value) = found?;
        let Some(field) = message.field(number) else { continue };
        match (field.kind(), value) {
            (Kind::String, WireValue::Bytes(text)) if matches!(field.name(), "name" | "cluster_name") => {
                return Ok(Some(String::from_utf8_lossy(text).into_owned()));
            }
            (Kind::Message(kind), WireValue::Bytes(any)) if kind.full_name() == "google.protobuf.Any" => {
                inner = Some(Any::decode(any).map_err(|_| WireError)?);
            }
            _ => {}
        }
    }
    match inner.as_ref().and_then(|any| Some((message_of(any)?, any))) {
        Some((message, any)) => name(message, &any.value),
        None => Ok(None),
    }
}
