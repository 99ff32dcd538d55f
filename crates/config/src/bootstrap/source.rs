//! From what the command line gives to the bootstrap message.

use std::fmt;

use xds_api::envoy::config::bootstrap::v3 as pb;
use xds_api::envoy::config::core::v3 as core;
use xds_api::prost::Name as _;
use xds_api::prost::{DecodeError, Message as _};
use xds_api::schema::MessageType;
use xds_api::{
    Document, FieldError, ParseError, UnknownField, UnknownFields, UnknownKey, from_document, json, unknown_fields,
    yaml,
};

use super::Bootstrap;
use crate::extensions::Extensions;
use crate::rejected::{Parsed, Rejected};

/// The form of a text, by the ending of its file's name as Envoy chooses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.yaml`, `.yml`.
    Yaml,
    /// `.json` and everything else.
    Json,
    /// `.pb`: the message's bytes.
    Protobuf,
}

impl Format {
    /// The form of the file with that name.
    pub fn of_file(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        if name.ends_with(".yaml") || name.ends_with(".yml") {
            Self::Yaml
        } else if name.ends_with(".pb") {
            Self::Protobuf
        } else {
            Self::Json
        }
    }
}

/// Why a bootstrap could not be read.
#[derive(Debug, Clone, PartialEq)]
pub enum ReadError {
    /// The text is not YAML, JSON or a protobuf message: nothing can be said about its fields.
    Syntax(ParseError),
    /// Fields that are unknown or have a value of the wrong kind, all of them.
    Fields(Vec<Rejected>),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => error.fmt(f),
            Self::Fields(faults) => {
                for (index, fault) in faults.iter().enumerate() {
                    let divider = if index == 0 { "" } else { "\n" };
                    write!(f, "{divider}{fault}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for ReadError {}

/// What the command line says about the node; it goes before the bootstrap's `node`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeOptions {
    /// `--service-node`.
    pub id: Option<String>,
    /// `--service-cluster`.
    pub cluster: Option<String>,
    /// `--service-zone`.
    pub zone: Option<String>,
}

/// How many fields that do not exist are named of those that only a search finds.
const NAMED: usize = 256;

/// The bootstrap message and the texts it came from, so that a fault of the message can name its line.
#[derive(Debug, Clone, Default)]
pub struct BootstrapSource {
    message: pb::Bootstrap,
    documents: Vec<Read>,
    unknown: Vec<Rejected>,
}

#[derive(Debug, Clone)]
struct Read {
    document: Document,
    /// What the message was before this text was merged into it: a list of the text comes after what was there.
    before: pb::Bootstrap,
}

impl BootstrapSource {
    /// An empty bootstrap.
    pub fn new() -> Self {
        Self::default()
    }

    /// Merges a text into what was read so far, by protobuf's rules: single values replace, lists are appended, messages
    /// are merged. Envoy does so with `-c` first and `--config-yaml` after it.
    ///
    /// With `allow_unknown` a field that does not exist is kept in [`unknown`](Self::unknown)
    /// (`--allow-unknown-static-fields`), otherwise it is an error.
    ///
    /// # Errors
    /// The text is not of that form, or it does not describe a bootstrap.
    pub fn merge(&mut self, text: &[u8], name: &str, format: Format, allow_unknown: bool) -> Result<(), ReadError> {
        let bytes = match format {
            Format::Protobuf => {
                pb::Bootstrap::decode(text).map_err(|error| syntax(name, &error))?;
                text.to_vec()
            }
            Format::Yaml | Format::Json => {
                let text = std::str::from_utf8(text).map_err(|error| ReadError::Syntax(not_utf8(name, text, error)))?;
                let document = match format {
                    Format::Yaml => yaml::parse(text, name),
                    _ => json::parse(text, name),
                };
                let document = document.map_err(ReadError::Syntax)?;
                let message = self.describe(&document, allow_unknown)?;
                self.documents.push(Read {
                    document,
                    before: self.message.clone(),
                });
                message.encode_to_vec()
            }
        };
        let hidden = self.hidden_unknown_fields(&bytes);
        if allow_unknown {
            self.unknown.extend(hidden);
        } else if !hidden.is_empty() {
            return Err(ReadError::Fields(hidden));
        }
        self.message
            .merge(bytes.as_slice())
            .map_err(|error| syntax(name, &error))
    }

    /// Fields that do not exist where the text is free, in a `TypedStruct`, and those of a message that was no text.
    fn hidden_unknown_fields(&self, bytes: &[u8]) -> Vec<Rejected> {
        let found = MessageType::named(&pb::Bootstrap::full_name())
            .and_then(|message| unknown_fields(message, bytes, NAMED).ok())
            .unwrap_or_default();
        let rejected = |field: UnknownField| {
            let fault = match &field.key {
                UnknownKey::Name(name) => format!("is field `{name}`, expected a field of {}", field.message),
                UnknownKey::Number(number) => format!("is field {number}, expected a field of {}", field.message),
            };
            Rejected {
                line: self.line(&field.field_path()).or_else(|| self.line(&field.path)),
                ..Rejected::new(field.path.as_str(), fault)
            }
        };
        found.into_iter().map(rejected).collect()
    }

    fn describe(&mut self, document: &Document, allow_unknown: bool) -> Result<pb::Bootstrap, ReadError> {
        let mut unknown = Vec::new();
        let fields = if allow_unknown {
            UnknownFields::Allow(&mut unknown)
        } else {
            UnknownFields::Reject
        };
        let message = from_document(document, fields);
        self.unknown.extend(unknown.into_iter().map(rejected));
        message.map_err(|errors| ReadError::Fields(errors.into_iter().map(rejected).collect()))
    }

    /// Sets what the command line says about the node.
    pub fn set_node(&mut self, options: &NodeOptions) {
        if *options == NodeOptions::default() {
            return;
        }
        let node = self.message.node.get_or_insert_default();
        if let Some(id) = &options.id {
            node.id.clone_from(id);
        }
        if let Some(cluster) = &options.cluster {
            node.cluster.clone_from(cluster);
        }
        if let Some(zone) = &options.zone {
            let locality: &mut core::Locality = node.locality.get_or_insert_default();
            locality.zone.clone_from(zone);
        }
    }

    /// The message.
    pub fn message(&self) -> &pb::Bootstrap {
        &self.message
    }

    /// The message alone; the texts are dropped.
    pub fn into_message(self) -> pb::Bootstrap {
        self.message
    }

    /// Fields that do not exist and were allowed.
    pub fn unknown(&self) -> &[Rejected] {
        &self.unknown
    }

    /// Parses the message; every fault names its line.
    ///
    /// # Errors
    /// Every fault, in the order found.
    pub fn parse(&self, extensions: &Extensions) -> Result<Parsed<Bootstrap>, Vec<Rejected>> {
        Bootstrap::parse(&self.message, extensions).map_err(|faults| {
            faults
                .into_iter()
                .map(|fault| fault.with_line(|path| self.line(path)))
                .collect()
        })
    }

    /// The line of a field, in the text that set it last.
    pub fn line(&self, path: &str) -> Option<u32> {
        self.documents.iter().rev().find_map(|read| {
            let path = read.own_path(path)?;
            read.document.find(&path).map(|node| node.mark.line)
        })
    }
}

impl Read {
    /// The path within this text: its listeners, clusters and secrets follow those that were there before.
    fn own_path(&self, path: &str) -> Option<String> {
        let before = self.before.static_resources.as_ref();
        let counts = [
            (
                "static_resources.listeners[",
                before.map_or(0, |resources| resources.listeners.len()),
            ),
            (
                "static_resources.clusters[",
                before.map_or(0, |resources| resources.clusters.len()),
            ),
            (
                "static_resources.secrets[",
                before.map_or(0, |resources| resources.secrets.len()),
            ),
        ];
        for (prefix, count) in counts {
            if let Some((index, rest)) = path.strip_prefix(prefix).and_then(|rest| rest.split_once(']')) {
                let index = index.parse::<usize>().ok()?.checked_sub(count)?;
                return Some(format!("{prefix}{index}]{rest}"));
            }
        }
        Some(path.to_owned())
    }
}

fn rejected(error: FieldError) -> Rejected {
    let reason = format!("is {}, expected {}", error.found, error.expected);
    Rejected {
        line: Some(error.line),
        ..Rejected::new(error.path.as_str(), reason)
    }
}

fn syntax(name: &str, error: &DecodeError) -> ReadError {
    ReadError::Syntax(ParseError {
        source_name: name.to_owned(),
        line: 0,
        column: 0,
        message: format!("is not a protobuf message: {error}"),
    })
}

fn not_utf8(name: &str, text: &[u8], error: std::str::Utf8Error) -> ParseError {
    let before = &text[..error.valid_up_to()];
    let line = before.split(|byte| *byte == b'\n').count();
    let start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1);
    ParseError {
        source_name: name.to_owned(),
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(before.len() - start + 1).unwrap_or(u32::MAX),
        message: "found a byte that is not UTF-8".to_owned(),
    }
}
