//! The application log: Envoy's logger names, levels and line formats over `tracing`.
//!
//! Each event belongs to a component, one of Envoy's logger names, by the module it comes from. A component has a level
//! that can change at run time; an event below it costs one cached check at its call site.

mod component;
mod level;
mod pattern;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, OnceLock};

use config::bootstrap::ApplicationLogFormat;
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

pub(crate) use component::Component;
pub(crate) use level::Level;
pub(crate) use pattern::DEFAULT_PATTERN;

use pattern::{Pattern, Record};

/// The target of events that end the process; their level reads `critical`.
pub(crate) const CRITICAL: &str = "remora::critical";

/// How and where the log is written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// The line format; [`DEFAULT_PATTERN`] when none.
    pub(crate) format: Option<String>,
    /// Write line breaks and other control characters of a message as escapes.
    pub(crate) escaped: bool,
    /// The file that is appended to; standard error when none.
    pub(crate) path: Option<String>,
}

static OUTPUT: OnceLock<Output> = OnceLock::new();

struct Output {
    state: Mutex<OutputState>,
    escaped: bool,
    path: Option<String>,
}

struct OutputState {
    pattern: Pattern,
    sink: Sink,
    line: Vec<u8>,
}

enum Sink {
    Stderr { colour: bool },
    File(File),
}

/// Starts the log. Called once, before anything is logged.
///
/// # Errors
/// The file cannot be opened.
pub(crate) fn start(settings: Settings) -> io::Result<()> {
    let sink = match &settings.path {
        Some(path) => Sink::File(open(path)?),
        None => Sink::Stderr {
            colour: io::stderr().is_terminal(),
        },
    };
    let pattern = Pattern::compile(settings.format.as_deref().unwrap_or(DEFAULT_PATTERN));
    let state = Mutex::new(OutputState {
        pattern,
        sink,
        line: Vec::new(),
    });
    let output = Output {
        state,
        escaped: settings.escaped,
        path: settings.path,
    };
    if OUTPUT.set(output).is_ok() {
        // A second subscriber can only be one of a test; the log then stays with that one.
        let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(LogLayer));
    }
    Ok(())
}

/// Changes the line format: the bootstrap's `application_log_config`.
pub(crate) fn set_format(format: &ApplicationLogFormat) {
    let format = match format {
        ApplicationLogFormat::Text(text) => text.to_string(),
        ApplicationLogFormat::Json(fields) => pattern::json_pattern(fields),
    };
    if let Some(output) = OUTPUT.get()
        && let Ok(mut state) = output.state.lock()
    {
        state.pattern = Pattern::compile(&format);
    }
}

/// Opens the log file anew, after it was moved away.
///
/// # Errors
/// The file cannot be opened; the log stays with the old one.
pub(crate) fn reopen() -> io::Result<()> {
    let Some((output, path)) = OUTPUT.get().and_then(|output| Some((output, output.path.as_ref()?))) else {
        return Ok(());
    };
    let file = open(path)?;
    if let Ok(mut state) = output.state.lock() {
        state.sink = Sink::File(file);
    }
    Ok(())
}

/// Sets the level of one component, or of all.
pub(crate) fn set_level(component: Option<Component>, level: Level) {
    match component {
        Some(component) => component.set_level(level),
        None => Component::all().for_each(|component| component.set_level(level)),
    }
    tracing::callsite::rebuild_interest_cache();
}

fn open(path: &str) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

struct LogLayer;

impl<S: Subscriber> Layer<S> for LogLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Levels change through `set_level`, which has every call site asked again.
        if enabled(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _context: Context<'_, S>) -> bool {
        enabled(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let Some(output) = OUTPUT.get() else { return };
        let metadata = event.metadata();
        let mut message = Message::default();
        event.record(&mut message);
        let record = Record {
            component: Component::of_target(metadata.target()).name(),
            level: level_of(metadata),
            file: metadata.file().unwrap_or_default(),
            line: metadata.line().unwrap_or_default(),
            module: metadata.module_path().unwrap_or_default(),
            message: message.text(output.escaped),
        };
        // Nobody panics while holding it: formatting and writing return errors.
        let Ok(mut state) = output.state.lock() else { return };
        let OutputState { pattern, sink, line } = &mut *state;
        line.clear();
        let colour = matches!(sink, Sink::Stderr { colour: true });
        pattern.write(line, &record, std::time::SystemTime::now(), colour);
        line.push(b'\n');
        // A log that cannot be written has nowhere to complain.
        let _ = match sink {
            Sink::Stderr { .. } => io::stderr().write_all(line),
            Sink::File(file) => file.write_all(line),
        };
    }
}

fn level_of(metadata: &Metadata<'_>) -> Level {
    if metadata.target() == CRITICAL {
        Level::Critical
    } else {
        Level::from(*metadata.level())
    }
}

fn enabled(metadata: &Metadata<'_>) -> bool {
    metadata.is_event() && level_of(metadata) >= Component::of_target(metadata.target()).level()
}

/// An event's message, its other fields after it as `name=value`.
#[derive(Default)]
struct Message {
    message: String,
    fields: String,
}

impl Message {
    fn text(self, escaped: bool) -> String {
        let text = match (self.message.is_empty(), self.fields.is_empty()) {
            (_, true) => self.message,
            (true, false) => self.fields,
            (false, false) => format!("{} {}", self.message, self.fields),
        };
        if escaped { pattern::escape(&text) } else { text }
    }

    fn field(&mut self, name: &str, value: fmt::Arguments<'_>) {
        use fmt::Write as _;
        // Writing to a String cannot fail.
        if name == "message" {
            let _ = self.message.write_fmt(value);
        } else {
            let divider = if self.fields.is_empty() { "" } else { " " };
            let _ = write!(self.fields, "{divider}{name}={value}");
        }
    }
}

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field.name(), format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field.name(), format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.field(field.name(), format_args!("{value}"));
    }
}
