//! Both sides of the comparison, in the same words.

pub(crate) mod generate;
pub(crate) mod ours;
pub(crate) mod theirs;

use std::collections::{BTreeMap, BTreeSet};

/// What became of a connection.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Why it was ended, if it was.
    pub(crate) connection_error: Option<String>,
    pub(crate) streams: BTreeMap<u32, Stream>,
}

/// What was delivered of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Stream {
    /// Method or status, scheme, authority, path.
    pub(crate) line: Vec<String>,
    pub(crate) fields: BTreeMap<String, Vec<Vec<u8>>>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<BTreeMap<String, Vec<Vec<u8>>>>,
    pub(crate) ended: bool,
    /// The peer reset it.
    pub(crate) reset: bool,
    /// RST_STREAM was sent, and why.
    pub(crate) refused: Option<String>,
}

/// RST_STREAM frames, and the error code of a GOAWAY, in what a connection has written.
pub(crate) fn refusals(mut bytes: &[u8]) -> (BTreeSet<(u32, u32)>, Option<u32>) {
    bytes = bytes.strip_prefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap_or(bytes);
    let mut resets = BTreeSet::new();
    let mut goaway = None;
    while bytes.len() >= 9 {
        let length = usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        match bytes[3] {
            3 => {
                resets.insert((number(5), number(9)));
            }
            7 if number(13) != 0 => goaway = Some(number(13)),
            _ => {}
        }
        bytes = &bytes[9 + length..];
    }
    (resets, goaway)
}
