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

#[cfg(test)]
mod tests {
    use super::*;

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
