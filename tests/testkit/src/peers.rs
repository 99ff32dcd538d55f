//! Where the programs under test and their real peers are.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's root.
#[must_use]
pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .canonicalize()
        .expect("the repository is where it was built")
}

fn existing(path: PathBuf, install: &str) -> PathBuf {
    assert!(path.exists(), "{} is missing: {install}", path.display());
    path
}

/// The directory of this workspace's programs, built for tests.
#[must_use]
pub fn binaries() -> PathBuf {
    existing(root().join("target/debug"), "run `cargo build --workspace --bins`")
}

/// One of this workspace's programs.
///
/// # Panics
/// It has not been built.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    existing(binaries().join(name), "run `cargo build --workspace --bins`")
}

/// The Python of the test peers, with grpcio and hyper-h2.
///
/// # Panics
/// It has not been installed.
#[must_use]
pub fn python() -> PathBuf {
    existing(root().join("target/peers/bin/python"), "run `tests/peers.sh`")
}

/// A command that runs a script of tests/peers.
#[must_use]
pub fn script(name: &str) -> Command {
    let mut command = Command::new(python());
    command.arg("-u").arg(existing(
        root().join("tests/peers").join(name),
        "it belongs to this repository",
    ));
    command
}

/// The Envoy to compare with.
///
/// # Panics
/// It has not been installed.
#[must_use]
pub fn envoy() -> PathBuf {
    let library = root().join("target/peers/lib");
    let versions = std::fs::read_dir(&library).map(|entries| {
        entries
            .flatten()
            .map(|entry| entry.path().join("site-packages/envoy/_bin/envoy"))
            .find(|path| path.exists())
    });
    versions
        .ok()
        .flatten()
        .unwrap_or_else(|| panic!("there is no Envoy under {}: run `tests/peers.sh`", library.display()))
}

/// A program of the system.
///
/// # Panics
/// It is not installed.
#[must_use]
pub fn system(name: &str) -> PathBuf {
    std::env::var_os("PATH")
        .iter()
        .flat_map(|path| std::env::split_paths(path).collect::<Vec<_>>())
        .map(|folder: PathBuf| Path::new(&folder).join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is not installed: install the package of that name"))
}
