//! Where in a resource something was found.

use std::fmt;

/// One step into a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    /// A field by its proto name.
    Field(&'static str),
    /// An element of a repeated field.
    Index(usize),
    /// An entry of a map field.
    Key(String),
}

/// The path of a field from the root of its resource, in proto names:
/// `filter_chains[0].filters[1].typed_config.route_config.virtual_hosts[0].routes[2].route.timeout`.
///
/// Map entries are written `typed_per_filter_config["envoy.filters.http.cors"]`. The path of the resource itself is
/// empty. The `Any` of an extension adds only the name of the field that holds it (`typed_config`), as in YAML.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FieldPath(Box<str>);

impl FieldPath {
    /// A path as written by someone else, such as the YAML reader.
    pub fn new(path: impl Into<Box<str>>) -> Self {
        Self(path.into())
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This path seen from further out: `prefix` is the place of the resource, for example
    /// `static_resources.clusters[2]` in a bootstrap.
    pub fn under(&self, prefix: &str) -> Self {
        match (prefix.is_empty(), self.0.is_empty()) {
            (true, _) => self.clone(),
            (false, true) => Self(prefix.into()),
            (false, false) if self.0.starts_with('[') => Self(format!("{prefix}{}", self.0).into()),
            (false, false) => Self(format!("{prefix}.{}", self.0).into()),
        }
    }

    pub(crate) fn from_segments(segments: &[Segment], last: Option<&str>) -> Self {
        use fmt::Write as _;
        let mut path = String::new();
        for segment in segments {
            // Writing to a String cannot fail.
            let _ = match segment {
                Segment::Field(name) => {
                    let dot = if path.is_empty() { "" } else { "." };
                    write!(path, "{dot}{}", name.strip_prefix("r#").unwrap_or(name))
                }
                Segment::Index(index) => write!(path, "[{index}]"),
                Segment::Key(key) => write!(path, "[{key:?}]"),
            };
        }
        if let Some(last) = last.filter(|last| !last.is_empty()) {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(last.strip_prefix("r#").unwrap_or(last));
        }
        Self(path.into())
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for FieldPath {
    fn from(path: &str) -> Self {
        Self::new(path)
    }
}
