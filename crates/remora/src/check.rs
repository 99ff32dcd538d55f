//! `remora check`: everything that is wrong with a bootstrap, then what is accepted without effect.

use std::fmt::Write as _;
use std::path::Path;

use config::Rejected;
use config::bootstrap::{BootstrapSource, NodeOptions};
use serde_json::{Value, json};

use crate::bootstrap::{self, LoadError, merge_file};
use crate::command_line::{CheckFormat, CheckOptions};
use crate::{extensions, warnings};

/// What was found, and the status that the process ends with.
pub(crate) struct Report {
    pub(crate) text: String,
    pub(crate) status: u8,
}

#[derive(Default)]
struct Findings {
    unreadable: Option<String>,
    rejected: Vec<Rejected>,
    unknown: Vec<Rejected>,
    warnings: Vec<String>,
    without_effect: Vec<(String, Option<u32>, &'static str)>,
}

/// Reads and checks a bootstrap.
pub(crate) fn run(options: &CheckOptions) -> Report {
    let mut source = BootstrapSource::new();
    let mut findings = Findings::default();
    match merge_file(
        &mut source,
        Path::new(&options.file),
        options.allow_unknown_static_fields,
    ) {
        Ok(()) => {
            source.set_node(&NodeOptions {
                id: options.service_node.clone(),
                cluster: options.service_cluster.clone(),
                zone: None,
            });
            findings.unknown = source.unknown().to_vec();
            match bootstrap::parse(&source, &extensions::all()) {
                Ok(parsed) => {
                    findings.warnings = warnings::of(&parsed.value);
                    let notes = parsed.without_effect.iter();
                    let note = |note: &config::WithoutEffect| {
                        (note.path.to_string(), source.line(note.path.as_str()), note.reason)
                    };
                    findings.without_effect = notes.map(note).collect();
                }
                Err(rejected) => findings.rejected = rejected,
            }
        }
        Err(LoadError::Rejected(rejected)) => findings.rejected = rejected,
        Err(error) => findings.unreadable = Some(error.to_string()),
    }
    findings.rejected.sort_by_key(|fault| fault.line);
    let status = match (&findings.unreadable, findings.rejected.is_empty()) {
        (Some(_), _) => 2,
        (None, false) => 1,
        (None, true) => 0,
    };
    let text = match options.format {
        CheckFormat::Text => text(&options.file, &findings),
        CheckFormat::Json => json(&options.file, &findings),
    };
    Report { text, status }
}

fn text(file: &str, findings: &Findings) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_text(&mut out, file, findings);
    out
}

fn write_text(out: &mut String, file: &str, findings: &Findings) -> std::fmt::Result {
    if let Some(error) = &findings.unreadable {
        return writeln!(out, "{file}: could not be read\n  {error}");
    }
    match findings.rejected.len() {
        0 => writeln!(out, "{file}: accepted")?,
        1 => writeln!(out, "{file}: rejected, 1 fault")?,
        faults => writeln!(out, "{file}: rejected, {faults} faults")?,
    }
    for fault in &findings.rejected {
        writeln!(out, "  {}", shown(fault))?;
    }
    if !findings.unknown.is_empty() {
        writeln!(out, "unknown fields, allowed:")?;
        for fault in &findings.unknown {
            writeln!(out, "  {}", shown(fault))?;
        }
    }
    if !findings.warnings.is_empty() {
        writeln!(out, "accepted, but doubtful:")?;
        for warning in &findings.warnings {
            writeln!(out, "  {warning}")?;
        }
    }
    if !findings.without_effect.is_empty() {
        writeln!(out, "accepted without effect:")?;
        for (path, line, reason) in &findings.without_effect {
            match line {
                Some(line) => writeln!(out, "  line {line}: {path}: {reason}")?,
                None => writeln!(out, "  {path}: {reason}")?,
            }
        }
    }
    Ok(())
}

fn shown(fault: &Rejected) -> String {
    let path = if fault.path.as_str().is_empty() {
        "bootstrap"
    } else {
        fault.path.as_str()
    };
    match fault.line {
        Some(line) => format!("line {line}: {path}: {}", fault.reason),
        None => format!("{path}: {}", fault.reason),
    }
}

fn json(file: &str, findings: &Findings) -> String {
    let fault = |fault: &Rejected| json!({"path": fault.path.as_str(), "line": fault.line, "reason": fault.reason});
    let result = match (&findings.unreadable, findings.rejected.is_empty()) {
        (Some(_), _) => "unreadable",
        (None, false) => "rejected",
        (None, true) => "accepted",
    };
    let report = json!({
        "file": file,
        "result": result,
        "error": findings.unreadable,
        "rejected": findings.rejected.iter().map(fault).collect::<Vec<Value>>(),
        "unknown": findings.unknown.iter().map(fault).collect::<Vec<Value>>(),
        "warnings": findings.warnings,
        "without_effect": findings
            .without_effect
            .iter()
            .map(|(path, line, reason)| json!({"path": path, "line": line, "reason": reason}))
            .collect::<Vec<Value>>(),
    });
    format!("{report:#}\n")
}

#[cfg(test)]
mod tests;
