//! Which of several matches decides (Gateway API, `HTTPRouteRule.matches` and
//! `GRPCRouteRule.matches`; what those leave open is settled here and said so).

use std::cmp::{Ordering, Reverse};

use super::{Name, TableEntry};
use crate::objects::route::{Match, PathMatch};

/// What is compared when two matches are equally specific: the older route first, one
/// that says its age before one that does not; then by name; then as written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seniority {
    pub(super) has_no_date: bool,
    pub(super) created: String,
    pub(super) route: Name,
    pub(super) rule: usize,
    pub(super) condition: usize,
}

/// Puts a table in order: the first match decides.
pub(super) fn sort(entries: &mut [(Seniority, TableEntry)]) {
    entries.sort_by(|(first_age, first), (second_age, second)| {
        compare(&first.condition, &second.condition).then_with(|| first_age.cmp(second_age))
    });
}

/// `Less` where the first is the more specific.
fn compare(first: &Match, second: &Match) -> Ordering {
    let key = |condition: &Match| {
        let (kind, service, method) = match &condition.path {
            PathMatch::Exact(path) => (0, path.chars().count(), 0),
            // The API leaves regular expressions to the implementation: after exact
            // paths, so that these stay the most specific, and before prefixes, so that
            // a catch-all prefix does not hide them.
            PathMatch::Regex(expression) => (1, expression.as_str().chars().count(), 0),
            PathMatch::Prefix(prefix) => (2, prefix.chars().count(), 0),
            PathMatch::Grpc(wanted) => {
                let length = |name: &Option<String>| name.as_ref().map_or(0, |name| name.chars().count());
                let is_all = wanted.service.is_none() && wanted.method.is_none();
                // Exact names before expressions, as with paths.
                let kind = u8::from(wanted.regex && !is_all);
                (kind, length(&wanted.service), length(&wanted.method))
            }
        };
        let is_grpc = matches!(condition.path, PathMatch::Grpc(_));
        (
            // For gRPC a longer service name goes before all else; a match of everything
            // has the length 0 and so comes last.
            if is_grpc { 0 } else { kind },
            Reverse(service),
            Reverse(method),
            if is_grpc { kind } else { 0 },
            Reverse(condition.method.is_some()),
            Reverse(condition.headers.len()),
            Reverse(condition.query.len()),
        )
    };
    key(first).cmp(&key(second))
}
