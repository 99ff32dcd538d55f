//! Which routes of a virtual host can match a path, in their order.

use std::sync::Arc;

use crate::route::{PathSpecifier, Route};

/// Below this many routes trying them one after the other is as good.
const FEW: usize = 8;

/// Routes by path.
///
/// ```text
///             exact:   sorted paths, each with its routes
///  path ───►  prefix:  sorted prefixes, each with its routes and the next shorter prefix of itself
///             others:  routes that any path may match (regular expressions, ignored case, CONNECT)
/// ```
/// The candidates for a path are the routes of its exact entry, of the prefixes that it begins with, and the others;
/// they are merged so that they come in the order of the configuration, where the first match counts.
#[derive(Debug)]
pub(super) struct Paths {
    total: usize,
    /// None when there are only few.
    index: Option<Index>,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    exact: Vec<Entry>,
    prefixes: Vec<Entry>,
    others: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct Entry {
    text: Arc<str>,
    /// Positions of its routes, ascending.
    routes: Vec<u32>,
    /// Index of the longest other prefix that this one begins with.
    shorter: Option<usize>,
}

impl Paths {
    pub(super) fn new(routes: &[Arc<Route>]) -> Self {
        Self {
            total: routes.len(),
            index: (routes.len() > FEW).then(|| Index::new(routes)),
        }
    }

    /// Positions of the routes that may match a path (without query), ascending.
    pub(super) fn candidates<'a>(&'a self, path: &[u8]) -> Candidates<'a> {
        match &self.index {
            None => Candidates::All(0..self.total),
            Some(index) => Candidates::Merged {
                index,
                exact: find_exact(&index.exact, path).map_or(&[], |entry| entry.routes.as_slice()),
                prefix: index.longest_prefix(path),
                next: 0,
            },
        }
    }
}

impl Index {
    fn new(routes: &[Arc<Route>]) -> Self {
        let mut index = Self::default();
        for (position, route) in (0..).zip(routes) {
            let case_sensitive = route.route_match.case_sensitive;
            match &route.route_match.path {
                PathSpecifier::Path(path) if case_sensitive => insert(&mut index.exact, path, position),
                PathSpecifier::Prefix(prefix) | PathSpecifier::PathSeparatedPrefix(prefix) if case_sensitive => {
                    insert(&mut index.prefixes, prefix, position);
                }
                _ => index.others.push(position),
            }
        }
        settle(&mut index.exact);
        settle(&mut index.prefixes);
        // In sorted order everything between a prefix and a text that begins with it begins with it too, so the
        // longest shorter prefix of an entry is its predecessor or one that the predecessor leads to.
        for at in 1..index.prefixes.len() {
            let (before, rest) = index.prefixes.split_at_mut(at);
            rest[0].shorter = longest_prefix_from(before, Some(at - 1), rest[0].text.as_bytes());
        }
        index
    }

    fn longest_prefix(&self, path: &[u8]) -> Option<usize> {
        let after = self.prefixes.partition_point(|entry| entry.text.as_bytes() <= path);
        longest_prefix_from(&self.prefixes, after.checked_sub(1), path)
    }
}

fn insert(entries: &mut Vec<Entry>, text: &Arc<str>, position: u32) {
    entries.push(Entry {
        text: Arc::clone(text),
        routes: vec![position],
        shorter: None,
    });
}

/// Sorts entries and joins those with the same text. The sort is stable, so positions stay ascending.
fn settle(entries: &mut Vec<Entry>) {
    entries.sort_by(|a, b| a.text.cmp(&b.text));
    entries.dedup_by(|later, earlier| {
        let same = later.text == earlier.text;
        if same {
            earlier.routes.append(&mut later.routes);
        }
        same
    });
}

/// Follows `shorter` from `start` to the first entry that `text` begins with.
fn longest_prefix_from(entries: &[Entry], start: Option<usize>, text: &[u8]) -> Option<usize> {
    let mut at = start;
    while let Some(index) = at {
        let entry = &entries[index];
        if text.starts_with(entry.text.as_bytes()) {
            return Some(index);
        }
        at = entry.shorter;
    }
    None
}

fn find_exact<'a>(entries: &'a [Entry], path: &[u8]) -> Option<&'a Entry> {
    entries
        .binary_search_by(|entry| entry.text.as_bytes().cmp(path))
        .ok()
        .map(|at| &entries[at])
}

/// Positions of routes, ascending.
pub(super) enum Candidates<'a> {
    /// All of them.
    All(std::ops::Range<usize>),
    /// Those of an index.
    Merged {
        index: &'a Index,
        /// Routes with exactly this path.
        exact: &'a [u32],
        /// Longest prefix of the path; the shorter ones follow from it.
        prefix: Option<usize>,
        /// Positions below this have been given.
        next: u32,
    },
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        match self {
            Self::All(range) => range.next(),
            Self::Merged {
                index,
                exact,
                prefix,
                next,
            } => {
                let at_least = *next;
                let first = |routes: &[u32]| {
                    routes
                        .get(routes.partition_point(|position| *position < at_least))
                        .copied()
                };
                let mut found = match (first(exact), first(&index.others)) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
                let mut at = *prefix;
                while let Some(entry) = at.map(|at| &index.prefixes[at]) {
                    if let Some(position) = first(&entry.routes) {
                        found = Some(found.map_or(position, |found| found.min(position)));
                    }
                    at = entry.shorter;
                }
                *next = found? + 1;
                found.map(|position| position as usize)
            }
        }
    }
}
