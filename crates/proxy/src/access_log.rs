//! Access logs: where they go, and what is written into them.

mod attempt_log;
mod entry;
pub(crate) mod logged_metadata;

use std::path::Path;
use std::sync::Arc;

use config::access_log::{AccessLog, AccessLogFilter, AccessLogFormat, AccessLogSink};
use config::metadata::{Struct, Value};
use telemetry::access_log::{DEFAULT_FORMAT, Format, JsonTemplate, LogContext, Sink, TlsField, Writer};
use telemetry::stats::Shard;
use tls::PeerIdentity;

pub(crate) use self::attempt_log::AttemptLog;
pub(crate) use self::entry::{Entry, address_of};

/// Opens the process's log files, each once.
#[derive(Clone, Debug)]
pub(crate) struct LogSinks(Arc<Writer>);

impl LogSinks {
    pub(crate) fn new(writer: Arc<Writer>) -> Self {
        LogSinks(writer)
    }

    /// The logs of a connection manager. A file that can't be opened is reported and its log left
    /// out: requests are served all the same.
    pub(crate) fn open(&self, logs: &[AccessLog]) -> AccessLogs {
        AccessLogs(logs.iter().filter_map(|log| self.open_one(log)).collect())
    }

    fn open_one(&self, log: &AccessLog) -> Option<OpenLog> {
        let (format, sink) = open(&self.0, log)?;
        Some(OpenLog {
            filter: log.filter.clone(),
            format,
            sink,
        })
    }
}

/// Opens a log and compiles its format. What cannot be opened is reported and `None`: the rest goes on without it.
pub fn open(writer: &Writer, log: &AccessLog) -> Option<(Format, Arc<Sink>)> {
    let (sink, format) = match &log.sink {
        AccessLogSink::File { path, format } => match writer.file(Path::new(&**path)) {
            Ok(sink) => (sink, format),
            Err(error) => {
                tracing::error!(target: "config", %path, %error, "cannot open an access log");
                return None;
            }
        },
        AccessLogSink::Stdout { format } => (writer.stdout(), format),
        AccessLogSink::Stderr { format } => (writer.stderr(), format),
        AccessLogSink::Extension(_) => return None,
    };
    match compile(format) {
        Ok(format) => Some((format, sink)),
        Err(error) => {
            tracing::error!(target: "config", log = %log.name, %error, "an access log's format is not usable");
            None
        }
    }
}

/// Compiles a configured format.
pub(crate) fn compile(format: &AccessLogFormat) -> Result<Format, telemetry::access_log::FormatError> {
    match format {
        AccessLogFormat::Default => Format::text(DEFAULT_FORMAT, false),
        AccessLogFormat::Text {
            format,
            omit_empty_values,
        } => Format::text(format, *omit_empty_values),
        AccessLogFormat::Json {
            format,
            omit_empty_values,
            ..
        } => Format::json(&object(format), *omit_empty_values),
    }
}

fn object(fields: &Struct) -> JsonTemplate {
    JsonTemplate::Object(
        fields
            .iter()
            .map(|(name, value)| (name.to_string(), template(value)))
            .collect(),
    )
}

fn template(value: &Value) -> JsonTemplate {
    match value {
        Value::Null => JsonTemplate::Null,
        Value::Number(number) => JsonTemplate::Number(*number),
        Value::String(text) => JsonTemplate::String(text.to_string()),
        Value::Bool(truth) => JsonTemplate::Bool(*truth),
        Value::List(list) => JsonTemplate::List(list.iter().map(template).collect()),
        Value::Struct(fields) => object(fields),
    }
}

/// Logs that have the same entries to write.
#[derive(Debug, Default)]
pub(crate) struct AccessLogs(Vec<OpenLog>);

#[derive(Debug)]
struct OpenLog {
    filter: Option<AccessLogFilter>,
    format: Format,
    sink: Arc<Sink>,
}

impl AccessLogs {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes the entries of a finished request. `line` is the worker's buffer.
    pub(crate) fn write(&self, entry: &impl Logged, shard: Shard, line: &mut Vec<u8>) {
        for log in &self.0 {
            if log.filter.as_ref().is_none_or(|filter| entry.passes(filter)) {
                line.clear();
                log.format.write(entry, line);
                log.sink.write(shard, line);
            }
        }
    }
}

/// What is logged: a request, or a connection.
pub(crate) trait Logged: LogContext {
    /// Whether a log with this filter gets an entry for it.
    fn passes(&self, filter: &AccessLogFilter) -> bool;
}

/// Appends what a field says of a peer that has shown who it is. False, and nothing appended, when that is nothing.
pub(crate) fn write_peer(identity: &PeerIdentity, field: TlsField, out: &mut Vec<u8>) -> bool {
    let before = out.len();
    match field {
        TlsField::PeerSubject => out.extend_from_slice(identity.subject.as_bytes()),
        TlsField::PeerIssuer => out.extend_from_slice(identity.issuer.as_bytes()),
        TlsField::PeerSerial => out.extend_from_slice(identity.serial_number.as_bytes()),
        TlsField::PeerFingerprint256 => out.extend_from_slice(identity.sha256_fingerprint().as_bytes()),
        TlsField::PeerUriSan => join(&identity.uri_sans, out),
        TlsField::PeerDnsSan => join(&identity.dns_sans, out),
        TlsField::PeerCert => out.extend_from_slice(identity.url_encoded_pem().as_bytes()),
        _ => {}
    }
    out.len() > before
}

fn join(names: &[Box<str>], out: &mut Vec<u8>) {
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
    }
}
