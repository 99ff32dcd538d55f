//! Access logs (`envoy.config.accesslog.v3.AccessLog`).

use std::sync::Arc;

use crate::extensions::ExtensionConfig;
use crate::metadata::Struct;
use crate::percent::FractionalPercent;
use crate::resource::References;
use crate::string_matcher::HeaderMatcher;

mod parse;

pub use parse::flush_interval;

/// An access log: what is written, where, and for which requests.
#[derive(Debug, Clone)]
pub struct AccessLog {
    /// Name of the extension, as written.
    pub name: Arc<str>,
    /// Which requests are logged; all when none.
    pub filter: Option<AccessLogFilter>,
    /// Where and how they are written.
    pub sink: AccessLogSink,
}

impl AccessLog {
    pub(crate) fn add_references(&self, references: &mut References) {
        if let AccessLogSink::Extension(config) = &self.sink {
            config.references(references);
        }
    }
}

/// Where an access log is written.
#[derive(Debug, Clone)]
pub enum AccessLogSink {
    /// A file, opened for appending.
    File {
        /// The file.
        path: Arc<str>,
        /// The format.
        format: AccessLogFormat,
    },
    /// Standard output.
    Stdout {
        /// The format.
        format: AccessLogFormat,
    },
    /// Standard error.
    Stderr {
        /// The format.
        format: AccessLogFormat,
    },
    /// A sink of another crate.
    Extension(Arc<dyn ExtensionConfig>),
}

/// How an entry is written, command operators not yet compiled.
#[derive(Debug, Clone, PartialEq)]
pub enum AccessLogFormat {
    /// Envoy's default text format.
    Default,
    /// Text with command operators.
    Text {
        /// The format; a final line break is part of it.
        format: Arc<str>,
        /// Whether an operator without a value writes nothing rather than `-`.
        omit_empty_values: bool,
    },
    /// A JSON object whose strings hold command operators.
    Json {
        /// The object.
        format: Struct,
        /// Whether keys without a value are left out.
        omit_empty_values: bool,
        /// Whether keys are sorted; this is always done here.
        sort_properties: bool,
    },
}

/// Which requests are logged.
#[derive(Debug, Clone, PartialEq)]
pub enum AccessLogFilter {
    /// By the response status.
    StatusCode(Comparison),
    /// By the duration in milliseconds.
    Duration(Comparison),
    /// Not requests of a health checker.
    NotHealthCheck,
    /// Requests that are traced.
    Traceable,
    /// A fraction of requests.
    Runtime {
        /// Runtime key that may override the fraction.
        runtime_key: Arc<str>,
        /// The fraction.
        percent_sampled: FractionalPercent,
        /// Whether the request's id is left out of the decision.
        use_independent_randomness: bool,
    },
    /// When all match.
    And(Vec<AccessLogFilter>),
    /// When any matches.
    Or(Vec<AccessLogFilter>),
    /// By a request header.
    Header(HeaderMatcher),
    /// By response flags (`UH`, `UF`...); any flag when empty.
    ResponseFlag(Vec<Arc<str>>),
    /// By the gRPC status.
    GrpcStatus {
        /// The statuses.
        statuses: Vec<u8>,
        /// Whether those statuses are left out instead.
        exclude: bool,
    },
    /// By the moment of logging.
    LogType {
        /// The moments.
        types: Vec<AccessLogType>,
        /// Whether those moments are left out instead.
        exclude: bool,
    },
}

/// The moment of a request's or connection's life that an entry is written at (`AccessLogType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLogType {
    /// No particular one: the end of a connection in the log of its listener.
    NotSet,
    /// A connection's endpoint is connected.
    TcpUpstreamConnected,
    /// Every so often while a connection is open.
    TcpPeriodic,
    /// The end of a connection.
    TcpConnectionEnd,
    /// A request has come.
    DownstreamStart,
    /// Every so often while a request is under way.
    DownstreamPeriodic,
    /// The end of a request.
    DownstreamEnd,
    /// A request has the connection that it goes out on.
    UpstreamPoolReady,
    /// Every so often while a try is under way.
    UpstreamPeriodic,
    /// The end of a try.
    UpstreamEnd,
    /// CONNECT was agreed to.
    DownstreamTunnelSuccessfullyEstablished,
}

impl AccessLogType {
    const ALL: [Self; 11] = [
        Self::NotSet,
        Self::TcpUpstreamConnected,
        Self::TcpPeriodic,
        Self::TcpConnectionEnd,
        Self::DownstreamStart,
        Self::DownstreamPeriodic,
        Self::DownstreamEnd,
        Self::UpstreamPoolReady,
        Self::UpstreamPeriodic,
        Self::UpstreamEnd,
        Self::DownstreamTunnelSuccessfullyEstablished,
    ];

    /// Its name, as `%ACCESS_LOG_TYPE%` writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotSet => "NotSet",
            Self::TcpUpstreamConnected => "TcpUpstreamConnected",
            Self::TcpPeriodic => "TcpPeriodic",
            Self::TcpConnectionEnd => "TcpConnectionEnd",
            Self::DownstreamStart => "DownstreamStart",
            Self::DownstreamPeriodic => "DownstreamPeriodic",
            Self::DownstreamEnd => "DownstreamEnd",
            Self::UpstreamPoolReady => "UpstreamPoolReady",
            Self::UpstreamPeriodic => "UpstreamPeriodic",
            Self::UpstreamEnd => "UpstreamEnd",
            Self::DownstreamTunnelSuccessfullyEstablished => "DownstreamTunnelSuccessfullyEstablished",
        }
    }

    /// The one with this name. Those of UDP are not among them: nothing is ever logged at such a moment.
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|moment| moment.name() == name)
    }
}

/// A comparison with a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The operator; the request's value stands left of it.
    pub op: ComparisonOp,
    /// The number.
    pub value: u32,
    /// Runtime key that may override it; empty for none.
    pub runtime_key: Arc<str>,
}

impl Comparison {
    /// Whether `actual` satisfies it.
    pub fn holds(&self, actual: u64) -> bool {
        let value = u64::from(self.value);
        match self.op {
            ComparisonOp::Eq => actual == value,
            ComparisonOp::Ge => actual >= value,
            ComparisonOp::Le => actual <= value,
            ComparisonOp::Ne => actual != value,
        }
    }
}

/// Comparison operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComparisonOp {
    /// Equal.
    Eq,
    /// Greater or equal.
    Ge,
    /// Less or equal.
    Le,
    /// Not equal.
    Ne,
}
