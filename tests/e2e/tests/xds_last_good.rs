//! A proxy that is started again while its control plane is away serves what it last accepted, and says so.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use e2e::dynamic::set_mesh;
use testkit::backend::Backend;
use testkit::http1::Client;
use testkit::{Directory, ManagementServer, Process, peers, ports, wait_until};

const SAID: &str = "from the last-good cache, not confirmed by a control plane";

/// Starts a proxy with a cache in the test's directory.
fn start(directory: &Directory, name: &str, control_plane: u16, admin: u16) -> Process {
    let bootstrap = include_str!("../src/dynamic.yaml")
        .replace("{api_type}", "DELTA_GRPC")
        .replace("{control_plane}", &control_plane.to_string())
        .replace("{admin}", &admin.to_string());
    let path = directory.write(&format!("{name}.yaml"), &bootstrap);
    let mut command = Command::new(peers::binary("remora"));
    command.arg("-c").arg(path).args(["--concurrency", "1"]);
    command.arg("--xds-cache").arg(directory.path().join("cache"));
    Process::start(name, directory, &mut command)
}

fn body(admin: u16, path: &str) -> String {
    let answer = Client::get(admin, path).filter(|answer| answer.status() == 200);
    answer.map_or_else(String::new, |answer| String::from_utf8_lossy(&answer.body).into_owned())
}

fn serves(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        && Client::get(port, "/").is_some_and(|answer| answer.status() == 200)
}

#[test]
fn a_proxy_started_again_without_its_control_plane_serves_the_last_good_and_says_so() {
    let directory = Directory::new("last-good");
    let backend = Backend::start("one");
    let (port, admin) = (ports::free_port(), ports::free_port());
    let server = ManagementServer::start();
    let control_plane = server.port();
    set_mesh(&server, "1", port, backend.port());
    let mut first = start(&directory, "first", control_plane, admin);
    wait_until(10, "traffic flows", || serves(port));
    assert_eq!(body(admin, "/ready"), "LIVE\n");
    // It is written every few seconds, and at the end.
    drop(server);
    first.signal("TERM");
    first.wait(20);
    let kept = directory.path().join("cache/last-good");
    let mode = std::fs::metadata(&kept).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds keys");

    let _second = start(&directory, "second", control_plane, admin);
    wait_until(20, "traffic flows again", || serves(port));
    assert_eq!(body(admin, "/ready"), format!("LIVE\nconfiguration: {SAID}\n"));
    let info = body(admin, "/server_info");
    assert!(
        info.contains(&format!("\"remora.configuration\": \"{SAID}\"")),
        "{info}"
    );

    // The first contact replaces it.
    let other = Backend::start("two");
    let server = ManagementServer::at(control_plane);
    set_mesh(&server, "2", port, other.port());
    wait_until(40, "the control plane is found again", || {
        serves(port) && other.seen_count() > 0
    });
    assert_eq!(body(admin, "/ready"), "LIVE\n");
    assert!(!body(admin, "/server_info").contains("remora.configuration"));
}

#[test]
fn a_cache_that_cannot_be_used_is_named_and_ignored() {
    let directory = Directory::new("no-last-good");
    let backend = Backend::start("one");
    let (port, admin) = (ports::free_port(), ports::free_port());
    let server = ManagementServer::start();
    set_mesh(&server, "1", port, backend.port());
    let cache = directory.path().join("cache");
    std::fs::create_dir(&cache).expect("a folder");
    let kept = cache.join("last-good");
    // Of another format, of this one but damaged; what a newer version wrote is as foreign as the first.
    let damaged = b"remora last-good cache 1\n\0\0\0\0none";
    for (name, bytes, why) in [
        (
            "foreign",
            &b"remora last-good cache 2\n\0\0\0\0"[..],
            "is no last-good cache, or one of another version",
        ),
        ("damaged", damaged, "is damaged: its checksum is wrong"),
    ] {
        std::fs::write(&kept, bytes).expect("a file");
        let mut proxy = start(&directory, name, server.port(), admin);
        wait_until(20, "traffic flows", || serves(port));
        let log = proxy.errors();
        let warning = format!("last-good cache in {} {why}; it is ignored", cache.display());
        assert!(log.contains(&warning), "{log}");
        assert_eq!(body(admin, "/ready"), "LIVE\n");
        // The next one replaces it.
        proxy.signal("TERM");
        proxy.wait(20);
        let now = std::fs::read(&kept).expect("it is there");
        assert!(now.starts_with(b"remora last-good cache 1\n") && now != damaged);
    }
}
