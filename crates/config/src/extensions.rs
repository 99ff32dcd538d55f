//! Extension points: parsers by type URL, registered by the crates that execute what they parse.

use std::any::Any as StdAny;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::alike::Alike;
use crate::context::Context;
use crate::data_source::DataSource;
use crate::rejected::Reported;
use crate::resource::References;

/// The parsed configuration of an extension: a filter, a transport socket, a secret, an access log.
///
/// The crate that registered the parser downcasts it through [`as_any`](ExtensionConfig::as_any).
pub trait ExtensionConfig: fmt::Debug + Send + Sync + 'static {
    /// The value for downcasting.
    fn as_any(&self) -> &dyn StdAny;

    /// Adds the resources this needs (secrets over SDS, clusters) to `references`.
    fn references(&self, references: &mut References) {
        let _ = references;
    }

    /// Whether this is a filter that ends its chain, such as the router. A chain has exactly one, at its end.
    fn is_terminal(&self) -> bool {
        false
    }
}

impl dyn ExtensionConfig {
    /// The configuration as a `T`, when it is one.
    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.as_any().downcast_ref()
    }
}

/// Where an extension may stand. The same type URL can mean something else in another place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ExtensionKind {
    /// An HTTP filter of a connection manager.
    HttpFilter,
    /// The per-route configuration of an HTTP filter (`typed_per_filter_config`).
    HttpFilterPerRoute,
    /// A network filter other than the HTTP connection manager and the TCP proxy, which are parsed here.
    NetworkFilter,
    /// A network filter of a cluster.
    UpstreamNetworkFilter,
    /// A listener filter.
    ListenerFilter,
    /// The transport socket of a filter chain.
    DownstreamTransportSocket,
    /// The transport socket of a cluster.
    UpstreamTransportSocket,
    /// A `envoy.extensions.transport_sockets.tls.v3.Secret` resource.
    Secret,
    /// An access log sink other than file, stdout and stderr, which are parsed here.
    AccessLog,
}

impl fmt::Display for ExtensionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HttpFilter => "HTTP filter",
            Self::HttpFilterPerRoute => "per-route filter configuration",
            Self::NetworkFilter => "network filter",
            Self::UpstreamNetworkFilter => "upstream network filter",
            Self::ListenerFilter => "listener filter",
            Self::DownstreamTransportSocket => "downstream transport socket",
            Self::UpstreamTransportSocket => "upstream transport socket",
            Self::Secret => "secret",
            Self::AccessLog => "access log",
        })
    }
}

/// Parses the bytes of an extension's message. Faults go to the context, whose path is that of the `Any`.
pub type Parser = fn(&mut Context<'_>, &[u8]) -> Result<Arc<dyn ExtensionConfig>, Reported>;

/// Compiles a text with command operators (`%REQ(name)%`), or says what is wrong with it.
pub type FormatCompiler = fn(&str) -> Result<Arc<dyn ExtensionConfig>, String>;

/// Reads data that is not in the configuration itself, or says why it cannot.
pub type DataReader = fn(&DataSource) -> Result<Vec<u8>, String>;

/// The extensions a caller knows. The proxy and the control plane pass the full set, so that whatever the one sends
/// the other can execute.
#[derive(Clone, Default)]
pub struct Extensions {
    parsers: HashMap<(ExtensionKind, &'static str), Parser>,
    formats: Option<FormatCompiler>,
    reader: Option<DataReader>,
    ignored: HashMap<(ExtensionKind, &'static str), &'static str>,
    /// Not an extension, but like them handed to every parser.
    pub(crate) alike: Arc<Alike>,
}

impl Extensions {
    /// No extensions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a parser for a message, named as in the proto files
    /// (`envoy.extensions.filters.http.router.v3.Router`). A later registration replaces an earlier one.
    pub fn register(&mut self, kind: ExtensionKind, message: &'static str, parser: Parser) -> &mut Self {
        self.parsers.insert((kind, message), parser);
        self
    }

    /// Registers what compiles texts with command operators.
    pub fn register_formats(&mut self, compiler: FormatCompiler) -> &mut Self {
        self.formats = Some(compiler);
        self
    }

    /// What compiles texts with command operators, if anybody does.
    pub fn formats(&self) -> Option<FormatCompiler> {
        self.formats
    }

    /// Registers what reads files and environment variables. Only who is to execute the configuration has them: others
    /// let be what they cannot read.
    pub fn register_reader(&mut self, reader: DataReader) -> &mut Self {
        self.reader = Some(reader);
        self
    }

    /// What reads files and environment variables, if anybody does.
    pub fn reader(&self) -> Option<DataReader> {
        self.reader
    }

    /// Registers a message that is accepted unread: it changes nothing here, for this reason.
    pub fn register_ignored(&mut self, kind: ExtensionKind, message: &'static str, reason: &'static str) -> &mut Self {
        self.ignored.insert((kind, message), reason);
        self
    }

    /// Why a message with this type URL is passed over.
    pub fn ignored(&self, kind: ExtensionKind, type_url: &str) -> Option<&'static str> {
        self.ignored.get(&(kind, message_name(type_url))).copied()
    }

    /// The parser for a type URL (or a bare message name).
    pub fn parser(&self, kind: ExtensionKind, type_url: &str) -> Option<Parser> {
        // The key borrows for 'static; a lookup by a shorter lifetime is what `HashMap::get` allows by covariance.
        self.parsers.get(&(kind, message_name(type_url))).copied()
    }

    /// All registered messages, sorted, for documentation and the admin endpoint.
    pub fn messages(&self) -> Vec<(ExtensionKind, &'static str)> {
        let mut messages: Vec<_> = self.parsers.keys().copied().collect();
        messages.sort_unstable();
        messages
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.messages()).finish()
    }
}

/// The message name in a type URL: what follows the last slash.
pub(crate) fn message_name(type_url: &str) -> &str {
    type_url.rsplit('/').next().unwrap_or(type_url)
}
