//! The command line: Envoy's options, and `remora check`.

mod stats_tag;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use telemetry::access_log::FlushSettings;
use xds::DataErrors;
use xds_api::envoy::admin::v3::{CommandLineOptions, command_line_options as proto};

use crate::logging::{Component, DEFAULT_PATTERN, Level};
use stats_tag::StatsTag;

const ABOUT: &str = "A service-mesh sidecar proxy that reads Envoy's configuration";

const LONG_ABOUT: &str = "\
remora is a sidecar proxy for service meshes. It reads Envoy's v3 bootstrap (YAML or JSON), speaks xDS to any control \
plane, and takes Envoy's command line, so that it can stand where Envoy stood.

  remora check bootstrap.yaml             what is wrong with a configuration, and where
  remora -c bootstrap.yaml                serve
  remora -c bootstrap.yaml --mode validate
  remora --config-yaml \"$(cat bootstrap.yaml)\"";

const AFTER_HELP: &str = "\
Signals: SIGTERM and SIGINT drain (connections are told to go elsewhere, requests finish within --drain-time-s) and \
exit with status 0; SIGUSR1 reopens log files. Once it serves, ask the admin endpoint: GET /help lists its paths.";

/// What the process was asked to do.
#[derive(Debug, Parser)]
#[command(
    name = "remora",
    about = ABOUT,
    long_about = LONG_ABOUT,
    after_help = AFTER_HELP,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) options: Options,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say what is wrong with a bootstrap, by field and line, then what is accepted without effect
    #[command(after_help = "Exit status: 0 accepted, 1 rejected, 2 the file could not be read.")]
    Check(CheckOptions),
}

/// `remora check`.
#[derive(Debug, Args)]
pub(crate) struct CheckOptions {
    /// The bootstrap: .yaml, .yml, .pb, anything else is JSON; `-` for YAML or JSON on standard input
    pub(crate) file: String,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
    pub(crate) format: CheckFormat,
    /// Fields that do not exist are listed instead of being faults
    #[arg(long)]
    pub(crate) allow_unknown_static_fields: bool,
    /// Node name, as it will be given to the server
    #[arg(long, value_name = "NAME")]
    pub(crate) service_node: Option<String>,
    /// Cluster name, as it will be given to the server
    #[arg(long, value_name = "NAME")]
    pub(crate) service_cluster: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFormat {
    Text,
    Json,
}

/// Envoy's options.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// The bootstrap file: .yaml, .yml, .pb, anything else is JSON
    #[arg(short, long, value_name = "FILE", help_heading = "Configuration")]
    pub(crate) config_path: Option<PathBuf>,
    /// Inline YAML, merged over the file: single values replace, lists are appended
    #[arg(long, value_name = "YAML", help_heading = "Configuration")]
    pub(crate) config_yaml: Option<String>,
    /// Ignore fields of the bootstrap that do not exist; they are logged
    #[arg(long, alias = "allow-unknown-fields", help_heading = "Configuration")]
    pub(crate) allow_unknown_static_fields: bool,
    /// Refuse dynamic resources with fields that do not exist
    #[arg(long, help_heading = "Configuration")]
    pub(crate) reject_unknown_dynamic_fields: bool,
    /// Do not warn of fields of dynamic resources that do not exist
    #[arg(long, help_heading = "Configuration")]
    pub(crate) ignore_unknown_dynamic_fields: bool,
    /// Keep the last good dynamic resources in this folder, to start from while no control plane answers
    #[arg(long, value_name = "FOLDER", help_heading = "Configuration")]
    pub(crate) xds_cache: Option<PathBuf>,
    /// What becomes of a dynamic resource that the control plane removes, sends wrong or denies. envoy: removed listeners
    /// and clusters go; keep: the last good value always stays; drop: it always goes
    #[arg(long, value_name = "POLICY", default_value = "envoy", help_heading = "Configuration")]
    pub(crate) xds_data_errors: DataErrors,
    /// serve; validate: read and check the configuration, then exit; init_only: also build everything, then exit
    #[arg(long, default_value = "serve", value_name = "MODE", help_heading = "Configuration")]
    pub(crate) mode: Mode,

    /// Node name; goes before the bootstrap's node.id
    #[arg(long, value_name = "NAME", help_heading = "Node")]
    pub(crate) service_node: Option<String>,
    /// Cluster name; goes before the bootstrap's node.cluster
    #[arg(long, value_name = "NAME", help_heading = "Node")]
    pub(crate) service_cluster: Option<String>,
    /// Zone; goes before the bootstrap's node.locality.zone
    #[arg(long, value_name = "ZONE", help_heading = "Node")]
    pub(crate) service_zone: Option<String>,

    /// Worker threads [default: the processors that the process may use, by its CPU quota]
    #[arg(long, value_name = "N", help_heading = "Process")]
    pub(crate) concurrency: Option<u32>,
    /// Write the address of the admin endpoint to this file
    #[arg(long, value_name = "FILE", help_heading = "Process")]
    pub(crate) admin_address_path: Option<PathBuf>,
    /// How long requests may go on when a listener is removed or the process ends, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600, help_heading = "Process")]
    pub(crate) drain_time_s: u32,
    /// How /drain_listeners?graceful goes. gradual: with requests, more of them as the drain time passes; immediate: all
    /// connections at once, as always when the process ends
    #[arg(long, value_name = "STRATEGY", default_value = "gradual", help_heading = "Process")]
    pub(crate) drain_strategy: DrainStrategy,
    /// Which of this machine's addresses stands for callers on it in x-forwarded-for, v4 or v6
    #[arg(long, value_name = "VERSION", default_value = "v4", help_heading = "Process")]
    pub(crate) local_address_ip_version: IpVersion,
    /// How often access logs are written out, in milliseconds
    #[arg(
        long,
        value_name = "MILLISECONDS",
        default_value_t = 10_000,
        help_heading = "Process"
    )]
    pub(crate) file_flush_interval_msec: u32,
    /// How much of an access log is kept before it is written out, in KiB
    #[arg(long, value_name = "KIB", default_value_t = 64, help_heading = "Process")]
    pub(crate) file_flush_min_size_kb: u32,

    /// A label for every statistic; may be given several times
    #[arg(long, value_name = "TAG:VALUE", help_heading = "Process")]
    pub(crate) stats_tag: Vec<StatsTag>,

    /// trace, debug, info, warning, warn, error, critical or off
    #[arg(short, long, value_name = "LEVEL", default_value = "info", help_heading = "Logging")]
    pub(crate) log_level: Level,
    /// Levels of components, such as upstream:debug,config:trace
    #[arg(long, value_name = "LEVELS", default_value = "", value_parser = component_levels, help_heading = "Logging")]
    pub(crate) component_log_level: ComponentLevels,
    /// Line format in spdlog's syntax \[default: `[%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v`\]
    #[arg(long, value_name = "PATTERN", help_heading = "Logging")]
    pub(crate) log_format: Option<String>,
    /// Escape control characters in messages
    #[arg(long, help_heading = "Logging")]
    pub(crate) log_format_escaped: bool,
    /// Append the log to this file instead of standard error
    #[arg(long, value_name = "FILE", help_heading = "Logging")]
    pub(crate) log_path: Option<String>,

    /// Print the version and exit
    #[arg(long)]
    pub(crate) version: bool,
    /// Print the version of hot restart, which is not offered, and exit
    #[arg(long, hide = true)]
    pub(crate) hot_restart_version: bool,

    #[command(flatten)]
    pub(crate) without_meaning: WithoutMeaning,
}

/// Options of Envoy that have no meaning here. They are accepted, so that Envoy's command lines work.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Accepted as Envoy's, without effect")]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct WithoutMeaning {
    /// There is no hot restart
    #[arg(long)]
    disable_hot_restart: bool,
    /// There is no hot restart
    #[arg(long, value_name = "N", default_value_t = 0)]
    base_id: u32,
    #[arg(long, hide = true)]
    use_dynamic_base_id: bool,
    #[arg(long, value_name = "FILE", hide = true)]
    base_id_path: Option<String>,
    #[arg(long, value_name = "N", default_value_t = 0, hide = true)]
    restart_epoch: u32,
    /// There is no hot restart
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    parent_shutdown_time_s: u32,
    #[arg(long, hide = true)]
    skip_hot_restart_on_no_parent: bool,
    #[arg(long, hide = true)]
    skip_hot_restart_parent_stats: bool,
    #[arg(long, value_name = "PATH", hide = true)]
    socket_path: Option<String>,
    #[arg(long, value_name = "MODE", hide = true)]
    socket_mode: Option<String>,
    /// Deprecated fields are not logged
    #[arg(long)]
    skip_deprecated_logs: bool,
    /// Levels are per component
    #[arg(long)]
    enable_fine_grain_logging: bool,
    #[arg(long, hide = true)]
    log_stacktrace_single_entry: bool,
    #[arg(long, hide = true)]
    enable_mutex_tracing: bool,
    #[arg(long, hide = true)]
    cpuset_threads: bool,
    #[arg(long, hide = true)]
    enable_core_dump: bool,
    #[arg(long, value_name = "NAMES", hide = true)]
    disable_extensions: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Serve,
    Validate,
    InitOnly,
}

impl std::str::FromStr for Mode {
    type Err = String;

    fn from_str(mode: &str) -> Result<Self, Self::Err> {
        match mode {
            "serve" => Ok(Self::Serve),
            "validate" => Ok(Self::Validate),
            "init_only" => Ok(Self::InitOnly),
            _ => Err(format!("unknown mode '{mode}', expected serve, validate or init_only")),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DrainStrategy {
    Gradual,
    Immediate,
}

impl std::str::FromStr for DrainStrategy {
    type Err = String;

    fn from_str(strategy: &str) -> Result<Self, Self::Err> {
        match strategy {
            "gradual" => Ok(Self::Gradual),
            "immediate" => Ok(Self::Immediate),
            _ => Err(format!(
                "unknown drain-strategy '{strategy}', expected gradual or immediate"
            )),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IpVersion {
    V4,
    V6,
}

impl std::str::FromStr for IpVersion {
    type Err = String;

    fn from_str(version: &str) -> Result<Self, Self::Err> {
        match version {
            "v4" => Ok(Self::V4),
            "v6" => Ok(Self::V6),
            _ => Err(format!("unknown IP address version '{version}', expected v4 or v6")),
        }
    }
}

/// `--component-log-level`, as written and read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ComponentLevels {
    text: String,
    levels: Vec<(Component, Level)>,
}

impl ComponentLevels {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Component, Level)> {
        self.levels.iter().copied()
    }
}

fn component_levels(text: &str) -> Result<ComponentLevels, String> {
    let mut levels = Vec::new();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (component, level) = pair
            .split_once(':')
            .ok_or_else(|| format!("component log level not correctly specified '{pair}', expected component:level"))?;
        let component = Component::named(component).map_err(|error| error.to_string())?;
        levels.push((component, level.parse()?));
    }
    Ok(ComponentLevels {
        text: text.to_owned(),
        levels,
    })
}

impl CommandLine {
    /// Reads the arguments, the program's name first.
    ///
    /// # Errors
    /// What clap prints and with which status the process ends: 0 for `--help`, 2 for a bad `check` command, which means
    /// that nothing was read, and 1 for anything else, as Envoy.
    pub(crate) fn read(arguments: Vec<OsString>) -> Result<Self, (clap::Error, u8)> {
        let is_check = arguments.get(1).is_some_and(|argument| argument == "check");
        Self::try_parse_from(arguments).map_err(|error| {
            let error = explained(error);
            let status = match (error.use_stderr(), is_check) {
                (false, _) => 0,
                (true, true) => 2,
                (true, false) => 1,
            };
            (error, status)
        })
    }
}

/// A lone argument is mostly the file, given without its option.
fn explained(error: clap::Error) -> clap::Error {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    match (error.kind(), error.get(ContextKind::InvalidSubcommand)) {
        (ErrorKind::InvalidSubcommand, Some(ContextValue::String(argument))) => {
            let text = format!(
                "unexpected argument '{argument}', expected an option or the command 'check'; \
                 a bootstrap is given with '-c {argument}'"
            );
            CommandLine::command().error(ErrorKind::InvalidSubcommand, text)
        }
        _ => error,
    }
}

impl Options {
    /// How many workers there are.
    pub(crate) fn workers(&self) -> usize {
        let allowed = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.concurrency.map_or_else(allowed, |workers| workers.max(1) as usize)
    }

    pub(crate) fn drain_time(&self) -> Duration {
        Duration::from_secs(self.drain_time_s.into())
    }

    /// When access logs are written out.
    pub(crate) fn file_flush(&self) -> FlushSettings {
        FlushSettings {
            interval: Duration::from_millis(self.file_flush_interval_msec.max(1).into()),
            min_size: self.file_flush_min_size_kb as usize * 1024,
        }
    }

    /// Labels of every statistic.
    pub(crate) fn stats_tags(&self) -> Vec<(String, String)> {
        self.stats_tag
            .iter()
            .map(|tag| (tag.name.clone(), tag.value.clone()))
            .collect()
    }

    /// The options that were given and have no meaning here.
    pub(crate) fn given_without_meaning(&self) -> Vec<&'static str> {
        let given = &self.without_meaning;
        [
            (given.disable_hot_restart, "--disable-hot-restart"),
            (given.base_id != 0, "--base-id"),
            (given.use_dynamic_base_id, "--use-dynamic-base-id"),
            (given.base_id_path.is_some(), "--base-id-path"),
            (given.restart_epoch != 0, "--restart-epoch"),
            (given.parent_shutdown_time_s != 900, "--parent-shutdown-time-s"),
            (given.skip_hot_restart_on_no_parent, "--skip-hot-restart-on-no-parent"),
            (given.skip_hot_restart_parent_stats, "--skip-hot-restart-parent-stats"),
            (given.socket_path.is_some(), "--socket-path"),
            (given.socket_mode.is_some(), "--socket-mode"),
            (given.skip_deprecated_logs, "--skip-deprecated-logs"),
            (given.enable_fine_grain_logging, "--enable-fine-grain-logging"),
            (given.log_stacktrace_single_entry, "--log-stacktrace-single-entry"),
            (given.enable_mutex_tracing, "--enable-mutex-tracing"),
            (given.cpuset_threads, "--cpuset-threads"),
            (given.enable_core_dump, "--enable-core-dump"),
            (given.disable_extensions.is_some(), "--disable-extensions"),
        ]
        .into_iter()
        .filter_map(|(given, option)| given.then_some(option))
        .collect()
    }

    /// The options as `/server_info` shows them.
    pub(crate) fn shown(&self) -> CommandLineOptions {
        let given = &self.without_meaning;
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let seconds = |seconds: u32| {
            Some(xds_api::google::protobuf::Duration {
                seconds: seconds.into(),
                nanos: 0,
            })
        };
        let flush = Duration::from_millis(self.file_flush_interval_msec.into());
        CommandLineOptions {
            base_id: given.base_id.into(),
            use_dynamic_base_id: given.use_dynamic_base_id,
            base_id_path: text(&given.base_id_path),
            concurrency: u32::try_from(self.workers()).unwrap_or(u32::MAX),
            config_path: path(&self.config_path),
            config_yaml: text(&self.config_yaml),
            allow_unknown_static_fields: self.allow_unknown_static_fields,
            reject_unknown_dynamic_fields: self.reject_unknown_dynamic_fields,
            ignore_unknown_dynamic_fields: self.ignore_unknown_dynamic_fields,
            admin_address_path: path(&self.admin_address_path),
            local_address_ip_version: match self.local_address_ip_version {
                IpVersion::V4 => proto::IpVersion::V4,
                IpVersion::V6 => proto::IpVersion::V6,
            }
            .into(),
            log_level: self.log_level.name().to_owned(),
            component_log_level: self.component_log_level.text.clone(),
            log_format: self.log_format.clone().unwrap_or_else(|| DEFAULT_PATTERN.to_owned()),
            log_format_escaped: self.log_format_escaped,
            log_path: text(&self.log_path),
            service_cluster: text(&self.service_cluster),
            service_node: text(&self.service_node),
            service_zone: text(&self.service_zone),
            drain_strategy: match self.drain_strategy {
                DrainStrategy::Gradual => proto::DrainStrategy::Gradual,
                DrainStrategy::Immediate => proto::DrainStrategy::Immediate,
            }
            .into(),
            file_flush_interval: Some(xds_api::google::protobuf::Duration {
                seconds: i64::try_from(flush.as_secs()).unwrap_or(i64::MAX),
                nanos: i32::try_from(flush.subsec_nanos()).unwrap_or(0),
            }),
            file_flush_min_size: self.file_flush_min_size_kb,
            drain_time: seconds(self.drain_time_s),
            parent_shutdown_time: seconds(given.parent_shutdown_time_s),
            mode: match self.mode {
                Mode::Serve => proto::Mode::Serve,
                Mode::Validate => proto::Mode::Validate,
                Mode::InitOnly => proto::Mode::InitOnly,
            }
            .into(),
            disable_hot_restart: given.disable_hot_restart,
            enable_mutex_tracing: given.enable_mutex_tracing,
            restart_epoch: given.restart_epoch,
            cpuset_threads: given.cpuset_threads,
            disabled_extensions: given
                .disable_extensions
                .iter()
                .flat_map(|names| names.split(','))
                .map(str::to_owned)
                .collect(),
            enable_fine_grain_logging: given.enable_fine_grain_logging,
            socket_path: text(&given.socket_path),
            enable_core_dump: given.enable_core_dump,
            stats_tag: self
                .stats_tag
                .iter()
                .map(|tag| format!("{}:{}", tag.name, tag.value))
                .collect(),
            skip_hot_restart_on_no_parent: given.skip_hot_restart_on_no_parent,
            skip_hot_restart_parent_stats: given.skip_hot_restart_parent_stats,
            skip_deprecated_logs: given.skip_deprecated_logs,
            log_stacktrace_single_entry: given.log_stacktrace_single_entry,
            ..CommandLineOptions::default()
        }
    }
}

#[cfg(test)]
mod tests;
