//! Where a piece of data comes from (`envoy.config.core.v3.DataSource`).

use std::fmt;
use std::sync::Arc;

use xds_api::envoy::config::core::v3 as core;

use crate::context::Context;
use crate::rejected::Reported;
use crate::shared_str::shared;

/// Data in the configuration itself or a place to read it from.
#[derive(Clone, PartialEq, Eq)]
pub enum DataSource {
    /// The data itself.
    Inline(Arc<[u8]>),
    /// A file, read when the resource is put to use, and again when it (or the watched directory) changes.
    Filename {
        /// The file.
        path: Arc<str>,
        /// A directory whose being moved into place says that the file changed, as Kubernetes does for secrets.
        watched_directory: Option<Arc<str>>,
    },
    /// The value of an environment variable.
    EnvironmentVariable(Arc<str>),
}

impl DataSource {
    /// Parses a data source.
    ///
    /// # Errors
    /// When it names nothing.
    pub fn parse(context: &mut Context<'_>, message: &core::DataSource) -> Result<Self, Reported> {
        use core::data_source::Specifier;
        context.check(message);
        let watched_directory = context.optional(
            "watched_directory",
            message.watched_directory.as_ref(),
            |context, directory| {
                context.check(directory);
                context.text("path", &directory.path)
            },
        );
        match &message.specifier {
            Some(Specifier::Filename(path)) => {
                let path = context.text("filename", path);
                Ok(Self::Filename {
                    path: path?,
                    watched_directory: watched_directory?,
                })
            }
            Some(Specifier::InlineBytes(data)) => Ok(Self::Inline(data.as_slice().into())),
            Some(Specifier::InlineString(data)) => Ok(Self::Inline(data.as_bytes().into())),
            Some(Specifier::EnvironmentVariable(name)) => context
                .text("environment_variable", name)
                .map(Self::EnvironmentVariable),
            None => Err(context.reject("has no filename, inline_bytes, inline_string or environment_variable")),
        }
    }

    /// The data, when it is in the configuration itself.
    pub fn inline(&self) -> Option<&[u8]> {
        match self {
            Self::Inline(data) => Some(data),
            Self::Filename { .. } | Self::EnvironmentVariable(_) => None,
        }
    }

    /// Parses a data source and reads it at once, where the context has what reads: it is inline then.
    pub(crate) fn parse_and_read(context: &mut Context<'_>, message: &core::DataSource) -> Result<Self, Reported> {
        match (Self::parse(context, message)?, context.reader()) {
            (source @ (Self::Filename { .. } | Self::EnvironmentVariable(_)), Some(read)) => match read(&source) {
                Ok(data) => Ok(Self::Inline(data.into())),
                Err(reason) => Err(context.reject(reason)),
            },
            (source, _) => Ok(source),
        }
    }

    /// The same for a text, which must be inline where nothing reads.
    pub(crate) fn parse_text(context: &mut Context<'_>, message: &core::DataSource) -> Result<Arc<str>, Reported> {
        match Self::parse_and_read(context, message)? {
            Self::Inline(data) => match std::str::from_utf8(&data) {
                Ok(text) => Ok(shared(text)),
                Err(_) => Err(context.reject("is not text")),
            },
            Self::Filename { .. } | Self::EnvironmentVariable(_) => {
                Err(context.reject("must be inline here (inline_string)"))
            }
        }
    }
}

impl fmt::Debug for DataSource {
    /// Without the inline data, which may be a private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(data) => write!(f, "Inline({} bytes)", data.len()),
            Self::Filename {
                path,
                watched_directory,
            } => f
                .debug_struct("Filename")
                .field("path", path)
                .field("watched_directory", watched_directory)
                .finish(),
            Self::EnvironmentVariable(name) => f.debug_tuple("EnvironmentVariable").field(name).finish(),
        }
    }
}
