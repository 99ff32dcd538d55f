//! remora: a service-mesh sidecar proxy. This crate is the process around it: command line, log, bootstrap, threads,
//! the admin endpoint, and the order in which they start and stop.

mod admin;
mod admin_source;
mod bootstrap;
mod certificates;
mod check;
mod command_line;
mod config_dump;
mod connection_limits;
mod dialer;
mod extensions;
mod init_dump;
mod lifecycle;
mod load_reports;
mod local_address;
mod logging;
mod process_stats;
mod serve;
mod signals;
mod static_tls;
mod stats_settings;
mod unknown_fields;
mod version;
mod warnings;

use std::io::Write as _;
use std::process::ExitCode;

use command_line::{Command, CommandLine, Mode, Options};

fn main() -> ExitCode {
    let line = match CommandLine::read(std::env::args_os().collect()) {
        Ok(line) => line,
        Err((error, status)) => {
            // clap writes help to standard output and errors to standard error.
            let _ = error.print();
            return ExitCode::from(status);
        }
    };
    if let Some(Command::Check(options)) = line.command {
        let report = check::run(&options);
        print(&report.text);
        return ExitCode::from(report.status);
    }
    let options = line.options;
    if options.version {
        let program = std::env::args().next().unwrap_or_else(|| "remora".to_owned());
        print(&format!("\n{program}  version: {}\n\n", version::text()));
        return ExitCode::SUCCESS;
    }
    if options.hot_restart_version {
        print("disabled\n");
        return ExitCode::SUCCESS;
    }
    if let Err(error) = start_log(&options) {
        let _ = writeln!(std::io::stderr(), "error: failed to open log file: {error}");
        return ExitCode::FAILURE;
    }
    run(&options)
}

/// A reader that went away, as `head` does, is no error of ours.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn start_log(options: &Options) -> std::io::Result<()> {
    logging::start(logging::Settings {
        format: options.log_format.clone(),
        escaped: options.log_format_escaped,
        path: options.log_path.clone(),
    })?;
    logging::set_level(None, options.log_level);
    for (component, level) in options.component_log_level.iter() {
        logging::set_level(Some(component), level);
    }
    for option in options.given_without_meaning() {
        tracing::debug!("{option} has no effect here");
    }
    Ok(())
}

fn run(options: &Options) -> ExitCode {
    let shown_path = options
        .config_path
        .as_ref()
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    let started = bootstrap::load(options).and_then(|source| {
        let extensions = extensions::all();
        let parsed = bootstrap::parse(&source, &extensions).map_err(bootstrap::LoadError::Rejected)?;
        Ok((source, extensions, parsed))
    });
    let (source, extensions, parsed) = match started {
        Ok(started) => started,
        Err(error) => {
            tracing::error!(target: logging::CRITICAL, "error initializing configuration '{shown_path}': {error}");
            return ExitCode::FAILURE;
        }
    };
    for field in source.unknown() {
        tracing::warn!("ignored: {field}");
    }
    for warning in warnings::of(&parsed.value) {
        tracing::warn!("{warning}");
    }
    for note in &parsed.without_effect {
        tracing::info!("without effect: {}: {}", note.path, note.reason);
    }
    if options.mode == Mode::Validate {
        print(&format!("configuration '{shown_path}' OK\n"));
        return ExitCode::SUCCESS;
    }
    let unknown = source.unknown().len();
    match serve::run(options, source.into_message(), unknown, extensions, parsed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(target: logging::CRITICAL, "{error}");
            ExitCode::FAILURE
        }
    }
}
