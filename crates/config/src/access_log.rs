//! Access logs (`envoy.config.accesslog.v3.AccessLog`).

use std::sync::Arc;

use crate::extensions::ExtensionConfig;
use crate::metadata::Struct;
use crate::percent::FractionalPercent;
use crate::resource::References;
use crate::string_matcher::HeaderMatcher;

mod parse;

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
