//! Changes to fields that are there.

use super::{Field, FieldRef, HeaderBlock, Pseudo, SENSITIVE};
use crate::names::{AsName, KnownName, Name};

impl HeaderBlock {
    /// Keeps only the regular fields for which `keep` returns true.
    pub fn retain(&mut self, mut keep: impl FnMut(FieldRef<'_>) -> bool) {
        let bytes = &self.bytes;
        self.fields.retain(|field| keep(field.view(bytes)));
        self.present = Default::default();
        for field in &self.fields {
            if let Some(known) = field.known {
                self.present[known.index() / 64] |= 1 << (known.index() % 64);
            }
        }
    }

    /// Replaces all fields with this name by one, at the place of the first (at the end if there was none).
    pub fn set(&mut self, name: impl AsName, value: &[u8]) {
        let name = name.as_name();
        if !matches!(name, Name::Known(known) if known.is_pseudo()) {
            let first = self.fields.iter().position(|field| self.is_named(field, name));
            if let Some(first) = first {
                self.append_flagged(name, value, 0, None);
                if let Some(replacement) = self.fields.pop() {
                    self.fields[first] = replacement;
                }
                let mut index = 0;
                let bytes = &self.bytes;
                self.fields.retain(|field| {
                    index += 1;
                    index - 1 == first || !field.has_name(bytes, name)
                });
                return;
            }
        }
        self.append_flagged(name, value, 0, None);
    }

    /// Gives all regular fields called `from` the name `to`, in their places; returns how many there were.
    /// Pseudo-headers can't be renamed, nor can a field become one: both return 0.
    pub fn rename(&mut self, from: impl AsName, to: impl AsName) -> usize {
        let (from, to) = (from.as_name(), to.as_name());
        if matches!(to, Name::Known(known) if known.is_pseudo()) {
            return 0;
        }
        let mut renamed = 0;
        for index in 0..self.fields.len() {
            let field = self.fields[index];
            if !self.is_named(&field, from) {
                continue;
            }
            let range = field.value_range();
            let start = self.bytes.len();
            let name_len = match to {
                Name::Known(_) => 0,
                Name::Other(name) => {
                    self.push_lower(name);
                    name.len()
                }
            };
            self.bytes.extend_from_within(range);
            // The name may have been a known one in upper case.
            let known = match to {
                Name::Known(known) => Some(known),
                Name::Other(_) => KnownName::from_bytes(&self.bytes[start..start + name_len]),
            };
            let skipped = if known.is_some() { name_len } else { 0 };
            self.fields[index] = Field {
                start: (start + skipped) as u32,
                name_len: (name_len - skipped) as u32,
                value_len: field.value_len,
                hash: 0,
                known,
                flags: field.flags & SENSITIVE,
                huffman_len: 0,
            };
            renamed += 1;
        }
        if renamed > 0 {
            self.retain(|_| true);
        }
        renamed
    }

    /// Joins several `cookie` fields into one with `"; "`, as RFC 9113 section 8.2.3 asks before a block leaves
    /// HTTP/2. Does nothing if there are fewer than two.
    pub fn join_cookies(&mut self) {
        if !self.has(KnownName::Cookie) || self.get_all(&KnownName::Cookie).nth(1).is_none() {
            return;
        }
        let start = self.bytes.len();
        let mut sensitive = 0;
        for index in 0..self.fields.len() {
            let field = self.fields[index];
            if field.known == Some(KnownName::Cookie) {
                if self.bytes.len() > start {
                    self.bytes.extend_from_slice(b"; ");
                }
                self.bytes.extend_from_within(field.value_range());
                sensitive |= field.flags & SENSITIVE;
            }
        }
        let joined = Field {
            start: start as u32,
            name_len: 0,
            value_len: (self.bytes.len() - start) as u32,
            hash: 0,
            known: Some(KnownName::Cookie),
            flags: sensitive,
            huffman_len: 0,
        };
        let mut first = true;
        self.fields.retain_mut(|field| {
            if field.known != Some(KnownName::Cookie) {
                return true;
            }
            *field = joined;
            std::mem::replace(&mut first, false)
        });
    }

    /// Makes the value of a field, which is removed, the `:authority`; nothing is copied.
    pub(crate) fn take_as_authority(&mut self, name: KnownName) {
        if let Some(field) = self.fields.iter().find(|field| field.known == Some(name)) {
            let range = field.value_range();
            self.pseudo[KnownName::Authority.index()] = Pseudo {
                start: range.start as u32,
                len: range.len() as u32,
                hash: 0,
                present: true,
                sensitive: false,
            };
            self.remove(name);
        }
    }
}
