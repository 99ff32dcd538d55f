//! From the bytes of a resource to its parsed value: the seam between this crate and the resource types.

use std::sync::Arc;

use config::{Extensions, Reference, Rejected, Resource, ResourceType, WithoutEffect};
use xds_api::google::protobuf::Any;

/// A resource that was understood.
#[derive(Debug, Clone)]
pub struct DecodedResource {
    /// The parsed value.
    pub resource: Resource,
    /// What it needs before it can be put to use.
    pub references: Arc<[Reference]>,
    /// Fields that were set and change nothing; listed by the admin endpoint.
    pub without_effect: Vec<WithoutEffect>,
}

impl DecodedResource {
    /// A resource with the references that it states itself.
    pub fn new(resource: Resource, without_effect: Vec<WithoutEffect>) -> Self {
        let references = shared_list(resource.references().iter().cloned().collect());
        Self {
            resource,
            references,
            without_effect,
        }
    }

    /// The name of the resource.
    pub fn name(&self) -> &Arc<str> {
        self.resource.name()
    }
}

/// A shared list; one that is empty, as most are, takes no memory.
pub(crate) fn shared_list<T>(list: Vec<T>) -> Arc<[T]> {
    if list.is_empty() { Arc::default() } else { list.into() }
}

/// Parses and validates resources. A trait, so that the protocol is tested without them.
pub trait Decoder: Send + Sync {
    /// Decodes one resource of the given type.
    ///
    /// # Errors
    /// Every fault of the resource, with field paths from its root.
    fn decode(&self, resource_type: ResourceType, any: &Any) -> Result<DecodedResource, Vec<Rejected>>;
}

/// The decoder that remora runs with: `config`'s parsers and the extensions registered by the crates above.
#[derive(Debug, Clone)]
pub struct ExtensionsDecoder {
    extensions: Arc<Extensions>,
}

impl ExtensionsDecoder {
    /// A decoder that knows these extensions.
    pub fn new(extensions: Arc<Extensions>) -> Self {
        Self { extensions }
    }
}

impl Decoder for ExtensionsDecoder {
    fn decode(&self, resource_type: ResourceType, any: &Any) -> Result<DecodedResource, Vec<Rejected>> {
        let parsed = Resource::parse(resource_type, &any.value, &self.extensions)?;
        Ok(DecodedResource::new(parsed.value, parsed.without_effect))
    }
}

/// The name in an encoded resource, found without decoding the rest, so that a resource that cannot be decoded is still
/// known by name. Field 1 is the name in all five types (`cluster_name` in ClusterLoadAssignment); of a field that is
/// there twice the last counts, as to every reader of protobuf.
///
/// None when there is no such field before the first fault, or it is empty.
pub fn name_hint(mut encoded: &[u8]) -> Option<&str> {
    let mut name = None;
    while let Some((number, value)) = next_field(&mut encoded) {
        if let (1, Some(value)) = (number, value) {
            name = std::str::from_utf8(value).ok();
        }
    }
    name.filter(|name| !name.is_empty())
}

/// How deep groups may stand in each other, as prost has it.
const GROUP_DEPTH: usize = 100;

/// Reads one field: its number, and its value if that has a length of its own. Groups, which proto3 only ever meets as
/// fields it does not know, are one field with all that is in them.
///
/// None at the end and at a fault.
fn next_field<'a>(encoded: &mut &'a [u8]) -> Option<(u64, Option<&'a [u8]>)> {
    let mut groups = Vec::new();
    loop {
        let tag = varint(encoded)?;
        let (number, mut value) = (tag >> 3, None);
        match tag & 7 {
            0 => {
                varint(encoded)?;
            }
            1 => {
                *encoded = encoded.get(8..)?;
            }
            2 => {
                let length = usize::try_from(varint(encoded)?).ok()?;
                let (inside, rest) = encoded.split_at_checked(length)?;
                (value, *encoded) = (Some(inside), rest);
            }
            3 if groups.len() < GROUP_DEPTH => groups.push(number),
            4 if groups.pop() == Some(number) => {}
            5 => {
                *encoded = encoded.get(4..)?;
            }
            _ => return None,
        }
        if groups.is_empty() {
            // What ended a group is no value.
            return Some((number, value));
        }
    }
}

/// Reads one base-128 varint.
fn varint(encoded: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = encoded.split_first()?;
        *encoded = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use xds_api::envoy::config::cluster::v3::Cluster;
    use xds_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
    use xds_api::prost::Message;

    #[test]
    fn the_name_is_found_though_a_later_field_is_broken() {
        let mut bytes = Cluster {
            name: "backend".into(),
            ..Default::default()
        }
        .encode_to_vec();
        bytes.extend([0xff, 0xff, 0xff]);
        assert_eq!(name_hint(&bytes), Some("backend"));
        let endpoints = ClusterLoadAssignment {
            cluster_name: "backend".into(),
            ..Default::default()
        };
        assert_eq!(name_hint(&endpoints.encode_to_vec()), Some("backend"));
    }

    #[test]
    fn a_resource_broken_before_its_name_has_no_name() {
        assert_eq!(name_hint(&[0xff, 0xff, 0xff]), None);
        assert_eq!(name_hint(&[0x0a, 0x20, b'x']), None);
        assert_eq!(name_hint(&[]), None);
        assert_eq!(name_hint(&[0x0a, 2, 0xc3, 0x28]), None, "not UTF-8");
    }

    #[test]
    fn of_a_name_that_is_there_twice_the_last_counts() {
        let twice = |first: &[u8], last: &[u8]| [first, last].concat();
        assert_eq!(name_hint(&twice(b"\x0a\x01a", b"\x0a\x01b")), Some("b"));
        assert_eq!(name_hint(&twice(b"\x0a\x00", b"\x0a\x01b")), Some("b"));
        assert_eq!(name_hint(&twice(b"\x0a\x01a", b"\x0a\x00")), None);
        // What follows the first fault is not looked at.
        assert_eq!(name_hint(&twice(b"\x0a\x01a\xff\xff\xff", b"\x0a\x01b")), Some("a"));
    }

    #[test]
    fn a_group_before_the_name_is_passed_over_with_all_that_is_in_it() {
        // Field 7 begins a group, in it field 1 is text and field 2 a group; then comes the name.
        assert_eq!(name_hint(b"\x3b\x0a\x01x\x13\x14\x3c\x0a\x01a"), Some("a"));
        assert_eq!(name_hint(b"\x3b\x0a\x01x\x14\x0a\x01a"), None, "another group's end");
        assert_eq!(name_hint(b"\x3b\x0a\x01x"), None, "a group without end");
        assert_eq!(name_hint(b"\x3c\x0a\x01x"), None, "an end without group");
        assert_eq!(name_hint(&[0x3b; 10_000]), None, "too deep");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_name_search_fail(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = name_hint(&bytes);
        }
    }
}
