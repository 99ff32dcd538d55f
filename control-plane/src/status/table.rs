//! The report as a table for people.

use std::fmt::Write as _;

use super::report::{ProxyReport, Report, TypeState};
use crate::objects::Fault;

/// Whether to colour: only for a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour(pub bool);

impl Colour {
    fn paint(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    fn fair(self, text: &str) -> String {
        self.paint("33", text)
    }

    fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }
}

const SERVICES: [&str; 5] = ["CDS", "EDS", "LDS", "RDS", "SDS"];
/// What fits `stale 0123456789ab`; versions are cut to what tells them apart.
const CELL: usize = 16;
const VERSION: usize = 8;

/// Writes the report.
pub fn render(report: &Report, colour: Colour) -> String {
    let mut out = String::new();
    let width = report
        .proxies
        .iter()
        .map(|proxy| name_of(proxy).len())
        .max()
        .unwrap_or(0)
        .max("NODE".len());
    let heads = SERVICES.map(|service| format!("{service:CELL$}")).join(" ");
    let _ = writeln!(out, "{:width$}  {heads} LAST CHANGE", "NODE");
    for proxy in &report.proxies {
        let cells = SERVICES.map(|service| cell(proxy, service, colour)).join(" ");
        let changed = proxy
            .types
            .iter()
            .map(|kind| kind.changed_at.as_str())
            .max()
            .unwrap_or_default();
        let _ = writeln!(out, "{:width$}  {cells} {changed}", name_of(proxy));
    }
    if report.proxies.is_empty() {
        let _ = writeln!(out, "(no proxy is connected)");
    }
    for proxy in &report.proxies {
        if let Some(trouble) = &proxy.trouble {
            let _ = writeln!(out, "{} {}: {trouble}", colour.bad("waiting"), name_of(proxy));
        }
        for kind in &proxy.types {
            if let TypeState::Nacked { reason } = &kind.state {
                let _ = writeln!(
                    out,
                    "{} {} {}: {reason}",
                    colour.bad("NACKed"),
                    name_of(proxy),
                    kind.service
                );
            }
        }
    }
    for withheld in &report.withheld {
        let _ = writeln!(out, "{} {withheld}", colour.bad("withheld"));
    }
    write_faults(&mut out, &colour.bad("fault"), &report.faults);
    write_faults(&mut out, &colour.fair("note"), &report.notes);
    out
}

/// Writes faults, one to a line.
pub fn write_faults(out: &mut String, word: &str, faults: &[Fault]) {
    for fault in faults {
        let _ = writeln!(out, "{word} {fault}");
    }
}

/// `greeter-v1-a.demo` of a sidecar's id; another id as it is.
fn name_of(proxy: &ProxyReport) -> &str {
    proxy.node.split('~').nth(2).unwrap_or(&proxy.node)
}

fn cell(proxy: &ProxyReport, service: &str, colour: Colour) -> String {
    let Some(kind) = proxy.types.iter().find(|kind| kind.service == service) else {
        return format!("{:CELL$}", "-");
    };
    let version = kind.version.get(..VERSION).unwrap_or(&kind.version);
    let word = match kind.state {
        TypeState::Synced => "synced",
        TypeState::Stale => "stale",
        TypeState::Nacked { .. } => "NACKed",
    };
    // Padded before it is painted: escape sequences take no room.
    let text = format!("{:CELL$}", format!("{word} {version}"));
    match kind.state {
        TypeState::Synced => colour.good(&text),
        TypeState::Stale => colour.fair(&text),
        TypeState::Nacked { .. } => colour.bad(&text),
    }
}
