//! Compiles the `.proto` files that the `envoy-types` crate carries into static tables of messages, fields and enums.
//!
//! `src/schema.rs` documents the tables. They are constants in the binary's read-only data: nothing is loaded, decoded or
//! kept on the heap to read or print a message (a `prost_reflect` pool of the same files costs 50 MiB and 90 ms).

#[path = "build/proto_files.rs"]
mod proto_files;
#[path = "build/tables.rs"]
mod tables;

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=proto");
    let package = proto_files::locate_envoy_types();
    println!("cargo::rerun-if-changed={}", package.root.join("Cargo.toml").display());
    println!("cargo::rustc-env=ENVOY_TYPES_VERSION={}", package.version);
    let pool = proto_files::compile(&package, Path::new("proto"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("tables.rs");
    fs::write(out, tables::render(&pool)).expect("OUT_DIR is writable");
}
