//! Processes that end with the test.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::Directory;

/// A running process. It is killed when dropped; its output goes to files.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
    errors: PathBuf,
}

impl Process {
    /// Starts a process under a name; its output goes to `NAME.out` and `NAME.err` in `directory`.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(name: &str, directory: &Directory, command: &mut Command) -> Self {
        let output = directory.path().join(format!("{name}.out"));
        let errors = directory.path().join(format!("{name}.err"));
        let file = |path| File::create(path).expect("a file of the test can be written");
        let child = command
            .stdin(Stdio::null())
            .stdout(file(&output))
            .stderr(file(&errors))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        Self {
            name: name.to_owned(),
            child,
            output,
            errors,
        }
    }

    /// What it has written to standard output so far.
    #[must_use]
    pub fn output(&self) -> String {
        read(&self.output)
    }

    /// What it has written to standard error so far.
    #[must_use]
    pub fn errors(&self) -> String {
        read(&self.errors)
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal such as `TERM`.
    ///
    /// # Panics
    /// It has ended already.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.id().to_string()])
            .stderr(Stdio::null())
            .status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "{} has ended already",
            self.name
        );
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Panics, with the end of its log, if it has ended.
    ///
    /// # Panics
    /// It has ended.
    pub fn expect_running(&mut self) {
        if !self.is_running() {
            panic!("{} has ended: {}", self.name, tail(&self.errors()));
        }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It has not ended within `seconds`.
    pub fn wait(&mut self, seconds: u64) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{} has not ended after {seconds} s: {}",
                self.name,
                tail(&self.errors())
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    #[allow(clippy::print_stderr)] // part of a failed test's report
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- {} said:\n{}", self.name, tail(&self.errors()));
        }
    }
}

fn read(path: &PathBuf) -> String {
    std::fs::read(path).map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
