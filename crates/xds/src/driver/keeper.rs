//! Keeps the last-good cache on disk.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use xds_api::envoy::config::core::v3::Node;

use super::Shared;
use crate::cache;
use crate::engine::Engine;

/// Takes over what was kept. What cannot be used is named and ignored.
pub(super) fn restore(engine: &mut Engine, directory: &Path, node: &Node, now: Instant) {
    match cache::read(directory, &node.id, &node.cluster) {
        Ok(Some(image)) => {
            tracing::info!(
                "last-good cache: {} resources until the control plane answers",
                image.resources.len()
            );
            engine.restore(image, now);
        }
        Ok(None) => {}
        Err(error) => tracing::warn!("last-good cache in {} {error}; it is ignored", directory.display()),
    }
}

/// Writes what was accepted, some time after it changed and not more often than the settings say.
pub(super) async fn keep(shared: Arc<Shared>, directory: PathBuf) {
    let mut last_failure = String::new();
    loop {
        shared.accepted.notified().await;
        tokio::time::sleep(shared.settings.cache_interval).await;
        let (sharing, directory) = (Arc::clone(&shared), directory.clone());
        match tokio::task::spawn_blocking(move || write(&sharing, &directory)).await {
            Ok(Ok(())) => last_failure.clear(),
            Ok(Err(failure)) if failure != last_failure => {
                tracing::warn!("last-good cache cannot be written: {failure}");
                last_failure = failure;
            }
            Ok(Err(_)) => {}
            Err(error) => tracing::error!("writing the last-good cache failed: {error}"),
        }
    }
}

/// Writes what was accepted, if anything has changed since it was written. One call at a time.
pub(super) fn write(shared: &Shared, directory: &Path) -> Result<(), String> {
    let mut written = shared.written.lock().unwrap_or_else(PoisonError::into_inner);
    let (image, changes) = {
        let engine = shared.lock();
        if engine.changes() == *written {
            return Ok(());
        }
        (engine.image(), engine.changes())
    };
    let path = cache::write(directory, &image).map_err(|error| format!("{}: {error}", directory.display()))?;
    *written = changes;
    tracing::debug!("last-good cache written to {}", path.display());
    Ok(())
}
