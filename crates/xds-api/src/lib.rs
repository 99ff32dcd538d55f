//! The Envoy v3 API as this project uses it: message types, YAML and JSON to messages and back, `Any` unwrapping, and a
//! walk over the fields that a message sets.
//!
//! ```
//! use xds_api::envoy::config::cluster::v3::Cluster;
//! use xds_api::{UnknownFields, from_document, to_json, yaml};
//!
//! let document = yaml::parse("name: greeter\nconnectTimeout: 0.25s\n", "greeter.yaml")?;
//! let cluster: Cluster = from_document(&document, UnknownFields::Reject).map_err(|errors| errors[0].clone())?;
//! assert_eq!(cluster.name, "greeter");
//! assert_eq!(to_json(&cluster), r#"{"name":"greeter","connect_timeout":"0.250s"}"#);
//!
//! let document = yaml::parse("name: greeter\nlb_policy: ROUND\n", "greeter.yaml")?;
//! let errors = from_document::<Cluster>(&document, UnknownFields::Reject).unwrap_err();
//! assert_eq!((errors[0].path.as_str(), errors[0].line), ("lb_policy", 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use envoy_types::pb::{envoy, google, xds};
pub use prost;

pub mod any;
mod document;
mod encode;
mod error;
pub mod istio;
pub mod json;
mod print;
mod scalar;
pub mod schema;
mod unknown;
mod walk;
pub mod wire;
pub mod yaml;

pub use any::{pack, type_name, type_url, unwrap_any};
pub use document::{Document, Key, Mark, Node, Value};
pub use encode::{UnknownFields, encode_document, from_document};
pub use error::{FieldError, ParseError};
pub use print::{JsonStyle, any_to_json, message_to_json, to_json, to_json_styled};
pub use scalar::base64_encode;
pub use unknown::{UnknownField, UnknownKey, unknown_fields};
pub use walk::{SetField, Walk, set_fields, walk_set_fields};
