//! What becomes of fields that no message type knows (`--reject-unknown-dynamic-fields` and its neighbours). Decoding
//! drops them, so they are looked for in the bytes of a resource before it is decoded.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use config::{FieldPath, Rejected, ResourceType, WithoutEffect};
use telemetry::stats::{Block, Shard, server};
use xds::{DecodedResource, Decoder};
use xds_api::google::protobuf::Any;
use xds_api::schema::MessageType;
use xds_api::{UnknownField, UnknownKey, type_name, unknown_fields};

use crate::command_line::Options;

/// Unknown fields of one resource that are named; who sends more of them is not helped by a longer list.
const NAMED_PER_RESOURCE: usize = 16;

/// Unknown fields that are remembered as said. Beyond it they are counted no more: a control plane decides how many
/// there are.
const REMEMBERED: usize = 4096;

/// What the options ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnknownDynamicFields {
    /// They are not looked for (`--ignore-unknown-dynamic-fields`).
    Ignore,
    /// They are warned of and counted, each once (the default, as Envoy's).
    Warn,
    /// A resource that has one is refused (`--reject-unknown-dynamic-fields`, which goes before ignoring, as in Envoy).
    Reject,
}

impl UnknownDynamicFields {
    pub(crate) fn of(options: &Options) -> Self {
        if options.reject_unknown_dynamic_fields {
            Self::Reject
        } else if options.ignore_unknown_dynamic_fields {
            Self::Ignore
        } else {
            Self::Warn
        }
    }
}

/// A decoder that looks for unknown fields before another one decodes.
pub(crate) struct FieldChecking<D> {
    inner: D,
    treatment: UnknownDynamicFields,
    stats: Arc<Block>,
    /// Message and field of what was warned of already.
    said: Mutex<HashSet<(&'static str, UnknownKey)>>,
}

impl<D> FieldChecking<D> {
    /// `stats` is the block `server.`.
    pub(crate) fn new(inner: D, treatment: UnknownDynamicFields, stats: Arc<Block>) -> Self {
        Self {
            inner,
            treatment,
            stats,
            said: Mutex::default(),
        }
    }

    fn warn(&self, resource_type: ResourceType, name: &str, fields: &[UnknownField]) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        for field in fields {
            if said.len() < REMEMBERED && said.insert((field.message, field.key.clone())) {
                self.stats.local(Shard::CONTROL).add(server::DYNAMIC_UNKNOWN_FIELDS, 1);
                tracing::warn!(
                    target: "config",
                    "{resource_type} {name}: {}: {field}, it is ignored",
                    field.field_path()
                );
            }
        }
    }
}

impl<D: Decoder> Decoder for FieldChecking<D> {
    fn decode(&self, resource_type: ResourceType, any: &Any) -> Result<DecodedResource, Vec<Rejected>> {
        let unknown = match self.treatment {
            UnknownDynamicFields::Ignore => Vec::new(),
            UnknownDynamicFields::Warn | UnknownDynamicFields::Reject => {
                MessageType::named(type_name(resource_type.type_url()))
                    // Bytes that are no message are the decoder's to refuse.
                    .and_then(|message| unknown_fields(message, &any.value, NAMED_PER_RESOURCE).ok())
                    .unwrap_or_default()
            }
        };
        if unknown.is_empty() {
            return self.inner.decode(resource_type, any);
        }
        if self.treatment == UnknownDynamicFields::Reject {
            let mut faults: Vec<_> = unknown
                .iter()
                .map(|field| Rejected::new(field.field_path().as_str(), field.to_string()))
                .collect();
            if let Err(others) = self.inner.decode(resource_type, any) {
                faults.extend(others);
            }
            return Err(faults);
        }
        let mut decoded = self.inner.decode(resource_type, any)?;
        self.warn(resource_type, decoded.name(), &unknown);
        let notes = unknown.iter().map(|field| WithoutEffect {
            path: FieldPath::new(field.field_path()),
            reason: "its message has no such field here",
        });
        decoded.without_effect.extend(notes);
        Ok(decoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry::stats::{Registry, Scope};
    use xds::ExtensionsDecoder;
    use xds_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
    use xds_api::prost::Message as _;
    use xds_api::wire::{WireValue, put_field};

    fn checking(treatment: UnknownDynamicFields) -> (FieldChecking<ExtensionsDecoder>, Arc<Block>) {
        let registry = Registry::new(1);
        let stats = registry.block(Scope::Process("server."), &server::TABLE);
        let decoder = ExtensionsDecoder::new(Arc::new(crate::extensions::all()));
        (FieldChecking::new(decoder, treatment, Arc::clone(&stats)), stats)
    }

    fn newer() -> Any {
        let mut value = ClusterLoadAssignment {
            cluster_name: "backend".into(),
            ..ClusterLoadAssignment::default()
        }
        .encode_to_vec();
        put_field(&mut value, 9_999, WireValue::Varint(1));
        Any {
            type_url: ResourceType::ClusterLoadAssignment.type_url().into(),
            value,
        }
    }

    #[test]
    fn an_unknown_field_is_counted_once_and_listed_as_without_effect() {
        let (decoder, stats) = checking(UnknownDynamicFields::Warn);
        for _ in 0..2 {
            let decoded = decoder
                .decode(ResourceType::ClusterLoadAssignment, &newer())
                .expect("it is used");
            assert_eq!(decoded.without_effect[0].path.as_str(), "9999");
        }
        assert_eq!(stats.counter(server::DYNAMIC_UNKNOWN_FIELDS), 1);
    }

    #[test]
    fn an_unknown_field_is_refused_by_name_where_that_is_asked_for() {
        let (decoder, stats) = checking(UnknownDynamicFields::Reject);
        let faults = decoder
            .decode(ResourceType::ClusterLoadAssignment, &newer())
            .expect_err("refused");
        assert_eq!(
            faults[0].to_string(),
            "9999: envoy.config.endpoint.v3.ClusterLoadAssignment has no field with the number 9999"
        );
        assert_eq!(stats.counter(server::DYNAMIC_UNKNOWN_FIELDS), 0);
    }

    #[test]
    fn unknown_fields_are_not_looked_for_where_they_are_to_be_ignored() {
        let (decoder, stats) = checking(UnknownDynamicFields::Ignore);
        let decoded = decoder
            .decode(ResourceType::ClusterLoadAssignment, &newer())
            .expect("it is used");
        assert!(decoded.without_effect.is_empty());
        assert_eq!(stats.counter(server::DYNAMIC_UNKNOWN_FIELDS), 0);
    }
}
