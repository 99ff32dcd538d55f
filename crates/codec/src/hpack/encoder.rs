//! Header blocks to header block fragments.
//!
//! A field that is in the table costs one probe and one comparison. See [`Policy`] for which fields get there.

use super::dynamic_table::{DynamicTable, ENTRY_OVERHEAD, Entry};
use super::hash::{field_hash, name_hash};
use super::policy::{self, Policy, Seen};
use super::{huffman, integer, static_table};
use crate::headers::{HeaderBlock, RawField};
use crate::names::KnownName;

/// The table size in force until the peer's SETTINGS say otherwise (RFC 9113 section 6.5.2).
const DEFAULT_MAX_SIZE: usize = 4096;
/// Entries are numbered with 16 bits; this many bytes hold no more than half as many.
const LARGEST_LIMIT: usize = (u16::MAX as usize / 2) * ENTRY_OVERHEAD;

/// The encoding half of a connection's compression state.
#[derive(Debug)]
pub struct Encoder {
    pub(super) table: DynamicTable,
    slots: Slots,
    seen: Seen,
    /// The most we want to use, whatever the peer allows.
    limit: usize,
    /// Use Huffman code where it is shorter.
    huffman: bool,
    /// The lowest size since the last block, which has to be announced along with the size in force (section 4.2).
    update_due: Option<usize>,
}

impl Encoder {
    /// An encoder that uses a dynamic table of at most `limit` bytes, and of 4096 until the peer says otherwise.
    pub fn new(limit: usize) -> Self {
        let limit = limit.min(LARGEST_LIMIT);
        let size = limit.min(DEFAULT_MAX_SIZE);
        Self {
            table: DynamicTable::new(size),
            slots: Slots::default(),
            seen: Seen::default(),
            limit,
            huffman: true,
            update_due: (size != DEFAULT_MAX_SIZE).then_some(size),
        }
    }

    /// Whether strings are Huffman-coded where that is shorter (Envoy's `enable_huffman_encoding`; the default). It
    /// saves bytes and costs time on both sides.
    pub fn set_huffman(&mut self, enabled: bool) {
        self.huffman = enabled;
    }

    /// The peer's SETTINGS_HEADER_TABLE_SIZE. The next block begins with a size update if the size changes
    /// (RFC 7541 section 4.2).
    pub fn set_max_size(&mut self, max_size: usize) {
        let size = max_size.min(self.limit);
        if size == self.table.max_size() {
            return;
        }
        self.table.set_max_size(size);
        self.update_due = Some(self.update_due.map_or(size, |lowest| lowest.min(size)));
        if self.table.len() == 0 {
            self.slots = Slots::default();
        }
    }

    /// Bytes of memory the dynamic table and its index hold.
    pub fn capacity(&self) -> usize {
        self.table.capacity() + self.slots.numbers.capacity() * size_of::<u16>()
    }

    /// Appends the encoded block to `output`: pseudo-headers first, then the fields in their order.
    pub fn encode(&mut self, block: &HeaderBlock, output: &mut Vec<u8>) {
        if let Some(lowest) = self.update_due.take() {
            if lowest < self.table.max_size() {
                integer::encode(lowest, 5, 0x20, output);
            }
            integer::encode(self.table.max_size(), 5, 0x20, output);
        }
        if let Some(status) = block.status() {
            self.status(status, output);
        }
        for (name, value, hash, is_sensitive) in block.pseudo_fields() {
            let huffman = &[];
            self.field(
                RawField {
                    known: Some(name),
                    octets: value,
                    name_len: 0,
                    hash,
                    is_sensitive,
                    huffman,
                },
                output,
            );
        }
        for field in block.raw_fields() {
            self.field(field, output);
        }
    }

    fn status(&mut self, status: u16, output: &mut Vec<u8>) {
        if let Some(index) = static_table::index_of_status(status) {
            output.push(0x80 | index as u8);
            return;
        }
        let digits = [status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
        let field = RawField {
            known: Some(KnownName::Status),
            octets: &digits,
            name_len: 0,
            hash: 0,
            is_sensitive: false,
            huffman: &[],
        };
        self.field(field, output);
    }

    #[inline]
    fn field(&mut self, field: RawField<'_>, output: &mut Vec<u8>) {
        let RawField {
            known,
            octets,
            name_len,
            ..
        } = field;
        let policy = if field.is_sensitive {
            Policy::Never
        } else {
            policy::of(known)
        };
        if policy == Policy::Never {
            return self.literal(field, 4, 0x10, output);
        }
        if let Some(index) = known.and_then(|known| static_table::index_of(known, octets)) {
            output.push(0x80 | index as u8);
            return;
        }
        if policy == Policy::PerMessage {
            return self.literal(field, 4, 0, output);
        }
        let (name, value) = octets.split_at(name_len);
        let hash = if field.hash == 0 {
            field_hash(known, name, value)
        } else {
            field.hash
        };
        let found = self.slots.find(&self.table, hash, |entry| {
            entry.hash == hash
                && entry.known == known
                && entry.name_len() == name_len
                && self.table.octets(entry) == octets
        });
        if let Some(index) = found {
            integer::encode(static_table::LEN + 1 + index, 7, 0x80, output);
            return;
        }
        let size = known.map_or(0, |known| known.as_bytes().len()) + octets.len() + ENTRY_OVERHEAD;
        let fits = size <= self.table.max_size() / 2;
        if !fits || (policy == Policy::SecondSight && !self.seen.check(hash)) {
            return self.literal(field, 4, 0, output);
        }
        self.literal(field, 6, 0x40, output);
        self.table.insert(known, name, value, hash, None);
        self.slots.inserted(&self.table);
    }

    fn literal(&mut self, field: RawField<'_>, prefix: u32, pattern: u8, output: &mut Vec<u8>) {
        let (name, value) = field.octets.split_at(field.name_len);
        let known = field.known;
        let index = known.and_then(static_table::index_of_name).or_else(|| {
            let hash = name_hash(known, name);
            let index = self.slots.find(&self.table, hash, |entry| {
                entry.known == known && (known.is_some() || self.table.name_and_value(entry).0 == name)
            })?;
            Some(static_table::LEN + 1 + index)
        });
        match index {
            Some(index) => integer::encode(index, prefix, pattern, output),
            None => {
                output.push(pattern);
                string(known.map_or(name, |known| known.as_bytes()), self.huffman, output);
            }
        }
        if self.huffman && !field.huffman.is_empty() {
            // As the sender wrote it.
            integer::encode(field.huffman.len(), 7, 0x80, output);
            output.extend_from_slice(field.huffman);
        } else {
            string(value, self.huffman, output);
        }
    }
}

/// Appends a string literal (section 5.2), as Huffman code where that is allowed and shorter.
fn string(text: &[u8], huffman: bool, output: &mut Vec<u8>) {
    if huffman {
        let length = huffman::encoded_len(text);
        if length < text.len() {
            integer::encode(length, 7, 0x80, output);
            huffman::encode(text, length, output);
            return;
        }
    }
    integer::encode(text.len(), 7, 0, output);
    output.extend_from_slice(text);
}

/// Finds entries of the table by hash: open addressing, a fixed number of probes, no deletion. A slot holds an entry's
/// number; a slot whose entry was evicted is as good as empty, and what is found is compared in full, so a wrong or
/// overwritten slot costs compression and nothing else.
#[derive(Debug, Default)]
struct Slots {
    numbers: Vec<u16>,
}

const PROBES: usize = 4;
const FEWEST_SLOTS: usize = 16;
/// Each entry may take two slots, one by field and one by name.
const SLOTS_PER_ENTRY: usize = 4;

impl Slots {
    /// The index of the newest-probed entry that `is_it` accepts.
    #[inline]
    fn find(&self, table: &DynamicTable, hash: u32, is_it: impl Fn(&Entry) -> bool) -> Option<usize> {
        let mask = self.numbers.len().checked_sub(1)?;
        for probe in 0..PROBES {
            let number = self.numbers[(hash as usize + probe) & mask];
            let index = index_of(table, number);
            if table.entry(index).is_some_and(&is_it) {
                return Some(index);
            }
        }
        None
    }

    /// The table has a new entry.
    fn inserted(&mut self, table: &DynamicTable) {
        if table.len() * SLOTS_PER_ENTRY > self.numbers.len() {
            // Every slot gets a number no entry has or will have for long.
            let dead = number_of(table, usize::from(u16::MAX / 2) + 1);
            let slots = (table.len() * SLOTS_PER_ENTRY).next_power_of_two().max(FEWEST_SLOTS);
            self.numbers.clear();
            self.numbers.resize(slots, dead);
            for index in (0..table.len()).rev() {
                self.place_entry(table, index);
            }
        } else {
            self.place_entry(table, 0);
        }
    }

    fn place_entry(&mut self, table: &DynamicTable, index: usize) {
        let Some(entry) = table.entry(index) else { return };
        self.place(table, entry.hash, index);
        if entry.known.and_then(static_table::index_of_name).is_none() {
            let (name, _) = table.name_and_value(entry);
            self.place(table, name_hash(entry.known, name), index);
        }
    }

    /// Into a slot that is free, or else into that of the oldest entry among the probed ones.
    fn place(&mut self, table: &DynamicTable, hash: u32, index: usize) {
        let mask = self.numbers.len() - 1;
        let mut oldest = (0, hash as usize & mask);
        for probe in 0..PROBES {
            let slot = (hash as usize + probe) & mask;
            let index = index_of(table, self.numbers[slot]);
            if index >= table.len() {
                oldest = (index, slot);
                break;
            }
            oldest = oldest.max((index, slot));
        }
        self.numbers[oldest.1] = number_of(table, index);
    }
}

/// The index in the table of the entry with this number; beyond its end if that was evicted.
#[inline]
fn index_of(table: &DynamicTable, number: u16) -> usize {
    usize::from(table.inserted().wrapping_sub(number).wrapping_sub(1))
}

fn number_of(table: &DynamicTable, index: usize) -> u16 {
    table.inserted().wrapping_sub(index as u16).wrapping_sub(1)
}
