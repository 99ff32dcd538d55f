//! Requests that the control plane wants dropped before an endpoint is chosen
//! (`ClusterLoadAssignment.Policy.drop_overloads`; gRFC A32 calls them circuit breaking by category).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use config::endpoint::DropOverload;
use config::percent::FractionalPercent;

/// How a request was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// A share of requests is, and this one was in it.
    Share,
    /// All requests are.
    All,
}

/// What a cluster drops, and how much it has. Made when the first endpoints come that say so: a pick of other clusters
/// looks at a pointer that is not there.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    made: OnceLock<Box<Made>>,
}

#[derive(Debug, Default)]
struct Made {
    categories: ArcSwap<Vec<Category>>,
    /// Requests dropped for whatever reason: these, and those that an open breaker refused.
    total: AtomicU64,
}

#[derive(Debug)]
struct Category {
    name: Arc<str>,
    fraction: FractionalPercent,
    dropped: Arc<AtomicU64>,
}

impl Drops {
    /// Takes what the endpoints of the cluster come with. Counts of categories that stay go on.
    pub(crate) fn set(&self, overloads: &[DropOverload]) {
        if overloads.is_empty() && self.made.get().is_none() {
            return;
        }
        let made = self.made.get_or_init(Box::default);
        let before = made.categories.load();
        let same = |(category, overload): (&Category, &DropOverload)| {
            category.name == overload.category && category.fraction == overload.drop_percentage
        };
        if before.len() == overloads.len() && before.iter().zip(overloads).all(same) {
            return;
        }
        let category = |overload: &DropOverload| Category {
            name: overload.category.clone(),
            fraction: overload.drop_percentage,
            dropped: before
                .iter()
                .find(|known| known.name == overload.category)
                .map(|known| known.dropped.clone())
                .unwrap_or_default(),
        };
        let categories = overloads.iter().map(category).collect();
        made.categories.store(Arc::new(categories));
    }

    /// Whether a request is dropped; each category has its own draw.
    pub(crate) fn draw(&self, mut random: impl FnMut() -> u64) -> Option<Dropped> {
        let made = self.made.get()?;
        let categories = made.categories.load();
        let hit = categories
            .iter()
            .find(|category| category.fraction.includes(random()))?;
        hit.dropped.fetch_add(1, Ordering::Relaxed);
        Some(match hit.fraction.ratio() {
            ratio if ratio >= 1.0 => Dropped::All,
            _ => Dropped::Share,
        })
    }

    /// Counts a request that was dropped, for whatever reason.
    pub(crate) fn count(&self) {
        self.made
            .get_or_init(Box::default)
            .total
            .fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests were dropped for whatever reason.
    pub(crate) fn total(&self) -> u64 {
        self.made.get().map_or(0, |made| made.total.load(Ordering::Relaxed))
    }

    /// How many requests were dropped in each category there is now. The counts live on with whoever holds them.
    pub(crate) fn by_category(&self) -> HashMap<Arc<str>, Arc<AtomicU64>> {
        let Some(made) = self.made.get() else {
            return HashMap::new();
        };
        let categories = made.categories.load();
        categories
            .iter()
            .map(|category| (category.name.clone(), category.dropped.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overload(category: &str, percent: u32) -> DropOverload {
        DropOverload {
            category: category.into(),
            drop_percentage: FractionalPercent {
                numerator: percent,
                denominator: 100,
            },
        }
    }

    fn dropped(drops: &Drops) -> Vec<(String, u64)> {
        let mut counts: Vec<_> = drops
            .by_category()
            .iter()
            .map(|(name, count)| (name.to_string(), count.load(Ordering::Relaxed)))
            .collect();
        counts.sort();
        counts
    }

    #[test]
    fn a_cluster_without_categories_drops_nothing_and_keeps_nothing() {
        let drops = Drops::default();
        drops.set(&[]);
        assert_eq!(drops.draw(|| 0), None);
        assert!(drops.made.get().is_none());
    }

    #[test]
    fn each_category_draws_for_itself_and_the_first_hit_counts() {
        let drops = Drops::default();
        drops.set(&[overload("throttle", 10), overload("lb", 30)]);
        let mut draws = [50, 50, 5, 50, 20].into_iter();
        let mut next = || draws.next().expect("no more draws than these");
        assert_eq!(drops.draw(&mut next), None, "50 and 50");
        assert_eq!(drops.draw(&mut next), Some(Dropped::Share), "5");
        assert_eq!(drops.draw(&mut next), Some(Dropped::Share), "50 and 20");
        assert_eq!(dropped(&drops), [("lb".to_owned(), 1), ("throttle".to_owned(), 1)]);
    }

    #[test]
    fn everything_goes_at_a_hundred_percent_and_counts_outlive_an_update() {
        let drops = Drops::default();
        drops.set(&[overload("lb", 100)]);
        assert_eq!(drops.draw(|| 99), Some(Dropped::All));
        drops.set(&[overload("other", 1), overload("lb", 1)]);
        assert_eq!(dropped(&drops), [("lb".to_owned(), 1), ("other".to_owned(), 0)]);
        drops.set(&[]);
        assert_eq!(drops.draw(|| 0), None);
    }
}
