//! The walk of `make demo`, with little traffic: a mesh of processes in which every step has to hold.

use std::process::Command;

#[test]
fn every_step_of_the_demo_holds() {
    let output = Command::new("python3")
        .arg(testkit::peers::root().join("examples/demo.py"))
        .arg("--binaries")
        .arg(testkit::peers::binaries())
        .args(["--rate", "150", "--requests", "150"])
        .env("NO_COLOR", "1")
        .output()
        .expect("python3 is installed");
    assert!(
        output.status.success(),
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
