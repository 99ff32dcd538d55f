//! Which routes of a virtual host can match a path, in their order.

use std::sync::Arc;

use crate::route::{PathSpecifier, Route};

/// Up to this many routes, trying one after the other is as good.
const FEW: usize = 4;

/// Routes by path.
///
/// ```text
///  path ───►  tree:    nodes for the texts of exact paths and prefixes, by shared beginnings (a radix tree)
///             others:  routes that any path may match (regular expressions, ignored case, CONNECT)
/// ```
/// The candidates for a path are the routes for exactly this path, those of the prefixes that it begins with, and the
/// others; they are merged so that they come in the order of the configuration, where the first match counts. A look-up
/// reads the path once, however many routes there are.
#[derive(Debug)]
pub(super) struct Paths {
    total: usize,
    /// None when there are only few.
    index: Option<Index>,
}

#[derive(Debug)]
pub(super) struct Index {
    /// The first one is the root.
    nodes: Vec<Node>,
    /// Positions of the routes that any path may match, ascending.
    others: Vec<u32>,
}

/// A text: the labels from the root to here.
#[derive(Debug, Default)]
struct Node {
    /// What it adds to the text of its parent; empty for the root alone.
    label: Vec<u8>,
    /// First bytes of the children's labels, which differ.
    keys: Vec<u8>,
    /// The children, in the order of `keys`.
    children: Vec<usize>,
    /// Positions of the routes for exactly this path, ascending.
    exact: Vec<u32>,
    /// Positions of the routes for paths that begin with this text, ascending.
    prefix: Vec<u32>,
    /// The nearest node above that has `prefix` routes.
    shorter: Option<usize>,
}

impl Node {
    fn child(&self, key: u8) -> Option<usize> {
        self.keys
            .iter()
            .position(|other| *other == key)
            .map(|at| self.children[at])
    }
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
            Some(index) => {
                let (exact, prefix) = index.find(path);
                Candidates::Merged {
                    index,
                    exact,
                    prefix,
                    next: 0,
                }
            }
        }
    }
}

impl Index {
    fn new(routes: &[Arc<Route>]) -> Self {
        let mut index = Self {
            nodes: vec![Node::default()],
            others: Vec::new(),
        };
        for (position, route) in (0..).zip(routes) {
            match &route.route_match.path {
                _ if !route.route_match.case_sensitive => index.others.push(position),
                PathSpecifier::Path(path) => {
                    let node = index.insert(path.as_bytes());
                    index.nodes[node].exact.push(position);
                }
                PathSpecifier::Prefix(prefix) | PathSpecifier::PathSeparatedPrefix(prefix) => {
                    let node = index.insert(prefix.as_bytes());
                    index.nodes[node].prefix.push(position);
                }
                PathSpecifier::SafeRegex(_) | PathSpecifier::ConnectMatcher | PathSpecifier::Template(_) => {
                    index.others.push(position);
                }
            }
        }
        index.link_shorter();
        index
    }

    /// The node of a text, made if need be.
    fn insert(&mut self, text: &[u8]) -> usize {
        let (mut at, mut rest) = (0, text);
        while let Some(key) = rest.first() {
            let Some(child) = self.nodes[at].child(*key) else {
                let leaf = self.nodes.len();
                self.nodes.push(Node {
                    label: rest.to_vec(),
                    ..Node::default()
                });
                self.nodes[at].keys.push(*key);
                self.nodes[at].children.push(leaf);
                return leaf;
            };
            let label = &self.nodes[child].label;
            let shared = label.iter().zip(rest).take_while(|(a, b)| a == b).count();
            if shared < label.len() {
                self.split(child, shared);
            }
            (at, rest) = (child, &rest[shared..]);
        }
        at
    }

    /// Puts a node with the first bytes of a node's label above the rest of it. The upper part keeps the place.
    fn split(&mut self, at: usize, shared: usize) {
        let lower = self.nodes.len();
        let mut node = std::mem::take(&mut self.nodes[at]);
        let rest = node.label.split_off(shared);
        self.nodes[at] = Node {
            label: node.label,
            keys: vec![rest[0]],
            children: vec![lower],
            ..Node::default()
        };
        node.label = rest;
        self.nodes.push(node);
    }

    fn link_shorter(&mut self) {
        let mut open = vec![0];
        while let Some(at) = open.pop() {
            let node = &self.nodes[at];
            let shorter = if node.prefix.is_empty() { node.shorter } else { Some(at) };
            for child in node.children.clone() {
                self.nodes[child].shorter = shorter;
                open.push(child);
            }
        }
    }

    /// Routes for exactly this path, and the node of the longest prefix of it that has routes.
    fn find(&self, path: &[u8]) -> (&[u32], Option<usize>) {
        let (mut at, mut rest) = (0, path);
        loop {
            let node = &self.nodes[at];
            let next = rest.first().and_then(|key| node.child(*key));
            match next.and_then(|child| Some((child, rest.strip_prefix(self.nodes[child].label.as_slice())?))) {
                Some(below) => (at, rest) = below,
                None => {
                    let exact = if rest.is_empty() { node.exact.as_slice() } else { &[] };
                    return (exact, if node.prefix.is_empty() { node.shorter } else { Some(at) });
                }
            }
        }
    }
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
                while let Some(node) = at.map(|at| &index.nodes[at]) {
                    if let Some(position) = first(&node.prefix) {
                        found = Some(found.map_or(position, |found| found.min(position)));
                    }
                    at = node.shorter;
                }
                *next = found? + 1;
                found.map(|position| position as usize)
            }
        }
    }
}
