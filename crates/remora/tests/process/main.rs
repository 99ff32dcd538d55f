//! The process as its user sees it: status codes, what is printed, ports, signals.

mod ending;
mod settings;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a step may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("process-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn remora(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_remora"))
        .args(arguments)
        .output()
        .expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A running proxy; killed when the test ends early.
struct Proxy {
    child: Child,
    admin: String,
    folder: Folder,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ADMIN: &str = "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n";

impl Proxy {
    /// Starts with a bootstrap and further arguments, and waits until it is live.
    fn start(bootstrap: &str, arguments: &[&str]) -> Self {
        let folder = Folder::new();
        let config = folder.file("bootstrap.yaml", &format!("{ADMIN}{bootstrap}"));
        Self::start_file(folder, &config, arguments)
    }

    /// The same with a bootstrap that has its own admin section.
    fn start_file(folder: Folder, config: &str, arguments: &[&str]) -> Self {
        let address_path = folder.path("admin.txt");
        let child = Command::new(env!("CARGO_BIN_EXE_remora"))
            .args([
                "-c",
                config,
                "--admin-address-path",
                &address_path,
                "--concurrency",
                "1",
                "--log-path",
            ])
            .arg(folder.path("log.txt"))
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut proxy = Self {
            child,
            admin: String::new(),
            folder,
        };
        proxy.admin = proxy.wait_for("its admin address", || {
            std::fs::read_to_string(&address_path)
                .ok()
                .filter(|address| !address.is_empty())
        });
        proxy.wait_for("being live", || (proxy.get("/ready").1 == "LIVE\n").then_some(()));
        proxy
    }

    fn wait_for<T>(&self, what: &str, mut done: impl FnMut() -> Option<T>) -> T {
        let begin = Instant::now();
        loop {
            if let Some(value) = done() {
                return value;
            }
            assert!(begin.elapsed() < PATIENCE, "waiting for {what}; log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path("log.txt")).unwrap_or_default()
    }

    fn get(&self, target: &str) -> (u16, String) {
        request(&self.admin, "GET", target)
    }

    fn post(&self, target: &str) -> (u16, String) {
        request(&self.admin, "POST", target)
    }

    fn listener(&self) -> String {
        let (_, listeners) = self.get("/listeners");
        listeners.trim().rsplit_once("::").expect("a listener").1.to_owned()
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success());
    }

    fn exit_status(&mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "it does not end; log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// One HTTP/1.1 request on a connection of its own; status 0 when there is no answer.
fn request(address: &str, method: &str, target: &str) -> (u16, String) {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let Ok(answer) = ask() else { return (0, String::new()) };
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        return (0, answer);
    };
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    (status, body.to_owned())
}

/// A listener whose one route goes to `upstream`.
fn listener(upstream: u16) -> String {
    format!(
        r#"
static_resources:
  listeners:
  - name: ingress
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress
          route_config:
            name: local
            virtual_hosts:
            - {{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: backend}}}}]}}
          http_filters:
          - name: router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: backend
    type: STATIC
    connect_timeout: 1s
    load_assignment:
      cluster_name: backend
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {upstream}}}}}}}
"#
    )
}

#[test]
fn the_version_is_in_envoys_form() {
    let output = remora(&["--version"]);
    assert!(output.status.success());
    let printed = text(&output.stdout);
    assert!(printed.starts_with('\n') && printed.ends_with("\n\n"), "{printed:?}");
    let version = printed.trim().split_once("  version: ").expect("Envoy's words").1;
    assert_eq!(version.split('/').count(), 5, "{version}");
    assert!(
        version.contains(concat!("/", env!("CARGO_PKG_VERSION"), "/")),
        "{version}"
    );
}

#[test]
fn a_configuration_is_validated_without_serving() {
    let folder = Folder::new();
    let good = folder.file("good.yaml", &listener(1));
    let output = remora(&["-c", &good, "--mode", "validate"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), format!("configuration '{good}' OK\n"));

    let bad = folder.file("bad.yaml", "static_resources: {clusters: [{name: on}]}\n");
    let output = remora(&["-c", &bad, "--mode", "validate"]);
    assert_eq!(output.status.code(), Some(1));
    let log = text(&output.stderr);
    assert!(log.contains("[critical][main]"), "{log}");
    let fault = "line 1: static_resources.clusters[0].name: is boolean true (written `on`), expected a string";
    assert!(
        log.contains(&format!("error initializing configuration '{bad}'")) && log.contains(fault),
        "{log}"
    );

    let output = remora(&["--mode", "validate"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("at least one of --config-path or --config-yaml"));
}

#[test]
fn options_go_before_the_bootstrap() {
    let proxy = Proxy::start(
        "node: {id: file, cluster: file, locality: {zone: file}}\n",
        &[
            "--service-node",
            "flag",
            "--service-zone",
            "z",
            "--config-yaml",
            "{node: {cluster: inline}}",
        ],
    );
    let (_, info) = proxy.get("/server_info");
    for part in [
        "\"id\": \"flag\"",
        "\"cluster\": \"inline\"",
        "\"zone\": \"z\"",
        "\"service_node\": \"flag\"",
    ] {
        assert!(info.contains(part), "{part} is missing in {info}");
    }
}

#[test]
fn without_an_admin_address_nothing_is_listened_on() {
    let folder = Folder::new();
    let config = folder.file("bootstrap.yaml", "admin: {profile_path: /tmp/x}\n");
    let mut child = Command::new(env!("CARGO_BIN_EXE_remora"))
        .args(["-c", &config, "--concurrency", "1"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut log = String::new();
    let mut stderr = child.stderr.take().expect("piped");
    let mut buffer = [0; 4096];
    while !log.contains("all dependencies initialized") {
        let n = stderr.read(&mut buffer).expect("readable");
        assert!(n > 0, "it ended: {log}");
        log.push_str(&text(&buffer[..n]));
    }
    let sockets = std::fs::read_dir(format!("/proc/{}/fd", child.id())).expect("our child");
    let listening: Vec<String> = ["tcp", "tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(format!("/proc/{}/net/{table}", child.id())).ok())
        .flat_map(|table| table.lines().skip(1).map(str::to_owned).collect::<Vec<_>>())
        // State 0A is LISTEN; the tenth column is the inode.
        .filter(|line| line.split_whitespace().nth(3) == Some("0A"))
        .filter_map(|line| line.split_whitespace().nth(9).map(|inode| format!("socket:[{inode}]")))
        .collect();
    for socket in sockets {
        let target = std::fs::read_link(socket.expect("an entry").path()).map(|link| link.display().to_string());
        assert!(!listening.contains(&target.unwrap_or_default()), "{log}");
    }
    child.kill().expect("our child");
    child.wait().expect("our child");
}

#[test]
fn a_certificate_that_cannot_be_read_is_found_before_anything_starts() {
    let folder = Folder::new();
    let authority = folder.path("nobody.pem");
    let config = folder.file(
        "bootstrap.yaml",
        &format!(
            "static_resources:\n  clusters:\n  - name: a\n    transport_socket:\n      name: tls\n      typed_config: \
             {{'@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, \
             common_tls_context: {{validation_context: {{trusted_ca: {{filename: {authority}}}}}}}}}\n"
        ),
    );
    let fault = format!(
        "line 6: static_resources.clusters[0].transport_socket.typed_config: cannot read {authority}: No such file"
    );
    for arguments in [&["-c", &config, "--mode", "validate"][..], &["-c", &config]] {
        let output = remora(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains(&fault), "{}", text(&output.stderr));
    }
    let output = remora(&["check", &config]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains(&fault), "{}", text(&output.stdout));
}

#[test]
fn a_static_listener_whose_port_is_taken_ends_the_process() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let folder = Folder::new();
    let config = folder.file(
        "bootstrap.yaml",
        &listener(1).replacen("port_value: 0", &format!("port_value: {port}"), 1),
    );
    let output = remora(&["-c", &config]);
    assert_eq!(output.status.code(), Some(1));
    let log = text(&output.stderr);
    assert!(
        log.contains(&format!("listener ingress: cannot listen on 127.0.0.1:{port}")),
        "{log}"
    );
}

#[test]
fn initialisation_alone_can_be_asked_for() {
    let folder = Folder::new();
    let config = folder.file("bootstrap.yaml", &listener(1));
    let output = remora(&["-c", &config, "--mode", "init_only"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn check_reports_and_ends_with_its_status() {
    let folder = Folder::new();
    let good = folder.file("good.yaml", &listener(1));
    let output = remora(&["check", &good]);
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), format!("{good}: accepted\n"))
    );
    let bad = folder.file(
        "bad.yaml",
        "static_resources:\n  clusters:\n  - name: a\n    lb_policy: NONE\n",
    );
    let output = remora(&["check", &bad, "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("\"path\": \"static_resources.clusters[0].lb_policy\""));
    assert_eq!(remora(&["check", "/nonexistent"]).status.code(), Some(2));
}

#[test]
fn log_levels_and_formats_are_those_of_the_command_line() {
    let output = remora(&[
        "--config-yaml",
        "{}",
        "--mode",
        "init_only",
        "--log-format",
        "%L|%n|%v",
        "-l",
        "warning",
    ]);
    assert_eq!(text(&output.stderr), "");
    let arguments = [
        "--config-yaml",
        "{}",
        "--mode",
        "init_only",
        "--log-format",
        "%L|%n|%v",
        "-l",
        "off",
        "--component-log-level",
        "main:info",
    ];
    let output = remora(&arguments);
    let log = text(&output.stderr);
    assert!(
        log.lines().all(|line| line.starts_with("I|main|")) && log.contains("I|main|exiting\n"),
        "{log}"
    );
}

#[test]
fn the_log_file_is_opened_anew_on_sigusr1() {
    let proxy = Proxy::start("", &[]);
    let moved = proxy.folder.path("moved.txt");
    std::fs::rename(proxy.folder.path("log.txt"), &moved).expect("it is there");
    proxy.signal("-USR1");
    proxy.wait_for("a new log", || std::fs::metadata(proxy.folder.path("log.txt")).ok());
    proxy.post("/logging?level=debug");
    proxy.wait_for("a line in it", || (!proxy.log().is_empty()).then_some(()));
    assert!(
        std::fs::read_to_string(&moved)
            .expect("it is there")
            .contains("opening log files anew")
    );
}

#[test]
fn clusters_of_the_bootstrap_that_are_resolved_or_checked_first_hold_the_start_up_no_longer_than_that_takes() {
    let endpoints = "load_assignment: {cluster_name: x, endpoints: [{lb_endpoints: [{endpoint: {address: \
                     {socket_address: {address: localhost, port_value: 1}}}}]}]}";
    let check = "health_checks: [{timeout: 1s, interval: 60s, unhealthy_threshold: 1, healthy_threshold: 1, \
                 tcp_health_check: {}}]";
    let bootstrap = format!(
        "static_resources:\n  clusters:\n  \
         - {{name: named, type: STRICT_DNS, {endpoints}}}\n  \
         - {{name: checked, type: STRICT_DNS, {endpoints}, {check}}}\n"
    );
    let begin = Instant::now();
    let proxy = Proxy::start(&bootstrap, &[]);
    // What cannot be found out holds it up for 15 s.
    assert!(begin.elapsed() < Duration::from_secs(10), "{}", proxy.log());
    let (_, clusters) = proxy.get("/clusters");
    assert!(
        clusters.contains("checked::127.0.0.1:1::health_flags::/failed_active_hc"),
        "{clusters}"
    );
}
