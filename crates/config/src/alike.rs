//! What resources have in common is kept once.
//!
//! Equal parts of resources that come one after the other are one: the clusters of a mesh differ in their names and
//! hardly ever in how they are spoken to, and there may be ten thousand.

use std::any::{Any, TypeId};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// What was shared.
#[derive(Default)]
pub(crate) struct Alike {
    /// The last value of each type. Bounded by the number of types that are shared.
    last: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
    names: Mutex<Names>,
}

/// Names of clusters, which clusters, endpoints and routes have in common.
#[derive(Default)]
struct Names {
    all: HashSet<Arc<str>>,
    /// When to look for names that nobody uses next: at twice those that were used last time.
    prune_at: usize,
}

/// So few names are kept, used or not.
const FIRST_PRUNE: usize = 1024;

impl Alike {
    /// The last value if this one equals it, else this one.
    pub(crate) fn share<T: PartialEq + Send + Sync + 'static>(&self, value: T) -> Arc<T> {
        // Poisoned or not, the map is whole: an insertion either happened or did not.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.get(&TypeId::of::<T>()).cloned();
        if let Some(known) = known.and_then(|known| known.downcast::<T>().ok())
            && *known == value
        {
            return known;
        }
        let value = Arc::new(value);
        last.insert(TypeId::of::<T>(), Arc::clone(&value) as Arc<dyn Any + Send + Sync>);
        value
    }
}

impl Alike {
    /// The one copy of a name.
    pub(crate) fn name(&self, name: &str) -> Arc<str> {
        // Poisoned or not, the set is whole.
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.all.get(name) {
            return Arc::clone(known);
        }
        if names.all.len() >= names.prune_at.max(FIRST_PRUNE) {
            names.all.retain(|name| Arc::strong_count(name) > 1);
            names.prune_at = names.all.len() * 2;
        }
        let name: Arc<str> = name.into();
        names.all.insert(Arc::clone(&name));
        name
    }
}

impl fmt::Debug for Alike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alike")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_in_a_row_are_one() {
        let alike = Alike::default();
        let first = alike.share(7_u32);
        assert!(Arc::ptr_eq(&first, &alike.share(7_u32)));
        assert_eq!(*alike.share(7_u64), 7, "another type is another value");
        assert!(Arc::ptr_eq(&first, &alike.share(7_u32)));
        let other = alike.share(8_u32);
        assert!(!Arc::ptr_eq(&first, &other) && *other == 8);
    }

    #[test]
    fn a_name_is_kept_once_and_as_long_as_it_is_used() {
        let alike = Alike::default();
        let used = alike.name("used");
        for number in 0..10 * FIRST_PRUNE {
            alike.name(&number.to_string());
        }
        assert!(Arc::ptr_eq(&used, &alike.name("used")));
        let kept = alike.names.lock().unwrap().all.len();
        assert!(kept <= FIRST_PRUNE, "{kept}");
    }
}
