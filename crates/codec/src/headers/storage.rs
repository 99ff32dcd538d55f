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
            hash: self.hash,
        }
    }
}
