//! The mesh's certificate authority: a root that persists, and short-lived SPIFFE
//! certificates for service accounts.

pub mod identities;
pub mod root;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;

/// Why the authority cannot work.
#[derive(Debug)]
pub enum CaError {
    /// A file of the state directory cannot be read or written.
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The stored root cannot be used.
    Root {
        /// Its file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A key or certificate cannot be made.
    Issue(rcgen::Error),
}

impl fmt::Display for CaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Root { path, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Issue(error) => write!(f, "cannot issue a certificate: {error}"),
        }
    }
}

impl std::error::Error for CaError {}

impl From<rcgen::Error> for CaError {
    fn from(error: rcgen::Error) -> Self {
        Self::Issue(error)
    }
}
