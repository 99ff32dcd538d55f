//! The bootstrap, from the command line.

use std::fmt;
use std::io::{self, Read as _};
use std::path::Path;

use config::bootstrap::{Bootstrap, BootstrapSource, Format, NodeOptions, ReadError};
use config::{Extensions, Parsed, Rejected};

use crate::command_line::Options;
use crate::static_tls;

/// Why there is no bootstrap.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// Neither a file nor inline YAML was given.
    Nothing,
    /// A file could not be read.
    File(String, io::Error),
    /// It is not YAML, JSON or a protobuf message.
    Syntax(ReadError),
    /// Its fields are wrong.
    Rejected(Vec<Rejected>),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => {
                f.write_str("at least one of --config-path or --config-yaml should be given; --help lists all options")
            }
            Self::File(name, error) => write!(f, "unable to read file: {name}: {error}"),
            Self::Syntax(error) => error.fmt(f),
            Self::Rejected(faults) => {
                for (index, fault) in faults.iter().enumerate() {
                    let divider = if index == 0 { "" } else { "\n  " };
                    write!(f, "{divider}{fault}")?;
                }
                Ok(())
            }
        }
    }
}

impl From<ReadError> for LoadError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Fields(faults) => Self::Rejected(faults),
            syntax => Self::Syntax(syntax),
        }
    }
}

/// The bootstrap that the options name: the file, inline YAML over it, and the node's options over both.
///
/// # Errors
/// It cannot be read, or does not describe a bootstrap.
pub(crate) fn load(options: &Options) -> Result<BootstrapSource, LoadError> {
    let mut source = BootstrapSource::new();
    let allow_unknown = options.allow_unknown_static_fields;
    if let Some(path) = &options.config_path {
        merge_file(&mut source, path, allow_unknown)?;
    }
    if let Some(yaml) = options.config_yaml.as_ref().filter(|yaml| !yaml.is_empty()) {
        source.merge(yaml.as_bytes(), "--config-yaml", Format::Yaml, allow_unknown)?;
    } else if options.config_path.is_none() {
        return Err(LoadError::Nothing);
    }
    source.set_node(&NodeOptions {
        id: options.service_node.clone(),
        cluster: options.service_cluster.clone(),
        zone: options.service_zone.clone(),
    });
    Ok(source)
}

/// Merges a file; `-` is standard input, as YAML, of which JSON is a part.
///
/// # Errors
/// As [`load`].
pub(crate) fn merge_file(source: &mut BootstrapSource, path: &Path, allow_unknown: bool) -> Result<(), LoadError> {
    let name = path.display().to_string();
    let (text, format) = if name == "-" {
        let mut text = Vec::new();
        io::stdin().lock().read_to_end(&mut text).map(|_| (text, Format::Yaml))
    } else {
        std::fs::read(path).map(|text| (text, Format::of_file(&name)))
    }
    .map_err(|error| LoadError::File(name.clone(), error))?;
    Ok(source.merge(&text, &name, format, allow_unknown)?)
}

/// What the source means, and whether the files it names for TLS can be used.
///
/// # Errors
/// Every fault, with its line.
pub(crate) fn parse(source: &BootstrapSource, extensions: &Extensions) -> Result<Parsed<Bootstrap>, Vec<Rejected>> {
    let parsed = source.parse(extensions)?;
    let faults = static_tls::faults(&parsed.value);
    if faults.is_empty() {
        return Ok(parsed);
    }
    Err(faults
        .into_iter()
        .map(|fault| fault.with_line(|path| source.line(path)))
        .collect())
}
