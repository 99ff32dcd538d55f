//! The header block shared by HTTP/1.1 and HTTP/2.
//!
//! One byte buffer and one vector of spans, both kept between messages, so that a warm worker decodes, edits and
//! encodes a request without allocating. Names inside are lower case; known ones are ids and take no bytes.

mod convert;
mod edit;
mod fields;
pub mod hop_by_hop;
mod storage;
pub mod validate;

pub use fields::{FieldRef, Fields, Values};
pub(crate) use storage::RawField;

use crate::names::{AsName, KnownName, Name};

/// The header fields of one request, response, or trailer section, pseudo-headers included.
///
/// Regular fields keep the order of the wire. A block holds at most 4 GiB; the limits of the connections keep it far
/// below.
///
/// ```
/// use codec::headers::HeaderBlock;
/// use codec::names::KnownName;
///
/// let mut head = HeaderBlock::new();
/// head.set_method(b"GET");
/// head.set_path(b"/");
/// head.append(KnownName::UserAgent, b"example");
/// head.append("x-team", b"blue");
/// assert_eq!(head.get(KnownName::UserAgent), Some(&b"example"[..]));
/// assert_eq!(head.get("x-team"), Some(&b"blue"[..]));
/// ```
#[derive(Clone, Default)]
pub struct HeaderBlock {
    /// Values, names that are not known ones, and original spellings. Removal leaves garbage until `clear`.
    pub(crate) bytes: Vec<u8>,
    fields: Vec<Field>,
    pseudo: [Pseudo; PSEUDO_COUNT],
    /// `:status`; 0 when absent.
    status: u16,
    /// One bit for every known name among `fields`: a look-up of an absent name is one test.
    present: [u64; PRESENT_WORDS],
}

/// `:method`, `:scheme`, `:authority`, `:path`, `:protocol`: the ids below `:status`.
const PSEUDO_COUNT: usize = KnownName::Status as usize;
pub(crate) const PRESENT_WORDS: usize = KnownName::COUNT.div_ceil(64);

/// One regular field. `bytes[start..]` holds the name, if it is not a known one, then the value, then the original
/// spelling of the name if `SPELLED` is set.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    start: u32,
    /// 0 when the name is a known one.
    name_len: u32,
    value_len: u32,
    /// [`field_hash`] of name and value as HPACK's tables compute it, or 0 if nobody has needed it yet.
    hash: u32,
    known: Option<KnownName>,
    flags: u8,
    /// Length of the value's Huffman code as it came, which follows the value; 0 if there is none. Never together with
    /// `SPELLED`.
    huffman_len: u16,
}

/// The peer sent it never-indexed, or it was appended as sensitive (RFC 7541 section 7.1.3).
pub(crate) const SENSITIVE: u8 = 1;
/// The original spelling of the name follows the value.
const SPELLED: u8 = 2;

#[derive(Clone, Copy, Default)]
struct Pseudo {
    start: u32,
    len: u32,
    hash: u32,
    present: bool,
    sensitive: bool,
}

impl HeaderBlock {
    /// An empty block; allocates nothing until the first field.
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes every field and pseudo-header, keeping the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        self.pseudo = Default::default();
        self.status = 0;
        self.present = Default::default();
    }

    /// True without any regular field and without any pseudo-header.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.status == 0 && self.pseudo.iter().all(|pseudo| !pseudo.present)
    }

    /// The number of regular fields, pseudo-headers excluded.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// The size RFC 9113 section 6.5.2 gives a header list: names, values and 32 for each field, pseudo-headers
    /// included.
    pub fn list_size(&self) -> usize {
        let mut size = 0;
        for (name, value, _, _) in self.pseudo_fields() {
            size += name.as_bytes().len() + value.len() + 32;
        }
        if self.status != 0 {
            size += ":status".len() + 3 + 32;
        }
        for field in &self.fields {
            let name_len = field
                .known
                .map_or(field.name_len as usize, |known| known.as_bytes().len());
            size += name_len + field.value_len as usize + 32;
        }
        size
    }

    /// Bytes of memory held, for accounting.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity() + self.fields.capacity() * size_of::<Field>()
    }

    /// Makes this block equal to `other`, reusing this block's memory.
    pub fn copy_from(&mut self, other: &HeaderBlock) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&other.bytes);
        self.fields.clear();
        self.fields.extend_from_slice(&other.fields);
        self.pseudo = other.pseudo;
        self.status = other.status;
        self.present = other.present;
    }

    // Pseudo-headers.

    /// `:method`.
    #[inline]
    pub fn method(&self) -> Option<&[u8]> {
        self.pseudo(KnownName::Method)
    }

    /// `:scheme`.
    #[inline]
    pub fn scheme(&self) -> Option<&[u8]> {
        self.pseudo(KnownName::Scheme)
    }

    /// `:authority`; over HTTP/1.1 the authority of the target, else `Host`.
    #[inline]
    pub fn authority(&self) -> Option<&[u8]> {
        self.pseudo(KnownName::Authority)
    }

    /// `:path`, query included.
    #[inline]
    pub fn path(&self) -> Option<&[u8]> {
        self.pseudo(KnownName::Path)
    }

    /// `:protocol` of an extended CONNECT (RFC 8441).
    #[inline]
    pub fn protocol(&self) -> Option<&[u8]> {
        self.pseudo(KnownName::Protocol)
    }

    /// `:status`, 100 to 999.
    #[inline]
    pub fn status(&self) -> Option<u16> {
        (self.status != 0).then_some(self.status)
    }

    /// Sets `:method`.
    pub fn set_method(&mut self, value: &[u8]) {
        self.set_pseudo(KnownName::Method, value, 0, false);
    }

    /// Sets `:scheme`.
    pub fn set_scheme(&mut self, value: &[u8]) {
        self.set_pseudo(KnownName::Scheme, value, 0, false);
    }

    /// Sets `:authority`.
    pub fn set_authority(&mut self, value: &[u8]) {
        self.set_pseudo(KnownName::Authority, value, 0, false);
    }

    /// Sets `:path`.
    pub fn set_path(&mut self, value: &[u8]) {
        self.set_pseudo(KnownName::Path, value, 0, false);
    }

    /// Sets `:protocol`.
    pub fn set_protocol(&mut self, value: &[u8]) {
        self.set_pseudo(KnownName::Protocol, value, 0, false);
    }

    /// Sets `:status`; values outside 100 to 999 remove it.
    pub fn set_status(&mut self, status: u16) {
        self.status = if (100..=999).contains(&status) { status } else { 0 };
    }

    /// Removes one pseudo-header (regular names are left alone).
    pub fn remove_pseudo(&mut self, name: KnownName) {
        if name == KnownName::Status {
            self.status = 0;
        } else if let Some(pseudo) = self.pseudo.get_mut(name.index()) {
            *pseudo = Pseudo::default();
        }
    }

    // Regular fields.

    /// Appends a field at the end. A pseudo-header's name sets that pseudo-header instead; upper-case letters in the
    /// name become lower case.
    pub fn append(&mut self, name: impl AsName, value: &[u8]) {
        self.append_flagged(name.as_name(), value, 0, None);
    }

    /// As [`append`](Self::append), marked never-indexed: no HPACK table on the way may hold it (RFC 7541 section
    /// 7.1.3).
    pub fn append_sensitive(&mut self, name: impl AsName, value: &[u8]) {
        self.append_flagged(name.as_name(), value, SENSITIVE, None);
    }

    /// As [`append`](Self::append), keeping the spelling of `name` for HTTP/1.1 peers that depend on it.
    pub fn append_spelled(&mut self, name: &[u8], value: &[u8]) {
        self.append_flagged(Name::Other(name), value, 0, Some(name));
    }

    /// The value of the first field with this name; pseudo-headers too, except `:status`, which is a number.
    #[inline]
    pub fn get(&self, name: impl AsName) -> Option<&[u8]> {
        match name.as_name() {
            Name::Known(known) if known.is_pseudo() => self.pseudo(known),
            Name::Known(known) if !self.has(known) => None,
            name => self
                .fields
                .iter()
                .find(|field| self.is_named(field, name))
                .map(|field| self.value_of(field)),
        }
    }

    /// As [`get`](Self::get), for a name held as bytes.
    pub fn get_bytes(&self, name: &[u8]) -> Option<&[u8]> {
        self.get(name)
    }

    /// The values of all regular fields with this name, in order.
    pub fn get_all<'a>(&'a self, name: &'a (impl AsName + ?Sized)) -> Values<'a> {
        Values::new(self, name.as_name())
    }

    /// True if a field, or pseudo-header, with this name is present.
    #[inline]
    pub fn contains(&self, name: impl AsName) -> bool {
        match name.as_name() {
            Name::Known(KnownName::Status) => self.status != 0,
            Name::Known(known) if known.is_pseudo() => self.pseudo(known).is_some(),
            Name::Known(known) => self.has(known),
            name => self.fields.iter().any(|field| self.is_named(field, name)),
        }
    }

    /// Removes all fields with this name (or the pseudo-header); returns how many there were.
    pub fn remove(&mut self, name: impl AsName) -> usize {
        match name.as_name() {
            Name::Known(known) if known.is_pseudo() => {
                let was_present = usize::from(self.contains(known));
                self.remove_pseudo(known);
                was_present
            }
            Name::Known(known) => {
                if !self.has(known) {
                    return 0;
                }
                self.present[known.index() / 64] &= !(1 << (known.index() % 64));
                let before = self.fields.len();
                self.fields.retain(|field| field.known != Some(known));
                before - self.fields.len()
            }
            Name::Other(name) => {
                let before = self.fields.len();
                let bytes = &self.bytes;
                self.fields
                    .retain(|field| field.known.is_some() || field.name_in(bytes) != name);
                before - self.fields.len()
            }
        }
    }

    /// The regular fields in the order of the wire.
    #[inline]
    pub fn iter(&self) -> Fields<'_> {
        Fields::new(&self.bytes, &self.fields)
    }

    /// `Content-Length` as a number: `None` if absent, `Some(Err(()))` if it is not one sequence of digits that fits
    /// 64 bits, or if there are several fields, even equal ones (RFC 9110 section 8.6, strictly).
    pub fn content_length(&self) -> Option<Result<u64, InvalidContentLength>> {
        if !self.has(KnownName::ContentLength) {
            return None;
        }
        let mut values = self.get_all(&KnownName::ContentLength);
        let first = values.next()?;
        if values.next().is_some() {
            return Some(Err(InvalidContentLength));
        }
        Some(validate::decimal(first).ok_or(InvalidContentLength))
    }

    /// True if a regular field with this known name is present: one bit test.
    #[inline]
    pub(crate) fn has(&self, known: KnownName) -> bool {
        self.present[known.index() / 64] & (1 << (known.index() % 64)) != 0
    }

    /// Whether any field is present that [`hop_by_hop::remove`] removes and HTTP/2 forbids, `te` aside.
    #[inline]
    pub(crate) fn has_connection_specific(&self) -> bool {
        let words = self.present.iter().zip(&hop_by_hop::CONNECTION_SPECIFIC);
        words.fold(0, |found, (present, names)| found | (present & names)) != 0
    }

    #[inline]
    fn pseudo(&self, name: KnownName) -> Option<&[u8]> {
        let pseudo = self.pseudo.get(name.index())?;
        pseudo
            .present
            .then(|| &self.bytes[pseudo.start as usize..(pseudo.start + pseudo.len) as usize])
    }

    fn set_pseudo(&mut self, name: KnownName, value: &[u8], hash: u32, sensitive: bool) {
        if name == KnownName::Status {
            self.set_status(validate::status(value).unwrap_or(0));
            return;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.commit_pseudo(name, start, hash, sensitive);
    }

    /// As [`append`](Self::append), for names as HTTP/1.1 has them: often with upper-case letters, never of
    /// pseudo-headers.
    #[inline]
    pub(crate) fn append_wire(&mut self, name: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        match KnownName::from_token(name) {
            Some(known) => {
                self.bytes.extend_from_slice(value);
                self.commit_known(known, start, 0, 0);
            }
            None => {
                self.push_lower(name);
                self.bytes.extend_from_slice(value);
                self.commit_other(start, name.len(), 0, 0);
            }
        }
    }

    fn append_flagged(&mut self, name: Name<'_>, value: &[u8], flags: u8, spelling: Option<&[u8]>) {
        let start = self.bytes.len();
        match name {
            Name::Known(known) if known.is_pseudo() => {
                self.set_pseudo(known, value, 0, flags & SENSITIVE != 0);
                return;
            }
            Name::Known(known) => {
                self.bytes.extend_from_slice(value);
                self.commit_known(known, start, 0, flags);
            }
            Name::Other(name) => {
                self.push_lower(name);
                // Only a name with upper-case letters can still turn out to be a known one.
                if let Some(known) = KnownName::from_bytes(&self.bytes[start..]) {
                    self.bytes.truncate(start);
                    return self.append_flagged(Name::Known(known), value, flags, spelling);
                }
                self.bytes.extend_from_slice(value);
                self.commit_other(start, name.len(), 0, flags);
            }
        }
        if let (Some(spelling), Some(field)) = (spelling, self.fields.last_mut()) {
            field.flags |= SPELLED;
            self.bytes.extend_from_slice(spelling);
        }
    }

    fn push_lower(&mut self, name: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes[start..].make_ascii_lowercase();
    }

    fn is_named(&self, field: &Field, name: Name<'_>) -> bool {
        field.has_name(&self.bytes, name)
    }

    fn value_of(&self, field: &Field) -> &[u8] {
        &self.bytes[field.value_range()]
    }
}

/// The message's `Content-Length` is not one decimal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidContentLength;

impl std::fmt::Display for InvalidContentLength {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Content-Length is not a single decimal number (RFC 9110 section 8.6)")
    }
}

impl std::error::Error for InvalidContentLength {}

#[cfg(test)]
mod tests;
