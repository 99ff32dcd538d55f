//! Header block fragments to header blocks.
//!
//! Strings are decoded straight into the buffer of the [`HeaderBlock`] and become fields by their place in it. Fields
//! out of the dynamic table were validated when they entered it; literals are validated once, here.

use super::dynamic_table::{DynamicTable, ENTRY_OVERHEAD};
use super::hash::field_hash;
use super::{huffman, integer, static_table};
use crate::headers::validate::{self, Kind, Malformed};
use crate::headers::{HeaderBlock, SENSITIVE};
use crate::names::KnownName;

/// How much a decoded block may hold. What is over is not stored, but the compression state stays in step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Names, values and 32 bytes for each field (RFC 9113 section 6.5.2).
    pub list_size: u32,
    /// Fields, pseudo-headers included (Envoy's `max_headers_count`).
    pub fields: u32,
}

/// What became of a block that was decoded to its end; in every case the connection can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// The block is complete and well-formed.
    Complete,
    /// It is over the limits: answer 431 or reset the stream. The block holds part of it.
    TooLarge,
    /// It is malformed: a stream error (RFC 9113 section 8.1.1). The block holds part of it.
    Malformed(Malformed),
}

/// The compression state is lost: a connection error of type COMPRESSION_ERROR (RFC 9113 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The block ends within a field.
    Truncated,
    /// An integer that is too large or too long (RFC 7541 section 5.1).
    IntegerOverflow,
    /// An index of 0 or beyond both tables (RFC 7541 sections 2.3.3, 6.1).
    InvalidIndex,
    /// Huffman padding that is too long or not of ones, or an EOS symbol (RFC 7541 section 5.2).
    InvalidHuffman,
    /// A size update above the limit, after the first field, or missing where one was due (RFC 7541 sections 4.2,
    /// 6.3).
    InvalidSizeUpdate,
}

impl DecodeError {
    /// What was violated, with its section.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Truncated => "header block ends within a field (RFC 7541 section 6)",
            Self::IntegerOverflow => "HPACK integer overflow (RFC 7541 section 5.1)",
            Self::InvalidIndex => "HPACK index outside the tables (RFC 7541 section 2.3.3)",
            Self::InvalidHuffman => "invalid Huffman code or padding (RFC 7541 section 5.2)",
            Self::InvalidSizeUpdate => "invalid or missing dynamic table size update (RFC 7541 section 4.2)",
        }
    }
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for DecodeError {}

/// The decoding half of a connection's compression state.
#[derive(Debug)]
pub struct Decoder {
    pub(super) table: DynamicTable,
    /// What we have announced and the peer has acknowledged.
    limit: usize,
    /// The limit went below the size in use: the next block must begin with a size update (section 4.2).
    update_due: bool,
}

impl Decoder {
    /// A decoder for a peer that may use a dynamic table of up to `max_size` bytes: the SETTINGS_HEADER_TABLE_SIZE
    /// in force, 4096 if none was announced.
    pub fn new(max_size: usize) -> Self {
        Self {
            table: DynamicTable::new(max_size),
            limit: max_size,
            update_due: false,
        }
    }

    /// The peer has acknowledged another SETTINGS_HEADER_TABLE_SIZE. If it is below the size in use, the next block
    /// must begin with a size update.
    pub fn set_max_size(&mut self, max_size: usize) {
        self.limit = max_size;
        self.update_due |= max_size < self.table.max_size();
    }

    /// Bytes of memory the dynamic table holds.
    pub fn capacity(&self) -> usize {
        self.table.capacity()
    }

    /// Decodes one whole header block into `block` (cleared first) and validates it in the same pass. `input` is the
    /// concatenation of its fragments.
    ///
    /// The work is bounded by the length of `input`, and what is stored by `limits`.
    pub fn decode(
        &mut self,
        input: &[u8],
        kind: Kind,
        limits: Limits,
        block: &mut HeaderBlock,
    ) -> Result<Decoded, DecodeError> {
        block.clear();
        let mut pass = Pass {
            block,
            kind,
            size_left: limits.list_size as usize,
            fields_left: limits.fields,
            pseudo_allowed: true,
            fault: None,
        };
        let mut input = input;
        self.size_updates(&mut input)?;
        while let Some(&first) = input.first() {
            if first & 0x80 != 0 {
                let index = integer::decode(&mut input, 7)?;
                self.indexed(index as usize, &mut pass)?;
            } else if first & 0x40 != 0 {
                let index = integer::decode(&mut input, 6)?;
                self.literal(index as usize, &mut input, true, 0, &mut pass)?;
            } else if first & 0x20 != 0 {
                return Err(DecodeError::InvalidSizeUpdate);
            } else {
                let flags = if first & 0x10 != 0 { SENSITIVE } else { 0 };
                let index = integer::decode(&mut input, 4)?;
                self.literal(index as usize, &mut input, false, flags, &mut pass)?;
            }
        }
        Ok(match pass.fault {
            Some(fault) => fault,
            None => match validate::structure(block, kind) {
                Ok(()) => Decoded::Complete,
                Err(malformed) => Decoded::Malformed(malformed),
            },
        })
    }

    fn size_updates(&mut self, input: &mut &[u8]) -> Result<(), DecodeError> {
        while let Some(&first) = input.first() {
            if first & 0xe0 != 0x20 {
                break;
            }
            let size = integer::decode(input, 5)? as usize;
            if size > self.limit {
                return Err(DecodeError::InvalidSizeUpdate);
            }
            self.table.set_max_size(size);
            self.update_due = false;
        }
        if self.update_due {
            Err(DecodeError::InvalidSizeUpdate)
        } else {
            Ok(())
        }
    }

    #[inline]
    fn indexed(&self, index: usize, pass: &mut Pass<'_>) -> Result<(), DecodeError> {
        let start = pass.block.bytes.len();
        if let Some(index) = index.checked_sub(static_table::LEN + 1) {
            let entry = self.table.entry(index).ok_or(DecodeError::InvalidIndex)?;
            if pass.fault.is_some() {
                // An octet that stands for a large entry must not cost a copy of it once the block is refused.
                return Ok(());
            }
            pass.block.bytes.extend_from_slice(self.table.octets(entry));
            pass.field(Decoding {
                known: entry.known,
                start,
                name_len: entry.name_len(),
                size: entry.size(),
                hash: entry.hash,
                flags: 0,
                fault: entry.fault,
            });
        } else {
            let &(name, value) = index
                .checked_sub(1)
                .and_then(|index| static_table::ENTRIES.get(index))
                .ok_or(DecodeError::InvalidIndex)?;
            pass.block.bytes.extend_from_slice(value.as_bytes());
            pass.field(Decoding {
                known: Some(name),
                start,
                name_len: 0,
                size: name.as_bytes().len() + value.len() + ENTRY_OVERHEAD,
                hash: 0,
                flags: 0,
                fault: None,
            });
        }
        Ok(())
    }

    fn literal(
        &mut self,
        name_index: usize,
        input: &mut &[u8],
        is_indexed: bool,
        flags: u8,
        pass: &mut Pass<'_>,
    ) -> Result<(), DecodeError> {
        let start = pass.block.bytes.len();
        let known = if name_index == 0 {
            string(input, &mut pass.block.bytes)?;
            let known = KnownName::from_bytes(&pass.block.bytes[start..]);
            if known.is_some() {
                pass.block.bytes.truncate(start);
            }
            known
        } else if let Some(&(known, _)) = static_table::ENTRIES.get(name_index - 1) {
            Some(known)
        } else {
            let entry = self
                .table
                .entry(name_index - static_table::LEN - 1)
                .ok_or(DecodeError::InvalidIndex)?;
            if is_indexed || pass.fault.is_none() {
                pass.block.bytes.extend_from_slice(self.table.name_and_value(entry).0);
            }
            entry.known
        };
        let name_len = pass.block.bytes.len() - start;
        let code = string(input, &mut pass.block.bytes)?;
        let (name, value) = pass.block.bytes[start..].split_at(name_len);
        let fault = validate::field(known, name, value).err();
        let mut hash = 0;
        if is_indexed {
            hash = field_hash(known, name, value);
            self.table.insert(known, name, value, hash, fault);
        }
        let octets = known.map_or(name_len, |known| known.as_bytes().len()) + value.len();
        let is_regular = !known.is_some_and(KnownName::is_pseudo);
        let is_stored = pass.field(Decoding {
            known,
            start,
            name_len,
            size: octets + ENTRY_OVERHEAD,
            hash,
            flags,
            fault,
        });
        if is_stored && is_regular && !is_indexed && !code.is_empty() {
            pass.block.keep_huffman(code);
        }
        Ok(())
    }
}

/// Appends a string literal (section 5.2) to `output` and moves `input` behind it. Returns its Huffman code, or
/// nothing if it had none.
#[inline]
fn string<'i>(input: &mut &'i [u8], output: &mut Vec<u8>) -> Result<&'i [u8], DecodeError> {
    let &first = input.first().ok_or(DecodeError::Truncated)?;
    let length = integer::decode(input, 7)? as usize;
    let (octets, rest) = input.split_at_checked(length).ok_or(DecodeError::Truncated)?;
    *input = rest;
    if first & 0x80 != 0 {
        huffman::decode(octets, output)?;
        Ok(octets)
    } else {
        output.extend_from_slice(octets);
        Ok(&[])
    }
}

/// A decoded field whose octets are the last of the block's bytes.
struct Decoding {
    known: Option<KnownName>,
    start: usize,
    /// 0 when the name is a known one.
    name_len: usize,
    /// As it counts against the limit on the list.
    size: usize,
    hash: u32,
    flags: u8,
    fault: Option<Malformed>,
}

/// One block on its way into a [`HeaderBlock`].
struct Pass<'a> {
    block: &'a mut HeaderBlock,
    kind: Kind,
    size_left: usize,
    fields_left: u32,
    /// No regular field has been seen.
    pseudo_allowed: bool,
    /// Once set, nothing more is stored.
    fault: Option<Decoded>,
}

impl Pass<'_> {
    /// Stores a field, or drops it; returns which.
    #[inline]
    fn field(&mut self, field: Decoding) -> bool {
        let start = field.start;
        if self.fault.is_none() {
            match self.store(field) {
                Ok(()) => return true,
                Err(fault) => self.fault = Some(fault),
            }
        }
        self.block.bytes.truncate(start);
        false
    }

    #[inline]
    fn store(&mut self, field: Decoding) -> Result<(), Decoded> {
        let Decoding {
            known,
            start,
            name_len,
            hash,
            flags,
            fault,
            ..
        } = field;
        let Some(size_left) = self.size_left.checked_sub(field.size) else {
            return Err(Decoded::TooLarge);
        };
        let Some(fields_left) = self.fields_left.checked_sub(1) else {
            return Err(Decoded::TooLarge);
        };
        self.size_left = size_left;
        self.fields_left = fields_left;
        if let Some(known) = known
            && known.is_pseudo()
        {
            return self
                .pseudo(known, start, hash, flags & SENSITIVE != 0, fault)
                .map_err(Decoded::Malformed);
        }
        if let Some(fault) = fault {
            return Err(Decoded::Malformed(fault));
        }
        self.pseudo_allowed = false;
        match known {
            Some(known) => self.block.commit_known(known, start, hash, flags),
            None => self.block.commit_other(start, name_len, hash, flags),
        }
        Ok(())
    }

    fn pseudo(
        &mut self,
        known: KnownName,
        start: usize,
        hash: u32,
        sensitive: bool,
        fault: Option<Malformed>,
    ) -> Result<(), Malformed> {
        let is_status = known == KnownName::Status;
        match self.kind {
            Kind::Trailers => return Err(Malformed::PseudoInTrailers),
            Kind::Request { .. } if is_status => return Err(Malformed::UnknownPseudo),
            Kind::Response if !is_status => return Err(Malformed::UnknownPseudo),
            _ => {}
        }
        if !self.pseudo_allowed {
            return Err(Malformed::LatePseudo);
        }
        if self.block.contains(known) {
            return Err(Malformed::DuplicatePseudo);
        }
        if let Some(fault) = fault {
            return Err(fault);
        }
        if is_status {
            let status = validate::status(&self.block.bytes[start..]).ok_or(Malformed::Status)?;
            self.block.bytes.truncate(start);
            self.block.set_status(status);
        } else {
            self.block.commit_pseudo(known, start, hash, sensitive);
        }
        Ok(())
    }
}
