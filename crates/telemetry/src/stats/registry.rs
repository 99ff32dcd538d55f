//! The registry: every block in the process, interned by prefix and table.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::block::Block;
use super::definition::Table;
use super::names::shown_with;
use super::scope::{Prefix, Scope};
use super::settings::Settings;

/// Every statistic of the process.
///
/// Blocks live as long as someone holds them: asking again for the same scope and table, for instance
/// while new configuration is compiled beside the old, returns the same block with its counts; when
/// the last holder is gone (a cluster was removed) its statistics are gone, as in Envoy.
#[derive(Debug)]
pub struct Registry {
    workers: u16,
    scopes: Mutex<Scopes>,
    settings: Settings,
}

#[derive(Debug, Default)]
struct Scopes {
    by_text: HashMap<ByText, Vec<Weak<Block>>>,
    /// When to look for dead entries next: at twice the entries that were alive last time.
    prune_at: usize,
}

/// A prefix, found by its text: the blocks share it, so that there is one for each of a mesh's clusters.
#[derive(Debug)]
struct ByText(Arc<Prefix>);

const FIRST_PRUNE: usize = 1024;

impl Registry {
    /// A registry for this many workers and any number of control threads.
    pub fn new(workers: usize) -> Arc<Registry> {
        Self::with_settings(workers, Settings::default())
    }

    /// The same, with what the operator chose.
    pub fn with_settings(workers: usize, settings: Settings) -> Arc<Registry> {
        Arc::new(Registry {
            workers: workers.try_into().unwrap_or(u16::MAX),
            scopes: Mutex::new(Scopes {
                by_text: HashMap::new(),
                prune_at: FIRST_PRUNE,
            }),
            settings,
        })
    }

    /// How many workers count here.
    pub fn workers(&self) -> usize {
        usize::from(self.workers)
    }

    /// The block of `table` in `scope`: the one that exists, or a new one.
    pub fn block(&self, scope: Scope<'_>, table: &'static Table) -> Arc<Block> {
        let mut text = String::with_capacity(64);
        scope.write_text(&mut text);
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        if scopes.by_text.len() >= scopes.prune_at {
            scopes.prune();
        }
        let prefix = match scopes.by_text.get_key_value(text.as_str()) {
            Some((prefix, _)) => Arc::clone(&prefix.0),
            None => Arc::new(scope.prefix(&text)),
        };
        let blocks = scopes.by_text.entry(ByText(Arc::clone(&prefix))).or_default();
        let existing = blocks
            .iter()
            .filter_map(Weak::upgrade)
            .find(|block| std::ptr::eq(block.table, table));
        if let Some(block) = existing {
            return block;
        }
        let block = Arc::new(Block::new(prefix, table, self.workers));
        blocks.retain(|block| block.strong_count() > 0);
        blocks.reserve_exact(1);
        blocks.push(Arc::downgrade(&block));
        block
    }

    /// Closes an interval of the histograms: what `/stats` shows beside the cumulative values. To be
    /// called every `stats_flush_interval` (Envoy's default: 5 s).
    pub fn flush(&self) {
        for block in self.blocks() {
            block.flush();
        }
    }

    /// Lets every counter show 0 (Envoy: POST /reset_counters).
    pub fn reset_counters(&self) {
        for block in self.blocks() {
            block.reset_counters();
        }
    }

    /// Blocks that are alive.
    fn blocks(&self) -> Vec<Arc<Block>> {
        let scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        let blocks = scopes.by_text.values();
        blocks
            .flat_map(|blocks| blocks.iter().filter_map(Weak::upgrade))
            .collect()
    }

    /// Blocks that are alive and those that are shown with them, by prefix.
    pub(crate) fn shown(&self) -> Vec<Arc<Block>> {
        let mut blocks: Vec<Arc<Block>> = Vec::new();
        let scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        for of_scope in scopes.by_text.values() {
            let living: Vec<Arc<Block>> = of_scope.iter().filter_map(Weak::upgrade).collect();
            for block in &living {
                let is_missing = |table: &&&Table| !living.iter().any(|block| std::ptr::eq(block.table, **table));
                let missing = shown_with(block.table).iter().filter(is_missing);
                blocks.extend(missing.map(|table| Arc::new(Block::new(block.prefix.clone(), table, 0))));
            }
            blocks.extend(living);
        }
        drop(scopes);
        blocks.sort_by(|a, b| a.prefix.text.cmp(&b.prefix.text));
        blocks
    }

    /// What the operator chose.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }
}

impl Scopes {
    fn prune(&mut self) {
        self.by_text.retain(|_, blocks| {
            blocks.retain(|block| block.strong_count() > 0);
            !blocks.is_empty()
        });
        self.prune_at = (self.by_text.len() * 2).max(FIRST_PRUNE);
    }
}

impl Borrow<str> for ByText {
    fn borrow(&self) -> &str {
        &self.0.text
    }
}

impl Hash for ByText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
    }
}

impl PartialEq for ByText {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for ByText {}

#[cfg(test)]
mod tests;
