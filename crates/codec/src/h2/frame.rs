//! Frame headers and the frames without state of their own (RFC 9113 sections 4.1 and 6).

use crate::event::ErrorCode;

/// Octets of a frame header.
pub(crate) const HEADER_LEN: usize = 9;
/// What a client sends first (RFC 9113 section 3.4).
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The window every connection and stream starts with, and the smallest largest frame (RFC 9113 section 6.5.2).
pub(crate) const DEFAULT_WINDOW: u32 = 65_535;
/// Initial and smallest value of SETTINGS_MAX_FRAME_SIZE.
pub(crate) const DEFAULT_MAX_FRAME_SIZE: u32 = 16_384;
/// Largest value a flow-control window or a stream identifier can have.
pub(crate) const MAX_31: u32 = 0x7fff_ffff;

pub(crate) const DATA: u8 = 0x0;
pub(crate) const HEADERS: u8 = 0x1;
pub(crate) const PRIORITY: u8 = 0x2;
pub(crate) const RST_STREAM: u8 = 0x3;
pub(crate) const SETTINGS: u8 = 0x4;
pub(crate) const PUSH_PROMISE: u8 = 0x5;
pub(crate) const PING: u8 = 0x6;
pub(crate) const GOAWAY: u8 = 0x7;
pub(crate) const WINDOW_UPDATE: u8 = 0x8;
pub(crate) const CONTINUATION: u8 = 0x9;

pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
pub(crate) const PADDED: u8 = 0x8;
pub(crate) const PRIORITY_FLAG: u8 = 0x20;

/// A frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Octets of payload, 24 bits.
    pub(crate) length: u32,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    /// Stream identifier without the reserved bit.
    pub(crate) stream: u32,
}

impl FrameHeader {
    #[inline]
    pub(crate) fn parse(octets: &[u8; HEADER_LEN]) -> Self {
        let [a, b, c, kind, flags, s @ ..] = *octets;
        Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            stream: u32::from_be_bytes(s) & MAX_31,
        }
    }

    #[inline]
    pub(crate) fn octets(self) -> [u8; HEADER_LEN] {
        let [_, a, b, c] = self.length.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [a, b, c, self.kind, self.flags, s0, s1, s2, s3]
    }

    #[inline]
    pub(crate) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Appends a frame whose payload is one 32-bit number: WINDOW_UPDATE and RST_STREAM.
#[inline]
pub(crate) fn write_u32(out: &mut Vec<u8>, kind: u8, stream: u32, value: u32) {
    let mut frame = [0; HEADER_LEN + 4];
    frame[..HEADER_LEN].copy_from_slice(
        &FrameHeader {
            length: 4,
            kind,
            flags: 0,
            stream,
        }
        .octets(),
    );
    frame[HEADER_LEN..].copy_from_slice(&value.to_be_bytes());
    out.extend_from_slice(&frame);
}

pub(crate) fn write_ping(out: &mut Vec<u8>, flags: u8, payload: [u8; 8]) {
    out.extend_from_slice(
        &FrameHeader {
            length: 8,
            kind: PING,
            flags,
            stream: 0,
        }
        .octets(),
    );
    out.extend_from_slice(&payload);
}

pub(crate) fn write_goaway(out: &mut Vec<u8>, last_stream: u32, code: ErrorCode, debug: &[u8]) {
    // Debug data is for people: what would not fit the smallest largest frame is cut.
    let debug = &debug[..debug.len().min(1024)];
    let length = 8 + debug.len() as u32;
    out.extend_from_slice(
        &FrameHeader {
            length,
            kind: GOAWAY,
            flags: 0,
            stream: 0,
        }
        .octets(),
    );
    out.extend_from_slice(&last_stream.to_be_bytes());
    out.extend_from_slice(&code.0.to_be_bytes());
    out.extend_from_slice(debug);
}

/// Reads a big-endian 32-bit number at `at`; the caller has checked the length.
#[inline]
pub(crate) fn u32_at(payload: &[u8], at: usize) -> u32 {
    let mut octets = [0; 4];
    octets.copy_from_slice(&payload[at..at + 4]);
    u32::from_be_bytes(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9113 section 4.1: the reserved bit is ignored on receipt and unset when sent.
    #[test]
    fn a_frame_header_survives_the_round_trip_and_loses_the_reserved_bit() {
        let header = FrameHeader {
            length: 0x01_02_03,
            kind: HEADERS,
            flags: END_HEADERS | PADDED,
            stream: 77,
        };
        let mut octets = header.octets();
        assert_eq!(FrameHeader::parse(&octets), header);
        octets[5] |= 0x80;
        assert_eq!(FrameHeader::parse(&octets), header);
    }
}
