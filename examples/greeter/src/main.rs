//! `greeter`: the demo's gRPC backend.

use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use greeter::api::greeter_server::GreeterServer;
use greeter::greeting::Backend;
use greeter::health::HealthService;
use greeter::health_api::health_server::HealthServer;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tonic::transport::Server;

/// A gRPC backend for demos: greets, and says which version of which pod greeted.
///
/// Serves greeter.v1.Greeter and grpc.health.v1.Health over cleartext HTTP/2.
/// SIGUSR1 turns its health to NOT_SERVING, SIGUSR2 back to SERVING; it answers
/// calls in either state. SIGTERM finishes the calls in flight and exits 0.
#[derive(Parser, Debug)]
#[command(name = "greeter", disable_version_flag = true)]
struct Arguments {
    /// Address to serve on; behind a sidecar, the pod's own address.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:50051")]
    listen: SocketAddr,

    /// The version every answer carries.
    #[arg(long, value_name = "VERSION", default_value = "v1")]
    version: String,

    /// The backend's own name in every answer [default: $HOSTNAME, else "greeter"].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Start as NOT_SERVING.
    #[arg(long)]
    not_serving: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match serve(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("greeter: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let name = arguments
        .name
        .or_else(|| std::env::var("HOSTNAME").ok())
        .unwrap_or_else(|| "greeter".to_owned());
    let (switch, serving) = watch::channel(!arguments.not_serving);
    let mut turn_off = signal(SignalKind::user_defined1())?;
    let mut turn_on = signal(SignalKind::user_defined2())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        loop {
            let serving = tokio::select! {
                _ = turn_off.recv() => false,
                _ = turn_on.recv() => true,
            };
            // Health streams that ended are no reason to stop following the signals.
            switch.send_replace(serving);
            say(if serving {
                "health: SERVING"
            } else {
                "health: NOT_SERVING"
            });
        }
    });
    say(&format!(
        "greeter {name} {} serves gRPC on {}",
        arguments.version, arguments.listen
    ));
    Server::builder()
        .add_service(GreeterServer::new(Backend::new(&arguments.version, &name)))
        .add_service(HealthServer::new(HealthService::new(serving)))
        .serve_with_shutdown(arguments.listen, async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        })
        .await?;
    Ok(())
}

/// One line for the operator; a closed stderr is no reason to stop serving.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
