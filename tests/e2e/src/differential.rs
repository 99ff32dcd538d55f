//! Two proxies side by side, given the same requests, from the same bootstrap, with backends of their own that do
//! the same: what differs between them is a finding.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;
use testkit::backend::Backend;
use testkit::http1::Message;
use testkit::{Directory, Process, peers, ports, wait};

use crate::proxy::{Kind, Proxy};

/// A proxy with its backends.
#[derive(Debug)]
pub struct Side {
    /// The proxy.
    pub proxy: Proxy,
    /// The port of its listener.
    pub port: u16,
    /// Its HTTP/1.1 backends: `stable` and `canary`.
    pub stable: Backend,
    /// See `stable`.
    pub canary: Backend,
    /// Its HTTP/2 backend, which prints what it saw.
    pub http2: Process,
    /// That backend's port.
    pub http2_port: u16,
}

impl Side {
    /// Starts backends and the proxy; `fill` makes a bootstrap for the ports it is given.
    #[must_use]
    pub fn start(kind: Kind, directory: &Directory, fill: impl Fn(&Ports) -> String) -> Self {
        let stable = Backend::start("stable");
        let canary = Backend::start("canary");
        let http2_port = ports::free_port();
        let http2 = Process::start(
            &format!("{}-h2-backend", kind.name()),
            directory,
            peers::script("h2_backend.py").arg(http2_port.to_string()),
        );
        wait::wait_for_port(http2_port);
        let listener = ports::free_port();
        let bootstrap = fill(&Ports {
            listener,
            stable: stable.port(),
            canary: canary.port(),
            http2: http2_port,
        });
        let proxy = Proxy::start(kind, directory, kind.name(), &bootstrap);
        Self {
            proxy,
            port: listener,
            stable,
            canary,
            http2,
            http2_port,
        }
    }

    /// What the HTTP/1.1 backends saw since the last time, as lines.
    #[must_use]
    pub fn take_seen(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for backend in [&self.stable, &self.canary] {
            for request in backend.take_seen() {
                lines.push(format!("backend saw {}", describe(&request)));
            }
        }
        lines
    }

    /// What came back to a caller in HTTP/2, see [`call_http2`].
    #[must_use]
    pub fn call_http2(&self, exchanges: &Value) -> BTreeMap<String, String> {
        call_http2(self.port, exchanges)
    }

    /// What the HTTP/2 backend saw, by the name of the exchange.
    #[must_use]
    pub fn http2_seen(&self) -> BTreeMap<String, String> {
        by_name(&self.http2.output(), "case")
    }
}

/// Has a caller in HTTP/2 make exchanges (see tests/peers/h2_caller.py) and returns what came back, by name.
///
/// # Panics
/// The caller fails.
#[must_use]
pub fn call_http2(port: u16, exchanges: &Value) -> BTreeMap<String, String> {
    let mut child = peers::script("h2_caller.py")
        .arg(port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the caller starts");
    let mut input = child.stdin.take().expect("it was piped");
    input
        .write_all(exchanges.to_string().as_bytes())
        .expect("the caller reads its exchanges");
    drop(input);
    let output = child.wait_with_output().expect("the caller ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    by_name(&String::from_utf8_lossy(&output.stdout), "name")
}

/// The ports a bootstrap is made for.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// Where the proxy listens.
    pub listener: u16,
    /// The HTTP/1.1 backends.
    pub stable: u16,
    /// See `stable`.
    pub canary: u16,
    /// The HTTP/2 backend.
    pub http2: u16,
}

/// One line for a message: everything that may not differ.
#[must_use]
pub fn describe(message: &Message) -> String {
    let mut text = message.start.clone();
    for field in normal_fields(
        message
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    ) {
        let _ = write!(text, " | {field}");
    }
    let shown = String::from_utf8_lossy(&message.body[..message.body.len().min(120)]).into_owned();
    let _ = write!(text, " | body of {}: {shown:?}", message.body.len());
    if !message.trailers.is_empty() {
        let _ = write!(text, " | trailers {:?}", message.trailers);
    }
    if !message.informational.is_empty() {
        let _ = write!(text, " | after {:?}", message.informational);
    }
    if message.cut {
        text.push_str(" | CUT");
    }
    text
}

/// Fields without what differs from one run to the next, sorted by name; lines of one name keep their order.
fn normal_fields<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let mut kept: Vec<(String, String)> = fields
        .filter_map(|(name, value)| {
            let value = match name.to_ascii_lowercase().as_str() {
                "date" => "*",
                // There only if the request was complete before its answer, which is a matter of microseconds.
                "x-envoy-upstream-service-time" => return None,
                // A sender of `te` names it in `connection` (RFC 9110 section 10.1.4), which Envoy does not.
                "connection" if value == "te" => return None,
                "x-request-id" if value.len() == 36 => "a UUID",
                _ => value,
            };
            Some((name.to_owned(), value.to_owned()))
        })
        .collect();
    kept.sort_by(|left, right| left.0.cmp(&right.0));
    kept.into_iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect()
}

fn by_name(lines: &str, key: &str) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for line in lines.lines() {
        let Ok(mut record) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let name = record[key].as_str().unwrap_or("").to_owned();
        for list in ["headers", "trailers"] {
            let pairs: Vec<(String, String)> = serde_json::from_value(record[list].take()).unwrap_or_default();
            let normal = normal_fields(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            record[list] = Value::from(normal);
        }
        let entry = found.entry(name).or_default();
        let _ = write!(entry, "{record};");
    }
    found
}

/// A difference that is meant, with its reason.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The exchanges' names.
    pub names: &'static [&'static str],
    /// Why remora differs.
    pub reason: &'static str,
}

/// Compares what was observed of each exchange. A difference has to be known, and a known one has to be there: the
/// list says how things are.
///
/// # Errors
/// They differ where they should not, or do not where they are said to.
pub fn compare(
    what: &str,
    envoy: &BTreeMap<String, String>,
    remora: &BTreeMap<String, String>,
    known: &[Known],
) -> Result<(), String> {
    let mut faults = String::new();
    let names: std::collections::BTreeSet<&String> = envoy.keys().chain(remora.keys()).collect();
    for name in names {
        let differs = envoy.get(name) != remora.get(name);
        let listed = known.iter().find(|known| known.names.contains(&name.as_str()));
        match (differs, listed) {
            (true, None) => {
                let nothing = "nothing".to_owned();
                let (theirs, ours) = (
                    envoy.get(name).unwrap_or(&nothing),
                    remora.get(name).unwrap_or(&nothing),
                );
                let _ = write!(faults, "\n{name}\n  envoy:  {theirs}\n  remora: {ours}\n");
            }
            (false, Some(known)) => {
                let _ = write!(
                    faults,
                    "\n{name} no longer differs ({}): take it off the list\n",
                    known.reason
                );
            }
            _ => {}
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(format!("{what}:\n{faults}"))
}
