//! Fields that no message type knows: what a newer control plane sends, or a typing error in one that writes bytes itself.
//! Decoding drops them; here they are found.

use std::fmt;

use crate::any;
use crate::encode::has_own_form;
use crate::schema::{Field, Kind, MessageType};
use crate::wire::{WireError, WireFields, WireValue};
use crate::yaml::MAX_DEPTH;

/// A field that its message does not have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnknownField {
    /// The message that holds it, from the outermost one down; empty for the outermost itself.
    pub path: String,
    /// The full name of that message.
    pub message: &'static str,
    /// What it is called.
    pub key: UnknownKey,
}

/// How an unknown field is called where it was found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UnknownKey {
    /// By its number: on the wire a field has no name.
    Number(u32),
    /// By its name: in a `TypedStruct`, which is text.
    Name(Box<str>),
}

impl UnknownField {
    /// The path of the field itself: its number stands where a known field has its name.
    pub fn field_path(&self) -> String {
        let divider = if self.path.is_empty() { "" } else { "." };
        match &self.key {
            UnknownKey::Number(number) => format!("{}{divider}{number}", self.path),
            UnknownKey::Name(name) => format!("{}{divider}{name}", self.path),
        }
    }
}

impl fmt::Display for UnknownField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            UnknownKey::Number(number) => write!(f, "{} has no field with the number {number}", self.message),
            UnknownKey::Name(name) => write!(f, "{} has no field `{name}`", self.message),
        }
    }
}

/// Every unknown field of the message `bytes` of type `message`, in the order of the wire, also inside an `Any` whose
/// type is known and inside a `TypedStruct`; each once per message. At most `limit` are listed: a peer decides how many there are.
///
/// # Errors
/// The bytes are not such a message.
pub fn unknown_fields(message: MessageType, bytes: &[u8], limit: usize) -> Result<Vec<UnknownField>, WireError> {
    let mut search = Search {
        above: String::new(),
        path: Vec::new(),
        found: Vec::new(),
        limit,
    };
    search.message(message, bytes, 0)?;
    Ok(search.found)
}

/// One step of a path. It is put together only for what is found, so that a resource without unknown fields costs a
/// walk over its bytes and no text.
#[derive(Clone, Copy)]
enum Step<'a> {
    Field(Field),
    Element(Field, usize),
    Entry(Field, &'a [u8]),
}

struct Search<'a> {
    /// The path of the message that the search began with, where that is inside a `TypedStruct`.
    above: String,
    path: Vec<Step<'a>>,
    found: Vec<UnknownField>,
    limit: usize,
}

impl<'a> Search<'a> {
    fn message(&mut self, message: MessageType, bytes: &'a [u8], depth: usize) -> Result<(), WireError> {
        if depth > MAX_DEPTH {
            return Err(WireError);
        }
        // How often each list field has occurred.
        let mut indexes: Vec<(u32, usize)> = Vec::new();
        for field in WireFields::new(bytes) {
            let (number, value) = field?;
            let Some(field) = message.field(number) else {
                self.report(message, number);
                continue;
            };
            let (Kind::Message(inner), WireValue::Bytes(bytes)) = (field.kind(), value) else {
                continue;
            };
            let step = if field.is_map() {
                let (key, held) = entry(bytes)?;
                let Some(Kind::Message(inner)) = inner.field(2).map(Field::kind) else {
                    continue;
                };
                self.path.push(Step::Entry(field, key));
                self.held(inner, held, depth)?;
                self.path.pop();
                continue;
            } else if field.is_list() {
                let index = match indexes.iter_mut().find(|(other, _)| *other == number) {
                    Some((_, index)) => {
                        *index += 1;
                        *index
                    }
                    None => {
                        indexes.push((number, 0));
                        0
                    }
                };
                Step::Element(field, index)
            } else {
                Step::Field(field)
            };
            self.path.push(step);
            self.held(inner, bytes, depth)?;
            self.path.pop();
        }
        Ok(())
    }

    /// The message in a field.
    fn held(&mut self, message: MessageType, bytes: &'a [u8], depth: usize) -> Result<(), WireError> {
        if message.full_name() == "google.protobuf.Any" {
            let (url, value) = entry(bytes)?;
            let url = std::str::from_utf8(url).map_err(|_| WireError)?;
            if any::is_typed_struct(any::type_name(url)) {
                return self.typed_struct(value, depth + 1);
            }
            return match MessageType::named(any::type_name(url)) {
                Some(message) if !has_own_form(message.full_name()) => self.message(message, value, depth + 1),
                _ => Ok(()),
            };
        }
        if has_own_form(message.full_name()) {
            return Ok(());
        }
        self.message(message, bytes, depth + 1)
    }

    /// The message that a `TypedStruct` describes. What cannot be read is for whoever uses it to refuse.
    fn typed_struct(&mut self, bytes: &[u8], depth: usize) -> Result<(), WireError> {
        if depth > MAX_DEPTH {
            return Err(WireError);
        }
        let Some((message, bytes, unknown)) = any::look_into(bytes) else {
            return Ok(());
        };
        let mut above = self.path();
        if !above.is_empty() {
            above.push('.');
        }
        above.push_str("value");
        for unknown in unknown {
            let divider = if unknown.error.path.is_empty() { "" } else { "." };
            self.add(UnknownField {
                path: format!("{above}{divider}{}", unknown.error.path),
                message: unknown.message,
                key: UnknownKey::Name(unknown.name),
            });
        }
        // Wrappers inside the wrapper.
        let mut inner = Search {
            above,
            path: Vec::new(),
            found: std::mem::take(&mut self.found),
            limit: self.limit,
        };
        let searched = inner.message(message, &bytes, depth);
        self.found = inner.found;
        searched
    }

    /// Of the message being searched.
    fn path(&self) -> String {
        let mut path = self.above.clone();
        for step in &self.path {
            if !path.is_empty() {
                path.push('.');
            }
            match step {
                Step::Field(field) => path.push_str(field.name()),
                Step::Element(field, index) => path.push_str(&format!("{}[{index}]", field.name())),
                Step::Entry(field, key) => {
                    let key = String::from_utf8_lossy(key);
                    path.push_str(&format!("{}[{key:?}]", field.name()));
                }
            }
        }
        path
    }

    fn report(&mut self, message: MessageType, number: u32) {
        if self.found.len() < self.limit {
            self.add(UnknownField {
                path: self.path(),
                message: message.full_name(),
                key: UnknownKey::Number(number),
            });
        }
    }

    fn add(&mut self, field: UnknownField) {
        // A repeated one is as unknown as its first.
        if self.found.len() < self.limit && !self.found.contains(&field) {
            self.found.push(field);
        }
    }
}

/// Fields 1 and 2 as bytes: key and value of a map's entry, type and value of an `Any`. A key that is a number is left
/// empty: Envoy's API has no such map with messages in it.
fn entry(bytes: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let (mut first, mut second) = (&[][..], &[][..]);
    for part in WireFields::new(bytes) {
        match part? {
            (1, WireValue::Bytes(value)) => first = value,
            (2, WireValue::Bytes(value)) => second = value,
            _ => {}
        }
    }
    Ok((first, second))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::config::cluster::v3::Cluster;
    use crate::envoy::config::core::v3::TransportSocket;
    use crate::envoy::config::core::v3::transport_socket::ConfigType;
    use crate::envoy::config::endpoint::v3::{ClusterLoadAssignment, LocalityLbEndpoints};
    use crate::google::protobuf::Any;
    use crate::wire::put_field;
    use prost::Message as _;

    /// Paths and numbers; 0 for what has a name.
    fn search(full_name: &str, bytes: &[u8]) -> Vec<(String, u32)> {
        let message = MessageType::named(full_name).expect("a known type");
        unknown_fields(message, bytes, 100)
            .expect("a message")
            .into_iter()
            .map(|field| match field.key {
                UnknownKey::Number(number) => (field.path, number),
                UnknownKey::Name(_) => (field.field_path(), 0),
            })
            .collect()
    }

    /// A message with a field that no type has.
    fn with_unknown(mut bytes: Vec<u8>) -> Vec<u8> {
        put_field(&mut bytes, 9_999, WireValue::Varint(1));
        bytes
    }

    #[test]
    fn unknown_fields_are_found_at_every_depth_and_named_by_their_message() {
        let locality = with_unknown(LocalityLbEndpoints::default().encode_to_vec());
        let mut assignment = Vec::new();
        put_field(&mut assignment, 1, WireValue::Bytes(b"backend"));
        put_field(&mut assignment, 2, WireValue::Bytes(b""));
        put_field(&mut assignment, 2, WireValue::Bytes(&locality));
        let mut cluster = with_unknown(Vec::new());
        put_field(&mut cluster, 33, WireValue::Bytes(&assignment));
        assert_eq!(
            search("envoy.config.cluster.v3.Cluster", &cluster),
            [
                (String::new(), 9_999),
                ("load_assignment.endpoints[1]".to_owned(), 9_999)
            ]
        );
    }

    #[test]
    fn the_message_in_an_any_and_the_values_of_a_map_are_searched() {
        let socket = TransportSocket {
            name: "tls".into(),
            config_type: Some(ConfigType::TypedConfig(Any {
                type_url: "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext".into(),
                value: with_unknown(Vec::new()),
            })),
        };
        let options = Any {
            type_url: "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions".into(),
            value: with_unknown(Vec::new()),
        };
        let cluster = Cluster {
            transport_socket: Some(socket),
            typed_extension_protocol_options: [("http".to_owned(), options)].into(),
            ..Cluster::default()
        };
        let mut found = search("envoy.config.cluster.v3.Cluster", &cluster.encode_to_vec());
        found.sort();
        assert_eq!(
            found,
            [
                ("transport_socket.typed_config".to_owned(), 9_999),
                ("typed_extension_protocol_options[\"http\"]".to_owned(), 9_999),
            ]
        );
    }

    #[test]
    fn a_message_without_unknown_fields_has_none_and_many_are_cut() {
        let name = "envoy.config.endpoint.v3.ClusterLoadAssignment";
        let bytes = ClusterLoadAssignment {
            cluster_name: "backend".into(),
            endpoints: vec![LocalityLbEndpoints::default(); 3],
            ..ClusterLoadAssignment::default()
        }
        .encode_to_vec();
        assert!(search(name, &bytes).is_empty());
        let mut many = Vec::new();
        for number in 5_000..5_200 {
            put_field(&mut many, number, WireValue::Varint(1));
        }
        assert_eq!(search(name, &many).len(), 100);
    }

    #[test]
    fn broken_bytes_and_endless_nesting_are_errors() {
        let message = MessageType::named("envoy.config.cluster.v3.Cluster").expect("a known type");
        assert!(unknown_fields(message, &[0xff], 1).is_err());
        let mut nested = Vec::new();
        for _ in 0..200 {
            let inner = nested;
            nested = Vec::new();
            // google.protobuf.Any in an Any is a leaf; a Cluster in a Cluster does not exist: a route's match does.
            put_field(&mut nested, 1, WireValue::Bytes(&inner));
        }
        let rules = MessageType::named("envoy.config.rbac.v3.Permission.Set").expect("a known type");
        assert!(unknown_fields(rules, &nested, 1).is_err());
    }

    #[test]
    fn what_a_typed_struct_describes_is_searched_wrappers_inside_it_too() {
        let text = r#"
name: tls
typed_config:
  "@type": type.googleapis.com/xds.type.v3.TypedStruct
  type_url: type.googleapis.com/envoy.config.cluster.v3.Cluster
  value:
    name: inner
    nope: 1
    circuit_breakers: {thresholds: [{max_connections: 1}, {neither: 2}]}
    transport_socket:
      name: inner
      typed_config:
        "@type": type.googleapis.com/udpa.type.v1.TypedStruct
        type_url: type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
        value: {cluster_name: c, nor: 3}
"#;
        let document = crate::yaml::parse(text, "test").expect("YAML");
        let socket: TransportSocket =
            crate::from_document(&document, crate::UnknownFields::Reject).expect("a free form");
        let mut found = search("envoy.config.core.v3.TransportSocket", &socket.encode_to_vec());
        found.sort();
        assert_eq!(
            found,
            [
                (
                    "typed_config.value.circuit_breakers.thresholds[1].neither".to_owned(),
                    0
                ),
                ("typed_config.value.nope".to_owned(), 0),
                (
                    "typed_config.value.transport_socket.typed_config.value.nor".to_owned(),
                    0
                ),
            ]
        );
        let Some(ConfigType::TypedConfig(any)) = socket.config_type else {
            panic!("it has one")
        };
        let inner = any::unwrap_any(&any).expect("they are left out");
        assert_eq!(
            Cluster::decode(inner.value.as_slice()).expect("a cluster").name,
            "inner"
        );
    }
}
