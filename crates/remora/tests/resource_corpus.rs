//! The recorded corpus of the resource fuzz targets, and mutations of it, through the same bodies on the stable toolchain.
//! `make fuzz` explores from the same files.

#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]

use std::path::{Path, PathBuf};

use config::ResourceType;

#[path = "../../../tests/testkit/src/corpus.rs"]
#[allow(unreachable_pub, reason = "it is a module of another crate as well")]
mod corpus;
#[path = "../../xds/fuzz/fuzz_targets/resources.rs"]
mod resources;

const TARGETS: [(&str, Option<ResourceType>); 6] = [
    ("cluster", Some(ResourceType::Cluster)),
    ("endpoints", Some(ResourceType::ClusterLoadAssignment)),
    ("listener", Some(ResourceType::Listener)),
    ("routes", Some(ResourceType::RouteConfiguration)),
    ("secret", Some(ResourceType::Secret)),
    ("response", None),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../xds/fuzz/corpus")
}

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    corpus::read(&folder(), target, 3)
}

fn run(of: Option<ResourceType>, input: &[u8]) {
    match of {
        Some(resource_type) => resources::resource(resource_type, input),
        None => resources::responses(input),
    }
}

#[test]
fn every_recorded_input_is_parsed_without_a_panic() {
    for (target, of) in TARGETS {
        for (_, input) in corpus(target) {
            run(of, &input);
            // Cut anywhere, as a stream may end.
            for at in (0..input.len()).step_by(1 + input.len() / 64) {
                run(of, &input[..at]);
            }
        }
    }
}

/// A generator of small random numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit.max(1)
    }
}

/// An input made from recorded ones: bits turned, parts cut out, doubled and taken from another.
fn mutated(inputs: &[(String, Vec<u8>)], random: &mut Random) -> Vec<u8> {
    let mut bytes = inputs[random.below(inputs.len())].1.clone();
    for _ in 0..=random.below(6) {
        let (at, length) = (random.below(bytes.len()), random.below(24));
        let end = (at + length).min(bytes.len());
        match random.below(6) {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = [0, 1, 0x7f, 0x80, 0xff][random.below(5)];
                }
            }
            2 => drop(bytes.drain(at..end)),
            3 => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            4 => {
                let other = &inputs[random.below(inputs.len())].1;
                let from = random.below(other.len());
                let part = &other[from..(from + length).min(other.len())];
                bytes.splice(at..end, part.iter().copied());
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

#[test]
fn mutations_of_recorded_inputs_are_parsed_without_a_panic() {
    // A range from outside repeats or extends a run: `REMORA_FUZZ_SEEDS=1000..2000`.
    let seeds = std::env::var("REMORA_FUZZ_SEEDS").ok().and_then(|range| {
        let (from, to) = range.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    for (target, of) in TARGETS {
        let inputs = corpus(target);
        for seed in seeds.clone().unwrap_or(0u64..600) {
            let mut random = Random((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let input = mutated(&inputs, &mut random);
            let caught = std::panic::catch_unwind(|| run(of, &input));
            assert!(caught.is_ok(), "{target}, seed {seed}: {input:?}");
        }
    }
}

/// Writes the seeds of crates/xds/fuzz/seeds into the corpus: run it after changing them, and commit both.
#[test]
#[ignore = "writes files of the repository"]
fn write_seeds_into_the_corpus() {
    use xds_api::prost::Message as _;
    use xds_api::schema::MessageType;
    use xds_api::{UnknownFields, encode_document, yaml};
    let mut clusters = Vec::new();
    for (target, of) in TARGETS {
        let Some(resource_type) = of else { continue };
        let text = std::fs::read_to_string(folder().join(format!("../seeds/{target}.yaml"))).unwrap();
        std::fs::create_dir_all(folder().join(target)).unwrap();
        let message = MessageType::named(xds_api::type_name(resource_type.type_url())).unwrap();
        for (index, text) in text.split("---\n").enumerate() {
            let document = yaml::parse(text, target).unwrap();
            let bytes = encode_document(&document, message, UnknownFields::Reject)
                .unwrap_or_else(|errors| panic!("{target} {index}: {errors:?}"));
            std::fs::write(folder().join(target).join(format!("seed-{index:02}")), &bytes).unwrap();
            clusters.push((resource_type, bytes));
        }
    }
    // Responses that hold them, each type in one, in both protocols; in order and against it.
    use xds_api::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse, Resource};
    use xds_api::google::protobuf::Any;
    std::fs::create_dir_all(folder().join("response")).unwrap();
    for delta in [false, true] {
        for backwards in [false, true] {
            let mut input = vec![u8::from(delta)];
            let mut types = ResourceType::ALL;
            if backwards {
                types.reverse();
            }
            for resource_type in types {
                let type_url = resource_type.type_url().to_owned();
                let anys = clusters
                    .iter()
                    .filter(|(of, _)| *of == resource_type)
                    .map(|(_, bytes)| Any {
                        type_url: type_url.clone(),
                        value: bytes.clone(),
                    });
                let response = if delta {
                    let resources = anys.map(|any| Resource {
                        name: xds::decode::name_hint(&any.value).unwrap_or_default().to_owned(),
                        version: "1".into(),
                        resource: Some(any),
                        ..Resource::default()
                    });
                    DeltaDiscoveryResponse {
                        resources: resources.collect(),
                        removed_resources: vec!["gone".into()],
                        nonce: "1".into(),
                        type_url,
                        ..DeltaDiscoveryResponse::default()
                    }
                    .encode_to_vec()
                } else {
                    DiscoveryResponse {
                        version_info: "1".into(),
                        resources: anys.collect(),
                        nonce: "1".into(),
                        type_url,
                        ..DiscoveryResponse::default()
                    }
                    .encode_to_vec()
                };
                input.extend(u16::try_from(response.len()).unwrap().to_be_bytes());
                input.extend(response);
            }
            let name = format!(
                "seed-{}-{}",
                if delta { "delta" } else { "sotw" },
                if backwards { "backwards" } else { "in-order" }
            );
            std::fs::write(folder().join("response").join(name), input).unwrap();
        }
    }
}
