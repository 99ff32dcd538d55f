//! What can be wrong with a document, with its place in the source.

use std::fmt;

/// A text that is not YAML or not JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The name given for the text: a file's name, as a rule.
    pub source_name: String,
    /// Counted from 1.
    pub line: u32,
    /// Counted from 1.
    pub column: u32,
    /// What was found and what was expected.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.source_name, self.line, self.column, self.message
        )
    }
}

impl std::error::Error for ParseError {}

/// A value in a document that the message it describes cannot take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field, from the document's message down: `static_resources.clusters[2].lb_policy`. Empty for the document
    /// itself.
    pub path: String,
    /// Counted from 1.
    pub line: u32,
    /// Counted from 1.
    pub column: u32,
    /// The value as the document has it.
    pub found: String,
    /// What may stand there.
    pub expected: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "document" } else { &self.path };
        write!(
            f,
            "{path} (line {}): found {}, expected {}",
            self.line, self.found, self.expected
        )
    }
}

impl std::error::Error for FieldError {}
