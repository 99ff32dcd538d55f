//! Processes of other projects: found, started on free ports, waited for, killed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testkit::peers::root;
use testkit::ports::free_port;
use testkit::wait::{wait_for, wait_until};
use testkit::{Directory, Process};

/// Longest wait for a process to be ready, in seconds.
const READY: u64 = 20;
/// Longest run of a client, in seconds.
const RUN: u64 = 55;

/// A program of another project, or `None` where its absence is allowed.
///
/// Panics with what to install otherwise.
pub(crate) fn program(name: &str, install: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Daemons are not on everybody's path.
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    present(found, name, install)
}

/// The Python with the peers' packages.
pub(crate) fn python() -> Option<PathBuf> {
    let python = root().join("target/peers/bin/python");
    present(
        Some(python).filter(|file| file.exists()),
        "Python with h2 and grpcio",
        "tests/peers.sh",
    )
}

/// Envoy, out of its Python package.
pub(crate) fn envoy() -> Option<PathBuf> {
    let found = std::fs::read_dir(root().join("target/peers/lib"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("site-packages/envoy/_bin/envoy"))
        .find(|file| file.is_file());
    present(found, "Envoy", "tests/peers.sh")
}

#[allow(clippy::print_stderr, reason = "a test that was skipped says so")]
fn present(found: Option<PathBuf>, name: &str, install: &str) -> Option<PathBuf> {
    if found.is_none() {
        assert!(
            std::env::var("REMORA_SKIP_MISSING_PEERS").is_ok_and(|skip| skip == "1"),
            "{name} is missing: run `{install}`, or set REMORA_SKIP_MISSING_PEERS=1 to do without"
        );
        eprintln!("skipped: {name} is missing");
    }
    found
}

/// The example `forward` of the codec, from the profile these tests were built in.
fn forward_binary() -> PathBuf {
    let own = std::env::current_exe().expect("the test has a path");
    let profile = own.parent().and_then(Path::parent).expect("target/PROFILE/deps/TEST");
    let binary = profile.join("examples/forward");
    if !binary.exists() {
        let release: &[&str] = if profile.ends_with("release") {
            &["--release"]
        } else {
            &[]
        };
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "-p", "codec", "--example", "forward"])
            .args(release)
            .current_dir(root())
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the example `forward` builds");
    }
    binary
}

/// A running server. Killed when dropped.
pub(crate) struct Peer {
    process: Process,
    pub(crate) port: u16,
    /// Further ports it listens on.
    pub(crate) more_ports: Vec<u16>,
}

impl Peer {
    /// A server of `tests/peers`: it binds port 0 and prints which it got.
    pub(crate) fn script(directory: &Directory, python: &Path, script: &str) -> Self {
        let mut command = Command::new(python);
        command.arg(root().join("tests/peers").join(script));
        // Several may run the same script.
        let name = format!("{script}-{}", free_port());
        let mut process = Process::start(&name, directory, &mut command);
        let port = wait_for(READY, &format!("{script} tells its port"), || {
            process.expect_running();
            process.output().strip_suffix('\n')?.parse().ok()
        });
        Self {
            process,
            port,
            more_ports: Vec::new(),
        }
    }

    /// A server that is told its ports; returns once each accepts connections.
    pub(crate) fn server(
        directory: &Directory,
        name: &str,
        count: usize,
        command: impl FnOnce(&[u16]) -> Command,
    ) -> Self {
        let ports: Vec<u16> = (0..count).map(|_| free_port()).collect();
        let name = format!("{name}-{}", ports[0]);
        let mut process = Process::start(&name, directory, &mut command(&ports));
        for &port in &ports {
            wait_until(READY, &format!("{name} listens"), || {
                process.expect_running();
                TcpStream::connect(("127.0.0.1", port)).is_ok()
            });
        }
        Self {
            process,
            port: ports[0],
            more_ports: ports[1..].to_vec(),
        }
    }

    /// `forward` with one worker, once it forwards.
    pub(crate) fn forward(directory: &Directory, backends: &[u16]) -> Self {
        let backends: Vec<String> = backends.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let mut peer = Self::server(directory, "forward", 1, |ports| {
            let mut command = Command::new(forward_binary());
            command.args(["--listen", &format!("127.0.0.1:{}", ports[0])]);
            command.args(["--backends", &backends.join(","), "--workers", "1"]);
            command
        });
        wait_until(READY, "forward has a backend", || {
            peer.assert_alive();
            answers(peer.port)
        });
        peer
    }

    /// Fails if it has ended.
    pub(crate) fn assert_alive(&mut self) {
        self.process.expect_running();
    }
}

/// What a client left.
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    stderr: String,
}

impl Output {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Fails unless the client is content.
    pub(crate) fn assert_success(&self, what: &str) {
        assert_eq!(self.code, Some(0), "{what}:\n{}\n{}", self.text(), self.stderr);
    }
}

/// Runs a client to its end, which must come in time.
pub(crate) fn run(directory: &Directory, command: &mut Command) -> Output {
    let mut client = Process::start("client", directory, command);
    let code = client.wait(RUN).code();
    Output {
        code,
        stdout: std::fs::read(directory.path().join("client.out")).expect("a client's output can be read"),
        stderr: client.errors(),
    }
}

/// Starts a client that would read for ever, and kills it once it has read something.
pub(crate) fn run_until_killed(directory: &Directory, command: &mut Command) {
    let mut client = Process::start("client", directory, command);
    wait_until(READY, "the client reads", || {
        client.expect_running();
        !client.output().is_empty()
    });
}

/// Whether a GET / over HTTP/2 is answered by anything but REFUSED_STREAM.
fn answers(port: u16) -> bool {
    const REQUEST: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
        \0\0\0\x04\0\0\0\0\0\
        \0\0\x0c\x01\x05\0\0\0\x01\x82\x86\x84\x41\x07interop";
    let read = || -> std::io::Result<bool> {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.write_all(REQUEST)?;
        loop {
            let mut header = [0; 9];
            socket.read_exact(&mut header)?;
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
            let mut payload = vec![0; length];
            socket.read_exact(&mut payload)?;
            match header[3] {
                1 => return Ok(true),
                3 => return Ok(payload != [0, 0, 0, 7]),
                _ => {}
            }
        }
    };
    read().unwrap_or(false)
}
