//! Byte buffers passed from connection to connection.
//!
//! A connection holds output and queued data only while there is some, so buffers come and go with every burst. The
//! thread keeps a few of those given back: a worker's connections share what one of them needs at a time, and a warm
//! worker allocates nothing.

use std::cell::RefCell;

/// Most octets kept, and so the most this cache costs a thread.
const MAX_KEPT: usize = 1024 * 1024;
/// Most buffers kept.
const MAX_BUFFERS: usize = 16;
/// What a new buffer starts with: enough for a few heads, and still served from the allocator's thread cache.
const FIRST_CAPACITY: usize = 1024;

#[derive(Default)]
struct Spare {
    buffers: Vec<Vec<u8>>,
    octets: usize,
}

thread_local! {
    static SPARE: RefCell<Spare> = const { RefCell::new(Spare { buffers: Vec::new(), octets: 0 }) };
}

/// An empty buffer with some capacity.
#[inline]
pub(crate) fn take() -> Vec<u8> {
    SPARE
        .try_with(|spare| {
            let mut spare = spare.borrow_mut();
            let buffer = spare.buffers.pop()?;
            spare.octets -= buffer.capacity();
            Some(buffer)
        })
        .ok()
        .flatten()
        .unwrap_or_else(|| Vec::with_capacity(FIRST_CAPACITY))
}

/// Gives a buffer back; its content is dropped.
#[inline]
pub(crate) fn give(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 {
        return;
    }
    buffer.clear();
    // At the end of a thread the cache may be gone already: then the buffer is simply freed.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.buffers.len() < MAX_BUFFERS && spare.octets + buffer.capacity() <= MAX_KEPT {
            spare.octets += buffer.capacity();
            spare.buffers.push(buffer);
        }
    });
}
