//! Frames to an HTTP/2 server: no panic, and the same events however the input is cut.
#![no_main]

mod h2;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&cut, input)) = input.split_first() else { return };
    let whole = h2::run(input, usize::MAX, h2::Role::Server);
    let pieces = h2::run(input, usize::from(cut) % 40 + 1, h2::Role::Server);
    assert_eq!(whole, pieces);
});
