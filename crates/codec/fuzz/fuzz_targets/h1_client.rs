//! An HTTP/1.1 client fed any bytes: no panic, the same events whole and byte by byte, and memory stays bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;

mod h1;

fuzz_target!(|data: &[u8]| {
    let whole = h1::run(data, data.len().max(1), h1::Role::Client);
    let bytes = h1::run(data, 1, h1::Role::Client);
    assert_eq!(whole, bytes);
});
