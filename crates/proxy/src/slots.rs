//! Dense numbers for names, so that the request path indexes instead of hashing.
//!
//! A compiled route table names its clusters by [`Slot`]; a snapshot holds its clusters in a vector
//! by slot number. Tables are thus independent of snapshots and compiled once. A number is given
//! out again only when nothing holds its slot any more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A name's number, valid while held.
#[derive(Clone, Debug)]
pub(crate) struct Slot(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: Arc<str>,
    index: usize,
}

impl Slot {
    /// The name.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// Its position in a snapshot's vector.
    pub(crate) fn index(&self) -> usize {
        self.0.index
    }
}

/// The names of one kind (clusters, route tables).
#[derive(Debug, Default)]
pub(crate) struct Slots {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    by_name: HashMap<Arc<str>, Weak<Inner>>,
    by_index: Vec<Weak<Inner>>,
    free: Vec<usize>,
    /// Look for dead slots when the table has grown to this many.
    sweep_at: usize,
}

impl Slots {
    /// The slot of `name`.
    pub(crate) fn slot(&self, name: &Arc<str>) -> Slot {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = state.by_name.get(name).and_then(Weak::upgrade) {
            return Slot(found);
        }
        state.sweep();
        let index = state.free.pop().unwrap_or(state.by_index.len());
        let inner = Arc::new(Inner {
            name: Arc::clone(name),
            index,
        });
        let weak = Arc::downgrade(&inner);
        if index == state.by_index.len() {
            state.by_index.push(weak.clone());
        } else {
            state.by_index[index] = weak.clone();
        }
        state.by_name.insert(Arc::clone(name), weak);
        Slot(inner)
    }
}

impl State {
    fn sweep(&mut self) {
        if self.by_name.len() < self.sweep_at.max(64) {
            return;
        }
        self.by_name.retain(|_, slot| slot.strong_count() > 0);
        self.free = (0..self.by_index.len())
            .filter(|index| self.by_index[*index].strong_count() == 0)
            .collect();
        self.sweep_at = self.by_name.len() * 2;
    }
}

/// Values by slot. A copy shares its parts with the original; a change copies one part.
#[derive(Debug)]
pub(crate) struct SlotMap<T> {
    parts: Vec<Arc<Part<T>>>,
}

/// Slots in one part: at 10,000 names a change copies 64 pointers of a part and 157 to the parts.
const PART: usize = 64;

type Part<T> = [Option<Arc<T>>; PART];

impl<T> SlotMap<T> {
    /// The value of a slot.
    pub(crate) fn get(&self, slot: &Slot) -> Option<&Arc<T>> {
        self.parts.get(slot.index() / PART)?[slot.index() % PART].as_ref()
    }

    /// Sets or removes the value of a slot.
    pub(crate) fn set(&mut self, slot: &Slot, value: Option<Arc<T>>) {
        let part = slot.index() / PART;
        if self.parts.len() <= part {
            self.parts.resize_with(part + 1, || Arc::new([const { None }; PART]));
        }
        Arc::make_mut(&mut self.parts[part])[slot.index() % PART] = value;
    }

    /// Every value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.parts.iter().flat_map(|part| part.iter().flatten())
    }
}

impl<T> Clone for SlotMap<T> {
    fn clone(&self) -> Self {
        SlotMap {
            parts: self.parts.clone(),
        }
    }
}

impl<T> Default for SlotMap<T> {
    fn default() -> Self {
        SlotMap { parts: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_values_by_slot_is_not_changed_by_the_next_change() {
        let slots = Slots::default();
        let held: Vec<Slot> = (0..200).map(|n| slots.slot(&format!("name-{n}").into())).collect();
        let mut values = SlotMap::default();
        for (n, slot) in held.iter().enumerate() {
            values.set(slot, Some(Arc::new(n)));
        }
        let before = values.clone();
        values.set(&held[70], Some(Arc::new(7)));
        values.set(&held[71], None);
        assert_eq!(before.get(&held[70]).map(|n| **n), Some(70));
        assert_eq!(values.get(&held[70]).map(|n| **n), Some(7));
        assert_eq!((values.get(&held[71]), values.iter().count()), (None, 199));
        let shared = (0..before.parts.len()).filter(|n| Arc::ptr_eq(&before.parts[*n], &values.parts[*n]));
        assert_eq!(shared.count(), before.parts.len() - 1);
    }

    #[test]
    fn a_name_keeps_its_number_while_somebody_holds_it_and_numbers_do_not_grow_without_bound() {
        let slots = Slots::default();
        let kept = slots.slot(&"kept".into());
        for n in 0..10_000 {
            let passing = slots.slot(&format!("cluster-{n}").into());
            assert_ne!(passing.index(), kept.index());
        }
        assert_eq!(slots.slot(&"kept".into()).index(), kept.index());
        let highest = slots.slot(&"new".into()).index();
        assert!(highest < 200, "{highest}");
    }
}
