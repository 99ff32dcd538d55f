//! Instructions of examples, counted by callgrind, against counts that are recorded in the repository.
//!
//! Counts repeat exactly with one compiler; with another than the recorded one the tolerance is wider.
//! `REMORA_RECORD_BUDGET=1` records new counts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use testkit::peers::root;

/// Rise that fails, in percent, with the recorded compiler and with another.
const TOLERANCE: f64 = 3.0;
const TOLERANCE_OF_ANOTHER_COMPILER: f64 = 15.0;

fn output(command: &mut Command) -> String {
    let output = command
        .current_dir(root())
        .output()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}:\n{errors}");
    // Valgrind reports on standard error.
    String::from_utf8_lossy(&output.stdout).into_owned() + &errors
}

/// Whether instructions can be counted here; says so when not.
#[must_use]
pub fn is_possible() -> bool {
    let found = Command::new("valgrind").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: valgrind is missing, install the package of that name");
    }
    found
}

/// Builds an example with cargo's `options` for the build. Its path comes from cargo, wherever the target directory is.
///
/// # Panics
/// It does not build.
#[must_use]
pub fn example(package: &str, name: &str, options: &[&str]) -> PathBuf {
    let report = output(
        Command::new(env!("CARGO"))
            .args(["build", "--locked", "--quiet", "--message-format", "json"])
            .args(["-p", package, "--example", name])
            .args(options),
    );
    report
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo tells where the example is")
}

/// Instructions spent below the functions of an example whose names match `functions`.
///
/// # Panics
/// It does not run, or fails.
#[must_use]
pub fn collected(functions: &str, example: &PathBuf, arguments: &[String]) -> u64 {
    let report = output(
        Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(format!("--toggle-collect={functions}"))
            .arg(example)
            .args(arguments),
    );
    let (_, count) = report.split_once("Collected :").expect("callgrind reports a count");
    let count = count.split_whitespace().next().and_then(|count| count.parse().ok());
    count.expect("the count is a number")
}

/// Compares counts with those recorded in a file, given from the root of the repository; or records them.
///
/// # Panics
/// One has risen too far, or there is no record of it.
pub fn compare(file: &str, counts: &BTreeMap<&str, u64>) {
    assert!(
        counts.values().all(|&count| count > 0),
        "nothing was counted: {counts:?}"
    );
    let compiler = output(Command::new("rustc").arg("--version")).trim().to_owned();
    let file = root().join(file);
    if std::env::var("REMORA_RECORD_BUDGET").is_ok_and(|record| record == "1") {
        let record = json!({"compiler": compiler, "target": std::env::consts::ARCH, "instructions": counts});
        let text = serde_json::to_string_pretty(&record).expect("numbers and strings") + "\n";
        std::fs::write(&file, text).expect("the budget can be written");
        return;
    }
    let budget: Value = std::fs::read_to_string(&file)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_else(|| panic!("{} is JSON; REMORA_RECORD_BUDGET=1 records it", file.display()));
    if budget["target"] != std::env::consts::ARCH {
        eprintln!(
            "skipped: the budget is of {}, counts here: {counts:?}",
            budget["target"]
        );
        return;
    }
    let same_compiler = budget["compiler"] == compiler.as_str();
    if !same_compiler {
        eprintln!(
            "the budget was recorded with {}, this is {compiler}: {counts:?}",
            budget["compiler"]
        );
    }
    let tolerance = if same_compiler {
        TOLERANCE
    } else {
        TOLERANCE_OF_ANOTHER_COMPILER
    };
    let faults: Vec<String> = counts
        .iter()
        .filter_map(|(name, &count)| {
            let Some(recorded) = budget["instructions"][name].as_f64() else {
                return Some(format!("{name}: not in the budget"));
            };
            let rise = (count as f64 / recorded - 1.0) * 100.0;
            eprintln!("{name}: {count}, budget {recorded} ({rise:+.1} %)");
            (rise > tolerance).then(|| format!("{name}: {count} instructions, budget {recorded}: {rise:+.1} %"))
        })
        .collect();
    assert!(
        faults.is_empty(),
        "over the budget by more than {tolerance} % (REMORA_RECORD_BUDGET=1 records what is meant):\n{}",
        faults.join("\n")
    );
}
