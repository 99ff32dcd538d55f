//! Clusters: parsed and validated without a panic, and the same way again.
#![no_main]

mod resources;

use config::ResourceType;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| resources::resource(ResourceType::Cluster, input));
