//! Compiles the messages of the gRPC health checking protocol without a `protoc` binary.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let (root, file) = ("../../proto", "grpc/health/v1/health.proto");
    println!("cargo:rerun-if-changed={root}/{file}");
    let descriptors = protox::compile([file], [root])?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(false)
        .compile_fds(descriptors)?;
    Ok(())
}
