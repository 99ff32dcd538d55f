//! The table of connected proxies. Each stream writes its own line.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use dashmap::DashMap;

use super::report::{ProxyReport, TypeReport, TypeState};
use crate::ads::session::SyncState;
use crate::ads::subscription::Subscription;
use crate::compile::resource::ResourceType;

/// The table.
#[derive(Debug, Default)]
pub struct Proxies {
    lines: DashMap<u64, ProxyReport>,
    /// The number of the next stream.
    next: AtomicU64,
}

impl Proxies {
    /// An empty table.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Adds a line for a new stream.
    pub fn connect(self: &Arc<Self>, node: &str, variant: &str, now: SystemTime) -> ProxyEntry {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let line = ProxyReport {
            node: node.to_owned(),
            variant: variant.to_owned(),
            connected_at: rfc3339(now),
            ..ProxyReport::default()
        };
        self.lines.insert(id, line);
        ProxyEntry {
            proxies: Arc::clone(self),
            id,
            node: node.into(),
        }
    }

    /// Every line, by node id.
    pub fn report(&self) -> Vec<ProxyReport> {
        let mut lines: Vec<ProxyReport> = self.lines.iter().map(|line| line.value().clone()).collect();
        lines.sort_by(|first, second| (&first.node, &first.connected_at).cmp(&(&second.node, &second.connected_at)));
        lines
    }
}

/// A stream's line; it goes when this is dropped.
#[derive(Debug)]
pub struct ProxyEntry {
    proxies: Arc<Proxies>,
    id: u64,
    node: Arc<str>,
}

impl ProxyEntry {
    /// The node's id.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Writes the line. `sending` is the type of which a response goes out now.
    pub fn update<'a>(
        &self,
        trouble: Option<&str>,
        state_of: impl Fn(ResourceType) -> Option<(SyncState, &'a Subscription)>,
        sending: Option<ResourceType>,
    ) {
        let Some(mut line) = self.proxies.lines.get_mut(&self.id) else {
            return;
        };
        if line.trouble.as_deref() != trouble {
            line.trouble = trouble.map(str::to_owned);
        }
        let before = std::mem::take(&mut line.types);
        for kind in ResourceType::ALL {
            let Some((state, subscription)) = state_of(kind) else {
                continue;
            };
            let state = match state {
                SyncState::Synced => TypeState::Synced,
                SyncState::Stale => TypeState::Stale,
                SyncState::Nacked { reason } => TypeState::Nacked { reason },
            };
            let earlier = before.iter().find(|earlier| earlier.service == kind.service());
            // Versions change when something is sent; to hash them at each event would be
            // the dearest thing a quiet stream does.
            let (version, resources, changed_at) = match earlier {
                Some(earlier) if sending != Some(kind) => {
                    (earlier.version.clone(), earlier.resources, earlier.changed_at.clone())
                }
                _ => {
                    let changed_at = if sending == Some(kind) {
                        rfc3339(SystemTime::now())
                    } else {
                        String::new()
                    };
                    (
                        subscription.known_version().to_string(),
                        subscription.known_count(),
                        changed_at,
                    )
                }
            };
            line.types.push(TypeReport {
                service: kind.service().to_owned(),
                state,
                version,
                resources,
                changed_at,
            });
        }
    }
}

impl Drop for ProxyEntry {
    fn drop(&mut self) {
        self.proxies.lines.remove(&self.id);
        tracing::info!(node = %self.node, "disconnected");
    }
}

/// A time to the millisecond, in UTC.
pub fn rfc3339(time: SystemTime) -> String {
    match k8s_openapi::jiff::Timestamp::try_from(time) {
        Ok(time) => format!("{time:.3}"),
        // Beyond the year 9999.
        Err(_) => String::new(),
    }
}
