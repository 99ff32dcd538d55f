//! URI templates (`envoy.extensions.path.match.uri_template.v3`, `envoy.extensions.path.rewrite.uri_template.v3`).
//!
//! A template is segments between slashes: literal text, `*` for one segment, `**` for any rest, and `{name}` or
//! `{name=segments}` for what a rewrite may take. As in Envoy it becomes a regular expression.

use std::sync::Arc;

use crate::regex::{Regex, RegexRewrite};

/// Octets of a path segment (RFC 3986 appendix A, pchar).
const SEGMENT_OCTETS: &str = r"a-zA-Z0-9\-._~%!$&'()*+,;:@=";

/// Envoy's limits on the variables of a template.
const MOST_VARIABLES: usize = 5;
const LONGEST_VARIABLE: usize = 16;

/// A template that paths are matched with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UriTemplate {
    source: Arc<str>,
    /// What the template means, without anchors; variables are captures, in their order.
    pattern: String,
    variables: Vec<Box<str>>,
    whole: Regex,
}

impl UriTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn new(source: &str) -> Result<Self, String> {
        let mut compiler = Compiler::default();
        compiler
            .compile(source)
            .map_err(|reason| format!("is {source:?}: {reason}"))?;
        let whole = Regex::new(&compiler.pattern)?;
        Ok(Self {
            source: source.into(),
            pattern: compiler.pattern,
            variables: compiler.variables,
            whole,
        })
    }

    /// Whether all of a path (without query) matches.
    pub fn is_match(&self, path: &[u8]) -> bool {
        self.whole.is_match(path)
    }

    /// The template as written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What `rewrite`, text with variables of this template in braces, makes of a path that matches.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn rewrite(&self, rewrite: &str) -> Result<RegexRewrite, String> {
        let substitution = self
            .substitution(rewrite)
            .map_err(|reason| format!("is {rewrite:?}: {reason}"))?;
        RegexRewrite::new(&format!("^{}$", self.pattern), &substitution)
    }

    fn substitution(&self, rewrite: &str) -> Result<String, String> {
        if !rewrite.starts_with('/') {
            return Err("expected a slash at the beginning".to_owned());
        }
        let mut substitution = String::new();
        let mut rest = rewrite;
        while let Some(open) = rest.find(['{', '}']) {
            push_text(&mut substitution, &rest[..open])?;
            let name = rest[open..]
                .strip_prefix('{')
                .and_then(|variable| variable.split_once('}'));
            let Some((name, after)) = name else {
                return Err("has a brace without its other one".to_owned());
            };
            let Some(index) = self.variables.iter().position(|variable| &**variable == name) else {
                return Err(format!(
                    "names the variable {name:?}, which the route's match does not have"
                ));
            };
            substitution.push_str(&format!("\\{}", index + 1));
            rest = after;
        }
        push_text(&mut substitution, rest)?;
        Ok(substitution)
    }
}

fn push_text(substitution: &mut String, text: &str) -> Result<(), String> {
    match text.chars().find(|octet| *octet != '/' && !is_segment_octet(*octet)) {
        Some(octet) => Err(format!("has {octet:?} in its text")),
        None => {
            substitution.push_str(text);
            Ok(())
        }
    }
}

fn is_segment_octet(octet: char) -> bool {
    octet.is_ascii_alphanumeric() || "-._~%!$&'()+,;:@=".contains(octet)
}

#[derive(Default)]
struct Compiler {
    pattern: String,
    variables: Vec<Box<str>>,
    /// `**` came: no star may follow.
    ended: bool,
}

impl Compiler {
    fn compile(&mut self, source: &str) -> Result<(), String> {
        let Some(mut rest) = source.strip_prefix('/') else {
            return Err("expected a slash at the beginning".to_owned());
        };
        if !rest.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err("holds a blank or an octet beyond ASCII".to_owned());
        }
        self.pattern.push('/');
        while !rest.is_empty() {
            rest = match rest.strip_prefix('{') {
                Some(variable) => self.variable(variable)?,
                None => self.segment(rest)?,
            };
            match rest.strip_prefix('/') {
                Some(next) => {
                    self.pattern.push('/');
                    rest = next;
                }
                // What follows a variable or a star within a segment is the end of the path.
                None if !rest.is_empty() => {
                    self.literal(rest)?;
                    rest = "";
                }
                None => {}
            }
        }
        Ok(())
    }

    /// A star, two, or literal text; returns what follows.
    fn segment<'s>(&mut self, rest: &'s str) -> Result<&'s str, String> {
        if let Some(one) = rest.strip_prefix('*') {
            if self.ended {
                return Err("has a star behind **, which stands for all the rest".to_owned());
            }
            if let Some(two) = one.strip_prefix('*') {
                self.ended = true;
                self.pattern.push_str(&format!("[{SEGMENT_OCTETS}/]*"));
                return Ok(two);
            }
            self.pattern.push_str(&format!("[{SEGMENT_OCTETS}]+"));
            return Ok(one);
        }
        let end = rest.find(['/', '{', '}', '*']).unwrap_or(rest.len());
        self.literal(&rest[..end])?;
        if end == 0 && !rest.starts_with('/') {
            return Err("has a brace without its other one".to_owned());
        }
        if end == 0 {
            return Err("has an empty segment".to_owned());
        }
        Ok(&rest[end..])
    }

    fn literal(&mut self, text: &str) -> Result<(), String> {
        if let Some(octet) = text.chars().find(|octet| !is_segment_octet(*octet)) {
            return Err(format!("has {octet:?} in its text"));
        }
        self.pattern.push_str(&regex_escape(text));
        Ok(())
    }

    /// A variable whose opening brace was read; returns what follows.
    fn variable<'s>(&mut self, rest: &'s str) -> Result<&'s str, String> {
        let Some((variable, after)) = rest.split_once('}') else {
            return Err("has a brace without its other one".to_owned());
        };
        let (name, segments) = variable.split_once('=').unwrap_or((variable, "*"));
        let first = name.chars().next().is_some_and(|first| first.is_ascii_alphabetic());
        let others = name.chars().all(|other| other.is_ascii_alphanumeric() || other == '_');
        if !first || !others || name.len() > LONGEST_VARIABLE {
            return Err(format!(
                "has a variable {name:?}, expected up to {LONGEST_VARIABLE} letters, digits and underscores, a letter first"
            ));
        }
        if self.variables.iter().any(|other| &**other == name) {
            return Err(format!("has the variable {name:?} twice"));
        }
        if self.variables.len() == MOST_VARIABLES {
            return Err(format!("has more than {MOST_VARIABLES} variables"));
        }
        self.variables.push(name.into());
        if segments.is_empty() {
            return Err(format!("has nothing behind the equals sign of {name:?}"));
        }
        self.pattern.push('(');
        let mut inner = segments;
        while !inner.is_empty() {
            inner = self.segment(inner)?;
            if let Some(next) = inner.strip_prefix('/') {
                self.pattern.push('/');
                inner = next;
            } else if !inner.is_empty() {
                return Err(format!("has {inner:?} in the variable {name:?}"));
            }
        }
        self.pattern.push(')');
        Ok(after)
    }
}

/// Text as a regular expression for itself.
fn regex_escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for octet in text.chars() {
        if !octet.is_ascii_alphanumeric() {
            escaped.push('\\');
        }
        escaped.push(octet);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(template: &str, rewrite: &str, path: &str) -> Option<String> {
        let template = UriTemplate::new(template).unwrap();
        if !template.is_match(path.as_bytes()) {
            return None;
        }
        let mut out = Vec::new();
        template.rewrite(rewrite).unwrap().rewrite(path.as_bytes(), &mut out);
        String::from_utf8(out).ok()
    }

    #[test]
    fn segments_match_as_written_and_variables_are_taken() {
        let matches = |template: &str, path: &str| UriTemplate::new(template).unwrap().is_match(path.as_bytes());
        assert!(matches("/a/*/c", "/a/b/c") && !matches("/a/*/c", "/a/b/b/c") && !matches("/a/*/c", "/a//c"));
        assert!(matches("/a/**", "/a/") && matches("/a/**", "/a/b/c") && !matches("/a/**", "/a"));
        assert!(matches("/a.b", "/a.b") && !matches("/a.b", "/axb"));
        assert!(matches("/v/{x}.json", "/v/y.json") && !matches("/v/{x}.json", "/v/yxjson"));
        assert_eq!(rewritten("/{a}/{b}", "/{b}/{a}", "/x/y").as_deref(), Some("/y/x"));
        assert_eq!(
            rewritten("/p/{rest=v1/**}", "/q/{rest}-end", "/p/v1/x/y").as_deref(),
            Some("/q/v1/x/y-end")
        );
        assert_eq!(rewritten("/p/{rest=v1/*}", "/q/{rest}", "/p/v2/x"), None);
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for (template, reason) in [
            ("a", "expected a slash at the beginning"),
            ("/{a", "has a brace without its other one"),
            ("/a}", "has '}' in its text"),
            ("/{a}/{a}", "has the variable \"a\" twice"),
            ("/**/*", "has a star behind **, which stands for all the rest"),
            ("/{a=}", "has nothing behind the equals sign of \"a\""),
            ("/{a}/{b}/{c}/{d}/{e}/{f}", "has more than 5 variables"),
            ("/a b", "holds a blank or an octet beyond ASCII"),
            ("/a//b", "has an empty segment"),
        ] {
            assert_eq!(UriTemplate::new(template), Err(format!("is {template:?}: {reason}")));
        }
        let template = UriTemplate::new("/{a}").unwrap();
        let refused = |rewrite: &str| template.rewrite(rewrite).unwrap_err();
        assert_eq!(
            refused("/{b}"),
            "is \"/{b}\": names the variable \"b\", which the route's match does not have"
        );
        assert_eq!(refused("x"), "is \"x\": expected a slash at the beginning");
    }
}
