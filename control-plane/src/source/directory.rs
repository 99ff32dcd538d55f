//! A directory of YAML files, watched.
//!
//! Files are read again when the kernel tells of a change and the writer seems to be
//! done; [`files`] decides what the new texts mean.

pub mod files;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{Notify, watch};

use self::files::{Files, Listing};
use super::ObjectSet;

/// A change is read when nothing more happened for this long...
const QUIET: Duration = Duration::from_millis(15);
/// ...and no file is still open that was written to, but no later than this after the
/// first event: an edit reaches the proxies within 200 ms of being saved.
const PATIENCE: Duration = Duration::from_millis(100);
/// How often it is checked that the directory watched is still the one at the path.
const RECHECK: Duration = Duration::from_secs(1);
/// Nesting beyond this is a loop of symbolic links.
const MAX_DEPTH: usize = 16;

/// Reads a directory once.
///
/// # Errors
/// The directory cannot be listed. Faults of files are in the set.
pub fn read_once(directory: &Path) -> io::Result<ObjectSet> {
    let mut files = Files::default();
    files.observe(list(directory)?, Instant::now());
    Ok(files.objects())
}

/// Reads a directory now, and again whenever it changes.
///
/// # Errors
/// The directory cannot be listed at the start. Later it may vanish and come back: the
/// last good objects stay in force.
pub async fn watch(directory: PathBuf) -> io::Result<watch::Receiver<Arc<ObjectSet>>> {
    let events = Arc::new(Events::default());
    // Watched before it is read, so that no change falls between the two.
    let mut watcher = Watcher::new(directory.clone(), Arc::clone(&events));
    watcher.attach();
    let mut files = Files::default();
    files.observe(list_in_background(&directory).await?, Instant::now());
    let (sender, receiver) = watch::channel(Arc::new(files.objects()));
    tokio::spawn(async move {
        let mut recheck_at = None;
        loop {
            tokio::select! {
                () = events.next() => {}
                () = sleep_until(recheck_at) => {}
                () = tokio::time::sleep(RECHECK) => {
                    if !watcher.is_lost() {
                        continue;
                    }
                    watcher.attach();
                }
                () = sender.closed() => return,
            }
            let observed = match list_in_background(&directory).await {
                Ok(listing) => files.observe(listing, Instant::now()),
                Err(error) => files.directory_fault(&directory, &error),
            };
            recheck_at = observed.recheck_at;
            if observed.changed {
                sender.send_replace(Arc::new(files.objects()));
            }
        }
    });
    Ok(receiver)
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// The texts of all files that hold objects, by path relative to the directory.
fn list(directory: &Path) -> io::Result<Listing> {
    let mut listing = BTreeMap::new();
    list_into(directory, "", 0, &mut listing)?;
    Ok(listing)
}

async fn list_in_background(directory: &Path) -> io::Result<Listing> {
    let directory = directory.to_owned();
    let listed = tokio::task::spawn_blocking(move || list(&directory)).await;
    listed.unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
}

fn list_into(directory: &Path, prefix: &str, depth: usize, listing: &mut Listing) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        // Editors' own files, and the directories behind a ConfigMap volume's links.
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        let name = if prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{prefix}/{name}")
        };
        // Follows links; a file that vanished since it was listed is simply not there.
        let Ok(metadata) = std::fs::metadata(&path) else {
            continue;
        };
        if metadata.is_dir() {
            if depth < MAX_DEPTH {
                // A subdirectory that vanished meanwhile has no files; any other failure
                // must not look like the removal of what is in it.
                match list_into(&path, &name, depth + 1, listing) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        } else if is_object_file(&path) {
            match std::fs::read_to_string(&path) {
                Ok(text) => {
                    listing.insert(name, Ok(text));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    listing.insert(name, Err(error.to_string()));
                }
            }
        }
    }
    Ok(())
}

fn is_object_file(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

/// What the watcher's thread tells the task.
#[derive(Debug, Default)]
struct Events {
    changed: Notify,
    /// Something happened that no read has begun after. Kept apart from `changed`, whose notification is gone when
    /// [`Events::next`] is dropped half way.
    unread: AtomicBool,
    /// Files written to and not closed since. Owner: the watcher's thread adds and
    /// removes; the task clears it when its patience ends.
    open: Mutex<HashSet<PathBuf>>,
}

impl Events {
    fn record(&self, event: &notify::Event) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                for path in &event.paths {
                    open.remove(path);
                }
            }
            // Reading is what we do ourselves.
            EventKind::Access(_) => return,
            EventKind::Modify(ModifyKind::Data(_)) if cfg!(target_os = "linux") => {
                open.extend(event.paths.iter().filter(|path| is_object_file(path)).cloned());
            }
            _ => {
                for path in &event.paths {
                    open.remove(path);
                }
            }
        }
        drop(open);
        self.unread.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Waits for a change, then for its end. Cancel-safe: a change is there until a call has returned for it.
    async fn next(&self) {
        while !self.unread.load(Ordering::Acquire) {
            self.changed.notified().await;
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let quiet = tokio::time::timeout(QUIET, self.changed.notified()).await.is_err();
            let writing = !self.open.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
            if (quiet && !writing) || tokio::time::Instant::now() >= deadline {
                break;
            }
        }
        // What happens from here on is seen by the read that follows, or notified anew.
        self.unread.store(false, Ordering::Release);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The kernel's watch on the directory, renewed when another directory takes its place.
struct Watcher {
    directory: PathBuf,
    events: Arc<Events>,
    /// The watch and which directory it is on.
    attached: Option<(RecommendedWatcher, Identity)>,
}

type Identity = (u64, u64);

fn identity(directory: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(directory)
        .ok()
        .map(|metadata| (metadata.dev(), metadata.ino()))
}

impl Watcher {
    fn new(directory: PathBuf, events: Arc<Events>) -> Self {
        Self {
            directory,
            events,
            attached: None,
        }
    }

    fn attach(&mut self) {
        self.attached = None;
        let Some(identity) = identity(&self.directory) else {
            return;
        };
        let events = Arc::clone(&self.events);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
            Ok(event) => events.record(&event),
            // Events were lost: look at everything.
            Err(_) => events.changed.notify_one(),
        });
        let attached = watcher.and_then(|mut watcher| {
            watcher.watch(&self.directory, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        match attached {
            Ok(watcher) => self.attached = Some((watcher, identity)),
            Err(error) => {
                tracing::warn!(directory = %self.directory.display(), %error, "cannot watch; reading it every second instead");
            }
        }
    }

    /// Whether there is no watch on the directory that is now at the path.
    fn is_lost(&self) -> bool {
        match &self.attached {
            Some((_, watched)) => identity(&self.directory) != Some(*watched),
            None => true,
        }
    }
}
