//! Why the process cannot serve.

use std::fmt;
use std::io;

/// Why the process cannot serve.
#[derive(Debug)]
pub(crate) enum ServeError {
    /// The system gives no threads, sockets or signals.
    System(io::Error),
    /// The admin address cannot be listened on.
    Admin(String, io::Error),
    /// Listeners of the bootstrap whose address cannot be listened on.
    Listeners(Vec<proxy::server::ListenError>),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => write!(f, "cannot start: {error}"),
            Self::Admin(address, error) => write!(f, "admin endpoint: cannot listen on {address}: {error}"),
            Self::Listeners(errors) => {
                for (index, error) in errors.iter().enumerate() {
                    let divider = if index == 0 { "" } else { "; " };
                    write!(f, "{divider}{error}")?;
                }
                Ok(())
            }
        }
    }
}

impl From<io::Error> for ServeError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}
