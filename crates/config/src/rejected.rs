//! What a parser says about a resource: a value, what has no effect in it, or why it is refused.

use std::fmt;

use crate::field_path::FieldPath;

/// One fault of a resource. A resource with any fault is not used; all its faults are collected, not only the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The field at fault, from the root of the resource. Empty for the resource as a whole.
    pub path: FieldPath,
    /// What was found and what was expected, as a phrase without a final full stop.
    pub reason: String,
    /// The line of `path` in the document the resource came from, counted from 1, where there is such a document.
    pub line: Option<u32>,
}

impl Rejected {
    /// A fault at `path`.
    pub fn new(path: impl Into<FieldPath>, reason: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            reason: reason.into(),
            line: None,
        }
    }

    /// Adds the line that `line_of` knows for the path: a caller that read the resource from YAML passes the lookup of
    /// its document. When the document has no such node (the field is missing, which is the fault), the nearest node
    /// that contains it is named.
    #[must_use]
    pub fn with_line(mut self, line_of: impl Fn(&str) -> Option<u32>) -> Self {
        let mut path = self.path.as_str();
        loop {
            if let Some(line) = line_of(path) {
                self.line = Some(line);
                return self;
            }
            if path.is_empty() {
                return self;
            }
            path = parent(path);
        }
    }

    /// The same fault seen from further out; see [`FieldPath::under`].
    #[must_use]
    pub fn under(mut self, prefix: &str) -> Self {
        self.path = self.path.under(prefix);
        self
    }
}

/// The path without its last segment. A key may hold dots and brackets, so a quoted key is skipped as one.
fn parent(path: &str) -> &str {
    let bytes = path.as_bytes();
    let (mut quoted, mut escaped, mut cut) = (false, false, 0);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'.' | b'[' if !quoted => cut = at,
            _ => {}
        }
    }
    &path[..cut]
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.path.as_str().is_empty(), self.line) {
            (true, None) => f.write_str(&self.reason),
            (true, Some(line)) => write!(f, "line {line}: {}", self.reason),
            (false, None) => write!(f, "{}: {}", self.path, self.reason),
            (false, Some(line)) => write!(f, "line {line}: {}: {}", self.path, self.reason),
        }
    }
}

impl std::error::Error for Rejected {}

/// A field that was set, was understood, and changes nothing here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithoutEffect {
    /// The field, from the root of the resource.
    pub path: FieldPath,
    /// Why it changes nothing.
    pub reason: &'static str,
}

/// A parsed resource and the fields of it that have no effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed<T> {
    /// The value.
    pub value: T,
    /// Listed in the admin endpoint and by `remora check`.
    pub without_effect: Vec<WithoutEffect>,
}

impl<T> Parsed<T> {
    /// The same with the value changed.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Parsed<U> {
        Parsed {
            value: change(self.value),
            without_effect: self.without_effect,
        }
    }
}

/// Proof that a fault was recorded in the [`Context`](crate::Context): the error type of every parser.
///
/// It can only be made by recording a fault, so a parser that fails has always said why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported(pub(crate) ());

#[cfg(test)]
mod tests;
