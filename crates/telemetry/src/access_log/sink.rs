//! Where entries go: files, standard output, standard error. A worker appends to a bounded queue; one thread writes.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::stats::{Block, Registry, Scope, Shard, filesystem};

/// What a sink holds at most before it drops entries: about ten thousand of them.
const QUEUE_LIMIT: usize = 4 * 1024 * 1024;
/// When queues are written out (Envoy: `--file-flush-interval-msec`, `--file-flush-min-size-kb`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushSettings {
    /// At least this often.
    pub interval: Duration,
    /// A sink that holds as many bytes is written at once; 0: every entry is. At most half of what a sink may hold.
    pub min_size: usize,
}

impl Default for FlushSettings {
    /// Envoy's: 10 s, 64 KiB.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            min_size: 64 * 1024,
        }
    }
}

/// A place for entries. Clones of the `Arc` share the queue; it lives in its [`Writer`].
#[derive(Debug)]
pub struct Sink {
    target: Target,
    queue: Mutex<Vec<u8>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
enum Target {
    File(PathBuf),
    Stdout,
    Stderr,
}

/// What sinks and the writing thread have in common.
#[derive(Debug)]
struct Shared {
    stats: Arc<Block>,
    reopen: AtomicBool,
    wake: Mutex<Wake>,
    condition: Condvar,
    /// See [`FlushSettings::min_size`], at least 1.
    write_at: usize,
}

#[derive(Debug, Default)]
struct Wake {
    /// A queue is full enough to be written now.
    due: bool,
    stop: bool,
    /// Rounds asked for and done, so that a caller can wait until its entries are out.
    flushes_asked: u64,
    flushes_done: u64,
}

/// Sinks by file; without one, standard output and standard error.
type Sinks = HashMap<Option<PathBuf>, [Option<Arc<Sink>>; 2]>;

/// All sinks of the process and the thread that writes them.
#[derive(Debug)]
pub struct Writer {
    sinks: Arc<Mutex<Sinks>>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Sink {
    /// Queues an entry, line feed included. Never waits for the file: when the queue is full the entry is dropped
    /// and counted (`filesystem.write_dropped`).
    pub fn write(&self, shard: Shard, entry: &[u8]) {
        let stats = self.shared.stats.local(shard);
        let due = {
            let mut queue = lock(&self.queue);
            if queue.len() + entry.len() > QUEUE_LIMIT {
                drop(queue);
                stats.add(filesystem::WRITE_DROPPED, 1);
                return;
            }
            let before = queue.len();
            queue.extend_from_slice(entry);
            before < self.shared.write_at && queue.len() >= self.shared.write_at
        };
        stats.add(filesystem::WRITE_BUFFERED, 1);
        stats.gauge_add(
            filesystem::WRITE_TOTAL_BUFFERED,
            i64::try_from(entry.len()).unwrap_or(i64::MAX),
        );
        if due {
            lock(&self.shared.wake).due = true;
            self.shared.condition.notify_all();
        }
    }

    fn open(&self) -> io::Result<Option<File>> {
        match &self.target {
            Target::File(path) => OpenOptions::new().create(true).append(true).open(path).map(Some),
            Target::Stdout | Target::Stderr => Ok(None),
        }
    }
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn new(registry: &Registry, flush: FlushSettings) -> io::Result<Arc<Writer>> {
        let shared = Arc::new(Shared {
            stats: registry.block(Scope::Process("filesystem."), &filesystem::TABLE),
            reopen: AtomicBool::new(false),
            wake: Mutex::default(),
            condition: Condvar::new(),
            write_at: flush.min_size.clamp(1, QUEUE_LIMIT / 2),
        });
        let sinks = Arc::new(Mutex::new(HashMap::new()));
        let worker = Worker {
            sinks: Arc::clone(&sinks),
            shared: Arc::clone(&shared),
            flush_interval: flush.interval,
            files: HashMap::new(),
        };
        let thread = std::thread::Builder::new()
            .name("access_log".into())
            .spawn(move || worker.run())?;
        Ok(Arc::new(Writer {
            sinks,
            shared,
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// The sink of a file, opened for appending; the same sink for the same path.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn file(&self, path: &Path) -> io::Result<Arc<Sink>> {
        let sink = self.sink(Some(path.to_owned()), 0, || Target::File(path.to_owned()));
        sink.open()?;
        Ok(sink)
    }

    /// The sink of standard output.
    pub fn stdout(&self) -> Arc<Sink> {
        self.sink(None, 0, || Target::Stdout)
    }

    /// The sink of standard error.
    pub fn stderr(&self) -> Arc<Sink> {
        self.sink(None, 1, || Target::Stderr)
    }

    fn sink(&self, path: Option<PathBuf>, slot: usize, target: impl FnOnce() -> Target) -> Arc<Sink> {
        let mut sinks = lock(&self.sinks);
        let slots: &mut [Option<Arc<Sink>>; 2] = sinks.entry(path).or_default();
        let sink = slots[slot].get_or_insert_with(|| {
            Arc::new(Sink {
                target: target(),
                queue: Mutex::default(),
                shared: Arc::clone(&self.shared),
            })
        });
        Arc::clone(sink)
    }

    /// Opens the files anew before the next write: for log rotation (`POST /reopen_logs`, SIGUSR1).
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Relaxed);
    }

    /// Writes out what is queued now and waits until that is done, at most this long. True when it was.
    pub fn flush(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut wake = lock(&self.shared.wake);
        wake.flushes_asked += 1;
        let mine = wake.flushes_asked;
        self.shared.condition.notify_all();
        while wake.flushes_done < mine && !wake.stop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            wake = self
                .shared
                .condition
                .wait_timeout(wake, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        wake.flushes_done >= mine
    }
}

impl Drop for Writer {
    /// Writes out what is queued, then ends the thread.
    fn drop(&mut self) {
        lock(&self.shared.wake).stop = true;
        self.shared.condition.notify_all();
        if let Some(thread) = lock(&self.thread).take() {
            // A panic of the thread has been reported where it happened.
            let _ = thread.join();
        }
    }
}

/// The thread's own state.
struct Worker {
    sinks: Arc<Mutex<Sinks>>,
    shared: Arc<Shared>,
    flush_interval: Duration,
    files: HashMap<PathBuf, File>,
}

impl Worker {
    fn run(mut self) {
        loop {
            let (asked, by_timer, stop) = self.wait();
            if self.shared.reopen.swap(false, Ordering::Relaxed) {
                self.files.clear();
            }
            let sinks: Vec<Arc<Sink>> = lock(&self.sinks).values().flatten().flatten().cloned().collect();
            for sink in &sinks {
                self.write(sink, by_timer);
            }
            drop(sinks);
            self.forget_unused();
            lock(&self.shared.wake).flushes_done = asked;
            self.shared.condition.notify_all();
            if stop {
                return;
            }
        }
    }

    /// Waits until something is to be written. Rounds asked for by then, whether the interval ran out, and whether
    /// this round is the last.
    fn wait(&self) -> (u64, bool, bool) {
        let deadline = Instant::now() + self.flush_interval;
        let mut wake = lock(&self.shared.wake);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let asked = wake.flushes_asked > wake.flushes_done;
            if std::mem::take(&mut wake.due) || asked || wake.stop || left.is_zero() {
                return (wake.flushes_asked, left.is_zero(), wake.stop);
            }
            wake = self
                .shared
                .condition
                .wait_timeout(wake, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn write(&mut self, sink: &Sink, by_timer: bool) {
        let entries = std::mem::take(&mut *lock(&sink.queue));
        if entries.is_empty() {
            return;
        }
        let stats = self.shared.stats.local(Shard::CONTROL);
        stats.gauge_add(
            filesystem::WRITE_TOTAL_BUFFERED,
            -i64::try_from(entries.len()).unwrap_or(i64::MAX),
        );
        if by_timer {
            stats.add(filesystem::FLUSHED_BY_TIMER, 1);
        }
        let written = match &sink.target {
            Target::Stdout => io::stdout().write_all(&entries).and_then(|()| io::stdout().flush()),
            Target::Stderr => io::stderr().write_all(&entries),
            Target::File(path) => match self.files.get_mut(path) {
                Some(file) => file.write_all(&entries),
                None => match sink.open() {
                    Ok(Some(mut file)) => {
                        let written = file.write_all(&entries);
                        self.files.insert(path.clone(), file);
                        written
                    }
                    Ok(None) => Ok(()),
                    Err(error) => {
                        stats.add(filesystem::REOPEN_FAILED, 1);
                        Err(error)
                    }
                },
            },
        };
        stats.add(
            if written.is_ok() {
                filesystem::WRITE_COMPLETED
            } else {
                filesystem::WRITE_FAILED
            },
            1,
        );
    }

    /// Closes files that nobody logs to any more, once their last entries are out.
    fn forget_unused(&mut self) {
        let mut sinks = lock(&self.sinks);
        sinks.retain(|path, slots| {
            let unused = |sink: &Option<Arc<Sink>>| {
                sink.as_ref()
                    .is_none_or(|sink| Arc::strong_count(sink) == 1 && lock(&sink.queue).is_empty())
            };
            let keep = !slots.iter().all(unused);
            if let (false, Some(path)) = (keep, path) {
                self.files.remove(path);
            }
            keep
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
