//! Regular expressions in the manner of Envoy: the whole value must match, in time linear in its length, and an
//! expression that would need too much memory is refused.

use std::fmt;
use std::sync::Arc;

use regex::bytes;

/// Limit on the size of a compiled expression, in bytes. Envoy bounds RE2's program size; this bounds the same thing.
const SIZE_LIMIT: usize = 1 << 20;

/// A compiled expression that matches whole values.
#[derive(Clone)]
pub struct Regex {
    source: Arc<str>,
    whole: bytes::Regex,
}

impl Regex {
    /// Compiles an expression in RE2 syntax.
    ///
    /// # Errors
    /// When it is no valid expression or too large, with the reason.
    pub fn new(source: &str) -> Result<Self, String> {
        // Checked by itself first: wrapped in a group, `a)|(b` would pass.
        compile(source)?;
        // The line break ends a comment in an expression with the flag `x`, which would swallow the bracket.
        let whole = compile(&format!("^(?:{source})$")).or_else(|_| compile(&format!("^(?:{source}\n)$")))?;
        Ok(Self {
            source: source.into(),
            whole,
        })
    }

    /// Whether all of `value` matches.
    pub fn is_match(&self, value: &[u8]) -> bool {
        self.whole.is_match(value)
    }

    /// The expression as written.
    pub fn source(&self) -> &str {
        &self.source
    }
}

fn compile(source: &str) -> Result<bytes::Regex, String> {
    let build = |unicode| {
        bytes::RegexBuilder::new(source)
            .unicode(unicode)
            .size_limit(SIZE_LIMIT)
            .dfa_size_limit(SIZE_LIMIT)
            .build()
    };
    // RE2's \d, \w and \b are ASCII; an expression with characters beyond ASCII needs the Unicode mode.
    build(false).or_else(|_| build(true)).map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => format!("regular expression is too large (over {limit} bytes compiled)"),
        other => format!("is not a valid regular expression: {}", one_line(&other.to_string())),
    })
}

/// The last line of a message of the regex crate, which draws a picture over several lines.
fn one_line(message: &str) -> &str {
    message.lines().last().unwrap_or_default().trim_start_matches("error: ")
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Regex {}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.source)
    }
}

/// A pattern to search for and what to put in place of each match (`envoy.type.matcher.v3.RegexMatchAndSubstitute`).
#[derive(Clone)]
pub struct RegexRewrite {
    pattern: Arc<str>,
    search: bytes::Regex,
    substitution: Substitution,
}

/// The parts of a substitution: text and the captures (`\0` to `\9`) between.
type Substitution = Arc<[SubstitutionPart]>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum SubstitutionPart {
    Text(Box<str>),
    Capture(usize),
}

impl RegexRewrite {
    /// Compiles a pattern in RE2 syntax and a substitution with `\1` for the first capture.
    ///
    /// # Errors
    /// When either is not valid, or the substitution names a capture the pattern does not have.
    pub fn new(pattern: &str, substitution: &str) -> Result<Self, String> {
        let search = compile(pattern)?;
        let parts = parse_substitution(substitution)?;
        let most = search.captures_len() - 1;
        if let Some(bad) = parts.iter().find_map(|part| match part {
            SubstitutionPart::Capture(index) if *index > most => Some(*index),
            _ => None,
        }) {
            return Err(format!(
                "substitution {substitution:?} names capture {bad}, the pattern has {most}"
            ));
        }
        Ok(Self {
            pattern: pattern.into(),
            search,
            substitution: parts.into(),
        })
    }

    /// Appends `value` with every match replaced to `output`.
    pub fn rewrite(&self, value: &[u8], output: &mut Vec<u8>) {
        let mut at = 0;
        for captures in self.search.captures_iter(value) {
            let Some(whole) = captures.get(0) else { continue };
            output.extend_from_slice(&value[at..whole.start()]);
            for part in self.substitution.iter() {
                match part {
                    SubstitutionPart::Text(text) => output.extend_from_slice(text.as_bytes()),
                    SubstitutionPart::Capture(index) => {
                        output.extend_from_slice(captures.get(*index).map_or(b"", |capture| capture.as_bytes()));
                    }
                }
            }
            at = whole.end();
        }
        output.extend_from_slice(&value[at..]);
    }

    /// The pattern as written.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }
}

fn parse_substitution(substitution: &str) -> Result<Vec<SubstitutionPart>, String> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut characters = substitution.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('\\') => text.push('\\'),
                Some(digit) if digit.is_ascii_digit() => {
                    if !text.is_empty() {
                        parts.push(SubstitutionPart::Text(std::mem::take(&mut text).into()));
                    }
                    parts.push(SubstitutionPart::Capture(digit as usize - '0' as usize));
                }
                _ => {
                    return Err(format!(
                        "substitution {substitution:?} has a backslash before neither digit nor backslash"
                    ));
                }
            },
            other => text.push(other),
        }
    }
    if !text.is_empty() {
        parts.push(SubstitutionPart::Text(text.into()));
    }
    Ok(parts)
}

impl PartialEq for RegexRewrite {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern && self.substitution == other.substitution
    }
}

impl fmt::Debug for RegexRewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/ -> {:?}", self.pattern, self.substitution)
    }
}

#[cfg(test)]
mod tests;
