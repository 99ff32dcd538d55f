//! Formats, compiled: text and JSON.

use std::io::Write;

use super::context::{Address, LogAddress, LogContext, MetadataValue, Text};
use super::grpc::{self, GrpcStatusFormat};
use super::operator::{AddressPart, HeaderSource, Operator, PathFrom, Unit, parse};
use crate::json::write_escaped;
use crate::request_id;

pub use super::operator::FormatError;

/// A compiled format. Writing an entry allocates nothing but what the caller's buffer needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Format {
    shape: Shape,
    /// What a text has in place of a value that isn't there.
    missing: &'static str,
}

#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Text(Vec<Operator>),
    Json(Json),
}

/// A JSON format as configured: what its strings hold are command operators.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonTemplate {
    /// An object; written with its keys sorted.
    Object(Vec<(String, JsonTemplate)>),
    /// A list.
    List(Vec<JsonTemplate>),
    /// A string with command operators.
    String(String),
    /// A number, written as it is.
    Number(f64),
    /// A truth value, written as it is.
    Bool(bool),
    /// Nothing.
    Null,
}

#[derive(Clone, Debug, PartialEq)]
enum Json {
    /// Each key is written out: `"key":`.
    Object(Vec<(String, Json)>),
    List(Vec<Json>),
    /// One operator: numbers stay numbers, what isn't there is null.
    Value(Operator),
    /// Several, joined to a string.
    Joined(Vec<Operator>),
    /// Written out.
    Constant(String),
}

/// What was appended to the buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrote {
    Nothing,
    Text,
    /// A number, a truth value or JSON: to stand without quotes in JSON.
    Bare,
}

impl Format {
    /// Compiles a text format. With `omit_empty_values` a value that isn't there is written as nothing, else as `-`.
    ///
    /// # Errors
    /// When an operator is unknown or its argument makes no sense.
    pub fn text(format: &str, omit_empty_values: bool) -> Result<Format, FormatError> {
        Ok(Format {
            shape: Shape::Text(parse(format)?),
            missing: missing(omit_empty_values),
        })
    }

    /// Compiles a JSON format. An entry ends with a line feed. `omit_empty_values` keeps nulls, as Envoy does: it
    /// only concerns values inside longer strings.
    ///
    /// # Errors
    /// When an operator is unknown or its argument makes no sense; the position counts from the start of its string.
    pub fn json(template: &JsonTemplate, omit_empty_values: bool) -> Result<Format, FormatError> {
        Ok(Format {
            shape: Shape::Json(compile(template)?),
            missing: missing(omit_empty_values),
        })
    }

    /// Appends an entry.
    pub fn write(&self, context: &(impl LogContext + ?Sized), out: &mut Vec<u8>) {
        match &self.shape {
            Shape::Text(operators) => self.write_joined(operators, context, out),
            Shape::Json(json) => {
                self.write_json(json, context, out);
                out.push(b'\n');
            }
        }
    }

    fn write_joined(&self, operators: &[Operator], context: &(impl LogContext + ?Sized), out: &mut Vec<u8>) {
        for operator in operators {
            if evaluate(operator, context, out) == Wrote::Nothing {
                out.extend_from_slice(self.missing.as_bytes());
            }
        }
    }

    fn write_json(&self, json: &Json, context: &(impl LogContext + ?Sized), out: &mut Vec<u8>) {
        match json {
            Json::Object(fields) => {
                out.push(b'{');
                for (position, (key, value)) in fields.iter().enumerate() {
                    if position > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(key.as_bytes());
                    self.write_json(value, context, out);
                }
                out.push(b'}');
            }
            Json::List(values) => {
                out.push(b'[');
                for (position, value) in values.iter().enumerate() {
                    if position > 0 {
                        out.push(b',');
                    }
                    self.write_json(value, context, out);
                }
                out.push(b']');
            }
            Json::Constant(text) => out.extend_from_slice(text.as_bytes()),
            Json::Value(operator) => {
                let start = out.len();
                match evaluate(operator, context, out) {
                    Wrote::Nothing => out.extend_from_slice(b"null"),
                    Wrote::Bare => {}
                    Wrote::Text => quote(start, out),
                }
            }
            Json::Joined(operators) => {
                let start = out.len();
                self.write_joined(operators, context, out);
                quote(start, out);
            }
        }
    }
}

fn missing(omit_empty_values: bool) -> &'static str {
    if omit_empty_values { "" } else { "-" }
}

fn compile(template: &JsonTemplate) -> Result<Json, FormatError> {
    Ok(match template {
        JsonTemplate::Object(fields) => {
            let mut sorted: Vec<&(String, JsonTemplate)> = fields.iter().collect();
            sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
            let compiled = sorted.into_iter().map(|(key, value)| {
                let mut written = String::from("\"");
                write_escaped(key, &mut written);
                written.push_str("\":");
                Ok((written, compile(value)?))
            });
            Json::Object(compiled.collect::<Result<_, _>>()?)
        }
        JsonTemplate::List(values) => Json::List(values.iter().map(compile).collect::<Result<_, _>>()?),
        JsonTemplate::String(format) => {
            let mut operators = parse(format)?;
            match (operators.len(), operators.pop()) {
                (1, Some(operator)) if !matches!(operator, Operator::Literal(_)) => Json::Value(operator),
                (_, last) => Json::Joined(operators.into_iter().chain(last).collect()),
            }
        }
        JsonTemplate::Number(number) if number.is_finite() => Json::Constant(number.to_string()),
        JsonTemplate::Bool(value) => Json::Constant(value.to_string()),
        JsonTemplate::Number(_) | JsonTemplate::Null => Json::Constant("null".to_owned()),
    })
}

/// Makes what was appended since `start` a JSON string.
fn quote(start: usize, out: &mut Vec<u8>) {
    let plain = |byte: &u8| matches!(byte, 0x20..0x7f) && !matches!(byte, b'"' | b'\\');
    if out[start..].iter().all(plain) {
        out.insert(start, b'"');
        out.push(b'"');
        return;
    }
    // Bytes that are no UTF-8 become replacement characters: an entry is always valid JSON.
    let text = String::from_utf8_lossy(&out[start..]);
    let mut quoted = String::with_capacity(text.len() + 8);
    quoted.push('"');
    write_escaped(&text, &mut quoted);
    quoted.push('"');
    out.truncate(start);
    out.extend_from_slice(quoted.as_bytes());
}

fn evaluate(operator: &Operator, context: &(impl LogContext + ?Sized), out: &mut Vec<u8>) -> Wrote {
    match operator {
        Operator::Literal(text) => append(Some(text.as_bytes()), None, out),
        Operator::Constant(value) => append(value.as_ref().map(|value| value.as_bytes()), None, out),
        Operator::Header {
            source,
            name,
            alternative,
            limit,
        } => {
            let get = |name: &str| match source {
                HeaderSource::Request => context.request_header(name),
                HeaderSource::Response => context.response_header(name),
                HeaderSource::Trailer => context.response_trailer(name),
            };
            append(get(name).or_else(|| get(alternative.as_deref()?)), *limit, out)
        }
        Operator::StartTime(format) => {
            format.write(context.start_time(), out);
            Wrote::Text
        }
        Operator::EmitTime(format) => {
            format.write(std::time::SystemTime::now(), out);
            Wrote::Text
        }
        Operator::Protocol => append(context.protocol().map(str::as_bytes), None, out),
        Operator::ResponseCode => number(Some(context.response_code().unwrap_or(0).into()), out),
        Operator::ResponseFlags { long } => {
            let flags = context.response_flags();
            if flags.is_empty() {
                out.push(b'-');
            }
            for (position, flag) in flags.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(if *long { flag.long_name() } else { flag.short_name() }.as_bytes());
            }
            Wrote::Text
        }
        Operator::Duration { from, to, unit } => {
            let from = match from {
                super::TimePoint::DownstreamReceiveBegin => Some(std::time::Duration::ZERO),
                other => context.elapsed(*other),
            };
            let duration = context.elapsed(*to).zip(from).map(|(to, from)| to.saturating_sub(from));
            number(duration.map(|duration| in_unit(duration, *unit)), out)
        }
        Operator::Bytes(count) => number(Some(context.bytes(*count)), out),
        Operator::ConnectionId(side) => number(Some(context.connection_id(*side).unwrap_or(0)), out),
        Operator::RequestAttemptCount => number(Some(context.request_attempt_count().unwrap_or(0)), out),
        Operator::Address(which, part) => address(context, *which, *part, out),
        // An endpoint without a name is called by its address.
        Operator::Text(Text::UpstreamHostName, limit) if context.text(Text::UpstreamHostName).is_none() => {
            let start = out.len();
            let wrote = address(context, Address::UpstreamHost, AddressPart::All, out);
            out.truncate(limit.map_or(out.len(), |limit| out.len().min(start + limit)));
            wrote
        }
        Operator::Text(which, limit) => append(context.text(*which).map(str::as_bytes), *limit, out),
        Operator::Tls(side, field) => {
            if context.tls(*side, *field, out) {
                Wrote::Text
            } else {
                Wrote::Nothing
            }
        }
        Operator::Metadata {
            source,
            namespace,
            path,
            limit,
        } => match context.metadata(*source, namespace, path) {
            None => Wrote::Nothing,
            Some(MetadataValue::String(text)) => append(Some(text.as_bytes()), *limit, out),
            Some(MetadataValue::Number(value)) => bare(format_args!("{value}"), out),
            Some(MetadataValue::Bool(value)) => bare(format_args!("{value}"), out),
            Some(MetadataValue::Json(json)) => match limit {
                // Cut, it is JSON no longer.
                Some(limit) if *limit < json.len() => append(Some(json.as_bytes()), Some(*limit), out),
                _ => bare(format_args!("{json}"), out),
            },
        },
        Operator::GrpcStatus(format) => match grpc::status(context) {
            None => Wrote::Nothing,
            Some(status) => match grpc::name(status, *format) {
                Some(name) => append(Some(name.as_bytes()), None, out),
                None if *format == GrpcStatusFormat::Number => number(Some(status.into()), out),
                None => {
                    number(Some(status.into()), out);
                    Wrote::Text
                }
            },
        },
        Operator::UniqueId => {
            out.extend_from_slice(&request_id::generate());
            Wrote::Text
        }
        Operator::QueryParameter { name, limit } => {
            let query = context.request_header(":path").and_then(|path| split_query(path).1);
            append(query.and_then(|query| parameter(query, name.as_bytes())), *limit, out)
        }
        Operator::Path { query, from, limit } => {
            let original = || context.request_header("x-envoy-original-path");
            let current = || context.request_header(":path");
            let path = match from {
                PathFrom::Path => current(),
                PathFrom::Original => original(),
                PathFrom::OriginalOrPath => original().or_else(current),
            };
            append(
                path.map(|path| if *query { path } else { split_query(path).0 }),
                *limit,
                out,
            )
        }
    }
}

fn append(value: Option<&[u8]>, limit: Option<usize>, out: &mut Vec<u8>) -> Wrote {
    match value {
        None => Wrote::Nothing,
        Some(value) => {
            out.extend_from_slice(limit.map_or(value, |limit| &value[..limit.min(value.len())]));
            Wrote::Text
        }
    }
}

fn number(value: Option<u64>, out: &mut Vec<u8>) -> Wrote {
    match value {
        None => Wrote::Nothing,
        Some(value) => bare(format_args!("{value}"), out),
    }
}

fn bare(value: std::fmt::Arguments<'_>, out: &mut Vec<u8>) -> Wrote {
    // Writing to a Vec cannot fail.
    let _ = out.write_fmt(value);
    Wrote::Bare
}

fn in_unit(duration: std::time::Duration, unit: Unit) -> u64 {
    let value = match unit {
        Unit::Milliseconds => duration.as_millis(),
        Unit::Microseconds => duration.as_micros(),
        Unit::Nanoseconds => duration.as_nanos(),
    };
    u64::try_from(value).unwrap_or(u64::MAX)
}

fn address(context: &(impl LogContext + ?Sized), which: Address, part: AddressPart, out: &mut Vec<u8>) -> Wrote {
    match (context.address(which), part) {
        (None, _) | (Some(LogAddress::Path(_)), AddressPart::Port) => Wrote::Nothing,
        (Some(LogAddress::Path(path)), _) => append(Some(path.as_bytes()), None, out),
        (Some(LogAddress::Ip(address)), AddressPart::Port) => number(Some(address.port().into()), out),
        (Some(LogAddress::Ip(address)), AddressPart::All) => {
            bare(format_args!("{address}"), out);
            Wrote::Text
        }
        (Some(LogAddress::Ip(address)), AddressPart::WithoutPort) => {
            bare(format_args!("{}", address.ip()), out);
            Wrote::Text
        }
    }
}

/// The path, and the query behind the first question mark.
fn split_query(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match path.iter().position(|byte| *byte == b'?') {
        Some(at) => (&path[..at], Some(&path[at + 1..])),
        None => (path, None),
    }
}

/// The first value of a query parameter, as it is written.
fn parameter<'q>(query: &'q [u8], name: &[u8]) -> Option<&'q [u8]> {
    let query = query.split(|byte| *byte == b'#').next()?;
    query.split(|byte| *byte == b'&').find_map(|pair| {
        let (key, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        };
        (key == name).then_some(value)
    })
}

#[cfg(test)]
mod tests;
