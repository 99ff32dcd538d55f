//! Virtual hosts by domain.

use std::collections::HashMap;
use std::sync::Arc;

use crate::route::VirtualHost;

/// Longer hosts are folded to lower case on the heap; DNS names have at most 255 bytes.
const LONGEST_ON_STACK: usize = 256;

/// Domains of all virtual hosts, in the order in which Envoy tries them: exact, the longest suffix wildcard, the
/// longest prefix wildcard, `*`. A wildcard stands for at least one character.
#[derive(Debug, Clone, Default)]
pub(super) struct Domains {
    exact: HashMap<Arc<str>, usize>,
    /// By what follows the star.
    suffixes: Wildcards,
    /// By what precedes the star.
    prefixes: Wildcards,
    any: Option<usize>,
}

/// Wildcard domains by their fixed part.
#[derive(Debug, Clone, Default)]
struct Wildcards {
    hosts: HashMap<Box<str>, usize>,
    /// Lengths of the fixed parts, longest first, without duplicates.
    lengths: Vec<usize>,
}

impl Wildcards {
    fn insert(&mut self, fixed: &str, host: usize) {
        self.hosts.entry(fixed.into()).or_insert(host);
        if let Err(at) = self.lengths.binary_search_by(|length| fixed.len().cmp(length)) {
            self.lengths.insert(at, fixed.len());
        }
    }

    /// The longest fixed part that `part` cuts from `host` at a given length.
    fn find<'h>(&self, host: &'h str, part: impl Fn(&'h str, usize) -> Option<&'h str>) -> Option<usize> {
        let shorter = self.lengths.iter().filter(|length| **length < host.len());
        shorter.filter_map(|length| part(host, *length)).find_map(|fixed| {
            count_look_up();
            self.hosts.get(fixed).copied()
        })
    }
}

impl Domains {
    pub(super) fn new(virtual_hosts: &[Arc<VirtualHost>]) -> Self {
        let mut domains = Self::default();
        for (index, host) in virtual_hosts.iter().enumerate() {
            for domain in &host.domains {
                if &**domain == "*" {
                    domains.any.get_or_insert(index);
                } else if let Some(suffix) = domain.strip_prefix('*') {
                    domains.suffixes.insert(suffix, index);
                } else if let Some(prefix) = domain.strip_suffix('*') {
                    domains.prefixes.insert(prefix, index);
                } else {
                    domains.exact.entry(Arc::clone(domain)).or_insert(index);
                }
            }
        }
        domains
    }

    /// The index of the virtual host for a host.
    pub(super) fn find(&self, host: &[u8]) -> Option<usize> {
        if self.exact.is_empty() && self.suffixes.lengths.is_empty() && self.prefixes.lengths.is_empty() {
            return self.any;
        }
        let mut stack = [0; LONGEST_ON_STACK];
        let heap;
        let lower: &[u8] = match stack.get_mut(..host.len()) {
            Some(lower) => {
                lower.copy_from_slice(host);
                lower.make_ascii_lowercase();
                lower
            }
            None => {
                heap = host.to_ascii_lowercase();
                &heap
            }
        };
        // Domains are text, so a host that is not can only be for `*`.
        let Ok(lower) = std::str::from_utf8(lower) else {
            return self.any;
        };
        count_look_up();
        self.exact
            .get(lower)
            .copied()
            .or_else(|| {
                self.suffixes
                    .find(lower, |host, length| host.get(host.len() - length..))
            })
            .or_else(|| self.prefixes.find(lower, |host, length| host.get(..length)))
            .or(self.any)
    }
}

#[cfg(not(test))]
fn count_look_up() {}

#[cfg(test)]
use counting::count_look_up;
#[cfg(test)]
pub(super) use counting::look_ups;

/// How many look-ups finding a host takes is what a test is about.
#[cfg(test)]
mod counting {
    use std::cell::Cell;

    thread_local! {
        static LOOK_UPS: Cell<u32> = const { Cell::new(0) };
    }

    pub(super) fn count_look_up() {
        LOOK_UPS.with(|count| count.set(count.get() + 1));
    }

    /// How many there were on this thread since the last call.
    pub(in super::super) fn look_ups() -> u32 {
        LOOK_UPS.with(|count| count.replace(0))
    }
}
