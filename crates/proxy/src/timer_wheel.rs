//! A worker's timers: a hierarchical wheel with O(1) arm and cancel.
//!
//! Every request arms a timeout that almost never fires, so arming and cancelling must cost a few
//! instructions and leave nothing behind. Three levels of 256 slots (1 ms, 256 ms, 65.5 s a slot)
//! reach 4.6 hours; what lies further is put in the last slot and looked at again from there.
//! The wheel knows no clock: the caller says what time it is.

use std::time::{Duration, Instant};

const SLOT_BITS: u32 = 8;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 3;
const NIL: u32 = u32::MAX;

/// Names an armed timer. Stale handles (fired or cancelled) are harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerKey {
    index: u32,
    generation: u32,
}

impl TimerKey {
    /// A handle of no timer.
    pub(crate) const NONE: TimerKey = TimerKey {
        index: NIL,
        generation: 0,
    };
}

struct Entry<T> {
    generation: u32,
    /// Tick at which it fires.
    at: u64,
    slot: u16,
    previous: u32,
    next: u32,
    value: Option<T>,
}

/// Timers that carry a value of type `T`.
pub(crate) struct TimerWheel<T> {
    origin: Instant,
    /// Every tick up to and including this one has been looked at.
    now: u64,
    heads: Box<[u32]>,
    occupied: [[u64; SLOTS / 64]; LEVELS],
    entries: Vec<Entry<T>>,
    first_free: u32,
    armed: usize,
}

impl<T> TimerWheel<T> {
    pub(crate) fn new(origin: Instant) -> Self {
        TimerWheel {
            origin,
            now: 0,
            heads: vec![NIL; SLOTS * LEVELS].into_boxed_slice(),
            occupied: [[0; SLOTS / 64]; LEVELS],
            entries: Vec::new(),
            first_free: NIL,
            armed: 0,
        }
    }

    /// Arms a timer that fires at `at`, never earlier, at most 1 ms later than the next call of
    /// [`TimerWheel::advance`] with a time at or after it.
    pub(crate) fn arm(&mut self, at: Instant, value: T) -> TimerKey {
        let tick = self.tick_at_or_after(at).max(self.now + 1);
        let index = if self.first_free == NIL {
            self.entries.push(Entry {
                generation: 0,
                at: tick,
                slot: 0,
                previous: NIL,
                next: NIL,
                value: Some(value),
            });
            self.entries.len() as u32 - 1
        } else {
            let index = self.first_free;
            let entry = &mut self.entries[index as usize];
            self.first_free = entry.next;
            entry.at = tick;
            entry.value = Some(value);
            index
        };
        self.link(index);
        self.armed += 1;
        TimerKey {
            index,
            generation: self.entries[index as usize].generation,
        }
    }

    /// Disarms a timer; returns its value unless it fired or was cancelled before.
    pub(crate) fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let entry = self.entries.get(key.index as usize)?;
        if entry.generation != key.generation || entry.value.is_none() {
            return None;
        }
        self.unlink(key.index);
        Some(self.free(key.index))
    }

    /// When [`TimerWheel::advance`] must next be called; `None` with nothing armed. May be earlier
    /// than the first timer (a slot of a coarse level is looked at when it begins), never later.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if self.armed == 0 {
            return None;
        }
        let mut best: Option<u64> = None;
        for level in 0..LEVELS {
            let shift = SLOT_BITS * level as u32;
            let current = self.now >> shift;
            if let Some(distance) = self.next_occupied(level, current) {
                let tick = (current + distance) << shift;
                let tick = tick.max(self.now + 1);
                best = Some(best.map_or(tick, |found| found.min(tick)));
            }
        }
        best.map(|tick| self.origin + Duration::from_millis(tick))
    }

    /// Moves the clock to `now` and hands every timer due by then to `fire`, in order of time.
    pub(crate) fn advance(&mut self, now: Instant, fired: &mut Vec<T>) {
        let target = self.tick_at_or_before(now);
        while self.now < target {
            if self.armed == 0 {
                self.now = target;
                return;
            }
            // Jump over the ticks at which no slot of any level begins to matter.
            let next = self.next_interesting_tick().min(target);
            self.now = next;
            for level in (1..LEVELS).rev() {
                let shift = SLOT_BITS * level as u32;
                if next.trailing_zeros() >= shift {
                    self.cascade(level, ((next >> shift) as usize) & (SLOTS - 1));
                }
            }
            self.fire_slot((next as usize) & (SLOTS - 1), fired);
        }
    }

    fn next_interesting_tick(&self) -> u64 {
        let mut best = u64::MAX;
        for level in 0..LEVELS {
            let shift = SLOT_BITS * level as u32;
            let current = self.now >> shift;
            if let Some(distance) = self.next_occupied(level, current) {
                best = best.min(((current + distance) << shift).max(self.now + 1));
            }
        }
        best
    }

    /// Slots from the one after `current` (1) to `current` itself a round later (256).
    fn next_occupied(&self, level: usize, current: u64) -> Option<u64> {
        let words = &self.occupied[level];
        let start = ((current + 1) as usize) & (SLOTS - 1);
        for step in 0..=(SLOTS / 64) {
            let word_index = (start / 64 + step) % (SLOTS / 64);
            let mut word = words[word_index];
            if step == 0 {
                word &= u64::MAX << (start % 64);
            } else if step == SLOTS / 64 {
                word &= !(u64::MAX << (start % 64));
            }
            if word != 0 {
                let slot = word_index * 64 + word.trailing_zeros() as usize;
                return Some(((slot + SLOTS - start) & (SLOTS - 1)) as u64 + 1);
            }
        }
        None
    }

    fn cascade(&mut self, level: usize, slot: usize) {
        let mut index = self.take_slot(level, slot);
        while index != NIL {
            let next = self.entries[index as usize].next;
            self.link(index);
            index = next;
        }
    }

    fn fire_slot(&mut self, slot: usize, fired: &mut Vec<T>) {
        let mut index = self.take_slot(0, slot);
        while index != NIL {
            let next = self.entries[index as usize].next;
            if self.entries[index as usize].at <= self.now {
                let value = self.free(index);
                fired.push(value);
            } else {
                self.link(index);
            }
            index = next;
        }
    }

    fn take_slot(&mut self, level: usize, slot: usize) -> u32 {
        self.occupied[level][slot / 64] &= !(1 << (slot % 64));
        std::mem::replace(&mut self.heads[level * SLOTS + slot], NIL)
    }

    /// Puts an entry in the finest slot that is reached before it is due. An entry due at the
    /// current tick (cascaded just now) goes to the slot that is about to fire.
    fn link(&mut self, index: u32) {
        let at = self.entries[index as usize].at.max(self.now);
        let mut level = 0;
        while level + 1 < LEVELS
            && (at >> (SLOT_BITS * level as u32)) - (self.now >> (SLOT_BITS * level as u32)) >= SLOTS as u64
        {
            level += 1;
        }
        let shift = SLOT_BITS * level as u32;
        let furthest = (self.now >> shift) + SLOTS as u64 - 1;
        let slot = ((at >> shift).min(furthest) as usize) & (SLOTS - 1);
        let position = level * SLOTS + slot;
        let head = self.heads[position];
        let entry = &mut self.entries[index as usize];
        entry.slot = position as u16;
        entry.previous = NIL;
        entry.next = head;
        if head != NIL {
            self.entries[head as usize].previous = index;
        }
        self.heads[position] = index;
        self.occupied[level][slot / 64] |= 1 << (slot % 64);
    }

    fn unlink(&mut self, index: u32) {
        let Entry {
            slot, previous, next, ..
        } = self.entries[index as usize];
        if previous == NIL {
            self.heads[slot as usize] = next;
            if next == NIL {
                let (level, slot) = (slot as usize / SLOTS, slot as usize % SLOTS);
                self.occupied[level][slot / 64] &= !(1 << (slot % 64));
            }
        } else {
            self.entries[previous as usize].next = next;
        }
        if next != NIL {
            self.entries[next as usize].previous = previous;
        }
    }

    fn free(&mut self, index: u32) -> T {
        self.armed -= 1;
        let first_free = self.first_free;
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = first_free;
        self.first_free = index;
        entry
            .value
            .take()
            .expect("only armed entries are linked, and an armed entry has its value")
    }

    fn tick_at_or_after(&self, at: Instant) -> u64 {
        let elapsed = at.saturating_duration_since(self.origin);
        (elapsed.as_nanos().div_ceil(1_000_000)) as u64
    }

    fn tick_at_or_before(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.origin).as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn due(wheel: &mut TimerWheel<u32>, now: Instant) -> Vec<u32> {
        let mut fired = Vec::new();
        wheel.advance(now, &mut fired);
        fired
    }

    #[test]
    fn a_timer_fires_at_its_time_and_not_before() {
        let origin = Instant::now();
        let mut wheel = TimerWheel::new(origin);
        for (value, after) in [(1, 5), (2, 255), (3, 256), (4, 70_000), (5, 20_000_000)] {
            wheel.arm(origin + ms(after), value);
        }
        assert_eq!(due(&mut wheel, origin + ms(4)), []);
        assert_eq!(due(&mut wheel, origin + ms(5)), [1]);
        assert_eq!(due(&mut wheel, origin + ms(255)), [2]);
        assert_eq!(due(&mut wheel, origin + ms(69_999)), [3]);
        assert_eq!(due(&mut wheel, origin + ms(70_000)), [4]);
        assert_eq!(due(&mut wheel, origin + ms(19_999_999)), []);
        assert_eq!(due(&mut wheel, origin + ms(20_000_000)), [5]);
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn a_cancelled_timer_leaves_nothing_behind() {
        let origin = Instant::now();
        let mut wheel = TimerWheel::new(origin);
        for round in 0..10_000 {
            let key = wheel.arm(origin + ms(15_000), round);
            assert_eq!(wheel.cancel(key), Some(round));
            assert_eq!(wheel.cancel(key), None);
        }
        assert_eq!(wheel.entries.len(), 1);
        assert_eq!(wheel.next_deadline(), None);
    }

    proptest! {
        #[test]
        fn timers_fire_once_in_order_and_the_next_deadline_is_never_late(
            operations in proptest::collection::vec((0u64..400_000, 0u64..3_000, any::<bool>()), 1..120)
        ) {
            let origin = Instant::now();
            let mut wheel = TimerWheel::new(origin);
            let mut clock = origin;
            let mut expected: Vec<(Instant, u32, TimerKey)> = Vec::new();
            for (id, (after, step, cancel)) in operations.into_iter().enumerate() {
                let at = clock + ms(after);
                let key = wheel.arm(at, id as u32);
                expected.push((at.max(clock + ms(1)), id as u32, key));
                if cancel {
                    let (_, id, key) = expected.swap_remove(expected.len() / 2);
                    prop_assert_eq!(wheel.cancel(key), Some(id));
                }
                if let Some(first) = expected.iter().map(|entry| entry.0).min() {
                    prop_assert!(wheel.next_deadline().unwrap() <= first + ms(1));
                }
                clock += ms(step);
                let mut fired = Vec::new();
                wheel.advance(clock, &mut fired);
                let mut due: Vec<u32> = expected.iter().filter(|e| e.0 <= clock).map(|e| e.1).collect();
                expected.retain(|e| e.0 > clock);
                due.sort_unstable();
                fired.sort_unstable();
                prop_assert_eq!(fired, due);
            }
        }
    }
}
