//! Responses in both protocols, one after the other: no panic, and what is published is consistent.
#![no_main]

mod resources;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| resources::responses(input));
