//! The recorded corpus of the fuzz targets, run through the same bodies on the stable toolchain: no panic, and the same
//! events however the input is cut. `make fuzz` explores from the same files.

#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]

use std::path::Path;

#[path = "../../../tests/testkit/src/corpus.rs"]
#[allow(unreachable_pub, reason = "it is a module of another crate as well")]
mod corpus;
#[path = "../fuzz/fuzz_targets/h1.rs"]
mod h1;
#[path = "../fuzz/fuzz_targets/h2.rs"]
mod h2;

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    corpus::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus"), target, 10)
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
