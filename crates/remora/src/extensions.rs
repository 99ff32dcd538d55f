//! Every extension there is: the filters, transport sockets and secrets of the crates below; and what reads the files that a
//! configuration names.

use config::Extensions;
use config::data_source::DataSource;

/// The registry that bootstrap and dynamic resources are parsed with.
pub(crate) fn all() -> Extensions {
    let mut extensions = Extensions::new();
    tls::register(&mut extensions);
    proxy::register(&mut extensions);
    extensions.register_reader(read);
    extensions
}

/// Reads a file or an environment variable; what it says of a fault is what Envoy says.
fn read(source: &DataSource) -> Result<Vec<u8>, String> {
    match source {
        DataSource::Inline(data) => Ok(data.to_vec()),
        DataSource::Filename { path, .. } => match std::fs::read(&**path) {
            Ok(data) => Ok(data),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(format!("file {path} does not exist")),
            Err(error) => Err(format!("file {path} cannot be read: {error}")),
        },
        DataSource::EnvironmentVariable(name) => std::env::var_os(&**name)
            .map(std::os::unix::ffi::OsStringExt::into_vec)
            .ok_or_else(|| format!("environment variable {name} does not exist")),
    }
}
