//! The recorded corpus of the fuzz targets, run through the same bodies on the stable toolchain: no panic, and the same
//! events however the input is cut. `make fuzz` explores from the same files.

#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]

use std::path::Path;

#[path = "../fuzz/fuzz_targets/h1.rs"]
mod h1;
#[path = "../fuzz/fuzz_targets/h2.rs"]
mod h2;

/// The inputs recorded for a target, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs: Vec<_> = std::fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(&path).unwrap())
        })
        .collect();
    inputs.sort();
    assert!(
        inputs.len() >= 10,
        "the corpus of {target} has only {} inputs",
        inputs.len()
    );
    inputs
}

#[test]
fn http2_inputs_give_the_same_events_however_they_are_cut() {
    for (target, role) in [("h2_server", h2::Role::Server), ("h2_client", h2::Role::Client)] {
        for (name, input) in corpus(target) {
            let Some((&cut, input)) = input.split_first() else {
                continue;
            };
            let whole = h2::run(input, usize::MAX, role);
            for piece in [1, 7, usize::from(cut) % 40 + 1] {
                assert_eq!(
                    whole,
                    h2::run(input, piece, role),
                    "{target}/{name} in pieces of {piece}"
                );
            }
        }
    }
}

#[test]
fn http1_inputs_give_the_same_events_however_they_are_cut() {
    for (target, role) in [("h1_server", h1::Role::Server), ("h1_client", h1::Role::Client)] {
        for (name, input) in corpus(target) {
            let whole = h1::run(&input, input.len().max(1), role);
            for piece in [1, 5, 16] {
                assert_eq!(
                    whole,
                    h1::run(&input, piece, role),
                    "{target}/{name} in pieces of {piece}"
                );
            }
        }
    }
}
