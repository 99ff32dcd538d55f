//! A map from resource name to shared value, made to be copied.
//!
//! A mesh of 10,000 clusters changes one endpoint at a time. Every change makes a new [`Config`](crate::Config), so the
//! maps in it must share what did not change: the names are spread over a fixed number of shards, a change copies one
//! shard (and the list of shards), and comparing two maps skips every shard they share.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Number of shards; a power of two. At 10,000 names a shard holds about 40, so a change copies 40 pairs of pointers.
const SHARDS: usize = 256;

/// Names in ascending order, each with its value.
type Shard<V> = Vec<(Arc<str>, Arc<V>)>;

/// All shards; one is `None` while it is empty.
type Shards<V> = Vec<Option<Arc<Shard<V>>>>;

/// A map from name to `Arc<V>` whose clone costs one reference count and whose change costs one shard.
///
/// Iteration is in no particular order, but the same for equal maps.
pub struct ResourceMap<V> {
    /// `None` while the map is empty.
    shards: Option<Arc<Shards<V>>>,
    len: usize,
}

/// One difference between two maps, as [`ResourceMap::changes_since`] finds it.
#[derive(Debug)]
pub struct Change<'a, V> {
    /// The name whose value differs.
    pub name: &'a Arc<str>,
    /// The value in the older map, `None` if the name is new.
    pub old: Option<&'a Arc<V>>,
    /// The value in the newer map, `None` if the name is gone.
    pub new: Option<&'a Arc<V>>,
}

impl<V> ResourceMap<V> {
    /// An empty map; allocates nothing.
    pub const fn new() -> Self {
        Self { shards: None, len: 0 }
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the map holds no name.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Arc<V>> {
        let shard = self.shard(shard_of(name))?;
        let at = shard.binary_search_by(|(key, _)| (**key).cmp(name)).ok()?;
        Some(&shard[at].1)
    }

    /// Whether the name has a value.
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Sets the value of a name and returns the former one.
    pub fn insert(&mut self, name: Arc<str>, value: Arc<V>) -> Option<Arc<V>> {
        let shards = Arc::make_mut(self.shards.get_or_insert_with(|| Arc::new(vec![None; SHARDS])));
        let shard = Arc::make_mut(shards[shard_of(&name)].get_or_insert_with(Arc::default));
        match shard.binary_search_by(|(key, _)| key.cmp(&name)) {
            Ok(at) => Some(std::mem::replace(&mut shard[at].1, value)),
            Err(at) => {
                shard.insert(at, (name, value));
                self.len += 1;
                None
            }
        }
    }

    /// Removes a name and returns its value. Removing an unknown name copies nothing.
    pub fn remove(&mut self, name: &str) -> Option<Arc<V>> {
        self.get(name)?;
        let slot = &mut Arc::make_mut(self.shards.as_mut()?)[shard_of(name)];
        let shard = Arc::make_mut(slot.as_mut()?);
        let at = shard.binary_search_by(|(key, _)| (**key).cmp(name)).ok()?;
        let (_, value) = shard.remove(at);
        if shard.is_empty() {
            *slot = None;
        }
        self.len -= 1;
        if self.len == 0 {
            self.shards = None;
        }
        Some(value)
    }

    /// Removes every name.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Every name with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<V>)> {
        let shards = self.shards.iter().flat_map(|shards| shards.iter().flatten());
        shards.flat_map(|shard| shard.iter()).map(|(name, value)| (name, value))
    }

    /// Every name.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<str>> {
        self.iter().map(|(name, _)| name)
    }

    /// Every value.
    pub fn values(&self) -> impl Iterator<Item = &Arc<V>> {
        self.iter().map(|(_, value)| value)
    }

    /// Whether both are the very same map, found without looking at any name.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        match (&self.shards, &other.shards) {
            (None, None) => true,
            (Some(mine), Some(theirs)) => Arc::ptr_eq(mine, theirs),
            _ => false,
        }
    }

    /// Every name whose value is not the same `Arc` as in `older`. Shards that both maps share are skipped, so the cost
    /// follows the change.
    pub fn changes_since<'a>(&'a self, older: &'a Self) -> impl Iterator<Item = Change<'a, V>> {
        let same = self.ptr_eq(older);
        let shards = if same { 0 } else { SHARDS };
        (0..shards).flat_map(move |index| {
            let (old, new) = (older.shard_ref(index), self.shard_ref(index));
            match (old, new) {
                (Some(old), Some(new)) if Arc::ptr_eq(old, new) => Vec::new(),
                (old, new) => merge(old.map_or(&[][..], |s| s), new.map_or(&[][..], |s| s)),
            }
        })
    }

    fn shard_ref(&self, index: usize) -> Option<&Arc<Shard<V>>> {
        self.shards.as_ref()?[index].as_ref()
    }

    fn shard(&self, index: usize) -> Option<&Shard<V>> {
        self.shard_ref(index).map(|shard| &**shard)
    }
}

/// The differences of two sorted shards.
fn merge<'a, V>(old: &'a [(Arc<str>, Arc<V>)], new: &'a [(Arc<str>, Arc<V>)]) -> Vec<Change<'a, V>> {
    let (mut olds, mut news) = (old.iter().peekable(), new.iter().peekable());
    let mut changes = Vec::new();
    loop {
        let order = match (olds.peek(), news.peek()) {
            (None, None) => return changes,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((old, _)), Some((new, _))) => old.cmp(new),
        };
        let old = if order.is_le() { olds.next() } else { None };
        let new = if order.is_ge() { news.next() } else { None };
        let (old_value, new_value) = (old.map(|(_, v)| v), new.map(|(_, v)| v));
        if let (Some(a), Some(b)) = (old_value, new_value)
            && Arc::ptr_eq(a, b)
        {
            continue;
        }
        if let Some((name, _)) = new.or(old) {
            changes.push(Change {
                name,
                old: old_value,
                new: new_value,
            });
        }
    }
}

/// The same name is in the same shard of every map, whatever its values: comparing maps relies on it.
fn shard_of(name: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish() as usize & (SHARDS - 1)
}

impl<V> Clone for ResourceMap<V> {
    fn clone(&self) -> Self {
        Self {
            shards: self.shards.clone(),
            len: self.len,
        }
    }
}

impl<V> Default for ResourceMap<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: fmt::Debug> fmt::Debug for ResourceMap<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<V: PartialEq> PartialEq for ResourceMap<V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len
            && self
                .changes_since(other)
                .all(|change| matches!((change.old, change.new), (Some(a), Some(b)) if a == b))
    }
}

impl<V> std::ops::Index<&str> for ResourceMap<V> {
    type Output = Arc<V>;

    /// The value of a name that is known to be there.
    ///
    /// # Panics
    /// When it is not.
    fn index(&self, name: &str) -> &Arc<V> {
        match self.get(name) {
            Some(value) => value,
            None => panic!("no resource named {name:?}"),
        }
    }
}

impl<'a, V> IntoIterator for &'a ResourceMap<V> {
    type Item = (&'a Arc<str>, &'a Arc<V>);
    type IntoIter = Box<dyn Iterator<Item = Self::Item> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

impl<V> FromIterator<(Arc<str>, Arc<V>)> for ResourceMap<V> {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Arc<V>)>>(items: I) -> Self {
        let mut map = Self::new();
        for (name, value) in items {
            map.insert(name, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(items: &[(&str, u32)]) -> ResourceMap<u32> {
        items
            .iter()
            .map(|(name, value)| (Arc::from(*name), Arc::new(*value)))
            .collect()
    }

    #[test]
    fn a_change_is_seen_in_the_new_map_and_not_in_the_old_one() {
        let old = map(&[("a", 1), ("b", 2)]);
        let mut new = old.clone();
        assert_eq!(new.insert("b".into(), Arc::new(3)).as_deref(), Some(&2));
        assert_eq!(new.remove("a").as_deref(), Some(&1));
        assert_eq!(new.remove("never"), None);
        assert_eq!((new.get("a"), new.get("b").map(|v| **v)), (None, Some(3)));
        assert_eq!((old.get("b").map(|v| **v), old.len(), new.len()), (Some(2), 2, 1));
    }

    #[test]
    fn changes_since_names_added_changed_and_removed_and_nothing_else() {
        let old = map(&[("kept", 0), ("gone", 1), ("changed", 2)]);
        let mut new = old.clone();
        new.remove("gone");
        new.insert("changed".into(), Arc::new(3));
        new.insert("added".into(), Arc::new(4));
        let mut seen: Vec<_> = new
            .changes_since(&old)
            .map(|c| (c.name.to_string(), c.old.map(|v| **v), c.new.map(|v| **v)))
            .collect();
        seen.sort();
        assert_eq!(
            seen,
            [
                ("added".into(), None, Some(4)),
                ("changed".into(), Some(2), Some(3)),
                ("gone".into(), Some(1), None)
            ]
        );
        assert_eq!(new.changes_since(&new.clone()).count(), 0);
    }

    #[test]
    fn a_copy_shares_every_shard_but_the_changed_one() {
        let old: ResourceMap<usize> = (0..5000)
            .map(|i| (Arc::from(format!("cluster-{i}")), Arc::new(i)))
            .collect();
        let mut new = old.clone();
        new.insert("cluster-17".into(), Arc::new(0));
        let shared = (0..SHARDS)
            .filter(|i| matches!((old.shard_ref(*i), new.shard_ref(*i)), (Some(a), Some(b)) if Arc::ptr_eq(a, b)))
            .count();
        assert_eq!(shared, SHARDS - 1);
        assert_eq!(new.changes_since(&old).count(), 1);
    }

    #[test]
    fn equal_content_is_equal_whatever_the_history() {
        let mut long_way = map(&[("x", 1)]);
        long_way.insert("a".into(), Arc::new(1));
        long_way.remove("x");
        assert_eq!(long_way, map(&[("a", 1)]));
        long_way.remove("a");
        assert_eq!(long_way, ResourceMap::new());
    }
}
