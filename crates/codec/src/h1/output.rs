//! What waits for the socket, and which part of it the source of a body has no credit for yet.

use crate::h2::spare;

/// Written bytes kept at the front before the rest is moved down.
const MAX_DEAD: usize = 256 * 1024;

/// The output buffer; holds memory only while there is something in it.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    /// Bytes at the front of `bytes` that have been written.
    start: usize,
    /// Bytes ever written.
    flushed: u64,
    /// Body bytes taken while the output was over its cap: their source gets credit as it drains.
    deferred: usize,
    /// Of these, the ones the output has made room for, to be reported.
    to_report: usize,
}

impl Output {
    #[inline]
    pub(super) fn pending(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(super) fn flushed(&self) -> u64 {
        self.flushed
    }

    pub(super) fn produced(&self) -> u64 {
        self.flushed + self.len() as u64
    }

    /// Body bytes not reported as sent yet.
    pub(super) fn unreported(&self) -> usize {
        self.deferred + self.to_report
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The buffer to append to.
    #[inline]
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = spare::take();
        } else if self.start > MAX_DEAD && self.start > self.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        &mut self.bytes
    }

    /// `count` body bytes are about to be appended; returns how many of them are within the cap.
    pub(super) fn account(&mut self, count: usize, cap: usize) -> usize {
        // Behind what is deferred already, nothing is at once.
        let room = if self.deferred > 0 {
            0
        } else {
            cap.saturating_sub(self.len())
        };
        let at_once = count.min(room);
        self.deferred += count - at_once;
        at_once
    }

    /// The caller wrote `count` bytes.
    #[inline]
    pub(super) fn advance(&mut self, count: usize, cap: usize) {
        let count = count.min(self.len());
        self.start += count;
        self.flushed += count as u64;
        if self.start == self.bytes.len() {
            spare::give(std::mem::take(&mut self.bytes));
            self.start = 0;
        }
        if self.deferred > 0 {
            // The deferred bytes are the last ones; those of them that now lie within the cap have been sent.
            let beyond = self.len().saturating_sub(cap);
            let sent = self.deferred.saturating_sub(beyond);
            self.deferred -= sent;
            self.to_report += sent;
        }
    }

    /// Body bytes to report as sent.
    pub(super) fn take_report(&mut self) -> usize {
        std::mem::take(&mut self.to_report)
    }

    /// Nobody waits for the report any more.
    pub(super) fn forget_deferred(&mut self) {
        self.deferred = 0;
        self.to_report = 0;
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        spare::give(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(output: &mut Output, count: usize) -> usize {
        let at_once = output.account(count, 100);
        output.buffer().extend(std::iter::repeat_n(b'x', count));
        at_once
    }

    #[test]
    fn what_is_over_the_cap_is_reported_as_the_output_drains() {
        let mut output = Output::default();
        assert_eq!(push(&mut output, 80), 80);
        assert_eq!(push(&mut output, 80), 20);
        assert_eq!(push(&mut output, 10), 0);
        assert_eq!(output.unreported(), 70);
        output.advance(30, 100);
        assert_eq!(output.take_report(), 30);
        output.advance(40, 100);
        assert_eq!((output.take_report(), output.unreported()), (40, 0));
        output.advance(1000, 100);
        assert_eq!((output.len(), output.flushed(), output.capacity()), (0, 170, 0));
    }
}
