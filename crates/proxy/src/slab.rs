//! A slab whose keys notice that their slot was used again.
//!
//! Connections and streams name each other by [`Key`]: an event that arrives for a stream which
//! ended meanwhile finds nothing, rather than the stream that took its slot.

use std::fmt;
use std::marker::PhantomData;

/// Names one entry of a [`Slab`] for as long as that entry lives.
pub(crate) struct Key<T> {
    index: u32,
    generation: u32,
    marker: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    /// A key that never names anything: what a record holds before it is linked.
    pub(crate) const NONE: Key<T> = Key::from_parts(u32::MAX, u32::MAX);

    const fn from_parts(index: u32, generation: u32) -> Self {
        Key {
            index,
            generation,
            marker: PhantomData,
        }
    }

    /// The key as a plain number, for places that hold untyped tags (timers, codec streams).
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The reverse of [`Key::to_bits`].
    pub(crate) fn from_bits(bits: u64) -> Self {
        Key::from_parts(bits as u32, (bits >> 32) as u32)
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Key<T> {}
impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && self.generation == other.generation
    }
}
impl<T> Eq for Key<T> {}
impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.index, self.generation)
    }
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
    next_free: u32,
}

/// Entries addressed by generational keys; freed slots are used again, last freed first.
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    first_free: u32,
    first_generation: u32,
    len: usize,
}

const NO_SLOT: u32 = u32::MAX;

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Slab {
            slots: Vec::new(),
            first_free: NO_SLOT,
            first_generation: 1,
            len: 0,
        }
    }

    pub(crate) fn insert(&mut self, value: T) -> Key<T> {
        self.len += 1;
        if self.first_free == NO_SLOT {
            let index = self.slots.len() as u32;
            self.slots.push(Slot {
                generation: self.first_generation,
                value: Some(value),
                next_free: NO_SLOT,
            });
            return Key::from_parts(index, self.first_generation);
        }
        let index = self.first_free;
        let slot = &mut self.slots[index as usize];
        self.first_free = slot.next_free;
        slot.value = Some(value);
        Key::from_parts(index, slot.generation)
    }

    pub(crate) fn get(&self, key: Key<T>) -> Option<&T> {
        let slot = self.slots.get(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        slot.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: Key<T>) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        slot.value.as_mut()
    }

    pub(crate) fn remove(&mut self, key: Key<T>) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        slot.next_free = self.first_free;
        self.first_free = key.index;
        self.len -= 1;
        if self.len == 0 && self.slots.len() > SHRINK_ABOVE {
            self.release();
        }
        Some(value)
    }

    /// Live entries with their keys, in slot order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key<T>, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let value = slot.value.as_ref()?;
            Some((Key::from_parts(index as u32, slot.generation), value))
        })
    }

    /// Keys of the live entries, collected so that the caller may change the slab meanwhile.
    pub(crate) fn keys(&self) -> Vec<Key<T>> {
        self.iter().map(|(key, _)| key).collect()
    }

    /// Gives the memory of a burst back once nothing is left. Later slots begin above every
    /// generation seen so far, so that keys from before still find nothing.
    fn release(&mut self) {
        for slot in &self.slots {
            self.first_generation = self.first_generation.max(slot.generation);
        }
        self.slots = Vec::new();
        self.first_free = NO_SLOT;
    }
}

/// A slab with at most this many slots keeps them when it becomes empty.
const SHRINK_ABOVE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_a_removed_entry_does_not_find_the_one_that_took_its_slot() {
        let mut slab = Slab::new();
        let first = slab.insert("first");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second");
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.get(second), Some(&"second"));
        assert_eq!(Key::from_bits(second.to_bits()), second);
    }

    #[test]
    fn keys_stay_distinct_after_the_memory_of_a_burst_was_given_back() {
        let mut slab = Slab::new();
        let keys: Vec<_> = (0..1000).map(|n| slab.insert(n)).collect();
        for key in &keys {
            slab.remove(*key);
        }
        assert_eq!(slab.len, 0);
        assert!(slab.slots.len() <= SHRINK_ABOVE);
        for n in 0..1000 {
            slab.insert(n);
        }
        let live = keys.iter().filter(|key| slab.get(**key).is_some()).count();
        assert_eq!(live, 0, "stale keys must not resolve");
    }
}
