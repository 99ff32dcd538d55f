//! The dynamic table (RFC 7541 section 2.3.2 and 4), shared by decoder and encoder.

use crate::headers::validate::Malformed;
use crate::names::KnownName;
use std::collections::VecDeque;

/// What each entry counts beyond its octets (section 4.1).
pub(super) const ENTRY_OVERHEAD: usize = 32;

/// Entries in the order of insertion, their octets in one buffer that is compacted now and then. Takes no memory while
/// empty and grows as entries come.
#[derive(Debug)]
pub(super) struct DynamicTable {
    /// Names (of names that are not known ones) and values, oldest first; a dead prefix is what eviction left.
    bytes: Vec<u8>,
    /// Oldest first.
    entries: VecDeque<Entry>,
    /// Size as section 4.1 counts it.
    size: usize,
    max_size: usize,
    /// The position of `bytes[0]` in the sequence of all octets ever inserted, modulo 2^32.
    base: u32,
    /// How many entries were ever inserted, modulo 2^16; the newest has this number minus one.
    inserted: u16,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    position: u32,
    /// 0 when the name is a known one.
    name_len: u32,
    value_len: u32,
    /// [`field_hash`](super::hash::field_hash) of name and value.
    pub(super) hash: u32,
    pub(super) known: Option<KnownName>,
    /// Why no message may contain it, if so; `None` at the encoder.
    pub(super) fault: Option<Malformed>,
}

impl Entry {
    #[inline]
    pub(super) fn name_len(&self) -> usize {
        self.name_len as usize
    }

    /// Size as section 4.1 counts it.
    #[inline]
    pub(super) fn size(&self) -> usize {
        let name_len = self
            .known
            .map_or(self.name_len as usize, |known| known.as_bytes().len());
        name_len + self.value_len as usize + ENTRY_OVERHEAD
    }
}

impl DynamicTable {
    pub(super) fn new(max_size: usize) -> Self {
        Self {
            bytes: Vec::new(),
            entries: VecDeque::new(),
            size: 0,
            max_size,
            base: 0,
            inserted: 0,
        }
    }

    pub(super) fn max_size(&self) -> usize {
        self.max_size
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// See the field.
    pub(super) fn inserted(&self) -> u16 {
        self.inserted
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Bytes of memory held.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// The `index`th newest entry, 0 being the newest.
    #[inline]
    pub(super) fn entry(&self, index: usize) -> Option<&Entry> {
        let from_oldest = self.entries.len().checked_sub(index + 1)?;
        self.entries.get(from_oldest)
    }

    /// Name (empty if it is a known one) followed by value.
    #[inline]
    pub(super) fn octets(&self, entry: &Entry) -> &[u8] {
        let start = entry.position.wrapping_sub(self.base) as usize;
        &self.bytes[start..start + (entry.name_len + entry.value_len) as usize]
    }

    /// Name (empty if it is a known one) and value.
    #[inline]
    pub(super) fn name_and_value(&self, entry: &Entry) -> (&[u8], &[u8]) {
        self.octets(entry).split_at(entry.name_len as usize)
    }

    /// Adds an entry, evicting what must go (section 4.4). An entry larger than the table empties it and is not
    /// added. `name` is empty if `known` says it. Returns whether the entry is in the table.
    pub(super) fn insert(
        &mut self,
        known: Option<KnownName>,
        name: &[u8],
        value: &[u8],
        hash: u32,
        fault: Option<Malformed>,
    ) -> bool {
        let name_len = known.map_or(name.len(), |known| known.as_bytes().len());
        let size = name_len + value.len() + ENTRY_OVERHEAD;
        if size > self.max_size {
            self.evict_to(0);
            return false;
        }
        self.evict_to(self.max_size - size);
        self.make_room(name.len() + value.len());
        let position = self.base.wrapping_add(self.bytes.len() as u32);
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.entries.push_back(Entry {
            position,
            name_len: name.len() as u32,
            value_len: value.len() as u32,
            hash,
            known,
            fault,
        });
        self.size += size;
        self.inserted = self.inserted.wrapping_add(1);
        true
    }

    /// Changes the maximum size, evicting what no longer fits (section 4.3). An emptied table gives its memory back.
    pub(super) fn set_max_size(&mut self, max_size: usize) {
        self.max_size = max_size;
        self.evict_to(max_size);
        if self.entries.is_empty() {
            self.bytes = Vec::new();
            self.entries = VecDeque::new();
        }
    }

    fn evict_to(&mut self, size: usize) {
        while self.size > size
            && let Some(entry) = self.entries.pop_front()
        {
            let name_len = entry
                .known
                .map_or(entry.name_len as usize, |known| known.as_bytes().len());
            self.size -= name_len + entry.value_len as usize + ENTRY_OVERHEAD;
        }
        if self.entries.is_empty() {
            self.base = self.base.wrapping_add(self.bytes.len() as u32);
            self.bytes.clear();
        }
    }

    /// Room for `additional` octets: by moving the live ones down if a quarter of the buffer is dead, else by growing.
    /// Either way an octet is moved a bounded number of times on average, and the buffer stays near the table's size.
    fn make_room(&mut self, additional: usize) {
        if self.bytes.capacity() - self.bytes.len() >= additional {
            return;
        }
        let dead = self
            .entries
            .front()
            .map_or(0, |oldest| oldest.position.wrapping_sub(self.base) as usize);
        if dead >= additional && dead * 4 >= self.bytes.len() {
            self.bytes.drain(..dead);
            self.base = self.base.wrapping_add(dead as u32);
        } else {
            self.bytes.reserve(additional);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(table: &DynamicTable) -> Vec<(Vec<u8>, Vec<u8>)> {
        (0..table.len())
            .map(|index| {
                let (name, value) = table.name_and_value(table.entry(index).unwrap());
                (name.to_vec(), value.to_vec())
            })
            .collect()
    }

    fn insert(table: &mut DynamicTable, name: &[u8], value: &[u8]) -> bool {
        table.insert(None, name, value, 1, None)
    }

    #[test]
    fn an_empty_table_holds_no_memory() {
        assert_eq!(DynamicTable::new(4096).capacity(), 0);
    }

    #[test]
    fn the_newest_entry_comes_first_and_the_oldest_is_evicted() {
        let mut table = DynamicTable::new(2 * 34 + 33);
        for name in [b"a", b"b", b"c"] {
            assert!(insert(&mut table, name, b"1"));
        }
        assert_eq!(
            contents(&table),
            [(b"c".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"1".to_vec())]
        );
        assert_eq!(table.size(), 68);
        assert!(table.entry(2).is_none());
    }

    #[test]
    fn an_entry_larger_than_the_table_empties_it() {
        let mut table = DynamicTable::new(100);
        insert(&mut table, b"a", b"1");
        assert!(!insert(&mut table, b"a", &[b'x'; 68]));
        assert_eq!((table.len(), table.size()), (0, 0));
        assert!(insert(&mut table, b"a", &[b'x'; 67]));
    }

    #[test]
    fn a_smaller_maximum_evicts_and_zero_frees_the_memory() {
        let mut table = DynamicTable::new(4096);
        for _ in 0..10 {
            insert(&mut table, b"name", b"value");
        }
        table.set_max_size(100);
        assert_eq!(table.len(), 2);
        table.set_max_size(0);
        assert_eq!((table.len(), table.capacity()), (0, 0));
        assert!(!insert(&mut table, b"", b""));
    }

    #[test]
    fn known_names_count_their_length_but_take_no_octets() {
        let mut table = DynamicTable::new(4096);
        table.insert(Some(KnownName::UserAgent), b"", b"x", 1, None);
        assert_eq!(table.size(), "user-agent".len() + 1 + 32);
        assert_eq!(table.octets(table.entry(0).unwrap()), b"x");
    }

    #[test]
    fn long_use_matches_a_simple_model_and_memory_stays_near_the_maximum() {
        let mut table = DynamicTable::new(4096);
        let mut model: VecDeque<(Vec<u8>, Vec<u8>)> = VecDeque::new();
        let mut random = 1u64;
        for _ in 0..20_000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let name = vec![b'n'; (random >> 33) as usize % 20];
            let value = vec![(random >> 50) as u8; (random >> 40) as usize % 200];
            insert(&mut table, &name, &value);
            model.push_front((name, value));
            while model
                .iter()
                .map(|(name, value)| name.len() + value.len() + 32)
                .sum::<usize>()
                > 4096
            {
                model.pop_back();
            }
            assert!(table.capacity() <= 4 * 4096, "{}", table.capacity());
            assert_eq!(table.len(), model.len());
            let newest = table.name_and_value(table.entry(0).unwrap());
            assert_eq!((newest.0.to_vec(), newest.1.to_vec()), model[0]);
        }
        assert_eq!(contents(&table), Vec::from(model));
    }
}
