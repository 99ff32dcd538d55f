//! A directory that goes away with the test, unless the test failed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A new directory of a test. It is removed when dropped; kept, and named on standard error, when the test panics.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Makes one; `name` says what for.
    ///
    /// # Panics
    /// The system's temporary directory cannot be written to.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("remora-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary directory can be written to");
        Self { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file into it and returns its path.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path.join(name);
        std::fs::write(&path, text).expect("a file of the test can be written");
        path
    }
}

impl Drop for Directory {
    #[allow(clippy::print_stderr)] // the one who reads a failed test's report looks there next
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("files of this test: {}", self.path.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
