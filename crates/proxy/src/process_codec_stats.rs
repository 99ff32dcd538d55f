//! Where codecs of callers count: statistics of the whole process.

use std::sync::{Arc, OnceLock};

use telemetry::stats::{Block, Registry, Scope, http1, http2};

/// What codecs of callers count, for the whole process. There once such a connection was.
#[derive(Debug)]
pub(crate) struct ProcessCodecStats {
    registry: Arc<Registry>,
    http1: OnceLock<Arc<Block>>,
    http2: OnceLock<Arc<Block>>,
}

impl ProcessCodecStats {
    pub(crate) fn new(registry: &Arc<Registry>) -> Self {
        Self {
            registry: Arc::clone(registry),
            http1: OnceLock::new(),
            http2: OnceLock::new(),
        }
    }

    pub(crate) fn of(&self, is_h2: bool) -> &Block {
        if is_h2 {
            let make = || self.registry.block(Scope::Process("http2."), &http2::TABLE);
            self.http2.get_or_init(make)
        } else {
            let make = || self.registry.block(Scope::Process("http1."), &http1::TABLE);
            self.http1.get_or_init(make)
        }
    }
}
