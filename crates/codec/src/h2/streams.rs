//! The table of streams: records in a slab, found by identifier through a small open-addressing index.

use std::collections::BTreeMap;

use super::stream::Stream;

/// Slots an idle connection keeps; more are given back once it has been idle for a while.
const KEPT: usize = 1;
/// Steps a search in the index may take. More are needed where long-lived streams lie beside each other, or where a peer
/// skips identifiers so that all land in one place: then a tree takes over, which is slower and can't be slowed down.
const MAX_STEPS: usize = 64;
/// Marks the end of the list of free slots.
const NONE: u32 = u32::MAX;

/// Slots by identifier; in a box of its own, as hardly any connection has one.
#[derive(Debug)]
struct Tree(BTreeMap<u32, u32>);

/// All streams that have a record.
#[derive(Debug)]
pub(crate) struct Streams {
    slots: Vec<Stream>,
    /// First free slot; each free slot names the next in its `tag`.
    free: u32,
    /// Records in use.
    used: u32,
    /// (identifier, slot); identifier 0 is empty. Power-of-two length, at most half full. Identifiers of one peer are
    /// consecutive odd numbers, so halving them spreads them perfectly without any hashing.
    index: Vec<(u32, u32)>,
    /// In place of the index, which is empty then, until the last stream has gone.
    tree: Option<Box<Tree>>,
}

impl Streams {
    pub(crate) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: NONE,
            used: 0,
            index: Vec::new(),
            tree: None,
        }
    }

    /// Records in use.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.used as usize
    }

    /// The slot of a stream.
    #[inline]
    pub(crate) fn find(&self, id: u32) -> Option<u32> {
        if self.index.is_empty() {
            return self.find_in_tree(id);
        }
        let mask = self.index.len() - 1;
        let mut at = (id >> 1) as usize & mask;
        loop {
            let (found, slot) = self.index[at];
            if found == id {
                return (id != 0).then_some(slot);
            }
            if found == 0 {
                return None;
            }
            at = (at + 1) & mask;
        }
    }

    #[cold]
    fn find_in_tree(&self, id: u32) -> Option<u32> {
        self.tree.as_ref()?.0.get(&id).copied()
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> &Stream {
        &self.slots[slot as usize]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> &mut Stream {
        &mut self.slots[slot as usize]
    }

    /// The record in `slot` if it is still that of stream `id`.
    #[inline]
    pub(crate) fn at(&mut self, slot: u32, id: u32) -> Option<&mut Stream> {
        self.slots.get_mut(slot as usize).filter(|stream| stream.id == id)
    }

    #[inline]
    pub(crate) fn insert(&mut self, stream: Stream) -> u32 {
        let id = stream.id;
        let slot = if self.free == NONE {
            if self.slots.capacity() == 0 {
                self.slots.reserve_exact(KEPT);
            }
            self.slots.push(stream);
            (self.slots.len() - 1) as u32
        } else {
            let slot = self.free;
            let place = &mut self.slots[slot as usize];
            self.free = place.tag as u32;
            *place = stream;
            slot
        };
        self.used += 1;
        if self.used as usize * 2 > self.index.len() {
            self.grow_index(id, slot);
        } else if Self::place(&mut self.index, id, slot) > MAX_STEPS {
            self.plant_tree();
        }
        slot
    }

    /// Returns how many steps it took.
    #[inline]
    fn place(index: &mut [(u32, u32)], id: u32, slot: u32) -> usize {
        let mask = index.len() - 1;
        let home = (id >> 1) as usize;
        let mut at = home & mask;
        while index[at].0 != 0 {
            at = (at + 1) & mask;
        }
        index[at] = (id, slot);
        at.wrapping_sub(home) & mask
    }

    #[cold]
    fn plant_tree(&mut self) {
        let streams = self.slots.iter().enumerate().filter(|(_, stream)| stream.id != 0);
        let tree = streams.map(|(slot, stream)| (stream.id, slot as u32)).collect();
        self.tree = Some(Box::new(Tree(tree)));
        self.index = Vec::new();
    }

    /// Doubles the index and fills it from the slab, which already has the newest stream; or adds that to the tree.
    #[cold]
    fn grow_index(&mut self, id: u32, slot: u32) {
        if let Some(tree) = &mut self.tree {
            tree.0.insert(id, slot);
            return;
        }
        let len = (self.index.len() * 2).max(2);
        self.index.clear();
        self.index.reserve_exact(len);
        self.index.resize(len, (0, 0));
        let mut steps = 0;
        for (slot, stream) in self.slots.iter().enumerate() {
            if stream.id != 0 {
                steps = steps.max(Self::place(&mut self.index, stream.id, slot as u32));
            }
        }
        if steps > MAX_STEPS {
            self.plant_tree();
        }
    }

    /// Frees a record and returns it.
    pub(crate) fn remove(&mut self, slot: u32) -> Stream {
        let stream = std::mem::replace(&mut self.slots[slot as usize], Stream::new(0, 0, 0, 0));
        self.unindex(stream.id);
        self.free_slot(slot);
        stream
    }

    /// Frees the record of a closed stream, which has nothing queued.
    #[inline]
    pub(crate) fn remove_closed(&mut self, slot: u32) {
        let id = std::mem::take(&mut self.slots[slot as usize].id);
        self.unindex(id);
        self.free_slot(slot);
    }

    #[inline]
    fn free_slot(&mut self, slot: u32) {
        self.slots[slot as usize].tag = u64::from(self.free);
        self.free = slot;
        self.used -= 1;
    }

    /// Whether memory is held that an idle connection does not need.
    pub(crate) fn can_shrink(&self) -> bool {
        self.used == 0 && self.slots.capacity() > KEPT
    }

    /// Gives that memory back.
    pub(crate) fn shrink(&mut self) {
        if self.can_shrink() {
            *self = Self::new();
        }
    }

    /// Removes an identifier, moving later ones of its run back so that no search ends too early.
    #[inline]
    fn unindex(&mut self, id: u32) {
        if self.index.is_empty() {
            return self.remove_from_tree(id);
        }
        let mask = self.index.len() - 1;
        let mut hole = (id >> 1) as usize & mask;
        while self.index[hole].0 != id {
            hole = (hole + 1) & mask;
        }
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let (next, _) = self.index[at];
            if next == 0 {
                break;
            }
            let home = (next >> 1) as usize & mask;
            // It may move into the hole unless its home lies after the hole (cyclically).
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.index[hole] = self.index[at];
                hole = at;
            }
        }
        self.index[hole] = (0, 0);
    }

    #[cold]
    fn remove_from_tree(&mut self, id: u32) {
        if let Some(tree) = &mut self.tree {
            tree.0.remove(&id);
            if tree.0.is_empty() {
                self.tree = None;
            }
        }
    }

    /// Every stream in use, with its slot.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Stream)> {
        self.slots
            .iter_mut()
            .enumerate()
            .filter(|(_, stream)| stream.id != 0)
            .map(|(slot, stream)| (slot as u32, stream))
    }

    /// Every stream in use.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.slots.iter().filter(|stream| stream.id != 0)
    }

    /// Octets on the heap, without what streams have queued.
    pub(crate) fn heap_bytes(&self) -> usize {
        // A tree's nodes are at least half full.
        let tree = self
            .tree
            .as_ref()
            .map_or(0, |tree| tree.0.len() * 2 * size_of::<(u32, u32)>());
        self.slots.capacity() * size_of::<Stream>() + self.index.capacity() * size_of::<(u32, u32)>() + tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Streams come and go in an order that makes runs in the index, wraps them around its end and breaks them.
    #[test]
    fn every_stream_is_found_until_it_is_removed_and_none_after() {
        let mut streams = Streams::new();
        let mut live: Vec<u32> = Vec::new();
        let mut random = 0x2545_f491_u32;
        for step in 0..20_000_u32 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if random >> 28 < 8 || live.is_empty() {
                // Gaps of up to 7 identifiers, so that homes collide.
                let id = 1 + 2 * (step * 4 + (random >> 20) % 4);
                streams.insert(Stream::new(id, 0, 0, 0));
                live.push(id);
            } else {
                let id = live.swap_remove((random >> 8) as usize % live.len());
                let slot = streams.find(id).expect("a live stream is found");
                assert_eq!(streams.remove(slot).id, id);
                assert_eq!(streams.find(id), None);
            }
            assert_eq!(streams.len(), live.len());
        }
        for id in live {
            let slot = streams.find(id).expect("a live stream is found");
            assert_eq!(streams.get(slot).id, id);
        }
    }

    /// A peer that skips identifiers so that all have one home, and a few long-lived streams side by side under many
    /// short ones: neither makes a search long.
    #[test]
    fn no_choice_of_identifiers_makes_a_search_long() {
        let mut streams = Streams::new();
        for n in 0..1_000 {
            streams.insert(Stream::new(1 + n * 8_192, 0, 0, 0));
        }
        assert!(streams.index.is_empty() && streams.tree.is_some());
        for n in 0..1_000 {
            let slot = streams.find(1 + n * 8_192).expect("a live stream is found");
            assert_eq!(streams.get(slot).id, 1 + n * 8_192);
            assert_eq!(streams.find(3 + n * 8_192), None);
        }
        for n in 0..1_000 {
            let slot = streams.find(1 + n * 8_192).expect("a live stream is found");
            streams.remove(slot);
            assert_eq!(streams.find(1 + n * 8_192), None);
        }
        assert!(streams.tree.is_none());
        // The cheap index is back with the next stream.
        streams.insert(Stream::new(8_192_001, 0, 0, 0));
        assert!(!streams.index.is_empty() && streams.find(8_192_001).is_some());

        let mut streams = Streams::new();
        for n in 0..1_000 {
            streams.insert(Stream::new(2 * n + 1, 0, 0, 0));
        }
        assert!(streams.tree.is_none(), "neighbours are what the index is made for");
        for n in 1_000..5_000 {
            let slot = streams.insert(Stream::new(2 * n + 1, 0, 0, 0));
            assert_eq!(streams.find(2 * n + 1), Some(slot));
            streams.remove(slot);
        }
        assert_eq!(streams.len(), 1_000);
        assert!(streams.tree.is_some());
    }

    #[test]
    fn the_memory_of_many_streams_can_be_given_back_when_the_last_one_has_ended() {
        let mut streams = Streams::new();
        let slots: Vec<u32> = (0..100)
            .map(|n| streams.insert(Stream::new(2 * n + 1, 0, 0, 0)))
            .collect();
        for slot in slots {
            assert!(!streams.can_shrink());
            streams.remove(slot);
        }
        streams.shrink();
        assert_eq!(streams.heap_bytes(), 0);
    }
}
