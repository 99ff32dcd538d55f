//! The binary, as its users meet it.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_remora-control-plane"))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/mesh")
}

#[test]
fn check_tells_what_is_wrong_by_file_and_line_and_by_its_exit_code() {
    let good = run(&["check", demo().to_str().unwrap()]);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    assert_eq!(text(&good.stdout), "13 objects, 0 faults, 0 notes\n");

    let directory = std::env::temp_dir().join(format!("remora-check-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(
        directory.join("a.yaml"),
        "apiVersion: v1\nkind: Service\nmetadata:\n  nam: a\n",
    )
    .unwrap();
    let bad = run(&["check", directory.to_str().unwrap()]);
    assert_eq!(bad.status.code(), Some(1));
    assert_eq!(
        text(&bad.stdout),
        "fault a.yaml:4: Service: metadata.nam: unknown field\n0 objects, 1 fault, 0 notes\n"
    );
    let json = run(&["check", directory.to_str().unwrap(), "--format", "json"]);
    let findings: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (findings["faults"][0]["line"].as_u64(), json.status.code()),
        (Some(4), Some(1))
    );
    std::fs::remove_dir_all(&directory).unwrap();

    let missing = run(&["check", directory.to_str().unwrap()]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(
        text(&missing.stderr).contains(directory.to_str().unwrap()),
        "{missing:?}"
    );
}

#[test]
fn status_of_nobody_is_exit_code_2_with_the_address() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let output = run(&["status", "--address", &address]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains(&address));
}

#[test]
fn serve_refuses_what_it_cannot_serve_safely() {
    let state = std::env::temp_dir().join(format!("remora-refused-{}", std::process::id()));
    let (mesh, state) = (demo(), state.to_str().unwrap().to_owned());
    let base = ["serve", "--config", mesh.to_str().unwrap(), "--state", &state];
    for (more, expected) in [
        (["--listen", "0.0.0.0:0"], "not a loopback address"),
        (["--certificate-lifetime", "1s"], "shorter than 10s"),
        (["--trust-domain", "Not/One"], "lower-case letters"),
    ] {
        let output = run(&[&base[..], &more[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains(expected), "{output:?}");
    }
}

#[test]
fn the_help_names_the_ports_and_the_node_id() {
    let help = text(&run(&["--help"]).stdout);
    for expected in ["15006", "15001", "sidecar~IP~POD.NAMESPACE", "serve", "status", "check"] {
        assert!(help.contains(expected), "{expected} in {help}");
    }
    let serve = text(&run(&["serve", "--help"]).stdout);
    assert!(
        serve.contains("--certificate-lifetime") && serve.contains("200 ms"),
        "{serve}"
    );
}
