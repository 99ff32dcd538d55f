//! The recorded inputs of fuzz targets. Tests of crates below this one include the file itself (`#[path]`).

use std::path::Path;

/// The inputs recorded for a target, by name; `folder` holds a folder for each target.
///
/// # Panics
/// They cannot be read, or are fewer than `at_least`: a corpus that was lost proves nothing.
#[must_use]
pub fn read(folder: &Path, target: &str, at_least: usize) -> Vec<(String, Vec<u8>)> {
    let directory = folder.join(target);
    let entries = std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut inputs: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("a folder can be listed").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, std::fs::read(&path).expect("an input can be read"))
        })
        .collect();
    inputs.sort();
    assert!(
        inputs.len() >= at_least,
        "the corpus of {target} has only {} inputs",
        inputs.len()
    );
    inputs
}
