//! A parsed YAML or JSON text: plain values, each with its place in the source.

/// A place in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Counted from 1; 0 when there is no text.
    pub line: u32,
    /// Counted from 1; 0 when there is no text.
    pub column: u32,
}

/// A text that was read: what it says and what it is called.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The name given for the text: a file's name, as a rule.
    pub source_name: String,
    /// The outermost value.
    pub root: Node,
}

impl Document {
    /// The node at a field path as [`FieldError::path`](crate::FieldError::path) writes them: a fault found later, in the
    /// message, gets its source line back. Either form of a field's name matches.
    pub fn find(&self, path: &str) -> Option<&Node> {
        let (node, complete) = self.walk(path);
        complete.then_some(node)
    }

    /// As [`find`](Self::find); the innermost node on the way when there is none at the path.
    pub fn nearest(&self, path: &str) -> &Node {
        self.walk(path).0
    }

    /// How far the path leads, and whether that is its end.
    fn walk(&self, path: &str) -> (&Node, bool) {
        let mut node = &self.root;
        for step in steps(path) {
            let next = match (&node.value, step) {
                (Value::List(items), Step::Index(index)) => items.get(index),
                // A lone value stands for a list of one.
                (_, Step::Index(0)) => Some(node),
                (Value::Map(entries), Step::Field(name)) => entries
                    .iter()
                    .find(|(key, _)| key.same_field(name))
                    .map(|(_, value)| value),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => return (node, false),
            }
        }
        (node, true)
    }
}

/// A value and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What was read.
    pub value: Value,
    /// Where it starts.
    pub mark: Mark,
}

/// What JSON can say, which is what Envoy makes of YAML as well.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// A boolean, and how it was written: YAML's `y`, `on`, `True`... are booleans too.
    Bool(bool, Box<str>),
    /// A number as it was written, or, of a YAML integer, in decimal.
    Number(Box<str>),
    /// A string.
    String(Box<str>),
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the text. A key may occur once.
    Map(Vec<(Key, Node)>),
}

/// A key of a map and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The key as text.
    pub text: Box<str>,
    /// Where it starts.
    pub mark: Mark,
}

impl Key {
    /// Whether the key means the field `name`, written like this or in lowerCamelCase.
    fn same_field(&self, name: &str) -> bool {
        let camel = |text: &str| text.replace('_', "").to_ascii_lowercase();
        *self.text == *name || camel(&self.text) == camel(name)
    }
}

enum Step<'a> {
    Field(&'a str),
    Index(usize),
}

/// `a.b[2].c["k.x"].d` as its steps.
fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    let mut rest = path;
    std::iter::from_fn(move || {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some(quoted) = rest.strip_prefix("[\"") {
            let end = quoted.find("\"]")?;
            rest = &quoted[end + 2..];
            return Some(Step::Field(&quoted[..end]));
        }
        if let Some(index) = rest.strip_prefix('[') {
            let end = index.find(']')?;
            rest = &index[end + 1..];
            return Some(Step::Index(index[..end].parse().ok()?));
        }
        if rest.is_empty() {
            return None;
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (field, after) = rest.split_at(end);
        rest = after;
        Some(Step::Field(field))
    })
}
