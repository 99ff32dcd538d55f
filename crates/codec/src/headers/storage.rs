//! How fields lie in the buffer, for those who write them there first: the decoders.

use super::{Field, FieldRef, HeaderBlock, PSEUDO_COUNT, Pseudo, SENSITIVE, SPELLED};
use crate::names::{KnownName, Name};

impl HeaderBlock {
    /// `bytes[start..]` becomes the value of a known regular name.
    #[inline]
    pub(crate) fn commit_known(&mut self, known: KnownName, start: usize, hash: u32, flags: u8) {
        self.present[known.index() / 64] |= 1 << (known.index() % 64);
        self.fields.push(Field {
            start: start as u32,
            name_len: 0,
            value_len: (self.bytes.len() - start) as u32,
            hash,
            known: Some(known),
            flags,
            huffman_len: 0,
        });
    }

    /// `bytes[start..start + name_len]` becomes the name (lower case, not a known one), the rest the value.
    #[inline]
    pub(crate) fn commit_other(&mut self, start: usize, name_len: usize, hash: u32, flags: u8) {
        self.fields.push(Field {
            start: start as u32,
            name_len: name_len as u32,
            value_len: (self.bytes.len() - start - name_len) as u32,
            hash,
            known: None,
            flags,
            huffman_len: 0,
        });
    }

    /// `bytes[start..]` becomes the value of a pseudo-header other than `:status`.
    #[inline]
    pub(crate) fn commit_pseudo(&mut self, name: KnownName, start: usize, hash: u32, sensitive: bool) {
        if let Some(pseudo) = self.pseudo.get_mut(name.index()) {
            let len = (self.bytes.len() - start) as u32;
            *pseudo = Pseudo {
                start: start as u32,
                len,
                hash,
                present: true,
                sensitive,
            };
        }
    }

    /// The pseudo-headers present, except `:status`: name, value, hash (0 if not computed), never-indexed.
    #[inline]
    pub(crate) fn pseudo_fields(&self) -> impl Iterator<Item = (KnownName, &[u8], u32, bool)> {
        KnownName::ALL[..PSEUDO_COUNT]
            .iter()
            .zip(&self.pseudo)
            .filter(|(_, pseudo)| pseudo.present)
            .map(|(&name, pseudo)| {
                let value = &self.bytes[pseudo.start as usize..(pseudo.start + pseudo.len) as usize];
                (name, value, pseudo.hash, pseudo.sensitive)
            })
    }
}

/// A field as it lies in the buffer, for the encoder.
#[derive(Clone, Copy)]
pub(crate) struct RawField<'a> {
    pub(crate) known: Option<KnownName>,
    /// The name, if it is not a known one, and the value.
    pub(crate) octets: &'a [u8],
    /// 0 when the name is a known one.
    pub(crate) name_len: usize,
    /// HPACK's hash of name and value, 0 if not computed.
    pub(crate) hash: u32,
    pub(crate) is_sensitive: bool,
    /// The value's Huffman code as it came; empty if there is none.
    pub(crate) huffman: &'a [u8],
}

impl HeaderBlock {
    /// The regular fields as they lie in the buffer.
    #[inline]
    pub(crate) fn raw_fields(&self) -> impl Iterator<Item = RawField<'_>> {
        self.fields.iter().map(|field| {
            let start = field.start as usize;
            let end = start + (field.name_len + field.value_len) as usize;
            RawField {
                known: field.known,
                octets: &self.bytes[start..end],
                name_len: field.name_len as usize,
                hash: field.hash,
                is_sensitive: field.flags & SENSITIVE != 0,
                huffman: &self.bytes[end..end + usize::from(field.huffman_len)],
            }
        })
    }

    /// Keeps the Huffman code the value of the field just committed came in, so that passing it on need not make it
    /// again.
    #[inline]
    pub(crate) fn keep_huffman(&mut self, code: &[u8]) {
        if let (Some(field), Ok(length)) = (self.fields.last_mut(), u16::try_from(code.len())) {
            field.huffman_len = length;
            self.bytes.extend_from_slice(code);
        }
    }
}

impl Field {
    #[inline]
    pub(super) fn name_in<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        match self.known {
            Some(known) => known.as_bytes(),
            None => &bytes[self.start as usize..(self.start + self.name_len) as usize],
        }
    }

    #[inline]
    pub(super) fn value_range(&self) -> std::ops::Range<usize> {
        let start = (self.start + self.name_len) as usize;
        start..start + self.value_len as usize
    }

    pub(super) fn has_name(&self, bytes: &[u8], name: Name<'_>) -> bool {
        match name {
            Name::Known(known) => self.known == Some(known),
            Name::Other(name) => self.known.is_none() && self.name_in(bytes) == name,
        }
    }

    #[inline]
    pub(super) fn view<'a>(&self, bytes: &'a [u8]) -> FieldRef<'a> {
        let name = self.name_in(bytes);
        let value = self.value_range();
        let spelling = (self.flags & SPELLED != 0).then(|| &bytes[value.end..value.end + name.len()]);
        FieldRef {
            name,
            value: &bytes[value],
            known: self.known,
            sensitive: self.flags & SENSITIVE != 0,
            spelling,
        }
    }
}
