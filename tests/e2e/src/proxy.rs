//! A proxy as a process: remora, or Envoy from the same bootstrap.

use std::path::PathBuf;
use std::process::Command;

use testkit::http1::Client;
use testkit::{Directory, Process, peers, ports, wait_until};

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The proxy under test.
    Remora,
    /// The one it is compared with.
    Envoy,
}

impl Kind {
    /// Its name in reports and file names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Remora => "remora",
            Self::Envoy => "envoy",
        }
    }

    /// The program.
    #[must_use]
    pub fn binary(self) -> PathBuf {
        match self {
            Self::Remora => peers::binary("remora"),
            Self::Envoy => peers::envoy(),
        }
    }
}

/// A running proxy whose bootstrap has its admin endpoint on `admin`.
#[derive(Debug)]
pub struct Proxy {
    /// Which program it is.
    pub kind: Kind,
    /// The port of its admin endpoint.
    pub admin: u16,
    /// The process.
    pub process: Process,
}

impl Proxy {
    /// Starts one from a bootstrap in which `{admin}` stands for the admin port, and waits until it is ready.
    ///
    /// # Panics
    /// It ends, or is not ready within 30 seconds.
    #[must_use]
    pub fn start(kind: Kind, directory: &Directory, name: &str, bootstrap: &str) -> Self {
        let admin = ports::free_port();
        let path = directory.write(
            &format!("{name}.yaml"),
            &bootstrap.replace("{admin}", &admin.to_string()),
        );
        let mut command = Command::new(kind.binary());
        command.arg("-c").arg(path);
        command.args([
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--file-flush-interval-msec",
            "50",
        ]);
        command.args(["--drain-time-s", "5", "-l", "info"]);
        let process = Process::start(name, directory, &mut command);
        let mut proxy = Self { kind, admin, process };
        wait_until(30, &format!("{name} is ready"), || {
            proxy.process.expect_running();
            std::net::TcpStream::connect(("127.0.0.1", admin)).is_ok()
                && Client::get(admin, "/ready").is_some_and(|answer| answer.status() == 200)
        });
        proxy
    }

    /// The value of a counter or gauge; 0 if there is none of that name.
    #[must_use]
    pub fn stat(&self, name: &str) -> u64 {
        let Some(answer) = Client::get(self.admin, "/stats") else {
            return 0;
        };
        String::from_utf8_lossy(&answer.body)
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok())
            .unwrap_or(0)
    }

    /// Ends it as an orchestrator does, and returns its access log, which goes to standard output.
    pub fn end(mut self) -> String {
        self.process.signal("TERM");
        self.process.wait(15);
        self.process.output()
    }
}
