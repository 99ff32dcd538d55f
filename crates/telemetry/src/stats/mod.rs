//! Statistics with Envoy's names: counted without locks or look-ups, merged and named when read.
//!
//! A static [`Table`] says what a kind of thing counts ([`cluster`], [`http`], [`listener`] and so on);
//! a [`Block`] is one table's values in one [`Scope`]; the [`Registry`] interns blocks and
//! [renders](Registry::render) them as Envoy's `/stats` does.
//!
//! ```
//! use telemetry::stats::{cluster, Registry, Scope, Shard};
//! let registry = Registry::new(2);
//! let backend = registry.block(Scope::Cluster("backend"), &cluster::TABLE);
//! backend.increment(Shard::worker(0), cluster::UPSTREAM_RQ_TOTAL);
//! assert_eq!(backend.counter(cluster::UPSTREAM_RQ_TOTAL), 1);
//! ```

mod block;
mod definition;
mod histogram;
mod names;
mod registry;
mod render;
mod scope;
mod settings;
mod storage;

pub use block::{Block, Shard};
pub use definition::{Codes, Counter, Gauge, Histogram, StatDef, Table, Text};
pub use names::*;
pub use registry::Registry;
pub use render::{Format, HistogramBuckets, Kinds, Query, QueryError, regex_fault};
pub use scope::Scope;
pub use settings::{NamePredicate, Settings, Tag, TagValue};
pub use storage::Local;
