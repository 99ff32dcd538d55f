//! The demo application, shared by its two binaries: `greeter`, a gRPC backend,
//! and `frontend`, a client that drives traffic at it and counts what comes back.

/// The messages, client and server of `proto/greeter/v1/greeter.proto`.
#[allow(missing_docs, clippy::all)]
pub mod api {
    tonic::include_proto!("greeter.v1");
}

/// The standard gRPC health checking service.
#[allow(missing_docs, clippy::all)]
pub mod health_api {
    tonic::include_proto!("grpc.health.v1");
}

pub mod greeting;
pub mod health;
pub mod tally;
