//! `remora-control-plane`: the command line.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use control_plane::check::check;
use control_plane::model::MeshSettings;
use control_plane::objects::service_policy::parse_duration;
use control_plane::serve::{Options, start};
use control_plane::status::client::fetch;
use control_plane::status::report::ProxyReport;
use control_plane::status::table::{Colour, render, write_faults};
use control_plane::validate::{ProxyValidator, Validator};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// A control plane for local meshes: Kubernetes-shaped YAML in, xDS for sidecars out.
///
/// It reads Services, EndpointSlices, Pods, HTTPRoutes and GRPCRoutes attached to
/// Services, ReferenceGrants and ServicePolicies from a directory, watches it, and sends
/// each connected sidecar what changed. It issues every workload a short-lived
/// certificate, so that sidecars speak mutual TLS.
///
/// Sidecars connect as `sidecar~IP~POD.NAMESPACE~NAMESPACE.svc.cluster.local`. Each takes
/// connections for its workload at the Pod's address, port 15006, and from it at port
/// 15001 of the same address if that is a loopback address (Pods of one machine have
/// 127.0.1.x), else of 127.0.0.1. The annotations policy.remora.dev/inbound-port and
/// policy.remora.dev/outbound-port of a Pod move the two.
#[derive(Parser, Debug)]
#[command(name = "remora-control-plane", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve the mesh that a directory describes.
    ///
    /// Saved edits reach the proxies within 200 ms. A file that is wrong is named with
    /// line and reason, in the log and by `status`, and what it said before stays in
    /// force. SIGTERM ends the streams and exits 0; proxies keep what they have.
    Serve(Serve),
    /// Show who is connected, with the versions they have.
    ///
    /// Exit code: 0 if every connected proxy is in sync, 1 if one is not or a file is
    /// wrong, 2 if the control plane cannot be reached.
    Status(Status),
    /// Look a directory over without serving it.
    ///
    /// Exit code: 0 if all of it would be served, 1 if not, 2 if it cannot be read.
    Check(Check),
}

#[derive(Args, Debug)]
struct Serve {
    /// Directory of YAML and JSON files, read with its subdirectories.
    #[arg(long, value_name = "DIR")]
    config: PathBuf,

    /// Directory for the root key and certificate; made if missing, readable by nobody else.
    #[arg(long, value_name = "DIR")]
    state: PathBuf,

    /// Address to serve ADS on, a loopback address.
    ///
    /// Any other is refused until proxies are authenticated: whoever connects gets the
    /// certificate of the node it claims to be.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:15010")]
    listen: SocketAddr,

    /// Address to serve the status report on (GET /status, /ready), a loopback address.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:15014")]
    status_listen: SocketAddr,

    #[command(flatten)]
    mesh: MeshArguments,

    /// How long a workload's certificate is valid; it is renewed at about half of that.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = lifetime)]
    certificate_lifetime: Duration,

    /// What is logged, as in RUST_LOG: `info`, `control_plane=debug`...
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
}

#[derive(Args, Debug)]
struct MeshArguments {
    /// The trust domain of SPIFFE IDs: spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT.
    #[arg(long, value_name = "NAME", default_value = "cluster.local", value_parser = trust_domain)]
    trust_domain: String,
}

#[derive(Args, Debug)]
struct Status {
    /// The status address of the control plane.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:15014")]
    address: SocketAddr,

    /// The form of the report.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Args, Debug)]
struct Check {
    /// The directory.
    #[arg(value_name = "DIR")]
    config: PathBuf,

    #[command(flatten)]
    mesh: MeshArguments,

    /// The form of the findings.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// The input was read and is not all good.
const NOT_GOOD: u8 = 1;
/// It could not even be looked at.
const NOT_READ: u8 = 2;

fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = parse_duration(text)?;
    if lifetime < Duration::from_secs(10) {
        return Err("shorter than 10s: it would be renewed without a pause".to_owned());
    }
    Ok(lifetime)
}

/// A trust domain's name (SPIFFE ID, section 2.1).
fn trust_domain(text: &str) -> Result<String, String> {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    if text.is_empty() || text.len() > 255 || !text.bytes().all(is_allowed) {
        return Err("expected 1 to 255 lower-case letters, digits, dots, dashes and underscores".to_owned());
    }
    Ok(text.to_owned())
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve(arguments) => serve(arguments).await,
        Command::Status(arguments) => status(arguments).await,
        Command::Check(arguments) => look_over(&arguments),
    };
    match outcome {
        Ok(code) => code,
        Err(reason) => {
            say(&mut std::io::stderr(), &format!("remora-control-plane: {reason}\n"));
            ExitCode::from(NOT_READ)
        }
    }
}

/// Writes for people; that nobody reads is no error.
fn say(to: &mut impl std::io::Write, text: &str) {
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}

fn validator() -> Arc<dyn Validator> {
    Arc::new(ProxyValidator::new())
}

async fn serve(arguments: Serve) -> Result<ExitCode, String> {
    let filter = EnvFilter::try_new(&arguments.log).map_err(|error| format!("--log: {error}"))?;
    let stderr = std::io::stderr;
    let logger = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    logger.with_ansi(stderr().is_terminal()).with_target(false).init();
    let options = Options {
        config: arguments.config,
        state: arguments.state,
        listen: arguments.listen,
        status_listen: arguments.status_listen,
        settings: MeshSettings::new(&arguments.mesh.trust_domain),
        certificate_lifetime: arguments.certificate_lifetime,
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let running = start(options, validator()).await.map_err(|error| error.to_string())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    tracing::info!("shutting down");
    running.shut_down().await;
    Ok(ExitCode::SUCCESS)
}

async fn status(arguments: Status) -> Result<ExitCode, String> {
    let report = fetch(arguments.address).await.map_err(|error| error.to_string())?;
    let text = match arguments.format {
        Format::Json => serde_json::to_string_pretty(&report).map_err(|error| error.to_string())? + "\n",
        Format::Table => render(&report, colour()),
    };
    say(&mut std::io::stdout(), &text);
    let is_good =
        report.proxies.iter().all(ProxyReport::is_synced) && report.faults.is_empty() && report.withheld.is_empty();
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NOT_GOOD)
    })
}

fn look_over(arguments: &Check) -> Result<ExitCode, String> {
    let settings = MeshSettings::new(&arguments.mesh.trust_domain);
    let findings = check(&arguments.config, &settings, validator());
    let findings = findings.map_err(|error| format!("{}: {error}", arguments.config.display()))?;
    let mut text = String::new();
    match arguments.format {
        Format::Json => {
            text = serde_json::to_string_pretty(&findings).map_err(|error| error.to_string())?;
            text.push('\n');
        }
        Format::Table => {
            write_faults(&mut text, "fault", &findings.faults);
            for withheld in &findings.withheld {
                text.push_str("refused ");
                text.push_str(withheld);
                text.push('\n');
            }
            write_faults(&mut text, "note", &findings.notes);
            let faults = findings.faults.len() + findings.withheld.len();
            let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
            text.push_str(&format!(
                "{}, {}, {}\n",
                count(findings.objects, "object"),
                count(faults, "fault"),
                count(findings.notes.len(), "note")
            ));
        }
    }
    say(&mut std::io::stdout(), &text);
    Ok(if findings.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NOT_GOOD)
    })
}

/// Colours only for people: on a terminal, unless NO_COLOR says otherwise (no-color.org).
fn colour() -> Colour {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    Colour(std::io::stdout().is_terminal() && !is_unwanted)
}
