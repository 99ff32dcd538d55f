//! protobuf's wire format, read and written field by field (<https://protobuf.dev/programming-guides/encoding/>).

use std::fmt;

/// One field's value as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireValue<'a> {
    /// Integers, booleans and enums.
    Varint(u64),
    /// `fixed64`, `sfixed64`, `double`.
    Fixed64(u64),
    /// `fixed32`, `sfixed32`, `float`.
    Fixed32(u32),
    /// Strings, bytes, messages and packed lists.
    Bytes(&'a [u8]),
}

/// Bytes that are not a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireError;

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes are not a protobuf message")
    }
}

impl std::error::Error for WireError {}

/// Reads a message's fields in the order of the wire: number and value. Ends after the first error.
#[derive(Clone, Debug)]
pub struct WireFields<'a> {
    rest: &'a [u8],
}

impl<'a> WireFields<'a> {
    /// The fields of the message in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn field(&mut self) -> Result<(u32, WireValue<'a>), WireError> {
        let tag = varint(&mut self.rest)?;
        let number = u32::try_from(tag >> 3)
            .ok()
            .filter(|number| *number != 0)
            .ok_or(WireError)?;
        let value = match tag & 7 {
            0 => WireValue::Varint(varint(&mut self.rest)?),
            1 => WireValue::Fixed64(fixed64(&mut self.rest)?),
            5 => WireValue::Fixed32(fixed32(&mut self.rest)?),
            2 => {
                let length = usize::try_from(varint(&mut self.rest)?).map_err(|_| WireError)?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(WireError)?;
                self.rest = rest;
                WireValue::Bytes(bytes)
            }
            // Groups: not in proto3.
            _ => return Err(WireError),
        };
        Ok((number, value))
    }
}

impl<'a> Iterator for WireFields<'a> {
    type Item = Result<(u32, WireValue<'a>), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

pub(crate) fn varint(rest: &mut &[u8]) -> Result<u64, WireError> {
    let mut value = 0;
    for (index, byte) in rest.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *rest = &rest[index + 1..];
            return Ok(value);
        }
    }
    Err(WireError)
}

pub(crate) fn fixed64(rest: &mut &[u8]) -> Result<u64, WireError> {
    let (bytes, after) = rest.split_first_chunk().ok_or(WireError)?;
    *rest = after;
    Ok(u64::from_le_bytes(*bytes))
}

pub(crate) fn fixed32(rest: &mut &[u8]) -> Result<u32, WireError> {
    let (bytes, after) = rest.split_first_chunk().ok_or(WireError)?;
    *rest = after;
    Ok(u32::from_le_bytes(*bytes))
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        // The low seven bits and the mark that more follow.
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a field with its tag.
pub fn put_field(out: &mut Vec<u8>, number: u32, value: WireValue<'_>) {
    let number = u64::from(number) << 3;
    match value {
        WireValue::Varint(value) => {
            put_varint(out, number);
            put_varint(out, value);
        }
        WireValue::Fixed64(value) => {
            put_varint(out, number | 1);
            out.extend_from_slice(&value.to_le_bytes());
        }
        WireValue::Bytes(bytes) => {
            put_varint(out, number | 2);
            put_varint(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
        WireValue::Fixed32(value) => {
            put_varint(out, number | 5);
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
}

/// Takes the elements of a repeated message field out of a message, so that they can be decoded one at a time: the rest
/// of the message, and the elements in their order. None when the bytes, or one field with that number, are no such
/// thing.
pub fn take_repeated(bytes: &[u8], number: u32) -> Option<(Vec<u8>, Vec<&[u8]>)> {
    let mut rest = Vec::new();
    let mut elements = Vec::new();
    for field in WireFields::new(bytes) {
        match field.ok()? {
            (found, WireValue::Bytes(element)) if found == number => elements.push(element),
            (found, _) if found == number => return None,
            (other, value) => put_field(&mut rest, other, value),
        }
    }
    Some((rest, elements))
}
