//! What the targets do with an input. The test of the recorded corpus includes this file, too.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use config::config_source::{ApiConfigSource, ApiType, ConfigSource};
use config::{Extensions, ResourceType};
use telemetry::stats::Registry;
use xds::decode::name_hint;
use xds::engine::{Engine, EngineOptions};
use xds::session::Response;
use xds::source::SourceId;
use xds::{Decoder as _, ExtensionsDecoder};
use xds_api::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};
use xds_api::google::protobuf::Any;
use xds_api::prost::Message as _;
use xds_api::schema::{Field, MessageType};
use xds_api::wire::{WireFields, WireValue};

/// Everything a proxy can be told of.
fn decoder() -> &'static Arc<ExtensionsDecoder> {
    static DECODER: OnceLock<Arc<ExtensionsDecoder>> = OnceLock::new();
    DECODER.get_or_init(|| {
        let mut extensions = Extensions::new();
        tls::register(&mut extensions);
        proxy::register(&mut extensions);
        Arc::new(ExtensionsDecoder::new(Arc::new(extensions)))
    })
}

/// One resource of a type: refused with a reason, or accepted under its name; and always the same.
pub(crate) fn resource(resource_type: ResourceType, input: &[u8]) {
    let any = Any {
        type_url: resource_type.type_url().to_owned(),
        value: input.to_vec(),
    };
    let (first, again) = (
        decoder().decode(resource_type, &any),
        decoder().decode(resource_type, &any),
    );
    match (first, again) {
        (Ok(first), Ok(again)) => {
            assert_eq!(first.resource, again.resource);
            assert_eq!(first.resource.resource_type(), resource_type);
            if is_regular(resource_type, input) {
                assert_eq!(name_hint(input).unwrap_or_default(), &**first.name());
            }
        }
        (Err(faults), Err(again)) => {
            assert!(!faults.is_empty() && faults.len() == again.len());
            assert!(faults.iter().all(|fault| !fault.to_string().is_empty()));
        }
        _ => panic!("accepted once and refused once"),
    }
}

/// Whether the fields are where everyone finds them. prost reads an entry of a map whatever the field's wire type says, and
/// passes over groups, which proto3 does not have: a search for the name may go astray in either.
fn is_regular(resource_type: ResourceType, input: &[u8]) -> bool {
    let message = MessageType::named(resource_type.message()).expect("a resource's message is known");
    let is_map = |number| message.field(number).is_some_and(Field::is_map);
    WireFields::new(input)
        .all(|field| field.is_ok_and(|(number, value)| matches!(value, WireValue::Bytes(_)) || !is_map(number)))
}

/// Responses to a client: of every length that the input gives, in the protocol that its first byte chooses.
pub(crate) fn responses(mut input: &[u8]) {
    let Some((&first, rest)) = input.split_first() else {
        return;
    };
    input = rest;
    let delta = first & 1 == 1;
    let now = Instant::now();
    let options = EngineOptions {
        ads_config: Some(Arc::new(ApiConfigSource {
            api_type: if delta {
                ApiType::AggregatedDeltaGrpc
            } else {
                ApiType::AggregatedGrpc
            },
            grpc_services: Vec::new(),
            set_node_on_first_message_only: true,
            request_timeout: None,
            rate_limit_settings: None,
        })),
        cds_config: Some(Arc::new(ConfigSource::ads())),
        lds_config: Some(Arc::new(ConfigSource::ads())),
        cluster_wait: Duration::from_secs(15),
        does_not_exist_timeout: Some(Duration::from_secs(15)),
        ..EngineOptions::default()
    };
    let decoder: Arc<ExtensionsDecoder> = Arc::clone(decoder());
    let mut engine = Engine::new(options, decoder, &Registry::new(1), now, SystemTime::UNIX_EPOCH);
    engine.stream_opened(SourceId::ADS, 0, now);
    while !input.is_empty() {
        // Two bytes of length, then the response.
        let (&[high, low], rest) = input.split_first_chunk().unwrap_or((&[0, 0], &[]));
        let (response, rest) = rest.split_at(usize::from(u16::from_be_bytes([high, low])).min(rest.len()));
        input = rest;
        while engine.next_request(SourceId::ADS, now).is_some() {}
        let response = if delta {
            DeltaDiscoveryResponse::decode(response).map(Response::Delta)
        } else {
            DiscoveryResponse::decode(response).map(Response::StateOfTheWorld)
        };
        let Ok(response) = response else { continue };
        let _ = engine.receive(SourceId::ADS, response, now);
    }
    if let Some(config) = engine.take_config() {
        // A new table is published with the clusters it names, or not at all while nobody has waited.
        assert!(config.listeners.len() <= engine.status(now).resources.len());
    }
}
