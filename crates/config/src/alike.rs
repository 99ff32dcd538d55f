//! Equal parts of resources that come one after the other are kept once: the clusters of a mesh differ in their names and
//! hardly ever in how they are spoken to, and there may be ten thousand.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The last value of each type that was shared. Bounded by the number of types that are.
#[derive(Default)]
pub(crate) struct Alike {
    last: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

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
}
