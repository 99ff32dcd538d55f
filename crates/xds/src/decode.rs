//! From the bytes of a resource to its parsed value: the seam between this crate and the resource types.

use std::sync::Arc;

use config::{Extensions, Reference, Rejected, Resource, ResourceType, WithoutEffect};
use xds_api::google::protobuf::Any;
use xds_api::wire::{WireFields, WireValue};

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
pub fn name_hint(encoded: &[u8]) -> Option<&str> {
    let mut name = None;
    for field in WireFields::new(encoded) {
        match field {
            Ok((1, WireValue::Bytes(value))) => name = std::str::from_utf8(value).ok(),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    name.filter(|name| !name.is_empty())
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

    proptest! {
        #[test]
        fn no_bytes_make_the_name_search_fail(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = name_hint(&bytes);
        }
    }
}
