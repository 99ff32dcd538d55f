//! What becomes of a request's path before it is matched (Envoy: HTTP connection manager, path normalization).
//!
//! A rule that matches on paths is only as good as the agreement with the endpoint on what a path means. The steps, in
//! Envoy's order: a fragment is refused, escaped slashes are unescaped, the path is brought into its canonical form,
//! adjacent slashes are merged. Each can be configured; nothing is copied unless something changes.

use config::http_connection_manager::{HttpConnectionManager, PathWithEscapedSlashesAction};

/// Which steps are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PathRules {
    normalize: bool,
    merge_slashes: bool,
    escaped_slashes: PathWithEscapedSlashesAction,
}

/// What is to become of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its path stays.
    Unchanged,
    /// It goes on with this path.
    Changed(Vec<u8>),
    /// The caller is sent to this path.
    Redirect(Vec<u8>),
    /// It is refused with 400.
    Reject,
}

impl PathRules {
    /// The steps that a connection manager wants.
    pub(crate) fn new(config: &HttpConnectionManager) -> PathRules {
        PathRules {
            normalize: config.normalize_path,
            merge_slashes: config.merge_slashes,
            escaped_slashes: config.path_with_escaped_slashes_action,
        }
    }

    /// Looks at a path that begins with a slash, query included.
    pub(crate) fn apply(self, path: &[u8]) -> Verdict {
        // RFC 9112 section 3.2: a request target has no fragment. A proxy that cut it off would match another path
        // than an endpoint that does not.
        if path.contains(&b'#') {
            return Verdict::Reject;
        }
        use PathWithEscapedSlashesAction as Action;
        if !self.normalize && !self.merge_slashes && self.escaped_slashes == Action::KeepUnchanged {
            return Verdict::Unchanged;
        }
        let (mut current, query) = path.split_at(path.iter().position(|byte| *byte == b'?').unwrap_or(path.len()));
        let (unescaped, canonical, merged);
        let mut redirect = false;
        if self.escaped_slashes != Action::KeepUnchanged && has_escaped_slashes(current) {
            match self.escaped_slashes {
                Action::RejectRequest => return Verdict::Reject,
                Action::UnescapeAndRedirect => redirect = true,
                Action::UnescapeAndForward | Action::KeepUnchanged => {}
            }
            unescaped = unescape_slashes(current);
            current = &unescaped;
        }
        if self.normalize && may_not_be_canonical(current) {
            match canonicalize(current) {
                Some(path) => canonical = path,
                None => return Verdict::Reject,
            }
            current = &canonical;
        }
        if self.merge_slashes && current.windows(2).any(|pair| pair == b"//") {
            merged = merge_slashes(current);
            current = &merged;
        }
        if current.len() + query.len() == path.len() && path.starts_with(current) {
            return Verdict::Unchanged;
        }
        let result = [current, query].concat();
        if redirect {
            Verdict::Redirect(result)
        } else {
            Verdict::Changed(result)
        }
    }
}

fn is_escaped_slash(path: &[u8]) -> Option<u8> {
    match path {
        [b'%', b'2', b'f' | b'F', ..] => Some(b'/'),
        [b'%', b'5', b'c' | b'C', ..] => Some(b'\\'),
        _ => None,
    }
}

fn has_escaped_slashes(path: &[u8]) -> bool {
    path.windows(3).any(|part| is_escaped_slash(part).is_some())
}

fn unescape_slashes(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        match is_escaped_slash(&path[at..]) {
            Some(slash) => {
                out.push(slash);
                at += 3;
            }
            None => {
                out.push(path[at]);
                at += 1;
            }
        }
    }
    out
}

/// Envoy keeps a slash at either end, so that a path of slashes only is left with two.
fn merge_slashes(path: &[u8]) -> Vec<u8> {
    let mut out = vec![b'/'];
    for (index, segment) in path
        .split(|byte| *byte == b'/')
        .filter(|segment| !segment.is_empty())
        .enumerate()
    {
        if index > 0 {
            out.push(b'/');
        }
        out.extend_from_slice(segment);
    }
    if path.ends_with(b"/") {
        out.push(b'/');
    }
    out
}

/// Whether a path holds anything that the canonical form might not: a dot segment, an escape, a character that is
/// escaped there. Most paths do not.
fn may_not_be_canonical(path: &[u8]) -> bool {
    let mut previous = 0;
    path.iter().any(|byte| {
        let dot_segment = previous == b'/' && *byte == b'.';
        previous = *byte;
        dot_segment || matches!(byte, b'%' | b'\\') || is_escaped(*byte)
    })
}

/// Characters that stand escaped in the canonical form (WHATWG URL, path percent-encode set, and `^` and `|`).
fn is_escaped(byte: u8) -> bool {
    matches!(byte, 0..=b' ' | b'"' | b'#' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x7f..)
}

/// Characters that never stand escaped in it (RFC 3986 section 2.3, unreserved).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

fn decode(escape: &[u8]) -> Option<u8> {
    match escape {
        [b'%', high, low, ..] => Some(hex(*high)? << 4 | hex(*low)?),
        _ => None,
    }
}

/// Length of a dot at the front, escaped or not.
fn dot(path: &[u8]) -> Option<usize> {
    match path {
        [b'.', ..] => Some(1),
        [b'%', b'2', b'e' | b'E', ..] => Some(3),
        _ => None,
    }
}

/// What a segment's dots mean, and how many bytes they take with the slash behind them.
enum Dots {
    Here(usize),
    Up(usize),
    Nothing,
}

fn dots(segment: &[u8]) -> Dots {
    let Some(first) = dot(segment) else {
        return Dots::Nothing;
    };
    if let Some(end) = segment_end(&segment[first..]) {
        return Dots::Here(first + end);
    }
    let Some(second) = dot(&segment[first..]) else {
        return Dots::Nothing;
    };
    match segment_end(&segment[first + second..]) {
        Some(end) => Dots::Up(first + second + end),
        None => Dots::Nothing,
    }
}

/// Length of the slash that ends a segment; `None` if the segment goes on.
fn segment_end(rest: &[u8]) -> Option<usize> {
    match rest.first() {
        None => Some(0),
        Some(b'/' | b'\\') => Some(1),
        Some(_) => None,
    }
}

/// Brings a path into its canonical form: dot segments resolved, backslashes turned, unreserved characters unescaped,
/// others escaped. `None` if it holds a NUL.
fn canonicalize(path: &[u8]) -> Option<Vec<u8>> {
    let without_parameters;
    let path = match strip_dot_parameters(path) {
        Some(stripped) => {
            without_parameters = stripped;
            &without_parameters[..]
        }
        None => path,
    };
    let mut out = Vec::with_capacity(path.len());
    // Where the last percent sign stands that begins no escape.
    let mut stray = None;
    let mut at = 0;
    while at < path.len() {
        let rest = &path[at..];
        if dot(rest).is_some() && out.last() == Some(&b'/') {
            match dots(rest) {
                Dots::Here(length) => {
                    at += length;
                    continue;
                }
                Dots::Up(length) => {
                    back_up(&mut out);
                    at += length;
                    continue;
                }
                Dots::Nothing => {}
            }
        }
        at += 1;
        match rest[0] {
            b'\\' => out.push(b'/'),
            b'%' => match decode(rest) {
                Some(0) => return None,
                Some(byte) if is_unreserved(byte) => {
                    at += 2;
                    out.push(byte);
                    protect(&mut out, stray, path.get(at).copied());
                }
                Some(_) => {
                    at += 2;
                    out.extend_from_slice(&rest[..3]);
                }
                None => {
                    stray = Some(out.len());
                    out.push(b'%');
                }
            },
            0 => return None,
            byte if is_escaped(byte) => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            byte => out.push(byte),
        }
    }
    Some(out)
}

/// Removes the last segment, as `..` asks for; never the first slash.
fn back_up(out: &mut Vec<u8>) {
    let slash = out.len() - 1;
    let before = out[..slash].iter().rposition(|byte| *byte == b'/');
    out.truncate(before.map_or(1, |before| before + 1));
}

/// What is unescaped must not become part of an escape that was none: the percent sign before it is escaped then.
fn protect(out: &mut Vec<u8>, stray: Option<usize>, next: Option<u8>) {
    let Some(stray) = stray.filter(|stray| *stray < out.len()) else {
        return;
    };
    let is_escape = match &out[stray + 1..] {
        [high] => hex(*high).is_some() && next.is_some_and(|low| hex(low).is_some()),
        [high, low] => hex(*high).is_some() && hex(*low).is_some(),
        _ => false,
    };
    if is_escape {
        out.splice(stray + 1..stray + 1, *b"25");
    }
}

/// Takes the parameters (`;...`) off segments that are dots otherwise: some endpoints ignore them and would go up.
/// `None` if there are none.
fn strip_dot_parameters(path: &[u8]) -> Option<Vec<u8>> {
    let is_dots = |segment: &[u8]| segment.starts_with(b".;") || segment.starts_with(b"..;");
    if !path.split(|byte| *byte == b'/').any(is_dots) {
        return None;
    }
    let mut out = Vec::with_capacity(path.len());
    for (index, segment) in path.split(|byte| *byte == b'/').enumerate() {
        if index > 0 {
            out.push(b'/');
        }
        let parameters = segment
            .iter()
            .position(|byte| *byte == b';')
            .filter(|_| is_dots(segment));
        out.extend_from_slice(&segment[..parameters.unwrap_or(segment.len())]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(normalize: bool, merge_slashes: bool, escaped_slashes: PathWithEscapedSlashesAction) -> PathRules {
        PathRules {
            normalize,
            merge_slashes,
            escaped_slashes,
        }
    }

    fn changed(rules: PathRules, path: &str) -> String {
        match rules.apply(path.as_bytes()) {
            Verdict::Unchanged => path.to_owned(),
            Verdict::Changed(path) => String::from_utf8(path).unwrap(),
            Verdict::Redirect(path) => format!("redirect {}", String::from_utf8(path).unwrap()),
            Verdict::Reject => "rejected".to_owned(),
        }
    }

    /// What Envoy 1.39 made of each; tests/e2e compares many more.
    #[test]
    fn paths_are_brought_into_envoys_canonical_form() {
        let normalize = rules(true, false, PathWithEscapedSlashesAction::KeepUnchanged);
        for (path, canonical) in [
            ("/a/./b/../c", "/a/c"),
            ("/../../a", "/a"),
            ("/a/..", "/"),
            ("//..//a", "//a"),
            ("/a//../b", "/a/b"),
            ("/a\\..\\b", "/b"),
            ("/a/%2E./b?x=/../y", "/b?x=/../y"),
            ("/a/..;x=y/b", "/b"),
            ("/a/%2e%2e;/b", "/a/..;/b"),
            ("/%7Ea%41%2f%20\"<", "/~aA%2f%20%22%3C"),
            ("/a%", "/a%"),
            ("/%%30%30", "/%2500"),
            ("/%%301", "/%2501"),
            ("/%4%31", "/%2541"),
            ("/%%41", "/%A"),
            ("/a%00", "rejected"),
            ("/a?b#c", "rejected"),
            ("/a.b/.c/...", "/a.b/.c/..."),
        ] {
            assert_eq!(changed(normalize, path), canonical, "{path}");
        }
    }

    #[test]
    fn slashes_are_merged_and_unescaped_as_configured() {
        let keep = PathWithEscapedSlashesAction::KeepUnchanged;
        let merge = rules(false, true, keep);
        assert_eq!(changed(merge, "///a////b//?c//d"), "/a/b/?c//d");
        assert_eq!(changed(merge, "//"), "//");
        assert_eq!(changed(rules(false, false, keep), "/a//b/..%2f"), "/a//b/..%2f");
        for (action, expected) in [
            (PathWithEscapedSlashesAction::RejectRequest, "rejected"),
            (
                PathWithEscapedSlashesAction::UnescapeAndRedirect,
                "redirect /a/b\\c?%2f",
            ),
            (PathWithEscapedSlashesAction::UnescapeAndForward, "/a/b\\c?%2f"),
        ] {
            assert_eq!(changed(rules(false, false, action), "/a%2Fb%5cc?%2f"), expected);
            assert_eq!(changed(rules(false, false, action), "/a%252f"), "/a%252f");
        }
        let all = rules(true, true, PathWithEscapedSlashesAction::UnescapeAndForward);
        assert_eq!(changed(all, "/a%2f..%5c%2Fb"), "/b");
    }
}
