//! Iteration over a header block, and its comparison and printing.

use super::{Field, HeaderBlock};
use crate::names::{KnownName, Name};

/// One regular field, borrowed from its block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FieldRef<'a> {
    /// The name in lower case.
    pub name: &'a [u8],
    /// The value, without surrounding white space.
    pub value: &'a [u8],
    /// The id of the name, if it is a known one.
    pub known: Option<KnownName>,
    /// Never to be put into an HPACK table (RFC 7541 section 7.1.3).
    pub sensitive: bool,
    /// The name as HTTP/1.1 spelled it, where that was kept.
    pub spelling: Option<&'a [u8]>,
}

/// Iterator over the regular fields of a block.
#[derive(Clone)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    fields: std::slice::Iter<'a, Field>,
}

impl<'a> Fields<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8], fields: &'a [Field]) -> Self {
        Self {
            bytes,
            fields: fields.iter(),
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = FieldRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<FieldRef<'a>> {
        self.fields.next().map(|field| field.view(self.bytes))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.fields.size_hint()
    }
}

impl ExactSizeIterator for Fields<'_> {}

impl<'a> IntoIterator for &'a HeaderBlock {
    type Item = FieldRef<'a>;
    type IntoIter = Fields<'a>;

    fn into_iter(self) -> Fields<'a> {
        self.iter()
    }
}

/// Iterator over the values of one name.
#[derive(Clone)]
pub struct Values<'a> {
    fields: Fields<'a>,
    name: Name<'a>,
}

impl<'a> Values<'a> {
    pub(super) fn new(block: &'a HeaderBlock, name: Name<'a>) -> Self {
        let mut fields = block.iter();
        if matches!(name, Name::Known(known) if known.is_pseudo() || !block.has(known)) {
            fields.fields = [].iter();
        }
        Self { fields, name }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let name = self.name;
        self.fields
            .find(|field| match name {
                Name::Known(known) => field.known == Some(known),
                Name::Other(name) => field.known.is_none() && field.name == name,
            })
            .map(|field| field.value)
    }
}

/// Equal pseudo-headers, and equal regular fields in the same order. Spellings don't count.
impl PartialEq for HeaderBlock {
    fn eq(&self, other: &Self) -> bool {
        let pseudo = |block: &HeaderBlock| {
            block
                .pseudo_fields()
                .map(|(name, value, _, _)| (name, value.to_vec()))
                .collect::<Vec<_>>()
        };
        self.status() == other.status()
            && pseudo(self) == pseudo(other)
            && self.len() == other.len()
            && self
                .iter()
                .zip(other)
                .all(|(a, b)| a.name == b.name && a.value == b.value && a.sensitive == b.sensitive)
    }
}

impl Eq for HeaderBlock {}

impl std::fmt::Debug for HeaderBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut map = f.debug_map();
        for (name, value, _, _) in self.pseudo_fields() {
            map.entry(&name, &format_args!("{}", value.escape_ascii()));
        }
        if let Some(status) = self.status() {
            map.entry(&KnownName::Status, &status);
        }
        for field in self {
            let shown = if field.sensitive { b"<sensitive>" } else { field.value };
            map.entry(
                &format_args!("{}", field.name.escape_ascii()),
                &format_args!("{}", shown.escape_ascii()),
            );
        }
        map.finish()
    }
}

impl std::fmt::Debug for FieldRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = if self.sensitive { b"<sensitive>" } else { self.value };
        write!(f, "{}: {}", self.name.escape_ascii(), shown.escape_ascii())
    }
}
